//! How an engine stands, for whoever looks: who waits and why, who runs, whose cells are resident.
//!
//! It is put together between two steps when somebody asks, and only then: an engine that nobody
//! looks at pays nothing for it. Nothing that is decided changes by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agentinfer_sched::{Candidate, Choice, View, Waiting};
use tokio::sync::watch;

use crate::planning::Candidates;
use crate::recording::{finite, why_admitted};
use crate::sequence::Sequence;
use crate::trace::{Held, Situation};
use crate::{Engine, Model};

/// Requests that are listed, of those that wait and of those that run: more than anybody reads, and
/// it bounds an outlook to some twenty kilobytes.
const MOST_LISTED: usize = 64;

/// Why background work waits where other work goes first.
const GIVES_WAY: &str = "background work: what somebody waits for goes first";

/// How an engine stood when it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// The policy's name.
    pub policy: &'static str,
    /// Cells and queues.
    pub situation: Situation,
    /// Who is next, or why nobody is admitted; none while nobody waits.
    pub verdict: Option<String>,
    /// The requests that wait, in the order in which they are to be admitted.
    pub waiting: Vec<WaitingRequest>,
    /// Those that run, in the order in which they were admitted.
    pub running: Vec<RunningRequest>,
    /// The sessions that hold cells, the largest first; at most [`MOST_HELD`].
    ///
    /// [`MOST_HELD`]: crate::trace::MOST_HELD
    pub held: Vec<Held>,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingRequest {
    /// The engine's number for it.
    pub request: u64,
    /// Its session, if it belongs to one.
    pub session: Option<u64>,
    /// Whose it is.
    pub tenant: u64,
    /// Whether nobody waits for it.
    pub background: bool,
    /// Seconds since it came.
    pub waiting_seconds: f64,
    /// Tokens that it must hold before it can decode.
    pub prompt_tokens: u32,
    /// How many of these are resident; none where it waits before it can be considered at all.
    pub resident_tokens: Option<u32>,
    /// Its score; none if it is held back.
    pub score: Option<f64>,
    /// Why it stands where it does, in words.
    pub reason: String,
}

/// A request that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningRequest {
    /// The engine's number for it.
    pub request: u64,
    /// Its session, if it belongs to one.
    pub session: Option<u64>,
    /// Whose it is.
    pub tenant: u64,
    /// Whether nobody waits for it.
    pub background: bool,
    /// Seconds since it came.
    pub age_seconds: f64,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Cells that it holds, shared ones included.
    pub cells: u32,
    /// Tokens generated so far.
    pub generated_tokens: u32,
}

/// The last outlook, and whether another one is asked for.
#[derive(Debug)]
pub(crate) struct Looks {
    asked: AtomicBool,
    last: watch::Sender<Option<Arc<Outlook>>>,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            asked: AtomicBool::new(false),
            last: watch::Sender::new(None),
        }
    }
}

impl Looks {
    /// Where the next outlook arrives; the last one is there already.
    pub(crate) fn receiver(&self) -> watch::Receiver<Option<Arc<Outlook>>> {
        self.last.subscribe()
    }

    /// Whether the engine must be asked: it is not while an answer is due.
    pub(crate) fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn answer(&self, outlook: Outlook) {
        self.asked.store(false, Ordering::Relaxed);
        self.last.send_replace(Some(Arc::new(outlook)));
    }
}

impl<M: Model> Engine<M> {
    /// How the engine stands between two steps.
    pub fn outlook(&mut self) -> Outlook {
        let seen = self.see_all();
        let view = self.view_of(&seen);
        let outlook = Outlook {
            policy: self.policy.name(),
            situation: self.situation(self.policy.price(&view)),
            verdict: (!self.waiting.is_empty()).then(|| self.verdict(&view)),
            waiting: self.list_waiting(&view, &seen),
            running: self.list_running(view.now),
            held: self.held(),
        };
        self.candidates = seen;
        outlook
    }

    /// Who of those that wait is next, or why nobody is.
    fn verdict(&self, view: &View<'_>) -> String {
        let most = self.most_running();
        if self.running.len() >= most {
            return format!("all {most} places for requests that run are taken");
        }
        let mut waiting = self.waiting.iter();
        if !waiting.any(|sequence| self.ahead.admits(sequence)) {
            return GIVES_WAY.to_owned();
        }
        let scored = view.waiting.iter().enumerate();
        let scored = scored.filter_map(|(index, request)| {
            let score = self.policy.admission(view, request)?;
            Some(Choice { index, score })
        });
        let best = scored.max_by(|a, b| {
            let id = |choice: &Choice| view.waiting[choice.index].id;
            a.score.total_cmp(&b.score).then(id(b).cmp(&id(a)))
        });
        match best {
            Some(next) if view.waiting[next.index].fits => {
                format!("request {} is next", view.waiting[next.index].id)
            }
            best => why_admitted(view, best, view.waiting.len()),
        }
    }

    /// Those that the policy considers, the best first; then those that must wait before that.
    fn list_waiting(&self, view: &View<'_>, seen: &Candidates) -> Vec<WaitingRequest> {
        let considered = |request: &Waiting| WaitingRequest {
            request: request.id,
            session: request.session,
            tenant: request.tenant,
            background: request.background,
            waiting_seconds: view.now - request.arrived,
            prompt_tokens: request.prompt_tokens,
            resident_tokens: Some(request.resident_tokens),
            score: self.policy.admission(view, request).map(finite),
            reason: self.policy.reason(view, Candidate::Waiting(request)),
        };
        let mut listed: Vec<_> = view.waiting.iter().map(considered).collect();
        listed.sort_by(|a, b| {
            let key = |score: Option<f64>| score.unwrap_or(f64::NEG_INFINITY);
            let order = key(b.score).total_cmp(&key(a.score));
            order.then(a.request.cmp(&b.request))
        });
        let is_considered = |index| seen.placements.iter().any(|(other, _)| *other == index);
        let before = self.waiting.iter().enumerate();
        let before = before.filter(|(index, _)| !is_considered(*index));
        listed.extend(before.map(|(_, sequence)| self.waits_before(sequence, view.now)));
        listed.truncate(MOST_LISTED);
        listed
    }

    /// A request that cannot be considered yet.
    fn waits_before(&self, sequence: &Sequence, now: f64) -> WaitingRequest {
        let reason = match self.ahead.admits(sequence) {
            true => "its beginning is being computed for another request, or read from disk",
            false => GIVES_WAY,
        };
        WaitingRequest {
            request: sequence.id,
            session: sequence.session,
            tenant: sequence.hints.tenant,
            background: sequence.hints.background,
            waiting_seconds: now - sequence.times.submitted,
            prompt_tokens: sequence.tokens.len() as u32,
            resident_tokens: None,
            score: None,
            reason: reason.to_owned(),
        }
    }

    fn list_running(&self, now: f64) -> Vec<RunningRequest> {
        let running = self.running.iter().take(MOST_LISTED);
        let running = running.map(|sequence| RunningRequest {
            request: sequence.id,
            session: sequence.session,
            tenant: sequence.hints.tenant,
            background: sequence.hints.background,
            age_seconds: now - sequence.times.submitted,
            prompt_tokens: sequence.prompt_tokens as u32,
            cells: sequence.slot.map_or(0, |slot| self.residency.len(slot)),
            generated_tokens: sequence.generated() as u32,
        });
        running.collect()
    }
}
