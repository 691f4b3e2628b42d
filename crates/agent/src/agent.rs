//! The agent: planner, seekers, writer, in this order; or one conversation.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentinfer_collab::Entry;
use futures_util::future::try_join_all;

use crate::AgentError;
use crate::conversation::{ConversationOptions, converse};
use crate::descriptions::put;
use crate::event::{AgentEvent, EventSink, Quote};
use crate::known::{Findings, Known, Learned};
use crate::llm::{BoxFuture, Llm};
use crate::planner::{ask_for, plan};
use crate::question::AnswerKind;
use crate::run::Run;
use crate::seeker::{Finding, seek};
use crate::tiers::Collab;
use crate::tools::Tools;
use crate::trace::{Recorder, Totals};
use crate::writer::{Source, Written, cite, write};

/// Deepest nesting of descriptions within descriptions. The hardest questions in use have four
/// hops.
const DEEPEST: usize = 4;

/// How often the planner looks at a question again.
const MOST_PLANS: usize = 4;

/// After so many seekers nothing more is planned: an answer may bring descriptions of its own, and
/// a run must end.
const MOST_SEEKERS: usize = 12;

/// Longest wait for hits to be ranked unless told otherwise. Two CPU cores need some ten seconds
/// for such a prompt; where it takes longer others keep the model busy.
const RANK_DEADLINE: Duration = Duration::from_secs(30);

/// In which way the agent works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Step by step: each step asks one simple thing in a short prompt of its own.
    #[default]
    Steps,
    /// In one growing conversation with tools, as most agents do.
    Conversation(ConversationOptions),
}

/// How the agent works. The defaults are chosen for models of about 1.5 billion parameters, which
/// mix documents up when they read many at once.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// In which way; the numbers below are for steps.
    pub style: Style,
    /// How often a seeker or the writer reads while its answer cannot be verified.
    pub rounds: usize,
    /// Documents that a seeker reads first because its question names them.
    pub seeker_named: usize,
    /// Documents that a seeker reads where none is named, and each further time.
    pub seeker_reads: usize,
    /// Documents that the writer reads: those that the question names, and others if they are few.
    pub writer_reads: usize,
    /// Further documents that the writer reads because those link to them.
    pub writer_links: usize,
    /// Documents of the last findings that the writer reads as well.
    pub writer_findings: usize,
    /// Bytes of a document that are read: of a longer one the passages around the question's words.
    pub document_bytes: usize,
    /// Bytes of all documents together that are shown to the model at once: of more, the sentences
    /// that have to do with the question; none for no bound.
    pub reading_bytes: Option<usize>,
    /// Whether a light model looks at the hits of a search first, and only those are read that it
    /// finds worth it: the small one of two, else the model itself.
    pub rank: bool,
    /// How long that may take each time before hits are read as the search ranked them; none for
    /// as long as it takes.
    pub rank_deadline: Option<Duration>,
    /// Where findings are kept for later runs, and those of earlier ones are; none for neither.
    pub findings: Option<Arc<dyn Findings>>,
    /// Where to write the trace (JSONL, one line per call); none means no trace.
    pub trace: Option<PathBuf>,
    /// Who of two models takes which step; none for one model that takes all.
    pub collab: Option<Collab>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            style: Style::Steps,
            rounds: 2,
            seeker_named: 2,
            seeker_reads: 3,
            writer_reads: 3,
            writer_links: 2,
            writer_findings: 2,
            document_bytes: 6_000,
            reading_bytes: None,
            rank: false,
            rank_deadline: Some(RANK_DEADLINE),
            findings: None,
            trace: None,
            collab: None,
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
    /// The question with what was found put in by name: what the writer answered.
    pub resolved: String,
    /// What the seekers found, in order; a conversation has none.
    pub findings: Vec<Finding>,
    /// Calls, tokens and waiting times.
    pub totals: Totals,
    /// From question to answer.
    pub elapsed: Duration,
    /// Which tier took which step, and what came of it; empty without AgentCollab.
    pub steps: Vec<Entry>,
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
    let (resolved, written) = match &run.options.style {
        Style::Steps => steps(run, question).await?,
        Style::Conversation(options) => {
            let resolved = Resolved {
                question: question.to_owned(),
                findings: Vec::new(),
            };
            (resolved, converse(run, question, options).await?)
        }
    };
    let cited = cite(&written);
    if let Some(kept) = &run.options.findings {
        let kind = AnswerKind::of(question);
        let (found, used) = learned(run, &resolved, &kind, &written);
        kept.keep(&Learned {
            session: run.session(),
            model: run.model(),
            question,
            cited: &cited,
            found,
            used,
        });
    }
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
        resolved: resolved.question,
        findings: resolved.findings,
        totals: run.recorder.totals(),
        elapsed,
        steps: run.steps(),
    })
}

/// What was found out anew, and what earlier runs had found out. Only what stands in a document
/// word for word counts, so a comparison's verdict does not.
fn learned(
    run: &Run<'_>,
    resolved: &Resolved,
    kind: &AnswerKind,
    written: &Written,
) -> (Vec<Known>, Vec<Known>) {
    let known = |question: &str, answer: &str, quote: &Quote| Known {
        question: question.to_owned(),
        answer: answer.to_owned(),
        quote: quote.clone(),
        found: SystemTime::now(),
        session: run.session().to_owned(),
    };
    let findings = &resolved.findings;
    let used = findings.iter().map(|finding| finding.recalled.as_ref());
    let used = used.chain([written.recalled.as_ref()]).flatten().cloned();
    let new = findings
        .iter()
        .filter(|it| it.recalled.is_none() && it.is_news());
    let found = new.filter_map(|finding| {
        let quote = finding.quote.as_ref()?;
        Some(known(&finding.question, &finding.answer, quote))
    });
    let answer = written.quote.as_ref();
    let answer = answer.filter(|_| written.recalled.is_none() && !kind.compares());
    let answer = answer.map(|quote| known(&resolved.question, &written.answer, quote));
    (found.chain(answer).collect(), used.collect())
}

/// Finds out what the question describes, then answers it.
async fn steps(run: &Run<'_>, question: &str) -> Result<(Resolved, Written), AgentError> {
    let resolved = resolve(run, question.to_owned(), 0).await?;
    let kind = AnswerKind::of(question);
    let written = write(run, &resolved.question, &kind, &resolved.findings).await?;
    Ok((resolved, written))
}

/// A question in which everything is named that could be found out.
struct Resolved {
    question: String,
    findings: Vec<Finding>,
}

/// Has seekers find out what the question describes, and puts the names in, until the planner
/// has no more to ask. What a seeker is asked may describe something itself: then that is found
/// out before.
fn resolve<'a>(
    run: &'a Run<'_>,
    mut question: String,
    depth: usize,
) -> BoxFuture<'a, Result<Resolved, AgentError>> {
    Box::pin(async move {
        let mut findings = Vec::new();
        let mut all_found = depth < DEEPEST;
        for _ in 0..MOST_PLANS {
            if !all_found || run.seekers() >= MOST_SEEKERS {
                break;
            }
            let unknowns = plan(run, &question).await?;
            if unknowns.is_empty() {
                break;
            }
            let seekers = unknowns.iter().map(|unknown| find(run, unknown, depth));
            let found = try_join_all(seekers).await?;
            for (unknown, found) in unknowns.iter().zip(found) {
                let answer = found.last().filter(|finding| finding.is_news());
                all_found &= answer.is_some();
                if let Some(finding) = answer {
                    question = put(&question, unknown, &finding.answer);
                }
                findings.extend(found);
            }
        }
        Ok(Resolved { question, findings })
    })
}

/// Finds out what a description stands for; the last finding says so.
async fn find(run: &Run<'_>, unknown: &str, depth: usize) -> Result<Vec<Finding>, AgentError> {
    let Resolved {
        question,
        mut findings,
    } = resolve(run, ask_for(unknown), depth + 1).await?;
    findings.push(seek(run, &question).await?);
    Ok(findings)
}

/// A name for the run's session that no other run has. The standard library's hasher is seeded
/// at random, which is all that is needed here.
fn session() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("research-{random:016x}")
}
