//! What a server is told, and the bounds that it keeps by itself.

use std::time::Duration;

/// The request header that names a session; used when the body has no `prompt_cache_key`.
pub const SESSION_HEADER: &str = "x-session-id";

/// The header that says in how many seconds the session's next request will come, while its tools
/// run; used when the body has no `expected_tool_seconds`.
pub const EXPECTED_TOOL_SECONDS_HEADER: &str = "x-agentinfer-expected-tool-seconds";

/// The header that says, with `true`, that this is the session's last request; used when the body
/// has no `end_session`.
pub const END_SESSION_HEADER: &str = "x-agentinfer-end-session";

/// The header that names a request: echoed when the client sends one, else generated.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// The response header that names the tier that answers, where the request left that open. On a
/// stream it is the tier that was chosen: should that one fail before it says anything, the chunks'
/// `model` names the one that answers instead.
pub const TIER_HEADER: &str = "x-agentinfer-tier";

/// The response header that says in a word why that tier was chosen.
pub const REASON_HEADER: &str = "x-agentinfer-reason";

/// The response header that says how many results of tools are served distilled, where the
/// conversation may be compressed.
pub const DISTILLED_HEADER: &str = "x-agentinfer-distilled";

/// How to serve. The default listens on `127.0.0.1:8080` and asks for no key.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Name or address to listen on; `0.0.0.0` or `::` for all.
    pub host: String,
    /// TCP port; 0 lets the system choose one.
    pub port: u16,
    /// Accepted bearer tokens; none means that no key is asked for.
    pub api_keys: Vec<String>,
    /// Bytes of the largest request body.
    pub max_body_bytes: usize,
    /// Requests that may be in work at once (queued ones included); more are answered with 429.
    pub max_concurrent_requests: usize,
    /// How long running requests may take to finish once shutdown began.
    pub drain_timeout: Duration,
    /// How long a stream may be silent before a comment is sent, which keeps proxies from
    /// closing it while a long prompt is computed.
    pub keep_alive_interval: Duration,
    /// How long a client may leave its stream unread before the connection is closed.
    pub write_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: DEFAULT_PORT,
            api_keys: Vec::new(),
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_concurrent_requests: DEFAULT_MAX_CONCURRENT_REQUESTS,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            keep_alive_interval: DEFAULT_KEEP_ALIVE_INTERVAL,
            write_timeout: DEFAULT_WRITE_TIMEOUT,
        }
    }
}

/// The port that llama-server uses too, so that clients set up for it need no change.
const DEFAULT_PORT: u16 = 8080;

/// 4 MiB holds a history of about a million tokens, more than any model served here can read.
const DEFAULT_MAX_BODY_BYTES: usize = 4 << 20;

/// Well above what one device decodes in a batch, so that the engine's queue says no first; it
/// bounds memory to this many bodies.
const DEFAULT_MAX_CONCURRENT_REQUESTS: usize = 256;

/// Long enough for most answers in progress, shorter than the 30 s after which process managers
/// kill.
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Proxies close silent connections after 30 to 60 s.
const DEFAULT_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Longer than a network hiccup. The engine drops the request of a silent client by its own
/// bound; this one frees the connection.
const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Open connections, idle ones included: under the usual limit of 1,024 open files. More wait in
/// the system's backlog.
pub(crate) const MAX_CONNECTIONS: usize = 768;

/// Connections that the system keeps while none is accepted.
pub(crate) const LISTEN_BACKLOG: u32 = 1024;

/// How long a client may take to send a request's headers; it is also how long an idle
/// connection is kept, and longer than the pools of common clients keep theirs.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a client may take to send a body: 4 MiB over a slow line.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes beyond the limit that are read and thrown away before a body is refused. A client that is
/// cut off while it sends sees a broken connection instead of the answer that says why.
pub(crate) const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// Bytes that one connection buffers in the process: a few hundred chunks.
pub(crate) const CONNECTION_BUFFER_BYTES: usize = 64 << 10;

/// Bytes that the system buffers for one connection. Unbounded it grows to megabytes, and a
/// client that stopped reading would be noticed only after thousands of tokens.
pub(crate) const SOCKET_SEND_BUFFER_BYTES: u32 = 128 << 10;

/// How long connections may take to deliver what is buffered, once all requests are done.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// What clients are told to wait before they retry, in seconds: about one short answer.
pub(crate) const RETRY_AFTER_SECONDS: u32 = 1;

/// Characters of a client's own request id that are kept: ids end in logs.
pub(crate) const MAX_REQUEST_ID: usize = 128;
