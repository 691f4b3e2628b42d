//! Bodies of the OpenAI API's reference, read and written.

use agentinfer_protocol::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, Choice, ChoiceDelta, Completion,
    CompletionRequest, Content, Delta, ErrorBody, FinishReason, FunctionCall, Message, ModelList,
    OneOrMany, Prompt, ResponseFormat, Role, ToolCall, ToolChoice,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn read<T: DeserializeOwned>(body: Value) -> T {
    serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn a_request_with_tools() {
    let request: ChatCompletionRequest = read(json!({
        "model": "gpt-4.1",
        "messages": [
            { "role": "developer", "content": "You are a helpful assistant." },
            { "role": "user", "content": [
                { "type": "text", "text": "What's in this image?" },
                { "type": "image_url", "image_url": { "url": "https://example.org/a.jpg" } }
            ]},
            { "role": "assistant", "content": null, "refusal": null, "annotations": [],
              "tool_calls": [{
                "id": "call_abc123", "type": "function",
                "function": { "name": "get_current_weather",
                              "arguments": "{\n\"location\": \"Boston, MA\"\n}" }
            }]},
            { "role": "tool", "tool_call_id": "call_abc123", "content": "22" }
        ],
        "tools": [{ "type": "function", "function": {
            "name": "get_current_weather",
            "description": "Get the current weather in a given location",
            "parameters": {
                "type": "object",
                "properties": {
                    "location": { "type": "string", "description": "The city and state" },
                    "unit": { "type": "string", "enum": ["celsius", "fahrenheit"] }
                },
                "required": ["location"]
            },
            "strict": true
        }}],
        "tool_choice": { "type": "function", "function": { "name": "get_current_weather" } },
        "parallel_tool_calls": true,
        "stop": "\n",
        "logit_bias": { "50256": -100 },
        "temperature": 1,
        "seed": null,
        "metadata": { "unknown": "fields are ignored" }
    }));
    let [developer, user, assistant, tool] = &request.messages[..] else {
        panic!("four")
    };
    assert_eq!(developer.role, Role::Developer);
    assert!(matches!(&user.content, Some(Content::Parts(parts)) if parts[1].kind == "image_url"));
    assert_eq!(user.text(), "What's in this image?");
    assert_eq!(assistant.content, None);
    let call = &assistant.tool_calls.as_ref().expect("calls")[0];
    assert_eq!(
        call.function.arguments,
        "{\n\"location\": \"Boston, MA\"\n}"
    );
    assert_eq!(tool.tool_call_id.as_deref(), Some("call_abc123"));
    let function = &request.tools.as_ref().expect("tools")[0].function;
    assert_eq!(function.strict, Some(true));
    assert!(
        matches!(&request.tool_choice, Some(ToolChoice::Function { function, .. })
        if function.name == "get_current_weather")
    );
    assert_eq!(request.stop, Some(OneOrMany::One("\n".to_owned())));
    assert_eq!(
        request.logit_bias.as_ref().map(|bias| bias["50256"]),
        Some(-100.0)
    );
    assert_eq!((request.temperature, request.seed), (Some(1.0), None));
}

#[test]
fn response_formats_and_choices() {
    for (format, expected) in [
        (json!({ "type": "text" }), ResponseFormat::Text),
        (json!({ "type": "json_object" }), ResponseFormat::JsonObject),
    ] {
        assert_eq!(read::<ResponseFormat>(format), expected);
    }
    let schema: ResponseFormat = read(json!({ "type": "json_schema", "json_schema": {
        "name": "math", "description": "not interpreted", "strict": true,
        "schema": { "type": "object", "properties": {}, "additionalProperties": false }
    }}));
    assert!(matches!(schema, ResponseFormat::JsonSchema { json_schema }
        if json_schema.strict == Some(true) && json_schema.schema.is_some()));
    for mode in ["none", "auto", "required"] {
        assert_eq!(
            read::<ToolChoice>(json!(mode)),
            ToolChoice::Mode(mode.to_owned())
        );
    }
}

#[test]
fn an_answer_is_read_and_written_back() {
    let body = json!({
        "id": "chatcmpl-abc123",
        "object": "chat.completion",
        "created": 1_699_896_916,
        "model": "gpt-4o-mini",
        "choices": [{
            "index": 0,
            "message": {
                "role": "assistant",
                "content": null,
                "tool_calls": [{
                    "id": "call_abc123",
                    "type": "function",
                    "function": {
                        "name": "get_current_weather",
                        "arguments": "{\n\"location\": \"Boston, MA\"\n}"
                    }
                }]
            },
            "logprobs": null,
            "finish_reason": "tool_calls"
        }],
        "usage": {
            "prompt_tokens": 82,
            "completion_tokens": 17,
            "total_tokens": 99,
            "prompt_tokens_details": { "cached_tokens": 64 }
        },
        "system_fingerprint": "fp_6b68a8204b"
    });
    let answer: ChatCompletion = read(body.clone());
    assert_eq!(answer.choices[0].finish_reason, FinishReason::ToolCalls);
    assert_eq!(serde_json::to_value(&answer).expect("serializes"), body);
}

#[test]
fn an_answer_with_logprobs_is_read() {
    let answer: ChatCompletion = read(json!({
        "id": "chatcmpl-123",
        "object": "chat.completion",
        "created": 1_702_685_778,
        "model": "gpt-4o-mini",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": "Hello!", "refusal": null },
            "logprobs": { "content": [
                { "token": "Hello", "logprob": -0.31725305, "bytes": [72, 101, 108, 108, 111],
                  "top_logprobs": [
                    { "token": "Hello", "logprob": -0.31725305, "bytes": [72, 101, 108, 108, 111] },
                    { "token": "Hi", "logprob": -1.319_092_3, "bytes": [72, 105] }
                  ]},
                { "token": "!", "logprob": -0.02380986, "bytes": null, "top_logprobs": [] }
            ], "refusal": null },
            "finish_reason": "stop"
        }],
        "usage": { "prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18,
                   "completion_tokens_details": { "reasoning_tokens": 0 } },
        "system_fingerprint": null
    }));
    let tokens = &answer.choices[0]
        .logprobs
        .as_ref()
        .expect("asked for")
        .content;
    assert_eq!(
        (tokens[0].top_logprobs[1].token.as_str(), &tokens[1].bytes),
        ("Hi", &None)
    );
}

/// Clients tell "not yet" from "absent" by these nulls.
#[test]
fn nulls_are_written() {
    let message = Message {
        content: None,
        tool_calls: Some(vec![ToolCall {
            id: "call_1".into(),
            kind: "function".into(),
            function: FunctionCall {
                name: "f".into(),
                arguments: "{}".into(),
            },
        }]),
        ..Message::assistant("")
    };
    let choice = Choice {
        index: 0,
        message,
        logprobs: None,
        finish_reason: FinishReason::ToolCalls,
    };
    assert_eq!(
        serde_json::to_value(choice).expect("serializes"),
        json!({
            "index": 0,
            "message": { "role": "assistant", "content": null, "tool_calls": [
                { "id": "call_1", "type": "function",
                  "function": { "name": "f", "arguments": "{}" } }
            ]},
            "logprobs": null,
            "finish_reason": "tool_calls"
        })
    );
    let delta = ChoiceDelta {
        index: 0,
        delta: Delta {
            content: Some("Hello".into()),
            ..Delta::default()
        },
        logprobs: None,
        finish_reason: None,
    };
    assert_eq!(
        serde_json::to_value(delta).expect("serializes"),
        json!({ "index": 0, "delta": { "content": "Hello" }, "logprobs": null,
                "finish_reason": null })
    );
    assert_eq!(
        serde_json::to_value(agentinfer_protocol::ErrorDetail {
            message: "m".into(),
            kind: "invalid_request_error".into(),
            param: None,
            code: None,
        })
        .expect("serializes"),
        json!({ "message": "m", "type": "invalid_request_error", "param": null, "code": null })
    );
}

#[test]
fn chunks_are_read_and_written_back() {
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": "chatcmpl-123", "object": "chat.completion.chunk", "created": 1_694_268_190,
            "model": "gpt-4o-mini", "choices": choices,
            "system_fingerprint": "fp_44709d6fcb",
        });
        if !usage.is_null() {
            chunk["usage"] = usage;
        }
        chunk
    };
    let choice = |delta: Value, reason: Value| {
        json!([{ "index": 0, "delta": delta, "logprob\
        s": null, "finish_reason": reason }])
    };
    for body in [
        chunk(
            choice(json!({ "role": "assistant", "content": "" }), Value::Null),
            Value::Null,
        ),
        chunk(
            choice(json!({ "content": "Hello" }), Value::Null),
            Value::Null,
        ),
        chunk(
            choice(
                json!({ "tool_calls": [{ "index": 0, "id": "call_1", "type": "function",
                        "function": { "name": "f", "arguments": "" } }] }),
                Value::Null,
            ),
            Value::Null,
        ),
        chunk(
            choice(
                json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{\"a" } }] }),
                Value::Null,
            ),
            Value::Null,
        ),
        chunk(choice(json!({}), json!("stop")), Value::Null),
        chunk(
            json!([]),
            json!({ "prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21 }),
        ),
    ] {
        let read: ChatCompletionChunk = read(body.clone());
        assert_eq!(serde_json::to_value(&read).expect("serializes"), body);
    }
    // Before the last chunk, OpenAI sends `usage: null`.
    let mut body = chunk(choice(json!({}), Value::Null), Value::Null);
    body["usage"] = Value::Null;
    assert_eq!(read::<ChatCompletionChunk>(body).usage, None);
}

#[test]
fn text_completions() {
    for (prompt, expected) in [
        (
            json!("Say this is a test"),
            Prompt::Text("Say this is a test".into()),
        ),
        (
            json!(["a", "b"]),
            Prompt::Texts(vec!["a".into(), "b".into()]),
        ),
        (json!([1, 2]), Prompt::Tokens(vec![1, 2])),
    ] {
        let request: CompletionRequest = read(json!({
            "model": "gpt-3.5-turbo-instruct", "prompt": prompt, "max_tokens": 7, "temperature": 0
        }));
        assert_eq!(request.prompt, expected);
    }
    let body = json!({
        "id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
        "object": "text_completion",
        "created": 1_589_478_378,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{
            "text": "\n\nThis is indeed a test", "index": 0, "logprobs": null,
            "finish_reason": "length"
        }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12 }
    });
    let answer: Completion = read(body.clone());
    assert_eq!(serde_json::to_value(&answer).expect("serializes"), body);
}

#[test]
fn errors_and_models_of_other_servers() {
    let error: ErrorBody = read(json!({ "error": {
        "message": "Incorrect API key provided.", "type": "invalid_request_error",
        "param": null, "code": "invalid_api_key"
    }}));
    assert_eq!(error.error.code.as_deref(), Some("invalid_api_key"));
    let models: ModelList = read(json!({ "object": "list", "data": [
        { "id": "gpt-4o", "object": "model", "created": 1_686_935_002, "owned_by": "openai" }
    ]}));
    assert_eq!(
        (models.data[0].id.as_str(), models.data[0].max_model_len),
        ("gpt-4o", 0)
    );
}

#[test]
fn content_parts_are_joined_by_lines() {
    let message: Message = read(json!({ "role": "user", "content": [
        { "type": "text", "text": "a" }, { "type": "text", "text": "b" }
    ]}));
    assert_eq!(message.text(), "a\nb");
}
