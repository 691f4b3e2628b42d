//! How a decision is made from scores.

use std::fmt::Debug;

use crate::{Costs, Resident, Running, View, Waiting};

/// Scores what the engine could do next. The three decisions are always made alike: the waiting
/// request of the highest admission score is admitted, the idle sequence of the lowest retention
/// score is evicted (those of ended sessions before all others), the running request of the lowest
/// tenure score is preempted. So the scores of all candidates explain a decision completely.
///
/// A policy that is not about eviction or preemption keeps the baseline's: least recently used out
/// first, last come preempted first.
pub trait Policy: Debug + Send {
    /// Its name in configuration and traces.
    fn name(&self) -> &'static str;

    /// Looks at the whole situation, once before the candidates of a decision are scored.
    fn observe(&mut self, view: &View<'_>) {
        let _ = view;
    }

    /// The score of admitting a waiting request; none to keep it waiting for now. If one that does
    /// not fit has the highest score, nobody is admitted until it does. While nobody runs, every
    /// request fits, and one must get a score: else the engine stands still. Only one that
    /// [pre-warms](Waiting::prewarms) may be refused then, and ends.
    fn admission(&self, view: &View<'_>, request: &Waiting) -> Option<f64>;

    /// The score of keeping an idle sequence.
    fn retention(&self, view: &View<'_>, sequence: &Resident) -> f64 {
        let _ = view;
        sequence.last_used
    }

    /// The share of the time, above 0, that prefill may take from requests that decode meanwhile
    /// and have a higher tenure score; 1 if they need not be spared.
    fn prefill_share(&self, costs: &Costs) -> f64 {
        let _ = costs;
        1.0
    }

    /// The score of letting a running request go on.
    fn tenure(&self, view: &View<'_>, request: &Running) -> f64 {
        let _ = view;
        -(request.id as f64)
    }

    /// Why a candidate has its score, or none, in words; asked only by who traces decisions.
    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        let _ = (view, candidate);
        String::new()
    }

    /// The shadow price of KV memory in a situation, where the policy has one; asked only by who
    /// traces decisions.
    fn price(&self, view: &View<'_>) -> Option<f64> {
        let _ = view;
        None
    }
}

/// What a decision may choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Candidate<'a> {
    /// A request that may be admitted.
    Waiting(&'a Waiting),
    /// An idle sequence that may be evicted.
    Idle(&'a Resident),
    /// A running request that may be preempted.
    Running(&'a Running),
}

/// A choice and why it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Index into the view's list that the decision is about.
    pub index: usize,
    /// Its score.
    pub score: f64,
}

/// The waiting request to admit next; none to admit nobody now.
pub fn admit(policy: &mut dyn Policy, view: &View<'_>) -> Option<Choice> {
    policy.observe(view);
    let scored = view
        .waiting
        .iter()
        .enumerate()
        .filter_map(|(index, request)| {
            let score = policy.admission(view, request)?;
            Some((Choice { index, score }, request.id))
        });
    // Among equals, who came first.
    scored
        .max_by(|(a, one), (b, two)| a.score.total_cmp(&b.score).then(two.cmp(one)))
        .map(|(choice, _)| choice)
}

/// The idle sequence to evict when cells, or sequence ids, are short; none if nothing is idle.
///
/// Those of ended sessions go first. One that shares all its cells frees none. It is evicted only
/// when all others are like it: then its sequence id is what is wanted.
pub fn evict(policy: &mut dyn Policy, view: &View<'_>) -> Option<Choice> {
    policy.observe(view);
    let lowest = |wanted: fn(&Resident) -> bool| {
        let candidates = view.idle.iter().enumerate();
        candidates
            .filter(|(_, sequence)| wanted(sequence))
            .map(|(index, sequence)| Choice {
                index,
                score: policy.retention(view, sequence),
            })
            .min_by(|a, b| a.score.total_cmp(&b.score))
    };
    lowest(|sequence| sequence.ended && sequence.freed_cells > 0)
        .or_else(|| lowest(|sequence| sequence.freed_cells > 0))
        .or_else(|| lowest(|_| true))
}

/// The running request to preempt when nothing idle is left; none if none runs.
pub fn preempt(policy: &mut dyn Policy, view: &View<'_>) -> Option<Choice> {
    policy.observe(view);
    let scored = view
        .running
        .iter()
        .enumerate()
        .map(|(index, request)| Choice {
            index,
            score: policy.tenure(view, request),
        });
    scored.min_by(|a, b| a.score.total_cmp(&b.score))
}
