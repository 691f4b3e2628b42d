//! Drafts never cost time, save it where they are good, and leave what is sampled as it is.

use std::collections::HashMap;
use std::sync::Arc;

use agentinfer_engine::{
    Completion, Constraint, DraftSource, Drafter, Engine, EngineOptions, Event, Finish, Guess,
    LatencyCurve, Model, ModelLimits, Origin, Progress, Request, Sampling, SimModel, SimVocabulary,
    Speculation, StatsSnapshot, Token,
};
use serde_json::json;

fn engine(speculation: Speculation) -> Engine<SimModel> {
    let limits = ModelLimits {
        cells: 60_000,
        ..SimModel::default().limits()
    };
    // The default curve is that of two cores, where 8 tokens cost nearly as much as 16.
    let model = SimModel::new(limits, LatencyCurve::default());
    let options = EngineOptions {
        speculation,
        // Everything is read at the end.
        event_capacity: 10_000,
        ..EngineOptions::default()
    };
    Engine::new(model, Arc::new(SimVocabulary::default()), options)
}

fn read(mut completion: Completion) -> (Vec<Token>, Finish) {
    let mut tokens = Vec::new();
    loop {
        match completion.try_next() {
            Some(Event::Token(event)) => tokens.push(event.token),
            Some(Event::Finished(finish)) => return (tokens, finish),
            Some(Event::Started(_)) => {}
            other => panic!("the request failed: {other:?}"),
        }
    }
}

/// Runs requests to their ends. Returns what they said and the seconds it took.
fn run(engine: &mut Engine<SimModel>, requests: &[Request]) -> (Vec<(Vec<Token>, Finish)>, f64) {
    let begin = engine.model_mut().now();
    let submit = |request: &Request| engine.submit(request.clone()).expect("a valid request");
    let completions: Vec<Completion> = requests.iter().map(submit).collect();
    while engine.step() != Progress::Idle {}
    let seconds = engine.model_mut().now() - begin;
    (completions.into_iter().map(read).collect(), seconds)
}

/// Knows what sequences will say, by their first tokens, and errs as often as it is told to.
struct Erring {
    texts: HashMap<Token, Vec<Token>>,
    said: HashMap<u64, (Token, usize)>,
    /// Of 100 guesses.
    right: u64,
    claims: f32,
}

impl Drafter for Erring {
    fn begin(&mut self, id: u64, _origin: Origin, prompt: &[Token]) {
        self.said.insert(id, (prompt[0], 0));
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        self.said.get_mut(&id).expect("begun before").1 += tokens.len();
    }

    fn propose(&mut self, id: u64, limit: usize, least: f32, draft: &mut Vec<Guess>) {
        let (name, said) = self.said[&id];
        let mut reach = 1.0;
        let rest = self.texts[&name]
            .iter()
            .enumerate()
            .skip(said + draft.len());
        for (place, &token) in rest.take(limit) {
            reach *= self.claims;
            if reach < least {
                break;
            }
            let seed = (place as u64) << 8 | u64::from(name);
            let right = fastrand::Rng::with_seed(seed).u64(..100) < self.right;
            draft.push(Guess {
                token: if right { token } else { token ^ 1 },
                probability: self.claims,
                source: DraftSource::Corpus,
            });
        }
    }

    fn finish(&mut self, id: u64) {
        self.said.remove(&id);
    }
}

/// Sequences of different lengths, so that prompts are computed beside others' decoding.
fn requests(count: usize) -> Vec<Request> {
    let request = |index: usize| Request {
        ignore_eos: true,
        ..Request::new(vec![97 + index as Token; 50 + 400 * index])
            .max_tokens(1500 - 100 * (index as u32 % 3))
    };
    (0..count).map(request).collect()
}

#[test]
fn drafts_never_cost_time_and_save_it_where_they_are_good() {
    for sessions in [1, 4, 8] {
        let requests = requests(sessions);
        let (said, off) = run(&mut engine(Speculation::Off), &requests);
        let texts = requests.iter().zip(&said);
        let texts = texts.map(|(request, (tokens, _))| (request.prompt[0], tokens.clone()));
        let texts: HashMap<Token, Vec<Token>> = texts.collect();
        // Right guesses of 100, the probability that is claimed, and how much faster it must be.
        for (right, claims, faster) in [
            (0, 0.9, 0.98),
            (0, 0.5, 0.98),
            (10, 0.99, 0.98),
            (50, 0.5, 0.98),
            (50, 0.95, 0.98),
            (80, 0.8, 1.02),
            (100, 0.6, 0.98),
            (100, 0.98, 1.5),
        ] {
            let drafter = Erring {
                texts: texts.clone(),
                said: HashMap::new(),
                right,
                claims,
            };
            let mut engine = engine(Speculation::Adaptive).with_drafter(Box::new(drafter));
            engine.measure_steps().expect("a model that computes");
            let (again, seconds) = run(&mut engine, &requests);
            let name = format!("{sessions} sessions, {right} % right, {claims} claimed");
            for ((tokens, _), (expected, _)) in again.iter().zip(&said) {
                assert_eq!(tokens, expected, "{name}");
            }
            assert!(seconds * faster <= off, "{name}: {:.3}", off / seconds);
            predictions_hold(&engine.stats(), &name);
            counts_add_up(&engine.stats(), DraftSource::Corpus, &name);
        }
    }
}

/// Seconds are foreseen exactly where the curve is the simulator's own, and accepted tokens about
/// as they come where probabilities are true.
fn predictions_hold(stats: &StatsSnapshot, name: &str) {
    let ratio = stats.expected_decode_nanoseconds as f64 / stats.decode_nanoseconds as f64;
    assert!((ratio - 1.0).abs() < 0.02, "{name}: {ratio}");
    let (expected, accepted) = (stats.expected_accepted_tokens, stats.accepted_tokens);
    if name.contains("80 % right, 0.8") {
        let ratio = expected as f64 / accepted as f64;
        assert!(
            (ratio - 1.0).abs() < 0.1,
            "{name}: {expected} of {accepted}"
        );
    }
}

/// What is counted by source and position is what is counted in all, and each position's tokens
/// were put to the test as often as all before them were accepted, or less where a sequence had
/// ended.
fn counts_add_up(stats: &StatsSnapshot, source: DraftSource, name: &str) {
    let total = stats.acceptance.total();
    let counted = (total.drafted, total.accepted);
    let expected = (stats.drafted_tokens, stats.accepted_tokens);
    assert_eq!(counted, expected, "{name}");
    let tallies: Vec<_> = stats.acceptance.tallies().collect();
    assert!(
        tallies.iter().all(|it| it.0 == source),
        "{name}: {tallies:?}"
    );
    for pair in tallies.windows(2) {
        let (one, next) = (pair[0].2, pair[1].2);
        // The last position is that of all later ones.
        let apart = pair[1].1 <= 8;
        assert!(!apart || next.drafted <= one.drafted, "{name}: {tallies:?}");
        assert!(!apart || next.tested <= one.accepted, "{name}: {tallies:?}");
        assert!(one.accepted <= one.tested && one.tested <= one.drafted);
    }
}

#[test]
fn measuring_finds_the_curve_and_leaves_nothing_behind() {
    let mut engine = engine(Speculation::Adaptive);
    let begin = engine.model_mut().now();
    engine.measure_steps().expect("a model that computes");
    let took = engine.model_mut().now() - begin;
    assert!((1.0..2.5).contains(&took), "{took}");
    let points: Vec<_> = engine.step_curve().points().collect();
    assert!(points.len() >= 8);
    for (tokens, seconds) in points {
        let context = (tokens * tokens.saturating_sub(1)) as f64 / 2.0 * 3e-7;
        let relative = (seconds - context) / 0.038;
        let known = [
            (1, 1.0),
            (2, 1.4),
            (4, 2.3),
            (8, 5.0),
            (16, 6.0),
            (32, 10.0),
        ];
        if let Some((_, expected)) = known.iter().find(|(known, _)| *known == tokens) {
            assert!((relative - expected).abs() < 1e-6, "{tokens}: {relative}");
        }
    }
    let (said, _) = run(&mut engine, &requests(1));
    assert_eq!(said[0].1.completion_tokens, 1500);
    let mut off = self::engine(Speculation::Off);
    off.measure_steps().expect("nothing to do");
    assert_eq!(off.model_mut().now(), 0.0);
}

#[test]
fn what_a_grammar_forces_is_not_decoded_step_by_step() {
    let schema = json!({
        "type": "object",
        "properties": {
            "file_name": {"type": "string", "pattern": "^[a-c]{1,3}$"},
            "include_subfolders": {"type": "boolean"},
        },
        "required": ["file_name", "include_subfolders"],
        "additionalProperties": false,
    });
    let call = r#"start: <|im_start|> "the answer is " ("no" | "yes, of course") <|im_end|>"#;
    for (name, constraint, saved) in [
        ("schema", Constraint::JsonSchema(schema), 0.4),
        (
            "regex",
            Constraint::Regex("the answer is (no|yes, of course)".to_owned()),
            0.6,
        ),
        ("control tokens", Constraint::Lark(call.to_owned()), 0.6),
        ("free text", Constraint::Regex("[a-z ]{40}".to_owned()), 0.0),
    ] {
        let request = |temperature: f32, seed| Request {
            constraint: constraint.clone(),
            sampling: Sampling {
                temperature,
                seed,
                ..Sampling::default()
            },
            ..Request::new(vec![97, 98]).max_tokens(400)
        };
        let mut requests: Vec<Request> = (0..6).map(|seed| request(1.0, seed)).collect();
        requests.push(request(0.0, 0));
        let (expected, off) = run(&mut engine(Speculation::Off), &requests);
        let mut engine = engine(Speculation::Adaptive);
        let (said, seconds) = run(&mut engine, &requests);
        assert!(seconds <= 1.02 * off, "{name}: {seconds} {off}");
        let steps = |ends: &[(Vec<Token>, Finish)]| -> u32 {
            ends.iter().map(|(_, finish)| finish.decode_steps).sum()
        };
        for ((tokens, finish), (expected, before)) in said.iter().zip(&expected) {
            assert_eq!(tokens, expected, "{name}");
            assert_eq!(finish.reason, before.reason, "{name}");
        }
        let share = 1.0 - f64::from(steps(&said)) / f64::from(steps(&expected));
        assert!(share >= saved, "{name}: {share} of the steps were saved");
        let stats = engine.stats();
        // Each byte is a token here, so forced tokens cannot be written otherwise. Where the last
        // of them ends the text, it counts as decoded.
        let decoded = stats.drafted_tokens - stats.accepted_tokens;
        assert!(decoded <= requests.len() as u64, "{name}: {stats:?}");
        assert_eq!(stats.forced_tokens, stats.drafted_tokens, "{name}");
        counts_add_up(&stats, DraftSource::Forced, name);
    }
}

/// Always proposes the same letters, some of which are sometimes right.
struct Letters;

impl Drafter for Letters {
    fn begin(&mut self, _id: u64, _origin: Origin, _prompt: &[Token]) {}
    fn extend(&mut self, _id: u64, _tokens: &[Token]) {}

    fn propose(&mut self, id: u64, limit: usize, _least: f32, draft: &mut Vec<Guess>) {
        let letters = (0..limit as u64).map(|place| Guess {
            token: b'a' as Token + ((id + place) % 3) as Token,
            probability: 0.8,
            source: DraftSource::default(),
        });
        draft.extend(letters);
    }

    fn finish(&mut self, _id: u64) {}
}

#[test]
fn sampled_text_keeps_its_distribution() {
    const DRAWS: u64 = 6000;
    // Three letters, three times: 27 texts that are drawn with different probabilities.
    let request = |seed| Request {
        sampling: Sampling {
            temperature: 0.8,
            seed,
            logit_bias: vec![(97, 40.0), (98, 40.0), (99, 40.0)],
            ..Sampling::default()
        },
        ..Request::new(vec![120]).max_tokens(3)
    };
    let count = |engine: &mut Engine<SimModel>, seeds: std::ops::Range<u64>| {
        let mut counts = [0.0f64; 27];
        let seeds: Vec<u64> = seeds.collect();
        for some in seeds.chunks(200) {
            let requests: Vec<Request> = some.iter().copied().map(request).collect();
            for (tokens, _) in run(engine, &requests).0 {
                let letters = tokens.iter().map(|token| *token as usize - 97);
                counts[letters.fold(0, |text, letter| text * 3 + letter)] += 1.0;
            }
        }
        counts
    };
    // Other seeds, so that only the distribution can agree.
    let plain = count(&mut engine(Speculation::Off), 0..DRAWS);
    let mut drafting = engine(Speculation::Fixed(2)).with_drafter(Box::new(Letters));
    let drafted = count(&mut drafting, DRAWS..2 * DRAWS);
    let stats = drafting.stats();
    assert!(stats.accepted_tokens > DRAWS / 4 && stats.accepted_tokens < stats.drafted_tokens);
    let terms = plain.iter().zip(&drafted).filter(|(a, b)| *a + *b > 0.0);
    let statistic: f64 = terms.map(|(a, b)| (a - b) * (a - b) / (a + b)).sum();
    // The chi-square distribution with 26 degrees of freedom exceeds this once in 10,000 times.
    assert!(statistic < 62.0, "{statistic}: {plain:?} {drafted:?}");
    assert!(
        plain.iter().filter(|count| **count > 20.0).count() > 15,
        "{plain:?}"
    );
}
