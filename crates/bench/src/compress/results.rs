//! What was measured, and the table of it.

use std::fmt::Write;

use serde::Serialize;

use super::live::LiveRow;
use super::replay::Counts;
use crate::statistics::percentile;

/// One arm on one set. Where nothing is said of all prompts, prompts longer than the arm's trigger
/// are meant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompressRow {
    /// The set.
    pub set: String,
    /// The arm.
    pub arm: String,
    /// Sessions.
    pub sessions: usize,
    /// Sessions with a prompt beyond the trigger.
    pub sessions_beyond: usize,
    /// Answers to such prompts.
    pub turns: usize,
    /// Tokens of these prompts, as clients sent them.
    pub prompt_tokens_full: u64,
    /// The same as they were served.
    pub prompt_tokens_served: u64,
    /// All answers.
    pub all_turns: usize,
    /// Tokens of all prompts.
    pub all_prompt_tokens_full: u64,
    /// The same as they were served.
    pub all_prompt_tokens_served: u64,
    /// Results that were distilled.
    pub blocks: usize,
    /// Share of results that could not be; absent when none was tried.
    pub rejected_share: Option<f64>,
    /// Names and numbers in answers that the full prompt had.
    pub used: usize,
    /// Share of them that the served prompt had.
    pub kept_share: Option<f64>,
    /// Those of them that stood in distilled results only.
    pub used_of_distilled: usize,
    /// Share of these that the blocks had.
    pub kept_share_of_distilled: Option<f64>,
    /// Share of these that blocks had or one recall returns.
    pub reachable_share: Option<f64>,
    /// Milliseconds to distil a result: median.
    pub distil_ms_p50: f64,
    /// 99th percentile of the same.
    pub distil_ms_p99: f64,
}

/// A share of something; of nothing there is none.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl CompressRow {
    pub(super) fn of(set: &str, arm: &str, counts: &Counts) -> Self {
        Self {
            set: set.to_owned(),
            arm: arm.to_owned(),
            sessions: counts.sessions,
            sessions_beyond: counts.sessions_beyond,
            turns: counts.turns_beyond,
            prompt_tokens_full: counts.full,
            prompt_tokens_served: counts.served,
            all_turns: counts.turns,
            all_prompt_tokens_full: counts.all_full,
            all_prompt_tokens_served: counts.all_served,
            blocks: counts.blocks,
            rejected_share: share(counts.rejected, counts.blocks + counts.rejected),
            used: counts.used,
            kept_share: share(counts.kept, counts.used),
            used_of_distilled: counts.only,
            kept_share_of_distilled: share(counts.only_kept, counts.only),
            reachable_share: share(counts.only_reachable, counts.only),
            distil_ms_p50: percentile(&counts.distil_ms, 0.5),
            distil_ms_p99: percentile(&counts.distil_ms, 0.99),
        }
    }
}

/// All that was replayed: `results` of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CompressResults {
    /// One row per set and arm.
    pub sets: Vec<CompressRow>,
    /// One row per set, arm and number of sessions at a time, where they were played to a model.
    pub arms: Vec<LiveRow>,
}

impl CompressResults {
    /// The results as a table for people.
    pub fn table(&self) -> String {
        let width = |of: fn(&CompressRow) -> &str| {
            let widths = self.sets.iter().map(|row| of(row).chars().count());
            widths.max().unwrap_or_default().max(4)
        };
        let (set, arm) = (width(|row| &row.set), width(|row| &row.arm));
        let mut text = format!(
            "{:set$}  {:arm$} sessions turns     full   served   less  blocks refused    used \
             kept  distilled kept  reachable  ms\n",
            "set", "arm"
        );
        let percent = |share: Option<f64>| match share {
            Some(share) => format!("{:.1}%", share * 100.0),
            None => "-".to_owned(),
        };
        for row in &self.sets {
            let saved = row.prompt_tokens_full - row.prompt_tokens_served;
            let less = share(saved as usize, row.prompt_tokens_full as usize);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:set$}  {:arm$} {:8} {:5} {:8} {:8} {:>6} {:7} {:>7} {:7} {:>6} {:6} {:>7} \
                 {:>9} {:4.1}",
                row.set,
                row.arm,
                row.sessions_beyond,
                row.turns,
                row.prompt_tokens_full,
                row.prompt_tokens_served,
                percent(less),
                row.blocks,
                percent(row.rejected_share),
                row.used,
                percent(row.kept_share),
                row.used_of_distilled,
                percent(row.kept_share_of_distilled),
                percent(row.reachable_share),
                row.distil_ms_p50,
            );
        }
        self.live_table(&mut text);
        text
    }

    fn live_table(&self, text: &mut String) {
        if self.arms.is_empty() {
            return;
        }
        text.push_str(
            "\nset  arm  at a time | sessions turns | a session, a call | prompt tokens full, \
             served, computed | swaps | waited\n",
        );
        for row in &self.arms {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}  {}  {} | {} {} | {:.1} s, {:.2} s | {}, {}, {} | {} | {:.3} s",
                row.set,
                row.arm,
                row.sessions,
                row.tasks,
                row.llm_calls,
                row.task_seconds_mean,
                row.call_seconds_mean,
                row.prompt_tokens_full,
                row.prompt_tokens_served,
                row.prompt_tokens_computed,
                row.swaps,
                row.stall_seconds,
            );
        }
    }
}
