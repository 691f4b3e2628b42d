//! Pulls from a local source: what is published, what is kept, what is thrown away.

// Helpers of tests are tests: what cannot be unwrapped fails them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::sync::atomic::Ordering;

use agentinfer_models::{ModelsError, Puller, Silent, Source, Status, Store};
use common::{Folder, entry, model_bytes};

/// Parts of a 3-part model; sizes differ on purpose.
fn three_parts(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![
        bytes[..1000].to_vec(),
        bytes[1000..1007].to_vec(),
        bytes[1007..].to_vec(),
    ]
}

#[test]
fn parts_become_one_verified_file_and_nothing_else_is_left() {
    let bytes = model_bytes(50_000);
    for parts in [vec![bytes.clone()], three_parts(&bytes)] {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path().join("deep/models"));
        let entry = entry(&bytes);
        let sources: Vec<Box<dyn Source>> = vec![Box::new(Folder::new(parts))];
        let path = Puller::new(&store, &sources, &Silent).pull(&entry).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(store.status(&entry), Status::Installed);
        store.verify(&entry).unwrap();
        let mut left: Vec<_> = fs::read_dir(store.dir())
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".tiny.lock", "tiny.gguf"]);
    }
}

#[test]
fn an_interrupted_pull_goes_on_with_the_parts_it_had() {
    let bytes = model_bytes(50_000);
    let (home, entry) = (tempfile::tempdir().unwrap(), entry(&bytes));
    let store = Store::at(home.path());
    let folder = Folder::new(three_parts(&bytes));
    let fetches = folder.fetches.clone();
    folder.fail_at.store(2, Ordering::SeqCst);
    let fail_at = folder.fail_at.clone();
    let sources: Vec<Box<dyn Source>> = vec![Box::new(folder)];
    let puller = Puller::new(&store, &sources, &Silent);

    let text = puller.pull(&entry).unwrap_err().to_string();
    assert!(text.contains("folder: the line went dead"), "{text}");
    assert_eq!(store.status(&entry), Status::Missing);
    assert_eq!(*fetches.lock().unwrap(), [0, 1, 2]);

    fail_at.store(usize::MAX, Ordering::SeqCst);
    puller.pull(&entry).unwrap();
    assert_eq!(*fetches.lock().unwrap(), [0, 1, 2, 2]);
    store.verify(&entry).unwrap();
}

#[test]
fn wrong_bytes_are_refused_thrown_away_and_the_next_pull_starts_clean() {
    let bytes = model_bytes(50_000);
    let mut flipped = three_parts(&bytes);
    flipped[1][3] ^= 1;
    let mut short = three_parts(&bytes);
    short[2].pop();
    let mut long = three_parts(&bytes);
    long[0].push(0);
    for (parts, complaint) in [
        (flipped, "SHA-256 is"),
        (short, "size is 49999 instead of 50000"),
        (long, "size is at least 50001 instead of 50000"),
        (vec![bytes[..10].to_vec()], "size is 10 instead of 50000"),
    ] {
        let (home, entry) = (tempfile::tempdir().unwrap(), entry(&bytes));
        let store = Store::at(home.path());
        let bad: Vec<Box<dyn Source>> = vec![Box::new(Folder::new(parts))];
        let text = Puller::new(&store, &bad, &Silent)
            .pull(&entry)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(complaint) && text.contains("thrown away"),
            "{text}"
        );
        assert_eq!(
            store.status(&entry),
            Status::Missing,
            "nothing unverified is published"
        );

        let good: Vec<Box<dyn Source>> = vec![Box::new(Folder::new(three_parts(&bytes)))];
        Puller::new(&store, &good, &Silent).pull(&entry).unwrap();
        store.verify(&entry).unwrap();
    }
}

#[test]
fn the_next_source_is_tried_when_one_fails() {
    let bytes = model_bytes(50_000);
    let (home, entry) = (tempfile::tempdir().unwrap(), entry(&bytes));
    let store = Store::at(home.path());
    let wrong = Folder::new(vec![model_bytes(50_001)]).named("wrong");
    let none = Folder::new(vec![]).named("none");
    let good = Folder::new(three_parts(&bytes)).named("good");
    let sources: Vec<Box<dyn Source>> = vec![Box::new(none), Box::new(wrong), Box::new(good)];
    Puller::new(&store, &sources, &Silent).pull(&entry).unwrap();
    store.verify(&entry).unwrap();

    let other = Store::at(home.path().join("other"));
    let error = Puller::new(&other, &sources[..1], &Silent)
        .pull(&entry)
        .unwrap_err();
    assert!(matches!(&error, ModelsError::NotOffered { choice, .. } if choice == "none"));
    let text = Puller::new(&other, &sources[..2], &Silent)
        .pull(&entry)
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("could not pull model `tiny`:\n  wrong: "),
        "{text}"
    );
}

#[test]
fn a_damaged_file_is_replaced_and_a_sound_one_is_kept() {
    let bytes = model_bytes(50_000);
    let (home, entry) = (tempfile::tempdir().unwrap(), entry(&bytes));
    let store = Store::at(home.path());
    let folder = Folder::new(vec![bytes.clone()]);
    let fetches = folder.fetches.clone();
    let sources: Vec<Box<dyn Source>> = vec![Box::new(folder)];
    let puller = Puller::new(&store, &sources, &Silent);
    fs::write(
        store.path(&entry),
        model_bytes(50_000).into_iter().rev().collect::<Vec<_>>(),
    )
    .unwrap();
    puller.pull(&entry).unwrap();
    store.verify(&entry).unwrap();
    puller.pull(&entry).unwrap();
    assert_eq!(
        *fetches.lock().unwrap(),
        [0],
        "the second pull needs no fetch"
    );
}

#[test]
fn pulls_at_once_take_turns_and_fetch_once() {
    let bytes = model_bytes(200_000);
    let (home, entry) = (tempfile::tempdir().unwrap(), entry(&bytes));
    let store = Store::at(home.path());
    let folder = Folder::new(three_parts(&bytes));
    let fetches = folder.fetches.clone();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (store, folder) = (&store, folder.clone());
            scope.spawn(move || {
                let sources: Vec<Box<dyn Source>> = vec![Box::new(folder)];
                Puller::new(store, &sources, &Silent).pull(&entry).unwrap();
            });
        }
    });
    store.verify(&entry).unwrap();
    assert_eq!(*fetches.lock().unwrap(), [0, 1, 2]);
}

#[test]
fn too_little_room_is_told_before_anything_is_fetched() {
    let bytes = model_bytes(50_000);
    let (home, entry) = (tempfile::tempdir().unwrap(), entry(&bytes));
    let store = Store::at(home.path());
    for (parts, needed) in [
        (vec![bytes.clone()], 50_000),
        (three_parts(&bytes), 100_000),
    ] {
        let folder = Folder::new(parts);
        let fetches = folder.fetches.clone();
        let sources: Vec<Box<dyn Source>> = vec![Box::new(folder)];
        let puller = Puller::new(&store, &sources, &Silent).with_free_space(|_| Ok(49_999));
        let text = puller.pull(&entry).unwrap_err().to_string();
        let dir = home.path().display();
        assert!(
            text.contains(&format!("not enough disk space in {dir}")),
            "{text}"
        );
        assert!(text.contains(&format!("{needed} bytes are needed, 49999 are available")));
        assert!(fetches.lock().unwrap().is_empty());
    }
}

/// A file system of one megabyte that another program seems to have filled after the check.
/// Mounting needs root; elsewhere the test above must do.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_meanwhile_is_the_same_clear_error() {
    let Some(disk) = common::SmallDisk::mount() else {
        return;
    };
    let bytes = model_bytes(3 << 20);
    let entry = entry(&bytes);
    let store = Store::at(disk.path());
    let folder = Folder::new(vec![bytes[..700_000].to_vec(), bytes[700_000..].to_vec()]);
    let fetches = folder.fetches.clone();
    let sources: Vec<Box<dyn Source>> = vec![Box::new(folder)];
    let puller = Puller::new(&store, &sources, &Silent).with_free_space(|_| Ok(u64::MAX));
    let error = puller.pull(&entry).unwrap_err();
    assert!(matches!(error, ModelsError::DiskFull { .. }), "{error}");
    assert_eq!(*fetches.lock().unwrap(), [0, 1]);
    assert_eq!(store.status(&entry), Status::Missing);

    disk.grow("8m");
    puller.pull(&entry).unwrap();
    store.verify(&entry).unwrap();
    assert_eq!(
        *fetches.lock().unwrap(),
        [0, 1, 1],
        "the first part was kept"
    );
}
