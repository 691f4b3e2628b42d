//! What was simulated, what ran full, and the table of it.

use std::fmt::Write;

use serde::Serialize;

use super::pair::{PairRow, PairSpec};
use super::play::Played;
use super::validate::RealRow;
use crate::sched::CallOutcome;
use crate::statistics::{half_interval, mean};

/// From this share of the time on, what takes it counts as saturated.
const SATURATED: f64 = 0.5;

/// What is said where nothing is saturated.
const NOTHING: &str = "nothing";

/// What a tier did until half of the sessions had ended, as shares of that time (0 to 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TierLoad {
    /// In which its device worked for it.
    pub busy_share: f64,
    /// Of this, what steps would take with one token each: reading the weights.
    pub floor_share: f64,
    /// Arithmetic beyond that.
    pub compute_share: f64,
    /// Reading the cells of contexts.
    pub context_share: f64,
    /// Copying evicted cells.
    pub copy_share: f64,
    /// Share of its cells in use, on average.
    pub cells_held_share: f64,
    /// The same of requests that run.
    pub cells_active_share: f64,
    /// Requests that ran, on average.
    pub running_mean: f64,
    /// Requests that waited, on average.
    pub waiting_mean: f64,
    /// In which requests waited to be admitted.
    pub waiting_share: f64,
    /// In which they did though more might have run: for cells.
    pub waiting_for_cells_share: f64,
}

impl TierLoad {
    /// What may run full, how full it is, and how it shows.
    fn resources(&self) -> [(&'static str, f64, &'static str); 4] {
        let slots = self.waiting_share - self.waiting_for_cells_share;
        [
            (
                "memory",
                self.waiting_for_cells_share,
                "requests waited for KV cells",
            ),
            (
                "compute",
                self.compute_share,
                "went into arithmetic beyond that of one token",
            ),
            (
                "bandwidth",
                self.context_share + self.copy_share,
                "went into reading and copying contexts",
            ),
            (
                "slots",
                slots,
                "as many requests ran as may, and others waited",
            ),
        ]
    }
}

/// An arm with so many sessions. Times are seconds of simulated time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScaleRow {
    /// The arm.
    pub arm: String,
    /// The models and what they compute on.
    pub pair: String,
    /// Sessions.
    pub sessions: usize,
    /// Which random workload.
    pub seed: u64,
    /// Mean time from a session's arrival to its end.
    pub task_seconds_mean: f64,
    /// Sessions by the time until the last of them ended.
    pub tasks_per_hour: f64,
    /// Mean time to a call's first token, from when it was due.
    pub ttft_mean_s: f64,
    /// Calls.
    pub llm_calls: u64,
    /// Share of the calls that the large model took.
    pub large_step_share: f64,
    /// Changes of the model from call to call of an agent.
    pub switches: u64,
    /// Prompt tokens that the models were given.
    pub prompt_tokens_served: u64,
    /// Of these, not resident when the call was admitted.
    pub prompt_tokens_computed: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Prompt tokens that were resident, or copied back, by all.
    pub hit_rate: f64,
    /// Prompt tokens that were computed before, by either model, and were not resident.
    pub recomputed_tokens: u64,
    /// Tokens whose cells were copied back after an eviction.
    pub restored_tokens: u64,
    /// Drafted tokens verified.
    pub drafted_tokens: u64,
    /// Of these, accepted.
    pub accepted_tokens: u64,
    /// The large tier.
    pub large: TierLoad,
    /// The small one.
    pub small: TierLoad,
    /// What was full for the largest share of the time, if for half of it: `large memory`, say;
    /// `device` stands for both tiers where they share one.
    pub first_saturated: String,
    /// Why, in words.
    pub reason: String,
    /// The first arm's time of a task by this one's.
    pub speedup: f64,
    /// This arm's tasks an hour by the first one's.
    pub throughput: f64,
}

impl ScaleRow {
    /// What a play came to, without names.
    pub(super) fn of(played: &Played, pair: &PairSpec) -> Self {
        let calls = &played.outcome.calls;
        let sum = |of: fn(&CallOutcome) -> u32| -> u64 {
            calls.iter().map(|call| u64::from(of(call))).sum()
        };
        let sessions = &played.outcome.session_seconds;
        let (served, cached) = (
            sum(|call| call.prompt_tokens),
            sum(|call| call.cached_tokens),
        );
        let (first_saturated, reason) = saturated(&played.tiers, pair.shared);
        Self {
            pair: pair.name.to_owned(),
            sessions: sessions.len(),
            task_seconds_mean: mean(sessions.iter().copied()),
            tasks_per_hour: sessions.len() as f64 * 3600.0 / played.outcome.seconds,
            ttft_mean_s: mean(calls.iter().map(|call| call.ttft_seconds)),
            llm_calls: calls.len() as u64,
            large_step_share: played.large_calls as f64 / calls.len() as f64,
            switches: played.switches,
            prompt_tokens_served: served,
            prompt_tokens_computed: served - cached,
            completion_tokens: sum(|call| call.completion_tokens),
            hit_rate: played.outcome.hit_rate(),
            recomputed_tokens: sum(|call| call.recomputed_tokens),
            restored_tokens: played.outcome.restored_tokens,
            drafted_tokens: played.drafted,
            accepted_tokens: played.accepted,
            large: played.tiers[0],
            small: played.tiers[1],
            first_saturated,
            reason,
            speedup: 1.0,
            throughput: 1.0,
            ..Self::default()
        }
    }

    /// The row beside the first arm's of the same workload.
    pub(super) fn beside(self, first: Option<&Self>) -> Self {
        let Some(first) = first else { return self };
        Self {
            speedup: first.task_seconds_mean / self.task_seconds_mean,
            throughput: self.tasks_per_hour / first.tasks_per_hour,
            ..self
        }
    }
}

/// What was full for the largest share of the time, and why.
fn saturated(tiers: &[TierLoad; 2], one_device: bool) -> (String, String) {
    let [large, small] = tiers.map(|tier| tier.resources());
    let mut full = Vec::new();
    for (large, small) in large.into_iter().zip(small) {
        let of_device = one_device && matches!(large.0, "compute" | "bandwidth");
        match of_device {
            true => full.push(("device", (large.0, large.1 + small.1, large.2))),
            false => full.extend([("large", large), ("small", small)]),
        }
    }
    let fullest = full
        .into_iter()
        .max_by(|one, other| one.1.1.total_cmp(&other.1.1));
    match fullest {
        Some((tier, (what, share, how))) if share >= SATURATED => (
            format!("{tier} {what}"),
            format!("{:.0} % of the time {how}", 100.0 * share),
        ),
        _ => (
            NOTHING.to_owned(),
            "nothing was full half of the time".to_owned(),
        ),
    }
}

/// Where an arm saturates first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FirstRow {
    /// The arm.
    pub arm: String,
    /// The fewest sessions of those simulated with which something does; none if nothing does.
    pub sessions: Option<usize>,
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// All that was simulated.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScaleResults {
    /// What the models and devices were taken to be.
    pub pairs: Vec<PairRow>,
    /// One row per number of sessions, seed and arm.
    pub scale: Vec<ScaleRow>,
    /// One row per arm.
    pub first: Vec<FirstRow>,
    /// One row per arm and number of sessions of the real runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub real: Vec<RealRow>,
}

impl ScaleResults {
    /// Says of each arm where it saturates first. Rows come with rising numbers of sessions.
    pub(super) fn conclude(&mut self) {
        for row in &self.scale {
            if self.first.iter().any(|first| first.arm == row.arm) {
                continue;
            }
            let mut own = self.scale.iter().filter(|other| other.arm == row.arm);
            let first = own.find(|row| row.first_saturated != NOTHING);
            let shown = first.unwrap_or(row);
            self.first.push(FirstRow {
                arm: row.arm.clone(),
                sessions: first.map(|row| row.sessions),
                what: shown.first_saturated.clone(),
                reason: shown.reason.clone(),
            });
        }
    }

    /// A table for people: means over the seeds, ratios to the first arm with the 95 % interval of
    /// their mean, and what saturates first.
    pub fn table(&self) -> String {
        let widest = self.scale.iter().map(|row| row.arm.len()).max();
        let width = widest.unwrap_or(0).max(3);
        let mut text = format!(
            "sessions {:<width$}    task s   times as fast   tasks/h   thr  ttft s  hits  large  \
             small  cells held   saturated\n",
            "arm"
        );
        for (index, row) in self.scale.iter().enumerate() {
            let same = |other: &&ScaleRow| other.arm == row.arm && other.sessions == row.sessions;
            if !self.scale[..index].iter().any(|other| same(&other)) {
                let group: Vec<_> = self.scale.iter().filter(same).collect();
                line(&mut text, width, &group);
            }
        }
        for first in &self.first {
            let _ = match first.sessions {
                Some(sessions) => writeln!(
                    text,
                    "{}: {} first, with {sessions} sessions: {}",
                    first.arm, first.what, first.reason
                ),
                None => writeln!(text, "{}: {}", first.arm, first.reason),
            };
        }
        for row in &self.real {
            let _ = writeln!(
                text,
                "{} with {} sessions: a task took {:.1} s, simulated {:.1} s, {:.3} of it",
                row.arm, row.sessions, row.real_s, row.simulated_s, row.ratio
            );
        }
        text
    }
}

/// A line of the table: the rows of one arm with so many sessions.
fn line(text: &mut String, width: usize, group: &[&ScaleRow]) {
    let average = |of: fn(&ScaleRow) -> f64| mean(group.iter().map(|row| of(row)));
    let ratios: Vec<f64> = group.iter().map(|row| row.speedup).collect();
    let _ = writeln!(
        text,
        "{:>8} {:<width$} {:>9.1}  {:>5.2} ± {:<5.2} {:>10.0} {:>5.2} {:>7.2} {:>4.0}% {:>5.0}% \
         {:>5.0}% {:>4.0}% {:>4.0}%   {}",
        group[0].sessions,
        group[0].arm,
        average(|row| row.task_seconds_mean),
        mean(ratios.iter().copied()),
        half_interval(&ratios),
        average(|row| row.tasks_per_hour),
        average(|row| row.throughput),
        average(|row| row.ttft_mean_s),
        100.0 * average(|row| row.hit_rate),
        100.0 * average(|row| row.large.busy_share),
        100.0 * average(|row| row.small.busy_share),
        100.0 * average(|row| row.large.cells_held_share),
        100.0 * average(|row| row.small.cells_held_share),
        group[0].first_saturated,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_half_of_the_time_is_saturated() {
        let idle = TierLoad::default();
        let computes = TierLoad {
            compute_share: 0.3,
            ..idle
        };
        let waits = TierLoad {
            waiting_share: 0.9,
            waiting_for_cells_share: 0.6,
            compute_share: 0.5,
            ..idle
        };
        for (large, small, one_device, what) in [
            (idle, idle, false, NOTHING),
            (computes, computes, false, NOTHING),
            (computes, computes, true, "device compute"),
            (computes, waits, false, "small memory"),
            (waits, computes, true, "device compute"),
        ] {
            let (found, reason) = saturated(&[large, small], one_device);
            assert_eq!(found, what, "{reason}");
        }
    }
}
