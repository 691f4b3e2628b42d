//! The live view: its files, its data, and who may see what.

use std::time::Duration;

use agentinfer_protocol::ui::{Overview, SessionConversation, SessionDetail};
use agentinfer_runtime::{MemoryOptions, StoreLimits, Tier, TierOptions, TierSource};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::common::{HANG, SlowClient, TestServer, endless, error, hello_with, in_time};
use crate::compress::{conversation, page};

async fn read<T: DeserializeOwned>(response: Response) -> T {
    assert_eq!(response.status(), StatusCode::OK);
    in_time(response.json()).await.expect("JSON of this shape")
}

async fn overview(server: &TestServer) -> Overview {
    read(server.get("/ui/api/overview").await).await
}

/// The number of the only session.
async fn only_session(server: &TestServer) -> u64 {
    let sessions = overview(server).await.sessions;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    sessions[0].id
}

async fn detail(server: &TestServer, id: u64) -> SessionDetail {
    read(server.get(&format!("/ui/api/sessions/{id}")).await).await
}

async fn said(server: &TestServer, id: u64) -> SessionConversation {
    let path = format!("/ui/api/sessions/{id}/conversation");
    read(server.get(&path).await).await
}

/// Asks as the client with this key.
async fn get_as(server: &TestServer, key: &str, path: &str) -> Response {
    let request = server.client.get(server.url(path)).bearer_auth(key);
    in_time(request.send()).await.expect("the server answers")
}

async fn chat_as(server: &TestServer, key: &str, body: &Value) {
    let request = server.client.post(server.url("/v1/chat/completions"));
    let request = request.bearer_auth(key).json(body);
    let response = in_time(request.send()).await.expect("the server answers");
    let _: Value = read(response).await;
}

#[tokio::test]
async fn the_page_loads_its_own_files_and_nothing_else() {
    let server = TestServer::start().await;
    let mut wanted = vec!["/ui".to_owned()];
    let mut seen = 0;
    while seen < wanted.len() {
        let path = wanted[seen].clone();
        seen += 1;
        let response = server.get(&path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = response.headers()["content-security-policy"].clone();
        let policy = policy.to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"));
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let text = in_time(response.text()).await.expect("text");
        assert!(!text.contains("innerHTML"), "{path} makes markup of text");
        assert!(!text.contains("<script>"), "{path} has a script inside");
        let quoted = text.split('"').skip(1).step_by(2);
        let files = quoted.filter_map(|name| name.strip_prefix("./").or(name.strip_prefix("/ui/")));
        for file in files.filter(|file| file.contains('.')) {
            let path = format!("/ui/{file}");
            if !wanted.contains(&path) {
                wanted.push(path);
            }
        }
    }
    assert_eq!(wanted.len(), 8, "{wanted:?}");
    let missing = server.get("/ui/secret.js").await;
    assert_eq!(
        error(missing, StatusCode::NOT_FOUND).await["code"],
        "route_not_found"
    );
    let wrong = server.post("/ui", &json!({})).await;
    error(wrong, StatusCode::METHOD_NOT_ALLOWED).await;
}

#[tokio::test]
async fn a_key_shows_its_own_sessions_only() {
    let server = TestServer::with(|setup| {
        setup.server.api_keys = vec!["alpha".to_owned(), "beta".to_owned()];
    })
    .await;
    assert_eq!(server.get("/ui").await.status(), StatusCode::OK);
    let refused = server.get("/ui/api/overview").await;
    error(refused, StatusCode::UNAUTHORIZED).await;
    let refused = get_as(&server, "gamma", "/ui/api/sessions/1").await;
    error(refused, StatusCode::UNAUTHORIZED).await;

    let named = hello_with(json!({"prompt_cache_key": "alpha's own", "compress": true}));
    chat_as(&server, "alpha", &named).await;
    let own: Overview = read(get_as(&server, "alpha", "/ui/api/overview").await).await;
    assert_eq!(own.sessions[0].name.as_deref(), Some("alpha's own"));
    let other = get_as(&server, "beta", "/ui/api/overview").await;
    let other = in_time(other.text()).await.expect("text");
    assert!(!other.contains("alpha"), "{other}");

    let id = own.sessions[0].id;
    for path in [
        format!("sessions/{id}"),
        format!("sessions/{id}/conversation"),
    ] {
        let path = format!("/ui/api/{path}");
        let found = get_as(&server, "alpha", &path).await;
        assert_eq!(found.status(), StatusCode::OK);
        let refused = get_as(&server, "beta", &path).await;
        let refused = error(refused, StatusCode::NOT_FOUND).await;
        assert_eq!(refused["code"], "session_not_found");
    }
}

#[tokio::test]
async fn without_keys_nothing_is_shown_under_the_name_of_another_site() {
    let server = TestServer::start().await;
    let ask = |host: &'static str| {
        let request = server.client.get(server.url("/ui/api/overview"));
        in_time(request.header("host", host).send())
    };
    let refused = ask("attacker.example").await.expect("an answer");
    let refused = error(refused, StatusCode::FORBIDDEN).await;
    assert_eq!(refused["code"], "host_not_allowed");
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains("--api-key"), "{message}");
    let shown = ask("localhost").await.expect("an answer");
    assert_eq!(shown.status(), StatusCode::OK);
}

#[tokio::test]
async fn sessions_that_never_were_are_not_found() {
    let server = TestServer::start().await;
    for id in ["7", "-1", "seven", "99999999999999999999999", "%3Cb%3E"] {
        for path in [
            format!("sessions/{id}"),
            format!("sessions/{id}/conversation"),
        ] {
            let refused = server.get(&format!("/ui/api/{path}")).await;
            let refused = error(refused, StatusCode::NOT_FOUND).await;
            assert_eq!(refused["code"], "session_not_found", "{path}");
        }
    }
    let refused = server.get("/ui/api/originals/nothing").await;
    let refused = error(refused, StatusCode::NOT_FOUND).await;
    assert_eq!(refused["code"], "handle_not_found");
}

#[tokio::test]
async fn steps_are_told_with_what_they_cost() {
    let server = TestServer::with(|setup| {
        setup.second = Some(TierOptions::new(Tier::Large, "other", TierSource::Sim));
    })
    .await;
    let hostile = "<img src=x onerror=alert(1)>";
    let mut messages = vec![json!({"role": "user", "content": "look it up"})];
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    for (turn, model) in ["auto", "auto", "auto", "small"].into_iter().enumerate() {
        let fields = json!({"model": model, "messages": messages, "tools": tools,
            "tool_choice": "required", "parallel_tool_calls": false, "max_tokens": 200,
            "prompt_cache_key": hostile, "expected_tool_seconds": 60});
        let answer: Value = read(server.chat(&hello_with(fields)).await).await;
        let answer = answer["choices"][0]["message"].clone();
        let id = answer["tool_calls"][0]["id"].clone();
        messages.push(answer);
        messages.push(json!({"role": "tool", "tool_call_id": id,
            "content": format!("result {turn}")}));
    }
    let response = server.get("/ui/api/overview").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let found: Overview = read(response).await;
    let session = &found.sessions[0];
    assert_eq!(session.name.as_deref(), Some(hostile), "as data, unchanged");
    assert_eq!((session.turns, session.running), (4, 0));
    assert!(session.expected.is_some_and(|at| at > found.now));
    assert_eq!(found.decisions.len(), 3);
    assert!(found.decisions[0].step.at > found.decisions[2].step.at);
    let tiers: Vec<_> = found.tiers.iter().map(|tier| tier.tier.as_str()).collect();
    assert_eq!(tiers, ["small", "large"]);

    let SessionDetail { steps, session, .. } = detail(&server, session.id).await;
    assert_eq!(steps.len(), 4);
    assert!(steps[..3].iter().all(|step| step.reason.is_some()));
    assert!(steps[3].reason.is_none(), "its tier was named");
    let small = u64::from(steps[0].completion_tokens);
    assert!(session.generated_tokens > small && small > 0);
    for step in &steps {
        assert_eq!(
            (step.end.as_str(), &step.tools[..]),
            ("tool_calls", &["look".to_owned()][..])
        );
        assert_eq!(step.full_tokens, step.served_tokens);
        assert!(step.computed_tokens <= Some(step.served_tokens) && step.seconds > 0.0);
        assert!(step.queue_seconds.is_some() && step.ttft_seconds.is_some());
    }
    assert!(
        steps[3].computed_tokens < Some(steps[3].served_tokens),
        "its prefix is resident"
    );
}

#[tokio::test]
async fn looking_is_no_request_of_the_api() {
    let mut server = TestServer::with(|setup| {
        setup.server.max_concurrent_requests = 1;
    })
    .await;
    let client = SlowClient::open(&server, &endless()).await;
    // The only place is taken, and the engine is at work.
    let refused = server.chat(&endless()).await;
    error(refused, StatusCode::TOO_MANY_REQUESTS).await;
    let looked = timeout(HANG, async {
        loop {
            let found = overview(&server).await;
            let queue = found.tiers[0].queue.clone();
            if let Some(queue) = queue.filter(|queue| !queue.running.is_empty()) {
                break queue;
            }
        }
    });
    let queue = looked.await.expect("the engine says how it stands");
    assert_eq!((queue.running.len(), queue.others_running), (1, 0));
    assert_eq!(queue.policy, "agent");
    let metrics = server.get("/metrics").await;
    let metrics = in_time(metrics.text()).await.expect("text");
    assert!(!metrics.contains("/ui"), "{metrics}");
    drop(client);

    let id = only_session(&server).await;
    let ended = timeout(HANG, async {
        loop {
            let found = detail(&server, id).await;
            if let Some(step) = found.steps.first() {
                break step.end.clone();
            }
        }
    });
    assert_eq!(
        ended.await.expect("the client's leaving is noticed"),
        "cancelled"
    );
    server.begin_shutdown();
    server.stopped().await;
}

#[tokio::test]
async fn a_compressed_conversation_is_shown_with_its_originals() {
    let server = TestServer::start().await;
    let _: Value = read(server.chat(&conversation(12)).await).await;
    let id = only_session(&server).await;
    let step = &detail(&server, id).await.steps[0];
    assert!(step.full_tokens > step.served_tokens && step.distilled > Some(0));
    let shown = said(&server, id).await;
    assert_eq!((shown.source.as_str(), shown.omitted), ("view", 0));
    assert_eq!(shown.messages.len(), 1 + 2 * 12 + 1, "with the answer");
    let distilled = shown.messages.iter().enumerate();
    let distilled = distilled.filter_map(|(index, it)| Some((index, it.distilled.as_ref()?)));
    let distilled: Vec<_> = distilled.collect();
    assert_eq!(Some(distilled.len()), step.distilled);
    let (index, block) = distilled[0];
    assert!(block.tokens < block.original_tokens && block.recalls == 0);
    assert_eq!(shown.messages[index].tool.as_deref(), Some("look"));
    let path = format!("/ui/api/originals/{}", block.handle);
    let original: Value = read(server.get(&path).await).await;
    assert_eq!(original["content"], page((index - 2) / 2));
    assert_eq!(
        server.metric("agentinfer_compress_recalls_total", "").await,
        0.0
    );

    let recall = json!({"handle": block.handle});
    let _: Value = read(server.post("/v1/memory/recall", &recall).await).await;
    let shown = said(&server, id).await;
    let block = shown.messages[index]
        .distilled
        .as_ref()
        .expect("it still is");
    assert_eq!(block.recalls, 1);

    let mut last = conversation(12);
    last["end_session"] = json!(true);
    let _: Value = read(server.chat(&last).await).await;
    assert!(detail(&server, id).await.session.ended);
    let shown = said(&server, id).await;
    assert_eq!(shown.source, "nothing", "forgotten with its session");
}

#[tokio::test]
async fn what_is_kept_on_disk_is_shown_and_else_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = TestServer::with(|setup| {
        setup.memory = Some(MemoryOptions {
            folder: folder.path().to_owned(),
            limits: StoreLimits {
                bytes: 64 << 20,
                age: Duration::from_secs(3600),
            },
        });
    })
    .await;
    let forgetful = TestServer::start().await;
    let body = hello_with(json!({"prompt_cache_key": "s"}));
    for server in [&kept, &forgetful] {
        let _: Value = read(server.chat(&body).await).await;
    }
    let id = only_session(&forgetful).await;
    assert_eq!(said(&forgetful, id).await.source, "nothing");
    assert!(!overview(&forgetful).await.keeps_sessions);

    let id = only_session(&kept).await;
    assert!(overview(&kept).await.keeps_sessions);
    let shown = timeout(HANG, async {
        loop {
            let shown = said(&kept, id).await;
            if shown.source == "store" {
                break shown;
            }
        }
    });
    let shown = shown.await.expect("it is written soon");
    let roles: Vec<_> = shown.messages.iter().map(|it| it.role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant"]);
    assert_eq!(shown.messages[0].text, "hello");
}

#[tokio::test]
async fn long_lists_are_cut_and_say_so() {
    let server = TestServer::start().await;
    for number in 0..70 {
        let fields = json!({"prompt_cache_key": format!("s{number}"), "max_tokens": 1});
        let _: Value = read(server.chat(&hello_with(fields)).await).await;
    }
    let found = overview(&server).await;
    assert_eq!((found.sessions.len(), found.unlisted_sessions), (64, 6));
    assert_eq!(found.sessions[0].name.as_deref(), Some("s69"));
}
