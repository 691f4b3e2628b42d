//! Arms beside the first, and what the first one's work would take at best.

use std::collections::BTreeMap;

use serde::Serialize;

use super::arm::Arm;
use super::block::Block;
use super::results::MeasuredArm;
use super::rows::{Counted, TaskRow};
use crate::statistics::{mean, paired_difference, paired_ratio};

/// An arm beside the first, on the same tasks with as many sessions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The arm.
    pub arm: String,
    /// The first arm.
    pub base: String,
    /// How many tasks at a time.
    pub sessions: usize,
    /// Tasks that both ran.
    pub tasks: usize,
    /// The first arm's seconds by this one's, and the ends of the 95 % interval (paired bootstrap
    /// over tasks).
    pub speedup: f64,
    /// The lower end.
    pub speedup_low: f64,
    /// The upper end.
    pub speedup_high: f64,
    /// This arm's tasks per hour by the first one's.
    pub throughput: f64,
    /// Mean F1 less the first arm's, likewise.
    pub f1_difference: f64,
    /// The lower end.
    pub f1_low: f64,
    /// The upper end.
    pub f1_high: f64,
    /// Prompt tokens that were computed, by the first arm's.
    pub prompt_computed_ratio: f64,
}

/// The least time for the first arm's work: each prompt token that it computed, and each that it
/// generated, at the best rate of prefill that any of its blocks had. No scheduling and no guessing
/// can beat that with the same model and the same calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// The first arm.
    pub arm: String,
    /// How many tasks at a time.
    pub sessions: usize,
    /// Tokens per second of prefill.
    pub prefill_rate: f64,
    /// Seconds of computing.
    pub seconds: f64,
    /// The time that the blocks took, by this.
    pub speedup: f64,
}

impl Bound {
    pub(super) fn of(arm: &Arm, sessions: usize, blocks: &[&Block]) -> Option<Self> {
        let counted = || blocks.iter().filter_map(|block| block.counted);
        let rate = |counted: Counted| {
            let seconds = counted.machine.prefill;
            (seconds > 0.0).then(|| counted.tokens.prompt_computed as f64 / seconds)
        };
        let rates = counted().filter_map(rate);
        let prefill_rate = rates.max_by(f64::total_cmp).filter(|rate| *rate > 0.0)?;
        let tokens = counted().map(|counted| counted.tokens);
        let tokens: u64 = tokens
            .map(|tokens| tokens.prompt_computed + tokens.generated)
            .sum();
        let seconds = tokens as f64 / prefill_rate;
        let wall: f64 = blocks.iter().map(|block| block.seconds).sum();
        Some(Self {
            arm: arm.name().to_owned(),
            sessions,
            prefill_rate,
            seconds,
            speedup: wall / seconds.max(f64::EPSILON),
        })
    }
}

impl Comparison {
    pub(super) fn of(
        arm: &Arm,
        own: &[&Block],
        base: &Arm,
        first: &[&Block],
        sessions: usize,
    ) -> Self {
        let pairs = pairs(own, first);
        let of = |of: fn(&Mean) -> f64| -> Vec<(f64, f64)> {
            pairs
                .iter()
                .map(|(own, first)| (of(own), of(first)))
                .collect()
        };
        let seconds = of(|task| task.seconds);
        let by_own: Vec<(f64, f64)> = seconds.iter().map(|&(own, first)| (first, own)).collect();
        let [speedup, speedup_low, speedup_high] = paired_ratio(&by_own);
        let [f1_difference, f1_low, f1_high] = paired_difference(&of(|task| task.f1));
        let [prompt_computed_ratio, ..] = paired_ratio(&of(|task| task.computed));
        let per_hour = |arm: &Arm, blocks: &[&Block]| {
            MeasuredArm::of(arm, sessions, blocks).own.tasks_per_hour
        };
        let (own, first) = (per_hour(arm, own), per_hour(base, first));
        Self {
            arm: arm.name().to_owned(),
            base: base.name().to_owned(),
            sessions,
            tasks: pairs.len(),
            speedup,
            speedup_low,
            speedup_high,
            throughput: if first > 0.0 { own / first } else { 0.0 },
            f1_difference,
            f1_low,
            f1_high,
            prompt_computed_ratio,
        }
    }
}

/// What an arm made of a task, means over its runs.
struct Mean {
    seconds: f64,
    f1: f64,
    /// Prompt tokens that were computed.
    computed: f64,
}

/// What two arms made of the tasks that both ran. Runs of a task are no samples of their own: they
/// are not independent.
fn pairs(own: &[&Block], first: &[&Block]) -> Vec<(Mean, Mean)> {
    let (own, mut first) = (Mean::by_task(own), Mean::by_task(first));
    let pair = |(id, own): (&str, Mean)| Some((own, first.remove(id)?));
    own.into_iter().filter_map(pair).collect()
}

impl Mean {
    fn by_task<'a>(blocks: &[&'a Block]) -> BTreeMap<&'a str, Self> {
        let mut rows: BTreeMap<&str, Vec<&TaskRow>> = BTreeMap::new();
        for row in blocks.iter().flat_map(|block| &block.rows) {
            rows.entry(&row.id).or_default().push(row);
        }
        let of = |rows: Vec<&TaskRow>| Self {
            seconds: mean(rows.iter().map(|row| row.seconds)),
            f1: mean(rows.iter().map(|row| row.f1)),
            computed: mean(rows.iter().map(|row| row.prompt_tokens_computed as f64)),
        };
        rows.into_iter().map(|(id, rows)| (id, of(rows))).collect()
    }
}
