//! Calls in order of arrival, and which of them fill the corpus.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;

use agentinfer_engine::Token;
use serde::Serialize;

use super::tokens::TokenCall;

/// What the corpus of earlier sessions holds when measuring begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing: it grows as sessions end.
    Cold,
    /// The sessions of the first half of the tasks; the others are measured.
    Warm,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    /// # Errors
    /// What may be chosen, when it is something else.
    fn from_str(text: &str) -> Result<Self, String> {
        let modes = [Self::Cold, Self::Warm].into_iter();
        let mut named = modes.filter(|mode| mode.to_string() == text);
        named.next().ok_or_else(|| "choose cold or warm".to_owned())
    }
}

/// One call of the model, tokenized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its session, counted from 0 in order of arrival.
    pub session: usize,
    /// What the model was given.
    pub prompt: Vec<Token>,
    /// What it said, with the end of its turn.
    pub output: Vec<Token>,
}

/// A session, tokenized.
#[derive(Clone, Debug)]
pub(super) struct TokenSession {
    pub(super) task: String,
    /// In order; at least one.
    pub(super) calls: Vec<TokenCall>,
}

/// Recorded sessions whose calls are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallSet {
    /// What it is called.
    pub(super) name: String,
    /// By session: the number of its task, counted from 0 in order of arrival.
    pub(super) tasks: Vec<usize>,
    /// In order of arrival.
    pub(super) calls: Vec<Call>,
}

/// Which calls of a set are played, by index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// Those that fill the corpus.
    pub(super) fill: Vec<usize>,
    /// Those that are measured then.
    pub(super) measured: Vec<usize>,
}

impl CallSet {
    /// The calls of sessions that arrived in this order. Where they have no times, `concurrent`
    /// sessions take turns, and the next one begins when one ends.
    pub(super) fn new(name: String, sessions: Vec<TokenSession>, concurrent: usize) -> Self {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut tasks = Vec::with_capacity(sessions.len());
        for session in &sessions {
            let next = numbers.len();
            tasks.push(*numbers.entry(&session.task).or_insert(next));
        }
        let order = order(&sessions, concurrent);
        let mut sessions: Vec<_> = sessions
            .into_iter()
            .map(|session| session.calls.into_iter())
            .collect();
        // A session's calls keep their order, so the next one is always the first that is left.
        let calls = order.into_iter().filter_map(|session| {
            let call = sessions[session].next()?;
            Some(Call {
                session,
                prompt: call.prompt,
                output: call.output,
            })
        });
        let calls = calls.collect();
        Self { name, tasks, calls }
    }

    /// Which calls fill the corpus and which are measured. Sessions of one task are never in
    /// both. None where there are too few tasks for two halves.
    pub(super) fn part(&self, mode: Mode) -> Option<Part> {
        let half = match mode {
            Mode::Cold => 0,
            Mode::Warm => self.task_count() / 2,
        };
        if mode == Mode::Warm && half == 0 {
            return None;
        }
        let fills = |call: &usize| self.tasks[self.calls[*call].session] < half;
        let (fill, measured) = (0..self.calls.len()).partition(fills);
        Some(Part { fill, measured })
    }

    /// The tokens that end a turn in it.
    pub(super) fn ends(&self) -> Vec<Token> {
        let ends = self.calls.iter().filter_map(|call| call.output.last());
        ends.copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How many tasks there are.
    pub(super) fn task_count(&self) -> usize {
        self.tasks.iter().collect::<BTreeSet<_>>().len()
    }
}

/// Sessions, once for each of their calls, in the order in which the calls arrive.
fn order(sessions: &[TokenSession], concurrent: usize) -> Vec<usize> {
    let times = sessions.iter().enumerate().flat_map(|(session, it)| {
        let calls = it.calls.iter();
        calls.map(move |call| Some((call.at?, session)))
    });
    if let Some(mut times) = times.collect::<Option<Vec<_>>>() {
        times.sort_by_key(|(at, _)| *at);
        return times.into_iter().map(|(_, session)| session).collect();
    }
    let mut waiting = 0..sessions.len();
    let mut active: VecDeque<(usize, usize)> = waiting
        .by_ref()
        .take(concurrent)
        .map(|it| (it, 0))
        .collect();
    let mut order = Vec::new();
    while let Some((session, call)) = active.pop_front() {
        order.push(session);
        if call + 1 < sessions[session].calls.len() {
            active.push_back((session, call + 1));
        } else {
            active.extend(waiting.next().map(|next| (next, 0)));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session whose calls say its letter.
    fn session(task: &str, times: &[Option<u64>]) -> TokenSession {
        let calls = times.iter().enumerate().map(|(index, at)| TokenCall {
            at: *at,
            prompt: vec![index as Token],
            output: vec![Token::from(task.as_bytes()[0])],
        });
        TokenSession {
            task: task.to_owned(),
            calls: calls.collect(),
        }
    }

    fn set(sessions: Vec<TokenSession>, concurrent: usize) -> CallSet {
        CallSet::new("set".to_owned(), sessions, concurrent)
    }

    #[test]
    fn sessions_follow_each_other_or_take_turns_or_go_by_time() {
        let untimed = [3, 1, 2].map(|calls| vec![None; calls]);
        let timed = vec![
            vec![Some(5), Some(6), Some(20)],
            vec![Some(7)],
            vec![Some(7), Some(9)],
        ];
        for (times, concurrent, expected) in [
            (untimed.to_vec(), 1, vec![0, 0, 0, 1, 2, 2]),
            (untimed.to_vec(), 2, vec![0, 1, 0, 2, 0, 2]),
            (untimed.to_vec(), 9, vec![0, 1, 2, 0, 2, 0]),
            (timed, 1, vec![0, 0, 1, 2, 2, 0]),
        ] {
            let sessions = times.iter().map(|times| session("a", times));
            let set = set(sessions.collect(), concurrent);
            let order: Vec<_> = set.calls.iter().map(|call| call.session).collect();
            assert_eq!(order, expected, "{concurrent}");
            for session in 0..3 {
                let calls = set.calls.iter().filter(|call| call.session == session);
                let turns: Vec<_> = calls.map(|call| call.prompt[0]).collect();
                assert!(turns.is_sorted(), "{turns:?}");
            }
        }
    }

    #[test]
    fn halves_are_of_tasks_not_of_trials() {
        let tasks = ["a", "b", "c", "a", "b", "c", "a"];
        let set = set(tasks.map(|task| session(task, &[None, None])).to_vec(), 1);
        assert_eq!(set.task_count(), 3);
        let cold = set.part(Mode::Cold).expect("always");
        assert_eq!((cold.fill.len(), cold.measured.len()), (0, 14));
        let warm = set.part(Mode::Warm).expect("three tasks");
        let said = |calls: &[usize]| -> BTreeSet<Token> {
            calls
                .iter()
                .map(|call| set.calls[*call].output[0])
                .collect()
        };
        assert_eq!(said(&warm.fill), [Token::from(b'a')].into());
        assert_eq!(said(&warm.measured), [b'b', b'c'].map(Token::from).into());
        assert!(warm.fill.is_sorted() && warm.measured.is_sorted());
        assert_eq!(warm.fill.len() + warm.measured.len(), 14);
    }

    #[test]
    fn one_task_has_no_halves() {
        let set = set(vec![session("a", &[None]), session("a", &[None])], 1);
        assert_eq!(set.part(Mode::Warm), None);
        assert!("hot".parse::<Mode>().is_err());
        assert_eq!("warm".parse(), Ok(Mode::Warm));
    }
}
