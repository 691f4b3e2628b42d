//! The hub source: the real client library against a hub on the loopback.

// Helpers of tests are tests: what cannot be unwrapped fails them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentinfer_models::{HubFile, HubSource, ModelEntry, Puller, Silent, Source, Store};
use common::{entry, model_bytes};

/// Serves one file in ranges; breaks off the first long answer after `break_after` bytes.
struct Hub {
    url: String,
    sent: Arc<AtomicUsize>,
}

impl Hub {
    fn start(bytes: Vec<u8>, break_after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let limit = if counter.load(Ordering::SeqCst) == 0 {
                    break_after
                } else {
                    usize::MAX
                };
                answer(stream, &bytes, limit, &counter);
            }
        });
        Self { url, sent }
    }
}

/// Answers one request for a range and closes the connection.
fn answer(mut stream: TcpStream, bytes: &[u8], limit: usize, sent: &AtomicUsize) {
    let mut range = None;
    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = value.split_once('-').unwrap();
            range = Some((from.parse().unwrap(), to.parse().ok()));
        }
    }
    // Connections that only probe send nothing.
    let Some((from, to)) = range else { return };
    let body: &[u8] = &bytes[from..to.map_or(bytes.len(), |to: usize| to + 1)];
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\netag: \"abc\"\r\nx-repo-commit: c0ffee\r\n\
         content-range: bytes {from}-{}/{}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        from + body.len() - 1,
        bytes.len(),
        body.len()
    );
    let body = &body[..body.len().min(limit)];
    if stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body))
        .is_ok()
        && body.len() > 1
    {
        sent.fetch_add(body.len(), Ordering::SeqCst);
    }
}

fn hub_entry(bytes: &[u8]) -> ModelEntry {
    ModelEntry {
        hub: Some(HubFile {
            repo: "some/repo",
            file: "tiny.gguf",
        }),
        ..entry(bytes)
    }
}

#[test]
fn a_broken_connection_resumes_where_it_broke() {
    let (home, bytes) = (tempfile::tempdir().unwrap(), model_bytes(300_000));
    let hub = Hub::start(bytes.clone(), 100_000);
    let store = Store::at(home.path());
    let sources: Vec<Box<dyn Source>> = vec![Box::new(HubSource::at(&hub.url))];
    let path = Puller::new(&store, &sources, &Silent)
        .pull(&hub_entry(&bytes))
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), bytes);
    assert_eq!(
        hub.sent.load(Ordering::SeqCst),
        bytes.len(),
        "no byte was sent twice"
    );
    assert!(!home.path().join("tiny.parts").exists());
}

#[test]
fn other_bytes_on_the_hub_are_refused() {
    let (home, bytes) = (tempfile::tempdir().unwrap(), model_bytes(300_000));
    let hub = Hub::start(bytes.iter().rev().copied().collect(), usize::MAX);
    let store = Store::at(home.path());
    let sources: Vec<Box<dyn Source>> = vec![Box::new(HubSource::at(&hub.url))];
    let error = Puller::new(&store, &sources, &Silent)
        .pull(&hub_entry(&bytes))
        .unwrap_err();
    assert!(error.to_string().contains("SHA-256 is"), "{error}");
}

#[test]
fn a_hub_that_is_not_there_is_noticed_at_once() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let store = Store::at(home.path());
    let sources: Vec<Box<dyn Source>> = vec![Box::new(HubSource::at(format!("http://{unused}")))];
    let error = Puller::new(&store, &sources, &Silent)
        .pull(&hub_entry(b"GGUF"))
        .unwrap_err();
    assert!(
        error.to_string().contains("hub: cannot reach the hub"),
        "{error}"
    );
}
