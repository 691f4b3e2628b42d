//! The runtime on a real model.

use std::sync::OnceLock;
use std::time::Duration;

use agentinfer_protocol::{ChatCompletion, ChatCompletionRequest, FinishReason, Message, ToolCall};
use agentinfer_runtime::{Drafts, Runtime, RuntimeOptions, Tier, TierOptions, TierSource};
use serde_json::{Value, json};

const MODEL: &str = "smollm2-135m";

/// One model for all tests: they run on threads of their own, which is how it is used.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let path = agentinfer_models::resolve(MODEL).expect("run `agentinfer models pull` first");
        let mut tier = TierOptions::new(Tier::Small, MODEL, TierSource::Gguf(path));
        // Other tests run beside these: threads that spin for each other would wait for a core.
        tier.llama.threads = Some(1);
        // Kernels round differently when they verify several tokens at once, and where two tokens
        // are almost equally probable, greedy texts part.
        tier.drafts = Drafts::Forced;
        Runtime::start(RuntimeOptions::new(vec![tier])).expect("the model loads")
    })
}

fn chat(question: &str, fields: Value) -> ChatCompletionRequest {
    let mut request = json!({
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_completion_tokens": 48,
    });
    for (name, value) in fields.as_object().expect("fields are an object") {
        request[name] = value.clone();
    }
    serde_json::from_value(request).expect("a chat request")
}

async fn collect(request: ChatCompletionRequest) -> ChatCompletion {
    let stream = runtime().chat(request).expect("the request is served");
    stream.collect().await.expect("no failure")
}

#[tokio::test]
async fn a_streamed_answer_equals_the_whole_one() {
    let request = || chat("What is the capital of France?", json!({}));
    let whole = collect(request()).await;
    let text = whole.choices[0].message.text();
    assert!(text.len() > 10, "{text}");
    let mut streamed = String::new();
    let mut stream = runtime().chat(request()).expect("served");
    while let Some(chunk) = stream.next().await {
        for choice in chunk.expect("no failure").choices {
            streamed += &choice.delta.content.unwrap_or_default();
        }
    }
    assert_eq!(streamed, text);
}

#[tokio::test]
async fn a_text_is_continued_with_sense() {
    let request = json!({
        "prompt": "The capital of France is", "temperature": 0, "max_tokens": 4, "logprobs": 3,
    });
    let request = serde_json::from_value(request).expect("a completion request");
    let stream = runtime().complete(request).expect("served");
    let answer = stream.collect().await.expect("no failure");
    let choice = &answer.choices[0];
    assert!(choice.text.starts_with(" Paris"), "{}", choice.text);
    let columns = choice.logprobs.as_ref().expect("asked for");
    assert_eq!(columns.tokens.concat(), choice.text);
    assert!(columns.token_logprobs[0] > -1.0 && columns.top_logprobs[0].len() == 3);
}

#[tokio::test]
async fn two_greedy_choices_agree_and_two_sampled_ones_need_not() {
    let answer = collect(chat("Name a colour.", json!({"n": 2}))).await;
    assert_eq!(answer.choices.len(), 2);
    assert_eq!(answer.choices[0].message, answer.choices[1].message);
    let sampled = json!({"n": 2, "temperature": 1.2, "seed": 1});
    let answer = collect(chat("Tell me a story.", sampled)).await;
    assert_ne!(answer.choices[0].message, answer.choices[1].message);
}

/// The model twice, as two tiers that know the same.
fn twins() -> Runtime {
    let path = agentinfer_models::resolve(MODEL).expect("run `agentinfer models pull` first");
    let tier = |tier, name| {
        let mut options = TierOptions::new(tier, name, TierSource::Gguf(path.clone()));
        options.llama.threads = Some(1);
        options.llama.cells = 4096;
        options
    };
    let tiers = vec![tier(Tier::Small, "one"), tier(Tier::Large, "two")];
    let mut options = RuntimeOptions::new(tiers);
    options.collab.policy = "paper:warm_up=1:burst=1".parse().expect("a policy");
    Runtime::start(options).expect("the model loads twice")
}

#[tokio::test]
async fn two_tiers_share_a_session_and_find_it_read() {
    let runtime = twins();
    let place = "The cupboard in the hall has three shelves, and on each there are some books. ";
    let mut messages = vec![Message::system(place.repeat(12))];
    let (mut tiers, mut prompts) = (Vec::new(), 0);
    let finished = || {
        let engines = runtime.stats().into_iter().map(|tier| tier.engine.finished);
        engines.sum::<u64>()
    };
    for question in [
        "Where are books?",
        "How many shelves?",
        "In which room?",
        "Why?",
    ] {
        messages.push(Message::user(question));
        let request = ChatCompletionRequest {
            model: "auto".to_owned(),
            messages: messages.clone(),
            temperature: Some(0.0),
            max_completion_tokens: Some(24),
            ..ChatCompletionRequest::default()
        };
        runtime.settle(&request).await;
        let mut stream = runtime.chat(request).expect("served");
        let answer = stream.read_all().await.expect("no failure");
        prompts += u64::from(answer.usage.prompt_tokens);
        tiers.push(stream.decision().expect("left open").0);
        messages.push(answer.choices[0].message.clone());
        // The answer, its check, and what the other tier reads.
        let all = async {
            while finished() < 3 * tiers.len() as u64 {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(120), all).await;
        assert!(waited.is_ok(), "{:?}", runtime.stats());
    }
    assert_eq!(tiers[..2], [Tier::Large, Tier::Small]);
    let stats = runtime.auto_stats().expect("two tiers");
    assert_eq!(
        (stats.checks, stats.checks_true + stats.checks_false),
        (4, 3),
        "{stats:?}"
    );
    assert!(
        stats.switches > 0 && stats.prewarmed_tokens > 0,
        "{stats:?}"
    );
    assert!(
        stats.switch_prefill_tokens * 20 <= prompts,
        "{stats:?} of {prompts}"
    );
}

#[tokio::test]
async fn a_schema_is_followed() {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 1, "maximum": 120},
            "kind": {"enum": ["person", "place"]},
        },
        "required": ["name", "age", "kind"],
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let fields = json!({"response_format": format, "max_completion_tokens": 200});
    let answer = collect(chat("Describe Ada Lovelace as JSON.", fields)).await;
    let value: Value = serde_json::from_str(&answer.choices[0].message.text()).expect("JSON");
    assert!(
        value["name"]
            .as_str()
            .is_some_and(|name| name.chars().count() <= 20),
        "{value}"
    );
    assert!(
        value["age"]
            .as_u64()
            .is_some_and(|age| (1..=120).contains(&age)),
        "{value}"
    );
    assert!(
        ["person", "place"]
            .map(Value::from)
            .contains(&value["kind"]),
        "{value}"
    );
    assert_eq!(
        value.as_object().map(|object| object.len()),
        Some(3),
        "{value}"
    );
}

#[tokio::test]
async fn a_stop_text_is_cut_off() {
    let free = collect(chat("Count from one to ten in words.", json!({}))).await;
    let text = free.choices[0].message.text();
    let middle = text
        .char_indices()
        .nth(text.chars().count() / 2)
        .expect("a middle")
        .0;
    let stop: String = text[middle..].chars().take(4).collect();
    let stopped = collect(chat(
        "Count from one to ten in words.",
        json!({"stop": stop}),
    ))
    .await;
    let expected = text.split(&stop).next().expect("a beginning");
    assert_eq!(stopped.choices[0].message.text(), expected);
    assert_eq!(stopped.choices[0].finish_reason, FinishReason::Stop);
}

#[tokio::test]
async fn a_forced_tool_is_called_with_legal_arguments() {
    let weather = json!({"type": "function", "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 24}},
            "required": ["city"],
            "additionalProperties": false,
        },
    }});
    let fields = json!({
        "tools": [weather], "tool_choice": "required", "parallel_tool_calls": false,
        "max_completion_tokens": 200,
    });
    let mut request = chat("What is the weather in Berlin?", fields);
    let answer = collect(request.clone()).await;
    let choice = &answer.choices[0];
    assert_eq!(choice.finish_reason, FinishReason::ToolCalls, "{choice:?}");
    let calls: &[ToolCall] = choice.message.tool_calls.as_deref().expect("a call");
    assert_eq!(
        (calls.len(), calls[0].function.name.as_str()),
        (1, "get_weather")
    );
    let arguments: Value = serde_json::from_str(&calls[0].function.arguments).expect("JSON");
    assert!(arguments["city"].is_string(), "{arguments}");

    // The turn that made the call comes back re-rendered, and still has its tokens.
    let before = answer.usage.prompt_tokens;
    let result = Message {
        tool_call_id: Some(calls[0].id.clone()),
        ..Message::new(agentinfer_protocol::Role::Tool, "Sunny, 20 degrees.")
    };
    request.messages.extend([choice.message.clone(), result]);
    request.tool_choice = None;
    let next = collect(request).await;
    let cached = next
        .usage
        .prompt_tokens_details
        .map_or(0, |details| details.cached_tokens);
    let said = answer.usage.completion_tokens;
    assert!(
        cached + 2 >= before + said,
        "{cached} cached of {before} and {said}"
    );
}

#[test]
fn a_prompt_beyond_the_context_is_refused_with_the_limit() {
    let limit = runtime().models()[0].max_model_len;
    let request = chat(&"word ".repeat(limit as usize + 1), json!({}));
    let error = runtime().chat(request).expect_err("too long");
    assert_eq!(
        (error.param(), error.code()),
        (Some("messages"), Some("context_length_exceeded"))
    );
    assert!(error.to_string().contains(&limit.to_string()), "{error}");
}

#[tokio::test]
async fn five_turns_reuse_their_tokens() {
    let questions = [
        "Hello!",
        "Name a fruit.",
        "And another one.",
        "Which is sweeter?",
        "Thank you, bye.",
    ];
    let mut messages = Vec::new();
    let mut before = 0;
    for (turn, question) in questions.into_iter().enumerate() {
        messages.push(Message::user(question));
        let request = ChatCompletionRequest {
            messages: messages.clone(),
            max_completion_tokens: Some(24),
            // Sampled, so that the model splits words as the tokenizer would not.
            temperature: Some(1.5),
            seed: Some(11),
            prompt_cache_key: Some("five turns".to_owned()),
            ..ChatCompletionRequest::default()
        };
        let answer = collect(request).await;
        let cached = answer
            .usage
            .prompt_tokens_details
            .as_ref()
            .map_or(0, |d| d.cached_tokens);
        assert!(
            turn == 0 || cached + 2 >= before,
            "turn {turn}: {cached} of {before} cached"
        );
        before = answer.usage.prompt_tokens + answer.usage.completion_tokens;
        messages.push(answer.choices[0].message.clone());
    }
    assert!(runtime().stats()[0].reused_prompt_tokens > 0);
}
