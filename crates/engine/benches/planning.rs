//! How long a step plans: from its beginning to the forward pass, with 256 sequences.
//!
//! `cargo bench -p agentinfer-engine --bench planning -- [STEPS [POLICY...]]` prints microseconds
//! for each policy (all of them unless named) in three situations, each with 16 requests running
//! and 240 waiting: `refused`, where 240 idle branches of the running sessions hold few cells of
//! their own and nobody fits; `held`, where 240 idle sessions hold all memory and those that wait
//! would have to displace them (only `agent` holds them back; others admit and soon prefill); and
//! `served`, where 256 sessions call again as soon as they are answered, so that steps admit,
//! evict and preempt. Sequences have 4,000 to 80,000 tokens.

use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use agentinfer_engine::{
    Batch, Completion, Engine, EngineOptions, Event, LatencyCurve, Model, ModelError, ModelLimits,
    PolicySpec, Request, SequenceId, SimModel, SimVocabulary, Token,
};
use fastrand::Rng;

const SEQUENCES: usize = 256;
const RUNNING: usize = 16;
/// Tokens that begin every prompt of an independent session.
const SYSTEM_TOKENS: usize = 1000;
/// Steps taken before measuring: new prompts are looked up in the first.
const WARM_UP: usize = 100;
/// Steps that can be measured: a cell for each running request in each must be free at first.
const MOST_STEPS: usize = 2000;
/// Cells that running requests may take.
const ROOM: usize = RUNNING * (WARM_UP + MOST_STEPS) + 2000;
/// New tokens of a request that is not to find room.
const LARGE: usize = 40_000;
/// Tokens after which a session forgets the later half of what was said.
const LONGEST: usize = 90_000;

/// A simulated model that notes when planning ends.
struct Timed {
    model: SimModel,
    planned: Rc<Cell<Option<Instant>>>,
}

impl Model for Timed {
    fn limits(&self) -> ModelLimits {
        self.model.limits()
    }

    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
        self.planned.set(Some(Instant::now()));
        self.model.forward(batch)
    }

    fn logits(&self, index: usize) -> &[f32] {
        self.model.logits(index)
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        self.model.share(from, to, tokens);
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: u32) {
        self.model.truncate(sequence, tokens);
    }

    fn now(&self) -> f64 {
        self.model.now()
    }
}

/// A request on its way.
struct Flight {
    completion: Completion,
    session: usize,
}

/// An engine and its clients.
struct Bench {
    engine: Engine<Timed>,
    planned: Rc<Cell<Option<Instant>>>,
    random: Rng,
    /// What each session has said and heard.
    contexts: Vec<Vec<Token>>,
    flights: Vec<Flight>,
}

impl Bench {
    fn new(policy: PolicySpec, cells: usize, max_running: usize) -> Self {
        let limits = ModelLimits {
            cells: cells as u32,
            sequences: SEQUENCES as u32,
            batch_tokens: 4096,
            context_tokens: 128_000,
            ..SimModel::default().limits()
        };
        // Time stands still, so that nobody is forgotten or starves while it is measured.
        let curve = LatencyCurve {
            points: Vec::new(),
            context: Vec::new(),
            resident: Vec::new(),
            rows: Vec::new(),
            copied: 0.0,
            tiled: false,
        };
        let planned = Rc::new(Cell::new(None));
        let model = Timed {
            model: SimModel::new(limits, curve),
            planned: planned.clone(),
        };
        let options = EngineOptions {
            policy,
            max_running,
            max_requests: 2 * SEQUENCES,
            ..EngineOptions::default()
        };
        Self {
            engine: Engine::new(model, Arc::new(SimVocabulary::default()), options),
            planned,
            random: Rng::with_seed(1),
            contexts: vec![Vec::new(); 2 * SEQUENCES],
            flights: Vec::new(),
        }
    }

    /// Has a session ask something of so many new tokens.
    fn ask(&mut self, session: usize, new_tokens: usize, max_tokens: u32) {
        let new = text(&mut self.random, new_tokens);
        let context = &mut self.contexts[session];
        if context.len() + new_tokens > LONGEST && new_tokens < LARGE {
            context.truncate(LONGEST / 2);
        }
        context.extend(new);
        let request = Request {
            ignore_eos: true,
            session: Some(session as u64),
            ..Request::new(context.clone()).max_tokens(max_tokens)
        };
        let completion = self.engine.submit(request).expect("a valid request");
        self.flights.push(Flight {
            completion,
            session,
        });
    }

    /// Takes a step. Returns the seconds it planned and the sessions that were answered.
    fn step(&mut self) -> (f64, Vec<usize>) {
        let begin = Instant::now();
        self.engine.step();
        let end = self.planned.take().unwrap_or_else(Instant::now);
        let mut answered = Vec::new();
        self.flights.retain_mut(|flight| {
            while let Some(event) = flight.completion.try_next() {
                match event {
                    Event::Token(token) => self.contexts[flight.session].push(token.token),
                    Event::Finished(_) => {
                        answered.push(flight.session);
                        return false;
                    }
                    Event::Failed(error) => panic!("a request failed: {error}"),
                    Event::Started(_) => {}
                }
            }
            true
        });
        ((end - begin).as_secs_f64(), answered)
    }

    /// Has a session ask and waits for its answer of one token.
    fn call(&mut self, session: usize, new_tokens: usize) {
        self.ask(session, new_tokens, 1);
        while !self.step().1.contains(&session) {}
    }

    /// Starts requests of these sessions and waits until they decode.
    fn start(&mut self, sessions: std::ops::Range<usize>) {
        for session in sessions.clone() {
            self.ask(session, 10, 50_000);
        }
        let target = self.generated(sessions.clone()) + 4 * RUNNING;
        while self.generated(sessions.clone()) < target {
            self.step();
        }
    }

    fn generated(&self, mut sessions: std::ops::Range<usize>) -> usize {
        let contexts = &self.contexts[sessions.by_ref().start..sessions.end];
        contexts.iter().map(Vec::len).sum()
    }

    /// Microseconds of each step's planning; who was answered asks again if `again`.
    fn measure(&mut self, steps: usize, again: bool) -> Vec<f64> {
        let mut times = Vec::new();
        for step in 0..WARM_UP + steps {
            let (seconds, answered) = self.step();
            if step >= WARM_UP {
                times.push(seconds * 1e6);
            }
            for session in answered.into_iter().filter(|_| again) {
                let new_tokens = self.random.usize(200..2000);
                let max_tokens = self.random.u32(20..200);
                self.ask(session, new_tokens, max_tokens);
            }
        }
        times.sort_by(f64::total_cmp);
        times
    }
}

fn text(random: &mut Rng, tokens: usize) -> Vec<Token> {
    (0..tokens)
        .map(|_| Token::from(random.u8(b'a'..=b'z')))
        .collect()
}

/// Length number `index` of `count` between 4,000 and 80,000 tokens, as many short as long ones.
fn length(index: usize, count: usize) -> usize {
    (4000.0 * 20f64.powf(index as f64 / (count - 1) as f64)) as usize
}

fn refused(policy: PolicySpec, steps: usize) -> Vec<f64> {
    const PRIVATE: usize = 8;
    let trunks: usize = (0..RUNNING).map(|index| length(index, RUNNING)).sum();
    let cells = trunks + SEQUENCES * PRIVATE + ROOM;
    let mut bench = Bench::new(policy, cells, 2 * RUNNING);
    for trunk in 0..RUNNING {
        bench.call(trunk, length(trunk, RUNNING));
    }
    for branch in RUNNING..SEQUENCES {
        let trunk = &bench.contexts[branch % RUNNING];
        bench.contexts[branch] = trunk[..trunk.len() - PRIVATE].to_vec();
        bench.call(branch, PRIVATE);
    }
    bench.start(0..RUNNING);
    for branch in RUNNING..SEQUENCES {
        bench.ask(branch, LARGE, 1000);
    }
    bench.measure(steps, false)
}

/// 256 sessions that have each called twice.
fn sessions(policy: PolicySpec, max_running: usize) -> Bench {
    let contexts: usize = (0..SEQUENCES).map(|index| length(index, SEQUENCES)).sum();
    let mut bench = Bench::new(policy, contexts + SEQUENCES * 16 + ROOM, max_running);
    let system = text(&mut bench.random, SYSTEM_TOKENS);
    bench.contexts.fill(system);
    for session in 0..SEQUENCES {
        let new = length(session, SEQUENCES) - SYSTEM_TOKENS;
        bench.call(session, new);
    }
    let soon = bench.engine.model_mut().now() + 1.0;
    bench.engine.model_mut().model.wait_until(soon);
    for session in 0..SEQUENCES {
        bench.call(session, 8);
    }
    bench
}

fn held(policy: PolicySpec, steps: usize) -> Vec<f64> {
    let mut bench = sessions(policy, 2 * RUNNING);
    bench.start(0..RUNNING);
    let soon = bench.engine.model_mut().now() + 0.5;
    bench.engine.model_mut().model.wait_until(soon);
    for newcomer in SEQUENCES..2 * SEQUENCES - RUNNING {
        bench.ask(newcomer, LARGE, 1000);
    }
    bench.measure(steps, false)
}

fn served(policy: PolicySpec, steps: usize) -> Vec<f64> {
    let mut bench = sessions(policy, RUNNING);
    for session in 0..SEQUENCES {
        let new_tokens = bench.random.usize(200..2000);
        let max_tokens = bench.random.u32(20..200);
        bench.ask(session, new_tokens, max_tokens);
    }
    bench.measure(steps, true)
}

fn main() -> std::io::Result<()> {
    // Cargo itself adds `--bench`.
    let arguments = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    let mut arguments = arguments.collect::<Vec<_>>().into_iter();
    let steps = arguments.next().map_or(1000, |steps| {
        let steps = steps.parse().expect("STEPS is the number of steps");
        assert!(steps <= MOST_STEPS, "at most {MOST_STEPS} steps");
        steps
    });
    let mut policies: Vec<PolicySpec> = arguments
        .map(|name| name.parse().expect("POLICY is the name of a policy"))
        .collect();
    if policies.is_empty() {
        policies = PolicySpec::all().to_vec();
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "situation\tpolicy\tp50_us\tp99_us\tmax_us")?;
    type Situation = fn(PolicySpec, usize) -> Vec<f64>;
    let situations: [(&str, Situation); 3] =
        [("refused", refused), ("held", held), ("served", served)];
    for (name, situation) in situations {
        for &policy in &policies {
            let times = situation(policy, steps);
            let at = |share: f64| times[(share * (times.len() - 1) as f64) as usize];
            let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
            writeln!(out, "{name}\t{policy}\t{p50:.1}\t{p99:.1}\t{most:.1}")?;
            out.flush()?;
        }
    }
    Ok(())
}
