//! The writer: answers the whole question from what the seekers found.

use std::collections::HashSet;

use crate::AgentError;
use crate::event::Quote;
use crate::evidence;
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
    let documents = gather(run, whole, findings).await?;
    let known: Vec<_> = findings
        .iter()
        .filter(|finding| finding.quote.is_some())
        .map(|finding| finding.statement.clone())
        .collect();
    let kind = AnswerKind::of(whole);
    let reading = read(run, "write", &documents, &known, whole, &kind).await?;
    let quote = verify(&reading, &kind, &documents);
    let last = findings.last().filter(|last| last.quote.is_some());
    // The chain of verified facts stands where the writer's own answer stands nowhere.
    let (answer, statement, quote) = match (quote, last) {
        (None, Some(last)) if kind.fits(&last.answer) => (
            last.answer.clone(),
            last.statement.clone(),
            last.quote.clone(),
        ),
        (quote, _) => (reading.answer.clone(), reading.conclusion.clone(), quote),
    };
    let quotes = findings.iter().filter_map(|finding| finding.quote.clone());
    let stated = evidence::support(&reading.facts, &documents);
    let sources = sources(quotes.chain(quote).chain(stated));
    Ok(Written {
        answer,
        statement,
        sources,
    })
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
