//! Planning allocates nothing while running requests decode and others wait in vain.

use std::alloc::System;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use agentinfer_engine::{
    Batch, Completion, DraftSource, Drafter, Engine, EngineOptions, Event, Guess, LatencyCurve,
    Model, ModelError, ModelLimits, Origin, PolicySpec, Progress, Request, SequenceId, SimModel,
    SimVocabulary, Token,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RUNNING: usize = 8;
const SEQUENCES: usize = 32;
const TRUNK: usize = 100;
/// Tokens by which branches of a trunk differ.
const PRIVATE: usize = 4;

/// How often memory was asked for so far, by this process.
fn requests() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// A simulated model that notes when planning ends.
struct Counted {
    model: SimModel,
    /// [`requests`] at the beginning of the last forward pass.
    planned: Rc<Cell<usize>>,
}

impl Model for Counted {
    fn limits(&self) -> ModelLimits {
        self.model.limits()
    }

    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
        self.planned.set(requests());
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

/// Always proposes the same three letters.
struct Constant;

impl Drafter for Constant {
    fn begin(&mut self, _id: u64, _origin: Origin, _prompt: &[Token]) {}

    fn extend(&mut self, _id: u64, _tokens: &[Token]) {}

    fn propose(&mut self, _id: u64, limit: usize, _least: f32, draft: &mut Vec<Guess>) {
        let letters = [97, 98, 99].map(|token| Guess {
            token,
            probability: 0.5,
            source: DraftSource::default(),
        });
        draft.extend(letters.into_iter().take(limit));
    }

    fn finish(&mut self, _id: u64) {}
}

fn request(session: usize, prompt: Vec<Token>, max_tokens: u32) -> Request {
    Request {
        ignore_eos: true,
        session: Some(session as u64),
        ..Request::new(prompt).max_tokens(max_tokens)
    }
}

/// The beginning of a running session's prompt; no two share a token of it.
fn trunk(session: usize) -> Vec<Token> {
    vec![(session % RUNNING) as Token; TRUNK]
}

/// Eight trunks decode, 24 branches of them are idle, and 24 requests wait that do not fit.
fn full(policy: PolicySpec, planned: Rc<Cell<usize>>) -> (Engine<Counted>, Vec<Completion>) {
    let limits = ModelLimits {
        cells: (RUNNING * TRUNK + SEQUENCES * PRIVATE + 4000) as u32,
        sequences: SEQUENCES as u32,
        context_tokens: 4500,
        ..SimModel::default().limits()
    };
    let model = Counted {
        model: SimModel::new(limits, LatencyCurve::default()),
        planned,
    };
    let options = EngineOptions {
        policy,
        // Nobody reads while it is counted.
        event_capacity: 1024,
        ..EngineOptions::default()
    };
    let mut engine = Engine::new(model, Arc::new(SimVocabulary::default()), options)
        .with_drafter(Box::new(Constant));
    let mut submit = |session, prompt, max_tokens, starts| {
        let completion = engine.submit(request(session, prompt, max_tokens));
        let mut completion = completion.expect("a valid request");
        while starts && !matches!(completion.try_next(), Some(Event::Token(_))) {
            engine.step();
        }
        completion
    };
    let branch = |session| {
        let own = [(100 + session) as Token; PRIVATE];
        [trunk(session), own.to_vec()].concat()
    };
    let mut completions: Vec<Completion> = (0..RUNNING)
        .map(|session| submit(session, trunk(session), 4000, true))
        .collect();
    for session in RUNNING..SEQUENCES {
        submit(session, branch(session), 1, true);
    }
    let large = |session| [branch(session), vec![7; 4000]].concat();
    let waiting = (RUNNING..SEQUENCES).map(|session| submit(session, large(session), 10, false));
    completions.extend(waiting);
    (engine, completions)
}

/// The only test of this file: what another allocated meanwhile would be counted.
#[test]
fn a_step_that_admits_nobody_plans_without_allocating() {
    for policy in PolicySpec::all() {
        let planned = Rc::new(Cell::new(0));
        let (mut engine, completions) = full(policy, planned.clone());
        for step in 0..150 {
            let before = requests();
            assert_eq!(engine.step(), Progress::Stepped);
            let in_planning = planned.get() - before;
            assert!(
                step == 0 || in_planning == 0,
                "{policy}: {in_planning} in step {step}"
            );
        }
        let started = completions
            .into_iter()
            .map(|mut completion| completion.try_next());
        let started: Vec<bool> = started.map(|event| event.is_some()).collect();
        let expected: Vec<bool> = (0..SEQUENCES).map(|index| index < RUNNING).collect();
        assert_eq!(
            started, expected,
            "{policy}: those that were to wait waited"
        );
    }
}
