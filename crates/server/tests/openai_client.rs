//! The real `openai` Python package against the real server on a real, small model.
//!
//! The checks are in `openai_client.py`; this starts the server and runs it.

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

fn runtime() -> Runtime {
    let path = agentinfer_models::resolve(MODEL).expect("`make test` installs the model");
    let mut tier = TierOptions::new(Tier::Small, MODEL, TierSource::Gguf(path));
    tier.llama = LlamaOptions {
        cells: 2 * CONTEXT_TOKENS,
        context_tokens: Some(CONTEXT_TOKENS),
        // Two threads wait for each other at every layer, which takes for ever while other tests
        // and builds want the cores too.
        threads: Some(1),
        ..LlamaOptions::default()
    };
    Runtime::start(RuntimeOptions::new(vec![tier])).expect("the model loads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_package_is_served() {
    let python = python();
    let options = ServerOptions {
        port: 0,
        api_keys: vec![KEY.to_owned()],
        ..ServerOptions::default()
    };
    let bound = Server::bind(options).await.expect("a free port");
    let url = format!("http://{}", bound.address());
    let runtime = tokio::task::spawn_blocking(runtime)
        .await
        .expect("a runtime");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(bound.run(runtime, async { drop(stopped.await) }));

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openai_client.py");
    let arguments = [script, &url, KEY, MODEL, &CONTEXT_TOKENS.to_string()];
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
