//! The agent: planner, seekers, writer, in this order.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::AgentError;
use crate::event::{AgentEvent, EventSink};
use crate::llm::Llm;
use crate::planner::plan;
use crate::question::AnswerKind;
use crate::run::Run;
use crate::seeker::{Finding, seek_all};
use crate::tools::Tools;
use crate::trace::{Recorder, Totals};
use crate::writer::{Source, cite, write};

/// How the agent works. The defaults are chosen for models of about 1.5 billion parameters, which
/// mix documents up when they read many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentOptions {
    /// How often a seeker searches while its answer cannot be verified.
    pub rounds: usize,
    /// Documents that a seeker reads before all others because its sub-question names them.
    pub seeker_named: usize,
    /// Documents that a seeker reads each round.
    pub seeker_reads: usize,
    /// Further documents, linked from those or next best.
    pub seeker_links: usize,
    /// Documents that the writer reads, at most.
    pub writer_reads: usize,
    /// Of these, how many are linked from others.
    pub writer_links: usize,
    /// Where to write the trace (JSONL, one line per call); none means no trace.
    pub trace: Option<PathBuf>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            rounds: 2,
            seeker_named: 2,
            seeker_reads: 3,
            seeker_links: 1,
            writer_reads: 5,
            writer_links: 2,
            trace: None,
        }
    }
}

/// A question answered.
#[derive(Clone, Debug)]
pub struct Report {
    /// The answer alone: a few words.
    pub answer: String,
    /// A sentence with the answer and numbered references, then the list of sources.
    pub cited: String,
    /// The documents that support the answer.
    pub sources: Vec<Source>,
    /// The plan: sub-questions, in which `#1` stands for the first one's answer.
    pub plan: Vec<String>,
    /// What the seekers found.
    pub findings: Vec<Finding>,
    /// Calls, tokens and waiting times.
    pub totals: Totals,
    /// From question to answer.
    pub elapsed: Duration,
}

/// The deep-research agent.
#[derive(Clone)]
pub struct ResearchAgent {
    llm: Arc<dyn Llm>,
    tools: Tools,
    options: AgentOptions,
}

impl ResearchAgent {
    /// An agent that thinks with `llm` and searches and reads with `tools`.
    pub fn new(llm: Arc<dyn Llm>, tools: Tools, options: AgentOptions) -> Self {
        Self {
            llm,
            tools,
            options,
        }
    }

    /// Answers a question. Events go to `sink` as they happen. Dropping the future cancels the
    /// run; the trace then ends with a line that says so.
    ///
    /// # Errors
    /// When the question is empty, the model or every search fails, or the trace cannot be
    /// written. An answer that the model garbles, or a document that cannot be read, is none.
    pub async fn run(
        &self,
        question: &str,
        sink: &mut dyn EventSink,
    ) -> Result<Report, AgentError> {
        let question = question.trim();
        if question.is_empty() {
            return Err(AgentError::EmptyQuestion);
        }
        let trace = self.options.trace.as_deref();
        let recorder = Recorder::start(trace, question, self.llm.model())?;
        let (llm, tools) = (self.llm.as_ref(), &self.tools);
        let run = Run::new(llm, tools, &self.options, sink, recorder, session());
        let report = work(&run, question).await;
        let outcome = report.as_ref().map(|report| report.answer.as_str());
        run.recorder.end(outcome);
        report
    }
}

async fn work(run: &Run<'_>, question: &str) -> Result<Report, AgentError> {
    // A choice between things that the question names is one reading of their documents.
    let plan = match AnswerKind::of(question) {
        AnswerKind::Choice(_) => vec![question.to_owned()],
        _ => plan(run, question).await?,
    };
    // A plan of one question is the writer's own work.
    let findings = match plan.len() {
        1 => Vec::new(),
        _ => seek_all(run, &plan, question).await?,
    };
    let written = write(run, question, &findings).await?;
    let cited = cite(&written);
    let elapsed = run.recorder.started().elapsed();
    run.tell(AgentEvent::Answer {
        answer: written.answer.clone(),
        cited: cited.clone(),
        elapsed,
    });
    Ok(Report {
        answer: written.answer,
        cited,
        sources: written.sources,
        plan,
        findings,
        totals: run.recorder.totals(),
        elapsed,
    })
}

/// A name for the run's session that no other run has. The standard library's hasher is seeded
/// at random, which is all that is needed here.
fn session() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("research-{random:016x}")
}
