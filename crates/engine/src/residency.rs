//! Which tokens' KV cells are resident, and who shares them.
//!
//! The ledger mirrors the model's cache: a sequence is a list of tokens with a cell for each, and a
//! cell may belong to several sequences. It answers how many cells are free, how many could be
//! freed, and which sequence holds the longest prefix of a prompt. All of it is kept as things
//! change, so asking costs nothing that grows with what is held.

use agentinfer_sched::Resident;

use crate::cells::CellTree;
use crate::compaction::Move;
use crate::prefixes::{Cursor, PrefixTree};
use crate::{SequenceId, Token};

/// What a sequence id is used for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Use {
    Free,
    Active,
    Idle {
        last_used: f64,
        session: Option<u64>,
    },
}

/// The ledger of sequences and cells.
#[derive(Debug)]
pub(crate) struct Residency {
    usage: Vec<Use>,
    /// The tokens of the sequences.
    prefixes: PrefixTree,
    /// Their cells.
    cells: CellTree,
    total_cells: u32,
}

impl Residency {
    pub(crate) fn new(sequences: u32, cells: u32) -> Self {
        Self {
            usage: vec![Use::Free; sequences as usize],
            prefixes: PrefixTree::new(sequences),
            cells: CellTree::new(sequences, cells),
            total_cells: cells,
        }
    }

    /// Cells that hold nothing.
    pub(crate) fn free_cells(&self) -> u32 {
        self.cells.free()
    }

    /// Cells that only idle sequences hold.
    pub(crate) fn evictable_cells(&self) -> u32 {
        self.used_cells() - self.cells.active()
    }

    /// Cells that hold something.
    pub(crate) fn used_cells(&self) -> u32 {
        self.total_cells - self.free_cells()
    }

    /// Cells that sequence `id` holds.
    pub(crate) fn len(&self, id: SequenceId) -> u32 {
        self.cells.len(id)
    }

    /// The tokens that sequence `id` holds.
    pub(crate) fn tokens(&self, id: SequenceId) -> &[Token] {
        self.prefixes.tokens(id)
    }

    /// How many leading cells sequence `id` shares with others.
    pub(crate) fn shared(&self, id: SequenceId) -> u32 {
        self.cells.len(id) - self.cells.sole(id)
    }

    /// Whether sequence `id` is idle and belongs to `session`.
    pub(crate) fn is_idle_of(&self, id: SequenceId, session: Option<u64>) -> bool {
        matches!(self.usage[id as usize], Use::Idle { session: owner, .. }
            if owner.is_some() && owner == session)
    }

    /// The session that idle sequence `id` belongs to, if known.
    pub(crate) fn session(&self, id: SequenceId) -> Option<u64> {
        match self.usage[id as usize] {
            Use::Idle { session, .. } => session,
            _ => None,
        }
    }

    /// Whether sequence `id` is idle.
    pub(crate) fn is_idle(&self, id: SequenceId) -> bool {
        matches!(self.usage[id as usize], Use::Idle { .. })
    }

    /// A sequence id that is not in use.
    pub(crate) fn free_sequence(&self) -> Option<SequenceId> {
        let index = self.usage.iter().position(|usage| *usage == Use::Free)?;
        Some(index as SequenceId)
    }

    /// The idle sequences, in order of id, as a policy sees them.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (SequenceId, Resident)> {
        self.usage.iter().enumerate().filter_map(|(id, usage)| {
            let Use::Idle { last_used, session } = *usage else {
                return None;
            };
            let id = id as SequenceId;
            let resident = Resident {
                session,
                session_arrived: last_used,
                last_used,
                cells: self.cells.len(id),
                freed_cells: self.cells.sole(id),
                ..Resident::default()
            };
            Some((id, resident))
        })
    }

    /// How many sequences are idle.
    pub(crate) fn idle_count(&self) -> usize {
        let idle = |usage: &&Use| matches!(usage, Use::Idle { .. });
        self.usage.iter().filter(idle).count()
    }

    /// The sequence that holds the longest prefix of `tokens`, and how many tokens of it; see
    /// [`PrefixTree::longest_prefix`].
    pub(crate) fn longest_prefix(
        &self,
        tokens: &[Token],
        cursor: &mut Cursor,
    ) -> Option<(SequenceId, u32)> {
        self.prefixes.longest_prefix(tokens, cursor)
    }

    /// Whether all that sequence `id` holds is among what `cursor`'s search, just made, found.
    pub(crate) fn passed(&self, cursor: &Cursor, id: SequenceId) -> bool {
        self.prefixes.passed(cursor, id)
    }

    /// Sees to it that sequence `id` can grow to so many tokens without allocating.
    pub(crate) fn reserve(&mut self, id: SequenceId, tokens: usize) {
        self.prefixes.reserve(id, tokens);
    }

    /// Marks sequence `id` as used by a running request.
    pub(crate) fn activate(&mut self, id: SequenceId) {
        let usage = &mut self.usage[id as usize];
        debug_assert!(*usage != Use::Active, "sequence {id} is active already");
        *usage = Use::Active;
        self.cells.activate(id);
        self.prefixes.set_idle(id, false);
    }

    /// Marks sequence `id` as idle since `now`; an empty one becomes free.
    pub(crate) fn deactivate(&mut self, id: SequenceId, now: f64, session: Option<u64>) {
        let empty = self.len(id) == 0;
        let usage = &mut self.usage[id as usize];
        debug_assert!(*usage == Use::Active, "sequence {id} is not active");
        *usage = if empty {
            Use::Free
        } else {
            Use::Idle {
                last_used: now,
                session,
            }
        };
        self.cells.deactivate(id);
        self.prefixes.set_idle(id, true);
    }

    /// Gives an active sequence cells for `tokens` at its end. The caller has made sure that
    /// enough cells are free.
    pub(crate) fn append(&mut self, id: SequenceId, tokens: &[Token]) {
        self.cells.append(id, tokens.len() as u32);
        self.prefixes.extend(id, tokens);
    }

    /// Makes the first `tokens` cells of `from` also cells of the free sequence `to`.
    pub(crate) fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        self.cells.share(from, to, tokens);
        self.prefixes.fork(from, to, tokens);
    }

    /// By which moves all sequences get their cells anew, once they are empty. Those come first
    /// that stay longest, so that what is evicted and filled again lies together.
    pub(crate) fn moves(&self) -> Vec<Move> {
        let used = |id: &SequenceId| match self.usage[*id as usize] {
            Use::Idle { last_used, .. } => last_used,
            _ => f64::INFINITY,
        };
        let mut order: Vec<SequenceId> = (0..self.usage.len() as SequenceId).collect();
        order.sort_by(|a, b| used(b).total_cmp(&used(a)));
        self.cells.moves(&order)
    }

    /// Shortens sequence `id` to its first `tokens` tokens.
    pub(crate) fn truncate(&mut self, id: SequenceId, tokens: u32) {
        let active = self.usage[id as usize] == Use::Active;
        self.cells.truncate(id, tokens, active);
        self.prefixes.truncate(id, tokens);
    }

    /// Shortens an idle sequence to its first `kept` tokens; with 0 its id becomes free. Returns
    /// how many cells became free.
    pub(crate) fn evict(&mut self, id: SequenceId, kept: u32) -> u32 {
        let before = self.free_cells();
        self.truncate(id, kept);
        if kept == 0 {
            self.usage[id as usize] = Use::Free;
        }
        self.free_cells() - before
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const SEQUENCES: u32 = 5;

    /// The cells of each sequence, every cell by a number of its own.
    #[derive(Default)]
    struct Naive {
        sequences: [Vec<u32>; SEQUENCES as usize],
        taken: u32,
    }

    impl Naive {
        fn append(&mut self, id: u32, cells: u32) {
            self.sequences[id as usize].extend(self.taken..self.taken + cells);
            self.taken += cells;
        }

        fn share(&mut self, from: u32, to: u32, cells: u32) {
            let shared = self.sequences[from as usize][..cells as usize].to_vec();
            self.sequences[to as usize] = shared;
        }

        fn truncate(&mut self, id: u32, cells: u32) {
            self.sequences[id as usize].truncate(cells as usize);
        }

        /// Compares everything that the ledger keeps with a recount.
        fn check(&self, ledger: &Residency) {
            let holders = |cell| self.sequences.iter().filter(move |it| it.contains(cell));
            let mut all: HashSet<u32> = HashSet::new();
            let mut active: HashSet<u32> = HashSet::new();
            for (id, cells) in (0..).zip(&self.sequences) {
                let usage = ledger.usage[id as usize];
                all.extend(cells);
                if usage == Use::Active {
                    active.extend(cells);
                }
                assert_eq!(ledger.len(id) as usize, cells.len());
                assert_eq!(ledger.prefixes.tokens(id).len(), cells.len());
                assert!(usage != Use::Free || cells.is_empty());
                let sole = cells.iter().filter(|cell| holders(cell).count() == 1);
                assert_eq!(ledger.cells.sole(id) as usize, sole.count());
            }
            assert_eq!(ledger.used_cells() as usize, all.len());
            assert_eq!(ledger.evictable_cells() as usize, all.len() - active.len());
            assert!(ledger.cells.runs() <= 3 * SEQUENCES as usize);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn totals_equal_a_recount_after_any_history(
            steps in prop::collection::vec((0u8..8, 0..SEQUENCES, 0..SEQUENCES, 0u32..9), 1..100)
        ) {
            let mut ledger = Residency::new(SEQUENCES, 64);
            let mut naive = Naive::default();
            for (operation, a, b, count) in steps {
                let usage = ledger.usage[a as usize];
                match operation {
                    0 if usage != Use::Active => ledger.activate(a),
                    1 if usage == Use::Active && ledger.free_cells() >= count => {
                        let tokens: Vec<Token> = (0..count).collect();
                        ledger.append(a, &tokens);
                        naive.append(a, count);
                    }
                    2 if usage == Use::Active => ledger.deactivate(a, f64::from(count), None),
                    3 if usage != Use::Free => {
                        let keep = ledger.len(a).saturating_sub(count).max(1).min(ledger.len(a));
                        ledger.truncate(a, keep);
                        naive.truncate(a, keep);
                    }
                    4 if ledger.is_idle(a) => {
                        let before = ledger.free_cells();
                        let kept = count.min(ledger.len(a));
                        let sole = ledger.cells.sole(a);
                        let freed = ledger.evict(a, kept);
                        prop_assert!(freed <= sole && (kept > 0 || freed == sole));
                        naive.truncate(a, kept);
                        prop_assert_eq!(ledger.free_cells(), before + freed);
                    }
                    5.. if usage != Use::Free && ledger.usage[b as usize] == Use::Free => {
                        let tokens = ledger.len(a).min(2 * count);
                        ledger.share(a, b, tokens);
                        ledger.activate(b);
                        naive.share(a, b, tokens);
                    }
                    _ => {}
                }
                naive.check(&ledger);
            }
        }
    }

    #[test]
    fn a_prefix_that_was_shared_often_does_not_stay_in_pieces() {
        let mut ledger = Residency::new(2, 512);
        ledger.activate(0);
        ledger.append(0, &[7; 400]);
        for shared in 1..400 {
            ledger.share(0, 1, shared);
            ledger.activate(1);
            ledger.append(1, &[8]);
            ledger.truncate(1, 0);
            ledger.deactivate(1, 0.0, None);
            assert!(ledger.cells.runs() <= 3);
        }
        assert_eq!((ledger.cells.sole(0), ledger.free_cells()), (400, 112));
    }

    #[test]
    fn the_longest_prefix_wins_and_idle_beats_active() {
        let mut ledger = Residency::new(3, 64);
        ledger.activate(0);
        ledger.append(0, &[1, 2, 3]);
        ledger.activate(1);
        ledger.append(1, &[1, 2, 3, 4]);
        ledger.deactivate(1, 1.0, Some(5));
        let longest = |tokens| ledger.longest_prefix(tokens, &mut Cursor::default());
        assert_eq!(longest(&[1, 2, 3, 4, 5]), Some((1, 4)));
        assert_eq!(longest(&[1, 2, 3, 9]), Some((1, 3)));
        assert_eq!(longest(&[7]), None);
        assert!(ledger.is_idle_of(1, Some(5)) && !ledger.is_idle_of(1, None));
    }
}
