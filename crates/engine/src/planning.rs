//! The engine's situation as a scheduling policy sees it.

use agentinfer_sched::{Resident, Running, View, Waiting};

use crate::engine::Placement;
use crate::sequence::Sequence;
use crate::{Engine, Model, SequenceId};

/// Cells that a request is promised for its growth when it is admitted, so that a newcomer does
/// not force a preemption within its first tokens.
const GROWTH_RESERVE: usize = 64;

impl<M: Model> Engine<M> {
    /// The idle sequences with what is known about their sessions.
    pub(crate) fn idle(&self) -> Vec<(SequenceId, Resident)> {
        let mut idle = self.residency.idle();
        for (_, resident) in &mut idle {
            let known = resident.session.and_then(|id| self.sessions.get(id));
            if let Some(session) = known {
                resident.session_arrived = session.arrived;
                resident.expected_gap = session.expected_gap();
                resident.ended = session.ended;
            }
        }
        idle
    }

    /// The running requests.
    pub(crate) fn seen_running(&self) -> Vec<Running> {
        self.running
            .iter()
            .map(|sequence| self.as_running(sequence))
            .collect()
    }

    /// The moment, without the candidates of a decision.
    pub(crate) fn view(&self) -> View<'static> {
        View {
            now: self.model.now(),
            free_cells: self.residency.free_cells(),
            idle_cells: self.residency.evictable_cells(),
            waiting: &[],
            running: &[],
            idle: &[],
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
        Waiting {
            id: sequence.id,
            arrived: sequence.times.submitted,
            prompt_tokens: sequence.tokens.len() as u32,
            resident_tokens,
            preemptions: sequence.preemptions,
            priority: sequence.hints.priority,
            background: sequence.hints.background,
            tenant: sequence.hints.tenant,
            attained_tokens: self.attained_tokens(sequence),
            session: sequence.session,
            session_arrived: self.session_arrived(sequence),
            needed_cells,
            fits: self.fits(needed_cells, placement.source),
        }
    }

    pub(crate) fn as_running(&self, sequence: &Sequence) -> Running {
        Running {
            id: sequence.id,
            arrived: sequence.times.submitted,
            cells: sequence.slot.map_or(0, |slot| self.residency.len(slot)),
            preemptions: sequence.preemptions,
            priority: sequence.hints.priority,
            background: sequence.hints.background,
            tenant: sequence.hints.tenant,
            attained_tokens: self.attained_tokens(sequence),
            session_arrived: self.session_arrived(sequence),
        }
    }

    /// The ids of running requests, those first that the policy would preempt last.
    pub(crate) fn in_order(&self, requests: &[&Sequence]) -> Vec<u64> {
        let view = self.view();
        let tenure = |request: &&Sequence| self.policy.tenure(&view, &self.as_running(request));
        let mut ordered: Vec<(f64, u64)> = requests
            .iter()
            .map(|request| (tenure(request), request.id))
            .collect();
        ordered.sort_by(|a, b| b.0.total_cmp(&a.0));
        ordered.into_iter().map(|(_, id)| id).collect()
    }

    /// When a request's session was first seen; a request without one is its own session.
    fn session_arrived(&self, sequence: &Sequence) -> f64 {
        let known = sequence.session.and_then(|id| self.sessions.get(id));
        known.map_or(sequence.times.submitted, |session| session.arrived)
    }

    /// Tokens computed for a request's session so far; a request without one is its own session.
    fn attained_tokens(&self, sequence: &Sequence) -> u64 {
        let known = sequence.session.and_then(|id| self.sessions.get(id));
        known.map_or(sequence.counts.computed, |session| session.attained_tokens)
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
