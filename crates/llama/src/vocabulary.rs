//! A GGUF model's vocabulary.

use std::sync::Arc;

use agentinfer_engine::{Token, Vocabulary};
use llama_cpp_2::model::LlamaModel as Weights;
use llama_cpp_2::token::LlamaToken;

/// The vocabulary of a loaded model. All token texts are read once, when it is loaded.
#[derive(Debug)]
pub struct LlamaVocabulary {
    weights: Arc<Weights>,
    texts: Vec<Text>,
    begin: Option<Token>,
    end: Option<Token>,
}

/// What a token stands for.
#[derive(Debug)]
struct Text {
    name: Box<[u8]>,
    /// A control token has a name but stands for no text.
    control: bool,
    ends: bool,
}

impl LlamaVocabulary {
    pub(crate) fn new(weights: Arc<Weights>) -> Self {
        let vocab = weights.vocab();
        let text = |token: LlamaToken| {
            let bytes = vocab.token_to_piece(token, false, None);
            let control = bytes.is_empty();
            let name = if control {
                vocab.token_to_piece(token, true, None)
            } else {
                bytes
            };
            Text {
                name: name.into(),
                control,
                ends: vocab.is_eog(token),
            }
        };
        let known = |token: LlamaToken| Token::try_from(token.0).ok();
        let texts = (0..vocab.n_tokens())
            .map(|id| text(LlamaToken(id)))
            .collect();
        let end = known(vocab.eot()).or(known(vocab.eos()));
        let begin = known(vocab.bos());
        Self {
            texts,
            begin,
            end,
            weights,
        }
    }

    fn text(&self, token: Token) -> Option<&Text> {
        self.texts.get(token as usize)
    }
}

impl Vocabulary for LlamaVocabulary {
    fn len(&self) -> usize {
        self.texts.len()
    }

    fn tokenize(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<Token> {
        let tokens = self
            .weights
            .vocab()
            .tokenize(text.as_bytes(), add_special, parse_special);
        tokens.into_iter().map(|token| token.0 as Token).collect()
    }

    fn bytes(&self, token: Token) -> &[u8] {
        match self.text(token) {
            Some(text) if !text.control => &text.name,
            _ => &[],
        }
    }

    fn name(&self, token: Token) -> &[u8] {
        self.text(token).map_or(&[], |text| &text.name)
    }

    fn is_end_of_generation(&self, token: Token) -> bool {
        self.text(token).is_some_and(|text| text.ends)
    }

    fn begin_of_sequence(&self) -> Option<Token> {
        self.begin
    }

    fn end_of_sequence(&self) -> Option<Token> {
        self.end
    }
}
