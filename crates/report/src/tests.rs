//! Pages of runs of every kind. The fixtures' numbers are invented.

use proptest::prelude::*;

use crate::{ReportError, RunFile, page};

const RESEARCH: &str = include_str!("../fixtures/research.json");
const COLLAB: &str = include_str!("../fixtures/collab.json");
const COMPRESS: &str = include_str!("../fixtures/compress.json");
const SCHED: &str = include_str!("../fixtures/sched.json");
const SCALE: &str = include_str!("../fixtures/scale.json");
const SAM: &str = include_str!("../fixtures/sam.json");
const ENGINE: &str = include_str!("../fixtures/engine.json");

fn drawn(texts: &[&str]) -> String {
    let files: Vec<_> = texts
        .iter()
        .map(|text| RunFile {
            name: "run.json",
            text,
        })
        .collect();
    page(&files).expect("the runs are whole")
}

/// A research run with these results.
fn with_results(results: serde_json::Value) -> String {
    serde_json::json!({"bench": "research", "results": results}).to_string()
}

/// The identifiers of a page's sections.
fn sections(page: &str) -> Vec<&str> {
    let pieces = page.split("<section id=\"").skip(1);
    pieces.filter_map(|piece| piece.split('"').next()).collect()
}

/// A run, the sections that it has, and figures on its page.
const KINDS: [(&str, &str, &[&str]); 6] = [
    (
        RESEARCH,
        "about headline ladder plane paper tokens time lanes cells questions",
        &[
            "+ AgentSched",
            "1.74×",
            "paper 1.97×",
            "paper 2.52×",
            "shadow price",
            "北塔",
        ],
    ),
    (
        COLLAB,
        "about headline plane paper tokens steps questions",
        &[
            "RouteLLM",
            "33.8",
            "1.20× (1.08× to 1.32×)",
            "Bound: each question",
            "1.54×",
        ],
    ),
    (
        COMPRESS,
        "about headline paper compress",
        &[
            "1.92×",
            "2.00× fewer (40K to 20K)",
            "1.19×",
            "0.76× (+32.0 %)",
            "97 %",
        ],
    ),
    (
        SCHED,
        "about headline paper sched",
        &["1.11× (0.902)", "4 sessions, pressure 2.5", "138", "72 %"],
    ),
    (
        SAM,
        "about headline acceptance",
        &[
            "corpus empty at first",
            "arctic",
            "1.09×",
            "45 % of 3,800",
            "longest draft 16",
        ],
    ),
    (
        ENGINE,
        "about headline paper acceptance engine",
        &[
            "1.01×",
            "0.90×",
            "1.26× (−20.7 %)",
            "1.50×",
            "89 % of 27",
            "llama-server -m test.gguf",
        ],
    ),
];

#[test]
fn each_kind_of_run_has_its_sections() {
    for (text, expected, figures) in KINDS {
        let page = drawn(&[text]);
        assert_eq!(sections(&page).join(" "), expected);
        for figure in figures {
            assert!(page.contains(figure), "{expected} lack {figure}");
        }
    }
}

/// `value` without this key, wherever it stands.
fn without(value: &mut serde_json::Value, key: &str) {
    match value {
        serde_json::Value::Object(members) => {
            members.remove(key);
            members.values_mut().for_each(|it| without(it, key));
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|it| without(it, key)),
        _ => {}
    }
}

#[test]
fn positions_of_drafts_are_shown_where_files_have_them() {
    const CAPTION: &str = "<caption>Accepted of those put to the test";
    for (text, tables, plots) in [(SAM, 1, 1), (ENGINE, 1, 0), (COMPRESS, 0, 0)] {
        let page = drawn(&[text]);
        assert_eq!(page.matches(CAPTION).count(), tables);
        assert_eq!(page.matches("<h4>Accepted of those put").count(), plots);
        let mut older: serde_json::Value = text.parse().expect("JSON");
        without(&mut older, "acceptance");
        let older = drawn(&[&older.to_string()]);
        assert!(!older.contains(CAPTION));
        assert_eq!(sections(&older), sections(&page));
    }
    let row = serde_json::json!({"source": "corpus", "position": 1, "drafted": 80, "tested": 60,
        "accepted": 45});
    let arm = serde_json::json!({"arm": "full", "sessions": 4, "f1": 0.5, "acceptance": [row]});
    let page = drawn(&[&with_results(serde_json::json!({"arms": [arm]}))]);
    assert!(sections(&page).contains(&"acceptance"));
    for shown in [
        "75 % of 60",
        "1 full, sessions 4",
        "While questions were answered, run 1",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
}

#[test]
fn many_simulated_sessions_have_a_section() {
    let page = drawn(&[SCALE]);
    assert_eq!(sections(&page).join(" "), "about scale");
    for figure in [
        "gpu pair, run 1",
        "large memory",
        "requests waited for KV cells",
        "2.04×",
        "full: 612 an hour, 64 sessions",
    ] {
        assert!(page.contains(figure), "{figure} is missing");
    }
}

#[test]
fn all_kinds_make_one_page() {
    let page = drawn(&[RESEARCH, COLLAB, COMPRESS, SCHED, SCALE, SAM, ENGINE]);
    assert_eq!(sections(&page).len(), 16);
    assert!(page.contains("7 runs of agentinfer bench research, collab, compress, sched, scale"));
    // Nothing is fetched.
    for outside in ["http://", "https://", "src=\"", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn an_arm_has_one_colour_everywhere() {
    let page = drawn(&[RESEARCH, COLLAB]);
    let before = page
        .split("</span>large_only")
        .filter_map(|piece| piece.rsplit("<span ").next());
    let tags: Vec<&str> = before.collect();
    // The last piece follows the last arm.
    let tags = &tags[..tags.len() - 1];
    assert!(tags.len() > 6, "{tags:?}");
    assert!(
        tags.iter().all(|tag| tag.contains("class=\"tag c0\"")),
        "{tags:?}"
    );
}

#[test]
fn what_comes_from_files_stays_text() {
    let page = drawn(&[RESEARCH]);
    assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=&quot;"));
    assert!(page.contains("the model &lt;timed out&gt;"));
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(!page.contains("<img"));
}

#[test]
fn the_place_of_a_template_in_a_file_is_text() {
    let row = serde_json::json!({"arm": "{{script}}{{body}}", "f1": 0.5});
    let page = drawn(&[&with_results(serde_json::json!({"arms": [row]}))]);
    assert_eq!(page.matches("{{script}}{{body}}").count(), 4);
    assert_eq!(page.matches("use strict").count(), 1);
}

proptest! {
    /// Wherever a text stands, it adds no element and no attribute.
    #[test]
    fn no_text_becomes_markup(text in "[ -~]{0,20}[<>&\"'/=]{1,6}[ -~]{0,20}") {
        let page_with = |text: &str| {
            let row = serde_json::json!({"arm": text, "f1": 0.5, "task_seconds_mean": 1.0,
                "peer": text, "seconds": {"decode": 1.0}, "tasks": 1});
            let other = serde_json::json!({"arm": "b", "f1": 0.1, "task_seconds_mean": 2.0});
            let task = serde_json::json!({"arm": text, "id": text, "question": text,
                "answer": text, "references": [text]});
            let call = serde_json::json!({"at": 0, "seconds": 1, "kind": text, "model": text});
            let lane = serde_json::json!({"arm": text, "id": text, "slot": 0, "calls": [call]});
            let step = serde_json::json!({"arm": text, "kind": text});
            let run = serde_json::json!({"bench": "research", "command": text, "version": text,
                "machine": {"cpu": text, "features": text}, "models": {text: {"path": "p"}},
                "results": {"arms": [row, other], "tasks": [task], "lanes": [lane], "steps": [step],
                    "cases": [{"case": text, "arm": text, "unit": text, "median": 1.0}],
                    "speculation": [{"case": text, "arm": text, "acceptance": [{"source": text,
                        "position": 1, "drafted": 9, "tested": 30, "accepted": 3}]}],
                    "commands": {text: text}}});
            drawn(&[&run.to_string()])
        };
        let (plain, page) = (page_with("x"), page_with(&text));
        for mark in ['<', '>', '"'] {
            prop_assert_eq!(page.matches(mark).count(), plain.matches(mark).count());
        }
    }
}

#[test]
fn what_is_missing_is_left_out() {
    for results in [
        serde_json::json!({}),
        serde_json::json!({"arms": []}),
        serde_json::json!({"arms": [{}], "tasks": [{}], "lanes": [{}], "series": [{}]}),
        serde_json::json!({"arms": [{"arm": "a", "tasks": 0, "tasks_per_hour": 0, "f1": 0}],
            "comparisons": [{}], "bound": {}, "steps": [{}]}),
        serde_json::json!({"sets": [{}, {"mode": "cold"}], "policies": [{}], "validation": [{}],
            "scale": [{}], "first": [{}], "cases": [{}], "ratios": {"a": null},
            "speculation": [{"acceptance": [{}]}], "engine": null}),
        serde_json::json!({"new": {"key": [1]}}),
    ] {
        let page = drawn(&[&with_results(results)]);
        assert_eq!(sections(&page)[0], "about");
        assert!(!page.contains("NaN") && !page.contains(">inf"), "{page}");
    }
}

/// A research run of one arm and one question.
fn small(arm: &str, tasks: u32, seconds: f64, id: &str) -> String {
    with_results(serde_json::json!({
        "arms": [{"arm": arm, "sessions": 1, "tasks": tasks, "f1": 0.5,
            "task_seconds_mean": seconds, "tasks_per_hour": 3600.0 / seconds,
            "f1_difference": [0, 0, 0], "speedup": [1, 0.9, 1.1]}],
        "tasks": [{"arm": arm, "sessions": 1, "id": id, "question": "Which?",
            "answer": format!("{seconds}"), "f1": 0.5, "seconds": seconds}],
    }))
}

#[test]
fn runs_over_the_same_questions_are_put_together() {
    let [base, again] = [10.0, 20.0].map(|seconds| small("large_only", 1, seconds, "q"));
    let page = drawn(&[
        &base,
        &again,
        &small("agent", 3, 5.0, "q"),
        &small("agent", 1, 5.0, "r"),
    ]);
    // The base's mean of 15 s, by 5 s; of different runs, so without an interval.
    assert!(page.contains("data-value=\"3\">3.00×</td>"), "{page}");
    assert!(page.contains("2 files, pooled") && page.contains("10 / 20"));
    // The run of another question stands alone.
    let views = page
        .split("data-label=\"research: 1 question, 1 at a time\"")
        .count()
        - 1;
    assert_eq!(views, 4, "two in the plane, two question by question");
    assert!(!page.contains("to 1.10×)"), "{page}");
}

#[test]
fn an_interval_is_of_arms_of_one_file() {
    let other = small("agent", 1, 5.0, "q");
    let pair = |arm: &str| {
        let mut run: serde_json::Value = small("large_only", 1, 10.0, "q").parse().expect("JSON");
        let other: serde_json::Value = small(arm, 1, 5.0, "q").parse().expect("JSON");
        let arms = run["results"]["arms"].as_array_mut().expect("arms");
        arms.push(other["results"]["arms"][0].clone());
        run.to_string()
    };
    // Beside another file's arm, the pair keeps its interval and the other has none.
    let page = drawn(&[&pair("small_only"), &other]);
    let shown = |arm: &str| {
        let rows = page
            .split("<tr>")
            .filter(|row| row.contains(&format!("</span>{arm}</th>")));
        rows.filter(|row| row.contains("2.00× (0.90× to 1.10×)"))
            .count()
    };
    assert_eq!((shown("small_only"), shown("agent")), (1, 0));
}

#[test]
fn seconds_of_different_machines_are_kept_apart() {
    let run = |cpu: &str, arm: &str| {
        let mut run: serde_json::Value = small(arm, 1, 5.0, "q").parse().expect("JSON");
        run["machine"] = serde_json::json!({"cpu": cpu, "cores": 2});
        run.to_string()
    };
    let page = drawn(&[&run("Old", "large_only"), &run("New", "agent")]);
    assert!(page.contains("Machines: New, 2 cores; Old, 2 cores."));
    assert!(!drawn(&[&run("Old", "a"), &run("Old", "b")]).contains("Runs differ"));
}

#[test]
fn a_file_that_is_no_run_is_named_with_a_remedy() {
    for (text, expected) in [
        ("{\"bench\": \"sam\", \"resu", "bad.json is not JSON"),
        ("", "bad.json is not JSON"),
        ("[1]", "bad.json is no report of `agentinfer bench`"),
        ("{\"format\": 1}", "it has no `bench`"),
        ("{\"bench\": \"sam\"}", "it has no `results`"),
        (
            "{\"bench\": \"sam\", \"results\": {\"sets\": 1}}",
            "bad.json is no report",
        ),
        (
            "{\"bench\": \"moon\", \"results\": {}}",
            "a report of the bench `moon`",
        ),
    ] {
        let files = [
            RunFile {
                name: "good.json",
                text: SAM,
            },
            RunFile {
                name: "bad.json",
                text,
            },
        ];
        let said = page(&files).expect_err(text).to_string();
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("agentinfer"), "{said}");
    }
    assert!(matches!(page(&[]), Err(ReportError::NoRuns)));
}
