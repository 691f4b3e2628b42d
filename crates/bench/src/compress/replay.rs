//! A recorded session, played turn by turn.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use agentinfer_compress::{Block, Breaker, Moment, extract, plan, recall, view};
use agentinfer_protocol::{Message, Role};

use super::arm::Arm;
use super::named::{Named, named, small_words};

/// Bytes that one recall returns at most: 2,000 tokens are what an agent can take at a time.
const RECALL_BYTES: usize = 8_000;

/// Counts tokens of a text.
pub(super) type Count<'a> = dyn Fn(&str) -> u32 + 'a;

/// A conversation, with what all arms need to know of it.
pub(super) struct Session {
    messages: Vec<Message>,
    /// Tokens of each message's text, and of its calls.
    tokens: Vec<(u32, u32)>,
    /// What each message names, and what its calls alone do.
    named: Vec<Named>,
    named_in_calls: Vec<Named>,
    small: HashSet<String>,
}

/// What a session has come to under one arm.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Sessions, and those of them that have become longer than the trigger.
    pub(super) sessions: usize,
    pub(super) sessions_beyond: usize,
    /// Answers to prompts that were longer than the trigger, and these prompts' tokens.
    pub(super) turns_beyond: usize,
    pub(super) full: u64,
    pub(super) served: u64,
    pub(super) turns: usize,
    pub(super) all_full: u64,
    pub(super) all_served: u64,
    pub(super) blocks: usize,
    pub(super) rejected: usize,
    /// Things that an answer used and the full prompt had, and how many of them the view had too.
    pub(super) used: usize,
    pub(super) kept: usize,
    /// Those that only results had which were compressed then, and of them those that blocks had,
    /// and those that one recall returns.
    pub(super) only: usize,
    pub(super) only_kept: usize,
    pub(super) only_reachable: usize,
    /// Milliseconds to distil each result.
    pub(super) distil_ms: Vec<f64>,
}

fn calls(message: &Message) -> String {
    let calls = message.tool_calls.iter().flatten();
    let calls = calls.map(|call| format!("{} {}", call.function.name, call.function.arguments));
    calls.collect::<Vec<_>>().join("\n")
}

/// The words of calls, in which line ends are no letters.
fn words_of_calls(message: &Message) -> String {
    calls(message).replace("\\n", "\n").replace("\\\"", "\"")
}

impl Session {
    pub(super) fn new(messages: Vec<Message>, count: &Count<'_>) -> Self {
        let calls_of: Vec<String> = messages.iter().map(words_of_calls).collect();
        let texts = messages.iter().zip(&calls_of);
        let texts =
            texts.map(|(message, calls)| [message.text().as_str(), calls.as_str()].join("\n"));
        let texts: Vec<String> = texts.collect();
        let small: HashSet<String> = texts.iter().flat_map(|text| small_words(text)).collect();
        let tokens = messages.iter();
        let tokens = tokens.map(|message| (count(&message.text()), count(&calls(message))));
        Self {
            tokens: tokens.collect(),
            named: texts.iter().map(|text| named(text, &small)).collect(),
            named_in_calls: calls_of.iter().map(|text| named(text, &small)).collect(),
            messages,
            small,
        }
    }

    /// The conversation.
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Tokens of a message.
    pub(super) fn tokens(&self, at: usize) -> u32 {
        self.tokens[at].0 + self.tokens[at].1
    }

    /// Tokens of its longest prompt.
    pub(super) fn longest(&self) -> u32 {
        let before_last = self.messages.len().saturating_sub(1);
        (0..before_last).map(|at| self.tokens(at)).sum()
    }

    /// Plays the session under an arm and adds what came of it. What an arm decides at a turn, the
    /// same turn is served with.
    pub(super) fn play(&self, arm: &Arm, count: &Count<'_>, counts: &mut Counts) {
        let mut played = Played::default();
        let beyond = counts.turns_beyond;
        for at in 1..self.messages.len() {
            if self.messages[at].role != Role::Assistant {
                continue;
            }
            if arm.on {
                self.compress(arm, at, count, &mut played, counts);
            }
            let blocks = |index: usize| played.blocks.get(&index);
            let served = view(&self.messages[..at], &blocks, &arm.options);
            self.measure(arm, at, &served, &played, counts);
        }
        counts.sessions += 1;
        counts.sessions_beyond += usize::from(counts.turns_beyond > beyond);
    }

    /// Distils what is planned before the answer at `at`.
    fn compress(
        &self,
        arm: &Arm,
        at: usize,
        count: &Count<'_>,
        played: &mut Played,
        counts: &mut Counts,
    ) {
        if played.breaker.is_open() {
            return;
        }
        let messages = &self.messages[..at];
        let tokens = (0..at).map(|index| match played.blocks.get(&index) {
            Some(block) => block.tokens,
            None => self.tokens[index].0 + self.tokens[index].1,
        });
        let tokens: Vec<u32> = tokens.collect();
        let moment = match messages[at - 1].role {
            Role::Tool => Moment::InLoop,
            _ => Moment::EndOfLoop,
        };
        let compressed =
            |index: usize| played.blocks.contains_key(&index) || played.refused.contains(&index);
        let planned = plan(messages, &tokens, &compressed, moment, &arm.options);
        for index in planned.distil {
            let begun = Instant::now();
            let block = extract(messages, index, count, &arm.options);
            counts.distil_ms.push(begun.elapsed().as_secs_f64() * 1e3);
            match block {
                Ok(block) => {
                    played.breaker.accepted();
                    played.named.insert(index, named(&block.text, &self.small));
                    played.blocks.insert(index, block);
                    counts.blocks += 1;
                }
                Err(_) => {
                    played.breaker.rejected();
                    played.refused.insert(index);
                    counts.rejected += 1;
                }
            }
        }
    }

    /// Counts what the answer at `at` was given, and what it used.
    fn measure(
        &self,
        arm: &Arm,
        at: usize,
        served: &[Message],
        played: &Played,
        counts: &mut Counts,
    ) {
        let full: u32 = self.tokens[..at]
            .iter()
            .map(|(text, calls)| text + calls)
            .sum();
        let is_cut = |index: usize| {
            let emptied = served[index].content.is_none();
            emptied && self.messages[index].content.is_some()
        };
        let tokens = (0..at).map(|index| match played.blocks.get(&index) {
            Some(block) => block.tokens,
            None if is_cut(index) => self.tokens[index].1,
            None => self.tokens[index].0 + self.tokens[index].1,
        });
        let tokens: u32 = tokens.sum();
        counts.turns += 1;
        counts.all_full += u64::from(full);
        counts.all_served += u64::from(tokens);
        if full <= arm.options.trigger_tokens {
            return;
        }
        counts.turns_beyond += 1;
        counts.full += u64::from(full);
        counts.served += u64::from(tokens);
        let mut seen: HashSet<&str> = HashSet::new();
        let mut kept: HashSet<&str> = HashSet::new();
        let mut originals: HashSet<&str> = HashSet::new();
        for index in 0..at {
            match played.named.get(&index) {
                Some(names) => {
                    kept.extend(names.iter().map(String::as_str));
                    originals.extend(self.named[index].iter().map(String::as_str));
                }
                None if is_cut(index) => {
                    seen.extend(self.named_in_calls[index].iter().map(String::as_str));
                }
                None => seen.extend(self.named[index].iter().map(String::as_str)),
            }
        }
        for name in &self.named[at] {
            let seen = seen.contains(name.as_str());
            let kept = kept.contains(name.as_str());
            let in_full = self.named[..at].iter().any(|names| names.contains(name));
            counts.used += usize::from(in_full);
            counts.kept += usize::from(in_full && (seen || kept));
            if originals.contains(name.as_str()) && !seen {
                counts.only += 1;
                counts.only_kept += usize::from(kept);
                counts.only_reachable += usize::from(kept || self.is_reachable(name, played));
            }
        }
    }

    /// Whether one recall of some block returns what is asked for by its name.
    fn is_reachable(&self, name: &str, played: &Played) -> bool {
        let mut having = played
            .blocks
            .keys()
            .filter(|index| self.named[**index].contains(name));
        having.any(|index| {
            let original = self.messages[*index].text();
            recall(&original, Some(name), RECALL_BYTES).contains(name)
        })
    }
}

/// What an arm has done to a session until now.
#[derive(Default)]
struct Played {
    blocks: BTreeMap<usize, Block>,
    named: BTreeMap<usize, Named>,
    refused: BTreeSet<usize>,
    breaker: Breaker,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> u32 {
        text.len() as u32 / 4
    }

    /// What is used at the end stands in the first of three results.
    fn session() -> Session {
        let filler = "nobody asked for this line of the text\n".repeat(60);
        let first = [&filler, "Stillmark isolated the lectin in 1888\n", &filler].concat();
        let mut messages = vec![Message::user("Who isolated the lectin?")];
        for result in [first.as_str(), "short", "short as well"] {
            messages.push(Message::assistant("I look for the lectin."));
            messages.push(Message::new(Role::Tool, result));
        }
        messages.push(Message::assistant("It was Stillmark, and not Kobert."));
        Session::new(messages, &count)
    }

    fn counts(arm: &str) -> Counts {
        let mut counts = Counts::default();
        let arm = arm.parse().expect("an arm");
        session().play(&arm, &count, &mut counts);
        counts
    }

    #[test]
    fn what_is_served_and_what_it_still_has() {
        for (arm, blocks, used, kept, only, only_kept) in [
            ("off:trigger=100", 0, 1, 1, 0, 0),
            ("context:trigger=100", 1, 1, 1, 1, 1),
            ("no_summary:trigger=100", 1, 1, 0, 1, 0),
            ("context", 0, 0, 0, 0, 0),
        ] {
            let counts = counts(arm);
            let found = (counts.used, counts.kept, counts.only, counts.only_kept);
            assert_eq!(found, (used, kept, only, only_kept), "{arm}");
            assert_eq!(counts.only_reachable, only, "{arm}");
            assert_eq!((counts.blocks, counts.rejected), (blocks, 0), "{arm}");
            assert_eq!(counts.served < counts.full, blocks > 0, "{arm}");
            assert_eq!(counts.turns, 4, "{arm}");
        }
    }

    #[test]
    fn without_reasoning_only_calls_are_left_of_distilled_steps() {
        let [with, without] = ["context", "no_reasoning"].map(|arm| {
            let mut session = session();
            let call = serde_json::json!({
                "id": "1", "type": "function",
                "function": {"name": "search", "arguments": "{}"},
            });
            let call = serde_json::from_value(call).expect("a call");
            session.messages[1].tool_calls = Some(vec![call]);
            session.tokens[1].1 = 2;
            let mut counts = Counts::default();
            let arm = format!("{arm}:trigger=100").parse().expect("an arm");
            session.play(&arm, &count, &mut counts);
            counts.served
        });
        // One turn has a distilled step; its thought has five tokens.
        assert_eq!(with - without, 5);
    }
}
