//! The Hugging Face hub, through its own client library.

use std::env;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{ApiBuilder, ApiError};

use super::Source;
use crate::{ModelEntry, ModelsError};

/// Files of the Hugging Face hub. `HF_ENDPOINT` and the token under `HF_HOME` are honoured.
#[derive(Clone, Debug, Default)]
pub struct HubSource {
    endpoint: Option<String>,
}

/// A machine without the hub should notice soon and go on to the next source; a slow line still
/// gets its connection within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

impl HubSource {
    /// A hub at another base URL.
    pub fn at(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: Some(endpoint.into()),
        }
    }
}

impl Source for HubSource {
    fn name(&self) -> &str {
        "hub"
    }

    fn parts(&self, entry: &ModelEntry) -> usize {
        usize::from(entry.hub.is_some())
    }

    fn fetch(
        &self,
        entry: &ModelEntry,
        _index: usize,
        work: &Path,
        on_bytes: &dyn Fn(u64),
    ) -> Result<PathBuf, ModelsError> {
        let Some(hub) = entry.hub else {
            let reason = format!("the hub does not carry `{}`", entry.name);
            return Err(ModelsError::Source { reason });
        };
        let mut builder = ApiBuilder::from_env()
            .with_cache_dir(work.join("cache"))
            .with_progress(false)
            // A dropped connection resumes where it was; more than a few in a row mean it is gone.
            .with_retries(3);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let repo = builder
            .build()
            .map_err(|e| failed(e, work))?
            .model(hub.repo.to_owned());
        reach(&repo.url(hub.file))?;
        let pointer = repo
            .download_with_progress(hub.file, Counter { bytes: 0, on_bytes })
            .map_err(|e| failed(e, work))?;
        // The client's cache links names to blobs; the blob is the file to move away.
        pointer
            .canonicalize()
            .map_err(ModelsError::io("read", &pointer))
    }
}

fn failed(error: ApiError, work: &Path) -> ModelsError {
    match error {
        ApiError::IoError(error) if error.kind() == io::ErrorKind::StorageFull => {
            ModelsError::io("write to", work)(error)
        }
        ApiError::TooManyRetries(inner) => failed(*inner, work),
        ApiError::InvalidResume => {
            // Only a clean start can help; failing to clean shows when that start is made.
            let _ = std::fs::remove_dir_all(work.join("cache"));
            let reason = "what an earlier pull left is not a beginning of the file; \
                          it was thrown away, pull again";
            ModelsError::Source {
                reason: reason.to_owned(),
            }
        }
        other => ModelsError::Source {
            reason: other.to_string(),
        },
    }
}

/// Fails soon when the hub cannot be reached: its client would wait half a minute or more.
fn reach(url: &str) -> Result<(), ModelsError> {
    let by_proxy = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"]
        .iter()
        .any(|name| {
            env::var_os(name)
                .or(env::var_os(name.to_lowercase()))
                .is_some()
        });
    if by_proxy {
        return Ok(());
    }
    let unreachable = |why: String| ModelsError::Source {
        reason: format!("cannot reach the hub: {why}"),
    };
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or(rest);
    let target = match authority.rsplit_once(':') {
        Some(_) => authority.to_owned(),
        None if scheme == "http" => format!("{authority}:80"),
        None => format!("{authority}:443"),
    };
    let addresses = target
        .to_socket_addrs()
        .map_err(|e| unreachable(format!("{target}: {e}")))?;
    let mut last = format!("{target} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{target}: {error}"),
        }
    }
    Err(unreachable(last))
}

/// Adds up what the client reports in pieces.
struct Counter<'a> {
    bytes: u64,
    on_bytes: &'a dyn Fn(u64),
}

impl hf_hub::api::Progress for Counter<'_> {
    fn init(&mut self, _size: usize, _filename: &str) {
        // Called again on every retry, which reports from the file's beginning.
        self.bytes = 0;
    }

    fn update(&mut self, size: usize) {
        self.bytes += size as u64;
        (self.on_bytes)(self.bytes);
    }

    fn finish(&mut self) {}
}
