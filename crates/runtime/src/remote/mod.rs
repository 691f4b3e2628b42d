//! A tier that another server runs: any that speaks the OpenAI API.
//!
//! Requests are passed on as they came, but for the history, in which answers are as they were
//! given. An answer is always streamed from there, so that one that breaks off shows at once.

mod answer;
mod breaker;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentinfer_engine::EngineError;
use agentinfer_protocol::{ChatCompletionRequest, ModelCard, StreamOptions};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::{Semaphore, watch};

pub(crate) use self::answer::RemoteAnswer;
pub use self::breaker::BreakerState;
use self::breaker::{Breaker, Way};
use crate::tier::unix_seconds;
use crate::{RemoteOptions, RuntimeError, Tier};

/// Requests under way to one server; more are refused, as a full queue of an engine does.
const MAX_RUNNING: u32 = 256;

/// Why nothing is asked of a server for a while.
const LEFT_ALONE: &str = "it has failed several times in a row and is left alone for a moment";

/// What a remote tier has done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RemoteStats {
    /// The tier.
    pub tier: Tier,
    /// The name that requests use.
    pub model: String,
    /// Chats that were passed on.
    pub requests: u64,
    /// Times that one was sent again.
    pub retries: u64,
    /// Times that the server could not be reached, could not serve, or broke off an answer.
    pub failures: u64,
    /// Chats under way.
    pub running: u64,
    /// Whether it is left alone at the moment.
    pub breaker: BreakerState,
}

/// A served model that another server runs.
pub(crate) struct RemoteTier {
    pub(crate) tier: Tier,
    pub(crate) name: String,
    /// Unix time of the start, in seconds.
    created: u64,
    client: Client,
    /// Where chats go.
    url: Url,
    options: RemoteOptions,
    breaker: Mutex<Breaker>,
    started: Instant,
    requests: AtomicU64,
    retries: AtomicU64,
    failures: AtomicU64,
    /// One permit for each request under way.
    places: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
}

/// How far a tier's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Nothing more is accepted.
    Draining,
    /// What still runs is given up.
    Stopped,
}

impl RemoteTier {
    /// Does not wait for the server: it may come later.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for an address that is none.
    pub(crate) fn start(
        tier: Tier,
        name: String,
        options: RemoteOptions,
    ) -> Result<Self, RuntimeError> {
        let wrong = |message: String| {
            RuntimeError::Options(format!("the server of the {tier} tier: {message}"))
        };
        let url = wire::chat_url(&options.url).map_err(wrong)?;
        let client = Client::builder()
            .connect_timeout(options.timing.connect)
            // The key is for this server only.
            .redirect(Policy::none())
            .build()
            .map_err(|error| wrong(format!("no HTTP client: {error}")))?;
        Ok(Self {
            tier,
            name,
            created: unix_seconds(),
            client,
            url,
            breaker: Mutex::new(Breaker::new(options.timing.pause.as_secs_f64())),
            options,
            started: Instant::now(),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(MAX_RUNNING as usize)),
            phase: watch::Sender::new(Phase::Serving),
        })
    }

    /// Passes a request on for so many answers. It is sent when the answer is first asked for.
    ///
    /// # Errors
    /// [`RuntimeError::RemoteFailed`] while the server is left alone, and [`RuntimeError::Engine`]
    /// where the tier has stopped or has too much to do.
    pub(crate) fn ask(
        self: &Arc<Self>,
        mut request: ChatCompletionRequest,
        choices: u32,
    ) -> Result<RemoteAnswer, RuntimeError> {
        if *self.phase.borrow() != Phase::Serving {
            return Err(EngineError::Stopped.into());
        }
        let place = self.places.clone().try_acquire_owned();
        let waiting = MAX_RUNNING as usize;
        let place = place.map_err(|_| EngineError::QueueFull { waiting })?;
        let pass = Pass::new(self).ok_or_else(|| self.failed(LEFT_ALONE))?;
        self.requests.fetch_add(1, Relaxed);
        request.model.clone_from(&self.options.model);
        request.stream = Some(true);
        request.stream_options = Some(StreamOptions {
            include_usage: true,
        });
        let items = wire::items(self.clone(), request, pass);
        Ok(RemoteAnswer::new(self.clone(), items, choices, place))
    }

    pub(crate) fn card(&self) -> ModelCard {
        ModelCard {
            id: self.name.clone(),
            object: "model".to_owned(),
            created: self.created,
            owned_by: "remote".to_owned(),
            // Only the server knows.
            max_model_len: 0,
            tier: self.tier.to_string(),
        }
    }

    pub(crate) fn stats(&self) -> RemoteStats {
        RemoteStats {
            tier: self.tier,
            model: self.name.clone(),
            requests: self.requests.load(Relaxed),
            retries: self.retries.load(Relaxed),
            failures: self.failures.load(Relaxed),
            running: u64::from(MAX_RUNNING) - self.places.available_permits() as u64,
            breaker: self.breaker().state(self.now()),
        }
    }

    /// The error that it is, while the server is left alone.
    pub(crate) fn left_alone(&self) -> Option<RuntimeError> {
        let open = self.breaker().state(self.now()) == BreakerState::Open;
        open.then(|| self.failed(LEFT_ALONE))
    }

    /// Accepts nothing more, lets what runs end until `deadline` has passed, then gives it up.
    pub(crate) async fn drain(&self, deadline: Duration) {
        self.phase.send_replace(Phase::Draining);
        let all = self.places.acquire_many(MAX_RUNNING);
        if tokio::time::timeout(deadline, all).await.is_err() {
            tracing::warn!(tier = %self.tier, "requests to a remote server are given up");
        }
        self.phase.send_replace(Phase::Stopped);
    }

    fn failed(&self, message: impl Into<String>) -> RuntimeError {
        RuntimeError::RemoteFailed {
            model: self.name.clone(),
            message: message.into(),
        }
    }

    /// Seconds since the start.
    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RemoteTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteTier")
            .field("tier", &self.tier)
            .field("name", &self.name)
            .finish()
    }
}

/// The breaker's leave for one attempt, which is told what came of it; dropped, that it was given
/// up.
#[derive(Debug)]
struct Pass {
    server: Arc<RemoteTier>,
    /// None once the breaker was told.
    way: Option<Way>,
}

impl Pass {
    fn new(server: &Arc<RemoteTier>) -> Option<Self> {
        let now = server.now();
        let way = server.breaker().allow(now)?;
        Some(Self {
            server: server.clone(),
            way: Some(way),
        })
    }

    fn began(&self) {
        self.server.breaker().began();
    }

    fn succeeded(mut self) {
        self.way = None;
        self.server.breaker().succeeded();
    }

    fn failed(mut self) {
        let server = &self.server;
        server.failures.fetch_add(1, Relaxed);
        if let Some(way) = self.way.take() {
            server.breaker().failed(way, server.now());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(way) = self.way {
            self.server.breaker().given_up(way);
        }
    }
}
