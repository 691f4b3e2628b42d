//! The engine's life around its requests: bounds, refusals, clients that leave or do not read.

use std::sync::Arc;
use std::time::Duration;

use agentinfer_engine::{
    Constraint, Engine, EngineError, EngineHandle, EngineOptions, Event, FinishReason, Request,
    Sampling, SimModel, SimVocabulary, Token, Vocabulary,
};
use serde_json::json;

fn spawn(options: EngineOptions) -> EngineHandle {
    let engine = Engine::new(
        SimModel::default(),
        Arc::new(SimVocabulary::default()),
        options,
    );
    EngineHandle::spawn("test", engine).expect("a thread starts")
}

fn endless(prompt: u32) -> Request {
    Request {
        ignore_eos: true,
        ..Request::new(vec![prompt; 8])
    }
}

#[test]
fn invalid_requests_are_refused_with_the_field_named() {
    let handle = spawn(EngineOptions::default());
    let sampling = |sampling| Request {
        sampling,
        ..Request::new(vec![1])
    };
    let constraint = |constraint| Request {
        constraint,
        ..Request::new(vec![1])
    };
    let cases = [
        (Request::new(vec![]), "prompt"),
        (Request::new(vec![1 << 20]), "prompt"),
        (
            Request {
                stop: vec![String::new()],
                ..Request::new(vec![1])
            },
            "stop",
        ),
        (
            sampling(Sampling {
                temperature: f32::NAN,
                ..Sampling::default()
            }),
            "sampling",
        ),
        (
            sampling(Sampling {
                repetition_penalty: 0.0,
                ..Sampling::default()
            }),
            "repetition_penalty",
        ),
        (
            sampling(Sampling {
                logit_bias: vec![(1 << 20, 1.0)],
                ..Sampling::default()
            }),
            "logit_bias",
        ),
        (
            constraint(Constraint::JsonSchema(json!({"type": "nonsense"}))),
            "json_schema",
        ),
        (constraint(Constraint::Regex("(".to_owned())), "regex"),
        (
            constraint(Constraint::Lark("start: undefined_rule".to_owned())),
            "grammar",
        ),
    ];
    for (request, expected) in cases {
        match handle.submit(request) {
            Err(EngineError::InvalidRequest { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {:?}", other.map(|completion| completion.id())),
        }
    }
    let long = handle.submit(Request::new(vec![1; 9000])).err();
    assert_eq!(
        long,
        Some(EngineError::ContextOverflow {
            prompt_tokens: 9000,
            context_tokens: 8192
        })
    );
}

#[test]
fn constraints_shape_the_output() {
    let handle = spawn(EngineOptions::default());
    let vocabulary = SimVocabulary::default();
    let text_of = |constraint| {
        let request = Request {
            constraint,
            ..Request::new(vec![65; 4]).max_tokens(400)
        };
        let mut completion = handle.submit(request).expect("a valid request");
        let mut tokens = Vec::new();
        loop {
            match completion.blocking_next() {
                Some(Event::Token(event)) => tokens.push(event.token),
                Some(Event::Finished(finish)) => break (vocabulary.detokenize(&tokens), finish),
                Some(Event::Started(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let (text, _) = text_of(Constraint::Regex("[a-c]{5}-[0-9]{3}".to_owned()));
    assert_eq!((text.len(), text.as_bytes()[5]), (9, b'-'));
    let schema = json!({
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "n": {"type": "integer", "maximum": 99}},
        "required": ["ok", "n"],
        "additionalProperties": false
    });
    let (text, finish) = text_of(Constraint::JsonSchema(schema));
    assert!(matches!(
        finish.reason,
        FinishReason::EndOfTurn | FinishReason::ConstraintComplete
    ));
    let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    assert!(value["ok"].is_boolean() && value["n"].is_i64(), "{text}");
    let (text, _) = text_of(Constraint::Lark("start: \"yes\" | \"no\"".to_owned()));
    assert!(["yes", "no"].contains(&text.as_str()), "{text}");
}

#[test]
fn whitespace_in_json_is_bounded() {
    let handle = spawn(EngineOptions::default());
    let schema = json!({
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "no": {"type": "null"}},
        "required": ["ok", "no"],
        "additionalProperties": false
    });
    let newline = Token::from(b'\n');
    let request = Request {
        constraint: Constraint::JsonSchema(schema),
        sampling: Sampling {
            logit_bias: vec![(newline, 100.0)],
            ..Sampling::default()
        },
        ..Request::new(vec![65; 4]).max_tokens(100)
    };
    let mut completion = handle.submit(request).expect("a valid request");
    let mut newlines = 0;
    let finish = loop {
        match completion.blocking_next() {
            Some(Event::Token(event)) => newlines += usize::from(event.token == newline),
            Some(Event::Finished(finish)) => break finish,
            Some(Event::Started(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(finish.reason, FinishReason::Length);
    assert!(newlines >= 2, "the bias works: {newlines}");
}

#[test]
fn stop_texts_and_limits_end_a_request() {
    let handle = spawn(EngineOptions::default());
    let run = |request: Request| {
        let mut completion = handle.submit(request).expect("a valid request");
        let mut text = String::new();
        loop {
            match completion.blocking_next() {
                Some(Event::Token(event)) => text += &event.text,
                Some(Event::Finished(finish)) => {
                    return (text + &finish.text, finish.completion_tokens, finish.reason);
                }
                Some(Event::Started(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let (whole, tokens, reason) = run(endless(70).max_tokens(30));
    assert_eq!((tokens, reason), (30, FinishReason::Length));
    let stop = whole[10..13].to_owned();
    let request = Request {
        stop: vec![stop.clone()],
        ..endless(70).max_tokens(30)
    };
    let (text, _, reason) = run(request);
    assert_eq!(
        text,
        whole[..whole.find(&stop).expect("it was cut from there")]
    );
    assert_eq!(reason, FinishReason::StopText(stop));
    let (_, tokens, reason) = run(endless(71));
    assert_eq!((tokens, reason), (8192 - 8, FinishReason::Length));
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let handle = spawn(EngineOptions {
        max_requests: 2,
        event_capacity: 1,
        ..Default::default()
    });
    let first = handle.submit(endless(65)).expect("a place is free");
    let second = handle.submit(endless(66)).expect("a place is free");
    let third = handle.submit(endless(67)).err();
    assert_eq!(third, Some(EngineError::QueueFull { waiting: 2 }));
    assert_eq!(handle.stats().rejected, 1);
    drop((first, second));
    // The engine notices before its next step; until then the answer stays the same.
    let mut again = loop {
        if let Ok(completion) = handle.submit(Request::new(vec![67; 4]).max_tokens(2)) {
            break completion;
        }
        std::thread::yield_now();
    };
    while again.blocking_next().is_some() {}
    assert_eq!(handle.stats().cancelled, 2);
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    let handle = spawn(EngineOptions {
        event_capacity: 4,
        ..Default::default()
    });
    let silent = handle.submit(endless(65)).expect("a valid request");
    let mut reading = handle
        .submit(endless(66).max_tokens(500))
        .expect("a valid request");
    let mut tokens = 0;
    while let Some(event) = reading.blocking_next() {
        tokens += u32::from(matches!(event, Event::Token(_)));
    }
    assert_eq!(tokens, 500);
    // The silent one stopped at what its channel and outbox hold, and goes on when read.
    let mut silent = silent;
    let mut received = 0;
    while received < 50 {
        let event = silent.blocking_next().expect("it was not dropped");
        received += u32::from(matches!(event, Event::Token(_)));
    }
}

#[tokio::test]
async fn draining_serves_what_was_accepted_and_refuses_the_rest() {
    let handle = spawn(EngineOptions::default());
    let mut completion = handle
        .submit(endless(65).max_tokens(100))
        .expect("a valid request");
    assert!(handle.is_running());
    handle.drain(Duration::from_secs(60)).await;
    assert!(!handle.is_running());
    assert_eq!(handle.submit(endless(66)).err(), Some(EngineError::Stopped));
    let mut finished = false;
    while let Some(event) = completion.next().await {
        finished |= matches!(event, Event::Finished(_));
    }
    assert!(finished);
}

#[tokio::test]
async fn a_drain_past_its_deadline_fails_what_is_left() {
    let handle = spawn(EngineOptions {
        event_capacity: 1,
        ..Default::default()
    });
    // Nobody reads, so this request cannot finish.
    let mut completion = handle.submit(endless(65)).expect("a valid request");
    handle.drain(Duration::ZERO).await;
    let mut finished = false;
    while let Some(event) = completion.next().await {
        finished |= matches!(event, Event::Finished(_));
    }
    assert!(!finished);
}
