//! The reference experiment: the research agent over questions, on our server with any of its
//! modules and on peers, several sessions at a time.
//!
//! Every arm is a server process of its own with the same files, threads and cells, asked by the
//! same agent over HTTP. The arms take turns block by block, and the order turns round, so that a
//! machine that warms up or is disturbed favours nobody. What a finished block came to is written
//! down at once, so a run that is interrupted goes on with the next block.
//!
//! | File | What it knows |
//! |---|---|
//! | `task/` | files of questions, also encrypted ones as they are published |
//! | `arm.rs` | what is compared, and the servers that makes |
//! | `block.rs`, `answer.rs` | some tasks by one arm; one task by the agent |
//! | `watch.rs` | what our server says of itself meanwhile |
//! | `record.rs` | blocks that are finished |
//! | `rows.rs`, `results.rs`, `compare.rs` | the report, and how sure it is |

mod answer;
mod arm;
mod block;
mod compare;
mod record;
mod results;
mod rows;
mod task;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentinfer_agent::{AgentOptions, Collab, Competence, HttpLlm, Llm, Policy, Style, Tools};
use agentinfer_protocol::{ChatCompletionRequest, Message};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use self::answer::Answerer;
pub use self::answer::calls;
pub use self::arm::{Arm, Module};
pub(crate) use self::block::{Block, Key};
pub use self::compare::{Bound, Comparison};
pub use self::results::{AllTokens, ArmRow, MeasuredArm, ResearchResults, Seconds, Series};
pub use self::rows::{Call, CallKind, Lane, Machine, Models, Point, TaskRow, Tokens};
pub(crate) use self::task::{Task, tasks};
pub(crate) use self::watch::Watch;

use self::arm::Programs;
use self::record::{Record, Settings};
use crate::BenchError;
use crate::program::find_peer;
use crate::report::usable_cores;
use crate::scratch;
use crate::servers::ServerProcess;

/// Tasks of a block, for each session. Long enough that the last tasks of a block, which run with
/// fewer beside them, are few; short enough that arms alternate.
const TASKS_PER_SESSION: usize = 4;

/// What a server is asked before it is measured, so that its model is in memory.
const WARM_UP_TOKENS: u32 = 8;

/// Bytes of a document that are read where AgentCompress is off: as many as fit the context with
/// the few that are read at once.
pub const WHOLE_DOCUMENT_BYTES: usize = 10_000;

/// Bytes of a document that are read with AgentCompress: the passages that matter.
pub const PASSAGES_BYTES: usize = 2_400;

/// Bytes of all documents together that the model reads at once with AgentCompress, unless told
/// otherwise.
pub const READING_BYTES: usize = 1_200;

/// What to measure.
#[derive(Clone, Debug)]
pub struct ResearchOptions {
    /// The tasks: JSONL rows of `{"id", "question", "answers"}`, or BrowseComp's encrypted CSV or
    /// spreadsheet.
    pub tasks: PathBuf,
    /// Where documents come from, in words; blocks of a record must have it in common.
    pub documents: String,
    /// How many tasks of the file to skip.
    pub skip: usize,
    /// How many to run then; none means all.
    pub n: Option<usize>,
    /// How many run at a time, at least 1; each number is measured by itself.
    pub sessions: Vec<usize>,
    /// How often all tasks are run.
    pub runs: usize,
    /// What is compared, the first being what the others are compared with; at least one.
    pub arms: Vec<Arm>,
    /// Our program.
    pub agentinfer: PathBuf,
    /// llama.cpp's server, where an arm needs it.
    pub llama_server: Option<PathBuf>,
    /// A server that runs already, for the arm `server`.
    pub server: Option<RunningServer>,
    /// The large model's file, where an arm needs it.
    pub large: Option<PathBuf>,
    /// The small model's file, where an arm needs it.
    pub small: Option<PathBuf>,
    /// Threads that every server computes with; none for one per usable core.
    pub threads: Option<u32>,
    /// KV cells of each model.
    pub cells: u32,
    /// Who takes which step where there are two models.
    pub policy: Policy,
    /// What is known of the small model at first.
    pub competence: Competence,
    /// How the agent works; what belongs to AgentCompress is for arms that have it.
    pub agent: AgentOptions,
    /// Where finished blocks are written, and read if the file is there.
    pub record: Option<PathBuf>,
    /// A folder for one trace per task, by arm, sessions and run.
    pub traces: Option<PathBuf>,
}

/// A server that is not started here.
#[derive(Clone, Debug)]
pub struct RunningServer {
    /// Its OpenAI-compatible address.
    pub url: String,
    /// The key it asks for.
    pub key: Option<String>,
    /// The model, as it names it.
    pub model: String,
}

/// Runs every arm over the tasks; `progress` gets a line for every task that finishes.
///
/// # Errors
/// When tasks or records cannot be read or written, and when a server fails. A task that fails is
/// counted, not an error.
pub async fn research(
    tools: Tools,
    options: &ResearchOptions,
    mut progress: impl FnMut(&str),
) -> Result<ResearchResults, BenchError> {
    check_sessions(&options.sessions)?;
    let tasks = tasks(&options.tasks, options.skip, options.n)?;
    let mut experiment = Experiment::new(tools, options)?;
    let mut record = Record::open(options.record.as_deref(), &options.settings(&tasks))?;
    let (mut rest, mut done) = experiment.work(&record, tasks.len());
    if done > 0 {
        progress(&format!("{done} answers are in the record"));
    }
    let begun = Instant::now();
    let mut new = 0;
    for &sessions in &options.sessions {
        for run in 0..options.runs {
            for (number, part) in tasks.chunks(sessions * TASKS_PER_SESSION).enumerate() {
                for turn in 0..options.arms.len() {
                    let arm = &options.arms[(run + number + turn) % options.arms.len()];
                    let key = Key {
                        arm: arm.name().to_owned(),
                        sessions,
                        run,
                        number,
                    };
                    if record.has(&key) {
                        continue;
                    }
                    let contender = experiment.contender(arm, &key, &mut progress).await?;
                    let mut answered = |row: &TaskRow| {
                        (rest, done, new) = (rest.saturating_sub(1), done + 1, new + 1);
                        let left = begun.elapsed().mul_f64(rest as f64 / new as f64);
                        progress(&line(row, [done, done + rest], left));
                    };
                    record.add(contender.block(key, part, &mut answered).await)?;
                    // What it does in the background must not slow the next one.
                    contender.watch.settled().await;
                }
            }
            experiment.stop().await?;
        }
    }
    let Experiment { commands, .. } = experiment;
    let (arms, sessions) = (&options.arms, &options.sessions);
    let blocks = record.blocks();
    Ok(ResearchResults::of(
        arms,
        sessions,
        options.runs,
        blocks,
        commands,
    ))
}

/// Refuses numbers of sessions with which nothing would run.
pub(crate) fn check_sessions(sessions: &[usize]) -> Result<(), BenchError> {
    match sessions.contains(&0) {
        true => Err(BenchError::Option {
            field: "--sessions",
            message: "at least 1 task runs at a time".to_owned(),
        }),
        false => Ok(()),
    }
}

/// A task that finished, with how many have and how long the rest will take.
fn line(row: &TaskRow, [done, all]: [usize; 2], left: Duration) -> String {
    let mut line = format!(
        "{done:>4}/{all} {} with {} | F1 {:.2} {:5.1} s {:?} -> {:?}; {} left",
        row.arm,
        row.sessions,
        row.f1,
        row.seconds,
        row.question,
        row.answer,
        minutes(left),
    );
    if let Some(error) = &row.error {
        line.push_str(&format!(" ({error})"));
    }
    line
}

fn minutes(left: Duration) -> String {
    match left.as_secs() {
        seconds @ ..90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

impl ResearchOptions {
    fn threads(&self) -> u32 {
        self.threads.unwrap_or_else(usable_cores)
    }

    /// What all blocks of a record must have in common.
    fn settings(&self, tasks: &[Task]) -> Settings {
        let hash = |text: String| format!("{:016x}", xxh3_64(text.as_bytes()));
        let AgentOptions {
            style,
            rounds,
            seeker_named,
            seeker_reads,
            writer_reads,
            writer_links,
            writer_findings,
            rank,
            rank_deadline,
            reading_bytes,
            ..
        } = &self.agent;
        let reads = [
            seeker_named,
            seeker_reads,
            writer_reads,
            writer_links,
            writer_findings,
        ];
        Settings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tasks: hash(format!("{tasks:?}")),
            documents: hash(self.documents.clone()),
            agent: format!(
                "{} {style:?} {rounds} {reads:?} {rank} {rank_deadline:?} {reading_bytes:?}",
                self.policy
            ),
            competence: hash(format!("{:?}", self.competence)),
            large: self.large.clone(),
            small: self.small.clone(),
            server: self
                .server
                .as_ref()
                .map(|it| format!("{} {}", it.url, it.model)),
            llama_server: self.llama_server.clone(),
            threads: self.threads(),
            cells: self.cells,
        }
    }
}

/// The servers that are up, and what they are made of.
struct Experiment<'a> {
    options: &'a ResearchOptions,
    tools: Tools,
    client: reqwest::Client,
    llama_server: Option<PathBuf>,
    /// By the arm's name.
    contenders: BTreeMap<String, Contender>,
    /// Command lines of the servers; each gets a port of its own when it starts.
    commands: BTreeMap<String, String>,
    /// Traces that nobody asked for lie here as long as they are needed.
    scratch: TempDir,
}

/// An arm that can be asked.
struct Contender {
    answerer: Answerer,
    watch: Watch,
    /// None where the server runs already.
    server: Option<ServerProcess>,
}

impl<'a> Experiment<'a> {
    fn new(tools: Tools, options: &'a ResearchOptions) -> Result<Self, BenchError> {
        let find = |path: &PathBuf| find_peer("--llama-server", path);
        let client = reqwest::Client::builder().build();
        let mut experiment = Self {
            options,
            tools,
            client: client.map_err(|source| BenchError::Unreachable {
                server: "any server".to_owned(),
                source,
            })?,
            llama_server: options.llama_server.as_ref().map(find).transpose()?,
            contenders: BTreeMap::new(),
            commands: BTreeMap::new(),
            scratch: scratch::folder()?,
        };
        // What is missing shows before anything is measured.
        for arm in &options.arms {
            if arm.is_running() {
                experiment.running(arm)?;
            }
            for &sessions in &options.sessions {
                if let Some(plan) = arm.plan(&experiment.programs(), sessions)? {
                    let name = format!("{arm}, {sessions} sessions");
                    experiment.commands.insert(name, plan.typed());
                }
            }
        }
        Ok(experiment)
    }

    fn programs(&self) -> Programs<'_> {
        Programs {
            agentinfer: &self.options.agentinfer,
            llama_server: self.llama_server.as_deref(),
            large: self.options.large.as_deref(),
            small: self.options.small.as_deref(),
            threads: self.options.threads(),
            cells: self.options.cells,
        }
    }

    /// The server that runs already.
    fn running(&self, arm: &Arm) -> Result<&RunningServer, BenchError> {
        let server = self.options.server.as_ref();
        server.ok_or_else(|| BenchError::Option {
            field: "--arms",
            message: format!("{arm} needs --server"),
        })
    }

    /// How many answers are still to be given, and how many are there.
    fn work(&self, record: &Record, tasks: usize) -> (usize, usize) {
        let all = tasks * self.options.arms.len() * self.options.sessions.len() * self.options.runs;
        let arms = &self.options.arms;
        let counts = |block: &&Block| {
            arms.iter().any(|arm| arm.name() == block.key.arm)
                && self.options.sessions.contains(&block.key.sessions)
                && block.key.run < self.options.runs
        };
        let blocks = record.blocks().iter().filter(counts);
        let done = blocks.map(|block| block.rows.len()).sum();
        (all.saturating_sub(done), done)
    }

    /// An arm that can be asked; its server is started where it is not up.
    async fn contender(
        &mut self,
        arm: &Arm,
        key: &Key,
        progress: &mut impl FnMut(&str),
    ) -> Result<&Contender, BenchError> {
        if !self.contenders.contains_key(arm.name()) {
            let contender = self.start(arm, key, progress).await?;
            self.contenders.insert(arm.name().to_owned(), contender);
        }
        Ok(&self.contenders[arm.name()])
    }

    async fn start(
        &mut self,
        arm: &Arm,
        key: &Key,
        progress: &mut impl FnMut(&str),
    ) -> Result<Contender, BenchError> {
        let plan = arm.plan(&self.programs(), key.sessions)?;
        let (url, api_key, model, server) = match plan {
            Some(plan) => {
                progress(&format!("starting {arm} for {} sessions", key.sessions));
                let server = plan.start(&self.client).await?;
                (
                    server.url.clone(),
                    None,
                    arm.model().to_owned(),
                    Some(server),
                )
            }
            None => {
                let RunningServer { url, key, model } = self.running(arm)?.clone();
                (url, key, model, None)
            }
        };
        let llm: Arc<dyn Llm> = Arc::new(HttpLlm::new(&url, api_key, model)?);
        let models = arm.models();
        match models {
            Models::Both => warm_up(llm.as_ref(), &["small", "large"]).await?,
            Models::Large | Models::Small => warm_up(llm.as_ref(), &[llm.model()]).await?,
        }
        let traces = self.options.traces.as_deref();
        let traces = folder_for(key, traces.unwrap_or(self.scratch.path()))?;
        let collab = (models == Models::Both).then(|| Collab {
            competence: Arc::new(Mutex::new(self.options.competence.clone())),
            ..Collab::new(self.options.policy)
        });
        let watch = match arm.peer() {
            None => Watch::of(&self.client, &url),
            Some(_) => Watch::nothing(),
        };
        Ok(Contender {
            answerer: Answerer {
                llm,
                tools: self.tools.clone(),
                agent: self.agent(arm, collab),
                models,
                traces,
            },
            watch,
            server,
        })
    }

    /// How the agent works in an arm: what belongs to AgentCompress is off where that is off.
    fn agent(&self, arm: &Arm, collab: Option<Collab>) -> AgentOptions {
        let mut agent = AgentOptions {
            collab,
            document_bytes: PASSAGES_BYTES,
            reading_bytes: self.options.agent.reading_bytes.or(Some(READING_BYTES)),
            ..self.options.agent.clone()
        };
        if !arm.has(Module::Compress) {
            agent.document_bytes = WHOLE_DOCUMENT_BYTES;
            (agent.rank, agent.reading_bytes) = (false, None);
            if let Style::Conversation(options) = &mut agent.style {
                (options.compress, options.recall) = (None, false);
            }
        }
        agent
    }

    /// Ends all servers.
    async fn stop(&mut self) -> Result<(), BenchError> {
        for contender in std::mem::take(&mut self.contenders).into_values() {
            if let Some(server) = contender.server {
                server.stop().await?;
            }
        }
        Ok(())
    }
}

impl Contender {
    async fn block(&self, key: Key, tasks: &[Task], done: &mut dyn FnMut(&TaskRow)) -> Block {
        Block::run(key, tasks, &self.answerer, &self.watch, done).await
    }
}

/// A folder for the traces of an arm.
pub(crate) fn folder_for(key: &Key, base: &Path) -> Result<PathBuf, BenchError> {
    let name = key.arm.replace([':', '='], "-");
    let folder = base.join(format!("{name}-{}-{}", key.sessions, key.run));
    std::fs::create_dir_all(&folder).map_err(|source| BenchError::Write {
        path: folder.clone(),
        source,
    })?;
    Ok(folder)
}

/// Has models of a server say something.
async fn warm_up(llm: &dyn Llm, models: &[&str]) -> Result<(), BenchError> {
    for model in models {
        let request = ChatCompletionRequest {
            model: (*model).to_owned(),
            messages: vec![Message::user("Say hello.")],
            max_completion_tokens: Some(WARM_UP_TOKENS),
            ..ChatCompletionRequest::default()
        };
        llm.chat(request).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_answered_and_what_is_left() {
        let row = TaskRow {
            arm: "full".to_owned(),
            sessions: 4,
            f1: 0.5,
            seconds: 12.0,
            question: "Who?".to_owned(),
            answer: "Ann".to_owned(),
            error: Some("cut off".to_owned()),
            ..TaskRow::default()
        };
        let line = line(&row, [3, 120], Duration::from_secs(100));
        assert_eq!(
            line,
            "   3/120 full with 4 | F1 0.50  12.0 s \"Who?\" -> \"Ann\"; 2 min left (cut off)"
        );
        assert_eq!(minutes(Duration::from_secs(89)), "89 s");
    }
}
