//! Information seekers: each answers one sub-question from documents.
//!
//! A seeker searches, reads a few documents and answers (`document_qa`). An answer counts as found
//! when it has the form that the sub-question asks for and stands in a document; otherwise the
//! seeker goes on with the next best documents, a bounded number of times.

use std::collections::HashSet;

use futures_util::future::try_join_all;

use crate::AgentError;
use crate::event::{AgentEvent, Quote};
use crate::evidence;
use crate::planner::{fill, references};
use crate::prompts::{self, Reading};
use crate::question::AnswerKind;
use crate::retrieve::{Wanted, named, retrieve};
use crate::run::{Run, Step};
use crate::tools::Document;

/// Enough for three sentences and a long name.
const READING_TOKENS: u32 = 200;

/// What a seeker found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The sub-question, with earlier answers filled in.
    pub question: String,
    /// Its answer, as short as possible.
    pub answer: String,
    /// What the documents say, in the model's words.
    pub statement: String,
    /// The sentence that holds the answer; none where the answer could not be verified.
    pub quote: Option<Quote>,
    /// The document of the quote; else the best document read.
    pub document: Option<Document>,
}

/// Answers all sub-questions: those that do not wait for others' answers at the same time.
pub(crate) async fn seek_all(
    run: &Run<'_>,
    questions: &[String],
    whole: &str,
) -> Result<Vec<Finding>, AgentError> {
    let mut findings: Vec<Option<Finding>> = vec![None; questions.len()];
    loop {
        let is_ready = |number: &usize| {
            let found = |reference: usize| findings[reference - 1].is_some();
            findings[*number].is_none() && references(&questions[*number]).all(found)
        };
        let ready: Vec<_> = (0..questions.len()).filter(is_ready).collect();
        if ready.is_empty() {
            return Ok(findings.into_iter().flatten().collect());
        }
        let answer = |number: usize| {
            let finding = findings.get(number - 1)?.as_ref()?;
            Some(finding.answer.as_str()).filter(|answer| !answer.is_empty())
        };
        let filled: Vec<_> = ready.iter().map(|&n| fill(&questions[n], answer)).collect();
        let seekers = ready.iter().zip(&filled);
        let seekers = seekers.map(|(&number, question)| seek(run, number, question, whole));
        let found = try_join_all(seekers).await?;
        for (number, finding) in ready.into_iter().zip(found) {
            findings[number] = Some(finding);
        }
    }
}

/// Answers one sub-question.
async fn seek(
    run: &Run<'_>,
    seeker: usize,
    question: &str,
    whole: &str,
) -> Result<Finding, AgentError> {
    run.tell(AgentEvent::Think {
        seeker,
        question: question.to_owned(),
    });
    let mut seen = HashSet::new();
    let mut best: Option<Finding> = None;
    for round in 0..=run.options.rounds.max(1) {
        let wanted = Wanted {
            seeker,
            question,
            whole,
            first: run.options.seeker_reads,
            linked: run.options.seeker_links,
            except: &seen,
        };
        // The documents that the sub-question names come first and alone: the fewer documents a
        // small model reads at once, the less it mixes them up.
        let documents = match round {
            0 => named(run, seeker, question, run.options.seeker_named).await?,
            _ => retrieve(run, &wanted).await?,
        };
        if documents.is_empty() {
            continue;
        }
        seen.extend(documents.iter().map(|document| document.url.clone()));
        let finding = document_qa(run, question, documents).await?;
        let found = finding.quote.is_some();
        if found || best.is_none() {
            best = Some(finding);
        }
        if found {
            break;
        }
    }
    let finding = best.unwrap_or_else(|| Finding {
        question: question.to_owned(),
        answer: String::new(),
        statement: String::new(),
        quote: None,
        document: None,
    });
    run.tell(AgentEvent::Fact {
        seeker,
        answer: finding.answer.clone(),
        statement: finding.statement.clone(),
        quote: finding.quote.clone(),
    });
    Ok(finding)
}

/// `document_qa`: reads documents for one sub-question, and verifies the answer.
async fn document_qa(
    run: &Run<'_>,
    question: &str,
    documents: Vec<Document>,
) -> Result<Finding, AgentError> {
    let kind = AnswerKind::of(question);
    let reading = read(run, "document_qa", &documents, &[], question, &kind).await?;
    let quote = verify(&reading, &kind, &documents);
    let document = match &quote {
        Some(quote) => documents.iter().find(|document| document.url == quote.url),
        None => documents.first(),
    };
    Ok(Finding {
        question: question.to_owned(),
        document: document.cloned(),
        answer: reading.answer,
        statement: reading.conclusion,
        quote,
    })
}

/// Asks the model to answer from documents. An unusable reply counts as no answer.
pub(crate) async fn read(
    run: &Run<'_>,
    name: &'static str,
    documents: &[Document],
    known: &[String],
    question: &str,
    kind: &AnswerKind,
) -> Result<Reading, AgentError> {
    let step = Step {
        name,
        messages: prompts::reader(documents, known, question),
        schema: prompts::reader_schema(kind),
        max_tokens: READING_TOKENS,
    };
    match run.ask::<Reading>(step).await {
        Ok(reading) => Ok(Reading {
            answer: tidy(&reading.answer),
            ..reading
        }),
        Err(AgentError::BadReply { reason, .. }) => {
            tracing::debug!(reason, "no reading");
            Ok(Reading::default())
        }
        Err(error) => Err(error),
    }
}

/// The sentence that supports a reading's answer, if it has the right form and stands somewhere.
pub(crate) fn verify(
    reading: &Reading,
    kind: &AnswerKind,
    documents: &[Document],
) -> Option<Quote> {
    if !kind.fits(&reading.answer) {
        return None;
    }
    let statement = format!("{} {}", reading.facts, reading.conclusion);
    match kind {
        AnswerKind::YesNo => evidence::support(&statement, documents),
        _ => evidence::quote(&reading.answer, &statement, documents),
    }
}

/// An answer without quotation marks around it and full stop after it.
fn tidy(answer: &str) -> String {
    let answer = answer.trim();
    let answer = match answer.strip_suffix(['.', ',', ';']) {
        // `Jr.`, `U.S.`, `Inc.` keep theirs.
        Some(bare)
            if bare
                .rsplit([' ', '.'])
                .next()
                .is_some_and(|word| word.len() > 3) =>
        {
            bare
        }
        _ => answer,
    };
    let quoted = answer
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    quoted.unwrap_or(answer).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_tidied() {
        for (answer, tidied) in [
            (" Oslo ", "Oslo"),
            ("the city of Oslo.", "the city of Oslo"),
            ("Kalmar.", "Kalmar"),
            ("the U.S.", "the U.S."),
            ("Ann Lee Jr.", "Ann Lee Jr."),
            ("\"The Reds\"", "The Reds"),
            ("Nick \"N\" Hart", "Nick \"N\" Hart"),
            ("", ""),
        ] {
            assert_eq!(tidy(answer), tidied);
        }
    }
}
