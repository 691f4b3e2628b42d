//! What clients tell about their sessions decides whose idle cells stay.

use std::sync::Arc;

use agentinfer_engine::{
    Engine, EngineHandle, EngineOptions, Event, Finish, Hints, LatencyCurve, Model, ModelLimits,
    Request, SimModel, SimVocabulary, Token,
};

/// Room for the prompts of three sessions.
const CELLS: u32 = 1000;
const PROMPT: usize = 300;

fn engine(policy: &str) -> Engine<SimModel> {
    let limits = ModelLimits {
        cells: CELLS,
        sequences: 8,
        context_tokens: CELLS,
        ..SimModel::default().limits()
    };
    let options = EngineOptions {
        policy: policy.parse().expect("a policy"),
        offload_bytes: 0,
        ..EngineOptions::default()
    };
    let model = SimModel::new(limits, LatencyCurve::default());
    Engine::new(model, Arc::new(SimVocabulary::default()), options)
}

fn request(session: u64, hints: Hints) -> Request {
    Request {
        session: Some(session),
        hints,
        ..Request::new(vec![b'a' as Token + session as Token; PROMPT]).max_tokens(1)
    }
}

/// One call of a session, served to its end.
fn call(engine: &mut Engine<SimModel>, session: u64, hints: Hints) -> Finish {
    let mut completion = engine.submit(request(session, hints)).expect("is served");
    loop {
        engine.step();
        while let Some(event) = completion.try_next() {
            if let Event::Finished(finish) = event {
                return finish;
            }
        }
    }
}

/// Whether nothing of a session's prefix was evicted.
fn is_resident(engine: &mut Engine<SimModel>, session: u64) -> bool {
    // The last token of a prompt is always computed.
    call(engine, session, Hints::default()).cached_tokens as usize == PROMPT - 1
}

fn gap(seconds: f64) -> Hints {
    Hints {
        expected_gap_seconds: Some(seconds),
        ..Hints::default()
    }
}

#[test]
fn the_cells_of_an_ended_session_go_first() {
    let ends = Hints {
        ends_session: true,
        ..Hints::default()
    };
    for (policy, hints, kept) in [
        ("fcfs", Hints::default(), 3),
        ("fcfs", ends, 1),
        ("agent", ends, 1),
    ] {
        let mut engine = engine(policy);
        call(&mut engine, 1, Hints::default());
        call(&mut engine, 2, Hints::default());
        call(&mut engine, 3, hints);
        // Does not fit beside the three.
        call(&mut engine, 4, Hints::default());
        assert!(is_resident(&mut engine, kept), "{policy}: {kept}");
        // That fits into what is left.
        let gone = 4 - kept;
        assert!(!is_resident(&mut engine, gone), "{policy}: {gone}");
    }
}

#[test]
fn a_session_that_is_expected_back_keeps_its_cells() {
    for (hints, learned, kept) in [
        (Hints::default(), None, false),
        (gap(60.0), None, true),
        (Hints::default(), Some(60.0), true),
        (gap(0.0), Some(60.0), false),
    ] {
        let mut engine = engine("agent");
        call(&mut engine, 1, hints);
        if let Some(seconds) = learned {
            engine.expect_return(1, seconds);
        }
        // Its tool has run for a while, longer than anybody is waited for without a reason.
        let moment = engine.model_mut().now() + 30.0;
        engine.model_mut().wait_until(moment);
        for session in 2..5 {
            call(&mut engine, session, Hints::default());
        }
        assert_eq!(is_resident(&mut engine, 1), kept, "{hints:?} {learned:?}");
    }
}

#[test]
fn expected_returns_never_block_and_never_take_a_requests_place() {
    let options = EngineOptions {
        max_requests: 1,
        ..EngineOptions::default()
    };
    let engine = Engine::new(
        SimModel::default(),
        Arc::new(SimVocabulary::default()),
        options,
    );
    let handle = EngineHandle::spawn("test", engine).expect("a thread starts");
    for session in 0..10_000 {
        handle.expect_return(session, 1.0);
    }
    let mut completion = handle
        .submit(request(1, Hints::default()))
        .expect("a place is left");
    while let Some(event) = completion.blocking_next() {
        assert!(!matches!(event, Event::Failed(_)), "{event:?}");
    }
}

#[test]
fn impossible_times_are_refused_by_name() {
    let mut engine = engine("fcfs");
    for seconds in [-1.0, f64::NAN, f64::INFINITY] {
        let error = engine
            .submit(request(1, gap(seconds)))
            .expect_err("refused");
        assert!(
            error.to_string().contains("expected_gap_seconds"),
            "{error}"
        );
    }
}
