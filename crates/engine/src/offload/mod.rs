//! KV cells kept outside of the model: in host memory, and on disk.
//!
//! What is evicted from the model is copied out first, and copied back when a prompt asks for it:
//! that takes a thousandth of the time of computing it again. Sequences are cut into chunks of
//! [`CHUNK_TOKENS`] tokens, each known by a hash of everything up to its end, so sessions that
//! begin alike share their chunks, and what one process wrote to disk the next one finds.
//!
//! [`Store`] decides what is kept where; [`Disk`] is a thread that reads and writes files. What
//! fits a model and what does not is told apart by [`Model::saved_format`].
//!
//! [`Model::saved_format`]: crate::Model::saved_format

mod disk;
mod key;
mod store;

pub(crate) use disk::Disk;
pub(crate) use key::{CHUNK_TOKENS, Key};
pub(crate) use store::Store;
