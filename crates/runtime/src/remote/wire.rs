//! The way to a server and back: requests, attempts, server-sent events.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use agentinfer_protocol::{ChatCompletionChunk, ChatCompletionRequest};
use eventsource_stream::Eventsource;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{Pass, Phase, RemoteTier};
use crate::RuntimeError;

/// Times that a request is sent again before any of its answer has come. Each wait before is
/// `GROWTH` times as long as the one before.
const RETRIES: u32 = 2;
const GROWTH: u32 = 4;

/// The longest wait that a server may ask for by `Retry-After`: one that needs longer is not asked
/// again, as another tier is better.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Bytes of one answer as it is streamed. A chunk of one token takes some 300, so this is an answer
/// of 200,000 tokens.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Bytes that are read of an error's body: enough for any message.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Characters of a server's own words that are passed on.
const MAX_MESSAGE: usize = 500;

/// What ends a stream.
const DONE: &str = "[DONE]";

/// What comes back.
#[derive(Debug)]
pub(super) enum Item {
    /// The server has accepted the request.
    Accepted(Pass),
    Chunk(Box<ChatCompletionChunk>),
    /// The server says that this was all.
    Done,
}

pub(super) type Items = BoxStream<'static, Result<Item, RuntimeError>>;

/// An error's body, whoever wrote it.
#[derive(Deserialize)]
struct Failure {
    error: Value,
}

/// What a `data:` line may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Failure(Failure),
    Chunk(Box<ChatCompletionChunk>),
}

/// Why an attempt failed.
enum Failed {
    /// The server may serve the next one, after so long a wait if it says.
    Passing(String, Option<Duration>),
    /// It will not serve the next one either.
    Lasting(String),
    /// The request is at fault.
    Refused(RuntimeError),
}

/// Where chats go, given the address up to and including `/v1` (added where it is missing).
///
/// # Errors
/// Says what is wrong with an address.
pub(super) fn chat_url(base: &str) -> Result<Url, String> {
    let mut url = Url::parse(base).map_err(|error| format!("{base:?} is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{base:?} is no http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL names a user or a password; give a key instead".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let version = if path.ends_with("/v1") { "" } else { "/v1" };
    url.set_path(&format!("{path}{version}/chat/completions"));
    Ok(url)
}

/// Sends a request when first polled; what comes back, until the tier stops.
pub(super) fn items(server: Arc<RemoteTier>, request: ChatCompletionRequest, pass: Pass) -> Items {
    let mut phase = server.phase.subscribe();
    let stopped = async move { drop(phase.wait_for(|phase| *phase == Phase::Stopped).await) };
    let opened = open(server.clone(), request, pass);
    let items = stream::once(opened).map_ok(move |(response, pass)| {
        let accepted = stream::once(async { Ok(Item::Accepted(pass)) });
        accepted.chain(events(server.clone(), response))
    });
    items.try_flatten().take_until(Box::pin(stopped)).boxed()
}

/// Sends a request, again if need be, until the server accepts it.
async fn open(
    server: Arc<RemoteTier>,
    request: ChatCompletionRequest,
    mut pass: Pass,
) -> Result<(Response, Pass), RuntimeError> {
    let mut wait = server.options.timing.retry;
    let mut retries = 0;
    loop {
        let message = match send(&server, &request).await {
            Ok(response) => return Ok((response, pass)),
            Err(Failed::Refused(error)) => {
                pass.succeeded();
                return Err(error);
            }
            Err(Failed::Lasting(message)) => {
                pass.failed();
                return Err(server.failed(message));
            }
            Err(Failed::Passing(message, asked)) => {
                pass.failed();
                let wait = asked.unwrap_or_default().max(wait);
                if retries == RETRIES || wait > LONGEST_WAIT {
                    return Err(server.failed(message));
                }
                tracing::debug!(tier = %server.tier, message, "sent again");
                sleep(wait).await;
                message
            }
        };
        (retries, wait) = (retries + 1, wait * GROWTH);
        // Meanwhile it may have been found to fail.
        pass = Pass::new(&server).ok_or_else(|| server.failed(message))?;
        server.retries.fetch_add(1, Relaxed);
    }
}

async fn send(server: &RemoteTier, request: &ChatCompletionRequest) -> Result<Response, Failed> {
    let mut call = server.client.post(server.url.clone()).json(request);
    if let Some(key) = &server.options.api_key {
        call = call.bearer_auth(key);
    }
    let silence = server.options.timing.silence;
    let Ok(sent) = timeout(silence, call.send()).await else {
        // It may be at work on it, and would be on the next one.
        return Err(Failed::Lasting(silent_for(silence)));
    };
    let response = sent.map_err(|error| {
        // Clients need not know the address.
        Failed::Passing(in_words(&error.without_url()), None)
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // A date would have to be compared with a clock that may differ from the server's.
    let wait = response.headers().get(RETRY_AFTER);
    let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = timeout(silence, beginning(response)).await;
    let detail = Detail::read(&body.unwrap_or_default());
    let message = format!("{status}: {}", detail.message);
    Err(match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Failed::Refused(RuntimeError::RemoteRefused {
            model: server.name.clone(),
            message: detail.message,
            param: detail.param,
            code: detail.code,
        }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Failed::Passing(message, wait.map(Duration::from_secs))
        }
        _ if status.is_server_error() => Failed::Passing(message, wait.map(Duration::from_secs)),
        // A wrong key or model: it says so to everybody.
        _ => Failed::Lasting(message),
    })
}

/// The beginning of a body, as text.
async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_ERROR_BYTES {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(MAX_ERROR_BYTES);
    String::from_utf8_lossy(&body).into_owned()
}

/// The events of an answer, up to the last, which is an error or says that this was all.
fn events(
    server: Arc<RemoteTier>,
    response: Response,
) -> impl stream::Stream<Item = Result<Item, RuntimeError>> + Send {
    let pieces = response.bytes_stream().map_err(reqwest::Error::without_url);
    let pieces = pieces.scan(0, |total, piece| {
        *total += piece.as_ref().map_or(0, |piece| piece.len());
        let within = *total <= MAX_ANSWER_BYTES;
        std::future::ready(within.then_some(piece))
    });
    let events = Box::pin(pieces.eventsource());
    let silence = server.options.timing.silence;
    let items = stream::unfold(Some(events), move |events| async move {
        let mut events = events?;
        let item = match timeout(silence, events.next()).await {
            Err(_) => Err(silent_for(silence)),
            Ok(None) => Err("it broke off its answer".to_owned()),
            Ok(Some(Ok(event))) if event.data == DONE => Ok(Item::Done),
            Ok(Some(Ok(event))) => read(&event.data),
            Ok(Some(Err(error))) => Err(in_words(&error)),
        };
        let more = matches!(item, Ok(Item::Chunk(_)));
        Some((item, more.then_some(events)))
    });
    items.map_err(move |message| server.failed(message))
}

fn read(data: &str) -> Result<Item, String> {
    match serde_json::from_str(data) {
        Ok(Data::Chunk(chunk)) => Ok(Item::Chunk(chunk)),
        Ok(Data::Failure(failure)) => Err(Detail::of(&failure.error).message),
        Err(_) => Err(format!(
            "it sent what is no chunk of a chat: {}",
            short(data)
        )),
    }
}

/// What an error's body says, whoever wrote it.
struct Detail {
    message: String,
    param: Option<String>,
    code: Option<String>,
}

impl Detail {
    fn read(body: &str) -> Self {
        match serde_json::from_str(body) {
            Ok(Failure { error }) => Self::of(&error),
            Err(_) => Self {
                message: short(body),
                param: None,
                code: None,
            },
        }
    }

    fn of(error: &Value) -> Self {
        let text = |name: &str| error[name].as_str().map(str::to_owned);
        let whole = || {
            error
                .as_str()
                .map_or_else(|| error.to_string(), str::to_owned)
        };
        Self {
            message: short(&text("message").unwrap_or_else(whole)),
            param: text("param"),
            code: text("code"),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

fn silent_for(silence: Duration) -> String {
    format!("it said nothing for {} s", silence.as_secs_f64())
}

/// An error with its causes.
fn in_words(error: &dyn Error) -> String {
    let (mut words, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}
