//! When to compress, and what.

use agentinfer_protocol::{Message, Role};

use crate::Options;

/// Tokens of a stub, about.
const STUB_TOKENS: u32 = 36;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The model has answered without a call, or the user has spoken: a loop of searching is over.
    EndOfLoop,
    /// The model has called tools and will go on.
    InLoop,
    /// The conversation has become longer than the model's window.
    OverWindow {
        /// Tokens that it may have.
        fit_tokens: u32,
    },
}

/// Which results are to be replaced; nothing to do where both are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be distilled, in order.
    pub distil: Vec<usize>,
    /// To be replaced by a [`stub`](crate::stub), in order: distilled or not, they do not fit.
    pub stub: Vec<usize>,
    /// Tokens of the conversation then, if blocks become as long as they are meant to.
    pub tokens: u32,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.distil.is_empty() && self.stub.is_empty()
    }
}

/// Which results of a conversation are to be replaced now.
///
/// `tokens[i]` are the tokens that `messages[i]` has in the served view. `compressed` says which
/// results have been distilled, or were refused: they are not distilled again, so that the same
/// conversation gives the same view at every turn, and nothing is lost bit by bit.
///
/// Recent results are never touched. Where only these are too long for the window, the plan does
/// not fit either, and says so by its `tokens`.
pub fn plan(
    messages: &[Message],
    tokens: &[u32],
    compressed: &dyn Fn(usize) -> bool,
    moment: Moment,
    options: &Options,
) -> Plan {
    let total: u32 = tokens.iter().fold(0, |sum, it| sum.saturating_add(*it));
    let of = |at: &usize| tokens.get(*at).copied().unwrap_or_default();
    let limit = match moment {
        Moment::OverWindow { fit_tokens } => fit_tokens,
        _ => options.trigger_tokens,
    };
    let nothing = Plan {
        tokens: total,
        ..Plan::default()
    };
    if total <= limit {
        return nothing;
    }
    let old = old_results(messages, options.recent_results);
    let fresh = old.iter().copied().filter(|at| !compressed(*at));
    let distil: Vec<usize> = fresh.filter(|at| of(at) >= options.least_tokens).collect();
    let could: f64 = distil.iter().map(|at| f64::from(of(at))).sum();
    if moment == Moment::InLoop && could < f64::from(total) * options.loop_share {
        return nothing;
    }
    let expected = |at: usize| match distil.contains(&at) {
        true => options.target(of(&at)).min(of(&at)),
        false => of(&at),
    };
    let mut after = distil
        .iter()
        .fold(total, |sum, at| sum.saturating_sub(of(at) - expected(*at)));
    let mut stub = Vec::new();
    if matches!(moment, Moment::OverWindow { .. }) {
        for &at in &old {
            if after > limit && expected(at) > STUB_TOKENS {
                after -= expected(at) - STUB_TOKENS;
                stub.push(at);
            }
        }
    }
    Plan {
        distil: distil
            .iter()
            .copied()
            .filter(|at| !stub.contains(at))
            .collect(),
        stub,
        tokens: after,
    }
}

/// The results that the model has read, without the latest ones.
fn old_results(messages: &[Message], recent: usize) -> Vec<usize> {
    let last_answer = messages.iter().rposition(|it| it.role == Role::Assistant);
    let read = match recent {
        0 => messages.len(),
        _ => last_answer.unwrap_or_default(),
    };
    let results = (0..messages.len()).filter(|at| messages[*at].role == Role::Tool);
    let mut results: Vec<usize> = results.collect();
    results.truncate(results.len().saturating_sub(recent));
    results.retain(|at| *at < read);
    results
}
