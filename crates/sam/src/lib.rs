//! AgentSAM: lossless speculation. A *drafter* proposes what a sequence will say next; the engine
//! verifies the proposal in the same forward pass and keeps only what the model itself would have
//! said, so a drafter can never change output, only its speed.
//!
//! This crate is pure: no I/O, no thread, no clock, no randomness.
//!
//! ```
//! use agentinfer_sam::{Drafter, NoDrafts};
//!
//! let mut drafter = NoDrafts;
//! drafter.extend(1, &[5, 6, 7]);
//! let mut draft = Vec::new();
//! drafter.propose(1, 4, &mut draft);
//! assert!(draft.is_empty());
//! ```

/// A token id of the model's vocabulary.
pub type Token = u32;

/// Proposes continuations of sequences.
///
/// The engine calls [`extend`](Drafter::extend) with every token of a sequence exactly once and in
/// order (the prompt first, then what is generated), and [`propose`](Drafter::propose) before a
/// decode step.
pub trait Drafter: Send {
    /// Tells the drafter tokens that now follow in sequence `id`.
    fn extend(&mut self, id: u64, tokens: &[Token]);

    /// Appends at most `limit` tokens to `draft` that may follow in sequence `id`. Appending
    /// nothing is always right.
    fn propose(&mut self, id: u64, limit: usize, draft: &mut Vec<Token>);

    /// Tells the drafter how its last proposal for `id` fared: of `drafted` tokens, the first
    /// `accepted` were what the model said.
    fn observe(&mut self, id: u64, drafted: usize, accepted: usize);

    /// Tells the drafter that sequence `id` has ended.
    fn finish(&mut self, id: u64);
}

/// The drafter that never proposes: plain decoding.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDrafts;

impl Drafter for NoDrafts {
    fn extend(&mut self, _id: u64, _tokens: &[Token]) {}
    fn propose(&mut self, _id: u64, _limit: usize, _draft: &mut Vec<Token>) {}
    fn observe(&mut self, _id: u64, _drafted: usize, _accepted: usize) {}
    fn finish(&mut self, _id: u64) {}
}
