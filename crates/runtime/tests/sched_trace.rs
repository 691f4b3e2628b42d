//! A tier writes a trace of its engine's decisions where it is told to.

use std::fs;
use std::time::Duration;

use agentinfer_engine::trace::TraceEvent;
use agentinfer_protocol::{ChatCompletionRequest, Message};
use agentinfer_runtime::{
    EngineError, Runtime, RuntimeError, RuntimeOptions, Tier, TierOptions, TierSource,
};

fn tier(trace: std::path::PathBuf) -> TierOptions {
    let mut tier = TierOptions::new(Tier::Small, "sim", TierSource::Sim);
    tier.sched_trace = Some(trace);
    tier
}

#[tokio::test]
async fn the_trace_is_complete_when_the_runtime_has_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.jsonl");
    let tiers = vec![tier(path.clone())];
    let expected = format!("small model sim, policy {}", tiers[0].engine.policy);
    let runtime = Runtime::start(RuntimeOptions::new(tiers)).expect("starts");
    let request = ChatCompletionRequest {
        model: "small".to_owned(),
        messages: vec![Message::user("Hello")],
        max_completion_tokens: Some(8),
        ..ChatCompletionRequest::default()
    };
    let stream = runtime.chat(request).expect("is served");
    stream.collect().await.expect("no failure");
    runtime.drain(Duration::from_secs(60)).await;
    let text = fs::read_to_string(path).expect("was written");
    let event = |line| serde_json::from_str(line).expect("an event");
    let events: Vec<TraceEvent> = text.lines().map(event).collect();
    assert!(matches!(&events[0], TraceEvent::Begin { label, .. } if *label == expected));
    let is_end = |event: &TraceEvent| matches!(event, TraceEvent::Ended { request: 1, .. });
    assert_eq!(events.iter().filter(|event| is_end(event)).count(), 1);
    let Some(TraceEvent::State { situation, .. }) = events.last() else {
        panic!("{:?}", events.last());
    };
    assert_eq!((situation.waiting, situation.running), (0, 0));
}

#[tokio::test]
async fn a_trace_that_cannot_be_written_is_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let tiers = vec![tier(folder.path().join("none/trace.jsonl"))];
    let refused = Runtime::start(RuntimeOptions::new(tiers));
    let Err(RuntimeError::Engine(EngineError::Trace { path, .. })) = refused else {
        panic!("{:?}", refused.err());
    };
    assert!(path.ends_with("none/trace.jsonl"));
}
