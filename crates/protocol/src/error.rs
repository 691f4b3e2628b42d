//! The OpenAI error body.

use serde::{Deserialize, Serialize};

/// What every failed request is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// What happened and what to do about it.
    pub message: String,
    /// The class: `invalid_request_error`, `authentication_error`, `rate_limit_error`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The request field at fault, if one is.
    pub param: Option<String>,
    /// A stable word for programs: `context_length_exceeded`, `model_not_found`, ...
    pub code: Option<String>,
}
