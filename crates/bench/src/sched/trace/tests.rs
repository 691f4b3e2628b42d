use std::io::Write;

use super::*;
use crate::sched::workload::Call;
use crate::sched::workload::Prefix;

fn file(extension: &str, lines: &[String]) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new()
        .prefix("trace-")
        .suffix(extension)
        .tempfile()
        .expect("a temporary file");
    for line in lines {
        writeln!(file, "{line}").expect("can be written");
    }
    file
}

fn sessions(lines: &[String], scale: f64) -> Trace {
    let file = file(".jsonl", lines);
    Trace::read(file.path(), scale).expect("a sound trace")
}

/// A row of the proxy's trace; times are seconds.
fn request(session: &str, actor: &str, times: (f64, f64), tokens: Option<(u32, u32)>) -> String {
    let role = if actor == "lead" { "lead" } else { "subagent" };
    let at = |seconds: f64| format!("2026-08-12T04:36:{seconds:09.6}+00:00");
    let (input, output) = tokens.unzip();
    serde_json::json!({
        "session_id": session, "actor_id": actor, "actor_role": role,
        "started_at": at(times.0), "finished_at": at(times.1),
        "input_tokens": input, "output_tokens": output, "status": "success",
    })
    .to_string()
}

#[test]
fn requests_become_agents_that_wait_for_each_other() {
    let trace = sessions(
        &[
            request("a", "lead", (0.0, 1.0), Some((200, 5))),
            request("a", "lead", (0.1, 2.0), Some((1000, 10))),
            request("a", "sub", (2.5, 4.0), Some((400, 20))),
            request("a", "sub", (4.5, 6.0), Some((500, 20))),
            request("a", "lead", (6.5, 8.0), Some((1100, 10))),
            request("a", "lead", (8.0, 8.1), None),
            // The context was compacted.
            request("a", "lead", (9.0, 10.0), Some((1050, 10))),
            request("b", "lead", (3.0, 4.0), Some((1500, 10))),
        ],
        1.0,
    );
    assert_eq!((trace.sessions.len(), trace.skipped), (2, 1));
    let calls = &trace.sessions[0].calls;
    let prompts: Vec<_> = calls.iter().map(Call::prompt_tokens).collect();
    assert_eq!(prompts, [200, 1000, 400, 500, 1100, 1050]);
    let actors: Vec<_> = calls.iter().map(|call| call.actor).collect();
    assert_eq!(actors, [0, 0, 1, 1, 0, 0].map(Some));
    let after: Vec<_> = calls.iter().map(|call| call.after.clone()).collect();
    assert_eq!(after[..4], [vec![], vec![], vec![1], vec![2]]);
    assert_eq!((&after[4], &after[5]), (&vec![1, 3], &vec![4]));
    let gaps: Vec<_> = calls.iter().map(|call| call.gap_seconds).collect();
    for (gap, expected) in gaps.iter().zip([0.0, 0.1, 0.5, 0.5, 0.5, 1.0]) {
        assert!((gap - expected).abs() < 1e-5, "{gaps:?}");
    }
    let prefix = |call, tokens| Some(Prefix { call, tokens });
    let continues: Vec<_> = calls.iter().map(|call| call.continues).collect();
    assert_eq!(
        continues,
        [None, None, None, prefix(2, 420), prefix(1, 1010), None]
    );
    // The shortest opening of a lead is its role's system prompt; the aside does not begin so.
    let other = &trace.sessions[1].calls[0];
    // A token is always new.
    assert_eq!((calls[1].system_tokens, other.system_tokens), (999, 1000));
    assert_eq!(calls[1].new[..999], other.new[..999]);
    assert_eq!(calls[5].new[..1000], other.new[..1000]);
    assert_ne!(calls[0].new[..50], other.new[..50]);
}

#[test]
fn scale_shortens_every_text_and_keeps_what_they_share() {
    let lines = [
        request("a", "lead", (0.0, 1.0), Some((1000, 100))),
        request("a", "lead", (2.0, 3.0), Some((1200, 100))),
    ];
    let trace = sessions(&lines, 0.25);
    let calls = &trace.sessions[0].calls;
    let lengths: Vec<_> = calls
        .iter()
        .map(|call| (call.prompt_tokens(), call.output_tokens))
        .collect();
    assert_eq!(lengths, [(250, 25), (300, 25)]);
    assert_eq!(
        calls[1].continues,
        Some(Prefix {
            call: 0,
            tokens: 275
        })
    );
}

fn text(session: &str, seconds: f64, input: &str, output: &str) -> String {
    let timestamp = 1_760_428_436_000_000_u64 + (seconds * 1e6) as u64;
    serde_json::json!({
        "timestamp": timestamp, "input": input, "output": output, "session_id": session,
    })
    .to_string()
}

#[test]
fn texts_share_what_they_really_share() {
    let system = "You are an agent. ".repeat(20);
    let one = format!("{system}Mend the roof of the house.");
    let more = format!("{one} It is mended, and now the door.");
    let branch = format!("{one} It is broken.");
    let trace = sessions(
        &[
            text("b", 50.0, &format!("{system}Something else."), "Yes."),
            text("a", 9.0, &branch, "x"),
            // Not in order of time.
            text("a", 0.0, &one, &"o".repeat(400)),
            text("a", 5.0, &more, "x"),
        ],
        1.0,
    );
    assert_eq!(trace.name.get(..6), Some("trace-"));
    let [a, b] = &trace.sessions[..] else {
        panic!("{trace:?}")
    };
    let tokens = |text: &str| text.len().div_ceil(4);
    let prompts: Vec<_> = a.calls.iter().map(Call::prompt_tokens).collect();
    assert_eq!(prompts, [tokens(&one), tokens(&more), tokens(&branch)]);
    let kept = |call: &Call| call.continues.map(|prefix| (prefix.call, prefix.tokens));
    let common = format!("{one} It is ").len() / 4;
    assert_eq!(kept(&a.calls[1]), Some((0, one.len() / 4)));
    assert_eq!(kept(&a.calls[2]), Some((1, common)));
    assert_eq!(a.calls[0].output_tokens, 100);
    // Of five seconds, a second was the answer's 100 tokens.
    assert!((a.calls[1].gap_seconds - 4.0).abs() < 0.1, "{a:?}");
    let shared = system.len() / 4;
    assert_eq!(a.calls[0].new[..shared], b.calls[0].new[..shared]);
    assert_ne!(a.calls[0].new[shared], b.calls[0].new[shared]);
}

#[test]
fn runs_of_our_agent_share_what_its_cache_found() {
    let llm = |at: f64, step: &str, prompt: u32, cached: u32| {
        serde_json::json!({
            "kind": "llm", "at": at, "seconds": 1.0, "step": step, "model": "m",
            "prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": 20,
            "output": "o",
        })
        .to_string()
    };
    let row = str::to_owned;
    let trace = sessions(
        &[
            row(r#"{"kind": "run", "question": "q", "model": "m", "version": "1"}"#),
            llm(0.0, "plan", 300, 0),
            row(r#"{"kind": "tool", "at": 1.0, "seconds": 2.0, "tool": "search", "input": []}"#),
            llm(3.0, "read", 800, 100),
            llm(4.5, "read", 900, 700),
            row(
                r#"{"kind": "llm", "at": 5.5, "seconds": 1.0, "step": "read", "model": "m",
                "prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0, "error": "e"}"#,
            )
            .replace('\n', " "),
            row(r#"{"kind": "end", "outcome": "answered", "seconds": 7.0, "totals": {}}"#),
        ],
        1.0,
    );
    assert_eq!((trace.sessions.len(), trace.skipped), (1, 1));
    let calls = &trace.sessions[0].calls;
    let gaps: Vec<_> = calls.iter().map(|call| call.gap_seconds).collect();
    assert_eq!(gaps, [0.0, 2.0, 0.5]);
    let continues: Vec<_> = calls.iter().map(|call| call.continues).collect();
    assert_eq!(
        continues,
        [
            None,
            None,
            Some(Prefix {
                call: 1,
                tokens: 700
            })
        ]
    );
    assert_eq!((calls[0].system_tokens, calls[1].system_tokens), (0, 100));
}

#[test]
fn a_folder_is_read_in_order_and_what_is_wrong_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let put = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("can be written");
    };
    put("b.jsonl", &text("b", 1.0, "later, elsewhere", "o"));
    put("a.jsonl", &text("a", 2.0, "prompt", "o"));
    put("notes.txt", "no trace");
    let trace = Trace::read(folder.path(), 1.0).expect("two sessions");
    assert_eq!(trace.sessions.len(), 2);
    assert_eq!(trace.sessions[0].calls[0].prompt_tokens(), 2);

    let good = text("a", 1.0, "p", "o");
    for (lines, line, word) in [
        (vec![String::new(), "{\"x\": 1}".to_owned()], 2, "format"),
        (vec![good.clone(), "{".to_owned()], 2, "EOF"),
        (vec![text("a", 1.0, "", "o")], 1, "input"),
        (
            vec![request("a", "lead", (0.0, 1.0), Some((1, 1))).replace("2026-", "last ")],
            1,
            "RFC 3339",
        ),
        (vec![request("a", "lead", (0.0, 1.0), None)], 1, "no call"),
    ] {
        let file = file(".jsonl", &lines);
        let error = Trace::read(file.path(), 1.0).expect_err(word).to_string();
        let place = format!("{}, line {line}: ", file.path().display());
        assert!(error.starts_with(&place) && error.contains(word), "{error}");
    }
    assert!(matches!(
        Trace::read(&folder.path().join("c.jsonl"), 1.0),
        Err(BenchError::Read { .. })
    ));
}
