//! Constrained output: llguidance matchers over the model's vocabulary.
//!
//! The matcher is driven directly (mask, sample, consume), never as a llama.cpp sampler: that one
//! returns unconstrained logits when it fails, and here a failure must end the request.

use std::sync::{Arc, OnceLock};

use llguidance::{Matcher, ParserFactory, api::TopLevelGrammar};
use serde_json::{Value, json};
use toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie, parse_numeric_token};

use crate::{Constraint, EngineError, Token, Vocabulary};

/// Whitespace between the parts of a JSON text: as much as pretty-printing needs. Without a
/// bound, a model that has lost the thread writes line breaks until its tokens run out.
const WHITESPACE: &str = r"\x20|\n{1,2}[\x20\t]{0,20}";

/// Compiles constraints for one vocabulary. The token trie is built on first use (it takes some
/// hundred milliseconds for a large vocabulary) on the thread of the client that asks first.
pub struct ConstraintFactory {
    vocabulary: Arc<dyn Vocabulary>,
    parsers: OnceLock<Result<ParserFactory, String>>,
}

/// A compiled constraint and its state in one sequence.
#[derive(Clone)]
pub(crate) struct Matching {
    matcher: Matcher,
}

impl ConstraintFactory {
    /// A factory for `vocabulary`.
    pub fn new(vocabulary: Arc<dyn Vocabulary>) -> Self {
        Self {
            vocabulary,
            parsers: OnceLock::new(),
        }
    }

    /// Compiles a constraint.
    ///
    /// # Errors
    /// [`EngineError::InvalidRequest`] with the compiler's message when it is not valid.
    pub(crate) fn compile(&self, constraint: &Constraint) -> Result<Option<Matching>, EngineError> {
        let (field, grammar) = match constraint {
            Constraint::None => return Ok(None),
            Constraint::JsonSchema(schema) => (
                "json_schema",
                TopLevelGrammar::from_json_schema(bounded(schema.clone())),
            ),
            Constraint::Regex(regex) => ("regex", TopLevelGrammar::from_regex(regex)),
            Constraint::Lark(grammar) => ("grammar", TopLevelGrammar::from_lark(grammar.clone())),
        };
        let invalid = |message: String| EngineError::InvalidRequest { field, message };
        let parsers = self.parsers.get_or_init(|| build(&*self.vocabulary));
        let parsers = parsers
            .as_ref()
            .map_err(|message| invalid(message.clone()))?;
        let matcher = Matcher::new(parsers.create_parser(grammar));
        match matcher.get_error() {
            Some(message) => Err(invalid(message)),
            None => Ok(Some(Matching { matcher })),
        }
    }
}

impl std::fmt::Debug for ConstraintFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConstraintFactory")
            .field("tokens", &self.vocabulary.len())
            .finish()
    }
}

impl Matching {
    /// The tokens that may follow, end-of-generation tokens included where the text is complete.
    pub(crate) fn allowed(&mut self) -> Result<SimpleVob, EngineError> {
        self.matcher.compute_mask_or_eos().map_err(failed)
    }

    /// Takes a chosen token. Returns whether the text is complete and nothing more may follow.
    pub(crate) fn consume(&mut self, token: Token) -> Result<bool, EngineError> {
        self.matcher.consume_token(token).map_err(failed)?;
        Ok(self.matcher.is_stopped())
    }

    /// A copy to look ahead with.
    pub(crate) fn look_ahead(&self) -> LookAhead {
        LookAhead {
            matcher: self.matcher.clone(),
        }
    }
}

/// A copy of a constraint's state, to look ahead with. The state itself stays as it is: once it has
/// been asked what is forced, its masks are computed in another way.
pub(crate) struct LookAhead {
    matcher: Matcher,
}

impl LookAhead {
    /// The tokens of the text that must follow, if the model writes them as its vocabulary would;
    /// it may write the same text otherwise, and the last one may become part of a longer token.
    /// `before` is the token that the model said last.
    pub(crate) fn forced(
        &mut self,
        vocabulary: &dyn Vocabulary,
        before: Option<Token>,
    ) -> Vec<Token> {
        let forced = self.matcher.compute_ff_bytes();
        if forced.is_empty() {
            return Vec::new();
        }
        // How text is cut into tokens depends on what stands before it.
        if let Some(before) = before {
            let whole = [vocabulary.bytes(before), &forced].concat();
            let tokens = tokenized(vocabulary, &whole);
            if tokens.first() == Some(&before) {
                return tokens[1..].to_vec();
            }
        }
        tokenized(vocabulary, &forced)
    }

    /// How many of `tokens`, from the first on, may follow.
    pub(crate) fn valid(&mut self, tokens: &[Token]) -> usize {
        self.matcher.validate_tokens(tokens).unwrap_or(0)
    }
}

/// Tokens of forced bytes, in which control tokens stand as toktrie writes them: a marker and the
/// number in brackets. Ends where the bytes are no text.
fn tokenized(vocabulary: &dyn Vocabulary, mut bytes: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    while let Some(&first) = bytes.first() {
        if first == TokTrie::SPECIAL_TOKEN_MARKER {
            let Some((length, token)) = parse_numeric_token(&bytes[1..]) else {
                break;
            };
            tokens.push(token);
            bytes = &bytes[1 + length..];
            continue;
        }
        let marker = |byte: &u8| *byte == TokTrie::SPECIAL_TOKEN_MARKER;
        let end = bytes.iter().position(marker).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(end);
        match std::str::from_utf8(text) {
            Ok(text) => tokens.extend(vocabulary.tokenize(text, false, false)),
            Err(error) => {
                let valid = &text[..error.valid_up_to()];
                let valid = std::str::from_utf8(valid).unwrap_or_default();
                tokens.extend(vocabulary.tokenize(valid, false, false));
                break;
            }
        }
        bytes = rest;
    }
    tokens
}

/// The schema with a bound on whitespace, unless it brings options of its own for llguidance.
fn bounded(mut schema: Value) -> Value {
    if let Value::Object(members) = &mut schema {
        let options = members.entry("x-guidance");
        options.or_insert_with(|| json!({"whitespace_pattern": WHITESPACE}));
    }
    schema
}

fn failed(error: impl std::fmt::Display) -> EngineError {
    EngineError::Constraint(error.to_string())
}

fn build(vocabulary: &dyn Vocabulary) -> Result<ParserFactory, String> {
    let ends: Vec<Token> = (0..vocabulary.len() as Token)
        .filter(|&token| vocabulary.is_end_of_generation(token))
        .collect();
    let end = vocabulary.end_of_sequence().or(ends.first().copied());
    let end = end.ok_or("the model has no end-of-sequence token")?;
    let words: Vec<Vec<u8>> = (0..vocabulary.len() as Token)
        .map(
            |token| match (vocabulary.bytes(token), vocabulary.name(token)) {
                ([], []) => Vec::new(),
                // toktrie marks control tokens, which no text may produce, with this byte.
                ([], name) => [&[TokTrie::SPECIAL_TOKEN_MARKER], name].concat(),
                (bytes, _) => bytes.to_vec(),
            },
        )
        .collect();
    let info = TokRxInfo::new(words.len() as u32, end);
    let mut all_ends = vec![end];
    all_ends.extend(ends.into_iter().filter(|&token| token != end));
    let trie = TokTrie::from(&info, &words).with_eos_tokens(&all_ends);
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let mut factory = ParserFactory::new_simple(&environment).map_err(|error| error.to_string())?;
    factory.quiet();
    Ok(factory)
}
