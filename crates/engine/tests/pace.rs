//! Under `agent`, who came first is not slowed down by later prompts, and nobody waits for ever.

use std::sync::Arc;

use agentinfer_engine::{
    Completion, Engine, EngineOptions, Event, LatencyCurve, Model, ModelLimits, Request, SimModel,
    SimVocabulary, Token,
};

fn engine(policy: &str, cells: u32) -> Engine<SimModel> {
    let limits = ModelLimits {
        cells,
        context_tokens: cells,
        ..SimModel::default().limits()
    };
    let options = EngineOptions {
        policy: policy.parse().expect("a policy"),
        ..EngineOptions::default()
    };
    let model = SimModel::new(limits, LatencyCurve::default());
    Engine::new(model, Arc::new(SimVocabulary::default()), options)
}

fn submit(engine: &mut Engine<SimModel>, session: u64, prompt: usize, output: u32) -> Completion {
    let first = b'a' as Token + (session % 26) as Token;
    let prompt: Vec<Token> = (0..prompt)
        .map(|index| first + index as Token % 5)
        .collect();
    let request = Request {
        session: Some(session),
        ignore_eos: true,
        ..Request::new(prompt).max_tokens(output)
    };
    engine.submit(request).expect("a valid request")
}

/// Takes what a request has said; whether it has begun, and whether it has ended.
fn look(completion: &mut Completion) -> (bool, bool) {
    let (mut began, mut ended) = (false, false);
    while let Some(event) = completion.try_next() {
        began |= matches!(event, Event::Started(_));
        ended |= matches!(event, Event::Finished(_));
    }
    (began, ended)
}

/// Seconds that the first of two sessions needs, and seconds until the second has begun to speak.
fn two_sessions(policy: &str, prompt: usize) -> (f64, f64) {
    let mut engine = engine(policy, 16_384);
    let mut first = submit(&mut engine, 1, 40, 200);
    engine.step();
    let mut second = submit(&mut engine, 2, prompt, 1);
    let (mut ends, mut speaks) = (None, None);
    while ends.is_none() || speaks.is_none() {
        engine.step();
        let now = engine.model_mut().now();
        if ends.is_none() && look(&mut first).1 {
            ends = Some(now);
        }
        if speaks.is_none() && look(&mut second).1 {
            speaks = Some(now);
        }
    }
    (ends.unwrap_or_default(), speaks.unwrap_or_default())
}

#[test]
fn later_prompts_take_their_share_of_the_time_and_no_more() {
    let (alone, _) = two_sessions("fcfs", 1);
    let (fcfs, _) = two_sessions("fcfs", 8000);
    let (agent, speaks) = two_sessions("agent", 8000);
    let (half, _) = two_sessions("agent:prefill_share=0.5", 8000);
    // A quarter of the time is the later one's, and one chunk more may just have begun.
    let chunk = 1.5;
    assert!(agent < alone / 0.75 + chunk, "{agent} {alone}");
    assert!(half < alone / 0.5 + chunk && half > agent, "{half} {alone}");
    assert!(fcfs > 4.0 * agent, "{fcfs} {agent}");
    // What the first one gains, the second one does not lose twice.
    let (_, before) = two_sessions("fcfs", 8000);
    assert!(speaks < before + agent, "{speaks} {before}");
}

#[test]
fn a_stream_of_short_calls_starves_nobody() {
    for limit in [30.0, 120.0] {
        let mut engine = engine(&format!("agent:starvation_seconds={limit}"), 4000);
        let mut short: Vec<Completion> = Vec::new();
        let mut session = 100;
        let mut feed = |engine: &mut Engine<SimModel>, short: &mut Vec<Completion>| {
            short.retain_mut(|completion| !look(completion).1);
            while short.len() < 12 {
                session += 1;
                short.push(submit(engine, session, 300, 20));
            }
        };
        feed(&mut engine, &mut short);
        engine.step();
        let begin = engine.model_mut().now();
        let mut large = submit(&mut engine, 1, 3000, 5);
        let waited = loop {
            feed(&mut engine, &mut short);
            engine.step();
            let waited = engine.model_mut().now() - begin;
            if look(&mut large).0 {
                break waited;
            }
            assert!(
                waited < 10.0 * limit + 100.0,
                "still waiting after {waited} s"
            );
        };
        // Those that run then are served first.
        assert!(
            waited > 0.5 * limit && waited < limit + 60.0,
            "{limit}: {waited}"
        );
    }
}
