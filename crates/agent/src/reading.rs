//! Reading documents for the answer to a question in which everything is named.
//!
//! Two simple steps do better than one: first the model says what decides the question and
//! concludes, then it copies the answer out of these two sentences. Asked for both at once, it
//! often gives the thing that the documents are about instead of what is asked for.

use crate::AgentError;
use crate::compare::{Value, decide};
use crate::prompts::{self, Compared, Extracted, Noted};
use crate::question::AnswerKind;
use crate::run::{Run, Step};
use crate::seeker::tidy;
use crate::tiers::Turn;
use crate::tools::{Document, bare_title};

/// Enough for as many characters as the schemas allow, a little more than two to a token.
const READING_TOKENS: u32 = 320;

/// Enough for an answer.
const ANSWER_TOKENS: u32 = 60;

/// The answer and what it rests on; all empty where the model's replies could not be used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// What the documents say.
    pub(crate) facts: String,
    /// A sentence with the answer.
    pub(crate) conclusion: String,
    /// The answer alone.
    pub(crate) answer: String,
}

/// Reads documents for the answer.
pub(crate) async fn read(
    run: &Run<'_>,
    turn: &mut Turn,
    documents: &[Document],
    question: &str,
    kind: &AnswerKind,
) -> Result<Reading, AgentError> {
    if kind.compares() {
        return compare(run, turn, documents, question, kind).await;
    }
    let step = Step {
        name: "write",
        messages: prompts::writer(&run.shown(question, documents), question),
        schema: prompts::writer_schema(),
        max_tokens: READING_TOKENS,
    };
    let Some(Noted { facts, conclusion }) = run.ask(turn, step).await? else {
        return Ok(Reading::default());
    };
    let step = Step {
        name: "extract",
        messages: prompts::extract(&format!("{facts} {conclusion}"), question),
        schema: prompts::extract_schema(),
        max_tokens: ANSWER_TOKENS,
    };
    let extracted: Option<Extracted> = run.ask(turn, step).await?;
    let answer = extracted.map_or_else(String::new, |extracted| tidy(&extracted.answer));
    Ok(Reading {
        facts,
        conclusion,
        answer,
    })
}

/// Reads a value of each thing that is compared. Where these decide, the model's own verdict does
/// not count.
async fn compare(
    run: &Run<'_>,
    turn: &mut Turn,
    documents: &[Document],
    question: &str,
    kind: &AnswerKind,
) -> Result<Reading, AgentError> {
    let things = things(documents, kind);
    let step = Step {
        name: "compare",
        messages: prompts::comparison(&run.shown(question, documents), question),
        schema: prompts::comparison_schema(kind, &things),
        max_tokens: READING_TOKENS,
    };
    let compared: Option<Compared> = run.ask(turn, step).await?;
    let Some(mut compared) = compared else {
        return Ok(Reading::default());
    };
    let value = |thing| compared.values.remove_entry(&thing);
    let values: Vec<Value> = things.into_iter().filter_map(value).collect();
    let conclusion = match decide(question, kind, &values) {
        Some(answer) if answer != compared.answer => {
            let said: Vec<_> = values
                .iter()
                .map(|(of, is)| format!("{of}: {is}"))
                .collect();
            compared.answer = answer;
            format!("{}. The answer is {}.", said.join("; "), compared.answer)
        }
        _ => compared.conclusion,
    };
    Ok(Reading {
        facts: compared.facts,
        conclusion,
        answer: compared.answer,
    })
}

/// The things compared: the question's own choices, or what the documents are about.
fn things(documents: &[Document], kind: &AnswerKind) -> Vec<String> {
    if let AnswerKind::Choice(choices) = kind {
        return choices.clone();
    }
    let mut things: Vec<String> = Vec::new();
    for document in documents {
        let name = bare_title(&document.title);
        if !things.iter().any(|thing| thing == name) {
            things.push(name.to_owned());
        }
    }
    things
}
