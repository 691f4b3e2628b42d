//! The model `auto`: who answers, and how clients see it.

use agentinfer_runtime::{Tier, TierOptions, TierSource};
use agentinfer_server::{REASON_HEADER, TIER_HEADER};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::common::{TestServer, error, hello_with, in_time};

const STEPS: &str = "agentinfer_auto_steps_total";

/// A server of two tiers, `sim` and `strong`.
async fn pair(policy: &str) -> TestServer {
    TestServer::with(|setup| {
        let strong = TierOptions::new(Tier::Large, "strong", TierSource::Sim);
        setup.second = Some(strong);
        setup.collab.policy = policy.parse().expect("a policy");
    })
    .await
}

/// Tier and reason, as headers say them.
fn decision(response: &Response) -> Option<(String, String)> {
    let header = |name| {
        let value = response.headers().get(name)?;
        Some(value.to_str().expect("text").to_owned())
    };
    Some((header(TIER_HEADER)?, header(REASON_HEADER)?))
}

fn decided(tier: &str, reason: &str) -> Option<(String, String)> {
    Some((tier.to_owned(), reason.to_owned()))
}

#[tokio::test]
async fn auto_is_listed_where_there_is_a_choice() {
    for (server, expected) in [
        (pair("agent").await, &["sim", "strong", "auto"][..]),
        (TestServer::start().await, &["sim"]),
    ] {
        let list: Value = server.get("/v1/models").await.json().await.expect("JSON");
        let cards = list["data"].as_array().expect("a list");
        let ids: Vec<&str> = cards
            .iter()
            .filter_map(|card| card["id"].as_str())
            .collect();
        assert_eq!(ids, expected);
        let status = server.get("/v1/models/auto").await.status();
        let known = ids.contains(&"auto");
        assert_eq!(
            status,
            if known {
                StatusCode::OK
            } else {
                StatusCode::NOT_FOUND
            }
        );
    }
}

#[tokio::test]
async fn headers_and_metrics_say_who_answers_and_why() {
    let server = pair("always_true:warm_up=1:burst=1").await;
    let mut messages = vec![json!({"role": "user", "content": "Where is it?"})];
    for (step, stream) in [false, true, false, true].into_iter().enumerate() {
        let body = hello_with(json!({
            "model": "auto", "messages": messages, "stream": stream, "prompt_cache_key": "s",
        }));
        let response = server.chat(&body).await;
        let expected = match step {
            0 => decided("large", "warm_up"),
            _ => decided("small", "progress"),
        };
        assert_eq!(decision(&response), expected);
        let text = in_time(response.text()).await.expect("a body");
        let model = if step == 0 { "strong" } else { "sim" };
        assert!(text.contains(&format!(r#""model":"{model}""#)), "{text}");
        messages.push(json!({"role": "assistant", "content": format!("Answer {step}.")}));
        messages.push(json!({"role": "user", "content": "And then?"}));
    }
    let count = async |label| server.metric(STEPS, label).await;
    assert_eq!(count("tier=\"large\",reason=\"warm_up\"").await, 1.0);
    assert_eq!(count("tier=\"small\",reason=\"progress\"").await, 3.0);
    assert_eq!(
        server.metric("agentinfer_auto_switches_total", "").await,
        1.0
    );
    assert_eq!(
        server
            .metric("agentinfer_auto_checks_asked_total", "")
            .await,
        0.0
    );

    // A tier that was named says no more than before, and counts for nothing.
    for model in ["small", "strong", "default"] {
        let response = server.chat(&hello_with(json!({"model": model}))).await;
        assert_eq!(
            (response.status(), decision(&response)),
            (StatusCode::OK, None)
        );
    }
    assert_eq!(count("").await, 4.0);
}

#[tokio::test]
async fn checks_are_counted_by_what_they_came_to() {
    let server = pair("paper:warm_up=2:burst=2").await;
    for step in 0..2 {
        // A client that writes its history anew: all that stays is the session's name.
        let messages = json!([
            {"role": "assistant", "content": format!("So far: {step}.")},
            {"role": "user", "content": "And then?"},
        ]);
        let body = hello_with(json!({
            "model": "auto", "messages": messages, "prompt_cache_key": "s",
        }));
        let response = server.chat(&body).await;
        assert_eq!(decision(&response), decided("large", "warm_up"));
        in_time(response.text()).await.expect("a body");
        let asked = "agentinfer_auto_checks_asked_total";
        server.metric_becomes(asked, "", f64::from(step + 1)).await;
    }
    let outcomes = server.metric("agentinfer_auto_checks_total", "").await;
    assert_eq!(outcomes, 1.0, "the last one waits for its session");
}

#[tokio::test]
async fn with_one_tier_auto_is_that_tier() {
    let server = TestServer::start().await;
    let response = server.chat(&hello_with(json!({"model": "auto"}))).await;
    assert_eq!(decision(&response), decided("small", "only_tier"));
    let text = in_time(server.get("/metrics").await.text()).await;
    assert!(!text.expect("text").contains("agentinfer_auto"));
}

#[tokio::test]
async fn a_text_names_its_model() {
    let server = pair("agent").await;
    let body = json!({"model": "auto", "prompt": "x"});
    let response = server.post("/v1/completions", &body).await;
    let error = error(response, StatusCode::BAD_REQUEST).await;
    assert_eq!(error["param"], "model");
}

#[tokio::test]
async fn what_is_known_is_written_when_the_server_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("competence.json");
    let mut server = TestServer::with(|setup| setup.collab.file = Some(file.clone())).await;
    server.begin_shutdown();
    server.stopped().await;
    let text = std::fs::read(&file).expect("a file");
    let kept: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(kept["format"], 1);
}
