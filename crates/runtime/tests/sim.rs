//! The runtime on simulated models: fields, shapes, sessions and bounds, without weights.

use std::time::Duration;

use agentinfer_protocol::{
    ChatCompletion, ChatCompletionChunk, ChatCompletionRequest, CompletionRequest,
    DetokenizeRequest, FinishReason, Message, Role, TokenizeRequest,
};
use agentinfer_runtime::{
    EngineError, Runtime, RuntimeError, RuntimeOptions, Tier, TierOptions, TierSource,
};
use serde_json::{Value, json};

fn sim(tier: Tier, name: &str) -> TierOptions {
    TierOptions::new(tier, name, TierSource::Sim)
}

fn runtime() -> Runtime {
    let tiers = vec![sim(Tier::Large, "strong"), sim(Tier::Small, "fast")];
    Runtime::start(RuntimeOptions::new(tiers)).expect("simulated tiers start")
}

/// A chat request of one user message, with `fields` added or replaced.
fn chat(fields: Value) -> ChatCompletionRequest {
    let mut request = json!({"messages": [{"role": "user", "content": "Hello"}]});
    for (name, value) in fields.as_object().expect("fields are an object") {
        request[name] = value.clone();
    }
    serde_json::from_value(request).expect("a chat request")
}

fn completion(fields: Value) -> CompletionRequest {
    serde_json::from_value(fields).expect("a completion request")
}

async fn chunks(runtime: &Runtime, request: ChatCompletionRequest) -> Vec<ChatCompletionChunk> {
    let mut stream = runtime.chat(request).expect("the request is served");
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(chunk.expect("no failure"));
    }
    chunks
}

async fn collect(runtime: &Runtime, request: ChatCompletionRequest) -> ChatCompletion {
    let stream = runtime.chat(request).expect("the request is served");
    stream.collect().await.expect("no failure")
}

/// Forbids the simulated vocabulary's end-of-generation tokens.
fn no_end() -> Value {
    json!({"256": -100, "258": -100})
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    }}})
}

#[test]
fn illegal_fields_are_named() {
    let runtime = runtime();
    let schema = json!({"type": "json_schema", "json_schema": {"schema": {"type": "object"}}});
    let cases = [
        (json!({"messages": []}), "messages", "invalid_value"),
        (
            json!({"temperature": 2.1}),
            "temperature",
            "decimal_above_max_value",
        ),
        (
            json!({"temperature": -0.1}),
            "temperature",
            "decimal_below_min_value",
        ),
        (json!({"top_p": 0}), "top_p", "decimal_below_min_value"),
        (json!({"top_p": 1.5}), "top_p", "decimal_above_max_value"),
        (json!({"min_p": 1.5}), "min_p", "decimal_above_max_value"),
        (
            json!({"repetition_penalty": 0}),
            "repetition_penalty",
            "decimal_below_min_value",
        ),
        (
            json!({"presence_penalty": 3}),
            "presence_penalty",
            "decimal_above_max_value",
        ),
        (
            json!({"frequency_penalty": -3}),
            "frequency_penalty",
            "decimal_below_min_value",
        ),
        (json!({"n": 0}), "n", "integer_below_min_value"),
        (json!({"n": 9}), "n", "integer_above_max_value"),
        (
            json!({"max_completion_tokens": 0}),
            "max_completion_tokens",
            "integer_below_min_value",
        ),
        (
            json!({"max_tokens": 0}),
            "max_tokens",
            "integer_below_min_value",
        ),
        (json!({"top_logprobs": 2}), "top_logprobs", "invalid_value"),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
            "integer_above_max_value",
        ),
        (
            json!({"logit_bias": {"x": 1}}),
            "logit_bias",
            "invalid_value",
        ),
        (
            json!({"logit_bias": {"99999": 1}}),
            "logit_bias",
            "invalid_value",
        ),
        (
            json!({"logit_bias": {"1": 101}}),
            "logit_bias",
            "decimal_above_max_value",
        ),
        (json!({"stop": ""}), "stop", "empty_string"),
        (
            json!({"stop": vec!["x"; 17]}),
            "stop",
            "array_above_max_length",
        ),
        (
            json!({"tools": vec![tool("f"); 129]}),
            "tools",
            "array_above_max_length",
        ),
        (
            json!({"tools": [tool("f"), tool("f")]}),
            "tools[1].function.name",
            "invalid_value",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]}),
            "tools[0].function.parameters",
            "invalid_type",
        ),
        (
            json!({"tool_choice": "required"}),
            "tool_choice",
            "invalid_value",
        ),
        (
            json!({"tool_choice": "sometimes"}),
            "tool_choice",
            "invalid_value",
        ),
        (
            json!({"tools": [tool("f")],
                   "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            "tool_choice",
            "invalid_value",
        ),
        (
            json!({"tools": [tool("f")], "tool_choice": "required", "response_format": schema}),
            "response_format",
            "invalid_value",
        ),
        (
            json!({"guided_regex": "a", "response_format": schema}),
            "response_format",
            "invalid_value",
        ),
        (
            json!({"guided_regex": "a", "guided_grammar": "b"}),
            "guided_regex",
            "invalid_value",
        ),
        (
            json!({"guided_regex": "a("}),
            "guided_regex",
            "invalid_value",
        ),
        (
            json!({"guided_grammar": "start: ("}),
            "guided_grammar",
            "invalid_value",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}}),
            "response_format.json_schema.schema",
            "invalid_type",
        ),
        (
            json!({"response_format": {"type": "json_schema",
                   "json_schema": {"schema": {"type": "strange"}}}}),
            "response_format.json_schema.schema",
            "invalid_value",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x".repeat(9000)}]}),
            "messages",
            "context_length_exceeded",
        ),
        (json!({"model": "gpt-4o"}), "model", "model_not_found"),
    ];
    for (fields, param, code) in cases {
        let error = runtime
            .chat(chat(fields.clone()))
            .expect_err(&fields.to_string());
        assert_eq!(
            (error.param(), error.code()),
            (Some(param), Some(code)),
            "{fields}: {error}"
        );
    }
}

#[test]
fn messages_speak_as_the_openai_api_does() {
    let message = |fields| {
        runtime()
            .chat(chat(fields))
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        message(json!({"temperature": 2.5})),
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 2.5 \
         instead."
    );
    assert_eq!(
        message(json!({"n": 0})),
        "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."
    );
    assert_eq!(
        message(json!({"model": "gpt-4o"})),
        "the model `gpt-4o` is not served here; served: fast, strong"
    );
}

#[tokio::test]
async fn models_are_found_by_name_tier_and_default() {
    let runtime = runtime();
    let cards: Vec<(String, String)> = runtime
        .models()
        .into_iter()
        .map(|card| (card.id, card.tier))
        .collect();
    let expected = [("fast", "small"), ("strong", "large"), ("auto", "auto")];
    assert_eq!(
        cards,
        expected.map(|(name, tier)| (name.to_owned(), tier.to_owned()))
    );
    for (model, answers) in [
        ("fast", "fast"),
        ("small", "fast"),
        ("strong", "strong"),
        ("large", "strong"),
        ("", "strong"),
        ("default", "strong"),
    ] {
        let answer = collect(&runtime, chat(json!({"model": model}))).await;
        assert_eq!(answer.model, answers, "{model}");
    }
    let small = RuntimeOptions::new(vec![sim(Tier::Small, "only")]);
    let small = Runtime::start(small).expect("one tier is enough");
    assert_eq!(small.models().len(), 1);
    for model in ["", "auto"] {
        let mut stream = small.chat(chat(json!({"model": model}))).expect("served");
        let answer = stream.read_all().await.expect("no failure");
        assert_eq!(answer.model, "only");
        let decision = (!model.is_empty()).then_some((Tier::Small, "only_tier"));
        assert_eq!(stream.decision(), decision);
    }
    assert_eq!(small.auto_stats(), None);
}

#[test]
fn contradictory_options_are_refused() {
    let cases = [
        (vec![], "no model"),
        (
            vec![sim(Tier::Small, "a"), sim(Tier::Small, "b")],
            "two models",
        ),
        (
            vec![sim(Tier::Small, "a"), sim(Tier::Large, "a")],
            "both tiers are named `a`",
        ),
        (vec![sim(Tier::Small, "")], "no name"),
        (vec![sim(Tier::Large, "auto")], "is named `auto`"),
    ];
    for (tiers, expected) in cases {
        let error = Runtime::start(RuntimeOptions::new(tiers)).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let missing = TierSource::Gguf("/nonexistent/model.gguf".into());
    let missing = TierOptions::new(Tier::Small, "missing", missing);
    let error = Runtime::start(RuntimeOptions::new(vec![missing])).expect_err("no such file");
    assert!(matches!(error, RuntimeError::Load { .. }), "{error}");
    assert!(
        error.to_string().contains("/nonexistent/model.gguf"),
        "{error}"
    );
}

#[test]
fn only_chats_leave_the_tier_open() {
    let runtime = runtime();
    let text = completion(json!({"model": "auto", "prompt": "x"}));
    let text = runtime.complete(text).expect_err("refused");
    let tokens = TokenizeRequest {
        model: "auto".to_owned(),
        ..TokenizeRequest::default()
    };
    let tokens = runtime.tokenize(tokens).expect_err("refused");
    for error in [text, tokens] {
        assert_eq!(error.param(), Some("model"));
        assert!(error.to_string().contains("for chats only"), "{error}");
    }
}

#[tokio::test]
async fn a_stream_is_the_whole_answer_in_pieces() {
    let runtime = runtime();
    let fields = json!({
        "n": 3, "seed": 7, "logprobs": true, "top_logprobs": 2, "max_completion_tokens": 20,
        "stream_options": {"include_usage": true},
    });
    let whole = collect(&runtime, chat(fields.clone())).await;
    let chunks = chunks(&runtime, chat(fields)).await;
    assert!(chunks.iter().all(|chunk| chunk.id == chunks[0].id));

    let (usage, parts) = chunks.split_last().expect("chunks");
    assert!(usage.choices.is_empty() && parts.iter().all(|chunk| chunk.usage.is_none()));
    let usage = usage.usage.as_ref().expect("usage was asked for");
    assert_eq!(usage.completion_tokens, whole.usage.completion_tokens);
    assert_eq!(
        usage.total_tokens,
        usage.prompt_tokens + usage.completion_tokens
    );

    for choice in &whole.choices {
        let own = parts.iter().flat_map(|chunk| &chunk.choices);
        let own: Vec<_> = own.filter(|part| part.index == choice.index).collect();
        assert_eq!(
            own[0].delta.role,
            Some(Role::Assistant),
            "the role comes first"
        );
        assert!(
            own[1..].iter().all(|part| part.delta.role.is_none()),
            "and once"
        );
        let text: String = own
            .iter()
            .filter_map(|part| part.delta.content.clone())
            .collect();
        assert_eq!(text, choice.message.text());
        let (last, others) = own.split_last().expect("parts");
        assert_eq!(last.finish_reason, Some(choice.finish_reason));
        assert!(others.iter().all(|part| part.finish_reason.is_none()));
        let logprobs = own.iter().filter_map(|part| part.logprobs.clone());
        let logprobs: Vec<_> = logprobs.flat_map(|logprobs| logprobs.content).collect();
        assert_eq!(
            Some(&logprobs),
            choice.logprobs.as_ref().map(|whole| &whole.content)
        );
        let tokens: String = logprobs.iter().map(|token| token.token.clone()).collect();
        assert_eq!(tokens, text);
        assert!(logprobs.iter().all(|token| token.top_logprobs.len() == 2));
    }
    let texts: Vec<String> = whole
        .choices
        .iter()
        .map(|choice| choice.message.text())
        .collect();
    assert!(
        texts[0] != texts[1] && texts[1] != texts[2],
        "choices have seeds of their own"
    );
    let second = json!({"seed": 8, "max_completion_tokens": 20});
    let second = collect(&runtime, chat(second)).await;
    assert_eq!(
        second.choices[0].message.text(),
        texts[1],
        "which count up from the request's"
    );
}

#[tokio::test]
async fn usage_comes_only_when_asked_for() {
    let runtime = runtime();
    let chunks = chunks(
        &runtime,
        chat(json!({"max_completion_tokens": 3, "seed": 1})),
    )
    .await;
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.usage.is_none() && !chunk.choices.is_empty())
    );
}

#[tokio::test]
async fn stop_texts_end_the_answer_and_are_not_part_of_it() {
    let runtime = runtime();
    let free = json!({
        "temperature": 0, "max_completion_tokens": 24, "logprobs": true, "logit_bias": no_end(),
    });
    let text = collect(&runtime, chat(free.clone())).await.choices[0]
        .message
        .text();
    let stop = &text[9..12];
    let mut stopped = free;
    stopped["stop"] = json!(["not in there", stop]);
    let answer = &collect(&runtime, chat(stopped)).await.choices[0];
    let expected = text.split(stop).next().expect("a beginning");
    assert_eq!(answer.message.text(), expected);
    assert_eq!(answer.finish_reason, FinishReason::Stop);
    let logprobs = answer.logprobs.as_ref().expect("asked for");
    assert_eq!(
        logprobs.content.len(),
        expected.len(),
        "one per visible token"
    );
}

#[tokio::test]
async fn forced_calls_and_formats_have_their_form() {
    let runtime = runtime();
    let forced = json!({
        "seed": 5, "tools": [tool("weather"), tool("other")], "parallel_tool_calls": false,
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "max_completion_tokens": 2000,
    });
    let answer = &collect(&runtime, chat(forced)).await.choices[0];
    let calls = answer.message.tool_calls.as_ref().expect("a call");
    assert_eq!(
        (calls.len(), calls[0].function.name.as_str()),
        (1, "weather")
    );
    assert!(calls[0].id.starts_with("call_") && calls[0].id.len() == 29);
    if answer.finish_reason == FinishReason::ToolCalls {
        let arguments: Value =
            serde_json::from_str(&calls[0].function.arguments).expect("JSON arguments");
        assert!(arguments["city"].is_string());
    }
    let guided = json!({"guided_regex": "[0-9]{3}-(yes|no)", "seed": 3});
    let text = collect(&runtime, chat(guided)).await.choices[0]
        .message
        .text();
    let (digits, word) = text.split_once('-').expect("the form");
    assert!(digits.len() == 3 && digits.parse::<u32>().is_ok() && ["yes", "no"].contains(&word));
}

#[tokio::test]
async fn a_conversation_keeps_its_tokens() {
    let runtime = runtime();
    let mut messages = vec![Message::system("Be brief.")];
    let mut before = 0;
    for turn in 0..5 {
        messages.push(Message::user(format!("Question {turn}")));
        let request = ChatCompletionRequest {
            messages: messages.clone(),
            max_completion_tokens: Some(32),
            seed: Some(turn),
            stream_options: None,
            ..ChatCompletionRequest::default()
        };
        let answer = collect(&runtime, request).await;
        let cached = answer
            .usage
            .prompt_tokens_details
            .as_ref()
            .map_or(0, |d| d.cached_tokens);
        // All of the last prompt, and its answer but for the token that was sampled last.
        assert!(
            turn == 0 || cached + 2 >= before,
            "turn {turn}: {cached} of {before} cached"
        );
        before = answer.usage.prompt_tokens + answer.usage.completion_tokens;
        messages.push(answer.choices[0].message.clone());
    }
    let stats = &runtime.stats()[1];
    assert_eq!((stats.sessions, stats.conversations.conversations), (1, 1));
    // Each turn tokenizes its own question, and what the template writes around it.
    assert!(stats.tokenized_prompt_tokens < 400, "{stats:?}");
    assert!(stats.reused_prompt_tokens > 500, "{stats:?}");
    assert_eq!(runtime.stats()[0].reused_prompt_tokens, 0);
}

#[tokio::test]
async fn a_dropped_stream_cancels_its_request() {
    let runtime = runtime();
    // Without an end the answer would fill the context, and its client's channel long before.
    let endless = json!({"logit_bias": no_end(), "seed": 1});
    let mut stream = runtime.chat(chat(endless)).expect("served");
    assert!(stream.next().await.is_some());
    assert_eq!(runtime.stats()[1].engine.cancelled, 0);
    drop(stream);
    collect(&runtime, chat(json!({"seed": 1}))).await;
    assert_eq!(runtime.stats()[1].engine.cancelled, 1);
}

#[tokio::test]
async fn a_full_queue_refuses_and_what_was_accepted_is_served() {
    let mut tier = sim(Tier::Small, "narrow");
    tier.engine.max_requests = 2;
    let runtime = Runtime::start(RuntimeOptions::new(vec![tier])).expect("starts");
    let error = runtime
        .chat(chat(json!({"n": 3})))
        .expect_err("three of two");
    assert_eq!(error.code(), Some("rate_limit_exceeded"));
    assert!(
        matches!(error, RuntimeError::Engine(EngineError::QueueFull { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn text_completions_of_every_prompt() {
    let runtime = runtime();
    let fields = json!({
        "prompt": ["one", "two"], "n": 2, "temperature": 0, "logprobs": 1, "max_tokens": 6,
    });
    let whole = runtime.complete(completion(fields)).expect("served");
    let whole = whole.collect().await.expect("no failure");
    assert_eq!(
        whole.choices.iter().map(|c| c.index).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    let texts: Vec<&str> = whole
        .choices
        .iter()
        .map(|choice| choice.text.as_str())
        .collect();
    assert!(
        texts[0] == texts[1] && texts[2] == texts[3] && texts[0] != texts[2],
        "{texts:?}"
    );
    let usage = whole.usage.as_ref().expect("always there");
    assert_eq!(usage.prompt_tokens, 6, "each prompt is counted once");

    let columns = whole.choices[0].logprobs.as_ref().expect("asked for");
    assert_eq!(columns.tokens.concat(), texts[0]);
    assert_eq!(
        columns.text_offset,
        (0..columns.tokens.len() as u32).collect::<Vec<_>>()
    );
    assert!(columns.top_logprobs.iter().all(|top| top.len() == 1));

    let tokens = json!({"prompt": [111, 110, 101], "temperature": 0, "max_tokens": 6});
    let mut stream = runtime.complete(completion(tokens)).expect("served");
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.expect("no failure");
        assert!(chunk.usage.is_none());
        text += &chunk.choices[0].text;
    }
    assert_eq!(text, texts[0], "tokens and text are one prompt");

    for prompt in [json!("one"), json!([111, 110, 101])] {
        let fields = json!({
            "prompt": prompt, "temperature": 0, "max_tokens": 6, "echo": true, "best_of": 1,
        });
        let whole = runtime.complete(completion(fields)).expect("served");
        let whole = whole.collect().await.expect("no failure");
        assert_eq!(whole.choices[0].text, format!("one{}", texts[0]));
    }

    let refusals = [
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": [999_999]}), "prompt"),
        (json!({"prompt": vec!["x"; 65]}), "prompt"),
        (json!({"prompt": "x", "logprobs": 6}), "logprobs"),
        (json!({"prompt": "x", "max_tokens": 0}), "max_tokens"),
        (json!({"prompt": "x", "suffix": "y"}), "suffix"),
        (json!({"prompt": "x", "n": 2, "best_of": 3}), "best_of"),
        (json!({"prompt": "x", "echo": true, "logprobs": 0}), "echo"),
        (json!({"prompt": "x", "model": "other"}), "model"),
    ];
    for (fields, param) in refusals {
        let error = runtime
            .complete(completion(fields.clone()))
            .expect_err("refused");
        assert_eq!(error.param(), Some(param), "{fields}: {error}");
    }
}

#[test]
fn tokens_come_back_as_text() {
    let runtime = runtime();
    let text = "<|im_start|>user\nGrüße, 你好<|im_end|>";
    let request = TokenizeRequest {
        content: text.to_owned(),
        ..TokenizeRequest::default()
    };
    let tokens = runtime.tokenize(request).expect("served");
    assert_eq!((tokens.count, tokens.tokens[0]), (tokens.tokens.len(), 257));
    let request = DetokenizeRequest {
        tokens: tokens.tokens,
        ..DetokenizeRequest::default()
    };
    assert_eq!(runtime.detokenize(request).expect("served").content, text);
    let request = DetokenizeRequest {
        tokens: vec![1 << 30],
        ..DetokenizeRequest::default()
    };
    assert_eq!(
        runtime.detokenize(request).expect_err("unknown").param(),
        Some("tokens")
    );
}

#[tokio::test]
async fn a_drained_runtime_finishes_what_it_began_and_refuses_the_rest() {
    let runtime = runtime();
    let begun = runtime
        .chat(chat(json!({"seed": 1, "max_completion_tokens": 9})))
        .expect("served");
    runtime.drain(Duration::from_secs(60)).await;
    begun.collect().await.expect("what was accepted is served");
    let error = runtime.chat(chat(json!({}))).expect_err("refused");
    assert_eq!(error.code(), Some("shutting_down"));
}
