//! The planner: splits a question into simple ones.

use crate::AgentError;
use crate::event::AgentEvent;
use crate::prompts::{self, MOST_QUESTIONS, Planned};
use crate::question::AnswerKind;
use crate::run::{Run, Step};

/// Enough for four long sub-questions.
const PLAN_TOKENS: u32 = 200;

/// Splits a question. The sub-questions refer to earlier ones only. A plan that makes no sense is
/// as good as none: then the question is its own only sub-question.
pub(crate) async fn plan(run: &Run<'_>, question: &str) -> Result<Vec<String>, AgentError> {
    let step = Step {
        name: "plan",
        messages: prompts::planner(question),
        schema: prompts::planner_schema(),
        max_tokens: PLAN_TOKENS,
    };
    let questions = match run.ask::<Planned>(step).await {
        Ok(planned) => useful(sane(planned.questions), &AnswerKind::of(question)),
        Err(AgentError::BadReply { reason, .. }) => {
            tracing::debug!(reason, "no plan");
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let questions = match questions.len() {
        0 | 1 => vec![question.to_owned()],
        _ => questions,
    };
    run.tell(AgentEvent::Plan {
        questions: questions.clone(),
    });
    Ok(questions)
}

/// Drops a plan whose parts do not depend on each other, unless the question compares: then the
/// model only cut the question up and lost what ties its parts together.
fn useful(questions: Vec<String>, kind: &AnswerKind) -> Vec<String> {
    let chained = questions
        .iter()
        .any(|question| references(question).next().is_some());
    if chained || *kind == AnswerKind::YesNo {
        questions
    } else {
        Vec::new()
    }
}

/// Drops empty and repeated sub-questions, and everything from the first one on that refers to
/// itself or a later one.
fn sane(questions: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for question in questions.into_iter().take(MOST_QUESTIONS) {
        let question = question.trim().to_owned();
        if references(&question).any(|number| number == 0 || number > kept.len()) {
            break;
        }
        if !question.is_empty() && !kept.contains(&question) {
            kept.push(question);
        }
    }
    kept
}

/// The numbers after `#`, counted from 1.
pub(crate) fn references(question: &str) -> impl Iterator<Item = usize> {
    let parts = question.split('#').skip(1);
    parts.filter_map(|part| {
        let digit = part.chars().next()?.to_digit(10)?;
        usize::try_from(digit).ok()
    })
}

/// Puts earlier answers in place of the references to them.
pub(crate) fn fill<'a>(question: &str, answer: impl Fn(usize) -> Option<&'a str>) -> String {
    let mut parts = question.split('#');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digit = part.chars().next().and_then(|c| c.to_digit(10));
        let number = digit.and_then(|digit| usize::try_from(digit).ok());
        match number {
            Some(number) => {
                filled.push_str(answer(number).unwrap_or("it"));
                filled.push_str(&part[1..]);
            }
            None => {
                filled.push('#');
                filled.push_str(part);
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_made_sane() {
        let sane = |questions: &[&str]| sane(questions.iter().map(|q| (*q).to_owned()).collect());
        assert_eq!(
            sane(&["Who?", " Who? ", "", "Where is #1?"]),
            ["Who?", "Where is #1?"]
        );
        assert_eq!(sane(&["Who?", "Where is #2?", "When?"]), ["Who?"]);
        assert_eq!(sane(&["What about #1?"]), [""; 0]);
        assert_eq!(sane(&["a", "b", "c", "d", "e"]).len(), MOST_QUESTIONS);
    }

    #[test]
    fn plans_that_do_not_chain_are_for_comparisons_only() {
        for (questions, kind, kept) in [
            (["Who?", "Where is #1?"], AnswerKind::Open, 2),
            (["Who?", "Where?"], AnswerKind::Open, 0),
            (["Is A?", "Is B?"], AnswerKind::YesNo, 2),
        ] {
            let questions = questions.map(str::to_owned).to_vec();
            assert_eq!(useful(questions, &kind).len(), kept, "{kind:?}");
        }
    }

    #[test]
    fn answers_are_filled_in() {
        let answer = |number| (number == 1).then_some("Oslo");
        for (question, filled) in [
            ("Where is #1?", "Where is Oslo?"),
            ("#1 or #2", "Oslo or it"),
            ("C# and #1", "C# and Oslo"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(fill(question, answer), filled, "{question}");
        }
    }
}
