//! The server over real sockets, on a simulated model: requests and their errors, and clients
//! that come, go and stop reading.

mod clients;
mod common;
mod requests;
