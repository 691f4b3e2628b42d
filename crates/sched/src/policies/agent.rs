//! AgentSched beyond the paper: sessions, not requests, take turns.
//!
//! When the contexts of all sessions do not fit, whoever serves their calls in turn evicts each
//! session's cells before it returns, and computes everything again at every call. So here the
//! session that came first goes first, in everything: its calls are admitted first, prefilled
//! first, and its cells stay while its tool runs. A later session gets what is left, and waits
//! rather than displace one that is about to return. The first is done soon and makes room.
//!
//! Before the order of arrival come the wishes of clients: foreground work goes before background
//! work, which waits until nothing else runs, and a lower priority number before a higher one. A
//! tenant who got more than another lately counts as if its sessions had come later by the time
//! that its lead took to compute.
//!
//! While an older session decodes, the prompts of later ones are computed in a share of the time
//! only: a step with a chunk of a prompt takes many times as long. A short first call goes before
//! all sessions: it is soon done, and often a tool's own question, whose session waits for it.
//!
//! No promise outlives its worth: cells are kept for a session that is expected back, for a few
//! times as long as it is expected to take. That they could be copied back quickly is no reason to
//! give them away: waiting for them is also what keeps sessions from slowing each other down.
//! Nobody is held back while nobody runs, or who has waited too long, except who pre-warms.
//!
//! All this is for devices that a few sequences keep busy. Where more of them decode at little
//! cost, each that is held back is time lost. What of a step is spare tells how much: company is
//! worth that share of the time to those who get it, and costs the first what is not spare. Where
//! that is a gain, prefill gets as much of the time at least, and cells are kept for no longer a
//! gap than having them again takes more than is gained meanwhile.

use super::keeping::Keeping;
use super::parameters::Parameters;
use super::reasons::{count, gap, residency, seconds};
use crate::{Candidate, Costs, Policy, Resident, Running, View, Waiting};

/// Above every claim of a session: requests that have waited too long.
const STARVED: f64 = 1e15;

/// Below every claim of a session: cells that nobody is expected to ask for.
const FORGOTTEN: f64 = -1e15;

/// Seconds by which background work stands behind everything else.
const BACKGROUND: f64 = 1e13;

/// Seconds by which a priority stands behind the one before it: more than a server runs.
const PRIORITY: f64 = 1e9;

/// Seconds by which a short first call stands before the sessions of its priority.
const SHORT: f64 = 1e8;

/// Priorities beyond these count as these.
const MOST_PRIORITY: i32 = 1000;

/// The least share of the time that prefill gets, so that it goes on at all.
const LEAST_SHARE: f64 = 0.01;

/// The parameters of [`Agent`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgentOptions {
    /// How many of its expected gaps a session is waited for.
    pub patience: f64,
    /// Seconds that every session is waited for beyond that: gaps vary.
    pub slack_seconds: f64,
    /// Seconds after which a waiting request is admitted before all others.
    pub starvation_seconds: f64,
    /// Share of the time that prefill may take from older sessions that decode meanwhile, above 0;
    /// it gets more where steps have room for company.
    pub prefill_share: f64,
    /// Tokens up to which a first call counts as short.
    pub short_tokens: f64,
    /// How many seconds later sessions of a tenant count for each second of computing that it got
    /// more than another.
    pub fairness: f64,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            patience: 4.0,
            slack_seconds: 2.0,
            starvation_seconds: 600.0,
            prefill_share: 0.25,
            short_tokens: 1500.0,
            fairness: 1.0,
        }
    }
}

impl Parameters<6> for AgentOptions {
    fn fields(&mut self) -> [(&'static str, &mut f64); 6] {
        [
            ("patience", &mut self.patience),
            ("slack_seconds", &mut self.slack_seconds),
            ("starvation_seconds", &mut self.starvation_seconds),
            ("prefill_share", &mut self.prefill_share),
            ("short_tokens", &mut self.short_tokens),
            ("fairness", &mut self.fairness),
        ]
    }
}

/// Sessions take turns, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Agent {
    options: AgentOptions,
    keeping: Keeping,
    /// Whether anything runs that is not background work.
    foreground_runs: bool,
}

impl Agent {
    /// The policy with these parameters.
    pub fn new(options: AgentOptions) -> Self {
        Self {
            options,
            keeping: Keeping::default(),
            foreground_runs: false,
        }
    }

    /// Where a session stands: who came earlier stands higher.
    fn standing(background: bool, priority: i32, arrived: f64) -> f64 {
        let priority = priority.clamp(-MOST_PRIORITY, MOST_PRIORITY);
        let class = if background { BACKGROUND } else { 0.0 };
        -(arrived + PRIORITY * f64::from(priority) + class)
    }

    /// How much later a tenant's sessions count as having come.
    fn lateness(&self, view: &View<'_>, lead_tokens: f64) -> f64 {
        self.options.fairness * lead_tokens * view.costs.token
    }

    /// How much earlier a request of so many tokens counts if it is the first of its session.
    fn earliness(&self, tokens: u32, is_first: bool) -> f64 {
        let short = is_first && f64::from(tokens) <= self.options.short_tokens;
        if short { SHORT } else { 0.0 }
    }

    fn is_starved(&self, view: &View<'_>, request: &Waiting) -> bool {
        let waited = view.now - request.arrived;
        waited > self.options.starvation_seconds && !request.prewarms
    }

    /// What a request may displace: everything that is kept for less.
    fn claim(&self, view: &View<'_>, request: &Waiting) -> f64 {
        if self.is_starved(view, request) {
            return STARVED - request.arrived;
        }
        let is_first = request.session_arrived >= request.arrived;
        let arrived = request.session_arrived + self.lateness(view, request.tenant_lead_tokens)
            - self.earliness(request.prompt_tokens, is_first);
        Self::standing(request.background, request.priority, arrived)
    }

    /// Whether a session is waited for to return to its cells.
    fn is_awaited(&self, view: &View<'_>, sequence: &Resident) -> bool {
        let Some(gap) = sequence.expected_gap else {
            return false;
        };
        let patience = gap * self.options.patience + self.options.slack_seconds;
        let reload = view
            .costs
            .reload_seconds(sequence.cells, sequence.freed_cells);
        view.now - sequence.last_used <= patience && reload >= gap * company(&view.costs)
    }
}

/// Seconds gained for each second in which another sequence decodes beside the first: what of a
/// step is spare, less what is not, which the first one loses.
fn company(costs: &Costs) -> f64 {
    (2.0 * costs.spare - 1.0).max(0.0)
}

impl Policy for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    /// Sums up the idle sequences once for all that wait.
    fn observe(&mut self, view: &View<'_>) {
        let mut keeping = std::mem::take(&mut self.keeping);
        keeping.observe(view, |idle| self.retention(view, idle));
        self.keeping = keeping;
        self.foreground_runs = view.running.iter().any(|request| !request.background);
    }

    fn admission(&self, view: &View<'_>, request: &Waiting) -> Option<f64> {
        let claim = self.claim(view, request);
        // Until it fits nobody else is admitted, so soon it does.
        if self.is_starved(view, request) {
            return Some(claim);
        }
        if !request.fits || (request.background && self.foreground_runs) {
            return None;
        }
        let room = || self.keeping.finds_room(view, request, claim);
        (view.must_admit(request) || room()).then_some(claim)
    }

    fn retention(&self, view: &View<'_>, sequence: &Resident) -> f64 {
        if self.is_awaited(view, sequence) {
            let Resident {
                background,
                priority,
                session_arrived,
                ..
            } = *sequence;
            Self::standing(background, priority, session_arrived)
        } else {
            FORGOTTEN + sequence.last_used
        }
    }

    fn prefill_share(&self, costs: &Costs) -> f64 {
        let least = self.options.prefill_share.max(LEAST_SHARE);
        least.max(company(costs)).min(1.0)
    }

    fn tenure(&self, view: &View<'_>, request: &Running) -> f64 {
        let is_first = request.session_arrived >= request.arrived;
        let arrived = request.session_arrived + self.lateness(view, request.tenant_lead_tokens)
            - self.earliness(request.cells, is_first);
        Self::standing(request.background, request.priority, arrived)
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        match candidate {
            Candidate::Waiting(request) => self.why_waiting(view, request),
            Candidate::Idle(sequence) => self.why_kept(view, sequence),
            Candidate::Running(request) => {
                let came = seconds(view.now - request.session_arrived);
                wishes(request.background, request.priority)
                    + &format!(
                        "session came {came} ago; holds {} cells",
                        count(request.cells)
                    )
            }
        }
    }
}

/// What its client wishes, if that is not the usual.
fn wishes(background: bool, priority: i32) -> String {
    let class = if background { "background; " } else { "" };
    match priority {
        0 => class.to_owned(),
        priority => format!("{class}priority {priority}; "),
    }
}

/// The reasons in words.
impl Agent {
    fn why_waiting(&self, view: &View<'_>, request: &Waiting) -> String {
        let is_first = request.session_arrived >= request.arrived;
        let turn = match (
            is_first,
            self.earliness(request.prompt_tokens, is_first) > 0.0,
        ) {
            (true, true) => "short first call".to_owned(),
            (true, false) => "first call".to_owned(),
            (false, _) => {
                let came = seconds(view.now - request.session_arrived);
                format!("continuation; session came {came} ago")
            }
        };
        let mut reason = wishes(request.background, request.priority);
        if self.is_starved(view, request) {
            reason += &format!("starved: waits {}; ", seconds(view.now - request.arrived));
        }
        reason += &format!("{turn}; {}", residency(request));
        let late = self.lateness(view, request.tenant_lead_tokens);
        if late > 0.0 {
            let late = seconds(late);
            reason += &format!("; its tenant got more: counts as come {late} later");
        }
        if self.admission(view, request).is_none() {
            let needed = count(request.needed_cells);
            reason += &match (request.fits, request.background && self.foreground_runs) {
                (false, _) => format!("; held: needs {needed} cells, more than can be had"),
                (true, true) => "; held: others run, and it is background work".to_owned(),
                (true, false) => format!(
                    "; held: it needs {needed} cells, and too few can be had without those of \
                     sessions before it that are expected back"
                ),
            };
        }
        reason
    }

    fn why_kept(&self, view: &View<'_>, sequence: &Resident) -> String {
        let idle = view.now - sequence.last_used;
        let reload = view
            .costs
            .reload_seconds(sequence.cells, sequence.freed_cells);
        let again = match view.costs.copied {
            Some(_) => "to have again",
            None => "to compute again",
        };
        let cost = format!("{} {again}", seconds(reload));
        let held = if self.is_awaited(view, sequence) {
            "held"
        } else {
            "not held"
        };
        let when = match sequence.expected_gap {
            _ if sequence.ended => "its session has ended".to_owned(),
            known => gap(known, idle),
        };
        wishes(sequence.background, sequence.priority) + &format!("{held}: {when}, {cost}")
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
            session: Some(session),
            session_arrived,
            needed_cells,
            fits: true,
            ..Waiting::default()
        }
    }

    fn resident(session: u64, session_arrived: f64, expected_gap: Option<f64>) -> Resident {
        Resident {
            session: Some(session),
            session_arrived,
            expected_gap,
            last_used: NOW - 5.0,
            cells: 500,
            freed_cells: 500,
            ..Resident::default()
        }
    }

    fn running() -> Running {
        Running {
            id: 1,
            cells: 10,
            ..Running::default()
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
            ..View::default()
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
        let prewarms = |needed_cells| Waiting {
            background: true,
            prewarms: true,
            needed_cells,
            ..starved
        };
        assert!(!admitted(prewarms(300), &[], &idle), "nobody waits for it");
        assert!(admitted(prewarms(100), &[], &idle), "it displaces nobody");
    }

    #[test]
    fn where_steps_have_room_for_company_sessions_do_not_take_turns() {
        let idle = [resident(1, 10.0, Some(9.0))];
        let run = [running()];
        let later = [waiting(9, 2, 20.0, 300)];
        // 500 cells are computed again in a second.
        for (token, spare, share, admitted) in [
            (0.002, 0.3, 0.25, false),
            (0.002, 0.5, 0.25, false),
            (0.002, 0.9, 0.8, true),
            (0.02, 0.9, 0.8, false),
        ] {
            let costs = Costs {
                token,
                spare,
                ..Costs::default()
            };
            let view = View {
                costs,
                ..view(&later, &run, &idle)
            };
            assert!((agent().prefill_share(&costs) - share).abs() < 1e-9);
            let choice = admit(&mut agent(), &view);
            assert_eq!(choice.is_some(), admitted, "{costs:?}");
        }
    }

    #[test]
    fn a_short_first_call_goes_before_older_sessions() {
        let old = waiting(1, 1, 10.0, 50);
        let first_call = |tokens| Waiting {
            prompt_tokens: tokens,
            ..waiting(2, 2, NOW - 1.0, 50)
        };
        for (tokens, first) in [(1500, 1), (1501, 0)] {
            let queue = [old, first_call(tokens)];
            let choice = admit(&mut agent(), &view(&queue, &[], &[]));
            assert_eq!(choice.map(|choice| choice.index), Some(first), "{tokens}");
        }
        let running = |session_arrived, cells| Running {
            arrived: NOW - 1.0,
            session_arrived,
            cells,
            ..Running::default()
        };
        let run = [
            running(10.0, 4000),
            running(NOW - 1.0, 600),
            running(NOW - 1.0, 4000),
        ];
        let agent = agent();
        let tenure = run.map(|request| agent.tenure(&view(&[], &run, &[]), &request));
        assert!(tenure[1] > tenure[0] && tenure[0] > tenure[2], "{tenure:?}");
    }

    #[test]
    fn clients_wishes_come_before_the_order_of_arrival() {
        let first = |queue: &[Waiting], running: &[Running]| {
            let choice = admit(&mut agent(), &view(queue, running, &[]));
            choice.map(|choice| queue[choice.index].id)
        };
        let old = waiting(1, 1, 10.0, 50);
        let young = waiting(2, 2, 20.0, 50);
        let urgent = Waiting {
            priority: -1,
            ..young
        };
        assert_eq!(first(&[old, urgent], &[]), Some(2));
        let background = Waiting {
            background: true,
            priority: -5,
            ..old
        };
        assert_eq!(first(&[background, young], &[]), Some(2));
        assert_eq!(first(&[background], &[running()]), None, "others run");
        let alike = Running {
            background: true,
            ..running()
        };
        assert_eq!(first(&[background], &[alike]), Some(1));
        let starved = Waiting {
            arrived: NOW - 601.0,
            ..background
        };
        assert_eq!(first(&[starved], &[running()]), Some(1));
        let greedy = Waiting {
            tenant: 5,
            tenant_lead_tokens: 2000.0,
            ..old
        };
        assert_eq!(
            first(&[greedy, young], &[]),
            Some(2),
            "20 s of lead, 10 s earlier"
        );
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
