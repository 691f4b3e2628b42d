//! A trace tells why the engine decided as it did, and changes nothing.

use std::sync::{Arc, Mutex};

use agentinfer_engine::trace::{Action, Decision, Facts, Scored, TraceEvent};
use agentinfer_engine::{
    Completion, Engine, EngineOptions, Event, LatencyCurve, Model, ModelLimits, PolicySpec,
    Progress, Request, SimModel, SimVocabulary,
};
use proptest::prelude::*;
use serde_json::Value;

const CELLS: u32 = 400;

/// A call: after how many steps of the engine it is made, its session, how many tokens its prompt
/// is longer than the session's last, and how many it generates.
type Call = (usize, u64, usize, u32);

fn calls() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec((0usize..6, 0u64..6, 1usize..60, 1u32..40), 1..20)
}

/// Plays calls, and returns what each was told with the moment of the end.
fn play(policy: PolicySpec, calls: &[Call], traced: bool) -> (Vec<String>, f64, Vec<TraceEvent>) {
    let limits = ModelLimits {
        cells: CELLS,
        sequences: 6,
        batch_tokens: 64,
        context_tokens: 300,
        ..SimModel::default().limits()
    };
    let options = EngineOptions {
        policy,
        max_running: 3,
        offload_bytes: 0,
        event_capacity: 1024,
        ..EngineOptions::default()
    };
    let model = SimModel::new(limits, LatencyCurve::default());
    let mut engine = Engine::new(model, Arc::new(SimVocabulary::default()), options);
    let events: Arc<Mutex<Vec<TraceEvent>>> = Arc::default();
    if traced {
        let sink = events.clone();
        let record = move |event| sink.lock().expect("nobody panics").push(event);
        engine = engine.with_trace("test", Box::new(record));
    }
    let mut completions: Vec<Completion> = Vec::new();
    let mut lengths = [0usize; 6];
    for &(steps, session, longer, max_tokens) in calls {
        for _ in 0..steps {
            engine.step();
        }
        let length = &mut lengths[session as usize];
        *length = (*length + longer) % 250 + 1;
        let mut request = Request::new(vec![97 + session as u32; *length]).max_tokens(max_tokens);
        request.session = (session > 0).then_some(session);
        request.hints.ends_session = longer % 7 == 0;
        request.hints.background = longer % 11 == 0;
        completions.push(engine.submit(request).expect("a valid request"));
    }
    while engine.step() != Progress::Idle {
        // Who is held back is so for some seconds.
        let soon = engine.model_mut().now() + 0.01;
        engine.model_mut().wait_until(soon);
    }
    let said = completions.into_iter().map(|mut completion| {
        let events = std::iter::from_fn(|| completion.try_next());
        events.map(|event| format!("{event:?}")).collect()
    });
    let said = said.collect();
    let end = engine.model_mut().now();
    drop(engine);
    let events = events.lock().expect("nobody panics").clone();
    (said, end, events)
}

fn decisions(events: &[TraceEvent]) -> impl Iterator<Item = &Decision> {
    events.iter().filter_map(|event| match event {
        TraceEvent::Decision(decision) => Some(decision),
        _ => None,
    })
}

/// In which order idle sequences go, whatever their scores: those of ended sessions first, those
/// that free nothing last.
fn class(candidate: &Scored) -> u8 {
    match candidate.facts {
        Facts::Idle { freed_cells: 0, .. } => 2,
        Facts::Idle { ended, .. } => u8::from(!ended),
        _ => 0,
    }
}

/// Whether the chosen one is the one that the recorded scores say.
fn follows_from_its_scores(decision: &Decision) -> bool {
    let candidates = &decision.candidates;
    let chosen: Vec<&Scored> = candidates.iter().filter(|it| it.chosen).collect();
    match (decision.action, &chosen[..]) {
        (Action::Admitted, [one]) => candidates.iter().all(|it| it.score <= one.score),
        (Action::NobodyAdmitted, []) => {
            let scored = |it: &&Scored| it.score.is_some();
            let best = candidates.iter().find(scored);
            let highest = candidates.is_sorted_by(|a, b| a.score >= b.score);
            highest && best.is_none_or(|it| matches!(it.facts, Facts::Waiting { fits: false, .. }))
        }
        (Action::Evicted | Action::Preempted, [one]) => candidates
            .iter()
            .all(|it| (class(one), one.score) <= (class(it), it.score)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_decision_follows_from_the_scores_and_nothing_else_changes(calls in calls()) {
        for policy in PolicySpec::all() {
            let (said, end, events) = play(policy, &calls, true);
            for decision in decisions(&events) {
                prop_assert!(follows_from_its_scores(decision), "{}: {:?}", policy, decision);
                prop_assert!(decision.candidates.iter().all(|it| !it.reason.is_empty()));
                let now = &decision.situation;
                let cells = now.free_cells + now.running_cells + now.idle_cells;
                prop_assert_eq!(cells, CELLS);
            }
            let (untraced, untraced_end, none) = play(policy, &calls, false);
            prop_assert_eq!((said, end), (untraced, untraced_end));
            prop_assert!(none.is_empty());
        }
    }
}

#[test]
fn a_trace_tells_the_whole_story_and_is_read_as_it_was_written() {
    let calls: Vec<Call> = (0..24)
        .map(|call| (3, call % 6, 40 + call as usize, 30))
        .collect();
    let (said, _, events) = play(PolicySpec::Paper(Default::default()), &calls, true);
    assert!(matches!(&events[0], TraceEvent::Begin { label, policy, .. }
        if label == "test" && policy == "paper"));
    let count = |meant: fn(&TraceEvent) -> bool| events.iter().filter(|it| meant(it)).count();
    assert_eq!(
        count(|it| matches!(it, TraceEvent::Submitted { .. })),
        said.len()
    );
    assert_eq!(
        count(|it| matches!(it, TraceEvent::FirstToken { .. })),
        said.len()
    );
    assert_eq!(
        count(|it| matches!(it, TraceEvent::Ended { .. })),
        said.len()
    );
    for wanted in [Action::Admitted, Action::NobodyAdmitted, Action::Evicted] {
        assert!(
            decisions(&events).any(|it| it.action == wanted),
            "{wanted:?}"
        );
    }
    let [mut last_sample, mut last] = [f64::NEG_INFINITY; 2];
    for event in &events {
        if let TraceEvent::State { at, situation, .. } = event {
            assert!(*at > last_sample && situation.shadow_price.is_some());
            last_sample = *at;
        }
        if let TraceEvent::Decision(Decision { at, .. }) = event {
            assert!(*at >= last, "in order");
            last = *at;
        }
        let line = serde_json::to_string(event).expect("is JSON");
        let read: TraceEvent = serde_json::from_str(&line).expect(&line);
        // Numbers are compared as they are read: the last digit may change on the way.
        let whole: Value = serde_json::from_str(&line).expect("is JSON");
        assert_eq!(serde_json::to_value(&read).expect("is JSON"), whole);
    }
    let finished = said.iter().filter(|events| events.contains("Finished"));
    assert_eq!(finished.count(), said.len());
}

#[test]
fn who_leaves_early_is_in_the_trace() {
    let events: Arc<Mutex<Vec<TraceEvent>>> = Arc::default();
    let sink = events.clone();
    let record = move |event| sink.lock().expect("nobody panics").push(event);
    let vocabulary = Arc::new(SimVocabulary::default());
    let mut engine = Engine::new(SimModel::default(), vocabulary, EngineOptions::default())
        .with_trace("test", Box::new(record));
    let mut completion = engine.submit(Request::new(vec![1, 2, 3])).expect("valid");
    engine.step();
    assert!(matches!(completion.try_next(), Some(Event::Started(_))));
    drop(completion);
    while engine.step() != Progress::Idle {}
    let events = events.lock().expect("nobody panics");
    let cancelled = |event: &&TraceEvent| matches!(event, TraceEvent::Ended { how, request: 1, .. } if how == "cancelled");
    assert_eq!(events.iter().filter(cancelled).count(), 1);
}
