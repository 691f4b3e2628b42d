//! What is asked, and what is answered.

use agentinfer_server::{Server, ServerError, ServerOptions};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{CONTEXT_TOKENS, TestServer, error, hello, hello_with, in_time};

/// Status, code, field and a part of the message that a body is refused with.
type Refusal = (
    u16,
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
);

async fn check_refusal(server: &TestServer, path: &str, body: String, expected: Refusal) {
    let (status, code, param, says) = expected;
    let request = server.client.post(server.url(path)).body(body);
    let response = in_time(request.send()).await.expect("an answer");
    let error = error(response, StatusCode::from_u16(status).expect("a status")).await;
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(says), "{says}: {error}");
    assert_eq!(error["code"].as_str(), code, "{error}");
    assert_eq!(error["param"].as_str(), param, "{error}");
    assert_eq!(error["type"], "invalid_request_error", "{error}");
}

#[tokio::test]
async fn wrong_json_is_refused_with_its_place() {
    let server = TestServer::start().await;
    let cases: [(&str, Refusal); 6] = [
        ("", (400, None, None, "must be a JSON object")),
        ("messages=hello", (400, None, None, "must be a JSON object")),
        ("{\"messages\": [}", (400, None, None, "line 1 column 15")),
        (
            "{}{}",
            (400, None, None, "something follows the JSON object"),
        ),
        (
            r#"{"messages": [{"role": "robot", "content": "x"}]}"#,
            (
                400,
                None,
                Some("messages[0].role"),
                "unknown variant `robot`",
            ),
        ),
        (
            r#"{"messages": [], "max_tokens": "many"}"#,
            (
                400,
                None,
                Some("max_tokens"),
                "invalid type: string \"many\"",
            ),
        ),
    ];
    for (body, refusal) in cases {
        check_refusal(&server, "/v1/chat/completions", body.to_owned(), refusal).await;
    }
}

#[tokio::test]
async fn bad_values_are_refused_by_name() {
    let server = TestServer::start().await;
    let unfit = json!({"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}});
    let cases: [(Value, Refusal); 14] = [
        (
            json!({"service_tier": "fast"}),
            (400, Some("invalid_value"), Some("service_tier"), "'flex'"),
        ),
        (
            json!({"prompt_cache_retention": "1h"}),
            (
                400,
                Some("invalid_value"),
                Some("prompt_cache_retention"),
                "'24h'",
            ),
        ),
        (
            json!({"priority": 0.5}),
            (400, None, Some("priority"), "expected i32"),
        ),
        (
            json!({"priority": 2_000_000}),
            (
                400,
                Some("integer_above_max_value"),
                Some("priority"),
                "<= 1000000",
            ),
        ),
        (
            json!({"expected_tool_seconds": -1}),
            (
                400,
                Some("decimal_below_min_value"),
                Some("expected_tool_seconds"),
                ">= 0",
            ),
        ),
        (
            json!({"model": "gpt-4"}),
            (404, Some("model_not_found"), Some("model"), "gpt-4"),
        ),
        (
            json!({"messages": []}),
            (400, Some("invalid_value"), Some("messages"), "at least one"),
        ),
        (
            json!({"temperature": -1}),
            (
                400,
                Some("decimal_below_min_value"),
                Some("temperature"),
                ">= 0",
            ),
        ),
        (
            json!({"n": 0}),
            (400, Some("integer_below_min_value"), Some("n"), ">= 1"),
        ),
        (
            json!({"max_tokens": 0}),
            (
                400,
                Some("integer_below_min_value"),
                Some("max_tokens"),
                ">= 1",
            ),
        ),
        (
            json!({"tool_choice": "required"}),
            (400, Some("invalid_value"), Some("tool_choice"), "tools"),
        ),
        (
            json!({"logit_bias": {"cat": 1}}),
            (400, Some("invalid_value"), Some("logit_bias"), "cat"),
        ),
        (
            json!({"response_format": unfit}),
            (
                400,
                Some("invalid_value"),
                Some("response_format.json_schema.schema"),
                "nonsense",
            ),
        ),
        (
            json!({"guided_regex": "("}),
            (400, Some("invalid_value"), Some("guided_regex"), "("),
        ),
    ];
    for (fields, refusal) in cases {
        let body = hello_with(fields).to_string();
        check_refusal(&server, "/v1/chat/completions", body, refusal).await;
    }
    assert_eq!(server.chat(&hello()).await.status(), 200);
}

#[tokio::test]
async fn a_prompt_beyond_the_context_is_told_the_limit() {
    let server = TestServer::start().await;
    let long = "x".repeat(CONTEXT_TOKENS);
    let limit = "8192";
    let chat = json!({"messages": [{"role": "user", "content": long}]});
    let refusal = (
        400,
        Some("context_length_exceeded"),
        Some("messages"),
        limit,
    );
    check_refusal(&server, "/v1/chat/completions", chat.to_string(), refusal).await;
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused_announced_or_not() {
    let server = TestServer::with(|setup| setup.server.max_body_bytes = 1000).await;
    // The large one fills every buffer on the way, and still its sender is told.
    for length in [1001, 20 << 20] {
        let refusal = (413, Some("body_too_large"), None, "1000 bytes");
        check_refusal(&server, "/v1/chat/completions", "x".repeat(length), refusal).await;
    }
    let pieces = (0..11).map(|_| Ok::<_, std::io::Error>("x".repeat(100)));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = server.client.post(server.url("/tokenize")).body(body);
    let response = in_time(request.send()).await.expect("an answer");
    let error = error(response, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(error["code"], "body_too_large");
}

#[tokio::test]
async fn unknown_routes_and_methods_list_the_routes() {
    let server = TestServer::start().await;
    let cases = [
        (
            Method::GET,
            "/v1/chats",
            StatusCode::NOT_FOUND,
            "route_not_found",
        ),
        (Method::POST, "/", StatusCode::NOT_FOUND, "route_not_found"),
        (
            Method::GET,
            "/v1/chat/completions",
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
        ),
        (
            Method::DELETE,
            "/v1/models",
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
        ),
    ];
    for (method, path, status, code) in cases {
        let request = server.client.request(method, server.url(path));
        let error = error(in_time(request.send()).await.expect("an answer"), status).await;
        assert_eq!(error["code"], code);
        let message = error["message"].as_str().expect("a message");
        // Each route that the message lists exists: the list is not a fancy.
        let routes = message.split_once("routes: ").expect("a list of routes").1;
        for route in routes.split(", ") {
            let (method, path) = route.split_once(' ').expect("a method and a path");
            let method = method.parse().expect("a method");
            let url = server.url(&path.replace("{id}", "sim"));
            let answer = in_time(server.client.request(method, url).send()).await;
            let status = answer.expect("an answer").status();
            assert!(status == 200 || status == 400, "{route}: {status}");
        }
    }
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let server = TestServer::start().await;
    for path in ["/v1/models", "/models"] {
        let list: Value = server.get(path).await.json().await.expect("JSON");
        assert_eq!(list["object"], "list");
        assert_eq!(list["data"][0]["id"], "sim");
        assert_eq!(list["data"][0]["max_model_len"], CONTEXT_TOKENS);
    }
    let card: Value = server
        .get("/v1/models/sim")
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(card["id"], "sim");
    let error = error(
        server.get("/v1/models/org/none").await,
        StatusCode::NOT_FOUND,
    )
    .await;
    assert_eq!(error["code"], "model_not_found");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("org/none") && m.contains("sim"))
    );
}

#[tokio::test]
async fn a_stream_is_framed_and_says_what_the_whole_answer_says() {
    let server = TestServer::start().await;
    let whole: Value = server.chat(&hello()).await.json().await.expect("JSON");
    let text = &whole["choices"][0]["message"]["content"];

    let usage = json!({"stream": true, "stream_options": {"include_usage": true}});
    let response = server.chat(&hello_with(usage)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = in_time(response.text()).await.expect("text");
    let events: Vec<&str> = body.split_terminator("\n\n").collect();
    let data = events
        .iter()
        .map(|event| event.strip_prefix("data: ").expect("a data line"));
    let mut data: Vec<&str> = data.collect();
    assert_eq!(data.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = data
        .iter()
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    let pieces = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["content"].as_str());
    assert_eq!(pieces.collect::<String>(), text.as_str().expect("text"));
    for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(
            chunks.last().expect("chunks")["usage"][count],
            whole["usage"][count]
        );
    }

    let body = json!({"prompt": "hello", "seed": 1, "stream": true});
    let body = server
        .post("/v1/completions", &body)
        .await
        .text()
        .await
        .expect("text");
    assert!(
        body.starts_with("data: {") && body.ends_with("data: [DONE]\n\n"),
        "{body}"
    );
}

#[tokio::test]
async fn the_session_header_finds_the_prefix() {
    let server = TestServer::start().await;
    let cached = async |text: &str| {
        let body = hello_with(json!({"messages": [{"role": "user", "content": text}]}));
        let request = server.client.post(server.url("/chat/completions"));
        let response = request.header("x-session-id", "mine").json(&body).send();
        let answer: Value = in_time(response)
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .expect("a number")
    };
    let text = "a long beginning, then ".repeat(20);
    assert!(cached(&text).await < 100);
    assert!(cached(&(text + "more")).await > 400);
}

#[tokio::test]
async fn hints_in_headers_are_taken_or_refused_by_name() {
    let server = TestServer::start().await;
    let seconds = "x-agentinfer-expected-tool-seconds";
    let end = "x-agentinfer-end-session";
    for path in ["/v1/chat/completions", "/v1/completions"] {
        let mut body = hello();
        body["prompt"] = json!("hello");
        let send = async |name: &str, value: &str| {
            let request = server.client.post(server.url(path)).header(name, value);
            in_time(request.json(&body).send())
                .await
                .expect("an answer")
        };
        for (name, value) in [
            (seconds, "2.5"),
            (seconds, "0"),
            (end, "true"),
            (end, "false"),
        ] {
            assert_eq!(send(name, value).await.status(), 200, "{name}: {value}");
        }
        for (name, value, says) in [
            (seconds, "soon", "a number of seconds"),
            (seconds, "-1", "a number of seconds"),
            (seconds, "NaN", "a number of seconds"),
            (end, "yes", "true or false"),
            ("x-session-id", "é", "plain ASCII"),
        ] {
            let error = error(send(name, value).await, StatusCode::BAD_REQUEST).await;
            assert_eq!(error["param"], name, "{error}");
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains(name) && message.contains(says), "{error}");
        }
    }
}

#[tokio::test]
async fn tokens_become_the_text_again() {
    let server = TestServer::start().await;
    let text = "Grüße, 世界";
    let body = json!({"content": text});
    let tokens: Value = server
        .post("/tokenize", &body)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(tokens["count"], text.len());
    let back: Value = server
        .post("/detokenize", &tokens)
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(back["content"], text);
}

#[tokio::test]
async fn requests_have_ids() {
    let server = TestServer::start().await;
    let id = async |sent: Option<&str>| {
        let mut request = server.client.get(server.url("/health"));
        if let Some(sent) = sent {
            request = request.header("x-request-id", sent);
        }
        let response = in_time(request.send()).await.expect("an answer");
        response.headers()["x-request-id"]
            .to_str()
            .expect("ASCII")
            .to_owned()
    };
    assert_eq!(id(Some("mine-1")).await, "mine-1");
    let generated = id(None).await;
    assert!(generated.starts_with("req-"));
    assert_ne!(id(None).await, generated);
    // What would spoil a log line is replaced.
    assert!(id(Some("two words")).await.starts_with("req-"));
    assert!(id(Some(&"x".repeat(1000))).await.starts_with("req-"));
}

#[tokio::test]
async fn keys_are_asked_for_except_by_probes() {
    let keys = || vec!["first".to_owned(), "second".to_owned()];
    let server = TestServer::with(|setup| setup.server.api_keys = keys()).await;
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).await.status(), 200);
    }
    for path in ["/v1/models", "/metrics"] {
        let response = server.get(path).await;
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        let error = error(response, StatusCode::UNAUTHORIZED).await;
        assert_eq!(error["code"], "invalid_api_key");
        assert_eq!(error["type"], "authentication_error");
    }
    for (key, status) in [("first", 200), ("second", 200), ("third", 401)] {
        let request = server.client.post(server.url("/v1/chat/completions"));
        let response = request.bearer_auth(key).json(&hello()).send();
        assert_eq!(
            in_time(response).await.expect("an answer").status(),
            status,
            "{key}"
        );
    }
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = TestServer::start().await;
    for _ in 0..3 {
        assert_eq!(server.chat(&hello()).await.status(), 200);
    }
    let streamed = server.chat(&hello_with(json!({"stream": true}))).await;
    in_time(streamed.text()).await.expect("text");
    server.chat(&hello_with(json!({"model": "none"}))).await;
    for path in ["/a", "/b"] {
        server.get(path).await;
    }

    let count = async |name, label| server.metric(name, label).await;
    let chat = r#"route="/v1/chat/completions",status="200""#;
    server
        .metric_becomes("agentinfer_requests_total", chat, 4.0)
        .await;
    assert_eq!(
        count("agentinfer_requests_total", r#"route="unmatched""#).await,
        2.0
    );
    assert_eq!(
        count("agentinfer_requests_rejected_total", "model_not_found").await,
        1.0
    );
    assert_eq!(count("agentinfer_ttft_seconds_count", "chat").await, 1.0);
    assert_eq!(count("agentinfer_e2e_seconds_count", "chat").await, 5.0);
    // The request for the metrics is in flight itself.
    assert_eq!(count("agentinfer_requests_in_flight", "").await, 1.0);
    let tier = r#"tier="small",model="sim""#;
    assert_eq!(count("agentinfer_engine_finished_total", tier).await, 4.0);
    assert!(count("agentinfer_engine_generated_tokens_total", tier).await >= 4.0);
    assert!(count("agentinfer_engine_step_seconds_total", tier).await > 0.0);
    assert!(count("agentinfer_engine_cells_total", tier).await > 0.0);
}

#[tokio::test]
async fn metrics_tell_what_became_of_drafts() {
    let server = TestServer::start().await;
    let name = "agentinfer_engine_draft_tokens_total";
    assert_eq!(server.metric(name, "").await, 0.0);
    let schema = json!({"name": "answer", "strict": true, "schema": {
        "type": "object",
        "properties": {"include_subfolders": {"type": "boolean"}},
        "required": ["include_subfolders"],
        "additionalProperties": false,
    }});
    let format = json!({"type": "json_schema", "json_schema": schema});
    let body = hello_with(json!({"response_format": format, "max_tokens": 200}));
    assert_eq!(server.chat(&body).await.status(), 200);
    server
        .metric_becomes("agentinfer_engine_finished_total", "", 1.0)
        .await;

    let metric = async |name, label| server.metric(name, label).await;
    let drafted = metric("agentinfer_engine_drafted_tokens_total", "").await;
    let accepted = metric("agentinfer_engine_accepted_tokens_total", "").await;
    assert!(accepted > 0.0, "the names of keys are forced");
    assert_eq!(metric(name, "").await, drafted);
    assert_eq!(metric(name, r#"outcome="accepted""#).await, accepted);
    let forced = metric("agentinfer_engine_forced_tokens_total", "").await;
    assert_eq!(metric(name, r#"source="forced""#).await, forced);
    assert!(metric(name, r#"source="forced",position="1",outcome="accepted""#).await > 0.0);
}

#[tokio::test]
async fn a_server_that_cannot_listen_says_what_helps() {
    let first = TestServer::start().await;
    let bind = async |host: &str, port| {
        let options = ServerOptions {
            host: host.to_owned(),
            port,
            ..ServerOptions::default()
        };
        Server::bind(options).await.expect_err("no server")
    };
    let port = first.address.port();
    let error = bind("127.0.0.1", port).await;
    assert!(matches!(error, ServerError::PortInUse { .. }), "{error}");
    assert!(error.to_string().contains(&port.to_string()) && error.to_string().contains("--port"));
    // A documentation address, which no machine has.
    let error = bind("192.0.2.1", 0).await;
    assert!(matches!(error, ServerError::Host { .. }), "{error}");
}
