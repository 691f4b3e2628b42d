//! Information seekers: each finds out one thing from documents.
//!
//! A seeker searches, reads a few documents and answers (`document_qa`). An answer counts as found
//! when it stands in a document; otherwise the seeker goes on with the next best documents, a
//! bounded number of times. What an earlier run found out is read first, if there is something.

use std::collections::HashSet;

use agentinfer_collab::{Role, Signal, Signals};

use crate::AgentError;
use crate::event::{AgentEvent, Quote};
use crate::evidence;
use crate::known::{Known, known};
use crate::prompts::{self, Fact};
use crate::question::AnswerKind;
use crate::retrieve::{Wanted, named, retrieve};
use crate::run::{Run, Step};
use crate::tiers::{Judged, Turn};
use crate::tools::Document;

/// Enough for as many characters as the schema allows, a little more than two to a token.
const FACT_TOKENS: u32 = 180;

/// First words of answers that say there is none.
const NO_ANSWERS: [&str; 5] = ["no", "none", "not", "unknown", "unspecified"];

/// What a seeker found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it looked for.
    pub question: String,
    /// The answer, as short as possible; empty if there is none.
    pub answer: String,
    /// What the documents say, in the model's words.
    pub statement: String,
    /// The sentence that holds the answer; none where the answer could not be verified.
    pub quote: Option<Quote>,
    /// The document of the quote; else the best document read.
    pub document: Option<Document>,
    /// What an earlier run found out, if that was read instead of documents.
    pub recalled: Option<Known>,
}

impl Finding {
    /// Whether there is an answer, and it tells more than the question.
    pub(crate) fn is_news(&self) -> bool {
        let asked = evidence::words(&self.question);
        let answer = evidence::words(&self.answer);
        let none = |word: &String| NO_ANSWERS.contains(&word.as_str());
        answer.first().is_some_and(|first| !none(first))
            && !asked.windows(answer.len()).any(|part| part == answer)
    }
}

/// Answers one question that asks for a name.
pub(crate) async fn seek(run: &Run<'_>, question: &str) -> Result<Finding, AgentError> {
    let seeker = run.next_seeker();
    run.tell(AgentEvent::Think {
        seeker,
        question: question.to_owned(),
    });
    let finding = match recall(run, seeker, question).await? {
        Some(finding) => finding,
        None => research(run, seeker, question).await?,
    };
    run.tell(AgentEvent::Fact {
        seeker,
        answer: finding.answer.clone(),
        statement: finding.statement.clone(),
        quote: finding.quote.clone(),
    });
    Ok(finding)
}

/// Reads again what an earlier run found out; none where nothing is known, or where its sentence
/// does not answer this question.
async fn recall(
    run: &Run<'_>,
    seeker: usize,
    question: &str,
) -> Result<Option<Finding>, AgentError> {
    let Some(known) = known(run, seeker, question) else {
        return Ok(None);
    };
    let found = document_qa(run, question, &[known.document()]).await?;
    let answers =
        found.quote.is_some() && found.is_news() && AnswerKind::of(question).fits(&found.answer);
    Ok(answers.then_some(Finding {
        recalled: Some(known),
        ..found
    }))
}

/// Searches and reads until an answer can be verified, or the rounds are over.
async fn research(run: &Run<'_>, seeker: usize, question: &str) -> Result<Finding, AgentError> {
    let mut seen = HashSet::new();
    let mut finding = Finding {
        question: question.to_owned(),
        answer: String::new(),
        statement: String::new(),
        quote: None,
        document: None,
        recalled: None,
    };
    // What the question names comes first and alone: the fewer documents a small model reads at
    // once, the less it mixes them up.
    let mut documents = named(run, seeker, question, run.options.seeker_named).await?;
    for round in 0..run.options.rounds.max(1) {
        if round > 0 || documents.is_empty() {
            let wanted = Wanted {
                seeker,
                question,
                first: run.options.seeker_reads,
                linked: 0,
                except: &seen,
            };
            documents = retrieve(run, &wanted).await?;
        }
        if documents.is_empty() {
            break;
        }
        seen.extend(documents.iter().map(|document| document.url.clone()));
        let found = document_qa(run, question, &documents).await?;
        if found.quote.is_some() || finding.answer.is_empty() {
            finding = found;
        }
        if finding.quote.is_some() {
            break;
        }
    }
    Ok(finding)
}

/// `document_qa`: reads documents for one question, and verifies the answer. A reading that is
/// doubted is made again.
async fn document_qa(
    run: &Run<'_>,
    question: &str,
    documents: &[Document],
) -> Result<Finding, AgentError> {
    let mut turn = run.begin(Role::Seeker, "document_qa");
    loop {
        let finding = read(run, &mut turn, question, documents).await?;
        let judged = Judged {
            signals: Signals::default()
                .with(Signal::Parsed, !finding.statement.is_empty())
                .with(Signal::Answered, finding.is_news())
                .with(Signal::Supported, finding.quote.is_some()),
            gist: evidence::words(&finding.answer).join(" "),
        };
        match run.finish(turn, judged).await? {
            Some(again) => turn = again,
            None => return Ok(finding),
        }
    }
}

async fn read(
    run: &Run<'_>,
    turn: &mut Turn,
    question: &str,
    documents: &[Document],
) -> Result<Finding, AgentError> {
    let step = Step {
        name: "document_qa",
        messages: prompts::seeker(&run.shown(question, documents), question),
        schema: prompts::seeker_schema(),
        max_tokens: FACT_TOKENS,
    };
    let fact = run.ask::<Fact>(turn, step).await?.unwrap_or_default();
    let answer = tidy(&fact.answer);
    let quote = evidence::quote(&answer, &fact.fact, documents);
    let document = match &quote {
        Some(quote) => documents.iter().find(|document| document.url == quote.url),
        None => documents.first(),
    };
    Ok(Finding {
        question: question.to_owned(),
        document: document.cloned(),
        answer,
        statement: fact.fact,
        quote,
        recalled: None,
    })
}

/// An answer without quotation marks around it and full stop after it.
pub(crate) fn tidy(answer: &str) -> String {
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
