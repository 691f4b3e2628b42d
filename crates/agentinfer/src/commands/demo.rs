//! `agentinfer demo`: the same question to a plain stack and to AgentInfer, side by side.

mod record;
mod screen;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use agentinfer_agent::{
    AgentEvent, AgentOptions, Policy, ResearchAgent, SearchApi, Tools, WebPages, WebSearch,
};
use agentinfer_bench::ModelFile;
use agentinfer_bench::research::{Models, Module, PASSAGES_BYTES, WHOLE_DOCUMENT_BYTES, calls};
use agentinfer_world::{Difficulty, Hops, Question, QuestionOptions, Site, World, WorldOptions};
use anyhow::{Context, Result};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use self::record::{Record, Run, line};
use self::screen::Screen;
use crate::columns::Side;
use crate::commands::INTERRUPTED;
use crate::config::RawEngine;
use crate::output;
use crate::think::{self, Thinker};

/// Pages of the demo's world: enough that searching matters, and indexed in a second.
const PAGES: usize = 600;

/// The world, and which of its questions is asked, unless told otherwise.
const SEED: u64 = 1;
const QUESTION: u16 = 1;

/// Most questions of a world to choose from.
const QUESTIONS: u16 = 50;

/// How often the seconds of a run under way are shown.
const TICK: Duration = Duration::from_secs(1);

/// See the research agent answer a question twice: on a plain stack, and on AgentInfer.
///
/// Starts an invented web in this process (`agentinfer world` makes it) and asks one question about
/// it, to be answered by searching and reading over HTTP. First on a plain stack: one model, first
/// come first served, no drafts, no compression, no second model. Then on AgentInfer, with all that
/// on. Ends with both answers, times and tokens. With the default models it takes a few minutes on
/// two cores. One question proves nothing: `agentinfer bench research` and `agentinfer bench
/// collab` measure.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer demo\n  \
    agentinfer demo --seed 7 --question 3 --json demo.json")]
pub(crate) struct Args {
    /// The large model, on both sides: a name from `agentinfer models list` or a GGUF file.
    #[arg(long, default_value = "qwen2.5-coder-1.5b")]
    model: String,
    /// The smaller model that helps it on AgentInfer's side.
    #[arg(long, default_value = "qwen2.5-coder-0.5b", value_name = "MODEL")]
    small: String,
    /// Which world to ask about.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Which of its questions to ask.
    #[arg(long, default_value_t = QUESTION, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(QUESTIONS)))]
    question: u16,
    /// Milliseconds that every search and every page takes, as on the real web.
    #[arg(long, default_value_t = 100, value_name = "MS")]
    latency_ms: u64,
    /// Write what was measured to this file, as `agentinfer bench research` does.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page about it for a browser, as `agentinfer report` does.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    tokio::runtime::Runtime::new()?.block_on(demo(&args))
}

async fn demo(args: &Args) -> Result<ExitCode> {
    let started = SystemTime::now();
    // A missing model shows before anything is made.
    let file = |model: &String| -> Result<(String, ModelFile)> {
        let path = agentinfer_models::resolve(model)?;
        Ok((model.clone(), ModelFile::at(&path)))
    };
    let models = [&args.model, &args.small].map(file);
    let models: BTreeMap<_, _> = models.into_iter().collect::<Result<_>>()?;
    let (site, question) = world(args).await?;
    let bound = site.bind(0).await?;
    let url = format!("http://{}", bound.address());
    tokio::spawn(bound.run(std::future::pending()));
    output::line(format_args!("An invented web of {PAGES} pages at {url}"))?;
    output::line(format_args!("Question: {}\n", question.question))?;
    let arms = arms(args);
    for arm in &arms {
        output::line(format_args!("{}: {}", arm.name, arm.settings))?;
    }
    output::line("")?;
    let heads = [arms[0].name.clone(), arms[1].name.clone()];
    let screen = Mutex::new(Screen::new(heads));
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut runs = Vec::new();
    for arm in arms {
        let run = ask(arm, &question, &url, &screen, interrupt.as_mut()).await?;
        let Some(run) = run else {
            return Ok(ExitCode::from(INTERRUPTED));
        };
        runs.push(run);
    }
    lock(&screen).finish();
    let record = Record {
        id: format!("seed-{}-question-{}", args.seed, args.question),
        question: question.question,
        answers: question.answers,
        runs,
    };
    output::line(format_args!("\n{}", record.verdict()))?;
    output::line(
        "This is one question: it proves nothing. To measure, run\n  \
         agentinfer bench research   (F1 and seconds over many questions)\n  \
         agentinfer bench collab     (two models beside one, exactly paired)",
    )?;
    record.write(models, started, args.json.as_deref(), args.html.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// The world's site, and the question to ask.
async fn world(args: &Args) -> Result<(Site, Question)> {
    let (seed, number) = (args.seed, usize::from(args.question));
    let latency = Duration::from_millis(args.latency_ms);
    let made = spawn_blocking(move || -> Result<(Site, Question)> {
        let world = World::generate(WorldOptions {
            seed,
            pages: PAGES,
            difficulty: Difficulty::Easy,
            ..WorldOptions::default()
        })?;
        let questions = world.questions(&QuestionOptions {
            count: QUESTIONS.into(),
            hops: Hops::new(2, 2)?,
            ..QuestionOptions::default()
        });
        let question = questions.into_iter().nth(number - 1);
        let question = question.context("this world has fewer questions; give a smaller one")?;
        Ok((Site::new(world, latency)?, question))
    });
    made.await?
}

/// One way to run the agent.
struct Arm {
    side: Side,
    name: String,
    settings: String,
    think: think::Args,
    document_bytes: usize,
    modules: Vec<Module>,
}

/// The plain stack, then ours.
fn arms(args: &Args) -> [Arm; 2] {
    let plain = RawEngine {
        policy: Some("fcfs".to_owned()),
        spec: Some("off".to_owned()),
        offload_mib: Some(0),
        ..RawEngine::default()
    };
    [
        Arm {
            side: Side::Left,
            name: "Plain stack".to_owned(),
            settings: format!("{}, policy fcfs, no drafts, whole documents", args.model),
            think: think::Args::here(args.model.clone(), None, plain),
            document_bytes: WHOLE_DOCUMENT_BYTES,
            modules: Vec::new(),
        },
        Arm {
            side: Side::Right,
            name: "AgentInfer".to_owned(),
            settings: format!(
                "{} with {}, policy agent, drafts of the session, passages of documents",
                args.model, args.small
            ),
            think: think::Args::here(
                args.model.clone(),
                // The default policy first has both models take nearly every step, to learn what
                // the smaller one does well; for a single question that does not pay.
                Some((args.small.clone(), Policy::AlwaysTrue(Default::default()))),
                RawEngine::default(),
            ),
            document_bytes: PASSAGES_BYTES,
            // Of AgentCompress the passages: the agent's steps are too short for more.
            modules: Module::ALL.map(|(module, _)| module).to_vec(),
        },
    ]
}

/// Asks the question one way; none where `interrupt` came first. Models are loaded before the clock
/// starts, and in any case stopped.
async fn ask(
    arm: Arm,
    question: &Question,
    url: &str,
    screen: &Mutex<Screen>,
    interrupt: Pin<&mut impl Future<Output = io::Result<()>>>,
) -> Result<Option<Run>> {
    let side = arm.side;
    lock(screen).status(side, "loading the model".to_owned());
    let thinker = Thinker::start(&arm.think).await?;
    let api = SearchApi::SearXng {
        url: url.to_owned(),
    };
    let tools = Tools::new(Arc::new(WebSearch::new(api)?), Arc::new(WebPages::new()?));
    let trace = NamedTempFile::new().context("no temporary file can be made")?;
    let options = AgentOptions {
        trace: Some(trace.path().to_owned()),
        document_bytes: arm.document_bytes,
        collab: thinker.collab.clone(),
        ..AgentOptions::default()
    };
    let agent = ResearchAgent::new(thinker.llm.clone(), tools, options);
    let begun = Instant::now();
    let report = {
        let mut sink = |event: AgentEvent| {
            if let Some(line) = line(begun.elapsed(), &event) {
                lock(screen).push(side, &line);
            }
        };
        let clock = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let seconds = begun.elapsed().as_secs();
                lock(screen).status(side, format!("{seconds:>5} s ..."));
            }
        };
        tokio::select! {
            report = agent.run(&question.question, &mut sink) => Some(report),
            () = clock => None,
            _ = interrupt => None,
        }
    };
    thinker.stop().await;
    let Some(report) = report.transpose()? else {
        return Ok(None);
    };
    let run = Run {
        name: arm.name,
        modules: arm.modules,
        models: match arm.think.has_small() {
            true => Models::Both,
            false => Models::Large,
        },
        right: Record::is_right(&report.answer, &question.answers),
        answer: report.answer,
        seconds: report.elapsed.as_secs_f64(),
        totals: report.totals,
        calls: calls(trace.path()),
    };
    let mut screen = lock(screen);
    screen.status(side, String::new());
    screen.push(side, &run.summary());
    Ok(Some(run))
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    // Each text is added whole: a panic elsewhere leaves the screen as good as it was.
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
