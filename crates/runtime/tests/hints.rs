//! What clients tell about their requests and sessions, on simulated models.

use agentinfer_protocol::{ChatCompletionRequest, CompletionRequest};
use agentinfer_runtime::{Runtime, RuntimeOptions, Tier, TierOptions, TierSource};
use serde_json::{Value, json};

fn runtime() -> Runtime {
    let tier = TierOptions::new(Tier::Small, "sim", TierSource::Sim);
    Runtime::start(RuntimeOptions::new(vec![tier])).expect("a simulated tier starts")
}

fn chat(fields: Value) -> ChatCompletionRequest {
    let mut request = json!({
        "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 8, "seed": 1,
    });
    for (name, value) in fields.as_object().expect("fields are an object") {
        request[name] = value.clone();
    }
    serde_json::from_value(request).expect("a chat request")
}

async fn answer(runtime: &Runtime, fields: Value) -> Value {
    let stream = runtime.chat(chat(fields)).expect("is served");
    let answer = stream.collect().await.expect("no failure");
    serde_json::to_value(answer).expect("JSON")
}

#[test]
fn illegal_hints_are_named() {
    let runtime = runtime();
    for (fields, param, code) in [
        (
            json!({"service_tier": "slow"}),
            "service_tier",
            "invalid_value",
        ),
        (
            json!({"prompt_cache_retention": "forever"}),
            "prompt_cache_retention",
            "invalid_value",
        ),
        (
            json!({"priority": -1_000_001}),
            "priority",
            "integer_below_min_value",
        ),
        (
            json!({"expected_tool_seconds": 1e9}),
            "expected_tool_seconds",
            "decimal_above_max_value",
        ),
    ] {
        let error = runtime.chat(chat(fields.clone())).expect_err("refused");
        assert_eq!(
            (error.param(), error.code()),
            (Some(param), Some(code)),
            "{fields}"
        );
        let mut text = fields.clone();
        text["prompt"] = json!("Hello");
        let text: CompletionRequest = serde_json::from_value(text).expect("a request");
        let error = runtime.complete(text).expect_err("refused");
        assert_eq!(error.param(), Some(param), "{fields}");
    }
}

#[tokio::test]
async fn legal_hints_change_no_answer() {
    let runtime = runtime();
    let plain = answer(&runtime, json!({})).await;
    for fields in [
        json!({"service_tier": "flex", "priority": 7}),
        json!({"service_tier": "auto", "prompt_cache_retention": "24h"}),
        json!({"service_tier": null, "prompt_cache_retention": "in_memory", "priority": -7}),
        json!({"expected_tool_seconds": 0.5, "end_session": false}),
    ] {
        let hinted = answer(&runtime.for_tenant(4), fields.clone()).await;
        assert_eq!(
            hinted["choices"][0]["message"], plain["choices"][0]["message"],
            "{fields}"
        );
    }
}

#[tokio::test]
async fn a_session_that_ends_is_forgotten() {
    let runtime = runtime();
    let named = |end: bool| json!({"prompt_cache_key": "k", "end_session": end});
    let sessions = || runtime.stats()[0].sessions;
    answer(&runtime, named(false)).await;
    assert_eq!(sessions(), 1);
    answer(&runtime.for_tenant(5), named(true)).await;
    assert_eq!(sessions(), 1, "another tenant's session of that name");
    answer(&runtime, named(true)).await;
    assert_eq!(sessions(), 0);

    let text = json!({"prompt": "Hello", "prompt_cache_key": "k", "end_session": true});
    let text: CompletionRequest = serde_json::from_value(text).expect("a request");
    let stream = runtime.complete(text).expect("is served");
    stream.collect().await.expect("no failure");
    assert_eq!(sessions(), 0);
}

#[tokio::test]
async fn times_of_tools_are_learned_and_foreseen() {
    let runtime = runtime();
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name, "parameters": {
            "type": "object", "properties": {"at": {"enum": ["here", "there"]}}, "required": ["at"],
        }}})
    };
    let mut messages = vec![json!({"role": "user", "content": "Look."})];
    let mut foreseen = Vec::new();
    for name in ["look", "look", "look", "find", "find"] {
        let fields = json!({
            "messages": messages, "tools": [tool("look"), tool("find")],
            "parallel_tool_calls": false, "max_completion_tokens": 200,
            "tool_choice": {"type": "function", "function": {"name": name}},
        });
        let called = answer(&runtime, fields).await;
        // The engine takes the hint before this other request.
        answer(&runtime, json!({})).await;
        foreseen.push(runtime.stats()[0].engine.expected_returns);
        let message = called["choices"][0]["message"].clone();
        let id = message["tool_calls"][0]["id"].clone();
        messages.push(message);
        messages.push(json!({"role": "tool", "tool_call_id": id, "content": "Nothing."}));
    }
    assert_eq!(foreseen, [0, 1, 2, 2, 3]);
}
