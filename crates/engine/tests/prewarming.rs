//! Requests that generate nothing: their prompts are resident afterwards, and those that nobody
//! waits for give way to everything else.

use std::sync::Arc;

use agentinfer_engine::{
    Completion, Engine, EngineOptions, Event, Finish, FinishReason, Hints, LatencyCurve, Model,
    ModelLimits, Progress, Request, SimModel, SimVocabulary, TILE, Token,
};

const CELLS: u32 = 1000;
/// Tokens of a step of background work.
const CHUNK: usize = TILE;

fn engine(policy: &str, offload_bytes: u64) -> Engine<SimModel> {
    let limits = ModelLimits {
        cells: CELLS,
        sequences: 8,
        context_tokens: CELLS,
        ..SimModel::default().limits()
    };
    let options = EngineOptions {
        policy: policy.parse().expect("a policy"),
        offload_bytes,
        ..EngineOptions::default()
    };
    let model = SimModel::new(limits, LatencyCurve::default());
    Engine::new(model, Arc::new(SimVocabulary::default()), options)
}

/// A prompt of a session, every session's another.
fn prompt(session: u64, tokens: usize) -> Vec<Token> {
    vec![b'a' as Token + session as Token; tokens]
}

fn call(session: u64, tokens: usize) -> Request {
    Request {
        session: Some(session),
        ..Request::new(prompt(session, tokens)).max_tokens(1)
    }
}

fn prewarming(session: u64, tokens: usize) -> Request {
    Request {
        hints: Hints {
            background: true,
            ..Hints::default()
        },
        ..call(session, tokens).max_tokens(0)
    }
}

/// What a request is told from now on, up to its end if the engine gets there.
fn told(engine: &mut Engine<SimModel>, completion: &mut Completion) -> (usize, Option<Finish>) {
    let mut tokens = 0;
    loop {
        let progress = engine.step();
        while let Some(event) = completion.try_next() {
            match event {
                Event::Token(_) => tokens += 1,
                Event::Finished(finish) => return (tokens, Some(finish)),
                Event::Started(_) => {}
                Event::Failed(error) => panic!("{error}"),
            }
        }
        if progress != Progress::Stepped {
            return (tokens, None);
        }
    }
}

fn served(engine: &mut Engine<SimModel>, request: Request) -> Finish {
    let mut completion = engine.submit(request).expect("a valid request");
    let (tokens, finish) = told(engine, &mut completion);
    let finish = finish.expect("it is served");
    assert_eq!(tokens, finish.completion_tokens as usize);
    finish
}

#[test]
fn what_was_prefilled_is_resident_for_the_request_that_follows() {
    for (policy, background, tokens) in [
        ("fcfs", true, 300),
        ("agent", true, 300),
        ("agent", false, 300),
        ("agent", true, CHUNK),
        ("agent", true, 1),
    ] {
        let mut engine = engine(policy, 0);
        let mut request = prewarming(1, tokens);
        request.hints.background = background;
        let finish = served(&mut engine, request);
        assert_eq!(finish.reason, FinishReason::Length);
        assert_eq!(
            (finish.prompt_tokens as usize, finish.cached_tokens),
            (tokens, 0)
        );
        assert_eq!((finish.completion_tokens, finish.decode_steps), (0, 0));
        assert_eq!(engine.stats().cells_idle as usize, tokens);
        // Longer, as a session's next request is: it goes on in place.
        let finish = served(&mut engine, call(1, tokens + 50));
        assert_eq!(
            finish.cached_tokens as usize, tokens,
            "{policy} {background}"
        );
        assert_eq!(engine.stats().resident_sequences, 1);
        // Again, with all of it resident.
        let finish = served(&mut engine, prewarming(1, tokens));
        assert_eq!(finish.cached_tokens as usize, tokens - 1);
    }
}

#[test]
fn evicted_cells_are_copied_back_by_it() {
    let mut engine = engine("agent", 1 << 20);
    served(&mut engine, call(1, 400));
    served(&mut engine, call(2, 900));
    let computed = engine.stats().prefill_tokens;
    let finish = served(&mut engine, prewarming(1, 400));
    assert_eq!(
        (finish.reason, finish.cached_tokens),
        (FinishReason::Length, 399)
    );
    assert!(engine.stats().restored_tokens > 0);
    assert_eq!(engine.stats().prefill_tokens, computed);
}

#[test]
fn a_step_of_background_work_computes_a_chunk_at_most() {
    for (background, steps) in [
        (true, 600usize.div_ceil(CHUNK)),
        (false, 600usize.div_ceil(512)),
    ] {
        let mut engine = engine("agent", 0);
        let mut request = prewarming(1, 600);
        request.hints.background = background;
        served(&mut engine, request);
        assert_eq!(engine.stats().steps as usize, steps, "{background}");
    }
}

#[test]
fn a_call_is_served_as_if_nothing_were_prewarmed_beside_it() {
    let alone = {
        let mut engine = engine("agent", 0);
        served(&mut engine, call(2, 300).max_tokens(20))
    };
    for policy in ["agent", "fcfs", "sjf", "ttl"] {
        let mut engine = engine(policy, 0);
        let mut warm = engine.submit(prewarming(1, 600)).expect("a valid request");
        engine.step();
        let finish = served(&mut engine, call(2, 300).max_tokens(20));
        assert!(
            (finish.e2e_seconds - alone.e2e_seconds).abs() < 0.01,
            "{policy}: {finish:?}"
        );
        assert_eq!(engine.stats().gave_way, 1);
        let (_, warmed) = told(&mut engine, &mut warm);
        assert_eq!(
            warmed.map(|finish| finish.reason),
            Some(FinishReason::Length)
        );
        // It went on where it had been.
        assert_eq!(engine.stats().prefill_tokens, 900);
    }
}

#[test]
fn the_session_that_it_was_for_takes_over_what_it_has_done() {
    let mut engine = engine("agent", 0);
    let mut warm = engine.submit(prewarming(1, 600)).expect("a valid request");
    engine.step();
    let finish = served(&mut engine, call(1, 600));
    assert_eq!(finish.cached_tokens as usize, CHUNK);
    let (_, warmed) = told(&mut engine, &mut warm);
    assert_eq!(
        warmed.map(|finish| finish.reason),
        Some(FinishReason::Length)
    );
    assert_eq!(engine.stats().prefill_tokens, 600);
}

#[test]
fn a_call_may_take_the_cells_of_what_is_being_prewarmed() {
    let mut engine = engine("agent", 0);
    let mut warm = engine.submit(prewarming(1, 800)).expect("a valid request");
    for _ in 0..10 {
        engine.step();
    }
    let finish = served(&mut engine, call(2, 900));
    assert_eq!(finish.completion_tokens, 1);
    // Nobody has said that the second session returns, so there is room again.
    let (_, warmed) = told(&mut engine, &mut warm);
    assert_eq!(
        warmed.map(|finish| finish.reason),
        Some(FinishReason::Length)
    );
    assert_eq!(engine.stats().preemptions, 0);
}

#[test]
fn it_displaces_no_session_that_is_expected_back() {
    for (policy, gap, reason, resident) in [
        ("agent", Some(60.0), FinishReason::NoRoom, 599),
        ("ttl", Some(60.0), FinishReason::NoRoom, 599),
        ("agent", None, FinishReason::Length, 0),
        ("fcfs", Some(60.0), FinishReason::Length, 0),
    ] {
        let mut engine = engine(policy, 0);
        let mut first = call(1, 600);
        first.hints.expected_gap_seconds = gap;
        served(&mut engine, first);
        let later = engine.model_mut().now() + 5.0;
        engine.model_mut().wait_until(later);
        let finish = served(&mut engine, prewarming(2, 950));
        assert_eq!(finish.reason, reason, "{policy} {gap:?}");
        assert_eq!(
            engine.stats().gave_up,
            u64::from(reason == FinishReason::NoRoom)
        );
        let again = served(&mut engine, call(1, 600));
        assert_eq!(again.cached_tokens, resident, "{policy} {gap:?}");
        // What needs nobody's cells is computed.
        let finish = served(&mut engine, prewarming(3, 50));
        assert_eq!(finish.reason, FinishReason::Length);
    }
}

#[test]
fn it_is_no_call_of_its_session() {
    let mut engine = engine("agent", 0);
    let mut first = call(1, 500);
    first.hints.expected_gap_seconds = Some(60.0);
    served(&mut engine, first);
    // Neither the hint nor the class of the session's own call is forgotten.
    served(&mut engine, prewarming(1, 510));
    let later = engine.model_mut().now() + 5.0;
    engine.model_mut().wait_until(later);
    assert_eq!(
        served(&mut engine, prewarming(2, 900)).reason,
        FinishReason::NoRoom
    );
    assert_eq!(served(&mut engine, call(1, 520)).cached_tokens, 510);
}

#[test]
fn one_whose_client_leaves_is_cancelled_and_its_cells_stay() {
    let mut engine = engine("agent", 0);
    let warm = engine.submit(prewarming(1, 600)).expect("a valid request");
    engine.step();
    drop(warm);
    assert_eq!(engine.step(), Progress::Idle);
    let stats = engine.stats();
    assert_eq!((stats.cancelled, stats.cells_idle as usize), (1, CHUNK));
    assert_eq!(
        served(&mut engine, call(1, 600)).cached_tokens as usize,
        CHUNK
    );
}
