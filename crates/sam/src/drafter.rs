//! The drafter: sessions' automata, the corpus of past sessions, and what they guess together.

use rustc_hash::FxHashMap;

use crate::predict::{Context, Prediction, Predictor, Source};
use crate::session::Session;
use crate::{Drafter, Guess, Origin, Token};

/// Tokens indexed at once, a few milliseconds' work: a step takes longer. The sequence is served
/// without drafts until all of it is indexed.
const INDEXED_AT_ONCE: usize = 8192;

/// Bytes of all sessions' automata, at most; those that were not used for longest are forgotten.
/// That is three million tokens. A session that comes back is indexed again from its prompt.
const MOST_BYTES: usize = 256 << 20;

/// Guesses of one proposal, at most: more than any engine verifies at once.
const MOST_GUESSES: usize = 64;

/// Guesses which tokens follow, from what was said in the session and in past ones.
///
/// What it learns, how often which evidence was right, is shared by all sequences; what sequences
/// say is not: only those of the same session draft each other.
#[derive(Debug, Default)]
pub struct AgentSam {
    sessions: FxHashMap<Key, Held>,
    sequences: FxHashMap<u64, Sequence>,
    predictor: Predictor,
    /// Tokens that end what a model says: nothing is guessed beyond them.
    ends: Vec<Token>,
    /// Beginnings so far, by which sessions age.
    begun: u64,
}

/// Which session: a sequence without one has a session of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Session { tenant: u64, session: u64 },
    Alone(u64),
}

#[derive(Debug, Default)]
struct Held {
    session: Session,
    used: u64,
    bytes: usize,
}

/// A sequence that runs.
#[derive(Debug)]
struct Sequence {
    key: Key,
    line: u64,
    /// Whether all of it is indexed.
    ready: bool,
    proposal: Proposal,
}

/// What was proposed last, to learn from what the model says.
#[derive(Debug, Default)]
struct Proposal {
    /// The whole draft: what it held before, and the guesses.
    tokens: Vec<Token>,
    /// Predictions of the tokens from `first` on, one more than there are guesses unless the limit
    /// was reached.
    predictions: Vec<Prediction>,
    first: usize,
}

/// A source that knows nothing.
struct Nothing;

impl Source for Nothing {
    fn contexts(&self) -> &[Context] {
        &[]
    }

    fn count(&self, _index: usize, _token: Token) -> u32 {
        0
    }
}

impl AgentSam {
    /// A drafter for a model of which these tokens end a turn.
    pub fn new(ends: Vec<Token>) -> Self {
        Self {
            ends,
            ..Self::default()
        }
    }

    /// Bytes that the sessions take.
    pub fn bytes(&self) -> usize {
        self.sessions.values().map(|held| held.bytes).sum()
    }

    /// Indexes some of what is new in a sequence.
    fn index(&mut self, id: u64) {
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return;
        };
        if let Some(held) = self.sessions.get_mut(&sequence.key) {
            sequence.ready = held.session.index(sequence.line, INDEXED_AT_ONCE);
        }
    }

    /// Forgets sessions, the longest unused first, until the rest has room.
    fn make_room(&mut self) {
        let mut bytes = self.bytes();
        while bytes > MOST_BYTES {
            let idle = self.sessions.iter();
            let idle = idle.filter(|(_, held)| held.session.is_idle());
            let Some((&oldest, _)) = idle.min_by_key(|(_, held)| held.used) else {
                return;
            };
            bytes -= self.sessions.remove(&oldest).map_or(0, |held| held.bytes);
        }
    }
}

impl Drafter for AgentSam {
    fn begin(&mut self, id: u64, origin: Origin, prompt: &[Token]) {
        let key = match origin.session {
            Some(session) => Key::Session {
                tenant: origin.tenant,
                session,
            },
            None => Key::Alone(id),
        };
        self.begun += 1;
        let held = self.sessions.entry(key).or_default();
        held.used = self.begun;
        let line = held.session.begin(prompt);
        let sequence = Sequence {
            key,
            line,
            ready: false,
            proposal: Proposal::default(),
        };
        self.sequences.insert(id, sequence);
        self.index(id);
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return;
        };
        sequence.proposal.learn(&mut self.predictor, tokens);
        if let Some(held) = self.sessions.get_mut(&sequence.key) {
            held.session.extend(sequence.line, tokens);
        }
        self.index(id);
    }

    fn propose(&mut self, id: u64, limit: usize, least: f32, draft: &mut Vec<Guess>) {
        if !self.sequences.get(&id).is_some_and(|it| it.ready) {
            return self.index(id);
        }
        let Some(Sequence {
            key,
            line,
            proposal,
            ..
        }) = self.sequences.get_mut(&id)
        else {
            return;
        };
        let Some(Held { session, .. }) = self.sessions.get(key) else {
            return;
        };
        let Some(mut cursor) = session.end(*line) else {
            return;
        };
        proposal.begin(draft);
        let mut reached = 1.0;
        for guess in &*draft {
            cursor = session.advance(cursor, guess.token);
            reached *= guess.probability;
        }
        for _ in 0..limit.min(MOST_GUESSES) {
            let mut prediction = Prediction::default();
            let view = session.view(cursor);
            let Some((token, probability)) =
                self.predictor.predict([&view, &Nothing], &mut prediction)
            else {
                break;
            };
            proposal.predictions.push(prediction);
            reached *= probability;
            if reached < least {
                break;
            }
            draft.push(Guess { token, probability });
            proposal.tokens.push(token);
            if self.ends.contains(&token) {
                break;
            }
            cursor = session.advance(cursor, token);
        }
    }

    fn finish(&mut self, id: u64) {
        let Some(sequence) = self.sequences.remove(&id) else {
            return;
        };
        if let Key::Alone(_) = sequence.key {
            self.sessions.remove(&sequence.key);
        } else if let Some(held) = self.sessions.get_mut(&sequence.key) {
            held.session.leave(sequence.line);
            held.bytes = held.session.bytes();
        }
        self.make_room();
    }
}

impl Proposal {
    /// Forgets the last proposal; the next one follows what `draft` holds.
    fn begin(&mut self, draft: &[Guess]) {
        self.predictions.clear();
        self.tokens.clear();
        self.tokens.extend(draft.iter().map(|guess| guess.token));
        self.first = draft.len();
    }

    /// Learns from what the model said, as far as it was led there by what was proposed.
    fn learn(&mut self, predictor: &mut Predictor, said: &[Token]) {
        let agreed = self.tokens.iter().zip(said);
        let agreed = agreed.take_while(|(guess, token)| guess == token).count();
        let known = said.iter().take(agreed + 1).skip(self.first);
        for (prediction, token) in self.predictions.iter().zip(known) {
            predictor.learn(prediction, *token);
        }
        self.predictions.clear();
    }
}
