//! What is allotted, against all other choices, and what the budget learns.

use proptest::prelude::*;

use super::*;
use crate::DraftSource;

/// Two cores: 8 tokens cost nearly as much as 16.
const CPU: [(usize, f64); 7] = [
    (1, 0.038),
    (2, 0.053),
    (4, 0.087),
    (8, 0.19),
    (16, 0.228),
    (32, 0.38),
    (64, 0.684),
];

fn guesses(probabilities: &[f32]) -> Vec<Guess> {
    let guess = |&probability| Guess {
        token: 1,
        probability,
        source: DraftSource::Session,
    };
    probabilities.iter().map(guess).collect()
}

fn draft(guesses: &[Guess]) -> Draft<'_> {
    Draft {
        guesses,
        forced: 0,
        context: 100,
    }
}

fn budget(points: &[(usize, f64)]) -> Budget {
    let mut budget = Budget::new(Speculation::Adaptive);
    *budget.curve_mut() = StepCurve::measured(points);
    budget
}

fn load(decodes: usize, prefill: usize) -> Load {
    Load {
        decodes,
        contexts: 100.0 * decodes as f64,
        prefill,
        room: 1000,
    }
}

fn allotted(budget: &mut Budget, drafts: &[Vec<f32>], load: &Load) -> Vec<usize> {
    let drafts: Vec<Vec<Guess>> = drafts.iter().map(|draft| guesses(draft)).collect();
    let drafts = drafts.iter().map(|guesses| draft(guesses));
    budget.allot(drafts, load).to_vec()
}

#[test]
fn what_pays_on_two_cores() {
    let sure = vec![0.98; 16];
    for (name, drafts, prefill, expected) in [
        ("nothing drafted", vec![vec![]], 0, vec![0]),
        ("a guess like a coin", vec![vec![0.4]], 0, vec![0]),
        ("a good guess", vec![vec![0.7]], 0, vec![1]),
        ("certain ones", vec![sure.clone()], 0, vec![16]),
        (
            "one of two is certain",
            vec![sure.clone(), vec![0.3; 16]],
            0,
            vec![16, 0],
        ),
        ("good ones at eight", vec![vec![0.6]; 8], 0, vec![1; 8]),
        ("poor ones at eight", vec![vec![0.15]; 8], 0, vec![0; 8]),
        // From 8 tokens to 16 the step grows little.
        (
            "one at eight",
            [vec![vec![0.9; 8]], vec![vec![]; 7]].concat(),
            0,
            vec![8, 0, 0, 0, 0, 0, 0, 0],
        ),
        // Beside a prompt a token costs about 0.25 of a step of one.
        ("beside a prompt", vec![vec![0.4]], 64, vec![1]),
        ("poor beside a prompt", vec![vec![0.2]], 64, vec![0]),
    ] {
        let load = load(drafts.len(), prefill);
        let found = allotted(&mut budget(&CPU), &drafts, &load);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn room_and_fixed_settings_bound_what_is_verified() {
    let mut load = load(2, 0);
    load.room = 1;
    let drafts = [vec![0.9, 0.9, 0.9], vec![0.95, 0.1]];
    assert_eq!(allotted(&mut budget(&CPU), &drafts, &load), [0, 1]);
    load.room = 3;
    let mut fixed = Budget::new(Speculation::Fixed(4));
    assert_eq!(fixed.least(&load), 0.0);
    assert_eq!(allotted(&mut fixed, &drafts, &load), [2, 1]);
    load.room = 100;
    let hopeless = [vec![0.0; 4], vec![f32::NAN, 1.0]];
    assert_eq!(allotted(&mut fixed, &hopeless, &load), [4, 2]);
    assert_eq!(allotted(&mut budget(&CPU), &hopeless, &load), [0, 0]);
}

#[test]
fn a_long_context_makes_guesses_dearer() {
    let mut budget = budget(&CPU);
    let drafts = [vec![0.6]];
    let mut load = load(1, 0);
    assert_eq!(allotted(&mut budget, &drafts, &load), [1]);
    *budget.curve_mut() = StepCurve::measured(&CPU).with_context(1e-6);
    let long = guesses(&[0.6]);
    let long = Draft {
        guesses: &long,
        forced: 0,
        context: 100_000,
    };
    load.contexts = 100_000.0;
    assert_eq!(budget.allot([long].into_iter(), &load), [0]);
}

#[test]
fn drafts_that_are_never_right_are_given_up() {
    let mut budget = budget(&CPU);
    let load = load(1, 0);
    let wrong = guesses(&[0.9; 8]);
    let (mut seconds, mut steps) = (0.0, 0);
    for _ in 0..3000 {
        let wanted = budget.least(&load) <= 0.9;
        let drafts = if wanted { draft(&wrong) } else { draft(&[]) };
        let length = budget.allot([drafts].into_iter(), &load)[0];
        let took = budget.curve().seconds(1 + length, load.contexts);
        if length > 0 {
            let drafts = draft(&wrong[..length]);
            budget.learn(&drafts, 0, 0, true);
        }
        let outcome = Outcome {
            drafted: length,
            accepted: 0,
            seconds: took,
        };
        budget.settle(&load, &outcome);
        seconds += took;
        steps += 1;
    }
    let off = f64::from(steps) * budget.curve().seconds(1, load.contexts);
    assert!(seconds <= 1.015 * off, "{}", seconds / off);
}

#[test]
fn forced_tokens_are_learned_apart_from_guesses() {
    let mut budget = budget(&CPU);
    let guesses = guesses(&[0.9; 4]);
    let forced = Draft {
        guesses: &guesses,
        forced: 2,
        context: 10,
    };
    // The first of two is always right, the last one never.
    (0..300).for_each(|_| budget.learn(&forced, 1, 1, true));
    assert!(budget.forced_probability(false) > 0.99);
    assert!(budget.forced_probability(true) < 0.1);
    assert_eq!(budget.trust.factor(), 1.0);
    // A truncated run has no last one.
    (0..300).for_each(|_| budget.learn(&forced, 2, 2, true));
    assert!(budget.forced_probability(true) < 0.1);
    assert!(budget.trust.factor() < 0.2);
}

/// Worth of verifying so many guesses of each draft, higher is better, by the definition: tokens
/// per second, or beside prefill the time saved less the time spent.
fn worth(budget: &Budget, drafts: &[Vec<f32>], load: &Load, lengths: &[usize], rate: f64) -> f64 {
    let reached = |(draft, &length): (&Vec<f32>, &usize)| {
        let products = draft[..length].iter().scan(1.0, |reach, probability| {
            *reach *= f64::from(*probability);
            Some(*reach)
        });
        products.sum::<f64>()
    };
    let expected: f64 = drafts.iter().zip(lengths).map(reached).sum();
    let added: usize = lengths.iter().sum();
    let contexts = |added: usize| load.contexts + 100.0 * added as f64;
    let base = load.decodes + load.prefill;
    let with = budget.curve().seconds(base + added, contexts(added));
    match load.prefill {
        0 => (load.decodes as f64 + expected) / with,
        _ => expected - rate * (with - budget.curve().seconds(base, load.contexts)),
    }
}

/// Every way to take beginnings of drafts.
fn choices(drafts: &[Vec<f32>]) -> Vec<Vec<usize>> {
    drafts.iter().fold(vec![vec![]], |choices, draft| {
        let longer = |choice: &Vec<usize>| -> Vec<Vec<usize>> {
            let lengths = 0..=draft.len();
            lengths
                .map(|length| [&choice[..], &[length]].concat())
                .collect()
        };
        choices.iter().flat_map(longer).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_other_choice_is_better(
        drafts in prop::collection::vec(prop::collection::vec(0.0f32..1.0, 0..5), 1..5),
        seconds in prop::collection::vec(0.5f64..4.0, 6),
        context_price in prop_oneof![Just(0.0), Just(1e-4)],
        prefill in prop_oneof![Just(0usize), 1usize..12],
    ) {
        let sizes = [1usize, 2, 4, 8, 16, 32];
        let points = sizes.iter().zip(&seconds);
        let points: Vec<_> = points.map(|(&tokens, &y)| (tokens, y * tokens as f64)).collect();
        let mut budget = Budget::new(Speculation::Adaptive);
        *budget.curve_mut() = StepCurve::measured(&points).with_context(context_price);
        let load = load(drafts.len(), prefill);
        let least = f64::from(budget.least(&load));
        let found = allotted(&mut budget, &drafts, &load);
        let none = vec![0; drafts.len()];
        // The price of time is the best rate without prefill, or just above that without drafts.
        let alone = Load { prefill: 0, ..load };
        let rates = choices(&drafts);
        let rates = rates.iter().map(|lengths| worth(&budget, &drafts, &alone, lengths, 0.0));
        let margin = 1.0 + MARGIN;
        let rate = margin * worth(&budget, &drafts, &alone, &none, 0.0);
        let rate = rates.fold(rate, f64::max);
        let of = |lengths: &Vec<usize>| match *lengths == none && prefill == 0 {
            true => margin * worth(&budget, &drafts, &load, lengths, rate),
            false => worth(&budget, &drafts, &load, lengths, rate),
        };
        let best = choices(&drafts).iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(of(&found) >= best - 1e-5 * best.abs() - 1e-5, "{found:?}");
        for (draft, &length) in drafts.iter().zip(&found) {
            let reach: f64 = draft[..length].iter().map(|it| f64::from(*it)).product();
            // Where the least is only a habit, a guess below it may still pay.
            let holds = length == 0 || least <= f64::from(LEAST) || reach >= least * 0.999;
            prop_assert!(holds, "{reach} of {least}");
        }
    }
}
