//! `agentinfer bench engine` on a real model, without peers: it measures this very command.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs the bench once per case and returns its report.
fn bench(more: &[&str], cases: &str, folder: &Path) -> Value {
    let file = folder.join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_agentinfer"))
        .args([
            "bench",
            "engine",
            "--model",
            "smollm2-135m",
            "--runs",
            "1",
            "--threads",
            "1",
        ])
        .args(more)
        .args(["--cases", cases, "--json"])
        .arg(&file)
        .output()
        .expect("the command was built for this test");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let table = String::from_utf8_lossy(&output.stdout);
    for case in cases.split(',') {
        assert!(table.contains(case), "{table}");
    }
    let report = fs::read_to_string(file).expect("a report was asked for");
    serde_json::from_str(&report).expect("the report is JSON")
}

#[test]
fn chats_are_measured_over_http_and_the_server_ends_with_the_bench() {
    let folder = tempfile::tempdir().unwrap();
    let report = bench(&[], "ttft_resident,chats_1", folder.path());
    assert_eq!(report["bench"], "engine");
    assert!(report["models"]["smollm2-135m"]["bytes"].as_u64() > Some(1 << 20));
    let results = &report["results"];
    let [chats, ttft] = &results["cases"].as_array().unwrap()[..] else {
        panic!("{results:#}");
    };
    assert_eq!(
        (&chats["case"], &chats["unit"]),
        (&"chats_1".into(), &"tok/s".into())
    );
    assert_eq!(
        (&ttft["case"], &ttft["unit"]),
        (&"ttft_resident".into(), &"s".into())
    );
    for case in [chats, ttft] {
        assert_eq!(case["arm"], "agentinfer");
        assert_eq!(case["samples"].as_array().unwrap().len(), 1);
        assert!(case["median"].as_f64() > Some(0.0));
    }
    // The warm-up left the system prompt resident, the first turn the report.
    let tokens = |case: &Value, key: &str| case[key].as_u64().unwrap();
    assert!(tokens(chats, "cached_tokens") >= 280, "{chats:#}");
    assert!(
        tokens(chats, "prompt_tokens") >= tokens(chats, "cached_tokens") + 30,
        "{chats:#}"
    );
    let left = tokens(ttft, "prompt_tokens") - tokens(ttft, "cached_tokens");
    assert!(
        tokens(ttft, "cached_tokens") >= 1500 && left < 60,
        "{ttft:#}"
    );

    let command = results["commands"]["agentinfer"].as_str().unwrap();
    let port = command.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(
        TcpStream::connect(("127.0.0.1", port)).is_err(),
        "{command}"
    );
}

#[test]
fn settings_of_speculation_are_measured_beside_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let report = bench(&["--spec"], "spec_agent_1,spec_novel_1", folder.path());
    let results = &report["results"];
    let row = |list: &str, case: &str, setting: &str| {
        let arm = format!("agentinfer:spec={setting}");
        let rows = results[list].as_array().unwrap().iter();
        let mut rows = rows.filter(|row| row["case"] == case && row["arm"] == arm.as_str());
        rows.next()
            .cloned()
            .unwrap_or_else(|| panic!("{arm} is not in {list}"))
    };
    for case in ["spec_agent_1", "spec_novel_1"] {
        for setting in ["off", "session", "full"] {
            let row = row("cases", case, setting);
            let median = row["median"].as_f64().unwrap();
            let end_to_end = row["end_to_end_median"].as_f64().unwrap();
            assert!(0.0 < end_to_end && end_to_end < median, "{row:#}");
        }
        assert_eq!(row("cases", case, "off")["drafted_tokens"], 0);
        for setting in ["session", "full"] {
            let row = row("speculation", case, setting);
            assert!(row["decode_by_off"].as_f64() > Some(0.0), "{row:#}");
            assert!(
                row["expected_decode_seconds"].as_f64() > Some(0.0),
                "{row:#}"
            );
        }
    }
    assert_eq!(
        row("cases", "spec_novel_1", "full")["generated_tokens"],
        128
    );
    let full = row("cases", "spec_agent_1", "full");
    assert!(full["accepted_tokens"].as_u64() > Some(0), "{full:#}");
    assert!(
        full["expected_accepted_tokens"].as_u64() > Some(0),
        "{full:#}"
    );
}
