//! Whatever happens around a request (batching, sharing, eviction, preemption, cancellation,
//! drafts), it says what it would have said alone.

use std::sync::Arc;

use agentinfer_engine::{
    Batch, Completion, Constraint, DraftSource, Drafter, Engine, EngineHandle, EngineOptions,
    Event, Finish, FinishReason, Guess, Hints, LatencyCurve, Model, ModelError, ModelLimits,
    Origin, PolicySpec, Progress, Request, Sampling, SequenceId, SimModel, SimVocabulary,
    Speculation, Token, TokenEvent,
};
use proptest::prelude::*;
use serde_json::json;

fn limits(cells: u32, sequences: u32) -> ModelLimits {
    ModelLimits {
        cells,
        sequences,
        batch_tokens: 32,
        ..SimModel::default().limits()
    }
}

fn engine(limits: ModelLimits, options: EngineOptions) -> Engine<SimModel> {
    let model = SimModel::new(limits, LatencyCurve::default());
    Engine::new(model, Arc::new(SimVocabulary::default()), options)
}

fn spawn(engine: Engine<SimModel>) -> EngineHandle {
    EngineHandle::spawn("test", engine).expect("a thread starts")
}

fn events(mut completion: Completion) -> (Vec<TokenEvent>, Finish) {
    let mut events = Vec::new();
    loop {
        match completion.blocking_next() {
            Some(Event::Token(event)) => events.push(event),
            Some(Event::Finished(finish)) => return (events, finish),
            Some(Event::Started(_)) => {}
            other => panic!("the request failed: {other:?}"),
        }
    }
}

fn tokens(events: &[TokenEvent]) -> Vec<Token> {
    events.iter().map(|event| event.token).collect()
}

fn collect(completion: Completion) -> (Vec<Token>, Finish) {
    let (events, finish) = events(completion);
    (tokens(&events), finish)
}

/// What a request says with nobody beside it and nothing drafted: tokens with their texts and
/// log-probabilities, why it ends, and what is left of its text.
fn said_alone(request: &Request) -> (Vec<TokenEvent>, FinishReason, String) {
    let options = EngineOptions {
        speculation: Speculation::Off,
        ..EngineOptions::default()
    };
    let handle = spawn(engine(limits(4096, 4), options));
    let (events, finish) = events(handle.submit(request.clone()).expect("a valid request"));
    assert_eq!(finish.drafted_tokens, 0);
    (events, finish.reason, finish.text)
}

fn alone(request: &Request) -> Vec<Token> {
    tokens(&said_alone(request).0)
}

/// Proposes tokens that are sometimes right: it knows what the sequences will say, and lies about
/// every third token. Its probabilities say little.
struct Oracle(Vec<Vec<Token>>, std::collections::HashMap<u64, Vec<Token>>);

impl Drafter for Oracle {
    fn begin(&mut self, id: u64, _origin: Origin, prompt: &[Token]) {
        let before = self.1.insert(id, prompt.to_vec());
        assert!(before.is_none(), "begun once");
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        let said = self.1.get_mut(&id).expect("begun before");
        said.extend_from_slice(tokens);
    }

    fn propose(&mut self, id: u64, limit: usize, _least: f32, draft: &mut Vec<Guess>) {
        let said = &self.1[&id];
        if let Some(whole) = self.0.iter().find(|whole| whole.starts_with(said)) {
            let known = said.len() + draft.len();
            let rest = whole.iter().enumerate().skip(known).take(limit);
            draft.extend(rest.map(|(place, &token)| Guess {
                token: if place.is_multiple_of(3) {
                    token ^ 1
                } else {
                    token
                },
                probability: [0.99, 0.9, 1.0, 0.6, 0.8, 0.05, 0.97][place % 7],
                source: DraftSource::ALL[place % 3],
            }));
        }
    }

    fn finish(&mut self, id: u64) {
        assert!(
            self.1.remove(&id).is_some(),
            "finished once, after its beginning"
        );
    }
}

#[derive(Clone, Debug)]
struct Case {
    requests: Vec<Request>,
    cells: u32,
    sequences: u32,
    cancelled: Vec<bool>,
    drafts: bool,
    speculation: Speculation,
    policy: PolicySpec,
    offload: Offload,
}

/// Where evicted cells go.
#[derive(Clone, Copy, Debug)]
enum Offload {
    Nowhere,
    /// Host memory of so many bytes; a simulated cell takes 8.
    Host(u64),
    /// Little host memory, and a disk.
    Disk,
}

fn offloads() -> impl Strategy<Value = Offload> {
    prop_oneof![
        Just(Offload::Nowhere),
        (200u64..8000).prop_map(Offload::Host),
        Just(Offload::Disk),
    ]
}

/// Every policy.
fn policies() -> impl Strategy<Value = PolicySpec> {
    prop::sample::select(PolicySpec::all().to_vec())
}

fn speculations() -> impl Strategy<Value = Speculation> {
    prop_oneof![
        3 => Just(Speculation::Adaptive),
        1 => (1usize..20).prop_map(Speculation::Fixed),
        1 => Just(Speculation::Paper(Default::default())),
    ]
}

fn constraints() -> impl Strategy<Value = Constraint> {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"enum": ["read_file", "read_lines"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 99},
            "done": {"type": "boolean"},
        },
        "required": ["name", "count", "done"],
        "additionalProperties": false,
    });
    let grammar = r#"start: <|im_start|> "call " /[a-c]{1,4}/ (" then call " /[a-c]/)* <|im_end|>"#;
    prop_oneof![
        5 => Just(Constraint::None),
        1 => Just(Constraint::Regex("(first|second) [a-z]{1,9}, and that is all".to_owned())),
        1 => Just(Constraint::JsonSchema(schema)),
        1 => Just(Constraint::Lark(grammar.to_owned())),
    ]
}

fn samplings() -> impl Strategy<Value = Sampling> {
    let sampled = (
        0u64..1000,
        prop_oneof![Just(0u32), 1u32..6],
        prop_oneof![Just((1.0, 0.0)), Just((0.8, 0.0)), Just((0.95, 0.1)),],
    );
    let penalties = prop_oneof![
        3 => Just((1.0, 0.0, 0.0)),
        1 => Just((1.3, 0.4, 0.2)),
    ];
    (
        prop::option::of(sampled),
        penalties,
        prop::option::of(0u32..3),
    )
        .prop_map(
            |(sampled, (repetition_penalty, frequency_penalty, presence_penalty), logprobs)| {
                let (seed, top_k, (top_p, min_p)) = sampled.unwrap_or((0, 0, (1.0, 0.0)));
                Sampling {
                    temperature: if sampled.is_some() { 0.9 } else { 0.0 },
                    top_k,
                    top_p,
                    min_p,
                    repetition_penalty,
                    frequency_penalty,
                    presence_penalty,
                    seed,
                    logprobs,
                    ..Sampling::default()
                }
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    // Prompts over few letters share prefixes often.
    let prompt =
        (prop::collection::vec(97u32..99, 1..60), any::<bool>()).prop_map(|(tail, trunk)| {
            let head = if trunk { vec![120; 40] } else { Vec::new() };
            [head, tail].concat()
        });
    let stops = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec!["k".to_owned(), "count\":".to_owned(), "that".to_owned()]),
    ];
    let session = (prop::option::of(0u64..3), prop::bool::weighted(0.3));
    let max_tokens = prop_oneof![1 => Just(0u32), 5 => 1u32..50];
    let request = (
        prompt,
        max_tokens,
        samplings(),
        constraints(),
        stops,
        session,
    )
        .prop_map(
            |(prompt, max_tokens, sampling, constraint, stop, (session, background))| Request {
                sampling,
                constraint,
                stop,
                session,
                hints: Hints {
                    background,
                    ..Hints::default()
                },
                ..Request::new(prompt).max_tokens(max_tokens)
            },
        );
    (
        prop::collection::vec(request, 1..9),
        160u32..500,
        1u32..9,
        (any::<bool>(), speculations()),
        policies(),
        offloads(),
    )
        .prop_flat_map(|(requests, cells, sequences, drafting, policy, offload)| {
            let (drafts, speculation) = drafting;
            let count = requests.len();
            prop::collection::vec(prop::bool::weighted(0.2), count).prop_map(move |cancelled| {
                Case {
                    requests: requests.clone(),
                    cells,
                    sequences,
                    cancelled,
                    drafts,
                    speculation,
                    policy,
                    offload,
                }
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn together_equals_alone(case in case()) {
        let expected: Vec<_> = case.requests.iter().map(said_alone).collect();
        let whole = case.requests.iter().zip(&expected);
        let whole = whole.map(|(request, said)| [&request.prompt[..], &tokens(&said.0)].concat());
        let known = whole.collect();
        let options = EngineOptions {
            policy: case.policy,
            speculation: case.speculation,
            offload_bytes: match case.offload {
                Offload::Nowhere => 0,
                Offload::Host(bytes) => bytes,
                Offload::Disk => 600,
            },
            ..EngineOptions::default()
        };
        let mut engine = engine(limits(case.cells, case.sequences), options);
        let folder = tempfile::tempdir().expect("a folder");
        if let Offload::Disk = case.offload {
            engine = engine.with_disk(folder.path(), 5000).expect("a disk");
        }
        if case.drafts {
            engine = engine.with_drafter(Box::new(Oracle(known, Default::default())));
        }
        let handle = spawn(engine);
        let completions: Vec<Completion> = case
            .requests
            .iter()
            .map(|request| handle.submit(request.clone()).expect("a valid request"))
            .collect();
        let asked = completions.into_iter().zip(&case.cancelled).zip(&case.requests);
        for (((completion, cancelled), request), expected) in asked.zip(&expected) {
            if *cancelled {
                drop(completion);
            } else {
                let (events, finish) = events(completion);
                prop_assert_eq!(finish.completion_tokens as usize, events.len());
                let prewarms = request.max_tokens == 0 && request.hints.background;
                let reason = match finish.reason {
                    FinishReason::NoRoom if prewarms => FinishReason::Length,
                    reason => reason,
                };
                prop_assert_eq!(&(events, reason, finish.text), expected);
            }
        }
    }
}

/// A model that sometimes cannot put cells back.
struct Forgetful {
    model: SimModel,
    random: fastrand::Rng,
    /// One of so many copies fails; none if 0.
    fails: usize,
}

impl Model for Forgetful {
    fn limits(&self) -> ModelLimits {
        self.model.limits()
    }

    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
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

    fn attends_in_tiles(&self) -> bool {
        self.model.attends_in_tiles()
    }

    fn saved_format(&self) -> Option<String> {
        self.model.saved_format()
    }

    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        self.model.save(sequence, from, to)
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        from: u32,
        tokens: u32,
        saved: &[u8],
    ) -> Result<(), ModelError> {
        if self.fails > 0 && self.random.usize(..self.fails) == 0 {
            return Err(ModelError("forgotten".to_owned()));
        }
        self.model.restore(sequence, from, tokens, saved)
    }

    fn now(&self) -> f64 {
        self.model.now()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cells_laid_out_anew_at_any_moment_change_nothing(
        case in case(),
        every in 1usize..12,
        fails in prop::sample::select(vec![0usize, 3, 20]),
        seed in any::<u64>(),
    ) {
        let expected: Vec<Vec<Token>> = case.requests.iter().map(alone).collect();
        let whole = case.requests.iter().zip(&expected);
        let known = whole.map(|(request, said)| [&request.prompt[..], said].concat()).collect();
        let options = EngineOptions {
            policy: case.policy,
            offload_bytes: match case.offload {
                Offload::Host(bytes) => bytes,
                _ => 0,
            },
            ..EngineOptions::default()
        };
        let curve = LatencyCurve { tiled: true, ..LatencyCurve::default() };
        let mut random = fastrand::Rng::with_seed(seed);
        let model = Forgetful {
            model: SimModel::new(limits(case.cells, case.sequences), curve),
            random: random.fork(),
            fails,
        };
        let mut engine = Engine::new(model, Arc::new(SimVocabulary::default()), options);
        if case.drafts {
            engine = engine.with_drafter(Box::new(Oracle(known, Default::default())));
        }
        let mut completions = Vec::new();
        let mut requests = case.requests.iter();
        loop {
            if random.usize(..every) == 0 {
                prop_assert!(engine.compact());
            }
            if let Some(request) = requests.next() {
                let completion = engine.submit(request.clone()).expect("a valid request");
                completions.push(Some(completion));
            } else if let Some(cancelled) = case.cancelled.iter().position(|cancelled| *cancelled) {
                // One leaves in the middle of it all; the others stay to the end.
                completions[cancelled] = None;
            }
            let progress = engine.step();
            if progress == Progress::Idle && requests.len() == 0 {
                break;
            }
        }
        for (completion, expected) in completions.into_iter().zip(&expected) {
            if let Some(completion) = completion {
                prop_assert_eq!(&collect(completion).0, expected);
            }
        }
    }
}

#[test]
fn drafts_save_steps_and_are_counted() {
    let request = Request::new(vec![5, 6, 7]).max_tokens(40);
    let said = alone(&request);
    let known = vec![[&request.prompt[..], &said].concat()];
    let engine = engine(limits(512, 2), EngineOptions::default());
    let handle = spawn(engine.with_drafter(Box::new(Oracle(known, Default::default()))));
    let (tokens, finish) = collect(handle.submit(request).expect("a valid request"));
    assert_eq!(tokens, said);
    assert!(finish.accepted_tokens > 0 && finish.accepted_tokens < finish.drafted_tokens);
    assert_eq!(
        finish.decode_steps + finish.accepted_tokens,
        finish.completion_tokens
    );
}

#[test]
fn copies_of_a_prompt_share_its_cells() {
    let handle = spawn(engine(limits(512, 8), EngineOptions::default()));
    let prompt: Vec<Token> = (0..200).map(|index| 97 + index % 20).collect();
    let submit = |seed| {
        let sampling = Sampling {
            temperature: 1.0,
            seed,
            ..Sampling::default()
        };
        let request = Request {
            sampling,
            ..Request::new(prompt.clone()).max_tokens(8)
        };
        handle.submit(request).expect("a valid request")
    };
    let completions: Vec<Completion> = (0..4).map(submit).collect();
    let cached: Vec<u32> = completions
        .into_iter()
        .map(|completion| collect(completion).1.cached_tokens)
        .collect();
    assert_eq!(cached, [0, 199, 199, 199]);
    // Four copies of 200 cells would not even fit.
    assert_eq!(handle.stats().preemptions, 0);
}

#[test]
fn a_returning_session_finds_its_cells_and_pressure_evicts_the_oldest() {
    let options = EngineOptions {
        offload_bytes: 0,
        ..EngineOptions::default()
    };
    let handle = spawn(engine(limits(300, 4), options));
    let run = |prompt: &[Token]| {
        let request = Request::new(prompt.to_vec()).max_tokens(4);
        collect(handle.submit(request).expect("a valid request"))
    };
    let first: Vec<Token> = vec![100; 120];
    let second: Vec<Token> = vec![101; 120];
    let (said, finish) = run(&first);
    assert_eq!(finish.cached_tokens, 0);
    let next_turn = [&first[..], &said[..said.len() - 1], &[110, 111]].concat();
    let resident = (first.len() + said.len() - 1) as u32;
    assert_eq!(run(&next_turn).1.cached_tokens, resident);
    run(&second);
    run(&vec![102; 120]);
    assert!(handle.stats().evictions > 0);
    assert_eq!(run(&next_turn).1.cached_tokens, 0, "the oldest was evicted");
}
