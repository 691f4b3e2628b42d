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
    options::{
        BODY_TIMEOUT, END_SESSION_HEADER, EXPECTED_TOOL_SECONDS_HEADER, MAX_DISCARDED_BYTES,
        SESSION_HEADER,
    },
    state::AppState,
};

/// A JSON body. The content type is not looked at: `curl -d` sends the wrong one.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + TakesHints> FromRequest<AppState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let bytes = read(body, state.options.max_body_bytes).await?;
        let mut value: T = parse(&bytes)?;
        if let Some(fields) = value.hints() {
            fill(fields, &head.headers)?;
        }
        Ok(Self(value))
    }
}

/// What headers can say as well; the body's word goes first.
pub(crate) struct HintFields<'a> {
    session: &'a mut Option<String>,
    expected_tool_seconds: &'a mut Option<f64>,
    end_session: &'a mut Option<bool>,
}

/// A request that may belong to a session.
pub(crate) trait TakesHints {
    /// The fields that headers can fill.
    fn hints(&mut self) -> Option<HintFields<'_>> {
        None
    }
}

impl TakesHints for ChatCompletionRequest {
    fn hints(&mut self) -> Option<HintFields<'_>> {
        Some(HintFields {
            session: &mut self.prompt_cache_key,
            expected_tool_seconds: &mut self.expected_tool_seconds,
            end_session: &mut self.end_session,
        })
    }
}

impl TakesHints for CompletionRequest {
    fn hints(&mut self) -> Option<HintFields<'_>> {
        Some(HintFields {
            session: &mut self.prompt_cache_key,
            expected_tool_seconds: &mut self.expected_tool_seconds,
            end_session: &mut self.end_session,
        })
    }
}

impl TakesHints for agentinfer_protocol::RecallRequest {}
impl TakesHints for agentinfer_protocol::TokenizeRequest {}
impl TakesHints for agentinfer_protocol::DetokenizeRequest {}

/// Fills the fields that the body left out from headers.
fn fill(fields: HintFields<'_>, headers: &HeaderMap) -> Result<(), ApiError> {
    let session = header(headers, SESSION_HEADER, "plain ASCII", |text| {
        Some(text.to_owned())
    })?;
    let seconds = header(
        headers,
        EXPECTED_TOOL_SECONDS_HEADER,
        "a number of seconds, at least 0",
        |text| {
            text.parse()
                .ok()
                .filter(|s: &f64| s.is_finite() && *s >= 0.0)
        },
    )?;
    let end = header(headers, END_SESSION_HEADER, "true or false", |text| {
        text.parse().ok()
    })?;
    *fields.session = fields.session.take().or(session);
    *fields.expected_tool_seconds = fields.expected_tool_seconds.or(seconds);
    *fields.end_session = fields.end_session.or(end);
    Ok(())
}

/// A header's value; `form` says in words what `read` takes.
fn header<T>(
    headers: &HeaderMap,
    name: &'static str,
    form: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let value = value.to_str().ok().and_then(|text| read(text.trim()));
    let wrong = || ApiError::invalid(format!("the header {name} must be {form}")).at(name);
    value.map(Some).ok_or_else(wrong)
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
    fn the_body_goes_before_the_headers() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (SESSION_HEADER, "header"),
            (EXPECTED_TOOL_SECONDS_HEADER, "2.5"),
            (END_SESSION_HEADER, "true"),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let filled = |mut request: ChatCompletionRequest| {
            fill(request.hints().expect("a chat has hints"), &headers).expect("legal");
            let key = request.prompt_cache_key.expect("a key");
            (key, request.expected_tool_seconds, request.end_session)
        };
        let empty = filled(ChatCompletionRequest::default());
        assert_eq!(empty, ("header".to_owned(), Some(2.5), Some(true)));
        let own = filled(ChatCompletionRequest {
            prompt_cache_key: Some("body".to_owned()),
            expected_tool_seconds: Some(0.0),
            end_session: Some(false),
            ..ChatCompletionRequest::default()
        });
        assert_eq!(own, ("body".to_owned(), Some(0.0), Some(false)));
    }
}
