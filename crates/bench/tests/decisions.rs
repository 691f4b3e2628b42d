//! Traces of decisions: written by replays, explained, and drawn.

use std::fs;
use std::path::{Path, PathBuf};

use agentinfer_bench::BenchError;
use agentinfer_bench::decisions::{explain, page};
use agentinfer_bench::sched::{Contender, SchedOptions, SchedResults, run_sched_bench};
use agentinfer_engine::trace::{Action, Decision, Held, Situation, TRACE_VERSION, TraceEvent};
use serde_json::Value;

fn begin(label: &str) -> TraceEvent {
    TraceEvent::Begin {
        version: TRACE_VERSION,
        label: label.to_owned(),
        policy: "agent".to_owned(),
        cells: 4096,
        max_running: 16,
    }
}

fn nobody(at: f64) -> TraceEvent {
    TraceEvent::Decision(Decision {
        at,
        action: Action::NobodyAdmitted,
        reason: format!("at {at}"),
        situation: Situation::default(),
        candidates: Vec::new(),
        unlisted: 0,
    })
}

fn write(folder: &Path, events: impl IntoIterator<Item = TraceEvent>) -> PathBuf {
    let path = folder.join("trace.jsonl");
    let lines = events.into_iter().map(|event| {
        let line = serde_json::to_string(&event).expect("is JSON");
        line + "\n"
    });
    fs::write(&path, lines.collect::<String>()).expect("writes");
    path
}

/// What a page draws.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"data\">").expect("has data");
    let (data, _) = rest.split_once("</script>").expect("ends");
    serde_json::from_str(data).expect("is JSON")
}

async fn play(out: Option<PathBuf>) -> SchedResults {
    let options = SchedOptions {
        policies: ["fcfs", "paper:k=2", "agent", "bound"]
            .map(|name| name.parse::<Contender>().expect("a contender"))
            .to_vec(),
        loads: vec![3],
        pressures: vec![2.5],
        seeds: 1,
        out,
        ..SchedOptions::default()
    };
    run_sched_bench(&options, |_| {}).await.expect("plays")
}

#[tokio::test]
async fn replays_leave_traces_and_pages_and_go_as_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("new/decisions");
    let traced = play(Some(out.clone())).await;
    let plain = play(None).await;
    for (one, two) in traced.policies.iter().zip(&plain.policies) {
        let measures = |row: &agentinfer_bench::sched::SchedRow| {
            (
                row.policy.clone(),
                row.completion_mean_s,
                row.ttft_mean_s,
                row.hit_rate,
            )
        };
        assert_eq!(measures(one), measures(two));
    }
    for policy in ["fcfs", "paper_k=2", "agent", "bound"] {
        let name = format!("research_load=3_pressure=2.5_tool-latency=1_seed=1_{policy}");
        let trace = out.join(format!("{name}.jsonl"));
        let told = explain(&trace, Some(60.0)).expect("was written");
        let last = told.decisions.last().expect("something was decided");
        assert!(last.at <= 60.0 && explain(&trace, Some(last.at)).expect("again") == told);
        let text = told.to_string();
        assert!(
            text.contains("research load=3") && text.contains("cells:"),
            "{text}"
        );
        let page = fs::read_to_string(out.join(format!("{name}.html"))).expect("beside it");
        let data = data(&page);
        let has = |key: &str| !data[key].as_array().expect(key).is_empty();
        assert!(
            ["states", "prompts", "lanes", "marks"].into_iter().all(has),
            "{policy}"
        );
        assert_eq!(data["states"][0][6].is_null(), policy != "paper_k=2");
        let lanes = data["lanes"].as_array().expect("lanes");
        let spans = lanes
            .iter()
            .flat_map(|lane| lane["spans"].as_array().expect("spans"));
        let phases: std::collections::BTreeSet<u64> = spans
            .map(|span| span[2].as_u64().expect("a phase"))
            .collect();
        assert_eq!(phases, [0, 1, 2, 3].into(), "{policy}");
    }
}

#[test]
fn a_moment_is_found_or_its_absence_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let moments = [1.0, 2.0, 2.0, 5.0];
    let path = write(
        folder.path(),
        [begin("x")].into_iter().chain(moments.map(nobody)),
    );
    for (at, expected) in [
        (None, &[5.0][..]),
        (Some(1.0), &[1.0]),
        (Some(4.9), &[2.0, 2.0]),
        (Some(1e9), &[5.0]),
    ] {
        let told = explain(&path, at).expect("there is one");
        let found: Vec<f64> = told.decisions.iter().map(|it| it.at).collect();
        assert_eq!(found, expected, "{at:?}");
    }
    for at in [0.5, f64::NAN] {
        let error = explain(&path, Some(at)).expect_err("too early").to_string();
        assert!(
            error.contains("the first decision is at 1.000 s"),
            "{error}"
        );
    }
    let empty = write(folder.path(), [begin("x")]);
    let error = explain(&empty, None)
        .expect_err("nothing is there")
        .to_string();
    assert!(error.contains("nothing is decided"), "{error}");
}

#[test]
fn what_is_no_trace_is_refused_by_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), [begin("x"), nobody(1.0), nobody(2.0)]);
    let whole = fs::read_to_string(&path).expect("reads");
    let lines: Vec<&str> = whole.lines().collect();
    let damaged = format!(
        "{}\n{}\n{{\"event\": 5}}\n{}\n",
        lines[0], lines[1], lines[2]
    );
    let future = whole.replacen("\"version\":1", "\"version\":9", 1);
    for (text, line, word) in [
        (damaged.as_str(), 3, "cut off"),
        ("", 1, "holds no trace"),
        (lines[1], 1, "does not begin"),
        (future.as_str(), 1, "format 9"),
        ("{\"requests\": 1}\n", 1, "is no trace"),
    ] {
        fs::write(&path, text).expect("writes");
        for error in [explain(&path, None).err(), page(&path).err()] {
            match error {
                Some(BenchError::Trace {
                    line: at, message, ..
                }) => {
                    assert!(
                        at == line && message.contains(word),
                        "{text}: {at} {message}"
                    );
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
    // A trace that is being written ends anywhere.
    for length in lines[0].len() + 1..whole.len() {
        fs::write(&path, &whole[..length]).expect("writes");
        assert!(page(&path).is_ok(), "{length}");
    }
    let missing = explain(&folder.path().join("none"), None);
    assert!(matches!(missing, Err(BenchError::Read { .. })));
}

#[test]
fn nothing_in_a_trace_becomes_markup_or_moves_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let label = "</script><script>alert(1)</script> & \"'\u{2028} {{script}} \u{1b}[2J";
    let path = write(folder.path(), [begin(label), nobody(1.0)]);
    let page = page(&path).expect("is a trace");
    assert_eq!(data(&page)["label"], label);
    assert!(
        !page.contains("<script>alert") && !page.contains("<!--"),
        "escaped"
    );
    assert_eq!(page.matches("</script>").count(), 2);
    assert_eq!(page.matches("\"use strict\"").count(), 1);
    for outside in ["http:", "https:", "src=", "@import", "innerHTML"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let text = explain(&path, None).expect("is a trace").to_string();
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// A trace of a server on which sessions call again and again.
fn long(events: usize) -> impl Iterator<Item = TraceEvent> {
    let calls = (0..events as u64 / 4).flat_map(|request| {
        let at = request as f64;
        let session = request % 300;
        let situation = Situation {
            free_cells: 4096 - (request % 1000) as u32,
            ..Situation::default()
        };
        [
            TraceEvent::Submitted {
                at,
                request,
                session: Some(session),
                prompt_tokens: 100,
                priority: 0,
                background: false,
                tenant: 0,
            },
            TraceEvent::FirstToken {
                at: at + 0.3,
                request,
            },
            TraceEvent::State {
                at: at + 0.4,
                situation,
                held: vec![Held { session, cells: 9 }],
            },
            TraceEvent::Ended {
                at: at + 0.5,
                request,
                how: "finished".to_owned(),
                cached_tokens: 0,
                generated_tokens: 1,
            },
        ]
    });
    [begin("long")].into_iter().chain(calls)
}

#[test]
fn long_traces_are_drawn_by_their_outstanding_points() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), long(100_000));
    let page = page(&path).expect("is a trace");
    assert!(page.len() < 4 << 20, "{} bytes", page.len());
    let data = data(&page);
    let states = data["states"].as_array().expect("states");
    assert!((1000..=4001).contains(&states.len()), "{}", states.len());
    assert!(
        states.iter().any(|state| state[1] == 4096 - 999),
        "the tightest moment stays"
    );
    let lanes = data["lanes"].as_array().expect("lanes").len();
    assert_eq!((lanes, data["calls"].as_u64()), (200, Some(25_000)));
    assert!(
        data["hidden_calls"]
            .as_u64()
            .is_some_and(|hidden| hidden > 8000)
    );
}
