use std::path::PathBuf;

use agentinfer_sam::{DraftSource, Drafter, Guess, NoDrafts, Origin, Token};
use serde_json::{Value, json};

use super::*;

/// Guesses that the last token is said again.
#[derive(Default)]
struct Echo {
    last: Token,
}

impl Drafter for Echo {
    fn begin(&mut self, _id: u64, _origin: Origin, prompt: &[Token]) {
        self.last = prompt.last().copied().unwrap_or_default();
    }

    fn extend(&mut self, _id: u64, tokens: &[Token]) {
        self.last = tokens.last().copied().unwrap_or(self.last);
    }

    fn propose(&mut self, _id: u64, limit: usize, _least: f32, draft: &mut Vec<Guess>) {
        let guess = Guess {
            token: self.last,
            probability: 1.0,
            source: DraftSource::default(),
        };
        draft.extend(std::iter::repeat_n(guess, limit));
    }

    fn finish(&mut self, _id: u64) {}
}

impl Arm for Echo {}

fn contenders() -> [Contender; 2] {
    [
        Contender {
            name: "off",
            start: |_| Ok(Box::new(NoDrafts)),
        },
        Contender {
            name: "echo",
            start: |_| Ok(Box::new(Echo::default())),
        },
    ]
}

/// The test model's file; only its vocabulary is read.
fn model() -> PathBuf {
    agentinfer_models::resolve("smollm2-135m")
        .expect("the test model is installed; `make test` does that")
}

fn write(path: PathBuf, rows: &[Value]) -> PathBuf {
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(&path, rows).expect("can be written");
    path
}

fn session(task: usize, trial: usize) -> Value {
    json!({"session": format!("{task}-{trial}"), "task": format!("{task}"), "messages": [
        {"role": "user", "content": "Say one word several times."},
        {"role": "assistant", "content": " word".repeat(20)},
        {"role": "user", "content": "Again."},
        {"role": "assistant", "content": " word".repeat(20)},
    ]})
}

/// What a row says of sessions that an echo would guess right.
fn check_echoes(row: &SamRow) {
    assert_eq!(
        (row.budget, row.within_budget, row.gain_by_peer),
        (None, None, None)
    );
    match &row.arm[..] {
        "off" => assert_eq!((row.ote, row.drafted), (1.0, 0)),
        _ if row.set == "calls" => {}
        _ => {
            // Nineteen words and the end: 4 + 4 + 4 + 4 + 4, or 9 + 9 + 2.
            let (steps, accepted) = if row.max_draft == 3 { (5, 15) } else { (3, 17) };
            let each = [20, steps, accepted, steps * row.max_draft as u64];
            let all = [row.tokens, row.steps, row.accepted, row.drafted];
            assert_eq!(all, each.map(|count| count * row.calls), "{row:?}");
        }
    }
}

#[tokio::test]
async fn sets_are_replayed_in_every_mode_and_length() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sessions = [(0, 0), (1, 0), (2, 0), (0, 1)].map(|(task, trial)| session(task, trial));
    let transcripts = write(folder.path().join("talks.jsonl"), &sessions);
    let call = json!({"timestamp": 1, "input": "Say a.", "output": "aaa", "session_id": "s"});
    let trace = write(folder.path().join("calls.jsonl"), &[call]);
    let options = SamOptions {
        transcripts: vec![transcripts],
        traces: vec![trace],
        max_drafts: vec![3, 8],
        trials: vec![Trials::First(1), Trials::All],
        out: Some(folder.path().join("out")),
        ..SamOptions::new(model())
    };
    let mut notes = Vec::new();
    let arms = contenders();
    let results = run_sam_bench(&options, &arms, |note| notes.push(note.to_owned()));
    let results = results.await.expect("replays");

    let sets = results.recordings.iter();
    let sets: Vec<_> = sets
        .map(|it| (&it.set[..], it.sessions, it.calls))
        .collect();
    // The trace has no task with several trials, so it is one set.
    let expected = [("talks", 3, 6), ("talks trials=all", 4, 8), ("calls", 1, 1)];
    assert_eq!(sets, expected);
    // Two modes, but one task is too few to warm up.
    assert_eq!(results.sets.len(), (2 + 2 + 1) * 2 * 2);
    assert!(
        notes
            .iter()
            .any(|note| note.contains("calls: too few tasks")),
        "{notes:?}"
    );
    results.sets.iter().for_each(check_echoes);
    let calls_of = |mode| {
        let mut rows = results.sets.iter();
        rows.find(|row| row.mode == mode && row.set == "talks trials=all")
            .map(|row| row.calls)
    };
    // The first of three tasks fills, with both its trials.
    assert_eq!(
        (calls_of(Mode::Cold), calls_of(Mode::Warm)),
        (Some(8), Some(4))
    );
    assert!(results.index.extend_us_per_token.is_some() && results.index.open_ms.is_none());
    let table = results.table();
    assert!(
        table.contains("echo") && table.contains("talks: 3 sessions of 3 tasks"),
        "{table}"
    );

    let trace = folder.path().join("out/talks_cold_max=8_echo.jsonl");
    let rows = fs::read_to_string(trace).expect("a trace was asked for");
    let row: Value = serde_json::from_str(rows.lines().next().expect("a row")).expect("JSON");
    assert_eq!(rows.lines().count(), 6);
    assert_eq!((&row["session"], &row["tokens"]), (&json!(0), &json!(20)));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    type Change = fn(&mut SamOptions);
    let changes: [(Change, &str); 8] = [
        (|options| options.transcripts.clear(), "transcripts"),
        (|options| options.modes.clear(), "modes"),
        (|options| options.max_drafts = vec![65], "max-draft"),
        (|options| options.least = 0.0, "least"),
        (|options| options.trials.clear(), "trials"),
        (|options| options.sessions = Some(0), "sessions"),
        (|options| options.concurrent = 0, "concurrent"),
        (|options| options.peers = vec![Peer::Shared], "peer"),
    ];
    for (change, field) in changes {
        let mut options = SamOptions {
            transcripts: vec!["talks.jsonl".into()],
            ..SamOptions::new(model())
        };
        change(&mut options);
        match run_sam_bench(&options, &contenders(), |_| {}).await {
            Err(BenchError::Option { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_missing_peer_says_how_to_get_it() {
    let options = SamOptions {
        transcripts: vec!["talks.jsonl".into()],
        peers: vec![Peer::Shared],
        peer_python: Some("/nonexistent/python".into()),
        ..SamOptions::new(model())
    };
    let error = run_sam_bench(&options, &contenders(), |_| {}).await;
    let said = error.expect_err("no such Python").to_string();
    for part in [
        "--peer-python",
        "/nonexistent/python",
        "arctic-inference==0.1.1",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // A program that is no Python with the package ends at once.
    let options = SamOptions {
        peer_python: Some("/bin/false".into()),
        ..options
    };
    let error = run_sam_bench(&options, &contenders(), |_| {}).await;
    assert!(
        matches!(error, Err(BenchError::Program { .. })),
        "{error:?}"
    );
}
