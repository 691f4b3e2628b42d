//! The progress check: the tier that has just answered is asked about its answer, on a fork of the
//! conversation, while the client runs its tools.
//!
//! The check is a background request whose events fit into its channel, so the engine ends it
//! whether or not anybody reads; it is read when the session goes on. Dropping it cancels it.

use std::sync::Arc;

use agentinfer_collab::{CHECK_GRAMMAR, CHECK_INSTRUCTION, Verdict, read_verdict};
use agentinfer_engine::{Completion, Constraint, Event, Hints, Request, Token, Vocabulary};
use agentinfer_protocol::Message;

use super::FollowUp;
use crate::RuntimeError;

/// More than the block has characters: its frame has 90, the reason at most 160. Less than the
/// events that a request's channel holds unless it is told otherwise (256).
const CHECK_TOKENS: u32 = 250;

/// Alternatives at the value's token: both values are among the first few.
const ALTERNATIVES: u32 = 20;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Probability of `TRUE` against `FALSE` where the value was written.
    pub(crate) p_true: Option<f32>,
}

/// A check that was asked.
pub(crate) struct Check {
    completion: Completion,
    block: Block,
    vocabulary: Arc<dyn Vocabulary>,
}

impl Check {
    /// Asks for it. The conversation's own cells are shared, and nothing of the check is remembered
    /// for the session.
    ///
    /// # Errors
    /// When the template cannot write such a turn, or the engine refuses the request.
    pub(crate) fn ask(after: &FollowUp) -> Result<Self, RuntimeError> {
        let tier = after.tier.engine()?;
        let mut messages = after.answered();
        messages.push(Message::user(CHECK_INSTRUCTION));
        let text = tier
            .render(&messages, &after.tools, after.variables.as_ref(), true)
            .map_err(RuntimeError::Conversation)?;
        let prompt = after.tokenize(tier, text);
        let mut request = Request {
            constraint: Constraint::Lark(CHECK_GRAMMAR.to_owned()),
            session: Some(after.session),
            hints: Hints {
                background: true,
                ..after.hints
            },
            ..Request::new(prompt.tokens).max_tokens(CHECK_TOKENS)
        };
        request.sampling.logprobs = Some(ALTERNATIVES);
        Ok(Self {
            completion: tier.handle.submit(request)?,
            block: Block::default(),
            vocabulary: tier.handle.vocabulary().clone(),
        })
    }

    /// What it came to, once it has ended.
    pub(crate) async fn judgement(&mut self) -> Judgement {
        loop {
            let event = self.completion.next().await;
            let ended = !matches!(event, Some(Event::Started(_) | Event::Token(_)));
            if let Some(judgement) = self.take(event, ended) {
                return judgement;
            }
        }
    }

    /// What it came to, if it has ended.
    pub(crate) fn try_judgement(&mut self) -> Option<Judgement> {
        loop {
            let event = self.completion.try_next()?;
            let ended = !matches!(event, Event::Started(_) | Event::Token(_));
            if let Some(judgement) = self.take(Some(event), ended) {
                return Some(judgement);
            }
        }
    }

    fn take(&mut self, event: Option<Event>, ended: bool) -> Option<Judgement> {
        if let Some(Event::Token(event)) = event {
            let top = event.logprob.iter().flat_map(|logprob| &logprob.top);
            self.block.token(event.token, top, self.vocabulary.as_ref());
        }
        ended.then(|| self.block.judgement())
    }
}

/// The block as it is written.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    p_true: Option<f32>,
}

impl Block {
    /// Takes a token and what could have stood in its place: tokens with log-probabilities.
    fn token<'a>(
        &mut self,
        token: Token,
        top: impl Iterator<Item = &'a (Token, f32)>,
        vocabulary: &dyn Vocabulary,
    ) {
        let with = |token| [&self.bytes, vocabulary.bytes(token)].concat();
        let written = with(token);
        if value_begins(&self.bytes).is_none() && value_begins(&written).is_some() {
            let mut odds = [0.0_f32; 2];
            for &(other, logprob) in top {
                match value_begins(&with(other)) {
                    Some(b'T') => odds[0] += logprob.exp(),
                    Some(b'F') => odds[1] += logprob.exp(),
                    _ => {}
                }
            }
            let sum = odds[0] + odds[1];
            self.p_true = (sum > 0.0).then(|| odds[0] / sum);
        }
        self.bytes = written;
    }

    fn judgement(&self) -> Judgement {
        Judgement {
            verdict: read_verdict(&String::from_utf8_lossy(&self.bytes)),
            p_true: self.p_true,
        }
    }
}

/// The first letter of the value, if the block has come that far.
fn value_begins(block: &[u8]) -> Option<u8> {
    const VALUE: &[u8] = b"<value>";
    let at = block.windows(VALUE.len()).rposition(|it| it == VALUE)?;
    block[at + VALUE.len()..]
        .trim_ascii_start()
        .first()
        .copied()
}

#[cfg(test)]
mod tests {
    use agentinfer_engine::SimVocabulary;

    use super::*;

    const BEFORE: &str = "===PROGRESS===\n<reason> A name. </reason> <value>";

    /// The block of these pieces; one of them has alternatives.
    fn judged(pieces: &[&str], at: usize, top: &[(char, f32)]) -> Judgement {
        let vocabulary = SimVocabulary::default();
        let mut block = Block::default();
        for (index, letter) in pieces.concat().bytes().enumerate() {
            let top: Vec<(Token, f32)> = match index == at {
                true => top.iter().map(|&(c, p)| (c as Token, p.ln())).collect(),
                false => vec![(Token::from(b'T'), 0.0)],
            };
            block.token(Token::from(letter), top.iter(), &vocabulary);
        }
        block.judgement()
    }

    #[test]
    fn the_probability_is_read_where_the_value_is_decided() {
        let value = BEFORE.len() + 1;
        for (word, top, verdict, expected) in [
            (
                "TRUE",
                &[('T', 0.6), ('F', 0.2), ('t', 0.2)][..],
                Verdict::Progress,
                Some(0.75),
            ),
            (
                "FALSE",
                &[('F', 0.9), ('T', 0.1)],
                Verdict::Stall,
                Some(0.1),
            ),
            ("TRUE", &[('T', 0.3)], Verdict::Progress, Some(1.0)),
            ("TRUE", &[('x', 0.9)], Verdict::Progress, None),
        ] {
            let end = " </value>\n===END_PROGRESS===";
            let found = judged(&[BEFORE, " ", word, end], value, top);
            assert_eq!(found.verdict, verdict);
            let close = |p: f32| (p - expected.unwrap_or(-1.0)).abs() < 1e-6;
            assert_eq!(found.p_true.is_some(), expected.is_some(), "{found:?}");
            assert!(found.p_true.is_none_or(close), "{found:?}");
        }
        let broken_off = judged(&[BEFORE, " TR"], value, &[('T', 1.0)]);
        assert_eq!(broken_off.verdict, Verdict::Missing);
        assert_eq!(judged(&["I think so."], 0, &[('T', 1.0)]).p_true, None);
    }
}
