//! Requests of lead and sub-agents with times and token counts, as AgentInfer's proxy writes them.

use std::collections::BTreeMap;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::lengths::{Pool, Recorded, Reuse};
use super::timing::{LEAD, Span};
use crate::BenchError;
use crate::recorded::Line;

/// One request; other fields are not looked at.
#[derive(Debug, Deserialize)]
struct Row {
    session_id: String,
    actor_id: String,
    actor_role: String,
    started_at: String,
    finished_at: Option<String>,
    /// Absent where the request failed.
    input_tokens: Option<usize>,
    output_tokens: Option<usize>,
}

/// Adds the sessions of a file to the pool. Each actor has a context; the lead is the one whose
/// role says so, or the first.
pub(super) fn read(lines: &[Line<'_>], pool: &mut Pool) -> Result<(), BenchError> {
    let mut sessions: BTreeMap<String, Vec<(String, Recorded)>> = BTreeMap::new();
    for line in lines {
        let row: Row = line.parse()?;
        let counts = (row.input_tokens, row.output_tokens, &row.finished_at);
        let (Some(input), Some(output), Some(finished_at)) = counts else {
            pool.skipped += 1;
            continue;
        };
        let seconds = |text: &str| {
            OffsetDateTime::parse(text, &Rfc3339)
                .map(|time| time.unix_timestamp_nanos() as f64 / 1e9)
                .map_err(|error| line.wrong(format!("{text:?} is no RFC 3339 time: {error}")))
        };
        let (begin, end) = (seconds(&row.started_at)?, seconds(finished_at)?);
        let recorded = Recorded {
            span: Span {
                actor: LEAD,
                begin,
                end,
            },
            role: row.actor_role,
            input,
            output,
            reuse: Reuse::Grows,
        };
        let session = sessions.entry(row.session_id).or_default();
        session.push((row.actor_id, recorded));
    }
    for calls in sessions.into_values() {
        pool.add(with_numbers(calls));
    }
    Ok(())
}

/// Gives the actors numbers in order of beginning, the lead first.
fn with_numbers(mut calls: Vec<(String, Recorded)>) -> Vec<Recorded> {
    calls.sort_by(|(_, a), (_, b)| a.span.begin.total_cmp(&b.span.begin));
    let mut actors: Vec<String> = Vec::new();
    let lead = calls.iter().find(|(_, call)| call.role == "lead");
    actors.extend(lead.map(|(actor, _)| actor.clone()));
    let numbered = calls.into_iter().map(|(actor, mut call)| {
        let known = actors.iter().position(|known| *known == actor);
        call.span.actor = known.unwrap_or_else(|| {
            actors.push(actor);
            actors.len() - 1
        });
        call
    });
    numbered.collect()
}
