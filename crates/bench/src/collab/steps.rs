//! What single steps show: how well the small model does each kind, what its checks are worth, and
//! how fast a controller would be that knew which steps it does well.

use std::collections::BTreeMap;

use agentinfer_collab::{Entry, Outcome, Tier, Verdict};
use serde::Serialize;

use super::TaskRow;

/// A kind of steps that both tiers have taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepsRow {
    /// The arm.
    pub arm: String,
    /// The kind.
    pub kind: String,
    /// How many steps both tiers have taken.
    pub steps: usize,
    /// Of these, how many both came to the same in.
    pub same: usize,
    /// Mean seconds of the small tier.
    pub small_seconds: f64,
    /// Mean seconds of the large tier.
    pub large_seconds: f64,
    /// Of the steps that the progress check called progress, how many were the same; none where
    /// it was not made.
    pub check_precision: Option<f64>,
    /// Of the steps that were the same, how many the check called progress.
    pub check_recall: Option<f64>,
    /// Seconds that steps of this kind would take if each were given at once to the small tier
    /// where it does as well as the large one, and to the large one elsewhere.
    pub oracle_seconds: f64,
}

/// A step that both tiers have taken.
struct Pair {
    kind: String,
    small: Outcome,
    large: Outcome,
}

/// The steps of an arm that both tiers have taken, by kind.
pub(super) fn steps(arm: &str, rows: &[TaskRow]) -> Vec<StepsRow> {
    let mut kinds: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.arm == arm) {
        for pair in pairs(&row.steps) {
            kinds.entry(pair.kind.clone()).or_default().push(pair);
        }
    }
    let rows = kinds.into_iter();
    rows.map(|(kind, pairs)| summarize(arm, kind, &pairs))
        .collect()
}

fn pairs(entries: &[Entry]) -> Vec<Pair> {
    let mut kinds: BTreeMap<u64, &str> = BTreeMap::new();
    let mut small: BTreeMap<u64, &Outcome> = BTreeMap::new();
    let mut pairs = Vec::new();
    for entry in entries {
        match entry {
            Entry::Begin { id, step, decision } if decision.tier == Tier::Small => {
                kinds.insert(*id, &step.kind);
            }
            Entry::Begin { .. } => {}
            Entry::Finish { id, outcome, again } => match (again, small.remove(id)) {
                (Some(_), _) => {
                    small.insert(*id, outcome);
                }
                (None, Some(before)) => pairs.push(Pair {
                    kind: kinds.get(id).copied().unwrap_or_default().to_owned(),
                    small: before.clone(),
                    large: outcome.clone(),
                }),
                (None, None) => {}
            },
        }
    }
    pairs
}

fn summarize(arm: &str, kind: String, pairs: &[Pair]) -> StepsRow {
    let count = |of: &dyn Fn(&Pair) -> bool| pairs.iter().filter(|pair| of(pair)).count();
    let mean = |of: fn(&Pair) -> f64| crate::statistics::mean(pairs.iter().map(of));
    let same = |pair: &Pair| pair.large.same == Some(true);
    let progress = |pair: &Pair| pair.small.verdict == Verdict::Progress;
    let both = count(&|pair| same(pair) && progress(pair)) as f64;
    let checked = count(&|pair| pair.small.verdict != Verdict::Missing) > 0;
    let share = |of: usize| (checked && of > 0).then(|| both / of as f64);
    let oracle = |pair: &Pair| match pair.large.same {
        Some(true) => pair.small.seconds,
        _ => pair.large.seconds,
    };
    StepsRow {
        arm: arm.to_owned(),
        steps: pairs.len(),
        same: count(&same),
        small_seconds: mean(|pair| pair.small.seconds),
        large_seconds: mean(|pair| pair.large.seconds),
        check_precision: share(count(&progress)),
        check_recall: share(count(&same)),
        oracle_seconds: pairs.iter().map(oracle).sum(),
        kind,
    }
}
