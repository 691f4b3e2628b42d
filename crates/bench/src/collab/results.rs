//! The rows of the report, and how sure they are.

use std::fmt::Write;

use agentinfer_collab::Policy;
use serde::Serialize;

use super::TaskRow;
use super::steps::{StepsRow, steps};
use crate::research::ArmRow as Totals;
use crate::statistics::{mcnemar, mean, paired_difference, paired_ratio};

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct CollabResults {
    /// One row per arm.
    pub arms: Vec<ArmRow>,
    /// Kinds of steps that both tiers have taken, for the arms in which they have.
    pub steps: Vec<StepsRow>,
    /// What no controller can beat with these arms.
    pub bound: Bound,
    /// One row per arm and task.
    pub tasks: Vec<TaskRow>,
}

/// Each task given at once to the fastest arm that answers it no worse than the first: what a
/// controller would reach that knew the outcome of every run. Arms that have both tiers take every
/// step are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bound {
    /// Mean F1.
    pub f1: f64,
    /// Mean seconds of a task.
    pub task_seconds_mean: f64,
    /// The first arm's time by this one's.
    pub speedup: f64,
}

/// An arm's totals and means, beside the first arm's. Tasks run one after another.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ArmRow {
    /// The arm by itself.
    #[serde(flatten)]
    pub own: Totals,
    /// Mean F1 less the first arm's, and the ends of its 95 % interval (paired bootstrap).
    pub f1_difference: [f64; 3],
    /// Probability of as many differing exact matches by chance (McNemar, exact).
    pub em_mcnemar_p: f64,
    /// The first arm's time by this one's, and the ends of its 95 % interval.
    pub speedup: [f64; 3],
}

impl CollabResults {
    pub(super) fn of(policies: &[Policy], tasks: Vec<TaskRow>) -> Self {
        let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
        let of =
            |arm: &str| -> Vec<&TaskRow> { tasks.iter().filter(|row| row.arm == arm).collect() };
        let first = names.first().map(|arm| of(arm)).unwrap_or_default();
        Self {
            arms: names
                .iter()
                .map(|arm| ArmRow::of(arm, &of(arm), &first))
                .collect(),
            steps: names.iter().flat_map(|arm| steps(arm, &tasks)).collect(),
            bound: Bound::of(&first, &tasks),
            tasks,
        }
    }

    /// A table of the arms, and one of the steps if there are any.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<34} {:>6} {:>6} {:>22} {:>7} {:>20} {:>6} {:>8}\n",
            "arm", "EM", "F1", "F1 by first", "seconds", "times as fast", "large", "switches"
        );
        for row in &self.arms {
            let [f1, low, high] = row.f1_difference;
            let [speedup, slow, fast] = row.speedup;
            let _ = writeln!(
                text,
                "{:<34} {:>6.3} {:>6.3} {:>+7.3} [{:>+.3}, {:>+.3}] {:>7.1} {:>6.2} [{:.2}, {:.2}] \
                 {:>6.2} {:>8}",
                row.own.arm,
                row.own.em,
                row.own.f1,
                f1,
                low,
                high,
                row.own.task_seconds_mean,
                speedup,
                slow,
                fast,
                row.own.large_step_share,
                row.own.switches,
            );
        }
        for row in &self.steps {
            let _ = writeln!(
                text,
                "{} {}: {} steps by both tiers, the same in {}; {:.1} s small, {:.1} s large, \
                 {:.1} s if it were known; check: precision {}, recall {}",
                row.arm,
                row.kind,
                row.steps,
                row.same,
                row.small_seconds,
                row.large_seconds,
                row.oracle_seconds / row.steps as f64,
                shown(row.check_precision),
                shown(row.check_recall),
            );
        }
        let Bound { f1, speedup, .. } = self.bound;
        let _ = writeln!(
            text,
            "if every run's outcome were known: F1 {f1:.3}, {speedup:.2} times as fast"
        );
        text.trim_end().to_owned()
    }
}

impl Bound {
    fn of(first: &[&TaskRow], tasks: &[TaskRow]) -> Self {
        let best = |own: &&TaskRow| {
            let same = tasks.iter().filter(|row| row.id == own.id);
            let able = same.filter(|row| row.f1 >= own.f1 && !row.arm.starts_with("both"));
            able.min_by(|one, other| one.seconds.total_cmp(&other.seconds))
        };
        let best: Vec<&TaskRow> = first.iter().filter_map(best).collect();
        let seconds = mean(best.iter().map(|row| row.seconds));
        let of_first = mean(first.iter().map(|row| row.seconds));
        Self {
            f1: mean(best.iter().map(|row| row.f1)),
            task_seconds_mean: seconds,
            speedup: if seconds > 0.0 {
                of_first / seconds
            } else {
                0.0
            },
        }
    }
}

fn shown(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.2}"))
}

impl ArmRow {
    fn of(arm: &str, rows: &[&TaskRow], first: &[&TaskRow]) -> Self {
        let pairs: Vec<(&TaskRow, &TaskRow)> =
            rows.iter().copied().zip(first.iter().copied()).collect();
        let of = |of: fn(&TaskRow) -> f64| -> Vec<(f64, f64)> {
            pairs
                .iter()
                .map(|(row, first)| (of(row), of(first)))
                .collect()
        };
        let seconds = of(|row| row.seconds);
        let by_own: Vec<(f64, f64)> = seconds.iter().map(|&(own, first)| (first, own)).collect();
        let differ = |better: bool| {
            let differs = |pair: &&(&TaskRow, &TaskRow)| match better {
                true => pair.0.em > pair.1.em,
                false => pair.0.em < pair.1.em,
            };
            pairs.iter().filter(differs).count()
        };
        Self {
            own: own(arm, rows),
            f1_difference: paired_difference(&of(|row| row.f1)),
            em_mcnemar_p: mcnemar(differ(true), differ(false)),
            speedup: paired_ratio(&by_own),
        }
    }
}

/// An arm's totals and means.
fn own(arm: &str, rows: &[&TaskRow]) -> Totals {
    let sum = |of: fn(&TaskRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
    let mean_of = |of: fn(&TaskRow) -> f64| mean(rows.iter().map(|row| of(row)));
    let prompt = sum(|row| row.totals.prompt_tokens);
    let calls = sum(|row| u64::from(row.totals.llm_calls));
    let large = sum(|row| u64::from(row.totals.large_calls));
    let seconds = mean_of(|row| row.seconds);
    Totals {
        arm: arm.to_owned(),
        tasks: rows.len(),
        em: mean_of(|row| row.em),
        f1: mean_of(|row| row.f1),
        task_seconds_mean: seconds,
        tasks_per_hour: if seconds > 0.0 { 3600.0 / seconds } else { 0.0 },
        turns_mean: mean_of(|row| f64::from(row.totals.llm_calls)),
        llm_calls: calls,
        prompt_tokens_full: sum(|row| row.totals.full_tokens),
        prompt_tokens_served: prompt,
        prompt_tokens_computed: prompt - sum(|row| row.totals.cached_tokens),
        completion_tokens: sum(|row| row.totals.completion_tokens),
        large_step_share: large as f64 / calls.max(1) as f64,
        switches: sum(|row| u64::from(row.totals.switches)),
        // Checks and second attempts are part of the time; nothing is done in the background.
        stall_seconds: 0.0,
        errors: sum(|row| u64::from(row.error.is_some())),
    }
}
