//! Who thinks: policies of AgentCollab and their controls on the same questions.
//!
//! The agent is deterministic at temperature 0: asked the same, a model answers the same. So a
//! completion is asked for once and recorded with the time it took on an otherwise idle machine,
//! and all arms run on these records in virtual time, one completion after another. That makes
//! the arms exactly paired, and what they do not share is all that is measured anew.
//!
//! | File | What it knows |
//! |---|---|
//! | `calls.rs` | completions that were asked for before |
//! | `arm.rs` | one policy over all questions |
//! | `steps.rs` | what single steps show: checks, competence, the bound |
//! | `results.rs` | the rows of the report, and how sure they are |

mod arm;
mod calls;
mod results;
mod steps;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use agentinfer_agent::{AgentOptions, Corpus, Llm, Tools};
pub use agentinfer_collab::Policy;
use agentinfer_runtime::Competences;

pub use self::arm::TaskRow;
pub use self::results::{ArmRow, Bound, CollabResults};
pub use self::steps::StepsRow;

use self::arm::Arm;
use self::calls::Calls;
use crate::BenchError;
use crate::research::{Task, tasks};

/// Whose the file is as far as a bench is concerned: without API keys there is one tenant.
const TENANT: u64 = 0;

/// What to measure.
#[derive(Clone, Debug)]
pub struct CollabOptions {
    /// The tasks: JSONL rows of `{"id", "question", "answers"}`.
    pub tasks: PathBuf,
    /// The corpus they are answered from; see [`Corpus::open`].
    pub corpus: PathBuf,
    /// How many tasks of the file to skip.
    pub skip: usize,
    /// How many to run then; none means all.
    pub n: Option<usize>,
    /// The policies; the first is what the others are compared with.
    pub arms: Vec<Policy>,
    /// How the agent works, whoever takes its steps.
    pub agent: AgentOptions,
    /// Where completions are recorded, and read if the file is there.
    pub calls: Option<PathBuf>,
    /// Where what is learned of the small model is kept, and read if the file is there; `serve` and
    /// `run` keep it in the same form.
    pub competence: Option<PathBuf>,
    /// The small and the large model's names, to tell recorded completions apart.
    pub models: [String; 2],
}

/// A task of an arm finished.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The task.
    pub row: &'a TaskRow,
    /// How many are finished, over all arms.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// Completions that were asked for until now, beside those that were recorded before.
    pub asked: usize,
}

impl std::fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TaskRow {
            arm,
            f1,
            seconds,
            question,
            answer,
            ..
        } = self.row;
        write!(
            f,
            "{:>4}/{} ({} completions asked for) {arm} | F1 {f1:.2} {seconds:5.1} s {question:?} \
             -> {answer:?}",
            self.done, self.total, self.asked
        )
    }
}

/// Runs every arm over the tasks. `llm` must serve two tiers, named `small` and `large`. To be
/// called on a current-thread runtime whose clock is paused.
///
/// # Errors
/// When tasks, corpus or records cannot be read or written. A task that fails is counted, not an
/// error.
pub async fn collab(
    llm: Arc<dyn Llm>,
    options: &CollabOptions,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<CollabResults, BenchError> {
    let tasks = tasks(&options.tasks, options.skip, options.n)?;
    let tools = Tools::corpus(Corpus::open(&options.corpus)?);
    let mut kept = match &options.competence {
        Some(path) => Competences::read(path)?,
        None => Competences::default(),
    };
    let known = kept.of(TENANT).clone();
    let calls = Arc::new(Calls::open(llm, options)?);
    let mut rows: Vec<TaskRow> = Vec::with_capacity(tasks.len() * options.arms.len());
    let mut learned = known.clone();
    for policy in &options.arms {
        // What an arm learns is its own: its rivals begin with the same.
        let competence = Arc::new(Mutex::new(known.clone()));
        let arm = Arm {
            policy: *policy,
            agent: options.agent.clone(),
            competence: competence.clone(),
            calls: calls.clone(),
            tools: tools.clone(),
        };
        for (number, task) in tasks.iter().enumerate() {
            rows.push(arm.answer(task, number as u64).await);
            progress(Progress {
                row: rows.last().expect("one was just added"),
                done: rows.len(),
                total: tasks.len() * options.arms.len(),
                asked: calls.asked(),
            });
        }
        if matches!(policy, Policy::Both { .. } | Policy::Agent(_)) {
            learned = arm.learned();
        }
    }
    if let Some(path) = &options.competence {
        *kept.of(TENANT) = learned;
        kept.write(path)?;
    }
    Ok(CollabResults::of(&options.arms, rows))
}
