//! What is known of a session: the automaton of its texts, extended only by what is new.

use crate::predict::{CONTEXTS, Context, Source};
use crate::{Automaton, State, Token};

/// Texts of a session that are kept apart. An agent has one that grows, perhaps with helpers of
/// its own; each beyond these costs the tokens from where it parts from the others once more.
const MOST_LINES: usize = 8;

/// How many times the tokens of its texts an automaton may hold before it is built anew: what a
/// client has rewritten or dropped stays in it until then.
const MOST_STALE: usize = 3;

/// Tokens that need not be paid attention to for that.
const SMALL: usize = 4096;

/// The texts of a session and their automaton.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    automaton: Automaton,
    lines: Vec<Line>,
    /// Tokens in the automaton.
    pushed: usize,
    /// Number of calls so far, by which lines age.
    calls: u64,
}

/// A text that grows at its end.
#[derive(Clone, Debug)]
struct Line {
    id: u64,
    tokens: Vec<Token>,
    /// How many of them are in the automaton, and the state in which these end.
    indexed: usize,
    end: State,
    /// Whether a sequence grows it now.
    busy: bool,
    used: u64,
}

/// A place in the automaton: the longest suffix of a text that leads to it has `length` tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    state: State,
    length: u32,
}

/// What the session knows at a cursor.
#[derive(Debug)]
pub(crate) struct View<'a> {
    automaton: &'a Automaton,
    states: [State; CONTEXTS],
    contexts: [Context; CONTEXTS],
    count: usize,
}

impl Session {
    /// A call begins with `prompt`: continues the line that it continues, or begins one. Returns
    /// the line.
    pub(crate) fn begin(&mut self, prompt: &[Token]) -> u64 {
        self.calls += 1;
        self.forget_stale();
        let shared = |line: &Line| {
            let pairs = line.tokens.iter().zip(prompt);
            pairs.take_while(|(held, new)| held == new).count()
        };
        let lines = self.lines.iter().enumerate();
        let nearest = lines.map(|(index, line)| (shared(line), index)).max();
        if let Some((common, index)) = nearest {
            let line = &mut self.lines[index];
            if common == line.tokens.len() && !line.busy {
                line.tokens.extend_from_slice(&prompt[common..]);
                (line.busy, line.used) = (true, self.calls);
                return line.id;
            }
        }
        let common = nearest.map_or(0, |(common, index)| common.min(self.lines[index].indexed));
        let idle = self.lines.iter().filter(|line| !line.busy);
        if self.lines.len() >= MOST_LINES
            && let Some(oldest) = idle.min_by_key(|line| line.used).map(|line| line.id)
        {
            self.lines.retain(|line| line.id != oldest);
        }
        self.lines.push(Line {
            id: self.calls,
            tokens: prompt.to_vec(),
            indexed: common,
            end: self.automaton.retrace(&prompt[..common]),
            busy: true,
            used: self.calls,
        });
        self.calls
    }

    /// Adds to a line.
    pub(crate) fn extend(&mut self, line: u64, tokens: &[Token]) {
        if let Some(line) = line_mut(&mut self.lines, line) {
            line.tokens.extend_from_slice(tokens);
        }
    }

    /// Indexes at most `most` tokens of a line. Returns whether all of it is indexed.
    pub(crate) fn index(&mut self, line: u64, most: usize) -> bool {
        let Some(line) = line_mut(&mut self.lines, line) else {
            return false;
        };
        let new = &line.tokens[line.indexed..];
        let new = &new[..new.len().min(most)];
        for &token in new {
            line.end = self.automaton.push(line.end, token);
        }
        self.pushed += new.len();
        line.indexed += new.len();
        line.indexed == line.tokens.len()
    }

    /// Nobody grows the line any more.
    pub(crate) fn leave(&mut self, line: u64) {
        if let Some(line) = line_mut(&mut self.lines, line) {
            line.busy = false;
        }
    }

    /// The tokens of a line.
    pub(crate) fn tokens(&self, line: u64) -> &[Token] {
        self.line(line).map_or(&[], |line| &line.tokens)
    }

    /// The place where an indexed line ends.
    pub(crate) fn end(&self, line: u64) -> Option<Cursor> {
        let line = self.line(line)?;
        Some(Cursor {
            state: line.end,
            length: self.automaton.length(line.end),
        })
    }

    /// The place after one more token.
    pub(crate) fn advance(&self, mut cursor: Cursor, token: Token) -> Cursor {
        loop {
            if let Some(state) = self.automaton.next(cursor.state, token) {
                let length = cursor.length + 1;
                return Cursor { state, length };
            }
            match self.shorter(cursor) {
                Some(shorter) => cursor = shorter,
                None => return cursor,
            }
        }
    }

    fn line(&self, id: u64) -> Option<&Line> {
        self.lines.iter().find(|line| line.id == id)
    }

    fn shorter(&self, cursor: Cursor) -> Option<Cursor> {
        let state = self.automaton.suffix(cursor.state)?;
        let length = self.automaton.length(state);
        Some(Cursor { state, length })
    }

    /// What the session knows at a place: the longest context that something followed, and shorter
    /// ones that each occurred at least twice as often.
    pub(crate) fn view(&self, cursor: Cursor) -> View<'_> {
        let mut view = View {
            automaton: &self.automaton,
            states: [State::ROOT; CONTEXTS],
            contexts: [Context::default(); CONTEXTS],
            count: 0,
        };
        let mut least = 1;
        let mut next = Some(cursor);
        while let Some(Cursor { state, length }) = next
            && length > 0
            && view.count < CONTEXTS
        {
            let total = self.automaton.occurrences(state);
            let followers = (self.automaton.best(state), self.automaton.recent(state));
            if let (Some(best), Some(recent)) = followers
                && total >= least
            {
                view.states[view.count] = state;
                view.contexts[view.count] = Context {
                    length,
                    total,
                    best: best.token,
                    recent: recent.token,
                };
                view.count += 1;
                least = 2 * total;
            }
            next = self.shorter(Cursor { state, length });
        }
        view
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let tokens: usize = self.lines.iter().map(|line| line.tokens.len()).sum();
        self.automaton.bytes() + tokens * size_of::<Token>()
    }

    /// Whether nobody grows any line.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.iter().all(|line| !line.busy)
    }

    /// Begins the automaton anew if most of it is not part of any line.
    fn forget_stale(&mut self) {
        let held: usize = self.lines.iter().map(|line| line.tokens.len()).sum();
        if self.pushed > MOST_STALE * held + SMALL && self.is_idle() {
            self.automaton = Automaton::default();
            self.pushed = 0;
            for line in &mut self.lines {
                (line.indexed, line.end) = (0, State::ROOT);
            }
        }
    }
}

fn line_mut(lines: &mut [Line], id: u64) -> Option<&mut Line> {
    lines.iter_mut().find(|line| line.id == id)
}

impl Source for View<'_> {
    fn contexts(&self) -> &[Context] {
        &self.contexts[..self.count]
    }

    fn count(&self, index: usize, token: Token) -> u32 {
        self.automaton.followed_by(self.states[index], token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexed(session: &mut Session, prompt: &[Token]) -> u64 {
        let line = session.begin(prompt);
        assert!(session.index(line, usize::MAX));
        line
    }

    /// The most frequent token after the end of a line.
    fn best(session: &Session, line: u64) -> Option<(u32, Token)> {
        let view = session.view(session.end(line).expect("a line"));
        let longest = view.contexts().first();
        longest.map(|context| (context.length, context.best))
    }

    #[test]
    fn only_what_is_new_is_indexed() {
        let mut session = Session::default();
        let line = indexed(&mut session, &[1, 2, 3, 4]);
        session.extend(line, &[5, 6]);
        session.leave(line);
        assert_eq!(indexed(&mut session, &[1, 2, 3, 4, 5, 6, 7, 1, 2]), line);
        assert_eq!(session.pushed, 9);
        assert_eq!(best(&session, line), Some((2, 3)));
        session.leave(line);
        let rewritten = indexed(&mut session, &[1, 2, 3, 9, 1, 2]);
        assert_ne!(rewritten, line);
        assert_eq!(session.pushed, 12);
        assert_eq!(best(&session, rewritten), Some((2, 3)));
    }

    #[test]
    fn sequences_at_once_do_not_disturb_each_other() {
        let mut session = Session::default();
        let one = session.begin(&[1, 2, 3, 4]);
        let other = session.begin(&[1, 2, 3, 4]);
        assert_ne!(one, other);
        session.extend(one, &[5]);
        session.extend(other, &[6]);
        assert!(!session.index(one, 2));
        assert!(session.index(one, 9) && session.index(other, 9));
        assert_eq!(session.tokens(one), [1, 2, 3, 4, 5]);
        assert_eq!(session.tokens(other), [1, 2, 3, 4, 6]);
        let cursor = session.end(one).expect("a line");
        assert_eq!(
            session.view(session.advance(cursor, 3)).contexts()[0].best,
            4
        );
    }

    #[test]
    fn what_a_client_rewrites_does_not_pile_up() {
        let mut session = Session::default();
        for round in 0..200_u32 {
            let prompt: Vec<Token> = (0..1000).map(|index| round * 1000 + index).collect();
            let line = indexed(&mut session, &prompt);
            session.leave(line);
        }
        assert!(session.lines.len() <= MOST_LINES);
        assert!(session.pushed <= MOST_STALE * MOST_LINES * 1000 + SMALL + 1000);
    }
}
