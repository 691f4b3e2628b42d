//! The writer: answers the whole question from what the seekers found.

use std::collections::HashSet;

use crate::AgentError;
use crate::event::Quote;
use crate::evidence;
use crate::prompts::Reading;
use crate::question::AnswerKind;
use crate::retrieve::{Wanted, retrieve};
use crate::run::Run;
use crate::seeker::{Finding, read, verify};
use crate::tools::Document;

/// A document that supports the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its title.
    pub title: String,
    /// Its address.
    pub url: String,
    /// The sentence that supports the answer.
    pub quote: String,
}

/// What the writer wrote.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The answer alone.
    pub(crate) answer: String,
    /// A sentence with the answer.
    pub(crate) statement: String,
    /// What supports it.
    pub(crate) sources: Vec<Source>,
}

/// Answers the whole question.
pub(crate) async fn write(
    run: &Run<'_>,
    whole: &str,
    findings: &[Finding],
) -> Result<Written, AgentError> {
    let kind = AnswerKind::of(whole);
    let documents = gather(run, whole, findings).await?;
    let facts = findings.iter().filter(|finding| finding.quote.is_some());
    let known: Vec<_> = facts.map(|finding| finding.statement.clone()).collect();
    let reading = read(run, "write", &documents, &known, whole, &kind).await?;
    let mut draft = Draft::of(reading, &kind, documents);
    // What the facts name and was not read yet is the next hop, when the question has one more
    // than was planned.
    for _ in 1..run.options.rounds {
        let more = follow(run, findings.len(), whole, &draft).await?;
        if more.is_empty() {
            break;
        }
        let documents: Vec<_> = draft.support().into_iter().chain(more).collect();
        let known = [draft.reading.facts.clone()];
        let reading = read(run, "write", &documents, &known, whole, &kind).await?;
        let next = Draft::of(reading, &kind, documents);
        let read_before: Vec<_> = draft.documents;
        if next.quote.is_none() {
            draft = Draft {
                documents: read_before,
                ..draft
            };
            break;
        }
        draft = next;
        draft.documents.extend(read_before);
    }
    Ok(draft.finish(&kind, findings))
}

/// A reading of the whole question, with what it was read from.
struct Draft {
    reading: Reading,
    quote: Option<Quote>,
    documents: Vec<Document>,
}

impl Draft {
    fn of(reading: Reading, kind: &AnswerKind, documents: Vec<Document>) -> Self {
        Self {
            quote: verify(&reading, kind, &documents),
            reading,
            documents,
        }
    }

    /// The documents that the facts stand in.
    fn support(&self) -> Vec<Document> {
        let stated = evidence::supports(&self.reading.facts, &self.documents);
        let urls: HashSet<_> = stated
            .iter()
            .chain(&self.quote)
            .map(|quote| &quote.url)
            .collect();
        let documents = self.documents.iter();
        documents
            .filter(|document| urls.contains(&document.url))
            .cloned()
            .collect()
    }

    fn finish(self, kind: &AnswerKind, findings: &[Finding]) -> Written {
        let stated = evidence::supports(&self.reading.facts, &self.documents);
        let quotes = findings.iter().filter_map(|finding| finding.quote.clone());
        let sources = sources(quotes.chain(self.quote.clone()).chain(stated));
        let last = findings.last().filter(|last| last.quote.is_some());
        let (answer, statement) = match (agreement(kind, findings), self.quote, last) {
            (Some(answer), _, _) => (answer.to_owned(), self.reading.conclusion),
            // The chain of verified facts stands where the writer's own answer stands nowhere.
            (None, None, Some(last)) if kind.fits(&last.answer) => {
                (last.answer.clone(), last.statement.clone())
            }
            _ => (self.reading.answer, self.reading.conclusion),
        };
        Written {
            answer,
            statement,
            sources,
        }
    }
}

/// A question for yes or no that was split into several such questions is answered yes when all
/// of them are. Small models list the facts well and then draw the wrong conclusion.
fn agreement(kind: &AnswerKind, findings: &[Finding]) -> Option<&'static str> {
    let closed = |finding: &Finding| finding.answer == "yes" || finding.answer == "no";
    if *kind != AnswerKind::YesNo || findings.len() < 2 || !findings.iter().all(closed) {
        return None;
    }
    let all = findings.iter().all(|finding| finding.answer == "yes");
    Some(if all { "yes" } else { "no" })
}

/// Reads documents that a draft's facts name and that were not read for it.
async fn follow(
    run: &Run<'_>,
    seeker: usize,
    whole: &str,
    draft: &Draft,
) -> Result<Vec<Document>, AgentError> {
    let facts = format!("{} {}", draft.reading.facts, draft.reading.conclusion);
    let read: HashSet<_> = draft
        .documents
        .iter()
        .map(|document| document.url.clone())
        .collect();
    let hits = run.search(seeker, &[whole.to_owned()]).await?.concat();
    let mut named = run.mentioned(&facts).await?;
    // The page about the answer itself tells nothing about the question.
    let answer = evidence::words(&draft.reading.answer);
    named.retain(|hit| !read.contains(&hit.url) && evidence::words(&hit.title) != answer);
    for hit in &mut named {
        let found = hits.iter().find(|other| other.url == hit.url);
        hit.score = found.map_or(0.0, |other| other.score);
    }
    named.sort_by(|a, b| b.score.total_cmp(&a.score));
    named.truncate(run.options.writer_links);
    Ok(run.read(seeker, &named).await)
}

/// The documents to answer from: those that the findings stand in, then the best for the whole
/// question, which also catch what the plan missed.
async fn gather(
    run: &Run<'_>,
    whole: &str,
    findings: &[Finding],
) -> Result<Vec<Document>, AgentError> {
    let mut documents: Vec<Document> = Vec::new();
    let verified = findings.iter().filter(|finding| finding.quote.is_some());
    for document in verified.filter_map(|finding| finding.document.as_ref()) {
        if documents.iter().all(|other| other.url != document.url) {
            documents.push(document.clone());
        }
    }
    let except: HashSet<_> = documents
        .iter()
        .map(|document| document.url.clone())
        .collect();
    let room = run.options.writer_reads.saturating_sub(documents.len());
    let linked = room.min(run.options.writer_links);
    let wanted = Wanted {
        seeker: findings.len(),
        question: whole,
        whole,
        first: room - linked,
        linked,
        except: &except,
    };
    let more = retrieve(run, &wanted).await?;
    documents.extend(more);
    Ok(documents)
}

/// One source per document, in order.
fn sources(quotes: impl Iterator<Item = Quote>) -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    for quote in quotes {
        if sources.iter().all(|source| source.url != quote.url) {
            sources.push(Source {
                title: quote.title,
                url: quote.url,
                quote: quote.text,
            });
        }
    }
    sources
}

/// The statement with numbered references, and the list of sources.
pub(crate) fn cite(written: &Written) -> String {
    let mut text = written.statement.trim().to_owned();
    if text.is_empty() {
        text = written.answer.clone();
    }
    for number in 1..=written.sources.len() {
        text.push_str(&format!(" [{number}]"));
    }
    for (source, number) in written.sources.iter().zip(1..) {
        text.push_str(&format!("\n[{number}] {} ({})", source.title, source.url));
    }
    text
}
