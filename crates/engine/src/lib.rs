//! The step loop: queue -> plan -> draft -> batch -> verify -> commit.
//!
//! An [`Engine`] owns one [`Model`] and serves many sequences in one batch per step. It decides
//! nothing about *order* (that is `agentinfer-sched`) and nothing about *drafts* (that is
//! `agentinfer-sam`); it knows which tokens' KV cells are resident and keeps the two honest.
//! It is synchronous and reads time from the model's [`Model::now`], so the same code runs on
//! llama.cpp in real time and on [`SimModel`] in virtual time. [`EngineHandle::spawn`] puts it on
//! a thread of its own, with bounded channels between it and its clients. Engines that share a
//! [`Device`] take turns on it.
//!
//! ```
//! use std::sync::Arc;
//! use agentinfer_engine::{
//!     Engine, EngineHandle, EngineOptions, Event, Request, SimModel, SimVocabulary,
//! };
//!
//! let vocabulary = Arc::new(SimVocabulary::default());
//! let engine = Engine::new(SimModel::default(), vocabulary, EngineOptions::default());
//! let handle = EngineHandle::spawn("sim", engine)?;
//! let mut completion = handle.submit(Request::new(vec![1, 2, 3]).max_tokens(4))?;
//! let mut generated = 0;
//! while let Some(event) = completion.blocking_next() {
//!     match event {
//!         Event::Token(_) => generated += 1,
//!         Event::Finished(finish) => assert_eq!(finish.completion_tokens, generated),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), agentinfer_engine::EngineError>(())
//! ```

mod background;
mod cells;
mod compaction;
mod constraint;
mod device;
mod drafting;
mod engine;
mod error;
mod event;
mod handle;
mod model;
mod offload;
mod offloading;
mod outlook;
mod pace;
mod planning;
mod prefixes;
mod recording;
mod request;
mod residency;
mod sampling;
mod sequence;
mod sessions;
mod sim;
mod stats;
mod step;
mod tenants;
mod text;
pub mod trace;
mod vocabulary;

pub use agentinfer_sam::{
    Acceptance, AgentSam, DraftSource, Drafter, Guess, NoDrafts, Origin, PaperLimits, Speculation,
    StepCurve, Tally, Token,
};
pub use agentinfer_sched::PolicySpec;
pub use constraint::ConstraintFactory;
pub use device::Device;
pub use engine::{Engine, EngineOptions};
pub use error::EngineError;
pub use event::{Completion, Event, Finish, FinishReason, Started, TokenEvent, TokenLogprob};
pub use handle::EngineHandle;
pub use model::{Batch, Entry, Model, ModelError, ModelLimits, SequenceId, TILE};
pub use outlook::{Outlook, RunningRequest, WaitingRequest};
pub use request::{Constraint, Hints, Request, Sampling};
pub use sim::{LatencyCurve, SimModel, SimVocabulary};
pub use stats::{AcceptanceCounters, EngineStats, StatsSnapshot};
pub use step::Progress;
pub use vocabulary::Vocabulary;
