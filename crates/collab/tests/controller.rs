//! Every transition of the controller, and what holds for any order of events.

use std::collections::BTreeMap;

use agentinfer_collab::{
    Attempt, Competence, Controller, Decision, Entry, Outcome, Policy, Reason, Role, Signal,
    Signals, Step, Tier, Verdict, replay,
};
use proptest::prelude::*;

fn policy(text: &str) -> Policy {
    text.parse().expect("a policy")
}

/// Takes a step for each letter: `T` progress, `F` stall, `-` no verdict. Returns who took them:
/// `L`, `S`, or `SL` where a step was taken again.
fn tiers(policy_text: &str, verdicts: &str, role: Role) -> Vec<String> {
    let mut competence = Competence::default();
    let mut controller = Controller::new(policy(policy_text), 7);
    let step = Step::new(role, "think").repeatable();
    let letter = |tier: Tier| if tier == Tier::Large { "L" } else { "S" };
    verdicts
        .chars()
        .map(|verdict| {
            let outcome = Outcome::judged(match verdict {
                'T' => Verdict::Progress,
                'F' => Verdict::Stall,
                _ => Verdict::Missing,
            });
            let mut attempt = Some(controller.begin(&step, &competence));
            let mut taken = String::new();
            while let Some(begun) = attempt {
                taken.push_str(letter(begun.tier()));
                attempt = controller.finish(begun, &outcome, &mut competence);
            }
            taken
        })
        .collect()
}

#[test]
fn transitions_of_the_published_controllers() {
    for (policy, verdicts, expected) in [
        // Warm-up, whatever its verdicts; then small while there is progress.
        ("paper:warm_up=2:burst=2", "FFTT", "L L S S"),
        ("paper:warm_up=0:burst=2", "TTT", "S S S"),
        // A stall calls the large tier, which goes as soon as there is progress.
        ("paper:warm_up=1:burst=3", "TFTT", "L S L S"),
        // Or when its budget is spent; then the next stall calls it again, with the same budget.
        ("paper:warm_up=1:burst=2", "TFFFFFF", "L S L L S L L"),
        // A missing verdict is no progress.
        ("paper:warm_up=1:burst=1", "T--T", "L S L S"),
        // Without a budget it is never called.
        ("paper:warm_up=1:burst=0", "TFFF", "L S S S"),
        // Bursts that do not help grow: 1, 3, then the most, 4.
        (
            "cumulative:warm_up=0:first=1:more=2:most=4",
            "FFFFFFFFFFFF",
            "S L S L L L S L L L L S",
        ),
        // Progress of either tier begins them anew.
        (
            "cumulative:warm_up=0:first=1:more=2:most=4",
            "FFFTFFT",
            "S L S L S L S",
        ),
        (
            "cumulative:warm_up=0:first=1:more=2:most=4",
            "FFTFF",
            "S L S S L",
        ),
        ("always_true:warm_up=2:burst=2", "FFFF", "L L S S"),
        ("large_only", "FT", "L L"),
        ("small_only", "FT", "S S"),
        // Small first; large when the check does not say TRUE.
        ("cascade", "TF-", "S SL SL"),
        ("random:share=1", "TF", "L L"),
        ("random:share=0", "TF", "S S"),
        ("oracle", "T", "L"),
        ("both", "TF", "SL SL"),
    ] {
        let taken = tiers(policy, verdicts, Role::Unknown).join(" ");
        assert_eq!(taken, expected, "{policy} {verdicts}");
    }
}

#[test]
fn roles_and_records_decide_where_the_policy_says_so() {
    for (policy, role, expected) in [
        ("large_planner", Role::Planner, "L"),
        ("large_planner", Role::Seeker, "S"),
        ("large_planner", Role::Writer, "S"),
        ("large_seeker", Role::Planner, "S"),
        ("large_seeker", Role::Seeker, "L"),
    ] {
        assert_eq!(tiers(policy, "T", role), [expected], "{policy} {role:?}");
    }
    let competence = Competence::default();
    let mut oracle = Controller::new(Policy::Oracle, 0);
    let step = Step {
        recorded: Some(Tier::Small),
        ..Step::new(Role::Writer, "write")
    };
    let decision = oracle.begin(&step, &competence).decision();
    let expected = Decision {
        tier: Tier::Small,
        reason: Reason::Recorded,
    };
    assert_eq!(decision, expected);
}

#[test]
fn chance_keeps_to_its_share() {
    let competence = Competence::default();
    let mut controller = Controller::new(Policy::Random { share: 0.3 }, 5);
    let step = Step::new(Role::Unknown, "think");
    let large = (0..10_000)
        .filter(|_| controller.begin(&step, &competence).tier() == Tier::Large)
        .count();
    assert!((2_850..3_150).contains(&large), "{large}");
}

fn checked(supported: bool) -> Outcome {
    Outcome {
        signals: Signals::default()
            .with(Signal::Supported, supported)
            .with(Signal::Fits, supported),
        ..Outcome::default()
    }
}

#[test]
fn our_policy_keeps_what_its_checks_support() {
    let mut competence = Competence::default();
    let mut controller = Controller::new(policy("agent:confidence=0.7"), 0);
    let step = Step::new(Role::Seeker, "read").repeatable();
    let reason = |attempt: &Attempt| attempt.decision().reason;
    let first = controller.begin(&step, &competence);
    let how = (first.tier(), reason(&first));
    assert_eq!(how, (Tier::Small, Reason::Competent));
    // What is never looked at is never found to be wrong: at first both take every step.
    let audit = controller.finish(first, &checked(true), &mut competence);
    let mut audit = audit.expect("audited");
    assert_eq!((audit.tier(), reason(&audit)), (Tier::Large, Reason::Audit));
    let same = Outcome {
        same: Some(true),
        ..checked(true)
    };
    for _ in 0..7 {
        assert!(controller.finish(audit, &same, &mut competence).is_none());
        let next = controller.begin(&step, &competence);
        let again = controller.finish(next, &checked(true), &mut competence);
        audit = again.expect("audited");
    }
    assert!(controller.finish(audit, &same, &mut competence).is_none());
    let kept: Vec<bool> = (0..34)
        .map(|_| {
            let next = controller.begin(&step, &competence);
            match controller.finish(next, &checked(true), &mut competence) {
                None => true,
                Some(again) => {
                    controller.finish(again, &same, &mut competence);
                    false
                }
            }
        })
        .collect();
    let audits: Vec<usize> = (0..kept.len()).filter(|&index| !kept[index]).collect();
    assert_eq!(audits, [15, 31]);
    let second = controller.begin(&step, &competence);
    let again = controller.finish(second, &checked(false), &mut competence);
    let again = again.expect("doubted");
    assert_eq!((again.tier(), reason(&again)), (Tier::Large, Reason::Doubt));
    let large = Outcome {
        same: Some(true),
        ..checked(true)
    };
    let before = competence.probability("read", &checked(false));
    assert!(controller.finish(again, &large, &mut competence).is_none());
    let after = competence.probability("read", &checked(false));
    assert!(after > before, "it was right after all: {before} {after}");
    // What was repaired is no stall: the next step is the small tier's again.
    assert_eq!(controller.begin(&step, &competence).tier(), Tier::Small);
}

#[test]
fn a_doubted_step_that_cannot_be_repeated_calls_the_large_tier_for_the_next() {
    let mut competence = Competence::default();
    let mut controller = Controller::new(policy("agent:burst=1:most=2"), 0);
    let step = Step::new(Role::Unknown, "turn");
    let mut take = |supported: bool| {
        let attempt = controller.begin(&step, &competence);
        let tier = attempt.tier();
        let again = controller.finish(attempt, &checked(supported), &mut competence);
        assert!(again.is_none());
        tier
    };
    let (small, large) = (Tier::Small, Tier::Large);
    // The second burst in a row may be one step longer, and ends as soon as nothing fails.
    let taken = [false, false, false, false, false, true, false, true, true].map(&mut take);
    assert_eq!(
        taken,
        [
            small, large, small, large, large, small, small, large, small
        ]
    );
}

#[test]
fn a_kind_that_the_small_tier_cannot_do_is_probed_from_time_to_time() {
    let mut competence = Competence::default();
    let mut controller = Controller::new(Policy::default(), 0);
    let step = Step::new(Role::Writer, "write").repeatable();
    let mut reasons = Vec::new();
    for _ in 0..120 {
        let attempt = controller.begin(&step, &competence);
        reasons.push(attempt.decision().reason);
        if let Some(again) = controller.finish(attempt, &checked(false), &mut competence) {
            assert_eq!(again.decision().reason, Reason::Doubt);
            controller.finish(again, &checked(true), &mut competence);
        }
    }
    let tail = &reasons[reasons.len() - 64..];
    let count = |wanted| tail.iter().filter(|&&reason| reason == wanted).count();
    assert_eq!((count(Reason::Probe), count(Reason::Incompetent)), (4, 60));
}

#[test]
fn what_both_tiers_do_teaches_which_kinds_to_try() {
    let mut competence = Competence::default();
    let step = |kind: &str| Step::new(Role::Seeker, kind).repeatable();
    let mut both = Controller::new(policy("both"), 0);
    for _ in 0..40 {
        for (kind, same) in [("plan", true), ("write", false)] {
            let small = both.begin(&step(kind), &competence);
            let outcome = |tier: Tier, same| Outcome {
                seconds: if tier == Tier::Small { 1.0 } else { 2.0 },
                same,
                ..checked(true)
            };
            let first = outcome(Tier::Small, None);
            let large = both.finish(small, &first, &mut competence);
            let second = outcome(Tier::Large, Some(same));
            both.finish(large.expect("both"), &second, &mut competence);
        }
    }
    let mut agent = Controller::new(Policy::default(), 0);
    for (kind, tier) in [("plan", Tier::Small), ("write", Tier::Large)] {
        assert_eq!(agent.begin(&step(kind), &competence).tier(), tier, "{kind}");
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let roles = prop_oneof![
        Just(Role::Planner),
        Just(Role::Seeker),
        Just(Role::Writer),
        Just(Role::Unknown)
    ];
    let recorded = prop::option::of(prop_oneof![Just(Tier::Small), Just(Tier::Large)]);
    (roles, "[a-c]", any::<bool>(), recorded).prop_map(|(role, kind, repeatable, recorded)| Step {
        role,
        kind,
        repeatable,
        recorded,
    })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let verdict = prop_oneof![
        Just(Verdict::Progress),
        Just(Verdict::Stall),
        Just(Verdict::Missing)
    ];
    let signals = prop::collection::vec(prop::option::of(any::<bool>()), Signal::ALL.len());
    let same = prop::option::of(any::<bool>());
    let p_true = prop::option::of(prop_oneof![Just(f32::NAN), 0.0f32..=1.0]);
    (verdict, signals, -1.0f64..9.0, same, p_true).prop_map(
        |(verdict, values, seconds, same, p_true)| Outcome {
            verdict,
            p_true,
            signals: Signal::ALL
                .into_iter()
                .zip(values)
                .filter_map(|(signal, value)| Some((signal, value?)))
                .fold(Signals::default(), |signals, (signal, value)| {
                    signals.with(signal, value)
                }),
            seconds,
            same,
        },
    )
}

/// Begins and ends of a few steps, in any order.
fn events() -> impl Strategy<Value = Vec<(u64, Result<Step, Outcome>)>> {
    let event = prop_oneof![steps().prop_map(Ok), outcomes().prop_map(Err)];
    prop::collection::vec((0u64..3, event), 0..60)
}

fn policies() -> impl Strategy<Value = Policy> {
    let count = 0u32..4;
    prop_oneof![
        (count.clone(), count.clone())
            .prop_map(|(warm_up, burst)| policy(&format!("paper:warm_up={warm_up}:burst={burst}"))),
        (count.clone(), count.clone(), count.clone(), count).prop_map(|(warm_up, a, b, c)| {
            policy(&format!(
                "cumulative:warm_up={warm_up}:first={a}:more={b}:most={c}"
            ))
        }),
        prop::sample::select(Policy::all().to_vec()),
    ]
}

/// Most steps in a row that the large tier may take for a stall.
fn most(policy: &Policy) -> Option<u32> {
    match policy {
        Policy::Paper(options) => Some(options.burst),
        Policy::Cumulative(options) => Some(options.most),
        Policy::Agent(options) => Some(options.most),
        _ => None,
    }
}

/// What was decided: `NaN` is not itself, so what it was decided on cannot be compared.
fn decisions(trace: &[Entry]) -> Vec<Option<Decision>> {
    let decision = |entry: &Entry| match entry {
        Entry::Begin { decision, .. } => Some(*decision),
        Entry::Finish { again, .. } => *again,
    };
    trace.iter().map(decision).collect()
}

proptest! {
    #[test]
    fn no_order_of_events_breaks_it_and_bursts_keep_to_their_budget(
        policy in policies(),
        events in events(),
        seed in any::<u64>(),
    ) {
        let mut competence = Competence::default();
        let mut controller = Controller::new(policy, seed);
        let mut attempts: BTreeMap<u64, Attempt> = BTreeMap::new();
        let mut trace = Vec::new();
        for (id, event) in events {
            match event {
                Ok(step) => {
                    let attempt = controller.begin(&step, &competence);
                    let decision = attempt.decision();
                    if let Reason::Burst { step, budget } = decision.reason {
                        prop_assert!(step <= budget, "{trace:?}");
                        prop_assert!(most(&policy).is_some_and(|most| budget <= most));
                    }
                    attempts.insert(id, attempt);
                    trace.push(Entry::Begin { id, step, decision });
                }
                Err(outcome) => {
                    let Some(attempt) = attempts.remove(&id) else { continue };
                    let reason = attempt.decision().reason;
                    let second = matches!(reason, Reason::Doubt | Reason::Audit);
                    let again = controller.finish(attempt, &outcome, &mut competence);
                    prop_assert!(again.is_none() || !second, "taken a third time");
                    let decision = again.as_ref().map(Attempt::decision);
                    attempts.extend(again.map(|again| (id, again)));
                    trace.push(Entry::Finish { id, outcome, again: decision });
                }
            }
        }
        let again = replay(policy, seed, Competence::default(), &trace);
        prop_assert_eq!(decisions(&again), decisions(&trace));
        let written = serde_json::to_string(&trace).expect("serializes");
        let read: Vec<Entry> = serde_json::from_str(&written).expect("is read again");
        let again = replay(policy, seed, Competence::default(), &read);
        prop_assert_eq!(decisions(&again), decisions(&trace));
    }

    #[test]
    fn one_step_after_another_bursts_are_no_longer_than_their_budget(
        policy in policies(),
        taken in prop::collection::vec((steps(), outcomes()), 0..60),
    ) {
        let mut competence = Competence::default();
        let mut controller = Controller::new(policy, 0);
        let mut in_a_row = 0;
        for (step, outcome) in taken {
            let mut attempt = Some(controller.begin(&step, &competence));
            while let Some(begun) = attempt {
                match begun.decision().reason {
                    Reason::Burst { step, budget } => {
                        in_a_row += 1;
                        prop_assert!(step == in_a_row && in_a_row <= budget);
                    }
                    _ => in_a_row = 0,
                }
                attempt = controller.finish(begun, &outcome, &mut competence);
            }
        }
    }
}
