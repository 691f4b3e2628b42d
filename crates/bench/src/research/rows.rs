//! What is measured of each task, and of the server meanwhile.

use agentinfer_agent::Totals;
use agentinfer_sam::Acceptance;
use serde::{Deserialize, Serialize};

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// The arm.
    pub arm: String,
    /// Which run of all tasks, from 0.
    pub run: usize,
    /// How many tasks at a time.
    pub sessions: usize,
    /// Which of the parallel sessions, from 0.
    pub slot: usize,
    /// When it began, in seconds since its run did, without the turns of other arms.
    pub began_s: f64,
    /// The task's name.
    pub id: String,
    /// What was asked.
    pub question: String,
    /// What was answered.
    pub answer: String,
    /// The reference answers.
    pub references: Vec<String>,
    /// Exact match.
    pub em: f64,
    /// F1 over words.
    pub f1: f64,
    /// From question to answer.
    pub seconds: f64,
    /// The number of completions.
    pub turns: u32,
    /// Of these, by the large model; all where there is no other.
    pub large_turns: u32,
    /// How often another model was asked than before.
    pub switches: u32,
    /// Prompt tokens that the agent's history amounts to.
    pub prompt_tokens_full: u64,
    /// Prompt tokens that the model was given.
    pub prompt_tokens: u64,
    /// Of these, how many were prefilled, not resident.
    pub prompt_tokens_computed: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Why the task failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which models answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Models {
    /// The large one.
    Large,
    /// The small one.
    Small,
    /// Whichever AgentCollab chooses.
    Both,
}

/// What a call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// A completion.
    Llm,
    /// A search, crawl or lookup.
    Tool,
    /// A progress check.
    Check,
}

/// A call of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Seconds from the task's beginning.
    pub at: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it was.
    pub kind: CallKind,
    /// The step of the agent, or the tool.
    pub step: String,
    /// The model that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Of these, resident.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
}

/// The calls of one task, for a picture of who did what when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// The arm.
    pub arm: String,
    /// Which run of all tasks.
    pub run: usize,
    /// How many tasks at a time.
    pub sessions: usize,
    /// Which of the parallel sessions.
    pub slot: usize,
    /// The task's name.
    pub id: String,
    /// When the task began, likewise.
    pub began_s: f64,
    /// Its calls.
    pub calls: Vec<Call>,
}

/// One look at a server: what its engines say, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the run began, without the turns of other arms.
    pub at_s: f64,
    /// KV cells in use.
    pub cells_used: u64,
    /// KV cells in total.
    pub cells_total: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that run.
    pub running: u64,
    /// What a cell costs, where the policy has a price; the highest of all engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
}

/// Seconds that a server computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// In forward passes with prompts in them.
    pub prefill: f64,
    /// In forward passes that only decoded.
    pub decode: f64,
    /// In the rest of its steps: sampling, copying cells, bookkeeping.
    pub other: f64,
}

/// What a server of ours counted in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) machine: Machine,
    pub(crate) tokens: Tokens,
    /// Seconds that requests have waited for compression.
    pub(crate) stall_seconds: f64,
    /// Draft tokens by source and position; records of older versions have none.
    #[serde(
        with = "crate::acceptance",
        default,
        skip_serializing_if = "Acceptance::is_empty"
    )]
    pub(crate) acceptance: Acceptance,
}

/// Tokens that a server counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    /// Of prompts, found resident in the model's cells.
    pub prompt_resident: u64,
    /// Of prompts, copied back from host memory or disk.
    pub prompt_restored: u64,
    /// Of prompts, computed.
    pub prompt_computed: u64,
    /// Generated.
    pub generated: u64,
    /// Drafted and verified.
    pub drafted: u64,
    /// Of these, accepted.
    pub accepted: u64,
}

impl TaskRow {
    /// What a run has spent; the rest is as by default.
    pub fn spent(totals: &Totals, models: Models) -> Self {
        Self {
            turns: totals.llm_calls,
            large_turns: match models {
                Models::Large => totals.llm_calls,
                Models::Small => 0,
                Models::Both => totals.large_calls,
            },
            switches: totals.switches,
            prompt_tokens_full: totals.full_tokens,
            prompt_tokens: totals.prompt_tokens,
            prompt_tokens_computed: totals.prompt_tokens.saturating_sub(totals.cached_tokens),
            completion_tokens: totals.completion_tokens,
            ..Self::default()
        }
    }
}

impl Lane {
    /// The calls of the task of a row.
    pub fn of(row: &TaskRow, calls: Vec<Call>) -> Self {
        Self {
            arm: row.arm.clone(),
            run: row.run,
            sessions: row.sessions,
            slot: row.slot,
            id: row.id.clone(),
            began_s: row.began_s,
            calls,
        }
    }
}

impl Counted {
    pub(crate) fn and(self, more: Self) -> Self {
        let (machine, others) = (self.machine, more.machine);
        let (tokens, further) = (self.tokens, more.tokens);
        Self {
            machine: Machine {
                prefill: machine.prefill + others.prefill,
                decode: machine.decode + others.decode,
                other: machine.other + others.other,
            },
            tokens: Tokens {
                prompt_resident: tokens.prompt_resident + further.prompt_resident,
                prompt_restored: tokens.prompt_restored + further.prompt_restored,
                prompt_computed: tokens.prompt_computed + further.prompt_computed,
                generated: tokens.generated + further.generated,
                drafted: tokens.drafted + further.drafted,
                accepted: tokens.accepted + further.accepted,
            },
            stall_seconds: self.stall_seconds + more.stall_seconds,
            acceptance: self.acceptance.plus(&more.acceptance),
        }
    }
}

impl Machine {
    pub(crate) fn sum(self) -> f64 {
        self.prefill + self.decode + self.other
    }
}
