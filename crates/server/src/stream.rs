//! Server-sent events: one `data:` line per chunk, `[DONE]` last.

use std::{convert::Infallible, time::Instant};

use agentinfer_protocol::{ChatCompletionChunk, Completion};
use agentinfer_runtime::RuntimeError;
use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;

use crate::{ApiError, state::AppState};

/// One chunk of a streamed answer.
pub(crate) trait Chunk: Serialize + Send + 'static {
    /// The route that answers with such chunks.
    const ROUTE: &'static str;

    /// Whether it carries anything the model generated (the first chunk is only an opening).
    fn is_generated(&self) -> bool;
}

impl Chunk for ChatCompletionChunk {
    const ROUTE: &'static str = "/v1/chat/completions";

    fn is_generated(&self) -> bool {
        let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        self.choices
            .iter()
            .map(|choice| &choice.delta)
            .any(|delta| {
                filled(&delta.content)
                    || filled(&delta.reasoning_content)
                    || delta.tool_calls.is_some()
            })
    }
}

impl Chunk for Completion {
    const ROUTE: &'static str = "/v1/completions";

    fn is_generated(&self) -> bool {
        self.choices.iter().any(|choice| !choice.text.is_empty())
    }
}

/// Answers with `chunks` as they come. An error ends the stream with an `error` event, because
/// the status has been sent. Nothing is read ahead: while the client does not read, neither is
/// `chunks`, and the engine takes note.
pub(crate) fn events<C: Chunk>(
    state: &AppState,
    started: Instant,
    chunks: impl Stream<Item = Result<C, RuntimeError>> + Send + 'static,
) -> Response {
    let metrics = state.metrics.clone();
    let mut started = Some(started);
    let chunks = chunks.map(move |chunk| match chunk {
        Ok(chunk) => {
            if let Some(started) = started.take_if(|_| chunk.is_generated()) {
                metrics.first_token(C::ROUTE, started.elapsed());
            }
            Ok(json(&chunk))
        }
        Err(error) => {
            tracing::warn!(%error, "the stream failed");
            let error = ApiError::from(error);
            metrics.rejected(error.reason());
            Err(json(&error.body()))
        }
    });
    let events = stream::unfold(Some(Box::pin(chunks)), |chunks| async {
        let mut chunks = chunks?;
        match chunks.next().await {
            Some(Ok(chunk)) => Some((chunk, Some(chunks))),
            Some(Err(error)) => Some((error, None)),
            None => Some((Event::default().data("[DONE]"), None)),
        }
    });
    let keep_alive = KeepAlive::new().interval(state.options.keep_alive_interval);
    Sse::new(events.map(Ok::<_, Infallible>))
        .keep_alive(keep_alive)
        .into_response()
}

fn json(value: &impl Serialize) -> Event {
    Event::default()
        .json_data(value)
        .expect("wire types serialize: their keys are strings")
}
