//! What was measured, and the table of it.

use std::fmt::Write;
use std::time::Duration;

use agentinfer_sam::Acceptance;
use serde::Serialize;

use super::arm::CorpusSize;
use super::peer::PeerCounts;
use super::replay::{Counts, Times};
use super::set::{CallSet, Mode};
use crate::statistics::percentile;

/// One arm on one set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamRow {
    /// The set.
    pub set: String,
    /// What the corpus held at the beginning.
    pub mode: Mode,
    /// Who drafted.
    pub arm: String,
    /// The most guesses in a draft.
    pub max_draft: usize,
    /// Calls that were measured.
    pub calls: u64,
    /// Tokens that the model said in steps; each call's first token comes with its prompt.
    pub tokens: u64,
    /// Forward passes that these took.
    pub steps: u64,
    /// Guesses.
    pub drafted: u64,
    /// Guesses that the model then said.
    pub accepted: u64,
    /// Both by source and position; absent for the peers, and where nothing was drafted.
    #[serde(
        with = "crate::acceptance",
        skip_serializing_if = "Acceptance::is_empty"
    )]
    pub acceptance: Acceptance,
    /// Tokens per step (OTE): 1 without drafts.
    pub ote: f64,
    /// Share of the guesses that were accepted (SHR); 0 of none.
    pub shr: f64,
    /// Guesses per step.
    pub drafted_per_step: f64,
    /// The peer's guesses per step, which this arm may not exceed; absent without a peer, and for
    /// the peers.
    pub budget: Option<f64>,
    /// Whether it kept to it.
    pub within_budget: Option<bool>,
    /// Tokens per step beyond the first, by the peer's; absent without a peer.
    pub gain_by_peer: Option<f64>,
    /// The threshold at the end; absent for the peers.
    pub least: Option<f32>,
    /// Microseconds for a draft: median.
    pub draft_us_p50: f64,
    /// 99th percentile of the same.
    pub draft_us_p99: f64,
    /// Microseconds per token to take in what the model said.
    pub extend_us_per_token: f64,
    /// Microseconds per token to take in prompts, known ones included.
    pub begin_us_per_token: f64,
}

/// Where a row belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) set: &'a str,
    pub(super) mode: Mode,
    pub(super) max_draft: usize,
}

fn per(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

impl SamRow {
    /// A row of ours; `peer` is the row whose guesses per step were the budget.
    pub(super) fn ours(
        place: Place<'_>,
        arm: &str,
        least: f32,
        (counts, times): (&Counts, &Times),
        peer: Option<&Self>,
    ) -> Self {
        let drafts: Vec<f64> = times.propose.iter().map(|it| microseconds(*it)).collect();
        let row = Self {
            least: Some(least),
            draft_us_p50: percentile(&drafts, 0.5),
            draft_us_p99: percentile(&drafts, 0.99),
            extend_us_per_token: per(microseconds(times.extend), times.extended_tokens),
            begin_us_per_token: per(microseconds(times.begin), times.new_tokens),
            ..Self::counted(place, arm, counts)
        };
        let Some(peer) = peer else { return row };
        Self {
            budget: Some(peer.drafted_per_step),
            within_budget: Some(row.drafted_per_step <= peer.drafted_per_step),
            gain_by_peer: (peer.ote > 1.0).then(|| (row.ote - 1.0) / (peer.ote - 1.0)),
            ..row
        }
    }

    /// A row of a peer.
    pub(super) fn peer(place: Place<'_>, arm: &str, seen: &PeerCounts) -> Self {
        let counts = Counts {
            calls: seen.calls,
            tokens: seen.tokens,
            steps: seen.steps,
            drafted: seen.drafted,
            accepted: seen.accepted,
            acceptance: Acceptance::default(),
        };
        Self {
            draft_us_p50: seen.draft_ns_p50 / 1e3,
            draft_us_p99: seen.draft_ns_p99 / 1e3,
            extend_us_per_token: per(seen.extend_ns as f64 / 1e3, seen.extended_tokens),
            begin_us_per_token: per(seen.begin_ns as f64 / 1e3, seen.prompt_tokens),
            ..Self::counted(place, arm, &counts)
        }
    }

    fn counted(place: Place<'_>, arm: &str, counts: &Counts) -> Self {
        Self {
            set: place.set.to_owned(),
            mode: place.mode,
            arm: arm.to_owned(),
            max_draft: place.max_draft,
            calls: counts.calls,
            tokens: counts.tokens,
            steps: counts.steps,
            drafted: counts.drafted,
            accepted: counts.accepted,
            acceptance: counts.acceptance,
            ote: per(counts.tokens as f64, counts.steps),
            shr: per(counts.accepted as f64, counts.drafted),
            drafted_per_step: per(counts.drafted as f64, counts.steps),
            budget: None,
            within_budget: None,
            gain_by_peer: None,
            least: None,
            draft_us_p50: 0.0,
            draft_us_p99: 0.0,
            extend_us_per_token: 0.0,
            begin_us_per_token: 0.0,
        }
    }
}

/// What there was to replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetRow {
    /// The set.
    pub set: String,
    /// Its sessions.
    pub sessions: usize,
    /// Their tasks.
    pub tasks: usize,
    /// Their calls.
    pub calls: usize,
    /// Tokens of all prompts.
    pub prompt_tokens: usize,
    /// Tokens that the model said.
    pub output_tokens: usize,
}

impl SetRow {
    pub(super) fn of(set: &CallSet) -> Self {
        let sum = |of: fn(&super::Call) -> usize| set.calls.iter().map(of).sum();
        Self {
            set: set.name.clone(),
            sessions: set.tasks.len(),
            tasks: set.task_count(),
            calls: set.calls.len(),
            prompt_tokens: sum(|call| call.prompt.len()),
            output_tokens: sum(|call| call.output.len()),
        }
    }
}

/// What the index of our last arm costs, over all sets; absent figures are not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IndexRow {
    /// Bytes per token of the corpus.
    pub bytes_per_token: Option<f64>,
    /// Microseconds per token that the model said to take a session into the corpus on disk when it
    /// ends.
    pub build_us_per_token: Option<f64>,
    /// Microseconds per token of a prompt that is new in its session to be indexed.
    pub extend_us_per_token: Option<f64>,
    /// Tokens of the largest corpus.
    pub corpus_tokens: u64,
    /// Milliseconds to open it in a new process.
    pub open_ms: Option<f64>,
}

/// The same, summed up over replays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IndexTimes {
    begin: Duration,
    new_tokens: u64,
    end: Duration,
    ended_tokens: u64,
    corpus: CorpusSize,
}

impl IndexTimes {
    pub(super) fn add(&mut self, times: &Times, corpus: Option<CorpusSize>) {
        self.begin += times.begin;
        self.new_tokens += times.new_tokens;
        self.end += times.end;
        self.ended_tokens += times.ended_tokens;
        let corpus = corpus.unwrap_or_default();
        // The largest one tells most.
        if corpus.tokens > self.corpus.tokens {
            self.corpus = corpus;
        }
    }

    pub(super) fn row(&self) -> IndexRow {
        let each = |time, tokens| (tokens > 0).then(|| per(microseconds(time), tokens));
        let CorpusSize {
            tokens,
            bytes,
            open,
        } = self.corpus;
        IndexRow {
            bytes_per_token: (tokens > 0).then(|| bytes as f64 / tokens as f64),
            build_us_per_token: each(self.end, self.ended_tokens),
            extend_us_per_token: each(self.begin, self.new_tokens),
            corpus_tokens: tokens,
            open_ms: (tokens > 0).then(|| microseconds(open) / 1e3),
        }
    }
}

/// The peer's package.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerRow {
    /// Its version.
    pub version: String,
    /// Bytes per token of its global tree when the last replay ended, by its own estimate.
    pub bytes_per_token: Option<f64>,
}

/// All that was replayed: `results` of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SamResults {
    /// One row per set.
    pub recordings: Vec<SetRow>,
    /// One row per set, mode, length of drafts and arm.
    pub sets: Vec<SamRow>,
    /// What our index costs.
    pub index: IndexRow,
    /// The peer; absent without one.
    pub peer: Option<PeerRow>,
}

impl SamResults {
    /// The results as a table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for row in &self.recordings {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}: {} sessions of {} tasks, {} calls, {} prompt tokens, {} said",
                row.set, row.sessions, row.tasks, row.calls, row.prompt_tokens, row.output_tokens
            );
        }
        let names = self.recordings.iter().map(|row| row.set.chars().count());
        let width = names.max().unwrap_or_default();
        let _ = writeln!(
            text,
            "\n{:width$} mode  max  arm            tokens/step accepted drafted/step by peer  \
             draft us     p99  extend us",
            "set"
        );
        for row in &self.sets {
            let gain = row
                .gain_by_peer
                .map_or(String::new(), |gain| format!("{gain:.3}"));
            let over = match row.within_budget {
                Some(false) => "!",
                _ => " ",
            };
            let _ = writeln!(
                text,
                "{:width$} {:4} {:4}  {:14} {:11.3} {:8.3} {:12.3}{over}{gain:>7} {:10.2} \
                 {:7.1} {:10.2}",
                row.set,
                row.mode,
                row.max_draft,
                row.arm,
                row.ote,
                row.shr,
                row.drafted_per_step,
                row.draft_us_p50,
                row.draft_us_p99,
                row.extend_us_per_token,
            );
        }
        if self.sets.iter().any(|row| row.within_budget == Some(false)) {
            text.push_str("! more drafted tokens per step than the peer\n");
        }
        text
    }
}
