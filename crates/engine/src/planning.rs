//! The engine's situation as a scheduling policy sees it.

use std::cmp::Ordering;

use agentinfer_sched::{Resident, Running, View, Waiting};

use crate::engine::Placement;
use crate::sequence::Sequence;
use crate::{Engine, Model, SequenceId};

/// Cells that a request is promised for its growth when it is admitted, so that a newcomer does
/// not force a preemption within its first tokens.
const GROWTH_RESERVE: usize = 64;

/// What a policy may choose from.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Requests that wait for admission only, not for another's prefill.
    pub(crate) waiting: Vec<Waiting>,
    /// For each of these, its index among all that wait and where it can be placed.
    pub(crate) placements: Vec<(usize, Placement)>,
    /// The running requests, for those that wait.
    in_flight: Vec<InFlight>,
    pub(crate) running: Vec<Running>,
    pub(crate) idle: Vec<Resident>,
    /// For each of these, its sequence.
    pub(crate) idle_ids: Vec<SequenceId>,
}

/// A running request whose prompt others may have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) slot: SequenceId,
    /// Its index among the running.
    pub(crate) index: usize,
    /// Its tokens, and how many of them are computed.
    pub(crate) length: usize,
    pub(crate) computed: usize,
}

/// A running request's turn to put tokens into the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) request: u64,
    /// Whether only one of its tokens is not computed, and another is to follow.
    pub(crate) decodes: bool,
    /// Who has more comes first, among those that prefill.
    pub(crate) tenure: f64,
    /// Its index among the running, as long as nobody is preempted: the order of equals.
    pub(crate) index: usize,
}

impl<M: Model> Engine<M> {
    /// Lists the requests that can be admitted if there is room.
    pub(crate) fn see_waiting(&mut self, seen: &mut Candidates) {
        seen.waiting.clear();
        seen.placements.clear();
        seen.in_flight.clear();
        let running = self.running.iter().enumerate();
        seen.in_flight
            .extend(running.filter_map(|(index, sequence)| {
                sequence.slot.map(|slot| InFlight {
                    slot,
                    index,
                    length: sequence.tokens.len(),
                    computed: self.residency.len(slot) as usize,
                })
            }));
        let promised = self.promised_cells();
        for index in 0..self.waiting.len() {
            if !self.ahead.admits(&self.waiting[index]) {
                continue;
            }
            let placement = self.placement(index, &seen.in_flight);
            if !placement.wait {
                let request = self.as_waiting(&self.waiting[index], &placement, promised);
                seen.waiting.push(request);
                seen.placements.push((index, placement));
            }
        }
    }

    /// Lists those running requests that are meant.
    pub(crate) fn see_running(&self, seen: &mut Candidates, meant: impl Fn(&Sequence) -> bool) {
        seen.running.clear();
        let meant = self.running.iter().filter(|sequence| meant(sequence));
        seen.running
            .extend(meant.map(|sequence| self.as_running(sequence)));
    }

    /// Lists the idle sequences with what is known about their sessions, `keep` left out.
    pub(crate) fn see_idle(&self, seen: &mut Candidates, keep: Option<SequenceId>) {
        seen.idle.clear();
        seen.idle_ids.clear();
        for (id, mut resident) in self.residency.idle() {
            if Some(id) == keep {
                continue;
            }
            let known = resident.session.and_then(|id| self.sessions.get(id));
            if let Some(session) = known {
                resident.session_arrived = session.arrived;
                resident.expected_gap = session.expected_gap();
                resident.priority = session.priority;
                resident.background = session.background;
                resident.ended = session.ended;
            }
            seen.idle.push(resident);
            seen.idle_ids.push(id);
        }
    }

    /// Lists all candidates of an admission, in the place of what was listed last. They are to be
    /// put back when they are no longer needed.
    pub(crate) fn see_all(&mut self) -> Candidates {
        let mut seen = std::mem::take(&mut self.candidates);
        self.see_waiting(&mut seen);
        self.see_running(&mut seen, |_| true);
        self.see_idle(&mut seen, None);
        seen
    }

    /// The moment, with these candidates.
    pub(crate) fn view_of<'a>(&self, seen: &'a Candidates) -> View<'a> {
        View {
            waiting: &seen.waiting,
            running: &seen.running,
            idle: &seen.idle,
            ..self.view()
        }
    }

    /// The moment, without the candidates of a decision.
    pub(crate) fn view(&self) -> View<'static> {
        View {
            now: self.model.now(),
            free_cells: self.residency.free_cells(),
            idle_cells: self.residency.evictable_cells(),
            costs: self.costs.costs(self.store.is_some()),
            ..View::default()
        }
    }

    /// A waiting request, where `promised` cells are the running ones'.
    pub(crate) fn as_waiting(
        &self,
        sequence: &Sequence,
        placement: &Placement,
        promised: usize,
    ) -> Waiting {
        let resident_tokens = placement.source.map_or(0, |(_, tokens)| tokens);
        let missing = sequence.tokens.len() - resident_tokens as usize;
        let needed_cells = (missing + growth(sequence) + promised) as u32;
        let (session_arrived, attained_tokens) = self.history(sequence);
        let restorable = sequence.stored.until.min(sequence.tokens.len());
        Waiting {
            id: sequence.id,
            arrived: sequence.times.submitted,
            prompt_tokens: sequence.tokens.len() as u32,
            resident_tokens,
            restorable_tokens: (restorable as u32).saturating_sub(resident_tokens),
            preemptions: sequence.preemptions,
            priority: sequence.hints.priority,
            background: sequence.hints.background,
            prewarms: sequence.prewarms(),
            tenant: sequence.hints.tenant,
            tenant_lead_tokens: self.tenant_lead(sequence),
            attained_tokens,
            session: sequence.session,
            session_arrived,
            needed_cells,
            fits: self.fits(needed_cells, placement.source),
        }
    }

    pub(crate) fn as_running(&self, sequence: &Sequence) -> Running {
        let (session_arrived, attained_tokens) = self.history(sequence);
        Running {
            id: sequence.id,
            arrived: sequence.times.submitted,
            cells: sequence.slot.map_or(0, |slot| self.residency.len(slot)),
            preemptions: sequence.preemptions,
            priority: sequence.hints.priority,
            background: sequence.hints.background,
            tenant: sequence.hints.tenant,
            tenant_lead_tokens: self.tenant_lead(sequence),
            attained_tokens,
            session_arrived,
        }
    }

    /// Lists the running requests: first those that decode, then those that prefill, of these the
    /// ones first that the policy would preempt last.
    pub(crate) fn order_turns(&self, turns: &mut Vec<Turn>) {
        turns.clear();
        let view = self.view();
        let running = self.running.iter().enumerate();
        turns.extend(running.map(|(index, sequence)| Turn {
            request: sequence.id,
            decodes: self.uncomputed(sequence) == 1 && sequence.max_tokens > 0,
            tenure: self.policy.tenure(&view, &self.as_running(sequence)),
            index,
        }));
        turns.sort_unstable_by(|a, b| {
            let phase = b.decodes.cmp(&a.decodes);
            let tenure = match a.decodes {
                true => Ordering::Equal,
                false => b.tenure.total_cmp(&a.tenure),
            };
            phase.then(tenure).then(a.index.cmp(&b.index))
        });
    }

    /// How many tokens more a request's tenant got lately than the one that got least.
    fn tenant_lead(&self, sequence: &Sequence) -> f64 {
        if !self.tenants.are_several() {
            return 0.0;
        }
        let served = self.tenants.served(sequence.hints.tenant, self.model.now());
        (served - self.least_served).max(0.0)
    }

    /// Notes what the tenant got that got least of those who have requests here.
    pub(crate) fn compare_tenants(&mut self) {
        if !self.tenants.are_several() {
            return;
        }
        let now = self.model.now();
        let requests = self.waiting.iter().chain(&self.running);
        let served = requests.map(|request| self.tenants.served(request.hints.tenant, now));
        self.least_served = served.min_by(f64::total_cmp).unwrap_or_default();
    }

    /// When a request's session was first seen, and the tokens computed for it so far; a request
    /// without one is its own session.
    fn history(&self, sequence: &Sequence) -> (f64, u64) {
        let known = sequence.session.and_then(|id| self.sessions.get(id));
        known.map_or(
            (sequence.times.submitted, sequence.counts.computed),
            |session| (session.arrived, session.attained_tokens),
        )
    }

    /// Cells that were promised to the running requests: for what they have not computed yet, and
    /// for their first growth.
    pub(crate) fn promised_cells(&self) -> usize {
        let promised = |other: &Sequence| self.uncomputed(other) + growth(other);
        self.running.iter().map(promised).sum()
    }

    /// Whether so many cells can be had without preempting anybody.
    fn fits(&self, needed_cells: u32, source: Option<(SequenceId, u32)>) -> bool {
        // Cells of an idle source stop being evictable when the request takes or shares them.
        let kept = source
            .filter(|(id, _)| self.residency.is_idle(*id))
            .map_or(0, |(_, tokens)| tokens);
        let available = self.residency.free_cells() + self.residency.evictable_cells();
        // Alone, every request fits: its length was checked against the context on submission.
        needed_cells + kept <= available || self.running.is_empty()
    }
}

/// Cells that a request is promised beside those of its tokens.
fn growth(sequence: &Sequence) -> usize {
    GROWTH_RESERVE.min(sequence.max_tokens.saturating_sub(sequence.generated()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::WORTH_WAITING_FOR;
    use crate::prefixes::{Cursor, common_prefix};
    use crate::{EngineOptions, LatencyCurve, ModelLimits, Request, SimModel, SimVocabulary};

    /// Who can be admitted, and on what, by searching from the beginning and comparing with every
    /// running request.
    fn naive(engine: &Engine<SimModel>) -> Vec<(usize, Option<(SequenceId, u32)>)> {
        let residency = &engine.residency;
        let candidate = |(index, sequence): (usize, &Sequence)| {
            let useful = &sequence.tokens[..sequence.tokens.len() - 1];
            let source = residency.longest_prefix(useful, &mut Cursor::default());
            let resident = source.map_or(0, |(_, tokens)| tokens as usize);
            let wait = engine.running.iter().any(|other| {
                let computed = other.slot.map_or(0, |slot| residency.len(slot) as usize);
                let shared = common_prefix(&other.tokens, useful);
                let worth_it = shared == useful.len() || shared >= resident + WORTH_WAITING_FOR;
                computed < shared && worth_it
            });
            (!wait).then_some((index, source))
        };
        let waiting = engine.waiting.iter().enumerate();
        waiting.filter_map(candidate).collect()
    }

    proptest! {
        #[test]
        fn candidates_equal_those_found_without_any_memory(
            prompts in prop::collection::vec(
                (0usize..3, prop::collection::vec(97u32..99, 1..60), 1u32..30), 1..14
            ),
            cells in 160u32..500,
            sequences in 1u32..9,
        ) {
            let limits = ModelLimits {
                cells,
                sequences,
                batch_tokens: 32,
                ..SimModel::default().limits()
            };
            let model = SimModel::new(limits, LatencyCurve::default());
            let vocabulary = Arc::new(SimVocabulary::default());
            let mut engine = Engine::new(model, vocabulary, EngineOptions::default());
            let mut seen = Candidates::default();
            let mut completions = Vec::new();
            let mut prompts = prompts.into_iter();
            while !engine.is_idle() || prompts.len() > 0 {
                for (trunk, tail, max_tokens) in prompts.by_ref().take(2) {
                    let prompt = [vec![120; 20 * trunk], tail].concat();
                    let request = Request::new(prompt).max_tokens(max_tokens);
                    completions.push(engine.submit(request));
                }
                engine.see_waiting(&mut seen);
                let found = seen.placements.iter();
                let found: Vec<_> = found.map(|(index, it)| (*index, it.source)).collect();
                prop_assert_eq!(found, naive(&engine));
                engine.step();
            }
        }
    }
}
