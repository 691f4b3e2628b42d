//! AgentCollab: a large and a small model share one session, and the agent's own progress decides
//! which of them thinks next.
//!
//! A [`Controller`] is a state machine of one session. It is told of each step before it is taken
//! ([`begin`](Controller::begin)) and what came of it ([`finish`](Controller::finish)), and says
//! which tier takes the step, whether the other must take it again, and why. It reads no clock,
//! asks no model, and draws its chances from a seed: the same events give the same decisions, so a
//! recorded session can be replayed ([`replay`]).
//!
//! | File | What it knows |
//! |---|---|
//! | `step.rs` | a step: whose it is, what came of it |
//! | `policy.rs` | the policies, and how configuration names them |
//! | `controller.rs` | the state machine |
//! | `bursts.rs` | how long the large tier keeps the session once it was called |
//! | `competence.rs` | what the small tier is good at, learned from what came of its steps |
//! | `check.rs` | the progress check: what the model is asked, and how its verdict is read |
//!
//! Sources: "Towards Efficient Agents" (arXiv 2512.18337) for the policy `paper`, "AgentCollab"
//! (arXiv 2603.26034) for `cumulative`; `agent` is ours.
//!
//! ```
//! use agentinfer_collab::{Competence, Controller, Outcome, Policy, Role, Step, Tier, Verdict};
//!
//! let mut competence = Competence::default();
//! let policy: Policy = "paper:warm_up=1:burst=2".parse()?;
//! let mut session = Controller::new(policy, 1);
//! let step = Step::new(Role::Seeker, "think");
//! // The first step is the large tier's, as published; the second is the small one's.
//! let first = session.begin(&step, &competence);
//! assert_eq!(first.tier(), Tier::Large);
//! session.finish(first, &Outcome::judged(Verdict::Progress), &mut competence);
//! let second = session.begin(&step, &competence);
//! assert_eq!(second.tier(), Tier::Small);
//! // It makes no progress: the large tier takes over.
//! session.finish(second, &Outcome::judged(Verdict::Stall), &mut competence);
//! assert_eq!(session.begin(&step, &competence).tier(), Tier::Large);
//! # Ok::<(), String>(())
//! ```

mod bursts;
mod check;
mod competence;
mod controller;
mod policy;
mod step;

pub use check::{CHECK_GRAMMAR, CHECK_INSTRUCTION, read_verdict};
pub use competence::Competence;
pub use controller::{Attempt, Controller, Decision, Entry, Reason, replay};
pub use policy::{AgentOptions, CumulativeOptions, PaperOptions, Policy};
pub use step::{Outcome, Role, Signal, Signals, Step, Tier, Verdict};
