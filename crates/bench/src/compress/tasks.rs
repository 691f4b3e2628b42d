//! Questions that the research agent answers in one conversation, under each setting.
//!
//! The conversations are the agent's own, so an arm may take other turns than another: what is
//! compared are the answers, and what they cost, question by question.

mod results;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentinfer_agent::{AgentOptions, ConversationOptions, Corpus, InProcess, Style, Tools};
use agentinfer_runtime::{CompressOptions, Runtime, RuntimeOptions, TierOptions};

pub use results::{TasksArmRow, TasksResults};

use self::results::Ran;
use super::arm::Arm;
use crate::BenchError;
use crate::research::{
    Answerer, Block, Key, Models, Task, TaskRow, Watch, check_sessions, folder_for, tasks,
};
use crate::scratch;

/// How long the engine may take to stop: its step in progress, and it is done.
const DRAIN: Duration = Duration::from_secs(2);

/// What to answer, and how.
#[derive(Clone, Debug)]
pub struct TasksOptions {
    /// The tasks: JSONL rows of `{"id", "question", "answers"}`.
    pub tasks: PathBuf,
    /// The corpus they are answered from.
    pub corpus: PathBuf,
    /// How many tasks of the file to skip.
    pub skip: usize,
    /// How many to run then; none means all.
    pub n: Option<usize>,
    /// The model.
    pub tier: TierOptions,
    /// The settings; the others are compared with the first.
    pub arms: Vec<Arm>,
    /// How many run at a time; each number is a row.
    pub sessions: Vec<usize>,
    /// How the agent works.
    pub conversation: ConversationOptions,
    /// A folder for one trace per arm, number of sessions and task.
    pub traces: Option<PathBuf>,
}

/// Runs the tasks under every arm, so many at a time. The arms take turns: each number of sessions
/// begins with another one. Each begins with a model that nobody has asked before.
///
/// # Errors
/// When tasks or corpus cannot be read, or the model cannot be used. A task that fails is counted,
/// not an error.
pub async fn run_compress_tasks(
    options: &TasksOptions,
    mut progress: impl FnMut(&str),
) -> Result<TasksResults, BenchError> {
    check_sessions(&options.sessions)?;
    let scratch = scratch::folder()?;
    let setup = Setup {
        options,
        tasks: tasks(&options.tasks, options.skip, options.n)?,
        tools: Tools::corpus(Corpus::open(&options.corpus)?),
        traces: options.traces.as_deref().unwrap_or(scratch.path()),
    };
    let arms = &options.arms;
    let mut ran = Vec::new();
    for (round, &sessions) in options.sessions.iter().enumerate() {
        let mut of_round = Vec::new();
        for turn in 0..arms.len() {
            let number = (round + turn) % arms.len();
            let run = setup.run(&arms[number], sessions, &mut progress).await?;
            of_round.push((number, run));
        }
        of_round.sort_by_key(|(number, _)| *number);
        ran.push(of_round.into_iter().map(|(_, run)| run).collect());
    }
    Ok(TasksResults::of(ran))
}

/// What all arms have in common.
struct Setup<'a> {
    options: &'a TasksOptions,
    tasks: Vec<Task>,
    tools: Tools,
    traces: &'a Path,
}

impl Setup<'_> {
    async fn run(
        &self,
        arm: &Arm,
        sessions: usize,
        progress: &mut impl FnMut(&str),
    ) -> Result<Ran, BenchError> {
        let tier = &self.options.tier;
        let start = RuntimeOptions {
            compress: CompressOptions {
                enabled: arm.on,
                planner: arm.options.clone(),
                ..CompressOptions::default()
            },
            ..RuntimeOptions::new(vec![tier.clone()])
        };
        let key = Key {
            arm: arm.to_string(),
            sessions,
            ..Key::default()
        };
        let traces = folder_for(&key, self.traces)?;
        let runtime = tokio::task::block_in_place(|| Runtime::start(start))?;
        let answerer = Answerer {
            llm: Arc::new(InProcess::new(runtime.clone(), tier.name.clone())),
            tools: self.tools.clone(),
            agent: AgentOptions {
                style: Style::Conversation(self.options.conversation.clone()),
                rank: arm.rank,
                ..AgentOptions::default()
            },
            models: Models::Large,
            traces,
        };
        let all = self.tasks.len();
        let mut done = 0;
        let mut answered = |row: &TaskRow| {
            done += 1;
            progress(&format!(
                "{done:>3}/{all} {arm} with {sessions} | F1 {:.2} {:5.1} s {:?} -> {:?}",
                row.f1, row.seconds, row.question, row.answer
            ));
        };
        let watch = Watch::nothing();
        let block = Block::run(key, &self.tasks, &answerer, &watch, &mut answered).await;
        let compressed = runtime.compress_stats();
        runtime.drain(DRAIN).await;
        Ok(Ran { block, compressed })
    }
}
