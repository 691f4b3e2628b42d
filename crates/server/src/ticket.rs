//! What every request passes: identity, key, admission, and the account of how it ended.

use std::{
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span, field};

use crate::{
    ApiError,
    api_error::Reason,
    auth::{self, Tenant},
    options::{MAX_REQUEST_ID, REQUEST_ID_HEADER},
    state::AppState,
};

/// Routes that need no key: load balancers ask them.
const OPEN_ROUTES: [&str; 2] = ["/health", "/ready"];

/// The middleware around all routes.
pub(crate) async fn pass(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut ticket = Ticket::new(&state, &request);
    let response = match admit(&state, &request) {
        Ok((tenant, permit)) => {
            ticket.permit = permit;
            request.extensions_mut().insert(tenant);
            next.run(request).instrument(ticket.span.clone()).await
        }
        Err(error) => error.into_response(),
    };
    ticket.attach(response)
}

/// Checks the key, which tells the tenant; requests that make work (all POSTs) also need a place
/// among those in work.
fn admit(
    state: &AppState,
    request: &Request,
) -> Result<(Tenant, Option<OwnedSemaphorePermit>), ApiError> {
    let tenant = match OPEN_ROUTES.contains(&request.uri().path()) {
        true => Tenant(0),
        false => auth::authorize(request.headers(), &state.options.api_keys)?,
    };
    let permit = (request.method() == Method::POST).then(|| state.permit());
    Ok((tenant, permit.transpose()?))
}

/// A request's account, kept until its response has been handed over to the last byte, or until
/// the client left: then the ticket is dropped early, with the handler or with the body.
struct Ticket {
    state: AppState,
    route: String,
    id: HeaderValue,
    span: Span,
    started: Instant,
    permit: Option<OwnedSemaphorePermit>,
    /// Set once the handler has answered.
    status: Option<StatusCode>,
    /// Whether the response was delivered to its end.
    delivered: bool,
}

impl Ticket {
    fn new(state: &AppState, request: &Request) -> Self {
        // Unknown paths share one label, or anybody could fill the metrics with names.
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or("unmatched", MatchedPath::as_str).to_owned();
        let id = request_id(request.headers());
        let span = tracing::info_span!(
            "request",
            id = id.to_str().unwrap_or_default(),
            method = %request.method(),
            route,
            status = field::Empty,
        );
        state.metrics.request_started();
        Self {
            state: state.clone(),
            route,
            id,
            span,
            started: Instant::now(),
            permit: None,
            status: None,
            delivered: false,
        }
    }

    /// Puts the request's id on the response and stays with its body.
    fn attach(mut self, response: Response) -> Response {
        let (mut head, body) = response.into_parts();
        self.status = Some(head.status);
        self.span.record("status", head.status.as_u16());
        if let Some(Reason(reason)) = head.extensions.get() {
            self.state.metrics.rejected(reason);
        }
        head.headers
            .insert(HeaderName::from_static(REQUEST_ID_HEADER), self.id.clone());
        Response::from_parts(head, Body::new(TicketBody { body, ticket: self }))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let status = self.status.filter(|_| self.delivered);
        self.state
            .metrics
            .request_ended(&self.route, status, elapsed);
        let seconds = elapsed.as_secs_f64();
        match status {
            Some(_) => tracing::info!(parent: &self.span, seconds, "answered"),
            None => tracing::info!(parent: &self.span, seconds, "the client left"),
        }
    }
}

/// A response body that carries the ticket.
struct TicketBody {
    body: Body,
    ticket: Ticket,
}

impl http_body::Body for TicketBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            self.ticket.delivered = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TicketBody {
    fn drop(&mut self) {
        // A body of known length is not polled again after its last frame.
        self.ticket.delivered |= http_body::Body::is_end_stream(&self.body);
    }
}

/// The client's id for the request if it is fit for a log, or one that is unique to this process.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fit = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    headers
        .get(REQUEST_ID_HEADER)
        .filter(fit)
        .cloned()
        .unwrap_or_else(|| {
            static PROCESS: OnceLock<u64> = OnceLock::new();
            static REQUESTS: AtomicU64 = AtomicU64::new(1);
            let since_epoch = || {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or(Duration::ZERO)
            };
            let process = PROCESS.get_or_init(|| since_epoch().as_micros() as u64);
            let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
            HeaderValue::try_from(format!("req-{process:x}-{number}"))
                .expect("hexadecimal digits and dashes are a valid header value")
        })
}
