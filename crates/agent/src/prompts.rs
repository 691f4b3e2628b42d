//! What the model is told. Small models are weak: every prompt asks for one simple thing, shows
//! it by examples, and fixes the form of the answer by a JSON schema.
//!
//! The instructions and examples of a prompt never change, so a server keeps them as a resident
//! prefix that all steps and sessions share; what varies comes last. Examples stand in the system
//! message: as earlier turns of the conversation, small models take them for facts.

use agentinfer_protocol::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::question::AnswerKind;
use crate::tools::Document;

/// Most sub-questions of a plan. The hardest questions in use have four hops.
pub(crate) const MOST_QUESTIONS: usize = 4;

/// The planner's instructions.
const PLANNER: &str = include_str!("prompts/planner.txt");

/// The reader's instructions: seekers and the writer read alike.
const READER: &str = include_str!("prompts/reader.txt");

/// The planner's answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Planned {
    /// Sub-questions in order; `#1` stands for the first one's answer.
    pub(crate) questions: Vec<String>,
}

/// The reader's answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Reading {
    /// What the documents say.
    pub(crate) facts: String,
    /// A sentence that answers what was asked.
    pub(crate) conclusion: String,
    /// The answer alone.
    pub(crate) answer: String,
}

/// The conversation that asks for a plan.
pub(crate) fn planner(question: &str) -> Vec<Message> {
    let ask = format!("Question: {question}");
    vec![Message::system(PLANNER.trim_end()), Message::user(ask)]
}

/// The schema of a plan.
pub(crate) fn planner_schema() -> Value {
    let questions = json!({
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": MOST_QUESTIONS,
    });
    object(json!({"questions": questions}))
}

/// The conversation that asks for an answer from documents. `known` are facts found before.
pub(crate) fn reader(documents: &[Document], known: &[String], question: &str) -> Vec<Message> {
    let mut ask = String::from("Documents:\n");
    for (document, number) in documents.iter().zip(1..) {
        ask.push_str(&format!(
            "[{number}] {}: {}\n",
            document.title, document.text
        ));
    }
    for fact in known {
        ask.push_str(&format!("Known: {fact}\n"));
    }
    ask.push_str(&format!("\nQuestion: {question}"));
    vec![Message::system(READER.trim_end()), Message::user(ask)]
}

/// The schema of an answer from documents.
pub(crate) fn reader_schema(kind: &AnswerKind) -> Value {
    object(json!({
        "facts": {"type": "string"},
        "conclusion": {"type": "string"},
        "answer": kind.schema(),
    }))
}

/// An object with exactly these properties, in this order.
fn object(properties: Value) -> Value {
    let names: Vec<_> = properties
        .as_object()
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}
