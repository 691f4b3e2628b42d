//! The planner: tells what must be found out before a question can be answered.

use agentinfer_collab::{Role, Signal, Signals};

use crate::AgentError;
use crate::descriptions::{descriptions, put};
use crate::event::AgentEvent;
use crate::evidence::words;
use crate::prompts::{self, Planned};
use crate::question::AnswerKind;
use crate::run::{Run, Step};
use crate::tiers::Judged;
use crate::tools::bare_title;

/// Most things found out at the same time.
const MOST_AT_ONCE: usize = 3;

/// Enough for the longest description.
const PLAN_TOKENS: u32 = 120;

/// The descriptions in the question to find out now, all at the same time: none leans on another.
/// Empty when everything is named, and when the question is for yes or no or a choice: those are
/// answered from the documents of the things that they name.
pub(crate) async fn plan(run: &Run<'_>, question: &str) -> Result<Vec<String>, AgentError> {
    let mut unknowns: Vec<String> = Vec::new();
    if AnswerKind::of(question).compares() {
        return Ok(unknowns);
    }
    let mut rest = question.to_owned();
    while unknowns.len() < MOST_AT_ONCE {
        let Some(unknown) = choose(run, &rest).await? else {
            break;
        };
        let place = format!("#{}", unknowns.len() + 1);
        rest = put(&rest, &unknown, &place);
        unknowns.push(unknown);
    }
    if !unknowns.is_empty() {
        let questions = unknowns.iter().map(|unknown| ask_for(unknown));
        run.tell(AgentEvent::Plan {
            questions: questions.chain([rest]).collect(),
        });
    }
    Ok(unknowns)
}

/// The question for what a description stands for.
pub(crate) fn ask_for(unknown: &str) -> String {
    let relatives = [
        "who", "whose", "whom", "where", "which", "that", "when", "of", "in",
    ];
    let mut words = unknown.split(' ');
    let relative = words.find(|word| relatives.contains(word));
    let person = relative.is_some_and(|word| word.starts_with("who"));
    format!("{} is {unknown}?", if person { "Who" } else { "What" })
}

/// Asks which description must be found out first.
async fn choose(run: &Run<'_>, question: &str) -> Result<Option<String>, AgentError> {
    let mut phrases: Vec<String> = Vec::new();
    for phrase in descriptions(question) {
        if !is_title(run, phrase).await? {
            phrases.push(phrase.to_owned());
        }
    }
    if phrases.is_empty() {
        return Ok(None);
    }
    let mut turn = run.begin(Role::Planner, "plan");
    loop {
        let step = Step {
            name: "plan",
            messages: prompts::planner(question),
            schema: prompts::planner_schema(&phrases),
            max_tokens: PLAN_TOKENS,
        };
        let planned = run.ask::<Planned>(&mut turn, step).await?;
        let parsed = planned.is_some();
        let unknown = planned.map(|planned| planned.unknown);
        let unknown = unknown.filter(|unknown| phrases.contains(unknown));
        let judged = Judged {
            signals: Signals::default()
                .with(Signal::Parsed, parsed)
                .with(Signal::Answered, unknown.is_some()),
            gist: unknown.clone().unwrap_or_default(),
        };
        match run.finish(turn, judged).await? {
            Some(again) => turn = again,
            None => return Ok(unknown),
        }
    }
}

/// Whether a phrase is a document's title: then it names what it seems to describe.
async fn is_title(run: &Run<'_>, phrase: &str) -> Result<bool, AgentError> {
    let name = |text: &str| {
        let mut name = words(text);
        name.retain(|word| word != "the");
        name
    };
    let titles = run.mentioned(phrase).await?;
    let named = name(phrase);
    Ok(titles
        .iter()
        .any(|hit| name(bare_title(&hit.title)) == named))
}
