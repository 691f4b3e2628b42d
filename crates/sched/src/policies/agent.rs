//! AgentSched beyond the paper: sessions, not requests, take turns.
//!
//! When the contexts of all sessions do not fit, whoever serves their calls in turn evicts each
//! session's cells before it returns, and computes everything again at every call. So here the
//! session that came first goes first, in everything: its calls are admitted first, prefilled
//! first, and its cells stay while its tool runs. A later session gets what is left, and waits
//! rather than displace one that is about to return. The first is done soon and makes room.
//!
//! No promise outlives its worth: cells are kept for a session that has returned before, for a few
//! times as long as it usually takes. Nobody is held back while nobody runs, or who has waited
//! too long.

use super::parameters::Parameters;
use crate::{Policy, Resident, Running, View, Waiting};

/// Above every claim of a session: requests that have waited too long.
const STARVED: f64 = 1e12;

/// Below every claim of a session: cells that nobody is expected to ask for.
const FORGOTTEN: f64 = -1e12;

/// The parameters of [`Agent`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgentOptions {
    /// How many of its mean gaps a session is waited for.
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
#[derive(Clone, Debug)]
pub struct Agent {
    options: AgentOptions,
    /// The idle sequences of the last situation observed, those kept for least first.
    kept: Vec<Kept>,
    /// Those that belong to a session: the session, and what each is kept for and frees.
    owned: Vec<(u64, f64, u32)>,
}

/// An idle sequence.
#[derive(Clone, Copy, Debug)]
struct Kept {
    retention: f64,
    /// Cells that dropping it and all before it would free.
    cells: u32,
}

impl Agent {
    /// The policy with these parameters.
    pub fn new(options: AgentOptions) -> Self {
        Self {
            options,
            kept: Vec::new(),
            owned: Vec::new(),
        }
    }

    /// What a request may displace: everything that is kept for less.
    fn claim(&self, view: &View<'_>, request: &Waiting) -> f64 {
        if view.now - request.arrived > self.options.starvation_seconds {
            STARVED - request.arrived
        } else {
            -request.session_arrived
        }
    }

    /// Whether a request finds its cells by displacing what is kept for less than its claim and
    /// is not its own session's.
    fn finds_room(&self, view: &View<'_>, request: &Waiting, claim: f64) -> bool {
        let less = self.kept.partition_point(|kept| kept.retention < claim);
        let all = self.kept[..less].last().map_or(0, |kept| kept.cells);
        let spare = (view.free_cells + all).checked_sub(request.needed_cells);
        let (Some(spare), Some(session)) = (spare, request.session) else {
            return spare.is_some();
        };
        let first = self.owned.partition_point(|(owner, ..)| *owner < session);
        let own = self.owned[first..]
            .iter()
            .take_while(|(owner, ..)| *owner == session)
            .filter(|(_, retention, _)| *retention < claim);
        own.map(|(.., cells)| cells).sum::<u32>() <= spare
    }
}

impl Policy for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    /// Sums up the idle sequences once for all that wait.
    fn observe(&mut self, view: &View<'_>) {
        self.kept.clear();
        self.owned.clear();
        if view.waiting.is_empty() {
            return;
        }
        for idle in view.idle {
            let (retention, cells) = (self.retention(view, idle), idle.freed_cells);
            self.kept.push(Kept { retention, cells });
            self.owned
                .extend(idle.session.map(|session| (session, retention, cells)));
        }
        self.kept
            .sort_unstable_by(|a, b| a.retention.total_cmp(&b.retention));
        self.owned.sort_unstable_by_key(|(session, ..)| *session);
        let mut sum = 0;
        for kept in &mut self.kept {
            sum += kept.cells;
            kept.cells = sum;
        }
    }

    fn admission(&self, view: &View<'_>, request: &Waiting) -> Option<f64> {
        if !request.fits {
            return None;
        }
        let claim = self.claim(view, request);
        (view.running.is_empty() || self.finds_room(view, request, claim)).then_some(claim)
    }

    fn retention(&self, view: &View<'_>, sequence: &Resident) -> f64 {
        let idle_seconds = view.now - sequence.last_used;
        let patience = sequence.mean_gap.map_or(0.0, |gap| {
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
            attained_tokens: 0,
            session: Some(session),
            session_arrived,
            needed_cells,
            fits: true,
        }
    }

    fn resident(session: u64, session_arrived: f64, mean_gap: Option<f64>) -> Resident {
        Resident {
            session: Some(session),
            session_arrived,
            mean_gap,
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
    fn sums_made_once_equal_sums_made_for_each_request() {
        // Few different numbers, so that sessions and moments often coincide.
        let mut state = 7u64;
        let mut below = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..500 {
            let idle: Vec<Resident> = (0..below(9))
                .map(|_| Resident {
                    session: (below(3) > 0).then(|| below(4)),
                    last_used: NOW - below(20) as f64,
                    freed_cells: below(300) as u32,
                    ..resident(0, below(30) as f64, (below(2) > 0).then_some(3.0))
                })
                .collect();
            let request = Waiting {
                session: (below(3) > 0).then(|| below(4)),
                ..waiting(9, 0, below(30) as f64, below(900) as u32)
            };
            let (run, queue) = ([running()], [request]);
            let view = view(&queue, &run, &idle);
            let mut agent = agent();
            agent.observe(&view);
            let claim = agent.claim(&view, &request);
            let own = |idle: &Resident| idle.session.is_some() && idle.session == request.session;
            let displaced = idle
                .iter()
                .filter(|idle| !own(idle) && agent.retention(&view, idle) < claim);
            let cells: u32 = displaced.map(|idle| idle.freed_cells).sum();
            let expected = (request.needed_cells <= view.free_cells + cells).then_some(claim);
            assert_eq!(agent.admission(&view, &request), expected, "{view:?}");
        }
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
