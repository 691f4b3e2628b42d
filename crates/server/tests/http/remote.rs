//! A tier that another server runs: what reaches it, and what becomes of sessions when it fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agentinfer_runtime::{RemoteOptions, RemoteTiming, Tier, TierOptions, TierSource};
use agentinfer_server::{REASON_HEADER, TIER_HEADER};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response as Reply};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::common::{TestServer, error, hello_with, in_time};

const KEY: &str = "remote-key";

/// What a server does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Says `Hello there` in two chunks, with usage.
    Answer,
    /// Calls the tool `look`, and gives the call no identifier.
    Call,
    /// Refuses with this status, and `Retry-After` if it is said.
    Refuse(u16, Option<u32>),
    /// Sends these data lines and closes the connection as if it had crashed.
    Crash(&'static [&'static str]),
    /// Sends these data lines and ends in order.
    End(&'static [&'static str]),
    /// Accepts the request and says nothing.
    Silence,
    /// Does not even accept it.
    Hang,
}

const HELLO: &str = r#"{"id":"x","object":"","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"}}]}"#;
const THERE: &str = r#"{"id":"x","object":"","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" there"},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"x","object":"","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}}"#;
const ROLE: &str = r#"{"id":"x","object":"","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#;
const CALL: &str = r#"{"id":"x","object":"","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"look","arguments":"{\"at\": "}}]}}]}"#;
const CALLED: &str = r#"{"id":"x","object":"","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"shelf\"}"}}]},"finish_reason":"tool_calls"}]}"#;

/// A server that does as it is told, request by request, and then answers.
#[derive(Clone)]
struct Fake {
    url: String,
    script: Arc<Mutex<VecDeque<Does>>>,
    /// Bodies and headers that have come.
    seen: Arc<Mutex<Vec<(Value, HeaderMap)>>>,
}

impl Fake {
    async fn start(script: impl IntoIterator<Item = Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let fake = Self {
            url: format!("http://{address}/v1/"),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            seen: Arc::default(),
        };
        let router = Router::new().route("/v1/chat/completions", post(Self::chat));
        let router = router.with_state(fake.clone());
        tokio::spawn(async move { axum_serve(listener, router).await });
        fake
    }

    async fn chat(State(fake): State<Self>, headers: HeaderMap, body: Bytes) -> Reply {
        let body = serde_json::from_slice(&body).expect("JSON");
        fake.seen.lock().expect("a list").push((body, headers));
        let does = fake.script.lock().expect("a script").pop_front();
        match does.unwrap_or(Does::Answer) {
            Does::Answer => events(&[ROLE, HELLO, THERE, USAGE, "[DONE]"], false),
            Does::Call => events(&[ROLE, CALL, CALLED, "[DONE]"], false),
            Does::End(lines) => events(lines, false),
            Does::Crash(lines) => events(lines, true),
            Does::Refuse(status, wait) => {
                let status = StatusCode::from_u16(status).expect("a status");
                let error = json!({"message": "not now", "code": null, "param": "messages"});
                let body = json!({"error": error}).to_string();
                let mut reply = (status, body).into_response();
                if let Some(wait) = wait {
                    reply.headers_mut().insert(header::RETRY_AFTER, wait.into());
                }
                reply
            }
            Does::Silence => {
                Body::from_stream(stream::pending::<Result<Bytes, String>>()).into_response()
            }
            Does::Hang => std::future::pending().await,
        }
    }

    fn requests(&self) -> usize {
        self.seen.lock().expect("a list").len()
    }

    fn last(&self) -> Value {
        let seen = self.seen.lock().expect("a list");
        seen.last().expect("a request").0.clone()
    }

    /// The tier that it runs, with waits that tests can afford.
    fn tier(&self, timing: RemoteTiming) -> TierOptions {
        remote(&self.url, "their-model", timing)
    }

    /// A server of ours whose large tier it runs and whose small one is simulated; `auto` asks for
    /// the large one.
    async fn beside_ours(&self, timing: RemoteTiming) -> TestServer {
        ours(self.tier(timing)).await
    }
}

async fn axum_serve(listener: TcpListener, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        let stream = hyper_util::rt::TokioIo::new(stream);
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
    }
}

fn events(lines: &[&str], crash: bool) -> Reply {
    let text: String = lines
        .iter()
        .map(|line| format!("data: {line}\n\n"))
        .collect();
    let end = crash.then_some(stream::once(async {
        // What was said before is to arrive.
        tokio::task::yield_now().await;
        Err("crash")
    }));
    let pieces = stream::iter([Ok(Bytes::from(text))]).chain(stream::iter(end).flatten());
    Body::from_stream(pieces).into_response()
}

/// Waits that tests can afford; a server that was left alone stays so for as long as any test runs.
const QUICK: RemoteTiming = RemoteTiming {
    connect: Duration::from_secs(5),
    silence: Duration::from_secs(20),
    retry: Duration::from_millis(1),
    pause: Duration::from_secs(600),
};

fn remote(url: &str, model: &str, timing: RemoteTiming) -> TierOptions {
    let options = RemoteOptions {
        api_key: Some(KEY.to_owned()),
        timing,
        ..RemoteOptions::new(url, model)
    };
    TierOptions::new(Tier::Large, "strong", TierSource::Remote(options))
}

async fn ours(large: TierOptions) -> TestServer {
    TestServer::with(|setup| {
        setup.second = Some(large);
        setup.collab.policy = "large_only".parse().expect("a policy");
    })
    .await
}

/// Tier and reason, as headers say them.
fn decision(response: &Response) -> (String, String) {
    let header = |name| response.headers()[name].to_str().expect("text").to_owned();
    (header(TIER_HEADER), header(REASON_HEADER))
}

fn decided(tier: &str, reason: &str) -> (String, String) {
    (tier.to_owned(), reason.to_owned())
}

async fn whole(response: Response) -> Value {
    assert_eq!(response.status(), StatusCode::OK);
    in_time(response.json()).await.expect("JSON")
}

/// The data of a stream's events.
async fn data(response: Response) -> Vec<String> {
    assert_eq!(response.status(), StatusCode::OK);
    let text = in_time(response.text()).await.expect("a body");
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_request_is_passed_on_and_answered_as_the_client_wished() {
    let fake = Fake::start([]).await;
    let server = fake.beside_ours(QUICK).await;
    let fields = json!({
        "model": "strong", "temperature": 0.5, "prompt_cache_key": "s", "user": "u",
        "expected_tool_seconds": 2.5, "stop": ["x"], "priority": 3,
    });
    let answer = whole(server.chat(&hello_with(fields.clone())).await).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "Hello there");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (&answer["model"], &answer["usage"]["total_tokens"]),
        (&json!("strong"), &json!(9))
    );
    let mut expected = hello_with(fields);
    expected["model"] = json!("their-model");
    expected["stream"] = json!(true);
    expected["stream_options"] = json!({"include_usage": true});
    assert_eq!(fake.last(), expected);
    let authorization = fake.seen.lock().expect("a list")[0].1[header::AUTHORIZATION].clone();
    assert_eq!(authorization, format!("Bearer {KEY}"));

    for (usage, chunks) in [(false, 3), (true, 4)] {
        let body = hello_with(json!({
            "model": "large", "stream": true, "stream_options": {"include_usage": usage},
        }));
        let data = data(server.chat(&body).await).await;
        assert_eq!(data.len(), chunks + 1, "{data:?}");
        assert_eq!(data[chunks], "[DONE]");
        let first: Value = serde_json::from_str(&data[0]).expect("JSON");
        assert_eq!(
            first["choices"][0]["delta"],
            json!({"role": "assistant", "content": ""})
        );
        assert_eq!(data[chunks - 1].contains("total_tokens"), usage);
    }
}

#[tokio::test]
async fn answers_go_back_as_they_were_given_and_tell_the_session() {
    let fake = Fake::start([Does::Call]).await;
    let server = fake.beside_ours(QUICK).await;
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    let mut messages = json!([{"role": "user", "content": "Where is it?"}]);
    let body = json!({"model": "auto", "messages": messages, "tools": tools});
    let answer = whole(server.chat(&body).await).await;
    let mut message = answer["choices"][0]["message"].clone();
    let call = &message["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], r#"{"at": "shelf"}"#);
    let id = call["id"].as_str().expect("an identifier").to_owned();
    assert!(id.starts_with("call_"), "{id}");
    // The client writes the arguments in its own way.
    message["tool_calls"][0]["function"]["arguments"] = json!(r#"{"at":"shelf"}"#);
    let messages = messages.as_array_mut().expect("a list");
    messages.push(message);
    messages.push(json!({"role": "tool", "tool_call_id": id, "content": "Not here."}));
    let body = json!({"model": "auto", "messages": messages, "tools": tools, "end_session": true});
    whole(server.chat(&body).await).await;
    let call = fake.last()["messages"][1]["tool_calls"][0].clone();
    assert_eq!(call["function"]["arguments"], r#"{"at": "shelf"}"#);
    assert_eq!(
        server.metric("agentinfer_engine_sessions", "").await,
        0.0,
        "it has ended"
    );
}

#[tokio::test]
async fn a_server_of_ours_answers_through_another_as_it_does_alone() {
    let theirs = TestServer::start().await;
    let server = ours(remote(&theirs.url(""), "sim", QUICK)).await;
    for fields in [
        json!({}),
        json!({"n": 3}),
        json!({"logprobs": true, "top_logprobs": 2}),
        json!({"response_format": {"type": "json_object"}, "max_tokens": 200}),
    ] {
        let body = hello_with(fields);
        let alone = whole(theirs.chat(&body).await).await;
        let mut body = body;
        body["model"] = json!("strong");
        let through = whole(server.chat(&body).await).await;
        assert_eq!(through["choices"], alone["choices"]);
        assert_eq!(
            through["usage"]["total_tokens"],
            alone["usage"]["total_tokens"]
        );
        assert_eq!(through["system_fingerprint"], alone["system_fingerprint"]);
    }
    let body = hello_with(json!({"model": "auto", "temperature": 9}));
    let refused = error(server.chat(&body).await, StatusCode::BAD_REQUEST).await;
    assert_eq!(refused["param"], "temperature");
    assert_eq!(refused["code"], "decimal_above_max_value");
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let fake = Fake::start([Does::Refuse(503, None), Does::Refuse(429, Some(0))]).await;
    let server = fake.beside_ours(QUICK).await;
    whole(server.chat(&hello_with(json!({"model": "strong"}))).await).await;
    assert_eq!(fake.requests(), 3);
    for (name, count) in [("requests", 1.0), ("retries", 2.0), ("failures", 2.0)] {
        let name = format!("agentinfer_remote_{name}_total");
        assert_eq!(
            server.metric(&name, "tier=\"large\"").await,
            count,
            "{name}"
        );
    }
    assert_eq!(server.metric("agentinfer_remote_running", "").await, 0.0);
}

#[tokio::test]
async fn what_does_not_pass_is_not() {
    for (does, expected) in [
        (Does::Refuse(503, Some(60)), StatusCode::BAD_GATEWAY),
        (Does::Refuse(401, None), StatusCode::BAD_GATEWAY),
        (Does::Refuse(404, None), StatusCode::BAD_GATEWAY),
        (Does::Refuse(400, None), StatusCode::BAD_REQUEST),
    ] {
        let fake = Fake::start([does]).await;
        let server = fake.beside_ours(QUICK).await;
        for stream in [false, true] {
            let body = hello_with(json!({"model": "strong", "stream": stream}));
            let error = error(server.chat(&body).await, expected).await;
            let message = error["message"].as_str().expect("a text");
            assert!(
                message.contains("not now") && message.contains("strong"),
                "{message}"
            );
            assert!(!message.contains("127.0.0.1"), "{message}");
            fake.script.lock().expect("a script").push_back(does);
        }
        assert_eq!(fake.requests(), 2, "{does:?}");
    }
}

#[tokio::test]
async fn auto_is_answered_by_the_other_tier_when_a_server_fails_before_it_says_anything() {
    let impatient = RemoteTiming {
        silence: Duration::from_millis(100),
        ..QUICK
    };
    let failures: [(&[Does], RemoteTiming, usize); 9] = [
        (&[Does::Refuse(503, None); 3], QUICK, 3),
        (&[Does::Refuse(401, None)], QUICK, 1),
        (&[Does::Crash(&[])], QUICK, 1),
        (&[Does::Crash(&[ROLE])], QUICK, 1),
        (&[Does::End(&["{\"what\": 1}"])], QUICK, 1),
        (&[Does::End(&["[DONE]"])], QUICK, 1),
        (
            &[Does::End(&[r#"{"error": {"message": "out of memory"}}"#])],
            QUICK,
            1,
        ),
        (&[Does::Silence], impatient, 1),
        (&[Does::Hang], impatient, 1),
    ];
    for (script, timing, attempts) in failures {
        for stream in [false, true] {
            let fake = Fake::start(script.iter().copied()).await;
            let server = fake.beside_ours(timing).await;
            let body = hello_with(json!({"model": "auto", "stream": stream}));
            let response = server.chat(&body).await;
            let refused = matches!(script[0], Does::Refuse(..) | Does::Hang);
            if refused || !stream {
                assert_eq!(
                    decision(&response),
                    decided("small", "fallback"),
                    "{script:?}"
                );
            }
            let text = in_time(response.text()).await.expect("a body");
            assert!(text.contains(r#""model":"sim""#), "{script:?}: {text}");
            assert!(
                !text.contains("strong") && !text.contains("error"),
                "{script:?}: {text}"
            );
            assert_eq!(text.matches(r#""role":"assistant""#).count(), 1, "{text}");
            assert_eq!(fake.requests(), attempts, "{script:?}");
            let fallbacks = server
                .metric("agentinfer_auto_fallbacks_total", "large")
                .await;
            assert_eq!(fallbacks, 1.0);
            let steps = server
                .metric("agentinfer_auto_steps_total", "fallback")
                .await;
            assert_eq!(steps, 1.0);
        }
    }
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_is_asked_for_again_and_a_stream_ends_with_an_error() {
    for does in [
        Does::Crash(&[HELLO]),
        Does::End(&[HELLO]),
        Does::End(&[HELLO, "[DONE]"]),
        Does::End(&[HELLO, "garbage"]),
        Does::End(&[HELLO, r#"{"error": "out of memory"}"#]),
    ] {
        let fake = Fake::start([does, does]).await;
        let server = fake.beside_ours(QUICK).await;
        let body = hello_with(json!({"model": "auto"}));
        let response = server.chat(&body).await;
        assert_eq!(decision(&response), decided("small", "fallback"));
        assert_eq!(whole(response).await["model"], "sim");

        let body = hello_with(json!({"model": "auto", "stream": true}));
        let response = server.chat(&body).await;
        assert_eq!(decision(&response), decided("large", "policy"));
        let data = data(response).await;
        assert!(data[1].contains("Hello"), "{data:?}");
        let last: Value = serde_json::from_str(&data[data.len() - 1]).expect("JSON");
        assert_eq!(last["error"]["code"], "remote_failed", "{data:?}");

        // The session goes on.
        let messages = json!([
            {"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Go on."},
        ]);
        let body = hello_with(json!({"model": "auto", "messages": messages}));
        let response = server.chat(&body).await;
        assert_eq!(decision(&response), decided("large", "policy"));
        whole(response).await;
    }
}

#[tokio::test]
async fn servers_that_end_in_their_own_way_are_understood() {
    for does in [
        Does::End(&[HELLO, THERE]),
        Does::Crash(&[HELLO, THERE]),
        Does::End(&[ROLE, ROLE, HELLO, THERE, ROLE, "[DONE]", "more"]),
    ] {
        let fake = Fake::start([does]).await;
        let server = fake.beside_ours(QUICK).await;
        let answer = whole(server.chat(&hello_with(json!({"model": "strong"}))).await).await;
        assert_eq!(answer["choices"][0]["message"]["content"], "Hello there");
    }
}

#[tokio::test]
async fn a_server_that_goes_on_failing_is_left_alone() {
    let fake = Fake::start([Does::Refuse(500, None); 3]).await;
    let server = fake.beside_ours(QUICK).await;
    let breaker = async || {
        let ready: Value = server.get("/ready").await.json().await.expect("JSON");
        assert_eq!(ready["remote"][0]["tier"], "large");
        ready["remote"][0]["breaker"].clone()
    };
    assert_eq!(breaker().await, "closed");
    for _ in 0..4 {
        let response = server.chat(&hello_with(json!({"model": "auto"}))).await;
        assert_eq!(decision(&response), decided("small", "fallback"));
        assert_eq!(fake.requests(), 3, "it is asked no more");
        assert_eq!(breaker().await, "open");
    }
    assert_eq!(
        server.metric("agentinfer_remote_breaker", "strong").await,
        2.0
    );
    let response = server.chat(&hello_with(json!({"model": "strong"}))).await;
    let error = error(response, StatusCode::BAD_GATEWAY).await;
    assert_eq!(error["code"], "remote_failed");
}

#[tokio::test]
async fn a_process_whose_only_tier_is_left_alone_is_not_ready() {
    let fake = Fake::start([Does::Refuse(500, None); 3]).await;
    let server = TestServer::with(|setup| setup.tier = fake.tier(QUICK)).await;
    assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
    let response = server.chat(&hello_with(json!({"model": "auto"}))).await;
    error(response, StatusCode::BAD_GATEWAY).await;
    let error = error(server.get("/ready").await, StatusCode::BAD_GATEWAY).await;
    assert_eq!(error["code"], "remote_failed");
}

#[tokio::test]
async fn a_server_that_is_back_is_found_by_the_next_request() {
    let fake = Fake::start([Does::Refuse(500, None); 5]).await;
    let timing = RemoteTiming {
        pause: Duration::from_millis(20),
        ..QUICK
    };
    let server = fake.beside_ours(timing).await;
    let back = async {
        loop {
            let response = server.chat(&hello_with(json!({"model": "auto"}))).await;
            if decision(&response) == decided("large", "policy") {
                break;
            }
        }
    };
    in_time(back).await;
    assert_eq!(fake.requests(), 6);
    server
        .metric_becomes("agentinfer_remote_breaker", "", 0.0)
        .await;
}

#[tokio::test]
async fn both_failing_is_said_clearly() {
    // Too long for the small tier.
    let long = json!([{"role": "user", "content": "x".repeat(9000)}]);
    for does in [Does::Refuse(503, Some(60)), Does::Crash(&[ROLE])] {
        for policy in ["large_only", "small_only"] {
            let fake = Fake::start([does]).await;
            let server = TestServer::with(|setup| {
                setup.second = Some(fake.tier(QUICK));
                setup.collab.policy = policy.parse().expect("a policy");
            })
            .await;
            let body = hello_with(json!({"model": "auto", "messages": long}));
            let response = server.chat(&body).await;
            let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
            let error = error(response, StatusCode::SERVICE_UNAVAILABLE).await;
            assert_eq!(retry_after, Some("1".parse().expect("a value")));
            assert_eq!(error["code"], "tiers_failed");
            let message = error["message"].as_str().expect("a text");
            assert!(
                message.contains("9") && message.contains("strong"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn what_only_an_engine_can_do_is_refused_by_name() {
    let fake = Fake::start([]).await;
    let server = fake.beside_ours(QUICK).await;
    for (path, body) in [
        ("/v1/completions", json!({"model": "strong", "prompt": "x"})),
        ("/tokenize", json!({"model": "large", "content": "x"})),
        ("/detokenize", json!({"model": "large", "tokens": [1]})),
    ] {
        let error = error(server.post(path, &body).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(error["param"], "model");
        let message = error["message"].as_str().expect("a text");
        assert!(message.contains("run by another server"), "{message}");
    }
    let card: Value = server
        .get("/v1/models/strong")
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (&card["tier"], &card["owned_by"]),
        (&json!("large"), &json!("remote"))
    );
    assert_eq!(fake.requests(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let theirs = TestServer::start().await;
    let server = ours(remote(&theirs.url(""), "sim", QUICK)).await;
    let mut body = crate::common::endless();
    body["model"] = json!("strong");
    let client = crate::common::SlowClient::open(&server, &body).await;
    theirs
        .metric_becomes("agentinfer_engine_running", "", 1.0)
        .await;
    drop(client);
    theirs
        .metric_becomes("agentinfer_engine_cancelled_total", "", 1.0)
        .await;
    server
        .metric_becomes("agentinfer_remote_running", "", 0.0)
        .await;
}

#[tokio::test]
async fn a_stop_waits_for_what_was_passed_on_but_not_for_ever() {
    for (does, seconds) in [(Does::Answer, 20), (Does::Silence, 0)] {
        let fake = Fake::start([does]).await;
        let mut server = TestServer::with(|setup| {
            setup.second = Some(fake.tier(QUICK));
            setup.server.drain_timeout = Duration::from_secs(seconds);
        })
        .await;
        let body = hello_with(json!({"model": "strong", "stream": true}));
        let response = server.chat(&body).await;
        server.begin_shutdown();
        let data = data(response).await;
        match does {
            Does::Answer => assert_eq!(data[data.len() - 1], "[DONE]"),
            _ => assert!(data[data.len() - 1].contains("shutting_down"), "{data:?}"),
        }
        in_time(server.stopped()).await;
    }
}

/// A server of ours that can be killed with all its connections.
struct Mortal {
    server: TestServer,
    tokio: tokio::runtime::Runtime,
}

impl Mortal {
    async fn start() -> Self {
        let tokio = tokio::runtime::Runtime::new().expect("a runtime");
        let server = tokio.spawn(TestServer::start()).await.expect("a server");
        Self { server, tokio }
    }

    fn kill(self) {
        self.tokio.shutdown_background();
    }
}

#[tokio::test]
async fn killing_a_server_in_the_middle_of_a_run_loses_no_session() {
    for stream in [false, true] {
        let theirs = Mortal::start().await;
        let server = ours(remote(&theirs.server.url(""), "sim", QUICK)).await;
        let mut theirs = Some(theirs);
        let mut messages = vec![json!({"role": "user", "content": "Question 0?"})];
        let mut tiers = Vec::new();
        for step in 0..8 {
            let body = hello_with(json!({
                "model": "auto", "messages": messages, "stream": stream, "max_tokens": 40,
            }));
            let response = server.chat(&body).await;
            tiers.push(decision(&response).0);
            let text = match stream {
                false => whole(response).await["choices"][0]["message"]["content"]
                    .as_str()
                    .expect("a text")
                    .to_owned(),
                true => data(response)
                    .await
                    .iter()
                    .filter_map(|data| serde_json::from_str::<Value>(data).ok())
                    .filter_map(|chunk| {
                        let text = chunk["choices"][0]["delta"]["content"].as_str()?;
                        Some(text.to_owned())
                    })
                    .collect(),
            };
            messages.push(json!({"role": "assistant", "content": text}));
            messages.push(json!({"role": "user", "content": format!("Question {}?", step + 1)}));
            if step == 3 {
                theirs.take().expect("one server").kill();
            }
        }
        assert_eq!(
            tiers,
            [
                "large", "large", "large", "large", "small", "small", "small", "small"
            ]
        );
        // One session, whoever answered: its answers were known when they came back.
        assert_eq!(server.metric("agentinfer_engine_sessions", "").await, 1.0);
        assert_eq!(server.metric("agentinfer_auto_steps_total", "").await, 8.0);
        assert_eq!(server.metric("agentinfer_remote_breaker", "").await, 2.0);
        // The small tier computes what is new only.
        let reused = server
            .metric("agentinfer_engine_reused_prompt_tokens_total", "")
            .await;
        let new = server
            .metric("agentinfer_engine_tokenized_prompt_tokens_total", "")
            .await;
        assert!(reused > 2.0 * new / 3.0, "{reused} of {new}");
    }
}

#[tokio::test]
async fn a_stream_under_way_when_a_server_is_killed_ends_with_an_error() {
    let theirs = Mortal::start().await;
    let server = ours(remote(&theirs.server.url(""), "sim", QUICK)).await;
    let mut body = crate::common::endless();
    body["model"] = json!("auto");
    let mut client = crate::common::SlowClient::open(&server, &body).await;
    client.line_starting("data: ").await;
    theirs.kill();
    while !client
        .line_starting("data: ")
        .await
        .contains("remote_failed")
    {}
    let response = server.chat(&hello_with(json!({"model": "auto"}))).await;
    assert_eq!(decision(&response), decided("small", "fallback"));
    whole(response).await;
}
