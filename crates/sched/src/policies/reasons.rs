//! Words that the reasons of several policies are made of.

use crate::{Candidate, View, Waiting};

/// Why candidates stand where they do under the baseline: who came first, what was used last.
pub(super) fn baseline(view: &View<'_>, candidate: Candidate<'_>) -> String {
    match candidate {
        Candidate::Waiting(request) => format!("came {} ago", seconds(view.now - request.arrived)),
        Candidate::Running(request) => format!("came {} ago", seconds(view.now - request.arrived)),
        Candidate::Idle(sequence) if sequence.ended => "its session has ended".to_owned(),
        Candidate::Idle(sequence) => {
            let idle = seconds(view.now - sequence.last_used);
            format!(
                "last used {idle} ago; frees {} cells",
                count(sequence.freed_cells)
            )
        }
    }
}

/// When a session returns that has been idle for so many seconds.
pub(super) fn gap(expected: Option<f64>, idle: f64) -> String {
    match expected.map(|gap| gap - idle) {
        None => "whether it returns is unknown".to_owned(),
        Some(left) if left >= 0.0 => format!("expected back in {}", seconds(left)),
        Some(left) => format!("overdue by {}", seconds(-left)),
    }
}

/// How much of a request's prompt need not be computed.
pub(super) fn residency(request: &Waiting) -> String {
    let (resident, all) = (count(request.resident_tokens), count(request.prompt_tokens));
    match request.restorable_tokens {
        0 => format!("{resident} of {all} tokens resident"),
        stored => format!(
            "{resident} of {all} tokens resident, {} stored",
            count(stored)
        ),
    }
}

/// Seconds as people read them: tenths below ten.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds < 10.0 {
        true => format!("{seconds:.1} s"),
        false => format!("{seconds:.0} s"),
    }
}

/// A number with its thousands apart.
pub(super) fn count(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, PolicySpec, Resident, Running};

    #[test]
    fn numbers_are_written_for_people() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(
            (seconds(3.25), seconds(41.2)),
            ("3.2 s".into(), "41 s".into())
        );
    }

    #[test]
    fn every_policy_gives_reasons() {
        let waiting = [Waiting {
            id: 3,
            arrived: 95.0,
            session_arrived: 60.0,
            session: Some(1),
            prompt_tokens: 4100,
            resident_tokens: 3812,
            needed_cells: 400,
            fits: true,
            ..Waiting::default()
        }];
        let idle = [Resident {
            session: Some(2),
            session_arrived: 50.0,
            expected_gap: Some(8.0),
            last_used: 95.0,
            cells: 4100,
            freed_cells: 4100,
            ..Resident::default()
        }];
        let running = [Running::default()];
        let view = View {
            now: 100.0,
            free_cells: 100,
            idle_cells: 4100,
            waiting: &waiting,
            running: &running,
            idle: &idle,
            ..View::default()
        };
        let candidates = [
            Candidate::Waiting(&waiting[0]),
            Candidate::Idle(&idle[0]),
            Candidate::Running(&running[0]),
        ];
        let said = |policy: &mut dyn Policy| {
            policy.observe(&view);
            candidates.map(|candidate| policy.reason(&view, candidate))
        };
        for spec in PolicySpec::all() {
            let said = said(&mut *spec.build());
            assert!(
                said.iter().all(|reason| !reason.is_empty()),
                "{spec}: {said:?}"
            );
        }
        let [waits, kept, _] = said(&mut *PolicySpec::Agent(Default::default()).build());
        let expected = "continuation; session came 40 s ago; 3,812 of 4,100 tokens resident; held";
        assert!(waits.starts_with(expected), "{waits}");
        assert_eq!(kept, "held: expected back in 3.0 s, 41 s to compute again");
        let mut paper = PolicySpec::Paper(Default::default()).build();
        let [waits, ..] = said(&mut *paper);
        assert!(
            waits.contains("hit of 239 blocks") && waits.contains("lambda"),
            "{waits}"
        );
        assert!(paper.price(&view).is_some());
    }
}
