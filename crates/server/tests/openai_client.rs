//! The real `openai` Python package against the real server on a real, small model.
//!
//! The checks are in `openai_client.py` and, for two tiers, `openai_auto.py`; this starts the
//! servers and runs them.

use std::{env, path::PathBuf};

use agentinfer_runtime::{LlamaOptions, Runtime, RuntimeOptions, Tier, TierOptions, TierSource};
use agentinfer_server::{Server, ServerOptions};
use tokio::{process::Command, sync::oneshot};

const MODEL: &str = "smollm2-135m";
const KEY: &str = "test-key";
/// Room for a loop of twenty tool calls.
const CONTEXT_TOKENS: u32 = 4096;

/// The Python that has the `openai` package.
fn python() -> PathBuf {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let python = env::var_os("AGENTINFER_TEST_PYTHON").map_or_else(
        || PathBuf::from(workspace).join("target/venv/bin/python"),
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "there is no {}: run `make test`, which prepares the Python environment",
        python.display()
    );
    python
}

/// The model as a tier.
fn tier(tier: Tier, name: &str) -> TierOptions {
    let path = agentinfer_models::resolve(MODEL).expect("`make test` installs the model");
    let mut options = TierOptions::new(tier, name, TierSource::Gguf(path));
    options.llama = LlamaOptions {
        cells: 2 * CONTEXT_TOKENS,
        context_tokens: Some(CONTEXT_TOKENS),
        // Two threads wait for each other at every layer, which takes for ever while other tests
        // and builds want the cores too.
        threads: Some(1),
        ..LlamaOptions::default()
    };
    options
}

/// Serves these models to a script, which must find everything right.
async fn check(script: &str, options: RuntimeOptions) {
    let python = python();
    let server = ServerOptions {
        port: 0,
        api_keys: vec![KEY.to_owned()],
        ..ServerOptions::default()
    };
    let bound = Server::bind(server).await.expect("a free port");
    let url = format!("http://{}", bound.address());
    let runtime = tokio::task::spawn_blocking(|| Runtime::start(options));
    let runtime = runtime.await.expect("no panic").expect("the model loads");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(bound.run(runtime, async { drop(stopped.await) }));

    let script = format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR"));
    let arguments = [&script, &url, KEY, MODEL, &CONTEXT_TOKENS.to_string()];
    let output = Command::new(python)
        .args(arguments)
        .output()
        .await
        .expect("Python runs");
    drop(stop);
    server.await.expect("the server ends without panic");

    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    // What each check took, for `--nocapture`.
    eprintln!("{text}{errors}");
    assert!(output.status.success(), "a check failed, see above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_package_is_served() {
    let options = RuntimeOptions::new(vec![tier(Tier::Small, MODEL)]);
    check("openai_client.py", options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_on_the_openai_package_is_served_by_two_tiers() {
    let tiers = vec![tier(Tier::Small, MODEL), tier(Tier::Large, "other")];
    let mut options = RuntimeOptions::new(tiers);
    options.collab.policy = "paper:warm_up=2:burst=1".parse().expect("a policy");
    check("openai_auto.py", options).await;
}
