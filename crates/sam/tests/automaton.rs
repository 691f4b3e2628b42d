//! The automaton against a naive oracle: lists of texts that are searched from end to end.

use agentinfer_sam::{Automaton, State, Token};
use proptest::prelude::*;

/// Texts, each grown a token at a time, in an automaton and as they are.
#[derive(Default)]
struct Session {
    automaton: Automaton,
    texts: Vec<Vec<Token>>,
    ends: Vec<State>,
    /// In the order in which the tokens came: text and length.
    history: Vec<(usize, usize)>,
}

impl Session {
    fn begin(&mut self) {
        self.texts.push(Vec::new());
        self.ends.push(State::ROOT);
    }

    fn push(&mut self, text: usize, token: Token) {
        self.ends[text] = self.automaton.push(self.ends[text], token);
        self.texts[text].push(token);
        self.history.push((text, self.texts[text].len()));
    }

    /// How often `pattern` occurs.
    fn occurrences(&self, pattern: &[Token]) -> usize {
        let windows = self
            .texts
            .iter()
            .flat_map(|text| text.windows(pattern.len()));
        windows.filter(|window| *window == pattern).count()
    }

    /// The token that came last after `pattern`.
    fn recent(&self, pattern: &[Token]) -> Option<Token> {
        self.history.iter().rev().find_map(|&(text, length)| {
            let (token, before) = self.texts[text][..length].split_last()?;
            before.ends_with(pattern).then_some(*token)
        })
    }
}

/// Tokens for several texts: `true` begins a new one.
fn script() -> impl Strategy<Value = Vec<(bool, usize, Token)>> {
    let push = (prop::bool::weighted(0.05), 0..4_usize, 0..3_u32);
    prop::collection::vec(push, 1..120)
}

proptest! {
    #[test]
    fn states_know_what_occurred_and_what_followed(script in script()) {
        let mut session = Session::default();
        session.begin();
        for (new, text, token) in script {
            if new {
                session.begin();
            }
            session.push(text % session.texts.len(), token);
        }
        let Session { automaton, texts, ends, .. } = &session;
        for (text, &end) in texts.iter().zip(ends) {
            prop_assert!(text.is_empty() || automaton.length(end) as usize >= text.len());
            let mut state = Some(end);
            while let Some(at) = state {
                let length = automaton.length(at) as usize;
                if length <= text.len() && length > 0 {
                    let pattern = &text[text.len() - length..];
                    let expected = session.occurrences(pattern);
                    prop_assert_eq!(automaton.occurrences(at) as usize, expected);
                    for token in 0..4 {
                        let longer = [pattern, &[token]].concat();
                        let expected = session.occurrences(&longer);
                        prop_assert_eq!(automaton.followed_by(at, token) as usize, expected);
                    }
                    let most = (0..4).map(|token| automaton.followed_by(at, token)).max();
                    let best = automaton.best(at).map_or(0, |best| best.count);
                    prop_assert_eq!(Some(best), most);
                    let recent = automaton.recent(at).map(|recent| recent.token);
                    prop_assert_eq!(recent, session.recent(pattern));
                }
                state = automaton.suffix(at);
                // Nothing between two states occurs more often than the longer one.
                if let Some(shorter) = state.filter(|_| length <= text.len()) {
                    let least = automaton.length(shorter) as usize + 1;
                    let pattern = &text[text.len() - least.min(length)..];
                    if length > 0 {
                        prop_assert_eq!(
                            automaton.occurrences(at) as usize,
                            session.occurrences(pattern)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_place_of_an_older_text_is_found_again(
        text in prop::collection::vec(0..2_u32, 1..200),
        at in any::<prop::sample::Index>(),
    ) {
        let mut automaton = Automaton::default();
        let mut states = vec![State::ROOT];
        for &token in &text {
            let last = states[states.len() - 1];
            states.push(automaton.push(last, token));
        }
        let length = at.index(text.len() + 1);
        let state = automaton.retrace(&text[..length]);
        // Later pushes may have parted the state of then; its occurrences are what counts.
        let ends = |pattern: &[Token]| {
            let windows = text.windows(pattern.len());
            windows.filter(|window| *window == pattern).count()
        };
        if length > 0 {
            let found = automaton.length(state) as usize;
            prop_assert!(found >= length.min(64) && found <= length);
            prop_assert_eq!(
                automaton.occurrences(state) as usize,
                ends(&text[length - found..length])
            );
        }
    }
}

#[test]
fn one_token_over_and_over_takes_constant_time_each() {
    let mut automaton = Automaton::default();
    let mut end = State::ROOT;
    for _ in 0..200_000 {
        end = automaton.push(end, 7);
    }
    assert_eq!(automaton.length(end), 200_000);
    let next = automaton
        .suffix(end)
        .and_then(|state| automaton.best(state));
    assert_eq!(next.map(|follower| follower.token), Some(7));
    assert!(automaton.bytes() < 200_000 * 64);
}
