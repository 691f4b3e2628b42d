use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use agentinfer_sam::{DraftSource, Drafter, NoDrafts, Tally};

use super::*;

/// A drafter that knows what will be said, and errs at every `wrong`th position. Every second token
/// it calls the corpus's.
#[derive(Default)]
struct Oracle {
    outputs: Vec<Vec<Token>>,
    at: BTreeMap<u64, usize>,
    wrong: usize,
    /// What it was told, in order.
    told: Arc<Mutex<Vec<String>>>,
}

impl Drafter for Oracle {
    fn begin(&mut self, id: u64, origin: Origin, prompt: &[Token]) {
        let session = origin.session.expect("every call has a session");
        self.tell(format!("begin {id} of {session}: {}", prompt.len()));
        self.at.insert(id, 0);
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        let at = self.at.get_mut(&id).expect("it has begun");
        assert_eq!(tokens, &self.outputs[id as usize][*at..*at + tokens.len()]);
        *at += tokens.len();
    }

    fn propose(&mut self, id: u64, limit: usize, _least: f32, draft: &mut Vec<Guess>) {
        let output = &self.outputs[id as usize];
        // It also guesses past the end.
        for position in (self.at[&id]..).take(limit) {
            let right = self.wrong == 0 || (position + 1) % self.wrong != 0;
            let said = output.get(position).filter(|_| right).copied();
            draft.push(Guess {
                token: said.unwrap_or(Token::MAX),
                probability: 0.5,
                source: [DraftSource::Session, DraftSource::Corpus][position % 2],
            });
        }
    }

    fn finish(&mut self, id: u64) {
        assert_eq!(self.at[&id], self.outputs[id as usize].len());
        self.at.remove(&id);
    }

    fn end_session(&mut self, origin: Origin) {
        let session = origin.session.expect("every call has a session");
        self.tell(format!("end {session}"));
    }
}

impl Oracle {
    fn tell(&self, what: String) {
        self.told.lock().expect("one thread").push(what);
    }
}

impl Arm for Oracle {}

/// Drafts what followed the last occurrence of the last two tokens, in this call or in a session
/// that has ended.
#[derive(Default)]
struct LastPair {
    open: BTreeMap<u64, Vec<Token>>,
    said: Vec<Token>,
    ended: Vec<Token>,
}

impl Drafter for LastPair {
    fn begin(&mut self, id: u64, _origin: Origin, prompt: &[Token]) {
        self.open.insert(id, prompt.to_vec());
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        self.open.get_mut(&id).expect("begun").extend(tokens);
        self.said.extend(tokens);
    }

    fn propose(&mut self, id: u64, limit: usize, _least: f32, draft: &mut Vec<Guess>) {
        let text = &self.open[&id];
        let [before @ .., _] = &text[..] else { return };
        let Some(key) = text.last_chunk::<2>() else {
            return;
        };
        for known in [before, &self.ended] {
            if let Some(start) = known.windows(2).rposition(|pair| pair == key) {
                let next = known[start + 2..].iter().take(limit);
                draft.extend(next.map(|token| Guess {
                    token: *token,
                    probability: 1.0,
                    source: DraftSource::default(),
                }));
                return;
            }
        }
    }

    fn finish(&mut self, id: u64) {
        self.open.remove(&id);
    }

    fn end_session(&mut self, _origin: Origin) {
        self.ended.append(&mut self.said);
    }
}

impl Arm for LastPair {}

fn set(calls: &[(usize, &[Token], &[Token])]) -> CallSet {
    let calls = calls.iter().map(|(session, prompt, output)| Call {
        session: *session,
        prompt: prompt.to_vec(),
        output: output.to_vec(),
    });
    let calls: Vec<Call> = calls.collect();
    let sessions = calls
        .iter()
        .map(|call| call.session)
        .max()
        .map_or(0, |it| it + 1);
    CallSet {
        name: "set".to_owned(),
        tasks: (0..sessions).collect(),
        calls,
    }
}

fn played(arm: Box<dyn Arm>, set: &CallSet, max_draft: usize) -> Counts {
    let mut replay = Replay::new(arm);
    let all: Vec<usize> = (0..set.calls.len()).collect();
    replay.play(set, &all, &mut Pace::fixed(max_draft, 0.1));
    let asked = if max_draft > 0 {
        replay.counts.steps
    } else {
        0
    };
    assert_eq!(replay.times.propose.len() as u64, asked);
    replay.counts
}

#[test]
fn steps_and_guesses_are_counted() {
    let output: Vec<Token> = (0..10).collect();
    let set = set(&[(0, &[7; 5], &output)]);
    for (wrong, max_draft, steps, drafted, accepted) in [
        // Nothing drafted: one token a step, and the first with the prompt.
        (0, 0, 9, 0, 0),
        // Always wrong.
        (1, 3, 9, 27, 0),
        // Always right: 4, 4, 1, the last of which reaches past the end.
        (0, 3, 3, 9, 7),
        (0, 8, 1, 8, 8),
        // Nine accepted of sixteen: there is no token of the model's own after the last.
        (0, 16, 1, 16, 9),
        // Every second one wrong: one accepted, then the model's own.
        (2, 3, 5, 15, 4),
        (2, 1, 5, 5, 4),
    ] {
        let oracle = Oracle {
            outputs: vec![output.clone()],
            wrong,
            ..Oracle::default()
        };
        let counts = played(Box::new(oracle), &set, max_draft);
        let expected = Counts {
            calls: 1,
            tokens: 9,
            steps,
            drafted,
            accepted,
            acceptance: counts.acceptance,
        };
        let total = counts.acceptance.total();
        assert_eq!((total.drafted, total.accepted), (drafted, accepted));
        assert_eq!(counts, expected, "wrong {wrong}, max {max_draft}");
    }
    assert_eq!(played(Box::new(NoDrafts), &set, 16).steps, 9);
}

#[test]
fn acceptance_is_counted_by_source_and_position() {
    let output: Vec<Token> = (0..10).collect();
    let set = set(&[(0, &[7; 5], &output)]);
    let counted = |wrong, max_draft| {
        let oracle = Oracle {
            outputs: vec![output.clone()],
            wrong,
            ..Oracle::default()
        };
        let acceptance = played(Box::new(oracle), &set, max_draft).acceptance;
        let rows = acceptance.tallies().map(|(source, position, tally)| {
            let Tally {
                drafted,
                tested,
                accepted,
            } = tally;
            (source.as_str(), position, [drafted, tested, accepted])
        });
        rows.collect::<Vec<_>>()
    };
    // Steps begin at tokens 1, 2, 4, 6 and 8; the odd ones are guessed wrong.
    let every_second_wrong = [
        ("session", 1, [4, 4, 4]),
        ("session", 2, [1, 0, 0]),
        ("session", 3, [4, 0, 0]),
        ("corpus", 1, [1, 1, 0]),
        ("corpus", 2, [4, 4, 0]),
        ("corpus", 3, [1, 0, 0]),
    ];
    assert_eq!(counted(2, 3), every_second_wrong);
    // Nine tokens are left to be said; what is guessed beyond them is not put to the test.
    let rows = counted(0, 11);
    let later = rows.iter().filter(|(_, position, _)| *position == 9);
    let later: Vec<_> = later.collect();
    assert_eq!(later.len(), 2, "tokens 9 and 11, and 10: {rows:?}");
    assert_eq!(*later[0], ("session", 9, [1, 0, 0]));
    assert_eq!(*later[1], ("corpus", 9, [2, 1, 1]));
    assert_eq!(counted(0, 0), []);
}

#[test]
fn a_drafter_is_told_what_a_server_knows_and_when() {
    let set = set(&[
        (0, &[1; 2], &[3, 4]),
        (1, &[1; 3], &[5]),
        (0, &[1; 5], &[6]),
    ]);
    let oracle = Oracle {
        outputs: set.calls.iter().map(|call| call.output.clone()).collect(),
        ..Oracle::default()
    };
    let told = oracle.told.clone();
    played(Box::new(oracle), &set, 2);
    let told = told.lock().expect("one thread").join(", ");
    let expected = "begin 0 of 0: 2, begin 1 of 1: 3, end 1, begin 2 of 0: 5, end 0";
    assert_eq!(told, expected);
}

#[test]
fn what_fills_the_corpus_drafts_but_is_not_counted() {
    let said: Vec<Token> = (10..30).collect();
    let set = set(&[(0, &[1, 2], &said), (1, &[3, 10, 11], &said[2..])]);
    let mut pace = Pace::fixed(16, 0.1);
    for (fill, steps) in [(&[][..], 17), (&[0][..], 1)] {
        let mut replay = Replay::new(Box::new(LastPair::default()));
        replay.play(&set, fill, &mut pace);
        replay.reset();
        let rows = replay.play(&set, &[1], &mut pace);
        assert_eq!((replay.counts.calls, replay.counts.tokens), (1, 17));
        assert_eq!(replay.counts.steps, steps);
        assert_eq!((rows.len(), rows[0].steps, rows[0].tokens), (1, steps, 17));
    }
}

#[test]
fn a_budget_holds_for_a_real_drafter() {
    let mut random = fastrand::Rng::with_seed(5);
    let output: Vec<Token> = (0..20_000).map(|_| random.u32(0..6)).collect();
    let set = set(&[(0, &[1, 2, 3], &output)]);
    let mut replay = Replay::new(Box::new(LastPair::default()));
    replay.play(&set, &[0], &mut Pace::within(1.5, 4, 0.3));
    let counts = &replay.counts;
    let per_step = counts.drafted as f64 / counts.steps as f64;
    assert!(per_step <= 1.5 && per_step > 1.4, "{per_step}");
    assert!(counts.accepted > 0 && counts.accepted < counts.drafted);
}
