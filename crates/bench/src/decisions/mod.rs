//! Traces of scheduling decisions, as the engine writes them: one moment in words, or the whole
//! time as a picture.
//!
//! [`explain`] tells of one moment who was chosen among whom and why. [`page`] draws a trace as an
//! HTML page that needs nothing from outside itself.

mod explain;
mod page;
mod read;
mod record;
mod thinned;
mod timeline;

pub use explain::{Explanation, explain};
pub use page::page;
pub(crate) use record::{FileTrace, file_name};
