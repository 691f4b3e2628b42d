//! `/ui`: a live view of the server for people, and the JSON that it is made of.
//!
//! The page is in the binary. It asks for an [`Overview`] about once a second while somebody looks
//! at it; nothing is computed else. These routes are no requests of the API: they appear neither in
//! its metrics nor in its log, need no place among the requests in work, and are answered while the
//! server drains. Each API key sees its own sessions; the page itself needs no key and holds no
//! data.

use agentinfer_protocol::RecallResponse;
use agentinfer_protocol::ui::{Overview, SessionConversation, SessionDetail};
use agentinfer_runtime::{Runtime, RuntimeError};
use axum::{
    Extension, Json, Router,
    extract::{Path, Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{ApiError, api_error::Failure, auth, auth::Tenant, routes, state::AppState};

/// Routes of the page's data that may be in work at once; more wait for each other. A conversation
/// is read from disk on a thread, and people who look must not take all threads.
pub(crate) const MOST_IN_WORK: usize = 8;

/// What the page may do: run and load what this server sends, ask this server, and nothing else. No
/// text of a client can become a script, a style or a request to somewhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page: name, content type and content.
const FILES: [(&str, &str, &str); 8] = [
    ("", HTML, include_str!("index.html")),
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("app.js", SCRIPT, include_str!("app.js")),
    ("dom.js", SCRIPT, include_str!("dom.js")),
    ("charts.js", SCRIPT, include_str!("charts.js")),
    ("overview.js", SCRIPT, include_str!("overview.js")),
    ("session.js", SCRIPT, include_str!("session.js")),
];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The routes under `/ui`.
pub(crate) fn router(state: AppState) -> Router<AppState> {
    let data = Router::new()
        .route("/ui/api/overview", get(overview))
        .route("/ui/api/sessions/{id}", get(session))
        .route("/ui/api/sessions/{id}/conversation", get(conversation))
        .route("/ui/api/originals/{handle}", get(original))
        .layer(middleware::from_fn_with_state(state, admit));
    Router::new()
        .route("/ui", get(page))
        .route("/ui/", get(page))
        .route("/ui/{file}", get(file))
        .merge(data)
        .method_not_allowed_fallback(routes::wrong_method)
        .layer(middleware::map_response(guard))
}

/// Checks the key, which tells the tenant, or where there is none the host, and waits for a place.
async fn admit(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let keys = &state.options.api_keys;
    auth::check_host(request.headers(), keys)?;
    let tenant = auth::authorize(request.headers(), keys)?;
    request.extensions_mut().insert(tenant);
    let place = state.ui_places.acquire().await;
    let _place = place.expect("the semaphore of the page's data is never closed");
    Ok(next.run(request).await)
}

/// Puts the headers on that keep a browser from doing more with an answer than the page means.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // What it shows is of this moment, and of who asked.
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page() -> Result<Response, ApiError> {
    found("")
}

async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    found(&name)
}

fn found(name: &str) -> Result<Response, ApiError> {
    let file = FILES.iter().find(|(known, ..)| *known == name);
    let (_, kind, content) = file.ok_or_else(|| {
        let message = format!("the page at /ui has no file `{name}`");
        ApiError::new(Failure::RouteNotFound, message)
    })?;
    Ok(([(header::CONTENT_TYPE, *kind)], *content).into_response())
}

async fn overview(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
) -> Json<Overview> {
    Json(state.runtime.for_tenant(tenant.0).overview().await)
}

async fn session(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Result<Json<SessionDetail>, ApiError> {
    let runtime = state.runtime.for_tenant(tenant.0);
    let found = number(&id).and_then(|id| runtime.session(id));
    found.map(Json).ok_or_else(|| unknown(&id))
}

async fn conversation(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Result<Json<SessionConversation>, ApiError> {
    let session = number(&id).ok_or_else(|| unknown(&id))?;
    let read = move |runtime: &Runtime| runtime.session_conversation(session);
    let found = reading(&state, tenant, read).await?;
    found.map(Json).ok_or_else(|| unknown(&id))
}

async fn original(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Path(handle): Path<String>,
) -> Result<Json<RecallResponse>, ApiError> {
    let read = move |runtime: &Runtime| runtime.original_text(&handle);
    Ok(Json(reading(&state, tenant, read).await?))
}

/// Reads what may lie on disk where it does not hold up the streams of others.
async fn reading<T: Send + 'static>(
    state: &AppState,
    tenant: Tenant,
    read: impl FnOnce(&Runtime) -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, ApiError> {
    let runtime = state.runtime.for_tenant(tenant.0);
    routes::blocking(move || read(&runtime)).await
}

/// A session's number.
fn number(id: &str) -> Option<u64> {
    id.parse().ok()
}

/// The same for a session that never was and for one of another tenant.
fn unknown(id: &str) -> ApiError {
    let message = format!(
        "there is no session {id:?} of this API key; it may have been forgotten, or it is of an \
         earlier start of the server"
    );
    ApiError::new(Failure::SessionNotFound, message)
}
