//! Listening, accepting, and the orderly end.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use agentinfer_runtime::Runtime;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    select,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

use crate::{
    ServerError, ServerOptions, auth,
    options::{
        CLOSE_TIMEOUT, CONNECTION_BUFFER_BYTES, HEADER_TIMEOUT, LISTEN_BACKLOG, MAX_CONNECTIONS,
        SOCKET_SEND_BUFFER_BYTES,
    },
    routes,
    state::AppState,
};

/// How often queued metric samples are settled: rare enough to cost nothing.
const SETTLE_INTERVAL: Duration = Duration::from_secs(5);

/// How often what is known of the small model is saved: after a crash at most so much is lost.
const SAVE_INTERVAL: Duration = Duration::from_secs(300);

/// How long to wait when the system has no file for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The way to a running server: [`bind`](Server::bind), then [`run`](Bound::run).
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Takes the port. Do this before loading models: a mistake then shows at once.
    ///
    /// # Errors
    /// When the port is in use or forbidden, the host is not of this machine, or a key is unfit.
    pub async fn bind(options: ServerOptions) -> Result<Bound, ServerError> {
        auth::check_keys(&options.api_keys)?;
        let listener = listen(&options).await?;
        let address = listener
            .local_addr()
            .map_err(|source| ServerError::binding(&options.host, options.port, source))?;
        Ok(Bound {
            listener,
            address,
            options,
        })
    }
}

/// A server that holds its port and does not answer yet; clients that connect wait.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
}

impl Bound {
    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves, then in order: refuses new work (503), lets running
    /// requests end for at most [`drain_timeout`](ServerOptions::drain_timeout), stops the
    /// engines, and closes the connections.
    pub async fn run(self, runtime: Runtime, shutdown: impl Future<Output = ()> + Send) {
        let Self {
            listener,
            options,
            address,
        } = self;
        let options = Arc::new(options);
        let state = AppState::new(runtime.clone(), Arc::clone(&options));
        let connections = Connections::new(routes::router(state.clone()), options.write_timeout);
        tracing::info!(%address, "serving");

        let end = async {
            shutdown.await;
            tracing::info!("draining: new requests are refused, running ones may end");
            state.start_draining();
            runtime.drain(options.drain_timeout).await;
        };
        let settle = async {
            let mut ticks = interval(SETTLE_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                state.metrics.settle();
            }
        };
        let save = async {
            let mut ticks = interval(SAVE_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                save_competence(&runtime).await;
            }
        };
        // While it drains the server still accepts, so that clients and load balancers get an
        // answer rather than a refused connection.
        select! {
            () = end => {}
            () = connections.accept_all(&listener) => {}
            () = settle => {}
            () = save => {}
        }
        save_competence(&runtime).await;
        drop(listener);
        connections.close().await;
        tracing::info!("stopped");
    }
}

/// Saves what is known of the small model; that it cannot be must not end the service.
async fn save_competence(runtime: &Runtime) {
    let runtime = runtime.clone();
    match tokio::task::spawn_blocking(move || runtime.save_competence()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "not saved"),
        Err(error) => tracing::warn!(%error, "not saved"),
    }
}

/// Binds and serves; see [`Bound::run`].
///
/// # Errors
/// As [`Server::bind`].
pub async fn serve(
    runtime: Runtime,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    Server::bind(options).await?.run(runtime, shutdown).await;
    Ok(())
}

async fn listen(options: &ServerOptions) -> Result<TcpListener, ServerError> {
    let ServerOptions { host, port, .. } = options;
    let found = lookup_host((host.as_str(), *port)).await;
    let address = match found.map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => address,
        Ok(None) => return Err(ServerError::host(host, std::io::ErrorKind::NotFound.into())),
        Err(source) => return Err(ServerError::host(host, source)),
    };
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Without it a restart would have to wait for the last connections' time-outs.
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit it.
        socket.set_send_buffer_size(SOCKET_SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        socket.listen(LISTEN_BACKLOG)
    };
    bind().map_err(|source| ServerError::binding(host, *port, source))
}

/// The open connections.
struct Connections {
    http: http1::Builder,
    router: Router,
    write_timeout: Duration,
    graceful: GracefulShutdown,
    places: Arc<Semaphore>,
    /// Nothing is sent: when it is dropped, what is still open is cut.
    cut: watch::Sender<()>,
}

impl Connections {
    fn new(router: Router, write_timeout: Duration) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(CONNECTION_BUFFER_BYTES);
        Self {
            http,
            router,
            write_timeout,
            graceful: GracefulShutdown::new(),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            cut: watch::Sender::new(()),
        }
    }

    /// Accepts for ever.
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.expect("the semaphore of connections is never closed");
            match listener.accept().await {
                Ok((stream, _)) => self.start(stream, place),
                Err(error) => {
                    // Most often too many open files: others must close theirs first.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection on a task of its own.
    fn start(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        // Chunks are small and must not wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.write_timeout));
        let service = TowerToHyperService::new(self.router.clone());
        let connection = self
            .http
            .serve_connection(TokioIo::new(Box::pin(stream)), service);
        let connection = self.graceful.watch(connection);
        let mut cut = self.cut.subscribe();
        tokio::spawn(async move {
            let _place = place;
            select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                },
                _ = cut.changed() => {}
            }
        });
    }

    /// Lets every connection deliver what it has, for a bounded time, then cuts it.
    async fn close(self) {
        if timeout(CLOSE_TIMEOUT, self.graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some connections did not close in time and are cut");
        }
    }
}
