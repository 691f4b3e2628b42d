//! Sessions from traces that tell lengths and times, but no text.
//!
//! What prompts have in common must be guessed from their lengths. Nothing is known of the words,
//! so they are random: equal exactly where the guess says so.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::super::workload::{Call, Prefix, Session, words};
use super::timing::{RECORDING, Span, dependencies, gap};

/// What is known of how much of a prompt was there before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reuse {
    /// Nothing, but an agent's context grows: a prompt is the longest earlier one of its agent that
    /// is shorter and was not continued yet, its output, and more. Without such, and where only
    /// one is left that is shorter than the system prompt, it is a new context.
    Grows,
    /// So many tokens were resident when it was recorded.
    Cached(usize),
}

/// A call as it was recorded. Lengths are in tokens.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) span: Span,
    /// Calls of one role share a system prompt.
    pub(super) role: String,
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) reuse: Reuse,
}

/// What was recorded, by session.
#[derive(Debug, Default)]
pub(super) struct Pool {
    sessions: Vec<Vec<Recorded>>,
    pub(super) skipped: usize,
}

impl Pool {
    /// Adds a session; without calls it is none.
    pub(super) fn add(&mut self, mut calls: Vec<Recorded>) {
        calls.sort_by(|a, b| a.span.begin.total_cmp(&b.span.begin));
        if !calls.is_empty() {
            self.sessions.push(calls);
        }
    }

    /// The sessions, in order of beginning, with every length times `scale`.
    pub(super) fn sessions(mut self, scale: f64) -> Vec<Session> {
        for call in self.sessions.iter_mut().flatten() {
            let scaled = |tokens: usize| ((tokens as f64 * scale).round() as usize).max(1);
            (call.input, call.output) = (scaled(call.input), scaled(call.output));
            if let Reuse::Cached(tokens) = &mut call.reuse {
                *tokens = (*tokens as f64 * scale) as usize;
            }
        }
        self.sessions
            .sort_by(|a, b| a[0].span.begin.total_cmp(&b[0].span.begin));
        let prompts = system_prompts(&self.sessions);
        let sessions = self.sessions.iter().enumerate();
        sessions
            .map(|(index, calls)| session(calls, &prompts, index as u64))
            .collect()
    }
}

/// The length of each role's system prompt. It is not recorded; at most it is what all its prompts
/// have: of calls whose context grows, the shortest among the agents' opening prompts, where an
/// agent that opens with several calls at once means the longest (the others are asides, such as
/// for a title); of calls whose resident tokens are known, the fewest of those that had any.
fn system_prompts(sessions: &[Vec<Recorded>]) -> BTreeMap<String, usize> {
    let mut shortest: BTreeMap<String, usize> = BTreeMap::new();
    let mut note = |role: &str, tokens: usize| {
        let known = shortest.entry(role.to_owned()).or_insert(tokens);
        *known = tokens.min(*known);
    };
    for calls in sessions {
        let mut openings: BTreeMap<usize, (f64, &str, usize)> = BTreeMap::new();
        for call in calls {
            match call.reuse {
                Reuse::Cached(0) => {}
                Reuse::Cached(tokens) => note(&call.role, tokens),
                Reuse::Grows => {
                    let new = (call.span.end, call.role.as_str(), 0);
                    let opening = openings.entry(call.span.actor).or_insert(new);
                    if call.span.begin < opening.0 {
                        opening.2 = opening.2.max(call.input);
                    }
                }
            }
        }
        for (_, role, tokens) in openings.into_values() {
            note(role, tokens);
        }
    }
    shortest
}

fn session(calls: &[Recorded], prompts: &BTreeMap<String, usize>, number: u64) -> Session {
    let spans: Vec<Span> = calls.iter().map(|call| call.span).collect();
    let mut random = Rng::with_seed(number);
    let start = spans.first().map_or(0.0, |span| span.begin);
    let dependencies = dependencies(&spans);
    let mut made: Vec<Call> = Vec::with_capacity(calls.len());
    for (index, mut after) in dependencies.into_iter().enumerate() {
        let call = &calls[index];
        let gap_seconds = gap(&spans, index, &after, start);
        let system = prompts.get(&call.role).copied().unwrap_or(0);
        let continues = prefix(calls, &made, system);
        if let Some(prefix) = continues.filter(|prefix| !after.contains(&prefix.call)) {
            after.push(prefix.call);
        }
        // At least one token is new, as there is no prompt that is only computed again.
        let open = continues.is_none() && system <= call.input;
        let system_tokens = if open { system.min(call.input - 1) } else { 0 };
        let mut new = words(&mut Rng::with_seed(seed(&call.role)), system_tokens);
        let kept = continues.map_or(0, |prefix| prefix.tokens);
        new.extend(words(&mut random, call.input - kept - system_tokens));
        made.push(Call {
            actor: Some(call.span.actor),
            after,
            gap_seconds,
            continues,
            new,
            system_tokens,
            output_tokens: call.output,
        });
    }
    Session {
        arrives: 0.0,
        calls: made,
    }
}

/// What the call after those `made` continues, if it is more than a system prompt.
fn prefix(calls: &[Recorded], made: &[Call], system: usize) -> Option<Prefix> {
    let index = made.len();
    let call = &calls[index];
    let ended = |other: usize| calls[other].span.end <= call.span.begin + RECORDING;
    let earlier =
        (0..index).filter(|&other| calls[other].span.actor == call.span.actor && ended(other));
    match call.reuse {
        Reuse::Grows => {
            let continued = |other: usize| {
                let by = |heir: &usize| {
                    made[*heir]
                        .continues
                        .is_some_and(|prefix| prefix.call == other)
                };
                (other + 1..index).find(by).is_some_and(ended)
            };
            let least = if call.input >= system { system } else { 0 };
            let fitting = |other: &usize| (least..call.input).contains(&calls[*other].input);
            let open = earlier.filter(|other| fitting(other) && !continued(*other));
            let parent = open.max_by_key(|&other| (calls[other].input, other))?;
            let whole = calls[parent].input + calls[parent].output;
            // An output that does not fit in was not kept.
            let tokens = if whole < call.input {
                whole
            } else {
                calls[parent].input
            };
            Some(Prefix {
                call: parent,
                tokens,
            })
        }
        Reuse::Cached(cached) => {
            let tokens = cached.min(call.input - 1);
            let mut same = earlier.filter(|&other| calls[other].role == call.role);
            let parent = same.rfind(|&other| calls[other].input >= tokens)?;
            (tokens > system).then_some(Prefix {
                call: parent,
                tokens,
            })
        }
    }
}

/// A number for a name.
fn seed(name: &str) -> u64 {
    // FNV-1a, 64 bits.
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
