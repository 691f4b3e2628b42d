//! Completions that were asked for before.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentinfer_agent::{AgentError, BoxFuture, Llm};
use agentinfer_protocol::{ChatCompletion, ChatCompletionRequest};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::CollabOptions;
use crate::BenchError;
use crate::recorded::{lines, read};

/// A model that is asked every question once. Answers take their recorded time on the runtime's
/// clock, one after another, as on a device that serves one request at a time.
pub(super) struct Calls {
    llm: Arc<dyn Llm>,
    models: [String; 2],
    known: Mutex<HashMap<String, Recorded>>,
    file: Option<(PathBuf, Mutex<File>)>,
    device: tokio::sync::Mutex<()>,
    asked: AtomicUsize,
}

/// A line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Recorded {
    /// A hash of the model and the request.
    key: String,
    /// How long the model took.
    seconds: f64,
    completion: ChatCompletion,
}

impl Calls {
    pub(super) fn open(llm: Arc<dyn Llm>, options: &CollabOptions) -> Result<Self, BenchError> {
        let mut known = HashMap::new();
        let file = options
            .calls
            .as_deref()
            .map(|path| -> Result<_, BenchError> {
                if path.exists() {
                    let content = read(path)?;
                    for line in lines(path, &content) {
                        let call: Recorded = line.parse()?;
                        known.insert(call.key.clone(), call);
                    }
                }
                Ok((path.to_owned(), Mutex::new(append(path)?)))
            });
        Ok(Self {
            llm,
            models: options.models.clone(),
            file: file.transpose()?,
            known: Mutex::new(known),
            device: tokio::sync::Mutex::new(()),
            asked: AtomicUsize::new(0),
        })
    }

    /// Completions that were not recorded before.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn ask(&self, request: ChatCompletionRequest) -> Result<ChatCompletion, AgentError> {
        let _device = self.device.lock().await;
        let key = self.key(&request);
        let known = self.lock().get(&key).cloned();
        let call = match known {
            Some(call) => call,
            None => {
                let begun = Instant::now();
                let completion = self.llm.chat(request).await?;
                let call = Recorded {
                    key: key.clone(),
                    seconds: begun.elapsed().as_secs_f64(),
                    completion,
                };
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.record(&call);
                self.lock().insert(key, call.clone());
                call
            }
        };
        tokio::time::sleep(Duration::from_secs_f64(call.seconds)).await;
        Ok(call.completion)
    }

    fn key(&self, request: &ChatCompletionRequest) -> String {
        let mut request = request.clone();
        request.prompt_cache_key = None;
        request.model = match request.model.as_str() {
            "small" => self.models[0].clone(),
            _ => self.models[1].clone(),
        };
        let text = serde_json::to_vec(&request).unwrap_or_default();
        format!("{:032x}", xxh3_128(&text))
    }

    /// What cannot be recorded is asked for again next time; it is no reason to stop.
    fn record(&self, call: &Recorded) {
        let Some((path, file)) = &self.file else {
            return;
        };
        let mut line = serde_json::to_vec(call).unwrap_or_default();
        line.push(b'\n');
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&line) {
            tracing::warn!(path = %path.display(), %error, "a completion is not recorded");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Recorded>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Llm for Calls {
    fn model(&self) -> &str {
        "large"
    }

    fn chat(
        &self,
        request: ChatCompletionRequest,
    ) -> BoxFuture<'_, Result<ChatCompletion, AgentError>> {
        Box::pin(self.ask(request))
    }
}

fn append(path: &Path) -> Result<File, BenchError> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map_err(|source| BenchError::Write {
        path: path.to_owned(),
        source,
    })
}
