//! Clients that come together, leave early, stop reading, or are there when the server stops.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::common::{SlowClient, TestServer, endless, error, hello_with, in_time};

const CANCELLED: &str = "agentinfer_requests_cancelled_total";
const ENGINE_CANCELLED: &str = "agentinfer_engine_cancelled_total";

#[tokio::test]
async fn answers_given_together_equal_those_given_alone() {
    let server = TestServer::start().await;
    let ask = async |seed: u32| {
        let text = format!("question {}", seed % 5);
        let messages = json!([{"role": "user", "content": text}]);
        let body = hello_with(json!({"messages": messages, "seed": seed, "max_tokens": 40}));
        let answer: Value = server.chat(&body).await.json().await.expect("JSON");
        answer["choices"][0]["message"]["content"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    let mut alone = Vec::new();
    for seed in 0..24 {
        alone.push(ask(seed).await);
    }
    let together = join_all((0..24).map(ask)).await;
    assert_eq!(together, alone);
}

#[tokio::test]
async fn a_client_that_stops_reading_costs_its_own_stream_only() {
    let server = TestServer::with(|setup| {
        setup.tier.engine.max_running = 2;
        setup.tier.engine.stall_seconds = 30;
    })
    .await;
    let _silent = SlowClient::open(&server, &endless()).await;
    // Others are served meanwhile. The simulated model's clock runs while they are: each of these
    // takes it about ten seconds, so after a few of them the silent client is given up.
    for _ in 0..10 {
        let body = hello_with(json!({
            "max_tokens": 256,
            "logit_bias": {"256": -100, "258": -100},
        }));
        let answer: Value = server.chat(&body).await.json().await.expect("JSON");
        assert_eq!(answer["usage"]["completion_tokens"], 256);
    }
    server
        .metric_becomes("agentinfer_engine_stalled_total", "", 1.0)
        .await;
    server
        .metric_becomes("agentinfer_engine_running", "", 0.0)
        .await;
}

#[tokio::test]
async fn a_connection_that_is_not_read_is_closed_in_the_end() {
    let server = TestServer::with(|setup| {
        setup.server.write_timeout = Duration::from_millis(100);
    })
    .await;
    let _silent = SlowClient::open(&server, &endless()).await;
    server.metric_becomes(CANCELLED, "chat", 1.0).await;
    server
        .metric_becomes("agentinfer_engine_running", "", 0.0)
        .await;
}

#[tokio::test]
async fn leaving_a_stream_cancels_it() {
    let server = TestServer::start().await;
    let mut client = SlowClient::open(&server, &endless()).await;
    client.line_starting("data: {").await;
    drop(client);
    server.metric_becomes(CANCELLED, "chat", 1.0).await;
    server.metric_becomes(ENGINE_CANCELLED, "", 1.0).await;
}

#[tokio::test]
async fn leaving_before_the_answer_cancels_it() {
    // One place to run, which an unread stream holds: the next request waits for certain.
    let server = TestServer::with(|setup| setup.tier.engine.max_running = 1).await;
    let _holder = SlowClient::open(&server, &endless()).await;
    let waiting = SlowClient::send(&server, &hello_with(json!({}))).await;
    server
        .metric_becomes("agentinfer_engine_waiting", "", 1.0)
        .await;
    drop(waiting);
    server.metric_becomes(CANCELLED, "chat", 1.0).await;
    server.metric_becomes(ENGINE_CANCELLED, "", 1.0).await;
    server
        .metric_becomes("agentinfer_engine_waiting", "", 0.0)
        .await;
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let server = TestServer::with(|setup| {
        setup.tier.engine.max_running = 1;
        setup.server.keep_alive_interval = Duration::from_millis(20);
    })
    .await;
    let holder = SlowClient::open(&server, &endless()).await;
    let mut waiting = SlowClient::open(&server, &hello_with(json!({"stream": true}))).await;
    waiting.line_starting(":").await;
    drop(holder);
    waiting.line_starting("data: {").await;
    waiting.line_starting("data: [DONE]").await;
}

#[tokio::test]
async fn more_requests_than_allowed_are_told_to_come_back() {
    let bounds: [fn(&mut crate::common::Setup); 2] = [
        |setup| setup.server.max_concurrent_requests = 1,
        |setup| setup.tier.engine.max_requests = 1,
    ];
    for bound in bounds {
        let server = TestServer::with(bound).await;
        let holder = SlowClient::open(&server, &endless()).await;
        let response = server.chat(&hello_with(json!({}))).await;
        assert_eq!(response.headers()["retry-after"], "1");
        let error = error(response, StatusCode::TOO_MANY_REQUESTS).await;
        assert_eq!(error["type"], "rate_limit_error");
        assert_eq!(error["code"], "rate_limit_exceeded");
        // Looking is always allowed.
        assert_eq!(server.get("/ready").await.status(), 200);
        assert_eq!(
            server
                .metric("agentinfer_requests_rejected_total", "rate_limit")
                .await,
            1.0
        );

        drop(holder);
        server.metric_becomes(CANCELLED, "chat", 1.0).await;
        server.metric_becomes(ENGINE_CANCELLED, "", 1.0).await;
        assert_eq!(server.chat(&hello_with(json!({}))).await.status(), 200);
    }
}

#[tokio::test]
async fn shutdown_lets_running_answers_end_and_refuses_new_ones() {
    let mut server = TestServer::start().await;
    let client = SlowClient::open(&server, &endless()).await;
    server.begin_shutdown();
    // Answered while the stream still runs: it cannot end before it is read.
    in_time(async { while server.get("/ready").await.status() == 200 {} }).await;
    assert_eq!(server.get("/health").await.status(), 200);
    let response = server.chat(&hello_with(json!({}))).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let error = error(response, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(error["code"], "shutting_down");

    let data = client.rest().await;
    assert_eq!(data.last().map(String::as_str), Some("[DONE]"));
    assert!(data.len() > 3900);
    server.stopped().await;
}

#[tokio::test]
async fn shutdown_tells_those_that_cannot_end_in_time() {
    let mut server = TestServer::with(|setup| setup.server.drain_timeout = Duration::ZERO).await;
    let client = SlowClient::open(&server, &endless()).await;
    server.begin_shutdown();
    let data = client.rest().await;
    let last: Value = serde_json::from_str(data.last().expect("events")).expect("JSON");
    assert_eq!(last["error"]["code"], "shutting_down", "{last}");
    server.stopped().await;
}
