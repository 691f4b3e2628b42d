//! The suffix automaton of everything said in a session.

use rustc_hash::FxHashMap;

use crate::{Follower, Token};

/// A state of an [`Automaton`]: a class of texts that end at the same places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State(u32);

impl State {
    /// The state of the empty text.
    pub const ROOT: State = State(0);
}

const NONE: u32 = u32::MAX;

/// States whose occurrences are counted with each new token, beginning with the longest text. A
/// chain of suffixes that differ in what follows them is rarely longer than 15; only one token
/// over and over makes one as long as the text.
const MOST_COUNTED: usize = 64;

/// A state with more edges than this finds them by a hash table: most have one or two, a few have
/// thousands.
const MOST_LISTED: u8 = 8;

/// Tokens by which the place of an older text is found again. The state that they lead to stands
/// for everything that precedes them, however long.
const MOST_RETRACED: usize = 64;

/// The suffix automaton (Blumer et al. 1985) of several texts that grow at their ends, with the
/// number of occurrences of every state's texts and the follower that each was seen with most.
///
/// [`push`](Automaton::push) takes amortised constant time. A token costs about 90 bytes: one and
/// a half states of 32 bytes and two edges and more of 12 bytes.
#[derive(Clone, Debug)]
pub struct Automaton {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Edges of states that have many.
    wide: FxHashMap<(u32, Token), u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Tokens of the longest text.
    length: u32,
    /// The state of the longest suffix that is not in this one.
    link: u32,
    /// How often its texts occurred.
    count: u32,
    /// Its newest edge.
    edge: u32,
    /// The edge to its most frequent follower; of equal ones the newest.
    best: u32,
    /// The edge to its last follower.
    recent: u32,
    /// Number of edges, counted as far as it matters.
    degree: u8,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    token: Token,
    target: u32,
    next: u32,
}

impl Default for Automaton {
    fn default() -> Self {
        let root = Node {
            link: NONE,
            ..Node::of(0)
        };
        Self {
            nodes: vec![root],
            edges: Vec::new(),
            wide: FxHashMap::default(),
        }
    }
}

impl Node {
    fn of(length: u32) -> Self {
        Self {
            length,
            link: 0,
            count: 0,
            edge: NONE,
            best: NONE,
            recent: NONE,
            degree: 0,
        }
    }
}

impl Automaton {
    /// Appends `token` to the text that ends in `state` and returns the state in which it ends
    /// then. A new text begins in [`State::ROOT`].
    pub fn push(&mut self, state: State, token: Token) -> State {
        let end = match self.edge(state.0, token) {
            // This text has gone on like another one before.
            Some(edge) => self.straight(state.0, edge),
            None => self.grow(state.0, token),
        };
        self.count(end);
        self.note_follower(state.0, token);
        State(end)
    }

    /// The state in which the text that ends with `context` ends, which must have been pushed.
    pub fn retrace(&self, context: &[Token]) -> State {
        let from = context.len().saturating_sub(MOST_RETRACED);
        let mut state = State::ROOT;
        for &token in &context[from..] {
            match self.next(state, token) {
                Some(next) => state = next,
                None => return State::ROOT,
            }
        }
        state
    }

    /// The state after `token` follows the texts of `state`; none if it never did.
    pub fn next(&self, state: State, token: Token) -> Option<State> {
        let edge = self.edge(state.0, token)?;
        Some(State(self.edges[edge as usize].target))
    }

    /// The state of the longest suffix of the texts of `state` that occurred elsewhere too; none
    /// for the empty text.
    pub fn suffix(&self, state: State) -> Option<State> {
        let link = self.nodes[state.0 as usize].link;
        (link != NONE).then_some(State(link))
    }

    /// Tokens of the longest text of `state`.
    pub fn length(&self, state: State) -> u32 {
        self.nodes[state.0 as usize].length
    }

    /// How often the texts of `state` occurred, those at the end of what was pushed included. Of
    /// suffixes beyond the 64 longest that differ, and of the empty text, it is too low.
    pub fn occurrences(&self, state: State) -> u32 {
        self.nodes[state.0 as usize].count
    }

    /// How often `token` followed the texts of `state`.
    pub fn followed_by(&self, state: State, token: Token) -> u32 {
        let next = self.next(state, token);
        next.map_or(0, |next| self.occurrences(next))
    }

    /// What followed the texts of `state` most often.
    pub fn best(&self, state: State) -> Option<Follower> {
        self.follower(self.nodes[state.0 as usize].best)
    }

    /// What followed the texts of `state` last.
    pub fn recent(&self, state: State) -> Option<Follower> {
        self.follower(self.nodes[state.0 as usize].recent)
    }

    /// Bytes that it takes, without what it has in reserve.
    pub fn bytes(&self) -> usize {
        // A hash table is at most seven eighths full, with a control byte per slot.
        let wide = self.wide.len() * (size_of::<((u32, Token), u32)>() + 1) * 8 / 7;
        self.nodes.len() * size_of::<Node>() + self.edges.len() * size_of::<Edge>() + wide
    }

    fn follower(&self, edge: u32) -> Option<Follower> {
        let edge = self.edges.get(edge as usize)?;
        Some(Follower {
            token: edge.token,
            count: self.nodes[edge.target as usize].count,
        })
    }

    fn edge(&self, state: u32, token: Token) -> Option<u32> {
        let node = &self.nodes[state as usize];
        if node.degree > MOST_LISTED {
            return self.wide.get(&(state, token)).copied();
        }
        let mut edge = node.edge;
        while edge != NONE {
            let Edge {
                token: other, next, ..
            } = self.edges[edge as usize];
            if other == token {
                return Some(edge);
            }
            edge = next;
        }
        None
    }

    fn add_edge(&mut self, state: u32, token: Token, target: u32) {
        let index = self.edges.len() as u32;
        let node = &mut self.nodes[state as usize];
        let next = std::mem::replace(&mut node.edge, index);
        let degree = node.degree;
        node.degree = degree.saturating_add(1).min(MOST_LISTED + 1);
        self.edges.push(Edge {
            token,
            target,
            next,
        });
        if degree > MOST_LISTED {
            self.wide.insert((state, token), index);
        } else if degree == MOST_LISTED {
            let mut edge = index;
            while edge != NONE {
                let Edge { token, next, .. } = self.edges[edge as usize];
                self.wide.insert((state, token), edge);
                edge = next;
            }
        }
    }

    /// The state that an existing edge leads to, for a text that has no longer suffix there.
    fn straight(&mut self, from: u32, edge: u32) -> u32 {
        let Edge { token, target, .. } = self.edges[edge as usize];
        if self.nodes[from as usize].length + 1 == self.nodes[target as usize].length {
            target
        } else {
            self.split(from, token, target)
        }
    }

    /// A new state for a text that nobody has gone on with `token` yet.
    fn grow(&mut self, from: u32, token: Token) -> u32 {
        let new = self.nodes.len() as u32;
        self.nodes
            .push(Node::of(self.nodes[from as usize].length + 1));
        let mut state = from;
        while state != NONE {
            if let Some(edge) = self.edge(state, token) {
                let link = self.straight(state, edge);
                self.nodes[new as usize].link = link;
                break;
            }
            self.add_edge(state, token, new);
            state = self.nodes[state as usize].link;
        }
        new
    }

    /// Parts from `target` the suffixes that are no longer than those of `from` and `token`: they
    /// are about to occur where its longest text does not.
    fn split(&mut self, from: u32, token: Token, target: u32) -> u32 {
        let clone = self.nodes.len() as u32;
        let old = self.nodes[target as usize];
        self.nodes.push(Node {
            length: self.nodes[from as usize].length + 1,
            edge: NONE,
            degree: 0,
            best: NONE,
            recent: NONE,
            ..old
        });
        self.nodes[target as usize].link = clone;
        self.copy_edges(old, clone);
        let mut state = from;
        while state != NONE {
            match self.edge(state, token) {
                Some(edge) if self.edges[edge as usize].target == target => {
                    self.edges[edge as usize].target = clone;
                }
                _ => break,
            }
            state = self.nodes[state as usize].link;
        }
        clone
    }

    fn copy_edges(&mut self, old: Node, clone: u32) {
        // Copied oldest first, so that the newest stays the first one.
        let mut list = Vec::new();
        let mut edge = old.edge;
        while edge != NONE {
            list.push(edge);
            edge = self.edges[edge as usize].next;
        }
        for edge in list.into_iter().rev() {
            let Edge { token, target, .. } = self.edges[edge as usize];
            self.add_edge(clone, token, target);
            let copy = self.nodes[clone as usize].edge;
            let node = &mut self.nodes[clone as usize];
            if edge == old.best {
                node.best = copy;
            }
            if edge == old.recent {
                node.recent = copy;
            }
        }
    }

    /// Counts the text that has just come to `state`, and all of its suffixes.
    fn count(&mut self, mut state: u32) {
        for _ in 0..MOST_COUNTED {
            let node = &mut self.nodes[state as usize];
            node.count += 1;
            if node.link == NONE {
                break;
            }
            state = node.link;
        }
    }

    /// Notes at `state` and its suffixes, which `token` has just followed, which follower came
    /// last, and which comes most.
    fn note_follower(&mut self, mut state: u32, token: Token) {
        for _ in 0..MOST_COUNTED {
            let Some(edge) = self.edge(state, token) else {
                break;
            };
            let count = |edge: u32| self.follower(edge).map_or(0, |follower| follower.count);
            let better = count(edge) >= count(self.nodes[state as usize].best);
            let node = &mut self.nodes[state as usize];
            node.recent = edge;
            if better {
                node.best = edge;
            }
            if node.link == NONE {
                break;
            }
            state = node.link;
        }
    }
}
