//! Benchmarks and their machine-readable reports.
//!
//! | File | What it knows |
//! |---|---|
//! | `collab/` | policies of AgentCollab and their controls on the same questions |
//! | `compress/` | how much of recorded sessions is served, and what is lost |
//! | `engine/` | the engine's speed beside llama.cpp's own programs |
//! | `research/` | the research agent over questions: our server with any modules, and peers |
//! | `servers/` | servers that are measured: ours, and llama-server |
//! | `sam/` | drafters on recorded sessions, without a model |
//! | `scale/` | the arms of `research/` for up to a thousand sessions on simulated devices |
//! | `sched/` | scheduling policies on simulated time, and on a real model for comparison |
//! | `acceptance.rs` | drafted tokens by source and position |
//! | `recorded.rs` | files of recorded sessions |
//! | `program.rs` | peers' programs: how they are started, and how they end with us |
//! | `scratch.rs` | folders for what is of no use afterwards |
//! | `score.rs` | exact match and F1 of short answers |
//! | `statistics.rs` | means and their uncertainty |
//! | `report.rs` | the JSON file that every benchmark writes |
//!
//! ```
//! use agentinfer_bench::Score;
//!
//! let score = Score::of("the Nick Hexum.", &["Nicholas Nick Hexum"]);
//! assert_eq!((score.em, score.f1), (0.0, 0.8));
//! ```

mod acceptance;
pub mod collab;
pub mod compress;
pub mod decisions;
pub mod engine;
mod error;
mod program;
mod recorded;
mod report;
pub mod research;
pub mod sam;
pub mod scale;
pub mod sched;
mod score;
mod scratch;
mod servers;
mod statistics;

pub use error::BenchError;
pub use report::{BenchReport, Machine, ModelFile};
pub use score::Score;
