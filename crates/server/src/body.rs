//! Request bodies: bounded, timed, and refused with the place of the mistake.

use agentinfer_protocol::{ChatCompletionRequest, CompletionRequest};
use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::HeaderMap,
};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{
    ApiError,
    options::{BODY_TIMEOUT, MAX_DISCARDED_BYTES, SESSION_HEADER},
    state::AppState,
};

/// A JSON body. The content type is not looked at: `curl -d` sends the wrong one.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + TakesSession> FromRequest<AppState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let bytes = read(body, state.options.max_body_bytes).await?;
        let mut value: T = parse(&bytes)?;
        if let Some(session) = session(&head.headers)? {
            value.take_session(session);
        }
        Ok(Self(value))
    }
}

/// A request that may belong to a session.
pub(crate) trait TakesSession {
    /// Sets the session named by the header, unless the body names one.
    fn take_session(&mut self, _session: &str) {}
}

impl TakesSession for ChatCompletionRequest {
    fn take_session(&mut self, session: &str) {
        self.prompt_cache_key
            .get_or_insert_with(|| session.to_owned());
    }
}

impl TakesSession for CompletionRequest {
    fn take_session(&mut self, session: &str) {
        self.prompt_cache_key
            .get_or_insert_with(|| session.to_owned());
    }
}

impl TakesSession for agentinfer_protocol::TokenizeRequest {}
impl TakesSession for agentinfer_protocol::DetokenizeRequest {}

fn session(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(SESSION_HEADER) else {
        return Ok(None);
    };
    value
        .to_str()
        .map(Some)
        .map_err(|_| ApiError::invalid(format!("the header {SESSION_HEADER} must be plain ASCII")))
}

/// Reads a body of at most `limit` bytes, in bounded time.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let slow = |_| ApiError::body_too_slow(BODY_TIMEOUT);
    timeout(BODY_TIMEOUT, read_all(body, limit))
        .await
        .map_err(slow)?
}

async fn read_all(mut body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let broken = |error| ApiError::invalid(format!("the body broke off: {error}"));
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        length += data.len();
        if length <= limit {
            bytes.extend_from_slice(&data);
        } else if length > limit + MAX_DISCARDED_BYTES {
            break;
        }
    }
    if length > limit {
        Err(ApiError::body_too_large(limit))
    } else {
        Ok(bytes)
    }
}

/// Parses a body; a mistake is named by field, line and column.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let start = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if start != Some(&b'{') {
        return Err(ApiError::invalid(
            "the body must be a JSON object, like {\"messages\": [...]}",
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match path.as_str() {
            _ if !error.is_data() => {
                ApiError::invalid(format!("the body is not valid JSON: {error}"))
            }
            // The object as a whole.
            "." => ApiError::invalid(error.to_string()),
            field => ApiError::invalid(format!("{field}: {error}")).at(field),
        }
    })?;
    json.end().map_err(|error| {
        ApiError::invalid(format!("something follows the JSON object: {error}"))
    })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_by_place() {
        let cases = [
            ("", "must be a JSON object", None),
            ("[]", "must be a JSON object", None),
            (
                "{\"messages\": [",
                "EOF while parsing a list at line 1 column 14",
                None,
            ),
            (
                "{\"n\": 1,\n \"m\" 2}",
                "expected `:` at line 2 column 6",
                None,
            ),
            (
                "{\"n\": 1, \"n\": 2}",
                "duplicate field `n` at line 1 column 12",
                None,
            ),
            ("{} {}", "something follows the JSON object", None),
            (
                "{\"temperature\": \"hot\"}",
                "temperature: invalid type: string",
                Some("temperature"),
            ),
            (
                "{\"messages\": [{\"role\": \"robot\"}]}",
                "messages[0].role: unknown variant `robot`",
                Some("messages[0].role"),
            ),
        ];
        for (body, message, param) in cases {
            let parsed = parse::<ChatCompletionRequest>(body.as_bytes());
            let error = parsed.expect_err(body).body().error;
            assert!(error.message.contains(message), "{body}: {}", error.message);
            assert_eq!(error.param.as_deref(), param, "{body}");
        }
    }

    #[test]
    fn the_body_names_the_session_before_the_header_does() {
        let mut request = ChatCompletionRequest::default();
        request.take_session("header");
        assert_eq!(request.prompt_cache_key.as_deref(), Some("header"));
        request.take_session("other");
        assert_eq!(request.prompt_cache_key.as_deref(), Some("header"));
    }
}
