//! Plays a workload on two production engines in one virtual time.

use std::sync::Arc;

use agentinfer_collab::{Policy, Tier};
use agentinfer_engine::{
    Device, Engine, EngineOptions, Model, PolicySpec, Progress, SimVocabulary, Speculation,
    StatsSnapshot,
};

use super::choice::Chooser;
use super::device::{SAVED_BYTES, Simulated, Spent};
use super::drafts::Knowing;
use super::pair::{PairSpec, TierSpec};
use super::results::TierLoad;
use crate::BenchError;
use crate::sched::{Flight, Outcome, Script, Workload};

/// Words become the simulated vocabulary's bytes.
const WORDS: u32 = 256;

/// How long an engine waits before it looks again when nobody may run; as in production.
const POLL_SECONDS: f64 = 0.005;

/// Drafted tokens of a sequence and step, at most.
const MOST_DRAFT: usize = 4;

/// What is on.
#[derive(Clone, Debug)]
pub(super) struct Setup<'a> {
    pub(super) pair: &'a PairSpec,
    /// Who takes which call.
    pub(super) collab: Policy,
    /// The probability that a step is progress, as far as `collab` asks.
    pub(super) progress: f64,
    /// AgentSched with this policy, and evicted cells kept on the host; else first come first
    /// served without.
    pub(super) sched: Option<PolicySpec>,
    /// The probability that a drafted token is right; none without drafts.
    pub(super) accept: Option<f64>,
    pub(super) seed: u64,
}

/// What was played.
pub(super) struct Played {
    pub(super) outcome: Outcome,
    /// Calls that the large model took.
    pub(super) large_calls: u64,
    pub(super) switches: u64,
    /// The large tier, then the small one.
    pub(super) tiers: [TierLoad; 2],
    /// Of both.
    pub(super) drafted: u64,
    pub(super) accepted: u64,
}

/// A model, its engine, and what is under way there.
struct Seat {
    engine: Engine<Simulated>,
    /// Which of the clocks is its device's.
    device: usize,
    flights: Vec<Flight>,
    /// Its place in line at the device, as `engine::Device` has it: when its last step ended in
    /// virtual time that goes by service, or now if it was away.
    place: f64,
    watch: Watch,
    load: Option<TierLoad>,
}

/// The engine's situation over time, as sums of seconds times counts.
#[derive(Default)]
struct Watch {
    until: f64,
    now: StatsSnapshot,
    most_running: u64,
    held: f64,
    active: f64,
    waiting: f64,
    running: f64,
    any_waiting: f64,
    for_cells: f64,
}

impl Watch {
    /// Lets the situation last until then.
    fn pass(&mut self, until: f64) {
        let seconds = until - self.until;
        let now = &self.now;
        self.held += seconds * now.cells_used as f64;
        self.active += seconds * (now.cells_used - now.cells_idle) as f64;
        self.waiting += seconds * now.waiting as f64;
        self.running += seconds * now.running as f64;
        if now.waiting > 0 {
            self.any_waiting += seconds;
            // Where a place to run is free, it is cells that are missing.
            if now.running < self.most_running {
                self.for_cells += seconds;
            }
        }
        self.until = until;
    }

    fn load(&self, spent: &Spent, cells: u32) -> TierLoad {
        let seconds = self.until.max(f64::EPSILON);
        let steps = spent.steps;
        TierLoad {
            busy_share: (steps.seconds() + spent.copies) / seconds,
            floor_share: steps.floor / seconds,
            compute_share: steps.compute / seconds,
            context_share: steps.context / seconds,
            copy_share: spent.copies / seconds,
            cells_held_share: self.held / seconds / f64::from(cells),
            cells_active_share: self.active / seconds / f64::from(cells),
            running_mean: self.running / seconds,
            waiting_mean: self.waiting / seconds,
            waiting_share: self.any_waiting / seconds,
            waiting_for_cells_share: self.for_cells / seconds,
        }
    }
}

impl Seat {
    fn new(
        spec: &TierSpec,
        index: usize,
        device: usize,
        shared: &Device,
        setup: &Setup<'_>,
    ) -> Result<Self, BenchError> {
        let drafts = setup.accept.is_some();
        let fcfs: PolicySpec = "fcfs".parse().expect("a policy");
        let options = EngineOptions {
            max_running: spec.max_running,
            prefill_chunk: spec.prefill_chunk,
            policy: setup.sched.unwrap_or(fcfs),
            offload_bytes: match setup.sched {
                Some(_) => spec.host_cells * SAVED_BYTES,
                None => 0,
            },
            speculation: match drafts {
                true => Speculation::Adaptive,
                false => Speculation::Off,
            },
            max_draft: MOST_DRAFT,
            ..EngineOptions::default()
        };
        let vocabulary = Arc::new(SimVocabulary::default());
        let mut engine = Engine::new(Simulated::new(spec), vocabulary, options).with_device(shared);
        if let Some(accept) = setup.accept {
            let drafter = Knowing::new(accept, (setup.seed << 1) | index as u64);
            engine = engine.with_drafter(Box::new(drafter));
            engine.measure_steps()?;
            engine.model_mut().restart();
        }
        Ok(Self {
            engine,
            device,
            flights: Vec::new(),
            place: 0.0,
            watch: Watch {
                most_running: spec.max_running as u64,
                ..Watch::default()
            },
            load: None,
        })
    }

    /// Notes what has come of the time until now.
    fn look(&mut self, cells: u32, until: f64) {
        self.watch.pass(until.max(self.watch.until));
        let spent = &self.engine.model_mut().spent;
        self.load = Some(self.watch.load(spent, cells));
    }
}

/// A workload in the middle of being played.
struct Player<'a> {
    workload: &'a Workload,
    pair: &'a PairSpec,
    script: Script<'a>,
    chooser: Chooser,
    /// The large tier, then the small one.
    seats: [Seat; 2],
    /// Each device's time. The earliest event of all comes next, so nothing ever comes too late.
    clocks: [f64; 2],
    /// When each device's latest step began, in the time that goes by service.
    began: [f64; 2],
    /// Calls of each session that have not ended, and sessions that have some.
    left: Vec<usize>,
    open: usize,
}

/// Plays `workload`. The same input gives the same outcome.
///
/// Loads of the tiers are over the time until half of the sessions have ended: after that the
/// others have the devices to themselves.
///
/// # Errors
/// [`BenchError::Engine`] when an engine refuses or fails.
pub(super) fn play(workload: &Workload, setup: &Setup<'_>) -> Result<Played, BenchError> {
    let sessions = workload.sessions.len();
    let devices = [Device::default(), Device::default()];
    // A server with one model has no other to share the device with.
    let alone = matches!(setup.collab, Policy::LargeOnly | Policy::SmallOnly);
    let seat = |index: usize, spec| {
        let device = if setup.pair.shared && !alone {
            0
        } else {
            index
        };
        Seat::new(spec, index, device, &devices[device], setup)
    };
    let player = Player {
        workload,
        pair: setup.pair,
        script: Script::new(workload, WORDS),
        chooser: Chooser::new(setup.collab, setup.progress, sessions, setup.seed),
        seats: [seat(0, &setup.pair.large)?, seat(1, &setup.pair.small)?],
        clocks: [0.0; 2],
        began: [0.0; 2],
        left: workload.sessions.iter().map(|it| it.calls.len()).collect(),
        open: sessions,
    };
    player.play()
}

impl Player<'_> {
    fn play(mut self) -> Result<Played, BenchError> {
        loop {
            match (self.next_seat(), self.script.next_due()) {
                (None, None) => break,
                (Some(seat), due) if due.is_none_or(|due| due > self.clock(seat)) => {
                    self.step(seat, due)?;
                }
                (_, Some(due)) => self.deliver(due)?,
                (Some(_), None) => unreachable!("nothing is due, so a step was taken"),
            }
        }
        let now = self.clocks[0].max(self.clocks[1]);
        let stats = [0, 1].map(|seat| self.seats[seat].engine.stats());
        let sum = |of: fn(&StatsSnapshot) -> u64| -> u64 { stats.iter().map(of).sum() };
        Ok(Played {
            outcome: Outcome {
                restored_tokens: sum(|stats| stats.restored_tokens),
                ..self.script.finish(now)
            },
            large_calls: self.chooser.large,
            switches: self.chooser.switches,
            tiers: self.seats.map(|seat| seat.load.unwrap_or_default()),
            drafted: sum(|stats| stats.drafted_tokens),
            accepted: sum(|stats| stats.accepted_tokens),
        })
    }

    fn clock(&self, seat: usize) -> f64 {
        self.clocks[self.seats[seat].device]
    }

    /// Who steps next: of those with work whoever's clock is behind; on one device, who has had
    /// less of it.
    fn next_seat(&self) -> Option<usize> {
        let busy = (0..2).filter(|&seat| !self.seats[seat].flights.is_empty());
        busy.min_by(|&one, &other| {
            let places = self.seats[one].place.total_cmp(&self.seats[other].place);
            self.clock(one).total_cmp(&self.clock(other)).then(places)
        })
    }

    /// Hands the calls that are due then to the tiers that take them.
    fn deliver(&mut self, due: f64) -> Result<(), BenchError> {
        for ready in self.script.ready(due) {
            let id = ready.id;
            let call = &self.workload.sessions[id.session].calls[id.call];
            let index = match self.chooser.choose(id, call) {
                Tier::Large => 0,
                Tier::Small => 1,
            };
            let seat = &mut self.seats[index];
            let clock = &mut self.clocks[seat.device];
            *clock = clock.max(due);
            seat.engine.model_mut().wait_until(*clock);
            if seat.flights.is_empty() {
                seat.place = seat.place.max(self.began[seat.device]);
            }
            let completion = seat.engine.submit(ready.request)?;
            seat.flights.push(Flight::new(completion, id));
        }
        Ok(())
    }

    /// Has a tier take a step, unless it must wait, at most until the next call is due.
    fn step(&mut self, index: usize, due: Option<f64>) -> Result<(), BenchError> {
        let begin = self.clock(index);
        let seat = &mut self.seats[index];
        let watched = self.open > self.workload.sessions.len() / 2;
        seat.engine.model_mut().wait_until(begin);
        let progress = seat.engine.step();
        if progress == Progress::Blocked {
            let soon = begin + POLL_SECONDS;
            let moment = due.map_or(soon, |due| due.min(soon));
            seat.engine.model_mut().wait_until(moment);
        }
        let now = seat.engine.model_mut().now();
        let began = &mut self.began[seat.device];
        *began = began.max(seat.place);
        seat.place = (seat.place + now - begin).max(*began);
        self.clocks[seat.device] = now;
        if watched {
            // Until the step the situation was that after the last one.
            seat.watch.pass(begin.max(seat.watch.until));
            seat.watch.now = seat.engine.stats();
            seat.watch.pass(now);
        }
        self.collect(index, now)?;
        if watched && self.open <= self.workload.sessions.len() / 2 {
            self.seats[0].look(self.pair.large.cells, now);
            self.seats[1].look(self.pair.small.cells, now);
        }
        Ok(())
    }

    /// Takes what a tier has said.
    fn collect(&mut self, index: usize, now: f64) -> Result<(), BenchError> {
        let flights = &mut self.seats[index].flights;
        let mut place = 0;
        while place < flights.len() {
            let (_, Some(finish)) = flights[place].take()? else {
                place += 1;
                continue;
            };
            let Flight { id, generated, .. } = flights.remove(place);
            self.script.ended(id, &generated, &finish, now);
            self.chooser.ended(id, finish.e2e_seconds);
            self.left[id.session] -= 1;
            self.open -= usize::from(self.left[id.session] == 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::pair::Timing;
    use crate::sched::{Contender, SimulatedServer, replay};

    fn setup(pair: &PairSpec, collab: Policy) -> Setup<'_> {
        Setup {
            pair,
            collab,
            progress: 0.6,
            sched: None,
            accept: None,
            seed: 1,
        }
    }

    fn mean_seconds(played: &Played) -> f64 {
        let seconds = &played.outcome.session_seconds;
        seconds.iter().sum::<f64>() / seconds.len() as f64
    }

    #[test]
    fn one_tier_alone_is_played_as_the_bench_of_policies_plays_it() {
        let pair = PairSpec::cpu();
        let Timing::Measured(curve) = pair.large.timing.clone() else {
            panic!("the cores were measured");
        };
        let server = SimulatedServer::new(pair.large.cells, curve);
        let fcfs = Contender::Policy("fcfs".parse().expect("a policy"));
        // Calls that become due within one step come in order of time here, there as they may.
        for (sessions, tolerance) in [(1, 1e-6), (3, 0.03)] {
            let workload = Workload::research(sessions, 5, 0.4);
            let played = play(&workload, &setup(&pair, Policy::LargeOnly)).expect("plays");
            let known = replay(&workload, fcfs, &server).expect("plays");
            assert_eq!(played.outcome.calls.len(), known.calls.len());
            let ratio = played.outcome.seconds / known.seconds;
            assert!((ratio - 1.0).abs() < tolerance, "{sessions}: {ratio}");
            assert_eq!(played.tiers[1], TierLoad::default());
            assert_eq!(played.large_calls as usize, known.calls.len());
        }
    }

    #[test]
    fn two_devices_are_faster_than_one_and_a_seed_repeats_itself() {
        let two = PairSpec {
            shared: false,
            ..PairSpec::cpu()
        };
        let workload = Workload::research(4, 2, 0.4);
        let random = Policy::Random { share: 0.5 };
        let run = |pair| play(&workload, &setup(pair, random)).expect("plays");
        let (apart, again, together) = (run(&two), run(&two), run(&PairSpec::cpu()));
        assert_eq!(apart.outcome.calls, again.outcome.calls);
        assert_eq!(apart.tiers, again.tiers);
        assert!(mean_seconds(&apart) < mean_seconds(&together));
        for load in together.tiers.iter().chain(&apart.tiers) {
            let parts = load.floor_share + load.compute_share + load.context_share;
            assert!((parts - load.busy_share).abs() < 1e-9, "{load:?}");
            assert!(load.busy_share > 0.05 && load.busy_share <= 1.0, "{load:?}");
            assert!(load.cells_active_share <= load.cells_held_share);
        }
        let [large, small] = together.tiers;
        assert!(
            large.busy_share + small.busy_share <= 1.0,
            "{large:?} {small:?}"
        );
    }

    #[test]
    fn sessions_that_take_turns_do_not_leave_a_gpu_idle() {
        let pair = PairSpec::gpu();
        for sessions in [16, 64] {
            let workload = Workload::research(sessions, 1, 2.0);
            let with = |policy: &str| {
                let sched = Some(policy.parse().expect("a policy"));
                let setup = Setup {
                    sched,
                    ..setup(&pair, Policy::LargeOnly)
                };
                mean_seconds(&play(&workload, &setup).expect("plays"))
            };
            let (agent, fcfs) = (with("agent"), with("fcfs"));
            assert!(agent < 1.05 * fcfs, "{sessions}: {agent} {fcfs}");
        }
    }

    #[test]
    fn drafts_that_are_mostly_right_save_time_and_change_no_output() {
        let pair = PairSpec::gpu();
        let workload = Workload::research(4, 3, 0.5);
        let plain = play(&workload, &setup(&pair, Policy::LargeOnly)).expect("plays");
        let with = |accept| {
            let setup = Setup {
                accept: Some(accept),
                ..setup(&pair, Policy::LargeOnly)
            };
            play(&workload, &setup).expect("plays")
        };
        let (often, never) = (with(0.8), with(0.01));
        assert!(mean_seconds(&often) < 0.9 * mean_seconds(&plain));
        assert!(mean_seconds(&never) < 1.01 * mean_seconds(&plain));
        let share = often.accepted as f64 / often.drafted as f64;
        // A wrong token ends a draft: of four, 0.8 + 0.64 + 0.51 + 0.41 come true.
        assert!((0.48..0.65).contains(&share), "{share}");
        let tokens = |played: &Played| -> u32 {
            let calls = played.outcome.calls.iter();
            calls.map(|call| call.completion_tokens).sum()
        };
        assert_eq!(tokens(&often), tokens(&plain));
    }
}
