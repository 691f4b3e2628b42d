//! Where drafts come from: a drafter per model, and what past sessions said, which all share.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentinfer_engine::{AgentSam, Drafter, Guess, Origin, Token, Vocabulary};
use agentinfer_memory::{Namespace, SegmentKey, Segments, Session};
use rustc_hash::FxHasher;

use crate::Drafts;

/// A session that was not used for so long is put aside: what was said in it drafts others from
/// then on. Agents' tools rarely take longer, and if one does, its session is indexed again.
const UNUSED: Duration = Duration::from_secs(120);

/// How exact that is.
const MARKED_EVERY: Duration = Duration::from_secs(10);

/// How sessions are known in the segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    tokenizer: u64,
    /// Makes sessions of this process other ones than those of earlier processes.
    salt: u64,
}

impl Keys {
    /// `salt` is this process's, from [`random::seed`](crate::random::seed).
    pub(crate) fn new(vocabulary: &dyn Vocabulary, salt: u64) -> Self {
        Self {
            tokenizer: fingerprint(vocabulary),
            salt,
        }
    }

    /// Where a session is, or will be.
    pub(crate) fn of(self, session: u64) -> SegmentKey {
        SegmentKey {
            tokenizer: self.tokenizer,
            key: session ^ self.salt,
        }
    }
}

/// The drafter of a model; none where nothing is to be guessed.
pub(crate) fn drafter(
    drafts: Drafts,
    vocabulary: &dyn Vocabulary,
    segments: Option<(&Arc<Segments>, Keys)>,
) -> Option<Box<dyn Drafter>> {
    let ends = (0..vocabulary.len() as Token).filter(|end| vocabulary.is_end_of_generation(*end));
    let sam = || AgentSam::new(ends.collect());
    match (drafts, segments) {
        (Drafts::Off | Drafts::Forced, _) => None,
        (Drafts::Full, Some((segments, keys))) => Some(Box::new(Remembering {
            sam: sam(),
            segments: Arc::clone(segments),
            keys,
            marks: VecDeque::new(),
        })),
        (Drafts::Session | Drafts::Full, _) => Some(Box::new(sam().session_only())),
    }
}

/// Tells tokenizers apart: models whose tokens stand for the same texts share what was said.
fn fingerprint(vocabulary: &dyn Vocabulary) -> u64 {
    let mut hasher = FxHasher::default();
    for token in 0..vocabulary.len() as Token {
        hasher.write(vocabulary.name(token));
        hasher.write_u8(u8::from(vocabulary.is_end_of_generation(token)));
    }
    hasher.finish()
}

/// A drafter that hands over what sessions said to the store, and drafts from it.
struct Remembering {
    sam: AgentSam,
    segments: Arc<Segments>,
    keys: Keys,
    /// Moments, and how many sequences had begun by then; the oldest first.
    marks: VecDeque<(Instant, u64)>,
}

impl Remembering {
    fn namespace(&self, tenant: u64) -> Namespace {
        Namespace {
            tenant,
            tokenizer: self.keys.tokenizer,
        }
    }

    fn pause_unused(&mut self) {
        let last = self.marks.back();
        if last.is_none_or(|(moment, _)| moment.elapsed() >= MARKED_EVERY) {
            self.marks.push_back((Instant::now(), self.sam.begun()));
        }
        while let Some((moment, begun)) = self.marks.front()
            && moment.elapsed() >= UNUSED
        {
            self.sam.pause(*begun);
            self.marks.pop_front();
        }
        self.hand_over();
    }

    fn hand_over(&mut self) {
        for paused in self.sam.take_paused() {
            let namespace = self.namespace(paused.tenant);
            let mut session = Session::from(paused);
            session.key = self.keys.of(session.key).key;
            self.segments.index(namespace, session);
        }
    }
}

impl Drafter for Remembering {
    fn begin(&mut self, id: u64, origin: Origin, prompt: &[Token]) {
        let corpus = self.segments.corpus(self.namespace(origin.tenant));
        self.sam.set_corpus(origin.tenant, corpus);
        self.sam.begin(id, origin, prompt);
    }

    fn extend(&mut self, id: u64, tokens: &[Token]) {
        self.sam.extend(id, tokens);
    }

    fn propose(&mut self, id: u64, limit: usize, least: f32, draft: &mut Vec<Guess>) {
        self.sam.propose(id, limit, least, draft);
    }

    fn finish(&mut self, id: u64) {
        self.sam.finish(id);
        self.pause_unused();
    }

    fn end_session(&mut self, origin: Origin) {
        self.sam.end_session(origin);
        self.hand_over();
    }
}

impl Drop for Remembering {
    fn drop(&mut self) {
        self.sam.pause(self.sam.begun());
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use agentinfer_engine::SimVocabulary;

    use super::*;

    fn said(drafter: &mut dyn Drafter, session: u64, ends: bool) -> usize {
        let origin = Origin {
            session: Some(session),
            ..Origin::default()
        };
        drafter.begin(session, origin, &[97, 98, session as Token]);
        let mut guessed = 0;
        for token in 100..120 {
            let mut draft = Vec::new();
            drafter.propose(session, 1, 0.1, &mut draft);
            guessed += usize::from(draft.first().is_some_and(|guess| guess.token == token));
            drafter.extend(session, &[token]);
        }
        drafter.finish(session);
        if ends {
            drafter.end_session(origin);
        }
        guessed
    }

    #[test]
    fn what_a_session_said_drafts_the_next_one_and_the_next_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Arc::new(Segments::open(folder.path(), 1 << 20).expect("opens"));
        let vocabulary = SimVocabulary::default();
        let segments = open();
        let keys = Keys::new(&vocabulary, 1);
        let new =
            |segments: &Arc<Segments>| drafter(Drafts::Full, &vocabulary, Some((segments, keys)));
        let mut drafter = new(&segments).expect("a drafter");
        assert_eq!(said(&mut *drafter, 1, true), 0);
        segments.settle();
        assert!(said(&mut *drafter, 2, false) > 10);
        // It hands over what it has when it goes.
        drop(drafter);
        drop(segments);
        let segments = open();
        segments.settle();
        let mut drafter = new(&segments).expect("a drafter");
        let namespace = Namespace {
            tenant: 0,
            tokenizer: fingerprint(&vocabulary),
        };
        // Two sessions of three tokens that they began with and twenty that they said.
        assert_eq!(segments.corpus(namespace).tokens(), 46);
        assert!(said(&mut *drafter, 3, false) > 10);
    }

    #[test]
    fn each_setting_has_its_drafter() {
        let vocabulary = SimVocabulary::default();
        for drafts in [Drafts::Off, Drafts::Forced] {
            assert!(drafter(drafts, &vocabulary, None).is_none());
        }
        let mut drafter = drafter(Drafts::Session, &vocabulary, None).expect("a drafter");
        assert_eq!(said(&mut *drafter, 1, true), 0);
        assert_eq!(said(&mut *drafter, 2, true), 0);
    }
}
