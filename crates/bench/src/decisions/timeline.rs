//! What a page draws of a trace.

use std::collections::HashMap;
use std::path::Path;

use agentinfer_engine::trace::{Action, Decision, Facts, Held, Situation, TraceEvent};
use serde::{Serialize, Serializer};

use super::explain::headline;
use super::read::Events;
use super::thinned::{MOST_POINTS, Thinned};
use crate::BenchError;

/// Sessions drawn, at most: those that came first. More do not fit a page that people scroll.
const MOST_LANES: usize = 200;

/// Calls that are followed, at most; they are what takes memory.
const MOST_CALLS: usize = 100_000;

/// A trace as it is drawn. Times are seconds.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    label: String,
    policy: String,
    cells: u32,
    max_running: usize,
    begin: f64,
    end: f64,
    /// Events that the trace lacks.
    dropped: u64,
    /// Calls that are not drawn.
    hidden_calls: usize,
    calls: usize,
    evictions: usize,
    preemptions: usize,
    /// Of so many samples the one with the fewest free cells was kept.
    samples_per_state: usize,
    states: Vec<State>,
    /// When a request came, its prompt's tokens and its lane.
    prompts: Vec<(f64, u32, Option<usize>)>,
    lanes: Vec<Lane>,
    marks: Vec<Mark>,
}

/// A sample: when, cells (free, running, idle), requests (waiting, running), price, and the cells
/// of the session that holds most.
#[derive(Clone, Copy, Debug, Serialize)]
struct State(f64, u32, u32, u32, usize, usize, Option<f64>, u32);

/// What a session does; several of its calls may do different things at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Prefill,
    Decode,
    ToolGap,
}

impl Serialize for Phase {
    /// As the page's script counts them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

/// From, to, what, and which request; 0 for none.
#[derive(Clone, Copy, Debug, Serialize)]
struct Span(f64, f64, Phase, u64);

/// A session.
#[derive(Debug, Default, Serialize)]
struct Lane {
    name: String,
    spans: Vec<Span>,
    /// From when to when it held cells.
    held: Vec<(f64, f64)>,
    /// Calls in work, and when the last ended.
    #[serde(skip)]
    active: usize,
    #[serde(skip)]
    left: Option<f64>,
}

/// A session or a request that gave way.
#[derive(Debug, Serialize)]
struct Mark {
    at: f64,
    preempted: bool,
    lane: Option<usize>,
    text: String,
}

/// A call in work.
struct Call {
    lane: Option<usize>,
    phase: Phase,
    since: f64,
    has_token: bool,
}

/// A timeline in the making.
struct Reader {
    /// By session; none for calls without one.
    lanes: HashMap<Option<u64>, usize>,
    calls: HashMap<u64, Call>,
    states: Thinned<State>,
    prompts: Thinned<(f64, u32, Option<usize>)>,
    marks: Thinned<Mark>,
    /// When the last sample was taken.
    sampled: Option<f64>,
    timeline: Timeline,
}

impl Timeline {
    /// Reads a trace.
    pub(super) fn read(path: &Path) -> Result<Self, BenchError> {
        let (header, events) = Events::open(path)?;
        let timeline = Self {
            label: header.label,
            policy: header.policy,
            cells: header.cells,
            max_running: header.max_running,
            begin: f64::INFINITY,
            end: f64::NEG_INFINITY,
            dropped: 0,
            hidden_calls: 0,
            calls: 0,
            evictions: 0,
            preemptions: 0,
            samples_per_state: 1,
            states: Vec::new(),
            prompts: Vec::new(),
            lanes: Vec::new(),
            marks: Vec::new(),
        };
        let mut reader = Reader {
            lanes: HashMap::new(),
            calls: HashMap::new(),
            states: Thinned::new(|a: &State, b| a.1 < b.1),
            prompts: Thinned::new(|a, b| a.1 > b.1),
            marks: Thinned::new(|a: &Mark, b| a.preempted && !b.preempted),
            sampled: None,
            timeline,
        };
        for event in events {
            reader.take(event?);
        }
        Ok(reader.finish())
    }
}

impl Reader {
    fn take(&mut self, event: TraceEvent) {
        match event {
            TraceEvent::Begin { .. } => {}
            TraceEvent::Submitted {
                at,
                request,
                session,
                prompt_tokens,
                ..
            } => {
                let at = self.pass(at);
                self.submitted(at, request, session, prompt_tokens);
            }
            TraceEvent::Decision(decision) => {
                let at = self.pass(decision.at);
                self.decided(at, &decision);
            }
            TraceEvent::FirstToken { at, request } => {
                let at = self.pass(at);
                self.turn(request, at, Phase::Decode);
            }
            TraceEvent::Ended { at, request, .. } => {
                let at = self.pass(at);
                self.ended(at, request);
            }
            TraceEvent::State {
                at,
                situation,
                held,
            } => {
                let at = self.pass(at);
                self.sampled(at, &situation, &held);
            }
            TraceEvent::Dropped { count } => self.timeline.dropped += count,
        }
    }

    /// Notes that time has come to a moment, and gives it in whole milliseconds: more is not
    /// seen, and makes pages twice as large.
    fn pass(&mut self, at: f64) -> f64 {
        let at = (at * 1000.0).round() / 1000.0;
        self.timeline.begin = self.timeline.begin.min(at);
        self.timeline.end = self.timeline.end.max(at);
        at
    }

    fn submitted(&mut self, at: f64, request: u64, session: Option<u64>, prompt_tokens: u32) {
        let lane = self.lane(session);
        self.prompts.push((at, prompt_tokens, lane));
        self.timeline.calls += 1;
        if self.timeline.calls > MOST_CALLS || lane.is_none() {
            self.timeline.hidden_calls += 1;
            return;
        }
        if let Some(lane) = lane.map(|lane| &mut self.timeline.lanes[lane]) {
            if let (0, Some(left), Some(_)) = (lane.active, lane.left, session) {
                lane.spans.push(Span(left, at, Phase::ToolGap, 0));
            }
            lane.active += 1;
        }
        let call = Call {
            lane,
            phase: Phase::Waiting,
            since: at,
            has_token: false,
        };
        self.calls.insert(request, call);
    }

    /// A session's lane, unless there are too many.
    fn lane(&mut self, session: Option<u64>) -> Option<usize> {
        if let Some(lane) = self.lanes.get(&session) {
            return Some(*lane);
        }
        let lanes = &mut self.timeline.lanes;
        if lanes.len() >= MOST_LANES {
            return None;
        }
        lanes.push(Lane {
            name: session.map_or("no session".to_owned(), |session| session.to_string()),
            ..Lane::default()
        });
        self.lanes.insert(session, lanes.len() - 1);
        Some(lanes.len() - 1)
    }

    fn decided(&mut self, at: f64, decision: &Decision) {
        let Some(chosen) = decision.candidates.iter().find(|it| it.chosen) else {
            return;
        };
        match (decision.action, chosen.facts) {
            (Action::Admitted, Facts::Waiting { request, .. }) => {
                // After a preemption it goes on; what is computed again counts as decode.
                let decoded = self.calls.get(&request).is_some_and(|call| call.has_token);
                let phase = if decoded {
                    Phase::Decode
                } else {
                    Phase::Prefill
                };
                self.turn(request, at, phase);
                return;
            }
            // Who gives way keeps its cells until others need them.
            (Action::GaveWay, Facts::Running { request, .. }) => {
                self.turn(request, at, Phase::Waiting);
                return;
            }
            (Action::Preempted, Facts::Running { request, .. }) => {
                self.turn(request, at, Phase::Waiting);
                self.timeline.preemptions += 1;
            }
            _ => self.timeline.evictions += 1,
        }
        let lane = self.lanes.get(&chosen.session).copied();
        self.marks.push(Mark {
            at,
            preempted: decision.action == Action::Preempted,
            lane,
            text: format!("{} ({})", headline(decision), chosen.reason),
        });
    }

    /// A request goes over to another phase.
    fn turn(&mut self, request: u64, at: f64, phase: Phase) {
        let Some(call) = self.calls.get_mut(&request) else {
            return;
        };
        let span = Span(call.since, at, call.phase, request);
        call.since = at;
        call.has_token |= phase == Phase::Decode;
        call.phase = phase;
        if let Some(lane) = call.lane {
            self.timeline.lanes[lane].spans.push(span);
        }
    }

    fn ended(&mut self, at: f64, request: u64) {
        let phase = self.calls.get(&request).map(|call| call.phase);
        self.turn(request, at, phase.unwrap_or(Phase::Waiting));
        let call = self.calls.remove(&request);
        if let Some(lane) = call.and_then(|call| call.lane) {
            let lane = &mut self.timeline.lanes[lane];
            lane.active -= 1;
            lane.left = Some(at);
        }
    }

    fn sampled(&mut self, at: f64, now: &Situation, held: &[Held]) {
        let longest = held.iter().map(|held| held.cells).max().unwrap_or(0);
        self.states.push(State(
            at,
            now.free_cells,
            now.running_cells,
            now.idle_cells,
            now.waiting,
            now.running,
            now.shadow_price,
            longest,
        ));
        let before = self.sampled.replace(at);
        for held in held {
            let Some(lane) = self.lanes.get(&Some(held.session)) else {
                continue;
            };
            let held = &mut self.timeline.lanes[*lane].held;
            match held.last_mut() {
                Some((_, to)) if Some(*to) == before => *to = at,
                _ => held.push((at, at)),
            }
        }
    }

    fn finish(self) -> Timeline {
        let mut timeline = self.timeline;
        if timeline.begin > timeline.end {
            (timeline.begin, timeline.end) = (0.0, 0.0);
        }
        for call in self.calls {
            let (
                request,
                Call {
                    lane, phase, since, ..
                },
            ) = call;
            if let Some(lane) = lane {
                let span = Span(since, timeline.end, phase, request);
                timeline.lanes[lane].spans.push(span);
            }
        }
        let least = (timeline.end - timeline.begin) / MOST_POINTS as f64;
        for lane in &mut timeline.lanes {
            lane.spans.sort_by(|a, b| a.0.total_cmp(&b.0));
            lane.spans = merged(&lane.spans, least);
        }
        (timeline.states, timeline.samples_per_state) = self.states.finish();
        timeline.prompts = self.prompts.finish().0;
        timeline.marks = self.marks.finish().0;
        timeline
    }
}

/// Spans of which those that are too short to be seen are part of the one before, where there is
/// one that they follow.
fn merged(spans: &[Span], least: f64) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::new();
    for span in spans.iter().filter(|span| span.1 > span.0) {
        match merged.last_mut() {
            Some(last) if span.1 - span.0 < least && span.0 - last.1 < least => {
                last.1 = last.1.max(span.1);
            }
            _ => merged.push(*span),
        }
    }
    merged
}
