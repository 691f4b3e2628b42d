//! Why a server does not start.

use std::io;

/// Errors of [`Server::bind`](crate::Server::bind) and [`Bound::run`](crate::Bound::run).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Another program listens there.
    #[error(
        "port {port} on {host} is in use; stop the program that uses it, or choose another \
         with `--port` (0 takes any free one)"
    )]
    PortInUse {
        /// The host asked for.
        host: String,
        /// The port asked for.
        port: u16,
    },
    /// The system does not let this user listen there.
    #[error(
        "this user may not listen on port {port} of {host}; choose a port of 1024 or more with \
         `--port`"
    )]
    PortForbidden {
        /// The host asked for.
        host: String,
        /// The port asked for.
        port: u16,
    },
    /// The host is no address of this machine.
    #[error(
        "{host} is not an address of this machine ({source}); use 127.0.0.1 for local clients \
         or 0.0.0.0 for all with `--host`"
    )]
    Host {
        /// The host asked for.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// A key that no client could send.
    #[error(
        "API key {number} is empty or has characters that a header cannot carry; use visible \
         ASCII without spaces"
    )]
    ApiKey {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// The system failed to listen.
    #[error("the system cannot listen on {host}:{port}: {source}")]
    Listen {
        /// The host asked for.
        host: String,
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

impl ServerError {
    /// A host that no address belongs to.
    pub(crate) fn host(host: &str, source: io::Error) -> Self {
        Self::Host {
            host: host.to_owned(),
            source,
        }
    }

    /// Sorts a failure to bind `host:port` by what helps against it.
    pub(crate) fn binding(host: &str, port: u16, source: io::Error) -> Self {
        let host = host.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse { host, port },
            io::ErrorKind::PermissionDenied => Self::PortForbidden { host, port },
            io::ErrorKind::AddrNotAvailable => Self::Host { host, source },
            _ => Self::Listen { host, port, source },
        }
    }
}
