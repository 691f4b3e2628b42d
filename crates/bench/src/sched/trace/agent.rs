//! What our own agent writes: `agentinfer run --trace` and `agentinfer bench research --traces`.

use serde::Deserialize;

use super::lengths::{Pool, Recorded, Reuse};
use super::timing::{LEAD, Span};
use crate::BenchError;
use crate::recorded::Line;

/// A line of the trace; tools are the gaps between completions.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Row {
    Llm {
        at: f64,
        seconds: f64,
        step: String,
        prompt_tokens: usize,
        cached_tokens: usize,
        completion_tokens: usize,
        error: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// Adds the file's run to the pool, as a session: the agent gives all its calls one name. Steps
/// of one kind share their prompts' beginnings as far as the cache found it.
pub(super) fn read(lines: &[Line<'_>], pool: &mut Pool) -> Result<(), BenchError> {
    let mut calls = Vec::new();
    for line in lines {
        let Row::Llm {
            at,
            seconds,
            step,
            prompt_tokens,
            cached_tokens,
            completion_tokens,
            error,
        } = line.parse()?
        else {
            continue;
        };
        if error.is_some() {
            pool.skipped += 1;
            continue;
        }
        calls.push(Recorded {
            span: Span {
                actor: LEAD,
                begin: at,
                end: at + seconds,
            },
            role: step,
            input: prompt_tokens,
            output: completion_tokens,
            reuse: Reuse::Cached(cached_tokens),
        });
    }
    pool.add(calls);
    Ok(())
}
