//! A policy that knows the future: what each session still has to compute, and when it calls next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentinfer_engine::{Batch, Entry, LatencyCurve, ModelLimits};
use agentinfer_sched::{Candidate, Costs, Policy, Resident, Running, View, Waiting};

use super::script::{CallId, Script, engine_session, workload_session};
use super::workload::{Call, Workload};

/// What will happen, as far as it is decided at one moment. Times are seconds.
#[derive(Debug, Default)]
struct Future {
    /// Of each session of the workload, the work that is left.
    left: Vec<f64>,
    /// Of each agent that calls again, as the engine's session, when it will.
    next: HashMap<u64, f64>,
    /// The workload's session of each request.
    owners: HashMap<u64, usize>,
}

type Shared = Arc<Mutex<Future>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Future> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks into the script and tells the bound.
pub(super) struct Oracle<'a> {
    workload: &'a Workload,
    prefill_seconds: f64,
    decode_seconds: f64,
    /// Agents that wait to be admitted, by request.
    queued: HashMap<u64, u64>,
    future: Shared,
}

/// Requests among which a decode step's time is thought to be divided.
const SHARED_BY: usize = 4;

impl<'a> Oracle<'a> {
    /// An oracle for a workload on a machine with this latency.
    pub(super) fn new(workload: &'a Workload, curve: &LatencyCurve, limits: ModelLimits) -> Self {
        let per_token = |tokens: usize| {
            let entry = Entry {
                token: 0,
                position: 0,
                sequence: 0,
                logits: false,
            };
            let entries = vec![entry; tokens];
            curve.seconds(&Batch { entries }, 0) / tokens as f64
        };
        Self {
            workload,
            prefill_seconds: per_token(limits.batch_tokens as usize),
            decode_seconds: per_token(SHARED_BY),
            queued: HashMap::new(),
            future: Shared::default(),
        }
    }

    /// Seconds of work in a call whose prefix is resident.
    fn service(&self, id: CallId) -> f64 {
        let call: &Call = &self.workload.sessions[id.session].calls[id.call];
        call.new.len() as f64 * self.prefill_seconds
            + call.output_tokens as f64 * self.decode_seconds
    }

    /// Notes whose request it is.
    pub(super) fn submitted(&mut self, request: u64, id: CallId) {
        lock(&self.future).owners.insert(request, id.session);
        let call = &self.workload.sessions[id.session].calls[id.call];
        if let Some(actor) = call.actor {
            self.queued
                .insert(request, engine_session(id.session, actor));
        }
    }

    /// Notes that a request was admitted.
    pub(super) fn admitted(&mut self, request: u64) {
        self.queued.remove(&request);
    }

    /// Notes what will happen from `now` on.
    pub(super) fn look(&mut self, script: &Script<'_>, now: f64) {
        let mut future = lock(&self.future);
        future.left = vec![0.0; self.workload.sessions.len()];
        for id in script.unended() {
            future.left[id.session] += self.service(id);
        }
        future.next.clear();
        for (id, at) in script.forecast(now, |id| self.service(id)) {
            let call = &self.workload.sessions[id.session].calls[id.call];
            if let Some(actor) = call.actor {
                let session = engine_session(id.session, actor);
                let next = future.next.entry(session).or_insert(at);
                *next = next.min(at);
            }
        }
        for &session in self.queued.values() {
            future.next.insert(session, now);
        }
    }
}

/// How the bound uses memory. Neither is best everywhere, so both are played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Memory {
    /// Whoever fits comes in; out goes what is truly needed last.
    Belady,
    /// The shorter a session's remaining work, the better its right to what it holds. Nobody comes
    /// in at the cost of cells whose session has a better right and truly calls before they could
    /// be computed again; of the others, out goes what is needed last.
    Hold,
}

/// The truly shortest remaining work first.
#[derive(Debug)]
pub(super) struct Bound {
    future: Shared,
    memory: Memory,
    prefill_seconds: f64,
}

/// The share of the time that prefill takes from sessions with a better right that decode.
const PREFILL_SHARE: f64 = 0.1;

/// Lower than any right to cells: time in seconds stays far above.
const WORTHLESS: f64 = -1e15;

impl Bound {
    pub(super) fn new(oracle: &Oracle<'_>, memory: Memory) -> Self {
        Self {
            future: oracle.future.clone(),
            memory,
            prefill_seconds: oracle.prefill_seconds,
        }
    }

    /// The right of a request's session, the higher the less work is left to it.
    fn right(&self, request: u64) -> f64 {
        let future = lock(&self.future);
        let owner = future.owners.get(&request);
        owner.map_or(0.0, |&session| -future.left[session])
    }
}

impl Policy for Bound {
    fn name(&self) -> &'static str {
        "bound"
    }

    fn admission(&self, view: &View<'_>, request: &Waiting) -> Option<f64> {
        let right = self.right(request.id);
        let own = |idle: &Resident| idle.session.is_some() && idle.session == request.session;
        let weaker = |idle: &&Resident| !own(idle) && self.retention(view, idle) < right;
        let displaced = view.idle.iter().filter(weaker);
        let cells: u32 = displaced.map(|idle| idle.freed_cells).sum();
        let room = match self.memory {
            Memory::Belady => true,
            Memory::Hold => request.needed_cells <= view.free_cells + cells,
        };
        (request.fits && (room || view.running.is_empty())).then_some(right)
    }

    fn retention(&self, view: &View<'_>, sequence: &Resident) -> f64 {
        let future = lock(&self.future);
        let next = sequence.session.and_then(|session| {
            let next = future.next.get(&session)?;
            Some((session, *next))
        });
        let Some((session, next)) = next else {
            return f64::NEG_INFINITY;
        };
        let again = f64::from(sequence.cells) * self.prefill_seconds;
        match self.memory {
            Memory::Hold if next - view.now <= again => -future.left[workload_session(session)],
            Memory::Hold => WORTHLESS - next,
            Memory::Belady => -next,
        }
    }

    fn prefill_share(&self, _costs: &Costs) -> f64 {
        PREFILL_SHARE
    }

    fn tenure(&self, _view: &View<'_>, request: &Running) -> f64 {
        self.right(request.id)
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        let left = |request| {
            let seconds = -self.right(request);
            format!("its session has {seconds:.1} s of work left")
        };
        match candidate {
            Candidate::Waiting(request) if self.admission(view, request).is_none() => {
                left(request.id) + "; held: too few cells without those with a better right"
            }
            Candidate::Waiting(request) => left(request.id),
            Candidate::Running(request) => left(request.id),
            Candidate::Idle(sequence) => {
                let future = lock(&self.future);
                let next = sequence
                    .session
                    .and_then(|session| future.next.get(&session));
                next.map_or("is never needed again".to_owned(), |next| {
                    format!("is needed in {:.1} s", next - view.now)
                })
            }
        }
    }
}
