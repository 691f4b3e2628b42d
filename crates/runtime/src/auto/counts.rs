//! What was chosen, and what choosing has cost.

use std::collections::BTreeMap;

use crate::Tier;

/// What the model [`AUTO`](crate::AUTO) has done so far.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AutoStats {
    /// Steps that were answered, by the tier that did and a word for why.
    pub steps: BTreeMap<(Tier, &'static str), u64>,
    /// Times that a tier could not answer and the other one was asked instead, by the tier that
    /// could not.
    pub fallbacks: BTreeMap<Tier, u64>,
    /// Progress checks that were asked.
    pub checks: u64,
    /// Those that said `TRUE` before the session went on.
    pub checks_true: u64,
    /// Those that said `FALSE`.
    pub checks_false: u64,
    /// Those that ended without a verdict.
    pub checks_malformed: u64,
    /// Those that were cancelled because the session went on before they ended.
    pub checks_late: u64,
    /// Checks that could not be asked: the template, or the engine, refused.
    pub checks_refused: u64,
    /// Steps taken by another tier than the session's step before.
    pub switches: u64,
    /// Prompt tokens that such steps had to compute although the session had been through them: all
    /// up to the end of the last answer that were not resident.
    pub switch_prefill_tokens: u64,
    /// Pre-warms that were started.
    pub prewarms: u64,
    /// Those that were cancelled, or failed. They and the tokens of the others are counted when
    /// their session goes on or is forgotten.
    pub prewarms_cancelled: u64,
    /// Tokens that those which ended have computed.
    pub prewarmed_tokens: u64,
    /// How well what is known of the small model tells good steps from bad, as area under the ROC
    /// curve, and over how many steps; of the tenant with the most such steps.
    pub auc: Option<(f64, usize)>,
}
