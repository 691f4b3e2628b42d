//! A workload as AgentCompress has it served: older tool results become blocks.

use std::collections::BTreeMap;

use agentinfer_compress::{Moment, Options, plan};
use agentinfer_protocol::{Message, Role};
use fastrand::Rng;

use crate::sched::{Call, Prefix, Session, Workload, words};

/// A message of an agent's context as it is served.
struct Piece {
    role: Role,
    words: Vec<u32>,
    is_block: bool,
}

/// An agent's context after its last call.
#[derive(Default)]
struct Context {
    last: usize,
    /// Tokens of the last call's text as its client knows it.
    full: usize,
    pieces: Vec<Piece>,
}

/// The same calls with the prompts that they have where results are replaced, as the production
/// plan says, by blocks of a `kept` share of their tokens (above 0 to 1).
///
/// What follows the first new block is computed again by the call that is served it, in the
/// foreground: a server does that while the tool runs, if nobody else has work. What the model had
/// said there is other words of the same number.
pub(super) fn compressed(workload: &Workload, options: &Options, kept: f64) -> Workload {
    let sessions = workload.sessions.iter().enumerate();
    let sessions = sessions.map(|(index, session)| {
        let mut random = Rng::with_seed(!(index as u64));
        let mut contexts = BTreeMap::new();
        let calls = session.calls.iter().enumerate();
        let calls = calls.map(|(index, call)| match call.actor {
            Some(actor) => {
                let context: &mut Context = contexts.entry(actor).or_default();
                context.serve(index, call, options, kept, &mut random)
            }
            None => call.clone(),
        });
        Session {
            arrives: session.arrives,
            calls: calls.collect(),
        }
    });
    Workload {
        sessions: sessions.collect(),
    }
}

impl Context {
    /// The call as it is served.
    fn serve(
        &mut self,
        index: usize,
        call: &Call,
        options: &Options,
        kept: f64,
        random: &mut Rng,
    ) -> Call {
        let whole = Prefix {
            call: self.last,
            tokens: self.full,
        };
        let goes_on = call.continues == Some(whole);
        let mut served = call.clone();
        match goes_on {
            true => {
                let first = self.replace(options, kept, random);
                let (same, changed) = self.pieces.split_at(first);
                served.continues = Some(Prefix {
                    call: self.last,
                    tokens: same.iter().map(|piece| piece.words.len()).sum(),
                });
                let changed = changed.iter().flat_map(|piece| &piece.words);
                served.new = changed.chain(&call.new).copied().collect();
            }
            // Only contexts that grow are compressed; others are none of an agent here.
            false => self.pieces.clear(),
        }
        let said = words(random, call.output_tokens);
        let role = if goes_on { Role::Tool } else { Role::User };
        for (role, words) in [(role, call.new.clone()), (Role::Assistant, said)] {
            self.pieces.push(Piece {
                role,
                words,
                is_block: false,
            });
        }
        (self.last, self.full) = (index, call.tokens());
        served
    }

    /// Replaces what is to be replaced now; the first piece that has changed.
    fn replace(&mut self, options: &Options, kept: f64, random: &mut Rng) -> usize {
        let pieces = self.pieces.iter();
        let messages: Vec<Message> = pieces.map(|piece| Message::new(piece.role, "")).collect();
        let tokens = self.pieces.iter().map(|piece| piece.words.len() as u32);
        let tokens: Vec<u32> = tokens.collect();
        let is_block = |at: usize| self.pieces[at].is_block;
        let planned = plan(&messages, &tokens, &is_block, Moment::InLoop, options);
        for &at in &planned.distil {
            let piece = &mut self.pieces[at];
            let tokens = (piece.words.len() as f64 * kept).ceil() as usize;
            piece.words = words(random, tokens.max(1));
            piece.is_block = true;
        }
        let first = planned.distil.first();
        first.copied().unwrap_or(self.pieces.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_stay_and_prompts_become_shorter_once_there_is_something_to_replace() {
        let workload = Workload::research(6, 3, 2.0);
        let served = compressed(&workload, &Options::default(), 0.3);
        let mut changed = 0;
        for (before, after) in workload.sessions.iter().zip(&served.sessions) {
            assert_eq!(before.calls.len(), after.calls.len());
            for (one, other) in before.calls.iter().zip(&after.calls) {
                assert_eq!((one.actor, &one.after), (other.actor, &other.after));
                assert_eq!(one.gap_seconds, other.gap_seconds);
                assert_eq!(one.output_tokens, other.output_tokens);
                assert!(other.prompt_tokens() <= one.prompt_tokens());
                if let Some(prefix) = other.continues {
                    assert!(prefix.tokens <= after.calls[prefix.call].tokens());
                }
                // What is asked now always stands at the end, as it was.
                let own = one.new.len();
                assert!(other.new.ends_with(&one.new[own - own.min(100)..]));
                changed += usize::from(other.new.len() > one.new.len());
            }
        }
        assert!(changed >= 6, "{changed}");
        assert!(served.working_set() < workload.working_set() * 4 / 5);
    }

    #[test]
    fn short_contexts_and_whole_blocks_change_nothing_of_lengths() {
        let workload = Workload::research(3, 3, 0.3);
        assert_eq!(compressed(&workload, &Options::default(), 0.3), workload);
        let long = Workload::research(3, 3, 2.0);
        let served = compressed(&long, &Options::default(), 1.0);
        let lengths = |workload: &Workload| -> Vec<usize> {
            let calls = workload.sessions.iter().flat_map(|session| &session.calls);
            calls.map(Call::tokens).collect()
        };
        assert_eq!(lengths(&served), lengths(&long));
    }
}
