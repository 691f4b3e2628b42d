//! AgentSched beyond the paper: sessions, not requests, take turns.
//!
//! When the contexts of all sessions do not fit, whoever serves their calls in turn evicts each
//! session's cells before it returns, and computes everything again at every call. So here the
//! session that came first goes first, in everything: its calls are admitted first, prefilled
//! first, and its cells stay while its tool runs. A later session gets what is left, and waits
//! rather than displace one that is about to return. The first is done soon and makes room.
//!
//! No promise outlives its worth: cells are kept for a session that is expected back, for a few
//! times as long as it is expected to take. Nobody is held back while nobody runs, or who has
//! waited too long.

use super::parameters::Parameters;
use crate::{Policy, Resident, Running, View, Waiting};

/// Above every claim of a session: requests that have waited too long.
const STARVED: f64 = 1e12;

/// Below every claim of a session: cells that nobody is expected to ask for.
const FORGOTTEN: f64 = -1e12;

/// The parameters of [`Agent`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgentOptions {
    /// How many of its expected gaps a session is waited for.
    pub patience: f64,
    /// Seconds that every session is waited for beyond that: gaps vary.
    pub slack_seconds: f64,
    /// Seconds after which a waiting request is admitted before all others.
    pub starvation_seconds: f64,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            patience: 4.0,
            slack_seconds: 2.0,
            starvation_seconds: 600.0,
        }
    }
}

impl Parameters<3> for AgentOptions {
    fn fields(&mut self) -> [(&'static str, &mut f64); 3] {
        [
            ("patience", &mut self.patience),
            ("slack_seconds", &mut self.slack_seconds),
            ("starvation_seconds", &mut self.starvation_seconds),
        ]
    }
}

/// Sessions take turns, in the order in which they came.
#[derive(Clone, Copy, Debug)]
pub struct Agent {
    options: AgentOptions,
}

impl Agent {
    /// The policy with these parameters.
    pub fn new(options: AgentOptions) -> Self {
        Self { options }
    }

    /// What a request may displace: everything that is kept for less.
    fn claim(&self, view: &View<'_>, request: &Waiting) -> f64 {
        if view.now - request.arrived > self.options.starvation_seconds {
            STARVED - request.arrived
        } else {
            -request.session_arrived
        }
    }
}

impl Policy for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn admission(&self, view: &View<'_>, request: &Waiting) -> Option<f64> {
        let claim = self.claim(view, request);
        let own = |idle: &Resident| idle.session.is_some() && idle.session == request.session;
        let displaced = view
            .idle
            .iter()
            .filter(|idle| !own(idle) && self.retention(view, idle) < claim);
        let cells: u32 = displaced.map(|idle| idle.freed_cells).sum();
        let room = request.needed_cells <= view.free_cells + cells;
        (request.fits && (room || view.running.is_empty())).then_some(claim)
    }

    fn retention(&self, view: &View<'_>, sequence: &Resident) -> f64 {
        let idle_seconds = view.now - sequence.last_used;
        let patience = sequence.expected_gap.map_or(0.0, |gap| {
            gap * self.options.patience + self.options.slack_seconds
        });
        if idle_seconds <= patience {
            -sequence.session_arrived
        } else {
            FORGOTTEN + sequence.last_used
        }
    }

    fn tenure(&self, _view: &View<'_>, request: &Running) -> f64 {
        -request.session_arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admit, evict};

    const NOW: f64 = 100.0;

    fn waiting(id: u64, session: u64, session_arrived: f64, needed_cells: u32) -> Waiting {
        Waiting {
            id,
            arrived: NOW - 1.0,
            prompt_tokens: 1000,
            resident_tokens: 0,
            preemptions: 0,
            priority: 0,
            background: false,
            tenant: 0,
            attained_tokens: 0,
            session: Some(session),
            session_arrived,
            needed_cells,
            fits: true,
        }
    }

    fn resident(session: u64, session_arrived: f64, expected_gap: Option<f64>) -> Resident {
        Resident {
            session: Some(session),
            session_arrived,
            expected_gap,
            ended: false,
            last_used: NOW - 5.0,
            cells: 500,
            freed_cells: 500,
        }
    }

    fn running() -> Running {
        Running {
            id: 1,
            arrived: 0.0,
            cells: 10,
            preemptions: 0,
            priority: 0,
            background: false,
            tenant: 0,
            attained_tokens: 0,
            session_arrived: 0.0,
        }
    }

    fn view<'a>(waiting: &'a [Waiting], running: &'a [Running], idle: &'a [Resident]) -> View<'a> {
        View {
            now: NOW,
            free_cells: 100,
            idle_cells: 1000,
            waiting,
            running,
            idle,
        }
    }

    fn agent() -> Agent {
        Agent::new(AgentOptions::default())
    }

    #[test]
    fn the_older_session_goes_first_whenever_its_call_came() {
        let queue = [waiting(5, 1, 20.0, 50), waiting(9, 2, 10.0, 50)];
        let choice = admit(&mut agent(), &view(&queue, &[], &[]));
        assert_eq!(choice.map(|choice| choice.index), Some(1));
    }

    #[test]
    fn nobody_displaces_an_older_session_that_is_about_to_return() {
        let idle = [resident(1, 10.0, Some(3.0))];
        let run = [running()];
        let admitted = |request: Waiting, running: &[Running], idle: &[Resident]| {
            admit(&mut agent(), &view(&[request], running, idle)).is_some()
        };
        assert!(
            !admitted(waiting(9, 2, 20.0, 300), &run, &idle),
            "a younger one waits"
        );
        assert!(
            admitted(waiting(9, 2, 20.0, 100), &run, &idle),
            "it needs nobody's cells"
        );
        assert!(
            admitted(waiting(9, 2, 5.0, 300), &run, &idle),
            "an older one need not wait"
        );
        let once = [resident(1, 10.0, None)];
        assert!(
            admitted(waiting(9, 2, 20.0, 300), &run, &once),
            "it never returned before"
        );
        let late = [resident(1, 10.0, Some(0.5))];
        assert!(
            admitted(waiting(9, 2, 20.0, 300), &run, &late),
            "it is overdue"
        );
        assert!(
            admitted(waiting(9, 2, 20.0, 300), &[], &idle),
            "nobody runs"
        );
        let starved = Waiting {
            arrived: NOW - 601.0,
            ..waiting(9, 2, 20.0, 300)
        };
        assert!(admitted(starved, &run, &idle), "it has waited too long");
    }

    #[test]
    fn the_youngest_session_gives_way_and_the_forgotten_before_it() {
        let run = [running()];
        let order = |idle: &[Resident]| {
            let choice = evict(&mut agent(), &view(&[], &run, idle));
            choice.and_then(|choice| idle[choice.index].session)
        };
        let [old, young] = [resident(1, 10.0, Some(3.0)), resident(2, 20.0, Some(3.0))];
        assert_eq!(order(&[old, young]), Some(2));
        assert_eq!(order(&[old, young, resident(3, 1.0, None)]), Some(3));
    }
}
