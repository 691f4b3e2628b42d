//! The only place that knows sessions: chat on top of engines.
//!
//! A [`Runtime`] serves one or two models (*tiers*), each on an engine of its own. It turns a
//! request of the OpenAI API into requests of an engine, and the engine's tokens into an answer:
//!
//! ```text
//! validate -> resolve the tier -> template -> session: known tokens + tail -> engine (n choices)
//!          -> events of the choices, merged -> tool calls parsed -> chunks, or the whole answer
//!          -> session: the answer's tokens are kept as they were generated
//! ```
//!
//! | File | What it knows |
//! |---|---|
//! | `runtime.rs` | the way of a request, in order |
//! | `validate.rs` | which fields are legal, and what they mean to the engine |
//! | `answers.rs` | which message of a client is an answer that was given, however it is written |
//! | `conversation.rs` | what a request continues, as its model is given it |
//! | `session.rs` | which session a prompt continues, and which of its tokens are known |
//! | `tool_times.rs` | how long the tools take that answers call |
//! | `recent.rs` | tables that forget what was used least recently |
//! | `turn.rs` | how the template writes an answer once the conversation has gone on |
//! | `served.rs`, `tier.rs` | the tiers; how a model is loaded |
//! | `remote/` | a tier that another server runs: attempts, circuit breaker, events |
//! | `drafts.rs` | where drafts come from |
//! | `auto/` | which of two tiers takes a step, where a request leaves that open |
//! | `view/` | which view of a long conversation its model is given |
//! | `record.rs` | what sessions leave in the store |
//! | `steps.rs` | what sessions did lately |
//! | `overview.rs` | all of this for people who look |
//! | `after.rs` | what is done after an answer, while its client is away |
//! | `warm.rs` | prefixes that are made resident in the background |
//! | `merge.rs` | several completions as one stream of events |
//! | `choice.rs`, `said.rs` | one growing answer: text, tool calls, log-probabilities |
//! | `source.rs`, `engine_answer.rs` | who gives the answers: an engine, or another server |
//! | `chat_stream.rs`, `text_stream.rs` | the two kinds of answers, streamed or whole |
//!
//! The server, the agent and the benchmarks are users of this crate. All tiers of a runtime share
//! one device: their engines take turns on it, step by step, and background work of one keeps out
//! of the way of whatever somebody waits for at the other.
//!
//! ```
//! use agentinfer_protocol::{ChatCompletionRequest, Message};
//! use agentinfer_runtime::{Runtime, RuntimeOptions, Tier, TierOptions, TierSource};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), agentinfer_runtime::RuntimeError> {
//! let tier = TierOptions::new(Tier::Small, "sim", TierSource::Sim);
//! let runtime = Runtime::start(RuntimeOptions::new(vec![tier]))?;
//! let request = ChatCompletionRequest {
//!     model: "small".to_owned(),
//!     messages: vec![Message::user("Hello")],
//!     max_completion_tokens: Some(8),
//!     ..ChatCompletionRequest::default()
//! };
//! let answer = runtime.chat(request)?.collect().await?;
//! assert_eq!(answer.model, "sim");
//! assert!(answer.usage.completion_tokens <= 8);
//! # Ok(())
//! # }
//! ```

mod after;
mod answers;
mod auto;
mod chat_stream;
mod choice;
mod conversation;
mod counts;
mod drafts;
mod engine_answer;
mod error;
mod merge;
mod options;
mod overview;
mod random;
mod recent;
mod record;
mod remote;
mod runtime;
mod said;
mod served;
mod session;
mod source;
mod steps;
mod text_stream;
mod tier;
mod tool_times;
mod tools;
mod turn;
mod validate;
mod view;
mod warm;

pub use agentinfer_collab::{Policy, Tier};
pub use agentinfer_engine::{
    Acceptance, DraftSource, EngineError, EngineOptions, Finish, StatsSnapshot, Tally,
};
pub use agentinfer_llama::{LlamaError, LlamaOptions};
pub use agentinfer_memory::{Stats as CorpusStats, StoreLimits, StoreStats};
pub use auto::AUTO;
pub use auto::counts::AutoStats;
pub use auto::kept::Competences;
pub use chat_stream::ChatStream;
pub use error::RuntimeError;
pub use options::{
    CollabOptions, CompressOptions, CorpusOptions, DiskOptions, Distiller, Drafts, MemoryOptions,
    RemoteOptions, RemoteTiming, RuntimeOptions, TierOptions, TierSource,
};
pub use remote::{BreakerState, RemoteStats};
pub use runtime::{Runtime, TierStats};
pub use session::SessionCounts;
pub use text_stream::CompletionStream;
pub use view::counts::CompressStats;
