//! `agentinfer bench research`: the research agent on our server with any of its modules, and on
//! peers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use agentinfer_agent::{AgentOptions, Competence, Policy};
use agentinfer_bench::ModelFile;
use agentinfer_bench::research::{Arm, ResearchOptions, RunningServer, research};
use agentinfer_runtime::Competences;
use anyhow::Result;

use super::{report, unless_interrupted};
use crate::output;
use crate::place::Place;
use crate::style;

/// Whose the file of what was learned is: on a command line there is one user.
const TENANT: u64 = 0;

/// The cumulative ladder, as the paper has it.
const LADDER: &str = "large_only,small_only,collab,+compress,+sched,full";

/// Run the research agent over questions: our server with any of its modules, and peers.
///
/// Every arm is a server of its own with the same files, threads and KV cells, asked by the same
/// agent. The arms take turns, block of questions by block. Reports exact match, F1, time, tokens
/// and throughput of each, and how the others compare with the first. With --record an interrupted
/// run goes on where it was. Leave the machine alone meanwhile.
///
/// Arms: large_only and small_only (one model, all modules off); collab, compress, sched, sam,
/// alone or joined as in collab+sam; +MODULE, which is one more than the arm before; full (all
/// four); llama-server and llama-server:SETTING (with the large model); server (what --server
/// names).
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench research --tasks tasks.jsonl --corpus corpus.jsonl --n 60 --sessions 1,4 \
    --arms large_only,full --record run.jsonl --json run.json\n  \
    agentinfer bench research --tasks tasks.jsonl --corpus corpus.jsonl --sessions 16 \
    --arms large_only,collab,+compress,+sched,full,llama-server,llama-server:ngram-simple-short \
    --llama-server /opt/llama.cpp/llama-server --record run.jsonl --json run.json")]
pub(crate) struct Args {
    /// The questions: JSONL rows of {"id", "question", "answers"}, or the encrypted file of
    /// BrowseComp (.csv) or BrowseComp-ZH (.xlsx) as it is published.
    #[arg(long, value_name = "FILE")]
    tasks: PathBuf,
    #[command(flatten)]
    place: Place,
    /// How many questions of the file to skip.
    #[arg(long, default_value_t = 0, value_name = "N")]
    skip: usize,
    /// How many questions to ask then [default: all].
    #[arg(long, value_name = "N")]
    n: Option<usize>,
    /// How many run at a time; each number is measured by itself.
    #[arg(long, value_delimiter = ',', default_value = "1", value_name = "N,...")]
    sessions: Vec<usize>,
    /// How often all questions are asked.
    #[arg(long, default_value_t = 1, value_name = "N")]
    runs: usize,
    /// What is compared, separated by commas; the others are compared with the first.
    #[arg(long, default_value = LADDER, value_name = "ARM,...")]
    arms: String,
    /// The large model: a name from `agentinfer models list` or a GGUF file.
    #[arg(long, default_value = "qwen2.5-coder-1.5b", value_name = "MODEL")]
    large: String,
    /// The small model, of small_only and collab.
    #[arg(long, default_value = "qwen2.5-coder-0.5b", value_name = "MODEL")]
    small: String,
    /// Who takes which step where there are two models; as in `agentinfer run`.
    #[arg(long, default_value = "agent", value_name = "POLICY")]
    collab: Policy,
    /// Begin with what this file knows of the small model, if it is there; it is not changed.
    #[arg(long, value_name = "FILE.json")]
    collab_file: Option<PathBuf>,
    /// In arms with compress: as in `agentinfer run`.
    #[command(flatten)]
    ways: style::Ways,
    #[command(flatten)]
    style: style::Args,
    /// llama.cpp's llama-server, for the arms of its name.
    #[arg(long, value_name = "PATH")]
    llama_server: Option<PathBuf>,
    /// An OpenAI-compatible server that runs already, such as vLLM, for the arm `server`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The large model, as --server names it.
    #[arg(
        long,
        default_value = "large",
        requires = "server",
        value_name = "NAME"
    )]
    server_model: String,
    /// The key that --server asks for.
    #[arg(
        long,
        env = "AGENTINFER_SERVER_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    server_key: Option<String>,
    /// Threads that every server computes with [default: one per usable core].
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// KV cells of each model, shared by all sessions.
    #[arg(long, default_value_t = 16_384, value_name = "N")]
    cells: u32,
    /// Write down what is finished in this file, and go on behind what is in it.
    #[arg(long, value_name = "FILE.jsonl")]
    record: Option<PathBuf>,
    /// Write one trace per question into this folder, in a folder for each arm.
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let started = SystemTime::now();
    let arms = Arm::list(&args.arms)?;
    let large = arms.iter().any(Arm::needs_large);
    let small = arms.iter().any(Arm::needs_small);
    let documents = format!("{:?}", args.place);
    let tools = args.place.tools().await?;
    let mut sessions = args.sessions;
    sessions.sort_unstable();
    sessions.dedup();
    let mut models = BTreeMap::new();
    let mut found = |name: &str| -> Result<PathBuf> {
        let path = agentinfer_models::resolve(name)?;
        models.insert(name.to_owned(), ModelFile::at(&path));
        Ok(path)
    };
    let options = ResearchOptions {
        tasks: args.tasks,
        documents,
        skip: args.skip,
        n: args.n,
        sessions,
        runs: args.runs,
        arms,
        agentinfer: std::env::current_exe()?,
        llama_server: args.llama_server,
        server: args.server.map(|url| RunningServer {
            url,
            key: args.server_key,
            model: args.server_model,
        }),
        large: large.then(|| found(&args.large)).transpose()?,
        small: small.then(|| found(&args.small)).transpose()?,
        threads: args.threads,
        cells: args.cells,
        policy: args.collab,
        competence: competence(args.collab_file)?,
        agent: AgentOptions {
            style: args.style.style()?,
            ..args.ways.options()
        },
        record: args.record,
        traces: args.traces,
    };
    let work = research(tools, &options, output::note);
    let results = unless_interrupted(work).await??;
    output::line(results.table())?;
    report("research", models, started, results, args.json.as_deref())
}

/// What is known of the small model.
fn competence(file: Option<PathBuf>) -> Result<Competence> {
    let Some(file) = file else {
        return Ok(Competence::default());
    };
    Ok(Competences::read(&file)?.of(TENANT).clone())
}
