//! From recorded text to the tokens that an engine would have seen.

use std::path::Path;
use std::sync::Arc;

use agentinfer_chat::{ChatError, ChatTemplate, DEFAULT_TEMPLATE, RenderInput};
use agentinfer_engine::{Token, Vocabulary};
use agentinfer_protocol::{Message, Role};

use super::recording::{TextSession, Turns};
use crate::BenchError;

/// A model's vocabulary and chat template, without its weights.
pub(super) struct Tokenizer {
    vocabulary: Arc<dyn Vocabulary>,
    template: ChatTemplate,
    /// What ends a turn, and how the template writes it.
    end: Option<(Token, String)>,
}

/// A call, tokenized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenCall {
    /// Microseconds; absent where only the order is known.
    pub(super) at: Option<u64>,
    pub(super) prompt: Vec<Token>,
    /// What the model said, with the end of its turn.
    pub(super) output: Vec<Token>,
}

/// What a session has said up to the end of an answer.
#[derive(Default)]
struct Known {
    text: String,
    tokens: Vec<Token>,
}

impl Tokenizer {
    /// That of the model file at `path`.
    ///
    /// # Errors
    /// [`BenchError::Llama`] and [`BenchError::Template`] for an unusable file.
    pub(super) fn open(path: &Path) -> Result<Self, BenchError> {
        let opened = agentinfer_llama::open_vocabulary(path)?;
        let source = opened.chat_template.as_deref();
        let template = ChatTemplate::new(
            source.unwrap_or(DEFAULT_TEMPLATE),
            &opened.bos_text,
            &opened.eos_text,
        );
        Ok(Self::new(opened.vocabulary, template?))
    }

    pub(super) fn new(vocabulary: Arc<dyn Vocabulary>, template: ChatTemplate) -> Self {
        let end = turn_end(&*vocabulary, &template).or(vocabulary.end_of_sequence());
        let end = end.map(|token| {
            let name = String::from_utf8_lossy(vocabulary.name(token));
            (token, name.into_owned())
        });
        Self {
            vocabulary,
            template,
            end,
        }
    }

    /// The calls of a session. Where a prompt begins with what was said before, it begins with the
    /// same tokens.
    ///
    /// # Errors
    /// [`BenchError::Conversation`] where the template refuses the messages.
    pub(super) fn session(&self, session: &TextSession) -> Result<Vec<TokenCall>, BenchError> {
        let refused = |source| BenchError::Conversation {
            session: session.name.clone(),
            source,
        };
        let mut known = Known::default();
        let mut calls = Vec::new();
        match &session.turns {
            Turns::Messages(messages) => {
                let said = messages.iter().enumerate().skip(1);
                for (index, answer) in said.filter(|(_, it)| it.role == Role::Assistant) {
                    let call = self.call(&messages[..index], &answer.text(), &mut known);
                    calls.push(call.map_err(refused)?);
                }
            }
            Turns::Calls(recorded) => {
                for row in recorded {
                    let asked = [Message::user(row.input.as_str())];
                    let call = self.call(&asked, &row.output, &mut known);
                    calls.push(TokenCall {
                        at: Some(row.timestamp),
                        ..call.map_err(refused)?
                    });
                }
            }
        }
        Ok(calls)
    }

    fn call(
        &self,
        messages: &[Message],
        said: &str,
        known: &mut Known,
    ) -> Result<TokenCall, ChatError> {
        let mut text = self.template.render(&RenderInput::new(messages))?;
        let mut output = self.vocabulary.tokenize(said, false, true);
        let prompt = match text.strip_prefix(known.text.as_str()) {
            Some(tail) => {
                let tail = self.vocabulary.tokenize(tail, false, true);
                [&known.tokens[..], &tail].concat()
            }
            None => self.vocabulary.tokenize(&text, false, true),
        };
        *known = Known::default();
        if let Some((token, name)) = &self.end {
            output.push(*token);
            text.push_str(said);
            text.push_str(name);
            // Text may be cut here: tokenizers split at a control token before anything else.
            known.text = text;
            known.tokens = [&prompt[..], &output].concat();
        }
        Ok(TokenCall {
            at: None,
            prompt,
            output,
        })
    }
}

/// The token that the template writes after an answer, if it is one that ends generation.
fn turn_end(vocabulary: &dyn Vocabulary, template: &ChatTemplate) -> Option<Token> {
    const ANSWER: &str = "agentinfer-probe";
    let messages = [Message::user("?"), Message::assistant(ANSWER)];
    let input = RenderInput {
        add_generation_prompt: false,
        ..RenderInput::new(&messages)
    };
    let text = template.render(&input).ok()?;
    let (_, after) = text.rsplit_once(ANSWER)?;
    let next = vocabulary.tokenize(after, false, true).first().copied()?;
    vocabulary.is_end_of_generation(next).then_some(next)
}

#[cfg(test)]
mod tests {
    use agentinfer_engine::SimVocabulary;

    use super::*;
    use crate::recorded::TextCall;

    fn tokenizer() -> Tokenizer {
        let template = ChatTemplate::new(DEFAULT_TEMPLATE, "", "").expect("compiles");
        Tokenizer::new(Arc::new(SimVocabulary::default()), template)
    }

    fn session(turns: Turns) -> TextSession {
        TextSession {
            name: "s".to_owned(),
            task: "t".to_owned(),
            turns,
        }
    }

    /// Tokens with control tokens written out.
    fn written(tokens: &[Token]) -> String {
        let vocabulary = SimVocabulary::default();
        let names = tokens.iter().map(|token| vocabulary.name(*token));
        String::from_utf8_lossy(&names.collect::<Vec<_>>().concat()).into_owned()
    }

    #[test]
    fn answers_follow_the_rendered_history_and_share_its_tokens() {
        let messages = vec![
            Message::user("one"),
            Message::assistant("two"),
            Message::user("three"),
            Message::assistant("four"),
        ];
        let calls = tokenizer().session(&session(Turns::Messages(messages)));
        let [first, second] = &calls.expect("renders")[..] else {
            panic!("two calls");
        };
        let opening = "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(written(&first.prompt), opening);
        assert_eq!(written(&first.output), "two<|im_end|>");
        let kept = [&first.prompt[..], &first.output].concat();
        assert_eq!(second.prompt[..kept.len()], kept);
        let added = "\n<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(written(&second.prompt[kept.len()..]), added);
        assert_eq!(written(&second.output), "four<|im_end|>");
    }

    #[test]
    fn a_history_that_is_written_otherwise_is_tokenized_again() {
        // Only the last message is written in full.
        let cut = "(message['content'] if loop.last else message['content'][:2])";
        let source = DEFAULT_TEMPLATE.replace("message['content']", cut);
        let template = ChatTemplate::new(&source, "", "").expect("compiles");
        let tokenizer = Tokenizer::new(Arc::new(SimVocabulary::default()), template);
        let messages = ["ab", "cdef", "gh", "ij"];
        let role = |index: usize| [Role::User, Role::Assistant][index % 2];
        let messages = messages.iter().enumerate();
        let messages = messages.map(|(index, text)| Message::new(role(index), *text));
        let calls = tokenizer.session(&session(Turns::Messages(messages.collect())));
        let calls = calls.expect("renders");
        assert_eq!(written(&calls[0].output), "cdef<|im_end|>");
        let prompt = written(&calls[1].prompt);
        assert!(prompt.contains("assistant\ncd<|im_end|>"), "{prompt}");
    }

    #[test]
    fn a_recorded_call_is_one_question() {
        let call = |timestamp, input: &str| TextCall {
            timestamp,
            input: input.to_owned(),
            output: "said".to_owned(),
            session_id: "s".to_owned(),
        };
        let turns = Turns::Calls(vec![call(7, "in"), call(9, "in and out")]);
        let calls = tokenizer().session(&session(turns)).expect("renders");
        assert_eq!(calls[1].at, Some(9));
        let expected = "<|im_start|>user\nin and out<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(written(&calls[1].prompt), expected);
    }

    #[test]
    fn what_the_template_refuses_is_named() {
        let source = "{{ raise_exception('no, thanks') }}";
        let template = ChatTemplate::new(source, "", "").expect("compiles");
        let tokenizer = Tokenizer::new(Arc::new(SimVocabulary::default()), template);
        let messages = vec![Message::user("one"), Message::assistant("two")];
        let error = tokenizer.session(&session(Turns::Messages(messages)));
        let said = error.expect_err("refused").to_string();
        assert!(
            said.contains("session s") && said.contains("no, thanks"),
            "{said}"
        );
    }
}
