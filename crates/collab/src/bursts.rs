//! How long the large tier keeps the session once it was called.

use crate::{Policy, Reason, Tier};

/// Steps of the large tier in a row: a warm-up at the beginning, then bursts with a budget.
#[derive(Clone, Debug)]
pub(crate) struct Bursts {
    warm_up: u32,
    budget: Budget,
    /// Stalls in a row that no progress ended.
    failures: u32,
    state: State,
}

/// Most steps of a burst.
#[derive(Clone, Copy, Debug)]
struct Budget {
    first: u32,
    /// For each failure in a row before it.
    more: u32,
    most: u32,
}

impl Budget {
    fn after(self, failures: u32) -> u32 {
        let longer = self.more.saturating_mul(failures);
        self.first.saturating_add(longer).min(self.most)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Warm-up steps taken.
    WarmUp(u32),
    /// The small tier thinks.
    Small(Why),
    /// The large tier thinks, and has taken so many steps of so many.
    Burst { used: u32, budget: u32 },
}

/// Why the small tier thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Progress,
    Spent,
}

impl Bursts {
    pub(crate) fn new(policy: &Policy) -> Self {
        let (warm_up, first, more, most) = match policy {
            Policy::Paper(options) | Policy::AlwaysTrue(options) => {
                (options.warm_up, options.burst, 0, options.burst)
            }
            Policy::Cumulative(options) => {
                (options.warm_up, options.first, options.more, options.most)
            }
            Policy::Agent(options) => (0, options.burst, options.burst, options.most),
            _ => (0, 0, 0, 0),
        };
        let state = match warm_up {
            0 => State::Small(Why::Progress),
            _ => State::WarmUp(0),
        };
        Self {
            warm_up,
            budget: Budget { first, more, most },
            failures: 0,
            state,
        }
    }

    /// The tier of the next step.
    pub(crate) fn tier(&self) -> (Tier, Reason) {
        match self.state {
            State::WarmUp(_) => (Tier::Large, Reason::WarmUp),
            State::Small(Why::Progress) => (Tier::Small, Reason::Progress),
            State::Small(Why::Spent) => (Tier::Small, Reason::BurstSpent),
            State::Burst { used, budget } => {
                let step = used + 1;
                (Tier::Large, Reason::Burst { step, budget })
            }
        }
    }

    /// Whether the large tier has the session because the small one stalled.
    pub(crate) fn running(&self) -> bool {
        matches!(self.state, State::Burst { .. })
    }

    /// A step was taken, and was progress or was not.
    pub(crate) fn note(&mut self, progress: bool) {
        self.state = match (self.state, progress) {
            // What was found in the warm-up is not known to be worth anything before it ends.
            (State::WarmUp(steps), _) if steps + 1 < self.warm_up => State::WarmUp(steps + 1),
            (State::WarmUp(_), _) => State::Small(Why::Progress),
            (State::Small(_), true) => State::Small(Why::Progress),
            (State::Small(_), false) => self.call(),
            (State::Burst { .. }, true) => State::Small(Why::Progress),
            (State::Burst { used, budget }, false) if used + 1 < budget => State::Burst {
                used: used + 1,
                budget,
            },
            (State::Burst { .. }, false) => State::Small(Why::Spent),
        };
        if progress {
            self.failures = 0;
        }
    }

    /// Calls the large tier, for as many steps as the failures before allow.
    fn call(&mut self) -> State {
        let budget = self.budget.after(self.failures);
        self.failures = self.failures.saturating_add(1);
        match budget {
            0 => State::Small(Why::Spent),
            _ => State::Burst { used: 0, budget },
        }
    }
}
