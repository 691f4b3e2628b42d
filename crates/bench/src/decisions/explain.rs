//! What was decided at one moment, and why.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use agentinfer_engine::trace::{Action, Decision, Facts, Scored, TraceEvent};
use serde::Serialize;

use super::read::{Events, Header};
use crate::BenchError;

/// Decisions of one moment that are told, at most: the last ones. On virtual time several happen
/// between two steps of the clock.
const MOST_AT_ONCE: usize = 64;

/// The decisions of one moment. As text it is for people, as JSON for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What was traced.
    pub label: String,
    /// The policy.
    pub policy: String,
    /// The model's KV cells.
    pub cells: u32,
    /// In order; all of one moment, and at least one.
    pub decisions: Vec<Decision>,
}

/// Explains the decisions at the last moment that is not after `at` seconds, or at the last of all.
///
/// # Errors
/// [`BenchError::Read`] and [`BenchError::Trace`] of the file; [`BenchError::Option`] when there is
/// no such moment.
pub fn explain(path: &Path, at: Option<f64>) -> Result<Explanation, BenchError> {
    let until = at.unwrap_or(f64::INFINITY);
    let (header, events) = Events::open(path)?;
    let mut decisions: VecDeque<Decision> = VecDeque::new();
    let mut first_after = None;
    for event in events {
        let TraceEvent::Decision(decision) = event? else {
            continue;
        };
        if decision.at.partial_cmp(&until).is_none_or(|it| it.is_gt()) {
            first_after = Some(decision.at);
            break;
        }
        if decisions.back().is_some_and(|last| last.at < decision.at) {
            decisions.clear();
        }
        if decisions.len() == MOST_AT_ONCE {
            decisions.pop_front();
        }
        decisions.push_back(decision);
    }
    if decisions.is_empty() {
        return Err(BenchError::Option {
            field: "at",
            message: match first_after {
                Some(first) => format!(
                    "nothing was decided at or before {until} s; the first decision is at \
                     {first:.3} s: give that or a later moment"
                ),
                None => format!(
                    "nothing is decided in {} yet: no request came; look again when one has",
                    path.display()
                ),
            },
        });
    }
    let Header {
        label,
        policy,
        cells,
        ..
    } = header;
    Ok(Explanation {
        label,
        policy,
        cells,
        decisions: decisions.into(),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (label, policy) = (plain(&self.label), plain(&self.policy));
        writeln!(f, "{label}: policy {policy}, {} cells", self.cells)?;
        for decision in &self.decisions {
            writeln!(f)?;
            write_decision(f, decision)?;
        }
        Ok(())
    }
}

fn write_decision(f: &mut fmt::Formatter<'_>, decision: &Decision) -> fmt::Result {
    let now = &decision.situation;
    writeln!(f, "At {:.3} s: {}", decision.at, headline(decision))?;
    write!(
        f,
        "  cells: {} free, {} of running requests, {} idle; {} wait, {} run",
        now.free_cells, now.running_cells, now.idle_cells, now.waiting, now.running
    )?;
    match now.shadow_price {
        Some(price) => writeln!(f, "; shadow price {price:.3}")?,
        None => writeln!(f)?,
    }
    if decision.candidates.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = decision.candidates.iter().map(name).collect();
    let scores: Vec<String> = decision.candidates.iter().map(score).collect();
    let width = |texts: &[String], least: usize| {
        let widths = texts.iter().map(|text| text.chars().count());
        widths.max().unwrap_or(0).max(least)
    };
    let (wide, named) = (
        width(&scores, "score".len()),
        width(&names, "candidate".len()),
    );
    writeln!(f, "    {:>wide$}  {:named$}  reason", "score", "candidate")?;
    for ((candidate, score), name) in decision.candidates.iter().zip(&scores).zip(&names) {
        let chosen = if candidate.chosen { '*' } else { ' ' };
        let reason = plain(&candidate.reason);
        writeln!(f, "  {chosen} {score:>wide$}  {name:named$}  {reason}")?;
        writeln!(
            f,
            "    {:wide$}  {:named$}  ({})",
            "",
            "",
            facts(&candidate.facts)
        )?;
    }
    if decision.unlisted > 0 {
        writeln!(f, "    and {} more", decision.unlisted)?;
    }
    Ok(())
}

/// What was done and why, in one line.
pub(super) fn headline(decision: &Decision) -> String {
    let chosen = decision.candidates.iter().find(|it| it.chosen);
    let who = chosen.map_or_else(|| "nobody".to_owned(), name);
    let what = match decision.action {
        Action::Admitted => format!("{who} is admitted"),
        Action::NobodyAdmitted => "nobody is admitted".to_owned(),
        Action::Evicted => format!("{who} is evicted"),
        Action::Preempted => format!("{who} is preempted"),
        Action::GaveWay => format!("{who} gives way"),
    };
    format!("{what}: {}", plain(&decision.reason))
}

fn name(candidate: &Scored) -> String {
    let what = match candidate.facts {
        Facts::Waiting { request, .. } | Facts::Running { request, .. } => {
            format!("request {request}")
        }
        Facts::Idle { sequence, .. } => format!("sequence {sequence}"),
    };
    match candidate.session {
        Some(session) => format!("{what} of session {session}"),
        None => what,
    }
}

fn score(candidate: &Scored) -> String {
    match candidate.score {
        None => "held".to_owned(),
        Some(score) if score.abs() >= 1e12 => format!("{score:.9e}"),
        Some(score) => format!("{score:.3}"),
    }
}

/// What the policy saw, most telling first.
fn facts(facts: &Facts) -> String {
    match facts {
        Facts::Waiting {
            waiting_seconds,
            session_age_seconds,
            prompt_tokens,
            resident_tokens,
            restorable_tokens,
            missing_tokens,
            needed_cells,
            fits,
            ..
        } => format!(
            "waits {waiting_seconds:.1} s; session came {session_age_seconds:.1} s ago; prompt \
             {prompt_tokens}: {resident_tokens} resident, {restorable_tokens} stored, \
             {missing_tokens} missing; needs {needed_cells} cells, which {}",
            if *fits { "fit" } else { "do not fit" }
        ),
        Facts::Idle {
            idle_seconds,
            session_age_seconds,
            expected_gap_seconds,
            reload_seconds,
            cells,
            freed_cells,
            ..
        } => {
            let gap = expected_gap_seconds.map_or("unknown".to_owned(), |it| format!("{it:.1} s"));
            format!(
                "idle for {idle_seconds:.1} s; session came {session_age_seconds:.1} s ago; \
                 expected gap {gap}; {cells} cells, {freed_cells} its own; {reload_seconds:.1} s \
                 to have again"
            )
        }
        Facts::Running {
            age_seconds,
            session_age_seconds,
            cells,
            preemptions,
            ..
        } => format!(
            "came {age_seconds:.1} s ago; session came {session_age_seconds:.1} s ago; {cells} \
             cells; preempted {preemptions} times"
        ),
    }
}

/// Text that cannot move a terminal's cursor.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
