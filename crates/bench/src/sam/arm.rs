//! What of ours is measured.

use agentinfer_sam::{Drafter, NoDrafts};

use super::set::Call;

/// A drafter with what a server does beside drafting.
pub trait Arm: Drafter {
    /// A session has ended; `calls` are its calls in order. What the drafter keeps of them may
    /// draft later sessions.
    fn end_session(&mut self, _session: u64, _calls: &[&Call]) {}
}

impl Arm for NoDrafts {}

/// A drafter that takes part, by name.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// The arm's name in the report.
    pub name: &'static str,
    /// A new one that knows nothing.
    pub start: fn() -> Box<dyn Arm>,
}

impl Contender {
    /// Ours, from the least to the full one.
    pub fn ours() -> Vec<Self> {
        vec![Self {
            name: "off",
            start: || Box::new(NoDrafts),
        }]
    }
}
