//! The engine's state, and how requests come in, are placed, give way and leave.

use std::sync::Arc;
use std::time::Duration;

use agentinfer_sam::{Drafter, NoDrafts, Origin, Speculation};
use agentinfer_sched::{CostModel, Policy, PolicySpec, View};
use tokio::sync::mpsc;

use crate::background::Ahead;
use crate::compaction::Compaction;
use crate::constraint::ConstraintFactory;
use crate::device::{Device, Seat};
use crate::drafting::Drafting;
use crate::event::{Event, FinishReason, Started};
use crate::offload::{CHUNK_TOKENS, Store};
use crate::pace::Pace;
use crate::planning::{Candidates, InFlight, Turn};
use crate::recording::Recorder;
use crate::residency::Residency;
use crate::sampling::Scratch;
use crate::sequence::{Reader, Sequence, Submission};
use crate::sessions::Sessions;
use crate::stats::{EngineStats, StatsSnapshot, add, set};
use crate::step::Share;
use crate::tenants::Tenants;
use crate::{Batch, Completion, EngineError, Model, ModelLimits, Request, SequenceId, Vocabulary};

/// Bounds and habits of the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineOptions {
    /// Requests that may wait or run at once; more are refused. Bounds the queue's memory and the
    /// longest wait: at a few seconds a request, this many are minutes already.
    pub max_requests: usize,
    /// Requests that run at once; never more than the model has sequences. The remaining
    /// sequences keep idle prefixes resident.
    pub max_running: usize,
    /// Who is admitted first, and who gives way.
    pub policy: PolicySpec,
    /// Prefill tokens of a step in which others decode, or for which other engines of the device
    /// wait. Small keeps their inter-token latency low; large computes prompts more efficiently.
    /// Whole tiles of attention are best ([`TILE`](crate::TILE)).
    pub prefill_chunk: usize,
    /// How many drafted tokens are verified.
    pub speculation: Speculation,
    /// Draft tokens verified per sequence and step, at most, where speculation is adaptive.
    pub max_draft: usize,
    /// Events that wait for a client before its sequence pauses. One is sent per token, so this
    /// is some seconds of generation.
    pub event_capacity: usize,
    /// Seconds after which a client that does not read is given up, and its cells are freed.
    pub stall_seconds: u64,
    /// Bytes of host memory for evicted cells, which are copied back when they are asked for;
    /// 0 for none.
    pub offload_bytes: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            max_requests: 256,
            max_running: 16,
            policy: PolicySpec::default(),
            prefill_chunk: 128,
            speculation: Speculation::default(),
            max_draft: 16,
            event_capacity: 256,
            stall_seconds: 60,
            offload_bytes: 2 << 30,
        }
    }
}

/// A request waits for another's prefill if it can share at least this many tokens more by
/// waiting: fewer are computed faster than they are waited for.
pub(crate) const WORTH_WAITING_FOR: usize = 32;

/// Serves many sequences on one model. See the [crate documentation](crate).
pub struct Engine<M> {
    pub(crate) model: M,
    pub(crate) limits: ModelLimits,
    pub(crate) vocabulary: Arc<dyn Vocabulary>,
    pub(crate) constraints: Arc<ConstraintFactory>,
    pub(crate) options: EngineOptions,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) drafter: Box<dyn Drafter>,
    pub(crate) drafting: Drafting,
    pub(crate) stats: Arc<EngineStats>,
    pub(crate) residency: Residency,
    pub(crate) compaction: Compaction,
    /// Evicted cells; none if nothing is kept.
    pub(crate) store: Option<Store>,
    pub(crate) sessions: Sessions,
    pub(crate) tenants: Tenants,
    /// Tokens computed lately for the tenant that got least.
    pub(crate) least_served: f64,
    /// What computing and copying cost on this machine.
    pub(crate) costs: CostModel,
    pub(crate) pace: Pace,
    /// Its place at the device.
    pub(crate) seat: Seat,
    /// What goes ahead of background work in this step.
    pub(crate) ahead: Ahead,
    pub(crate) waiting: Vec<Sequence>,
    pub(crate) running: Vec<Sequence>,
    /// Ended requests whose last events their clients have not taken yet.
    pub(crate) parting: Vec<Sequence>,
    pub(crate) batch: Batch,
    pub(crate) scratch: Scratch,
    // Lists that are filled anew again and again, kept so that planning does not allocate.
    pub(crate) candidates: Candidates,
    pub(crate) turns: Vec<Turn>,
    pub(crate) shares: Vec<Share>,
    /// Requests that came by [`submit`](Engine::submit).
    submitted: u64,
    /// Who wants to know what happens and why.
    pub(crate) recorder: Option<Recorder>,
    /// Wall-clock time of the last step's decisions.
    pub(crate) planned: Duration,
}

/// Where a request's prompt can be placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    /// The sequence that holds the longest prefix, and how many of its tokens are shared.
    pub(crate) source: Option<(SequenceId, u32)>,
    /// Whether more of the prompt is being computed for another request, or read from disk.
    pub(crate) wait: bool,
}

impl<M: Model> Engine<M> {
    /// An engine without drafts.
    pub fn new(model: M, vocabulary: Arc<dyn Vocabulary>, options: EngineOptions) -> Self {
        let mut limits = model.limits();
        limits.context_tokens = limits.context_tokens.min(limits.cells);
        let stats = Arc::new(EngineStats::default());
        set(&stats.cells_total, u64::from(limits.cells));
        let offloads = options.offload_bytes > 0 && model.saved_format().is_some();
        Self {
            store: offloads.then(|| Store::new(options.offload_bytes)),
            constraints: Arc::new(ConstraintFactory::new(vocabulary.clone())),
            residency: Residency::new(limits.sequences, limits.cells),
            sessions: Sessions::default(),
            tenants: Tenants::default(),
            least_served: 0.0,
            costs: CostModel::default(),
            pace: Pace::default(),
            seat: Device::default().join(),
            ahead: Ahead::default(),
            compaction: Compaction::new(&model),
            model,
            limits,
            vocabulary,
            policy: options.policy.build(),
            drafting: Drafting::new(options.speculation),
            options,
            drafter: Box::new(NoDrafts),
            stats,
            waiting: Vec::new(),
            running: Vec::new(),
            parting: Vec::new(),
            batch: Batch::default(),
            scratch: Scratch::default(),
            candidates: Candidates::default(),
            turns: Vec::new(),
            shares: Vec::new(),
            submitted: 0,
            recorder: None,
            planned: Duration::ZERO,
        }
    }

    /// Replaces the drafter.
    #[must_use]
    pub fn with_drafter(mut self, drafter: Box<dyn Drafter>) -> Self {
        self.drafter = drafter;
        self
    }

    /// Replaces the policy by one that the options cannot name.
    #[must_use]
    pub fn with_policy(mut self, policy: Box<dyn Policy>) -> Self {
        self.policy = policy;
        self
    }

    /// The engine's counters.
    pub fn stats(&self) -> StatsSnapshot {
        self.stats.snapshot()
    }

    /// How long the last step took to decide what it computes, on the wall clock whatever clock the
    /// model keeps.
    pub fn last_plan(&self) -> Duration {
        self.planned
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.parting.is_empty()
    }

    /// Validates and queues a request: for those who take the steps themselves, for instance on
    /// virtual time. Others use [`EngineHandle`](crate::EngineHandle).
    ///
    /// # Errors
    /// [`EngineError::InvalidRequest`] and [`EngineError::ContextOverflow`].
    pub fn submit(&mut self, request: Request) -> Result<Completion, EngineError> {
        request.validate(&self.limits)?;
        let matching = self.constraints.compile(&request.constraint)?;
        let (events, receiver) = mpsc::channel(self.options.event_capacity);
        self.submitted += 1;
        let id = self.submitted;
        self.enqueue(Submission {
            id,
            foreground: self.seat.request(&request.hints),
            request,
            matching,
            events,
            permit: None,
        });
        Ok(Completion {
            events: receiver,
            id,
        })
    }

    /// Tells in how many seconds a session should make its next call, where its client did not say
    /// so itself. Of no effect while a call of it is in work, and forgotten with its next one.
    pub fn expect_return(&mut self, session: u64, seconds: f64) {
        if self.sessions.expect_return(session, seconds) {
            add(&self.stats.expected_returns, 1);
        }
    }

    /// The model.
    pub fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    /// Queues a request.
    pub(crate) fn enqueue(&mut self, submission: Submission) {
        add(&self.stats.submitted, 1);
        let now = self.model.now();
        let mut sequence = Sequence::new(submission, now);
        self.look_up(&mut sequence);
        if let Some(session) = sequence.calling_session() {
            self.sessions.call(session, now);
        }
        self.drafter
            .begin(sequence.id, origin(&sequence), &sequence.tokens);
        self.record_submitted(&sequence);
        self.waiting.push(sequence);
    }

    /// Ends every request with `error`.
    pub(crate) fn fail_all(&mut self, error: &EngineError) {
        while let Some(sequence) = self.running.pop() {
            self.fail(sequence, error.clone());
        }
        while let Some(sequence) = self.waiting.pop() {
            self.fail(sequence, error.clone());
        }
    }

    /// Ends a request with an error.
    pub(crate) fn fail(&mut self, mut sequence: Sequence, error: EngineError) {
        let now = self.model.now();
        tracing::warn!(request = sequence.id, %error, "request failed");
        add(&self.stats.failed, 1);
        self.record_end(&sequence, "failed");
        sequence.outbox.send(Event::Failed(error), now);
        self.part(sequence);
    }

    /// Ends a request with its report.
    pub(crate) fn finish(&mut self, mut sequence: Sequence, reason: FinishReason) {
        let now = self.model.now();
        add(&self.stats.finished, 1);
        self.record_end(&sequence, "finished");
        let finish = sequence.finish(reason, now);
        sequence.outbox.send(Event::Finished(finish), now);
        self.part(sequence);
    }

    /// Lets a request go: its cells become an idle residency, its last events are delivered.
    fn part(&mut self, mut sequence: Sequence) {
        sequence.foreground = None;
        self.retire(&mut sequence);
        if !sequence.outbox.is_empty() {
            self.parting.push(sequence);
        }
    }

    /// Ends a request's part in drafting, in its session and in memory.
    fn retire(&mut self, sequence: &mut Sequence) {
        self.drafter.finish(sequence.id);
        if sequence.hints.ends_session {
            self.drafter.end_session(origin(sequence));
        }
        if let Some(session) = sequence.calling_session() {
            let now = self.model.now();
            self.sessions.leave(session, &sequence.hints, now);
        }
        self.release(sequence);
    }

    /// Turns a sequence's cells into an idle residency.
    pub(crate) fn release(&mut self, sequence: &mut Sequence) {
        if let Some(slot) = sequence.slot.take() {
            self.residency
                .deactivate(slot, self.model.now(), sequence.session);
        }
    }

    /// Delivers held events and lets go of requests whose clients are gone or do not read.
    pub(crate) fn attend_clients(&mut self) {
        let now = self.model.now();
        let limit = self.options.stall_seconds;
        let stalled_too_long = |since: f64| now - since > limit as f64;
        self.parting
            .retain_mut(|sequence| match sequence.outbox.flush(now) {
                Reader::Stalled(since) => !stalled_too_long(since),
                Reader::Ready | Reader::Gone => false,
            });
        let mut leaving = Vec::new();
        for queue in [&mut self.waiting, &mut self.running] {
            let mut index = 0;
            while index < queue.len() {
                let counter = match queue[index].outbox.flush(now) {
                    Reader::Stalled(since) if stalled_too_long(since) => &self.stats.stalled,
                    Reader::Gone => &self.stats.cancelled,
                    Reader::Ready | Reader::Stalled(_) => {
                        index += 1;
                        continue;
                    }
                };
                add(counter, 1);
                leaving.push(queue.remove(index));
            }
        }
        for mut sequence in leaving {
            tracing::debug!(request = sequence.id, "client is gone or does not read");
            self.record_end(&sequence, "cancelled");
            self.retire(&mut sequence);
        }
    }

    /// Requests that may run at once.
    pub(crate) fn most_running(&self) -> usize {
        self.options.max_running.min(self.limits.sequences as usize)
    }

    /// Admits waiting requests in the policy's order while there is room.
    pub(crate) fn admit(&mut self) {
        let most = self.most_running();
        self.compare_tenants();
        while self.running.len() < most && !self.waiting.is_empty() {
            let Some((index, source)) = self.next_admission() else {
                if self.running.is_empty() {
                    self.give_up_waiting();
                }
                return;
            };
            let sequence = self.waiting.remove(index);
            self.place(sequence, source);
        }
    }

    /// The waiting request that the policy admits now, and the sequence that it can share.
    fn next_admission(&mut self) -> Option<(usize, Option<(SequenceId, u32)>)> {
        let seen = self.see_all();
        let view = self.view_of(&seen);
        let choice = agentinfer_sched::admit(&mut *self.policy, &view);
        self.record_admission(&view, choice);
        let choice = choice.filter(|choice| seen.waiting[choice.index].fits);
        let admitted = choice.map(|choice| {
            let request = seen.waiting[choice.index].id;
            tracing::trace!(request, score = choice.score, "admitted");
            seen.placements[choice.index]
        });
        self.candidates = seen;
        admitted.map(|(index, placement)| (index, placement.source))
    }

    /// Finds the longest resident prefix of waiting request `index`.
    pub(crate) fn placement(&mut self, index: usize, in_flight: &[InFlight]) -> Placement {
        let Sequence { tokens, cursor, .. } = &mut self.waiting[index];
        // The last token is always computed: its logits are needed.
        let useful = &tokens[..tokens.len() - 1];
        let source = self.residency.longest_prefix(useful, cursor);
        let resident = source.map_or(0, |(_, tokens)| tokens as usize);
        // Another that will hold so many of its tokens is worth waiting for; one that will hold
        // all of them always is: nothing is left to compute.
        let worth_it = useful.len().min(resident + WORTH_WAITING_FOR);
        // Once the other has computed them they are resident, and waiting ends. Until then, all
        // that it has computed must agree, and so be resident too.
        let wait = in_flight.iter().any(|other| {
            other.computed <= resident
                && other.computed < worth_it
                && worth_it <= other.length
                && self.residency.passed(cursor, other.slot)
                && self.running[other.index].tokens[other.computed..worth_it]
                    == useful[other.computed..worth_it]
        });
        Placement {
            source,
            wait: wait || self.awaits_disk(&self.waiting[index]),
        }
    }

    /// Gives a request its sequence: in place of its own earlier residency, sharing the cells of
    /// another's, or empty.
    fn place(&mut self, mut sequence: Sequence, source: Option<(SequenceId, u32)>) {
        let now = self.model.now();
        let slot = match source {
            Some((id, tokens)) if self.continues(&sequence, id, tokens) => {
                self.residency.activate(id);
                self.truncate(id, tokens);
                id
            }
            Some((from, tokens)) => {
                let to = self.vacate(Some(from));
                if to != from {
                    self.residency.share(from, to, tokens);
                    self.model.share(from, to, tokens);
                }
                self.residency.activate(to);
                self.truncate(to, tokens);
                to
            }
            None => {
                let slot = self.vacate(None);
                self.residency.activate(slot);
                slot
            }
        };
        sequence.slot = Some(slot);
        let restored = self.plan_restore(&mut sequence);
        self.residency.reserve(slot, self.longest(&sequence));
        if sequence.times.admitted.is_none() {
            let cached_tokens = self.residency.len(slot) + restored as u32;
            sequence.times.admitted = Some(now);
            sequence.counts.cached = cached_tokens;
            add(&self.stats.prompt_tokens, sequence.tokens.len() as u64);
            add(&self.stats.cached_tokens, u64::from(cached_tokens));
            let queue_seconds = now - sequence.times.submitted;
            sequence.outbox.send(
                Event::Started(Started {
                    cached_tokens,
                    queue_seconds,
                }),
                now,
            );
        }
        self.running.push(sequence);
    }

    /// Tokens that a request can come to hold.
    fn longest(&self, sequence: &Sequence) -> usize {
        let wanted = sequence.prompt_tokens.saturating_add(sequence.max_tokens);
        wanted.min(self.limits.context_tokens as usize)
    }

    /// Whether a request takes over an idle sequence instead of sharing its prefix: when it
    /// extends all of it, or when what it leaves behind is its own session's superseded branch.
    fn continues(&self, sequence: &Sequence, id: SequenceId, tokens: u32) -> bool {
        let extends = tokens == self.residency.len(id);
        self.residency.is_idle(id) && (extends || self.residency.is_idle_of(id, sequence.session))
    }

    /// A free sequence id, evicting an idle sequence if none is free. `keep` is evicted only if
    /// it is the only idle one left; it is then returned itself, still holding its cells.
    fn vacate(&mut self, keep: Option<SequenceId>) -> SequenceId {
        if let Some(id) = self.residency.free_sequence() {
            return id;
        }
        match self.evict(keep, u32::MAX) {
            Some(id) => id,
            None => keep.expect("fewer requests run than there are sequences, so one is idle"),
        }
    }

    /// Evicts from the idle sequence that the policy names, sparing `keep`: so many cells of its
    /// tail, or all of it if it has no more to give.
    fn evict(&mut self, keep: Option<SequenceId>, cells: u32) -> Option<SequenceId> {
        let mut seen = std::mem::take(&mut self.candidates);
        self.see_idle(&mut seen, keep);
        self.see_running(&mut seen, |_| true);
        let view = View {
            running: &seen.running,
            idle: &seen.idle,
            ..self.view()
        };
        let choice = agentinfer_sched::evict(&mut *self.policy, &view);
        self.record_eviction(&view, &seen.idle_ids, choice, cells);
        let chosen = choice.map(|choice| {
            let own_cells = seen.idle[choice.index].freed_cells;
            (choice, seen.idle_ids[choice.index], own_cells)
        });
        self.candidates = seen;
        let (choice, id, own_cells) = chosen?;
        tracing::trace!(sequence = id, score = choice.score, "evicted");
        let kept = if cells < own_cells {
            let kept = self.residency.len(id) - cells;
            kept - kept % CHUNK_TOKENS as u32
        } else {
            0
        };
        // A sequence with no cells of its own would be of no use.
        let shared = self.residency.shared(id);
        let kept = if kept > shared { kept } else { 0 };
        // What is shared stays resident without it.
        self.offload(id, kept.max(shared));
        self.model.truncate(id, kept);
        let freed = self.residency.evict(id, kept);
        add(&self.stats.evictions, 1);
        add(&self.stats.evicted_cells, u64::from(freed));
        Some(id)
    }

    /// Makes room for `cells` new cells: evicts idle sequences, then preempts running ones other
    /// than `needy`, unless that pre-warms: then it ends. Returns whether there is room.
    pub(crate) fn reserve(&mut self, cells: usize, needy: u64) -> bool {
        while (self.residency.free_cells() as usize) < cells {
            if self.residency.evictable_cells() > 0 {
                let missing = cells - self.residency.free_cells() as usize;
                self.evict(None, missing as u32);
            } else if self.gives_up(needy) || !self.preempt(needy) {
                return false;
            }
        }
        true
    }

    /// Sends the running request that the policy names back to the queue, sparing `needy`.
    fn preempt(&mut self, needy: u64) -> bool {
        let mut seen = std::mem::take(&mut self.candidates);
        // A request that is in the batch already keeps its cells until the step is over.
        let batched = |slot| {
            let mut entries = self.batch.entries.iter();
            entries.any(|entry| Some(entry.sequence) == slot)
        };
        self.see_running(&mut seen, |other| {
            other.id != needy && other.slot.is_some() && !batched(other.slot)
        });
        let view = View {
            running: &seen.running,
            ..self.view()
        };
        let choice = agentinfer_sched::preempt(&mut *self.policy, &view);
        self.record_preemption(&view, choice, needy);
        let chosen = choice.map(|choice| (choice, seen.running[choice.index].id));
        self.candidates = seen;
        let Some((choice, id)) = chosen else {
            return false;
        };
        let index = self.running.iter().position(|other| other.id == id);
        let index = index.expect("only running requests are candidates");
        let mut sequence = self.running.remove(index);
        tracing::debug!(request = sequence.id, score = choice.score, "preempted");
        add(&self.stats.preemptions, 1);
        sequence.preemptions += 1;
        self.release(&mut sequence);
        self.waiting.push(sequence);
        true
    }

    /// Shortens an active sequence to `tokens`.
    pub(crate) fn truncate(&mut self, id: SequenceId, tokens: u32) {
        if tokens < self.residency.len(id) {
            self.model.truncate(id, tokens);
            self.residency.truncate(id, tokens);
        }
    }
}

/// What a drafter is told about where a sequence comes from.
fn origin(sequence: &Sequence) -> Origin {
    Origin {
        session: sequence.session,
        tenant: sequence.hints.tenant,
        ephemeral: sequence.hints.in_memory,
    }
}
