//! Which sequence holds the longest prefix of a prompt.
//!
//! A compressed radix tree over the tokens of all sequences. A node is a run of tokens in which no
//! sequence ends or turns off; it stores no tokens but a sequence that has them, so dividing and
//! joining runs copies nothing. It also knows the best sequence of those that pass through it, so
//! a search reads every token of the prompt at most once, whatever the number of sequences.
//!
//! A tree, not hashes of blocks: it is exact to the token without comparing again, it cannot
//! collide, and the decode of a sequence that shares its end with nobody is one number changed.
//! A search leaves a [`Cursor`] and goes on from there the next time; while nothing happens to the
//! run it ended in, that is one comparison.

use crate::{SequenceId, Token};

type NodeId = u32;

/// The node above all runs: no tokens, and no sequence ends here.
const ROOT: NodeId = 0;

/// Tokens compared at once.
const CHUNK: usize = 16;

/// A sequence.
#[derive(Debug, Default)]
struct Path {
    tokens: Vec<Token>,
    /// The node at whose end it ends; the root while it is empty.
    tip: NodeId,
    idle: bool,
}

/// A run of tokens, from the end of its parent to its own.
#[derive(Debug, Default)]
struct Node {
    parent: NodeId,
    /// Tokens from the root to the end of the run.
    end: u32,
    /// The nodes that follow, by their first token, in order of it.
    children: Vec<(Token, NodeId)>,
    /// The sequences that end here.
    tips: Vec<SequenceId>,
    /// The best of the sequences that pass through the run or end here.
    best: SequenceId,
    /// How often its place in the arena was given up.
    life: u32,
    /// How often its end was taken back.
    shrinks: u32,
    /// The shortest that its end was taken back to; tokens before it never changed.
    stable: u32,
}

/// How far a search came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    node: NodeId,
    life: u32,
    shrinks: u32,
    /// Tokens from the root; all of them agree.
    depth: u32,
}

/// The tokens of all sequences.
#[derive(Debug)]
pub(crate) struct PrefixTree {
    paths: Vec<Path>,
    /// Every node but the root is the end of a sequence or a fork, so there are at most twice as
    /// many as sequences.
    nodes: Vec<Node>,
    vacant: Vec<NodeId>,
}

impl PrefixTree {
    /// A tree of so many empty, active sequences.
    pub(crate) fn new(sequences: u32) -> Self {
        Self {
            paths: (0..sequences).map(|_| Path::default()).collect(),
            nodes: vec![Node::default()],
            vacant: Vec::new(),
        }
    }

    /// The tokens of sequence `id`.
    pub(crate) fn tokens(&self, id: SequenceId) -> &[Token] {
        &self.paths[id as usize].tokens
    }

    /// Sees to it that `id` can grow to so many tokens without allocating.
    pub(crate) fn reserve(&mut self, id: SequenceId, tokens: usize) {
        let path = &mut self.paths[id as usize];
        let more = tokens.saturating_sub(path.tokens.len());
        path.tokens.reserve(more);
    }

    /// The sequence that holds the longest prefix of `tokens`, and how many tokens of it. Among
    /// equals an idle one wins (it can be continued in place), then the one with the least tail,
    /// then the one of least id. `cursor` is the default one, or what an earlier search for these
    /// tokens, or fewer of them, left.
    pub(crate) fn longest_prefix(
        &self,
        tokens: &[Token],
        cursor: &mut Cursor,
    ) -> Option<(SequenceId, u32)> {
        let (mut node, mut depth) = self.resume(cursor, tokens.len());
        loop {
            let end = self.node(node).end as usize;
            depth += common_prefix(&self.run(node)[depth..end], &tokens[depth..]);
            let next = tokens.get(depth).filter(|_| depth == end);
            match next.and_then(|token| self.child(node, *token)) {
                Some(child) => node = child,
                None => break,
            }
        }
        let Node {
            life,
            shrinks,
            best,
            ..
        } = *self.node(node);
        *cursor = Cursor {
            node,
            life,
            shrinks,
            depth: depth as u32,
        };
        (depth > 0).then_some((best, depth as u32))
    }

    /// Whether all tokens of sequence `id` are among those that the search of `cursor`, just made,
    /// found.
    pub(crate) fn passed(&self, cursor: &Cursor, id: SequenceId) -> bool {
        let length = self.tokens(id).len() as u32;
        let tip = self.paths[id as usize].tip;
        length <= cursor.depth && self.ancestor_at(cursor.node, length) == tip
    }

    /// Tells whether sequence `id` is idle.
    pub(crate) fn set_idle(&mut self, id: SequenceId, idle: bool) {
        self.paths[id as usize].idle = idle;
        self.rank_again(id);
    }

    /// Adds tokens to the end of sequence `id`.
    pub(crate) fn extend(&mut self, id: SequenceId, tokens: &[Token]) {
        if tokens.is_empty() {
            return;
        }
        let path = &mut self.paths[id as usize];
        let (tip, before) = (path.tip, path.tokens.len());
        path.tokens.extend_from_slice(tokens);
        let length = path.tokens.len() as u32;
        if self.is_alone(tip) {
            self.node_mut(tip).end = length;
        } else {
            self.node_mut(tip).tips.retain(|other| *other != id);
            let end = self.descend(id, tip, before);
            self.end_at(id, end);
            self.join(tip);
        }
        self.rank_again(id);
    }

    /// Gives the empty sequence `to` the first `tokens` tokens of `from`.
    pub(crate) fn fork(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        debug_assert!(self.tokens(to).is_empty(), "sequence {to} is not empty");
        let [source, target] = self
            .paths
            .get_disjoint_mut([from as usize, to as usize])
            .expect("a sequence is not forked into itself");
        let tip = source.tip;
        target
            .tokens
            .extend_from_slice(&source.tokens[..tokens as usize]);
        let end = self.end_within(tip, tokens);
        self.end_at(to, end);
        self.rank_again(to);
    }

    /// Shortens sequence `id` to its first `tokens` tokens.
    pub(crate) fn truncate(&mut self, id: SequenceId, tokens: u32) {
        if tokens as usize >= self.tokens(id).len() {
            return;
        }
        let tip = self.paths[id as usize].tip;
        if self.start(tip) < tokens && self.is_alone(tip) {
            let node = self.node_mut(tip);
            node.end = tokens;
            node.shrinks = node.shrinks.wrapping_add(1);
            node.stable = node.stable.min(tokens);
        } else {
            let end = self.end_within(tip, tokens);
            self.end_at(id, end);
            self.leave(id, tip, end);
        }
        self.paths[id as usize].tokens.truncate(tokens as usize);
        self.rank_again(id);
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node as usize]
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node as usize]
    }

    /// Tokens from the root to the beginning of a run.
    fn start(&self, node: NodeId) -> u32 {
        self.node(self.node(node).parent).end
    }

    /// The tokens from the root to the end of a run, and maybe more.
    fn run(&self, node: NodeId) -> &[Token] {
        self.tokens(self.node(node).best)
    }

    fn child(&self, node: NodeId, token: Token) -> Option<NodeId> {
        let children = &self.node(node).children;
        let found = children.binary_search_by_key(&token, |(first, _)| *first);
        found.ok().map(|index| children[index].1)
    }

    /// Whether exactly one sequence passes through a run, and ends there.
    fn is_alone(&self, node: NodeId) -> bool {
        let node = self.node(node);
        node.tips.len() == 1 && node.children.is_empty()
    }

    /// The node in whose run, or at whose end, the token number `depth` lies.
    fn ancestor_at(&self, mut node: NodeId, depth: u32) -> NodeId {
        while node != ROOT && self.start(node) >= depth {
            node = self.node(node).parent;
        }
        node
    }

    /// Where a search goes on: all of what it found that has not changed since.
    fn resume(&self, cursor: &Cursor, most: usize) -> (NodeId, usize) {
        let node = self.node(cursor.node);
        if node.life != cursor.life {
            return (ROOT, 0);
        }
        let mut depth = cursor.depth.min(most as u32);
        if node.shrinks != cursor.shrinks {
            depth = depth.min(node.stable);
        }
        (self.ancestor_at(cursor.node, depth), depth as usize)
    }

    /// What the best sequence has least of.
    fn rank(&self, id: SequenceId) -> (bool, usize, SequenceId) {
        let path = &self.paths[id as usize];
        (!path.idle, path.tokens.len(), id)
    }

    /// The best sequence at a node; the nodes that follow know theirs.
    fn elect(&self, node: NodeId) -> SequenceId {
        let Node {
            children,
            tips,
            best,
            ..
        } = self.node(node);
        let below = children.iter().map(|(_, child)| self.node(*child).best);
        let candidates = tips.iter().copied().chain(below);
        candidates.min_by_key(|id| self.rank(*id)).unwrap_or(*best)
    }

    /// After `id` changed: makes known where it is the best now, and where it is no more.
    fn rank_again(&mut self, id: SequenceId) {
        let mut node = self.paths[id as usize].tip;
        while node != ROOT {
            let best = self.node(node).best;
            if best == id {
                self.node_mut(node).best = self.elect(node);
            } else if self.rank(id) < self.rank(best) {
                self.node_mut(node).best = id;
            }
            node = self.node(node).parent;
        }
    }

    /// Notes where a sequence ends.
    fn end_at(&mut self, id: SequenceId, node: NodeId) {
        self.paths[id as usize].tip = node;
        if node != ROOT {
            self.node_mut(node).tips.push(id);
        }
    }

    /// The node for the tokens of `id` from number `depth`, the end of `node`, to the last.
    fn descend(&mut self, id: SequenceId, mut node: NodeId, mut depth: usize) -> NodeId {
        let length = self.tokens(id).len();
        while depth < length {
            let token = self.tokens(id)[depth];
            let Some(child) = self.child(node, token) else {
                let leaf = self.create(node, length as u32, id);
                let children = &mut self.node_mut(node).children;
                let index = children.partition_point(|(first, _)| *first < token);
                children.insert(index, (token, leaf));
                return leaf;
            };
            let end = self.node(child).end as usize;
            depth += common_prefix(&self.run(child)[depth..end], &self.tokens(id)[depth..]);
            node = self.end_within(child, depth as u32);
        }
        node
    }

    /// The node that ends at token number `depth` on the way from the root to `node`; a run is
    /// divided if need be. Its second part keeps the name: that is the one which can still change.
    fn end_within(&mut self, node: NodeId, depth: u32) -> NodeId {
        let node = self.ancestor_at(node, depth);
        if self.node(node).end == depth {
            return node;
        }
        let Node { parent, best, .. } = *self.node(node);
        let upper = self.create(parent, depth, best);
        let token = self.run(node)[depth as usize];
        self.replace_child(parent, node, upper);
        self.node_mut(upper).children.push((token, node));
        self.node_mut(node).parent = upper;
        upper
    }

    /// Joins a node with the one that follows when nothing ends or turns off between them.
    fn join(&mut self, node: NodeId) {
        let joined = self.node(node);
        let [(_, child)] = joined.children[..] else {
            return;
        };
        if node != ROOT && joined.tips.is_empty() {
            let parent = joined.parent;
            self.replace_child(parent, node, child);
            self.node_mut(child).parent = parent;
            self.discard(node);
        }
    }

    /// Takes sequence `id` out of the nodes from `node` up to, not including, `until`.
    fn leave(&mut self, id: SequenceId, mut node: NodeId, until: NodeId) {
        self.node_mut(node).tips.retain(|other| *other != id);
        while node != until {
            let Node { parent, best, .. } = *self.node(node);
            if self.node(node).tips.is_empty() && self.node(node).children.is_empty() {
                let above = &mut self.node_mut(parent).children;
                above.retain(|(_, child)| *child != node);
                self.discard(node);
            } else {
                if best == id {
                    self.node_mut(node).best = self.elect(node);
                }
                self.join(node);
            }
            node = parent;
        }
    }

    fn replace_child(&mut self, parent: NodeId, old: NodeId, new: NodeId) {
        for (_, child) in &mut self.node_mut(parent).children {
            if *child == old {
                *child = new;
            }
        }
    }

    fn create(&mut self, parent: NodeId, end: u32, best: SequenceId) -> NodeId {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            (self.nodes.len() - 1) as NodeId
        });
        let node = self.node_mut(id);
        node.parent = parent;
        node.end = end;
        node.best = best;
        node.stable = u32::MAX;
        id
    }

    fn discard(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        node.life = node.life.wrapping_add(1);
        node.children.clear();
        node.tips.clear();
        self.vacant.push(id);
    }
}

/// How many leading tokens `a` and `b` have in common.
pub(crate) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    let chunks = a.chunks_exact(CHUNK).zip(b.chunks_exact(CHUNK));
    let equal = CHUNK * chunks.take_while(|(a, b)| a == b).count();
    let rest = a[equal..].iter().zip(&b[equal..]);
    equal + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEQUENCES: u32 = 5;

    /// The longest prefix by comparing with every sequence.
    fn naive(tree: &PrefixTree, tokens: &[Token]) -> Option<(SequenceId, u32)> {
        (0..SEQUENCES)
            .map(|id| (id, common_prefix(tree.tokens(id), tokens)))
            .filter(|(_, shared)| *shared > 0)
            .max_by_key(|(id, shared)| {
                let tail = tree.tokens(*id).len() - shared;
                let idle = tree.paths[*id as usize].idle;
                (*shared, idle, usize::MAX - tail, u32::MAX - id)
            })
            .map(|(id, shared)| (id, shared as u32))
    }

    /// The tree has no more nodes than it needs, and each says the truth.
    fn check(tree: &PrefixTree) {
        let used = tree.nodes.len() - tree.vacant.len();
        assert!(used <= 1 + 2 * SEQUENCES as usize, "{used} nodes");
        for id in 0..SEQUENCES {
            let path = &tree.paths[id as usize];
            assert_eq!(tree.node(path.tip).end as usize, path.tokens.len());
            let mut node = path.tip;
            while node != ROOT {
                let Node { tips, children, .. } = tree.node(node);
                assert!(!tips.is_empty() || children.len() > 1, "a needless node");
                assert_eq!(tree.node(node).best, tree.elect(node));
                assert!(tree.start(node) < tree.node(node).end);
                let end = tree.node(node).end as usize;
                assert_eq!(tree.run(node)[..end], path.tokens[..end]);
                node = tree.node(node).parent;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn searches_equal_naive_ones_after_any_history(
            prompts in prop::collection::vec(prop::collection::vec(0u32..2, 0..12), 1..6),
            steps in prop::collection::vec(
                (0u8..4, 0..SEQUENCES, 0..SEQUENCES, prop::collection::vec(0u32..2, 0..7)), 1..60
            ),
        ) {
            let mut tree = PrefixTree::new(SEQUENCES);
            let mut cursors = vec![Cursor::default(); prompts.len()];
            for (operation, a, b, tokens) in steps {
                match operation {
                    0 => tree.extend(a, &tokens),
                    1 => {
                        let left = tree.tokens(a).len().saturating_sub(tokens.len());
                        tree.truncate(a, left as u32);
                    }
                    2 => tree.set_idle(a, tokens.len() > 3),
                    _ if a != b => {
                        tree.truncate(b, 0);
                        let count = tree.tokens(a).len().min(tokens.len());
                        tree.fork(a, b, count as u32);
                    }
                    _ => {}
                }
                check(&tree);
                // Not every search is made after every change: cursors must outlive several.
                for (prompt, cursor) in prompts.iter().zip(&mut cursors).skip(tokens.len() % 4) {
                    prop_assert_eq!(tree.longest_prefix(prompt, cursor), naive(&tree, prompt));
                    for id in 0..SEQUENCES {
                        let whole = prompt.starts_with(tree.tokens(id));
                        prop_assert_eq!(tree.passed(cursor, id), whole);
                    }
                }
            }
        }

        #[test]
        fn common_prefixes_equal_those_token_by_token(
            shared in prop::collection::vec(0u32..9, 0..70),
            a in prop::collection::vec(0u32..2, 0..40),
            b in prop::collection::vec(0u32..2, 0..40),
        ) {
            let [a, b] = [[&shared[..], &a].concat(), [&shared[..], &b].concat()];
            let naive = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(common_prefix(&a, &b), naive);
        }
    }
}
