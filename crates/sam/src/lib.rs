//! AgentSAM: lossless speculation. A *drafter* proposes what a sequence will say next; the engine
//! verifies the proposal in the same forward pass and keeps only what the model itself would have
//! said, so a drafter can never change output, only its speed.
//!
//! What past sessions said is kept in sealed [segments](segment), which a [`Corpus`] searches
//! together.
//!
//! This crate is pure: no I/O, no thread, no clock, no randomness.
//!
//! ```
//! use agentinfer_sam::{AgentSam, Drafter, Origin};
//!
//! let mut drafter = AgentSam::default();
//! drafter.begin(1, Origin::default(), &[5, 6, 7, 8, 9, 5, 6]);
//! let mut draft = Vec::new();
//! drafter.propose(1, 2, 0.01, &mut draft);
//! let tokens: Vec<u32> = draft.iter().map(|guess| guess.token).collect();
//! assert_eq!(tokens, [7, 8]);
//! ```

mod acceptance;
mod automaton;
mod budget;
mod corpus;
mod drafter;
mod past;
mod predict;
mod said;
pub mod segment;
mod session;
mod sparse;

pub use acceptance::{Acceptance, DraftSource, Fate, Tally, fates};
pub use automaton::{Automaton, State};
pub use budget::{Budget, Draft, Load, MOST_TOKENS, Outcome, PaperLimits, Speculation, StepCurve};
pub use corpus::{
    Corpus, Evidence, LowOrder, MOST_SEGMENTS, MOST_SIMILAR, Match, Merge, Similar,
    SimilarDocument, plan,
};
pub use drafter::AgentSam;
pub use said::Paused;
pub use segment::{
    Builder, Document, Follower, Found, Occurrence, Order, Segment, SegmentError, build, merge,
};

/// A token id of the model's vocabulary.
pub type Token = u32;

/// A token that may come next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// The token.
    pub token: Token,
    /// How probable it is that the model says it, given that it said the guesses before: 0 to 1.
    pub probability: f32,
    /// What speaks most for it.
    pub source: DraftSource,
}

/// Where a sequence comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The session that it continues, if that is known.
    pub session: Option<u64>,
    /// Whose session it is: what one tenant's sequences say never drafts another's.
    pub tenant: u64,
    /// Whether it may not outlive its session in any store.
    pub ephemeral: bool,
}

/// Proposes continuations of sequences.
///
/// The engine tells of every sequence's [beginning](Drafter::begin), of what the model said in it
/// after each step, in order, and of its end.
pub trait Drafter: Send {
    /// Sequence `id` begins with `prompt`.
    fn begin(&mut self, id: u64, origin: Origin, prompt: &[Token]);

    /// The model said `tokens` next in sequence `id`.
    fn extend(&mut self, id: u64, tokens: &[Token]);

    /// Appends to `draft` what may follow in sequence `id` after what `draft` holds already, which
    /// is taken as said. At most `limit` guesses are added, and none that the model reaches with a
    /// probability below `least`, all those before it included. To add nothing is always right.
    fn propose(&mut self, id: u64, limit: usize, least: f32, draft: &mut Vec<Guess>);

    /// Sequence `id` has ended.
    fn finish(&mut self, id: u64);

    /// The session of this origin will not go on.
    fn end_session(&mut self, origin: Origin) {
        let _ = origin;
    }
}

/// The drafter that never proposes: plain decoding.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDrafts;

impl Drafter for NoDrafts {
    fn begin(&mut self, _id: u64, _origin: Origin, _prompt: &[Token]) {}
    fn extend(&mut self, _id: u64, _tokens: &[Token]) {}
    fn propose(&mut self, _id: u64, _limit: usize, _least: f32, _draft: &mut Vec<Guess>) {}
    fn finish(&mut self, _id: u64) {}
}
