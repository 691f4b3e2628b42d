//! Recorded calls played to a drafter, as an engine would whose model says just that again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentinfer_engine::Token;
use agentinfer_sam::{Acceptance, Guess, Origin};
use serde::Serialize;

use super::arm::{Arm, CorpusSize};
use super::budget::Pace;
use super::set::{Call, CallSet};
use crate::BenchError;

/// What a drafter was asked and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    /// Said by the model in steps; each call's first token came with its prompt.
    pub(super) tokens: u64,
    /// Forward passes that these took.
    pub(super) steps: u64,
    /// Guesses.
    pub(super) drafted: u64,
    /// Guesses that the model then said.
    pub(super) accepted: u64,
    /// Both by source and position.
    pub(super) acceptance: Acceptance,
}

/// How long a drafter took.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// For each proposal.
    pub(super) propose: Vec<Duration>,
    /// For all prompts, and how many tokens these had that the session's last call had not.
    pub(super) begin: Duration,
    pub(super) new_tokens: u64,
    /// For all that the model said, and how many tokens it was.
    pub(super) extend: Duration,
    pub(super) extended_tokens: u64,
    /// For sessions that ended, and how many tokens the model said in them.
    pub(super) end: Duration,
    pub(super) ended_tokens: u64,
}

/// One call in the trace of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CallRow {
    pub(super) session: usize,
    pub(super) prompt_tokens: usize,
    pub(super) tokens: u64,
    pub(super) steps: u64,
    pub(super) drafted: u64,
    pub(super) accepted: u64,
    /// The threshold at its end.
    pub(super) least: f32,
}

/// Where the calls of a session come from.
fn origin(session: u64) -> Origin {
    Origin {
        session: Some(session),
        ..Origin::default()
    }
}

/// A session that goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Tokens of its last call, prompt and output.
    length: usize,
    /// Tokens said in all its calls.
    said: usize,
}

/// A drafter and what was measured of it.
pub(super) struct Replay {
    arm: Box<dyn Arm>,
    pub(super) counts: Counts,
    pub(super) times: Times,
    draft: Vec<Guess>,
}

impl Replay {
    pub(super) fn new(arm: Box<dyn Arm>) -> Self {
        Self {
            arm,
            counts: Counts::default(),
            times: Times::default(),
            draft: Vec::new(),
        }
    }

    /// Plays the chosen calls of a set. A session ends with the last of its chosen calls.
    pub(super) fn play(
        &mut self,
        set: &CallSet,
        chosen: &[usize],
        pace: &mut Pace,
    ) -> Vec<CallRow> {
        let mut open: BTreeMap<usize, Open> = BTreeMap::new();
        let mut left: BTreeMap<usize, usize> = BTreeMap::new();
        for index in chosen {
            *left.entry(set.calls[*index].session).or_default() += 1;
        }
        let mut rows = Vec::with_capacity(chosen.len());
        for &index in chosen {
            let call = &set.calls[index];
            let session = open.entry(call.session).or_default();
            let new = call.prompt.len().saturating_sub(session.length);
            self.times.new_tokens += new as u64;
            session.length = call.prompt.len() + call.output.len();
            session.said += call.output.len();
            rows.push(self.call(index as u64, call, pace));
            if let Some(left) = left.get_mut(&call.session) {
                *left -= 1;
                if *left == 0 {
                    let session = open.remove(&call.session).unwrap_or_default();
                    self.end_session(call.session as u64, session.said);
                }
            }
        }
        rows
    }

    /// What the drafter keeps of past sessions.
    pub(super) fn corpus(&mut self) -> Result<Option<CorpusSize>, BenchError> {
        self.arm.corpus()
    }

    /// Forgets what was counted and measured, not what the drafter learned.
    pub(super) fn reset(&mut self) {
        self.counts = Counts::default();
        self.times = Times::default();
    }

    fn call(&mut self, id: u64, call: &Call, pace: &mut Pace) -> CallRow {
        let before = self.counts.clone();
        let started = Instant::now();
        self.arm
            .begin(id, origin(call.session as u64), &call.prompt);
        self.times.begin += started.elapsed();
        // The first token comes with the prompt's own forward pass, before any draft.
        let (first, mut rest) = call.output.split_at(call.output.len().min(1));
        self.extend(id, first);
        while !rest.is_empty() {
            let said = self.step(id, rest, pace);
            rest = &rest[said..];
        }
        self.arm.finish(id);
        self.counts.calls += 1;
        let counts = &self.counts;
        CallRow {
            session: call.session,
            prompt_tokens: call.prompt.len(),
            tokens: counts.tokens - before.tokens,
            steps: counts.steps - before.steps,
            drafted: counts.drafted - before.drafted,
            accepted: counts.accepted - before.accepted,
            least: pace.least(),
        }
    }

    /// One step of a call whose model will say `rest`; returns how many tokens it says now.
    fn step(&mut self, id: u64, rest: &[Token], pace: &mut Pace) -> usize {
        self.draft.clear();
        let (limit, floor) = (pace.limit(), pace.floor());
        if limit > 0 {
            let started = Instant::now();
            self.arm.propose(id, limit, floor, &mut self.draft);
            self.times.propose.push(started.elapsed());
        }
        pace.cut(&mut self.draft);
        let drafted = self.draft.len();
        let agreed = self.draft.iter().zip(rest);
        let agreed = agreed
            .take_while(|(guess, said)| guess.token == **said)
            .count();
        // The model adds a token of its own, unless its turn ended with the last accepted one.
        let said = (agreed + 1).min(rest.len());
        self.extend(id, &rest[..said]);
        self.counts.steps += 1;
        self.counts.tokens += said as u64;
        self.counts.drafted += drafted as u64;
        self.counts.accepted += agreed as u64;
        let refused = agreed < drafted.min(rest.len());
        self.counts.acceptance.note(&self.draft, agreed, refused);
        said
    }

    fn extend(&mut self, id: u64, said: &[Token]) {
        let started = Instant::now();
        self.arm.extend(id, said);
        self.times.extend += started.elapsed();
        self.times.extended_tokens += said.len() as u64;
    }

    fn end_session(&mut self, session: u64, said: usize) {
        let started = Instant::now();
        self.arm.end_session(origin(session));
        self.times.end += started.elapsed();
        self.times.ended_tokens += said as u64;
    }
}

#[cfg(test)]
mod tests;
