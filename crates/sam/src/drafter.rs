//! The drafter: sessions' automata, the corpus of past sessions, and what they guess together.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::past::Past;
use crate::predict::{Prediction, Predictor};
use crate::said::{Paused, Said};
use crate::session::{Cursor, Session};
use crate::sparse::{REACH, Sparse};
use crate::{Corpus, Drafter, Guess, Origin, Similar, Token};

/// Tokens indexed at once, a few milliseconds' work: a step takes longer. The sequence is served
/// without drafts until all of it is indexed.
const INDEXED_AT_ONCE: usize = 8192;

/// Bytes of all sessions' automata, at most; those that were not used for longest are forgotten.
/// That is three million tokens. A session that comes back is indexed again from its prompt.
const MOST_BYTES: usize = 256 << 20;

/// Guesses of one proposal, at most: more than any engine verifies at once.
const MOST_GUESSES: usize = 64;

/// Sessions that were put aside and wait to be taken; more are lost. Whoever takes them does so
/// after every call.
const MOST_PAUSED: usize = 1024;

/// Sessions of which is remembered what was said in them, should they come back: at 256 KiB each
/// at the very most, and usually a few.
const MOST_SESSIONS: usize = 1024;

/// Guesses which tokens follow, from what was said in the session and in past ones.
///
/// What it learns, how often which evidence was right, is shared by all sequences; what sequences
/// say is not: it drafts those of the same session and, unless only sessions are to draft
/// themselves, those of the same tenant.
#[derive(Debug, Default)]
pub struct AgentSam {
    sessions: FxHashMap<Key, Held>,
    sequences: FxHashMap<u64, Sequence>,
    /// What past sessions said, by tenant.
    corpora: FxHashMap<u64, Arc<Corpus>>,
    /// Of sessions that were put aside what is not taken yet.
    paused: Vec<Paused>,
    predictor: Predictor,
    past: Past,
    sparse: Sparse,
    /// The last tokens of the sequence and of its draft.
    tail: Vec<Token>,
    /// Whether only its own session drafts a sequence.
    session_only: bool,
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
    /// What will be left of it.
    said: Said,
}

/// A sequence that runs.
#[derive(Debug)]
struct Sequence {
    key: Key,
    line: u64,
    /// Tokens that it began with.
    prompt: usize,
    /// Whether all of it is indexed.
    ready: bool,
    proposal: Proposal,
    corpus: Option<(Arc<Corpus>, Similar)>,
    /// Whose sparse contexts it shares.
    owner: u64,
}

/// A way from the end of a sequence on, as its draft leads, past all sources.
struct Walk<'a> {
    session: &'a Session,
    cursor: Cursor,
    corpus: Option<&'a (Arc<Corpus>, Similar)>,
    past: &'a mut Past,
    sparse: &'a Sparse,
    owner: u64,
    tail: &'a mut Vec<Token>,
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

    /// Lets only its own session draft a sequence, not what others said before.
    #[must_use]
    pub fn session_only(mut self) -> Self {
        self.session_only = true;
        self
    }

    /// Sets what past sessions of a tenant said; it drafts sequences that begin from now on.
    pub fn set_corpus(&mut self, tenant: u64, corpus: Arc<Corpus>) {
        self.corpora.insert(tenant, corpus);
    }

    /// Sequences that have begun so far.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Puts the sessions aside of which no sequence runs, and none has begun after the first
    /// `begun` ones: what the model said in them can be [taken](Self::take_paused) for the
    /// corpus. Those that come back are indexed again from their prompts.
    pub fn pause(&mut self, begun: u64) {
        let unused = self.sessions.iter();
        let unused = unused.filter(|(_, held)| held.used <= begun && held.session.is_idle());
        let unused: Vec<Key> = unused.map(|(key, _)| *key).collect();
        unused.into_iter().for_each(|key| self.put_aside(key));
    }

    /// What sessions have said that were put aside since the last call.
    pub fn take_paused(&mut self) -> Vec<Paused> {
        std::mem::take(&mut self.paused)
    }

    fn put_aside(&mut self, key: Key) {
        let Key::Session { tenant, session } = key else {
            self.sessions.remove(&key);
            return;
        };
        let Some(held) = self.sessions.get_mut(&key) else {
            return;
        };
        (held.session, held.bytes) = (Session::default(), 0);
        if self.session_only || self.paused.len() >= MOST_PAUSED {
            return;
        }
        self.paused.extend(held.said.take(tenant, session));
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

    /// Puts sessions aside, the longest unused first, until the rest has room, and forgets those
    /// that were put aside longest ago.
    fn make_room(&mut self) {
        let mut bytes = self.bytes();
        while bytes > MOST_BYTES {
            let Some(oldest) = self.oldest(|held| held.bytes > 0) else {
                break;
            };
            bytes -= self.sessions.get(&oldest).map_or(0, |held| held.bytes);
            self.put_aside(oldest);
        }
        while self.sessions.len() > MOST_SESSIONS {
            let Some(oldest) = self.oldest(|_| true) else {
                break;
            };
            self.put_aside(oldest);
            self.sessions.remove(&oldest);
        }
    }

    /// The session that was unused for longest, of those that nobody uses.
    fn oldest(&self, which: impl Fn(&Held) -> bool) -> Option<Key> {
        let idle = self.sessions.iter();
        let idle = idle.filter(|(_, held)| held.session.is_idle() && which(held));
        idle.min_by_key(|(_, held)| held.used).map(|(key, _)| *key)
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
        held.said.begin(prompt, origin.ephemeral);
        let private = self.session_only || origin.ephemeral;
        let owner = match key {
            _ if !private => origin.tenant,
            Key::Session { tenant, session } => tenant ^ session.rotate_left(32),
            Key::Alone(id) => !id,
        };
        let line = held.session.begin(prompt);
        let corpus = self
            .corpora
            .get(&origin.tenant)
            .map(|corpus| (corpus.clone(), corpus.similar(held.said.opening())));
        let sequence = Sequence {
            key,
            line,
            prompt: prompt.len(),
            ready: false,
            proposal: Proposal::default(),
            corpus,
            owner,
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
            let line = held.session.tokens(sequence.line);
            for at in line.len() - tokens.len()..line.len() {
                let context = &line[at.saturating_sub(REACH)..at];
                self.sparse.learn(sequence.owner, context, line[at]);
            }
        }
        self.index(id);
    }

    fn propose(&mut self, id: u64, limit: usize, least: f32, draft: &mut Vec<Guess>) {
        if !self.sequences.get(&id).is_some_and(|it| it.ready) {
            return self.index(id);
        }
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return;
        };
        let Some(Held { session, .. }) = self.sessions.get(&sequence.key) else {
            return;
        };
        let Some(cursor) = session.end(sequence.line) else {
            return;
        };
        let line = session.tokens(sequence.line);
        self.tail.clear();
        self.tail
            .extend_from_slice(&line[line.len().saturating_sub(REACH)..]);
        let mut walk = Walk {
            session,
            cursor,
            corpus: sequence.corpus.as_ref(),
            past: &mut self.past,
            sparse: &self.sparse,
            owner: sequence.owner,
            tail: &mut self.tail,
        };
        walk.begin(line, draft);
        let proposal = &mut sequence.proposal;
        proposal.begin(draft);
        let mut reached: f32 = draft.iter().map(|guess| guess.probability).product();
        for _ in 0..limit.min(MOST_GUESSES) {
            let mut prediction = Prediction::default();
            let top = walk.predict(&self.predictor, &mut prediction);
            let Some(guess) = top else {
                break;
            };
            proposal.predictions.push(prediction);
            reached *= guess.probability;
            if reached < least {
                break;
            }
            draft.push(guess);
            proposal.tokens.push(guess.token);
            if self.ends.contains(&guess.token) {
                break;
            }
            walk.advance(guess.token);
        }
    }

    fn finish(&mut self, id: u64) {
        let Some(sequence) = self.sequences.remove(&id) else {
            return;
        };
        if let Key::Alone(_) = sequence.key {
            self.sessions.remove(&sequence.key);
        } else if let Some(held) = self.sessions.get_mut(&sequence.key) {
            let tokens = held.session.tokens(sequence.line);
            held.said.end(tokens, sequence.prompt);
            held.session.leave(sequence.line);
            held.bytes = held.session.bytes();
        }
        self.make_room();
    }

    fn end_session(&mut self, origin: Origin) {
        let Origin {
            session, tenant, ..
        } = origin;
        let Some(session) = session else {
            return;
        };
        let key = Key::Session { tenant, session };
        if self
            .sessions
            .get(&key)
            .is_some_and(|held| held.session.is_idle())
        {
            self.put_aside(key);
        }
    }
}

impl Walk<'_> {
    /// Goes past what `draft` holds.
    fn begin(&mut self, line: &[Token], draft: &[Guess]) {
        for guess in draft {
            self.cursor = self.session.advance(self.cursor, guess.token);
            self.tail.push(guess.token);
        }
        let held = draft.iter().map(|guess| guess.token);
        match self.corpus {
            Some((corpus, similar)) => self.past.begin(corpus, similar, line, held),
            None => self.past.clear(),
        }
    }

    fn predict(&self, by: &Predictor, prediction: &mut Prediction) -> Option<Guess> {
        let session = self.session.view(self.cursor);
        let sparse = self.sparse.view(self.owner, self.tail);
        by.predict([&session, &*self.past, &sparse], prediction)
    }

    fn advance(&mut self, token: Token) {
        self.cursor = self.session.advance(self.cursor, token);
        self.tail.push(token);
        if let Some((corpus, similar)) = self.corpus {
            self.past.advance(corpus, similar, token);
        }
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
