//! Failures as clients see them, and the one table that maps inner errors to them.

use std::time::Duration;

use agentinfer_protocol::{ErrorBody, ErrorDetail};
use agentinfer_runtime::{EngineError, RuntimeError};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::options::RETRY_AFTER_SECONDS;

/// A failed request: status, and the body in OpenAI's shape.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: ErrorDetail,
}

/// What went wrong, as programs see it: the rows of the table of statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Invalid,
    ContextOverflow,
    ModelNotFound,
    HandleNotFound,
    SessionNotFound,
    RouteNotFound,
    MethodNotAllowed,
    Unauthorized,
    HostNotAllowed,
    BodyTooLarge,
    BodyTooSlow,
    Busy,
    Draining,
    TiersFailed,
    RemoteFailed,
    Internal,
}

impl Failure {
    /// Status, type and code of each failure.
    fn row(self) -> (StatusCode, &'static str, Option<&'static str>) {
        use StatusCode as S;
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::Invalid => (S::BAD_REQUEST, INVALID, None),
            Self::ContextOverflow => (S::BAD_REQUEST, INVALID, Some("context_length_exceeded")),
            Self::ModelNotFound => (S::NOT_FOUND, INVALID, Some("model_not_found")),
            Self::HandleNotFound => (S::NOT_FOUND, INVALID, Some("handle_not_found")),
            Self::SessionNotFound => (S::NOT_FOUND, INVALID, Some("session_not_found")),
            Self::RouteNotFound => (S::NOT_FOUND, INVALID, Some("route_not_found")),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, INVALID, Some("method_not_allowed")),
            Self::Unauthorized => (
                S::UNAUTHORIZED,
                "authentication_error",
                Some("invalid_api_key"),
            ),
            Self::HostNotAllowed => (S::FORBIDDEN, INVALID, Some("host_not_allowed")),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, INVALID, Some("body_too_large")),
            Self::BodyTooSlow => (S::REQUEST_TIMEOUT, INVALID, Some("body_too_slow")),
            Self::Busy => (
                S::TOO_MANY_REQUESTS,
                "rate_limit_error",
                Some("rate_limit_exceeded"),
            ),
            Self::Draining => (
                S::SERVICE_UNAVAILABLE,
                "server_error",
                Some("shutting_down"),
            ),
            Self::TiersFailed => (S::SERVICE_UNAVAILABLE, "server_error", Some("tiers_failed")),
            Self::RemoteFailed => (S::BAD_GATEWAY, "server_error", Some("remote_failed")),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "server_error", None),
        }
    }
}

/// Which failure an error of the runtime, or of an engine below it, is.
fn failure(error: &RuntimeError) -> Failure {
    use EngineError as E;
    use RuntimeError as R;
    match error {
        R::UnknownModel { .. } => Failure::ModelNotFound,
        R::UnknownHandle { .. } => Failure::HandleNotFound,
        R::InvalidRequest { .. } | R::Conversation(_) => Failure::Invalid,
        R::Engine(E::InvalidRequest { .. } | E::Constraint(_)) => Failure::Invalid,
        R::Engine(E::ContextOverflow { .. }) => Failure::ContextOverflow,
        R::Engine(E::QueueFull { .. }) => Failure::Busy,
        R::Engine(E::Stopped) => Failure::Draining,
        R::BothTiersFailed { .. } => Failure::TiersFailed,
        R::RemoteFailed { .. } => Failure::RemoteFailed,
        R::RemoteRefused { .. } => Failure::Invalid,
        // What remains (a model that failed) is no fault of the request.
        _ => Failure::Internal,
    }
}

impl From<RuntimeError> for ApiError {
    fn from(error: RuntimeError) -> Self {
        let mut reply = Self::new(failure(&error), error.to_string());
        reply.detail.param = error.param().map(str::to_owned);
        if let Some(code) = error.code() {
            reply.detail.code = Some(code.to_owned());
        }
        reply
    }
}

impl ApiError {
    pub(crate) fn new(failure: Failure, message: impl Into<String>) -> Self {
        let (status, kind, code) = failure.row();
        let detail = ErrorDetail {
            message: message.into(),
            kind: kind.to_owned(),
            param: None,
            code: code.map(str::to_owned),
        };
        Self { status, detail }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Failure::Invalid, message)
    }

    /// Names the field at fault.
    pub(crate) fn at(mut self, param: impl Into<String>) -> Self {
        self.detail.param = Some(param.into());
        self
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!(
            "the body is larger than the {limit} bytes that this server accepts; send less, or \
             raise its `max_body_bytes`"
        );
        Self::new(Failure::BodyTooLarge, message)
    }

    pub(crate) fn body_too_slow(limit: Duration) -> Self {
        let message = format!("the body did not arrive within {} s", limit.as_secs());
        Self::new(Failure::BodyTooSlow, message)
    }

    pub(crate) fn too_many_requests(limit: usize) -> Self {
        let message = format!("{limit} requests are in work, the most at once; try again later");
        Self::new(Failure::Busy, message)
    }

    pub(crate) fn draining() -> Self {
        Self::new(
            Failure::Draining,
            "the server is shutting down; try again later or elsewhere",
        )
    }

    /// A word for metrics: the code, or the type where there is none.
    pub(crate) fn reason(&self) -> &str {
        self.detail.code.as_deref().unwrap_or(&self.detail.kind)
    }

    /// The body to send.
    pub(crate) fn body(self) -> ErrorBody {
        ErrorBody { error: self.detail }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, reason) = (self.status, Reason(self.reason().to_owned()));
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = self.detail.message, "a request failed");
        }
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(reason);
        response
    }
}

/// Left in a response's extensions for the metrics: why the request was rejected.
#[derive(Clone, Debug)]
pub(crate) struct Reason(pub(crate) String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tiers_that_fail_are_not_a_shutdown() {
        let error = ApiError::from(RuntimeError::BothTiersFailed {
            chosen: Box::new(EngineError::Stopped.into()),
            other: Box::new(EngineError::Model("out of memory".to_owned()).into()),
        });
        let response = error.clone().into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        let detail = error.body().error;
        assert_eq!(detail.code.as_deref(), Some("tiers_failed"));
        assert!(
            detail.message.contains("out of memory"),
            "{}",
            detail.message
        );
    }
}
