//! Evicted cells come back: from host memory, from disk, after a restart, and never wrong ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentinfer_engine::{
    Batch, Completion, Engine, EngineError, EngineHandle, EngineOptions, Event, Finish, Hints,
    LatencyCurve, Model, ModelError, ModelLimits, Request, SequenceId, SimModel, SimVocabulary,
    Token,
};

/// A simulated model whose cells fit only models of the same make.
struct Make(SimModel, &'static str);

impl Model for Make {
    fn limits(&self) -> ModelLimits {
        self.0.limits()
    }
    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
        self.0.forward(batch)
    }
    fn logits(&self, index: usize) -> &[f32] {
        self.0.logits(index)
    }
    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        self.0.share(from, to, tokens);
    }
    fn truncate(&mut self, sequence: SequenceId, tokens: u32) {
        self.0.truncate(sequence, tokens);
    }
    fn saved_format(&self) -> Option<String> {
        Some(self.1.to_owned())
    }
    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        self.0.save(sequence, from, to)
    }
    fn restore(
        &mut self,
        sequence: SequenceId,
        from: u32,
        tokens: u32,
        saved: &[u8],
    ) -> Result<(), ModelError> {
        self.0.restore(sequence, from, tokens, saved)
    }
    fn now(&self) -> f64 {
        self.0.now()
    }
}

/// An engine that holds two sessions of the tests at once, but not three.
fn engine(make: &'static str, offload_bytes: u64) -> Engine<Make> {
    let limits = ModelLimits {
        cells: 700,
        ..SimModel::default().limits()
    };
    let model = Make(SimModel::new(limits, LatencyCurve::default()), make);
    let options = EngineOptions {
        offload_bytes,
        ..EngineOptions::default()
    };
    Engine::new(model, Arc::new(SimVocabulary::default()), options)
}

fn start(engine: Engine<Make>) -> EngineHandle {
    EngineHandle::spawn("test", engine).expect("a thread starts")
}

/// An engine with ample host memory and a disk.
fn on_disk(make: &'static str, folder: &Path) -> EngineHandle {
    let engine = engine(make, 1 << 20).with_disk(folder, 1 << 20);
    start(engine.expect("the folder can be used"))
}

fn stop(handle: &EngineHandle) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime
        .expect("a runtime")
        .block_on(handle.drain(Duration::from_secs(30)));
}

fn collect(mut completion: Completion) -> (Vec<Token>, Finish) {
    let mut tokens = Vec::new();
    loop {
        match completion.blocking_next() {
            Some(Event::Token(event)) => tokens.push(event.token),
            Some(Event::Finished(finish)) => return (tokens, finish),
            Some(Event::Started(_)) => {}
            other => panic!("the request failed: {other:?}"),
        }
    }
}

/// A session's prompt: 300 tokens. Sessions from 10 on begin with the same 100, others share
/// nothing.
fn prompt(session: u32) -> Vec<Token> {
    let own = |index| 97 + (session + index * (session + 3) + index / 7) % 23;
    let token = |index| match session {
        10.. if index < 100 => 120 + index % 3,
        _ => own(index),
    };
    (0..300).map(token).collect()
}

fn request(session: u32, hints: Hints) -> Request {
    Request {
        session: Some(u64::from(session)),
        hints,
        ..Request::new(prompt(session)).max_tokens(4)
    }
}

fn run(handle: &EngineHandle, session: u32) -> (Vec<Token>, Finish) {
    run_with(handle, session, Hints::default())
}

fn run_with(handle: &EngineHandle, session: u32, hints: Hints) -> (Vec<Token>, Finish) {
    let submitted = handle.submit(request(session, hints));
    collect(submitted.expect("a valid request"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let homes = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = homes.flat_map(|home| fs::read_dir(home.path()).into_iter().flatten().flatten());
    let chunks = files.map(|file| file.path());
    chunks
        .filter(|file| file.extension().is_some_and(|kind| kind == "kv"))
        .collect()
}

#[test]
fn what_was_evicted_is_copied_back_and_not_computed() {
    let handle = start(engine("a", 1 << 20));
    let said: Vec<Vec<Token>> = (0..4).map(|session| run(&handle, session).0).collect();
    let before = handle.stats();
    assert!(before.evictions > 0 && before.offloaded_tokens > 0);
    let (again, finish) = run(&handle, 0);
    assert_eq!(again, said[0]);
    assert_eq!(
        finish.cached_tokens, 299,
        "all but the token whose logits are wanted"
    );
    let after = handle.stats();
    assert!(after.restored_tokens > before.restored_tokens);
    assert_eq!(after.prefill_tokens, before.prefill_tokens);
}

#[test]
fn a_long_prompt_is_copied_back_whole_alone_and_beside_others() {
    let limits = ModelLimits {
        cells: 4500,
        ..SimModel::default().limits()
    };
    let long: Vec<Token> = (0..4000).map(|index| 97 + index * index / 7 % 23).collect();
    for beside in [false, true] {
        let model = Make(SimModel::new(limits, LatencyCurve::default()), "a");
        let vocabulary = Arc::new(SimVocabulary::default());
        let handle = start(Engine::new(model, vocabulary, EngineOptions::default()));
        let ask = |prompt: &[Token], max_tokens| {
            let request = Request::new(prompt.to_vec()).max_tokens(max_tokens);
            handle.submit(request).expect("a valid request")
        };
        let (said, _) = collect(ask(&long, 3));
        collect(ask(&vec![120; 4000], 3));
        let before = handle.stats();
        let other = beside.then(|| ask(&[121; 9], 100));
        let (again, finish) = collect(ask(&long, 3));
        assert_eq!((again, finish.cached_tokens), (said, 3999));
        other.map(collect);
        let computed = handle.stats().prefill_tokens - before.prefill_tokens;
        assert!(computed <= 9, "{computed} tokens were computed again");
    }
}

#[test]
fn without_a_store_it_is_computed_again() {
    let handle = start(engine("a", 0));
    let said: Vec<Vec<Token>> = (0..4).map(|session| run(&handle, session).0).collect();
    let (again, finish) = run(&handle, 0);
    assert_eq!((again, finish.cached_tokens), (said[0].clone(), 0));
}

#[test]
fn a_long_sequence_gives_way_from_its_tail() {
    let handle = start(engine("a", 0));
    run(&handle, 0);
    run(&handle, 1);
    // 96 free cells are left, and this needs 204: two chunks more.
    let other = Request::new(vec![120; 200]).max_tokens(4);
    collect(handle.submit(other).expect("a valid request"));
    let (_, finish) = run(&handle, 0);
    assert_eq!(finish.cached_tokens, 192, "the head of the oldest stayed");
}

#[test]
fn the_next_process_finds_what_the_last_one_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = on_disk("a", folder.path());
    let said: Vec<Vec<Token>> = (0..4).map(|session| run(&first, session).0).collect();
    stop(&first);
    let second = on_disk("a", folder.path());
    for session in [3, 0, 2, 1] {
        let (again, finish) = run(&second, session);
        assert_eq!(again, said[session as usize]);
        assert_eq!(finish.cached_tokens, 299, "session {session}");
    }
    stop(&second);
    // Another model finds nothing, and leaves it alone.
    let other = on_disk("b", folder.path());
    assert_eq!(run(&other, 0).1.cached_tokens, 0);
    stop(&other);
    let third = on_disk("a", folder.path());
    assert_eq!(run(&third, 0).1.cached_tokens, 299);
}

#[test]
fn what_sessions_share_is_found_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = on_disk("a", folder.path());
    let said: Vec<Vec<Token>> = (10..12).map(|session| run(&first, session).0).collect();
    stop(&first);
    let second = on_disk("a", folder.path());
    let (again, finish) = run(&second, 11);
    assert_eq!((&again, finish.cached_tokens), (&said[1], 299));
}

#[test]
fn clients_keep_their_cells_off_the_disk_and_ended_sessions_leave_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = on_disk("a", folder.path());
    let private = Hints {
        in_memory: true,
        ..Hints::default()
    };
    let last = Hints {
        ends_session: true,
        ..Hints::default()
    };
    run_with(&first, 0, private);
    run_with(&first, 1, last);
    for session in 2..5 {
        run(&first, session);
    }
    // It was evicted, and is in memory.
    assert_eq!(run_with(&first, 0, private).1.cached_tokens, 299);
    stop(&first);
    let second = on_disk("a", folder.path());
    for (session, cached) in [(0, 0), (1, 0), (4, 299)] {
        assert_eq!(
            run(&second, session).1.cached_tokens,
            cached,
            "session {session}"
        );
    }
}

#[test]
fn damaged_files_are_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = on_disk("a", folder.path());
    let said = run(&first, 0).0;
    stop(&first);
    let damages: [fn(&mut Vec<u8>); 4] = [
        |content| content[100] ^= 1,
        |content| content.truncate(content.len() - 1),
        |content| content.clear(),
        |content| {
            let middle = content.len() - 40;
            content[middle] ^= 1;
        },
    ];
    let chunks = files(folder.path());
    assert!(chunks.len() >= damages.len());
    for (chunk, damage) in chunks.iter().zip(damages.iter().cycle()) {
        let mut content = fs::read(chunk).expect("a file");
        damage(&mut content);
        fs::write(chunk, content).expect("written");
    }
    let second = on_disk("a", folder.path());
    let (again, finish) = run(&second, 0);
    assert_eq!((again, finish.cached_tokens), (said, 0));
}

#[test]
fn a_disk_that_fails_costs_nothing_but_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let handle = on_disk("a", folder.path());
    // Nothing can be written to a folder that is gone.
    fs::remove_dir_all(folder.path()).expect("removed");
    let said: Vec<Vec<Token>> = (0..4).map(|session| run(&handle, session).0).collect();
    assert_eq!(run(&handle, 0).0, said[0]);
    stop(&handle);
}

#[test]
fn the_disk_is_bounded_and_the_newest_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let bounded = engine("a", 1 << 20).with_disk(folder.path(), 3000);
    let first = start(bounded.expect("the folder can be used"));
    for session in 0..4 {
        run(&first, session);
    }
    stop(&first);
    let tokens = files(folder.path()).len() * 64;
    assert!((200..=450).contains(&tokens), "{tokens} tokens of 8 bytes");
}

#[test]
fn one_process_uses_a_folder_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = on_disk("a", folder.path());
    match engine("a", 1 << 20).with_disk(folder.path(), 1) {
        Err(error @ EngineError::Offload { .. }) => {
            assert!(error.to_string().contains("name another"), "{error}");
        }
        _ => panic!("two processes share a folder"),
    }
    stop(&first);
    on_disk("a", folder.path());
}

/// Names the folder in which the test below, started once more as another process, works.
const VICTIM: &str = "OFFLOAD_TEST_FOLDER";

#[test]
fn a_killed_process_leaves_whole_chunks_or_none() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        let handle = on_disk("a", Path::new(&folder));
        for session in (0..6).cycle() {
            run(&handle, session);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut expected: Vec<Vec<Token>> = Vec::new();
    let alone = start(engine("a", 0));
    expected.extend((0..6).map(|session| run(&alone, session).0));
    for round in 1..=3 {
        let mut victim = std::process::Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "a_killed_process_leaves_whole_chunks_or_none"])
            .env(VICTIM, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("it starts");
        let deadline = Instant::now() + Duration::from_secs(60);
        while files(folder.path()).len() < 4 * round && Instant::now() < deadline {
            std::thread::yield_now();
        }
        victim.kill().expect("it still runs");
        victim.wait().expect("it ends");
        let handle = on_disk("a", folder.path());
        for (session, said) in expected.iter().enumerate() {
            assert_eq!(run(&handle, session as u32).0, *said, "round {round}");
        }
        assert!(handle.stats().restored_tokens > 0, "round {round}");
        stop(&handle);
    }
}
