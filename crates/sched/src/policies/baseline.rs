//! The rivals: known ways to order requests that each look at one thing only.

use super::reasons;
use crate::{Candidate, Policy, View, Waiting};

/// First come, first served; who is first is waited for when he does not fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fcfs;

impl Policy for Fcfs {
    fn name(&self) -> &'static str {
        "fcfs"
    }

    fn admission(&self, _view: &View<'_>, request: &Waiting) -> Option<f64> {
        Some(-(request.id as f64))
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        reasons::baseline(view, candidate)
    }
}

/// Shortest job first, by the prompt. Evicts the caches of long sessions, and starves them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShortestJob;

impl Policy for ShortestJob {
    fn name(&self) -> &'static str {
        "sjf"
    }

    fn admission(&self, _view: &View<'_>, request: &Waiting) -> Option<f64> {
        Some(-f64::from(request.prompt_tokens))
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        match candidate {
            Candidate::Waiting(request) => {
                format!("{} prompt tokens", reasons::count(request.prompt_tokens))
            }
            _ => reasons::baseline(view, candidate),
        }
    }
}

/// Longest resident prefix first, as SGLang's default does.
#[derive(Clone, Copy, Debug, Default)]
pub struct LongestPrefix;

impl Policy for LongestPrefix {
    fn name(&self) -> &'static str {
        "lpm"
    }

    fn admission(&self, _view: &View<'_>, request: &Waiting) -> Option<f64> {
        Some(f64::from(request.resident_tokens))
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        match candidate {
            Candidate::Waiting(request) => reasons::residency(request),
            _ => reasons::baseline(view, candidate),
        }
    }
}

/// The session that got the least service first, as in Autellix.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastAttained;

impl Policy for LeastAttained {
    fn name(&self) -> &'static str {
        "las"
    }

    fn admission(&self, _view: &View<'_>, request: &Waiting) -> Option<f64> {
        Some(-(request.attained_tokens as f64))
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        match candidate {
            Candidate::Waiting(request) => {
                format!("its session got {} tokens", request.attained_tokens)
            }
            _ => reasons::baseline(view, candidate),
        }
    }
}
