//! The store of segments: with real files, damaged files, and killed processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentinfer_memory::{MemoryError, Namespace, Segments, Session};
use agentinfer_sam::{Corpus, Evidence, Similar, Token};

const ONE: Namespace = Namespace {
    tenant: 1,
    tokenizer: 7,
};
const OTHER: Namespace = Namespace {
    tenant: 2,
    tokenizer: 7,
};
const AMPLE: u64 = 1 << 30;

/// A session of some hundreds of tokens, different for each key.
fn session(key: u64) -> Session {
    let own = |index: u64| (key * 31 + index * (key + 3) + index * index / 7) % 997;
    let tokens = (0..300 + key % 50).map(|index| own(index) as Token);
    Session {
        key,
        opening: 100,
        tokens: tokens.collect(),
    }
}

fn open(folder: &Path) -> Segments {
    Segments::open(folder, AMPLE).expect("the folder can be used")
}

fn index(segments: &Segments, namespace: Namespace, keys: impl IntoIterator<Item = u64>) {
    for key in keys {
        assert!(segments.index(namespace, session(key)));
        // One after the other, so that segments are merged again and again.
        segments.settle();
    }
}

/// The keys in a corpus, sorted, after checking that each session is what it was.
fn keys(corpus: &Corpus) -> Vec<u64> {
    let mut keys = Vec::new();
    for segment in corpus.segments() {
        assert_eq!(segment.verify(), Ok(()));
        for document in 0..segment.documents() {
            let key = segment.key(document).expect("a key");
            let span = segment.span(document).expect("a span");
            let tokens: Vec<Token> = span.filter_map(|at| segment.token(at)).collect();
            assert_eq!(tokens, session(key).tokens, "session {key}");
            keys.push(key);
        }
    }
    keys.sort_unstable();
    keys
}

fn stored(folder: &Path, namespace: Namespace) -> Vec<u64> {
    let segments = open(folder);
    segments.settle();
    keys(&segments.corpus(namespace))
}

/// Files of all namespaces with this ending, in order of their names.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let homes = fs::read_dir(folder).expect("a folder").flatten();
    let files = homes.flat_map(|home| fs::read_dir(home.path()).into_iter().flatten().flatten());
    let mut paths: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|held| held == ending))
        .collect();
    paths.sort();
    paths
}

#[test]
fn what_was_said_is_found_now_and_by_the_next_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(folder.path());
    assert_eq!(first.corpus(ONE).tokens(), 0);
    index(&first, ONE, 0..5);
    index(&first, OTHER, 5..6);
    assert_eq!(first.stats().indexed, 6);
    drop(first);
    let second = open(folder.path());
    second.settle();
    let corpus = second.corpus(ONE);
    assert_eq!(keys(&corpus), [0, 1, 2, 3, 4]);
    assert_eq!(keys(&second.corpus(OTHER)), [5]);
    let said = session(3).tokens;
    let mut evidence = Evidence::default();
    corpus.search(&said[..200], &Similar::default(), 8, &mut evidence);
    assert_eq!(
        (evidence.matches[0].matched, evidence.matches[0].next),
        (64, said[200])
    );
    let bytes: u64 = files(folder.path(), "segment")
        .iter()
        .map(|path| fs::metadata(path).expect("a file").len())
        .sum();
    assert_eq!(second.stats().bytes, bytes);
}

#[test]
fn who_has_a_corpus_keeps_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let segments = open(folder.path());
    index(&segments, ONE, 0..2);
    let before = segments.corpus(ONE);
    index(&segments, ONE, 2..4);
    drop(segments);
    fs::remove_dir_all(folder.path()).expect("removed");
    assert_eq!(keys(&before), [0, 1]);
}

#[test]
fn a_session_that_goes_on_replaces_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let segments = open(folder.path());
    let begun = Session {
        tokens: session(1).tokens[..200].to_vec(),
        ..session(1)
    };
    assert!(segments.index(ONE, begun));
    segments.settle();
    assert_eq!(segments.corpus(ONE).tokens(), 200);
    index(&segments, ONE, [1]);
    assert_eq!(keys(&segments.corpus(ONE)), [1]);
}

#[test]
fn too_many_are_dropped_and_counted_and_nobody_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let segments = open(folder.path());
    let taken = (0..20_000).filter(|key| segments.index(ONE, session(*key)));
    let taken = taken.count() as u64;
    segments.settle();
    let stats = segments.stats();
    assert!(taken < 20_000, "the disk is faster than memory");
    assert_eq!((stats.indexed, stats.dropped), (taken, 20_000 - taken));
    assert_eq!(keys(&segments.corpus(ONE)).len() as u64, taken);
}

#[test]
fn a_session_that_cannot_be_stored_costs_only_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let segments = open(folder.path());
    let wrong = Session {
        tokens: vec![1, Token::MAX],
        ..session(1)
    };
    assert!(segments.index(ONE, wrong));
    segments.settle();
    index(&segments, ONE, 2..4);
    assert_eq!(keys(&segments.corpus(ONE)), [2, 3]);
    assert_eq!(segments.stats().dropped, 1);
    // Nothing can be written where a file lies instead of a folder.
    drop(segments);
    let home = files(folder.path(), "segment")[0]
        .parent()
        .map(Path::to_owned);
    let segments = open(folder.path());
    segments.settle();
    let home = home.expect("a namespace's folder");
    fs::remove_dir_all(&home).expect("removed");
    fs::write(&home, b"").expect("written");
    index(&segments, ONE, 4..6);
    assert_eq!(keys(&segments.corpus(ONE)), [2, 3]);
    assert_eq!(segments.stats().dropped, 2);
}

#[test]
fn damaged_files_are_set_aside_and_the_rest_is_used() {
    let damages: [fn(&mut Vec<u8>); 5] = [
        |image| image[0] ^= 1,
        |image| image[8] = 9,
        |image| image.truncate(image.len() - 1),
        |image| image.clear(),
        |image| {
            let middle = image.len() / 2;
            image[middle] ^= 1;
        },
    ];
    for damage in damages {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path());
        index(&first, ONE, 0..3);
        index(&first, OTHER, 3..5);
        drop(first);
        let [one, _] = &files(folder.path(), "segment")[..] else {
            panic!("a segment for each namespace");
        };
        let mut image = fs::read(one).expect("a file");
        damage(&mut image);
        fs::write(one, image).expect("written");
        fs::write(one.with_extension("part"), b"half of it").expect("written");
        let second = open(folder.path());
        second.settle();
        assert_eq!(second.stats().damaged, 1);
        assert_eq!(second.corpus(ONE).tokens(), 0);
        assert_eq!(keys(&second.corpus(OTHER)), [3, 4]);
        assert_eq!(files(folder.path(), "part"), [] as [PathBuf; 0]);
        assert_eq!(files(folder.path(), "damaged").len(), 1);
        index(&second, ONE, 5..6);
        drop(second);
        assert_eq!(stored(folder.path(), ONE), [5]);
        assert_eq!(files(folder.path(), "damaged"), [] as [PathBuf; 0]);
    }
}

#[test]
fn what_is_superseded_is_removed_unless_its_successor_is_damaged() {
    for damaged in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let first = open(folder.path());
        index(&first, ONE, 0..3);
        let old = files(folder.path(), "segment");
        let image = fs::read(&old[0]).expect("a file");
        index(&first, ONE, 3..4);
        drop(first);
        let new = files(folder.path(), "segment");
        assert!(new.len() == 1 && new != old);
        // As if the process had been killed before it removed the old one.
        fs::write(&old[0], image).expect("written");
        if damaged {
            fs::write(&new[0], b"AISAMSEG").expect("written");
        }
        let expected: &[u64] = if damaged { &[0, 1, 2] } else { &[0, 1, 2, 3] };
        assert_eq!(stored(folder.path(), ONE), expected);
        assert_eq!(files(folder.path(), "segment").len(), 1);
    }
}

#[test]
fn bytes_are_bounded_and_the_newest_stays() {
    const BOUND: u64 = 60_000;
    let folder = tempfile::tempdir().expect("a folder");
    let segments = Segments::open(folder.path(), BOUND).expect("the folder can be used");
    let on_disk = || {
        let files = files(folder.path(), "segment").into_iter();
        files
            .map(|path| fs::metadata(path).expect("a file").len())
            .sum::<u64>()
    };
    index(&segments, OTHER, 100..105);
    for key in 0..40 {
        index(&segments, ONE, [key]);
        assert!(on_disk() <= BOUND && on_disk() == segments.stats().bytes);
        assert_eq!(keys(&segments.corpus(ONE)).last(), Some(&key));
    }
    // The oldest of one namespace make room for the newest of another.
    assert_eq!(segments.corpus(OTHER).tokens(), 0);
    assert_eq!(segments.stats().evicted, 1);
    let kept = keys(&segments.corpus(ONE));
    assert!(kept.len() >= 8 && kept[0] > 20, "{kept:?}");
    assert!(
        kept.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{kept:?}"
    );
    // A smaller bound is kept to from the start.
    drop(segments);
    let segments = Segments::open(folder.path(), 1000).expect("the folder can be used");
    segments.settle();
    assert_eq!(
        (segments.corpus(ONE).tokens(), segments.stats().bytes),
        (0, 0)
    );
}

/// Whether any file below the folder has some of a session's tokens, as they are stored.
fn holds(folder: &Path, key: u64) -> bool {
    let tokens = session(key).tokens;
    let bytes: Vec<u8> = tokens[50..66]
        .iter()
        .flat_map(|token| token.to_le_bytes().into_iter().take(3))
        .collect();
    ["segment", "part", "damaged"]
        .iter()
        .flat_map(|ending| files(folder, ending))
        .any(|path| {
            let held = fs::read(path).expect("a file");
            held.windows(bytes.len()).any(|window| window == bytes)
        })
}

#[test]
fn erasing_leaves_no_token() {
    const TOKENIZER: Namespace = Namespace {
        tenant: 1,
        tokenizer: 8,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let segments = open(folder.path());
    index(&segments, ONE, 0..6);
    index(&segments, TOKENIZER, [3, 4]);
    index(&segments, OTHER, [3]);
    let before = segments.corpus(ONE);
    // What was set aside earlier has it too.
    let [one, ..] = &files(folder.path(), "segment")[..] else {
        panic!("a segment for each namespace");
    };
    fs::copy(one, one.with_extension("damaged")).expect("copied");
    let erase = |namespace, keys: &[u64]| segments.erase(namespace, keys).expect("erased");
    assert_eq!(erase(ONE, &[3, 99]), 1);
    assert_eq!(erase(ONE, &[3]), 0);
    assert_eq!(keys(&segments.corpus(ONE)), [0, 1, 2, 4, 5]);
    assert_eq!(keys(&segments.corpus(TOKENIZER)), [3, 4]);
    assert_eq!(keys(&segments.corpus(OTHER)), [3]);
    assert!(holds(folder.path(), 3));
    assert_eq!(erase(TOKENIZER, &[3, 4]), 2);
    assert_eq!(erase(OTHER, &[3]), 1);
    assert!(!holds(folder.path(), 3));
    assert!(holds(folder.path(), 4));
    // What was taken in but is not stored yet is erased as well, and who has a corpus keeps it.
    assert!(segments.index(ONE, session(7)));
    assert_eq!(erase(ONE, &[7]), 1);
    assert_eq!(keys(&before), [0, 1, 2, 3, 4, 5]);
    drop(segments);
    assert_eq!(stored(folder.path(), ONE), [0, 1, 2, 4, 5]);
    let segments = open(folder.path());
    index(&segments, TOKENIZER, [8]);
    index(&segments, OTHER, [9]);
    assert_eq!(segments.erase_tenant(1).expect("erased"), 6);
    assert_eq!(segments.corpus(ONE).tokens(), 0);
    assert_eq!(keys(&segments.corpus(OTHER)), [9]);
    assert_eq!(files(folder.path(), "segment").len(), 1);
    assert!(!holds(folder.path(), 4) && holds(folder.path(), 9));
    index(&segments, ONE, [1]);
    drop(segments);
    assert_eq!(stored(folder.path(), ONE), [1]);
}

#[test]
fn one_process_uses_a_folder_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(folder.path());
    let error = Segments::open(folder.path(), AMPLE).expect_err("it is in use");
    assert!(matches!(error, MemoryError::InUse { .. }));
    assert!(error.to_string().contains("name another"), "{error}");
    drop(first);
    open(folder.path());
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("written");
    let error = Segments::open(&file, AMPLE).expect_err("it is no folder");
    assert!(matches!(error, MemoryError::Folder { .. }));
}

/// Names the folder in which the test below, started once more as another process, works.
const VICTIM: &str = "SEGMENTS_TEST_FOLDER";
const MARK: &str = "settled up to ";

#[test]
fn a_killed_process_loses_nothing_that_was_settled() {
    if let Some(folder) = std::env::var_os(VICTIM) {
        let segments = open(Path::new(&folder));
        segments.settle();
        let next = keys(&segments.corpus(ONE)).len() as u64;
        for key in next.. {
            index(&segments, ONE, [key]);
            // Not captured by the harness, which a print would be.
            let mut out = std::io::stdout();
            std::io::Write::write_all(&mut out, format!("\n{MARK}{key}\n").as_bytes())
                .expect("the parent listens");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut kept = 0;
    for round in 1..=8_u64 {
        let mut victim = Command::new(std::env::current_exe().expect("a path"))
            .args([
                "--exact",
                "a_killed_process_loses_nothing_that_was_settled",
                "--nocapture",
            ])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        // Read to the end of the round, so that nothing but the kill ends it.
        let mut lines = BufReader::new(victim.stdout.take().expect("its output")).lines();
        let settled = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix(MARK)?.parse::<u64>().ok())
            .find(|key| *key >= kept + round)
            .expect("it says so");
        victim.kill().expect("it still runs");
        victim.wait().expect("it ends");
        let found = stored(folder.path(), ONE);
        assert!(found.iter().copied().eq(0..found.len() as u64), "{found:?}");
        assert!(found.len() as u64 > settled, "{settled} of {found:?}");
        assert_eq!(files(folder.path(), "part"), [] as [PathBuf; 0]);
        kept = found.len() as u64;
    }
}
