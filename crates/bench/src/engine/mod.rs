//! The engine beside llama.cpp's own programs: same model, same threads, same run.
//!
//! Single streams are measured where llama-bench measures them, in process and without a server;
//! concurrent chats and the time to first token over HTTP, by one client that treats our server
//! and llama-server alike. What is compared takes turns within each run, and the order turns
//! round from run to run, so that a machine that warms up or is disturbed favours nobody.
//!
//! Speculation is measured over HTTP too: each setting of ours beside each of llama-server's, on
//! agents that say again what they have read or said, and on stories that say nothing again.
//!
//! ```no_run
//! use agentinfer_bench::engine::{Case, EngineBenchOptions, run_engine_bench};
//!
//! # async fn example() -> Result<(), agentinfer_bench::BenchError> {
//! let options = EngineBenchOptions {
//!     llama_bench: Some("/opt/llama.cpp/bin/llama-bench".into()),
//!     cases: vec![Case::Decode1],
//!     ..EngineBenchOptions::new("smollm2-135m".into(), "agentinfer".into())
//! };
//! let results = run_engine_bench(&options, &mut |line| eprintln!("{line}")).await?;
//! println!("{}", results.table());
//! # Ok(())
//! # }
//! ```

mod agents;
mod case;
mod chats;
mod client;
mod in_process;
mod llama_bench;
mod measure;
mod prompts;
mod results;
mod run;
mod server;
mod spec_load;
mod speculation;

pub use case::Case;
pub use results::{CaseResult, EngineBenchResults, EngineShares, Shares};
pub use run::{EngineBenchOptions, run_engine_bench};
pub use speculation::{Drafts, SpeculationRow, SpokenResult};
