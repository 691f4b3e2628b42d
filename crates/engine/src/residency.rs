//! Which tokens' KV cells are resident, and who shares them.
//!
//! The ledger mirrors the model's cache: every sequence is a list of tokens and, in parallel, of
//! cells; a cell may belong to several sequences. It answers how many cells are free, how many
//! could be freed, and which sequence holds the longest prefix of a prompt. All of it is kept as
//! things change, so that asking costs nothing that grows with what is held; what changes costs
//! its own length.

use agentinfer_sched::Resident;

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

#[derive(Debug)]
struct Slot {
    cells: Vec<u32>,
    /// How many of these no other sequence holds.
    sole_cells: u32,
    usage: Use,
}

/// References to one cell: from all sequences, and of these from active ones.
#[derive(Clone, Copy, Debug, Default)]
struct References {
    all: u16,
    active: u16,
    /// The ids of all these sequences, combined by exclusive or: of a single one, its id.
    holders: SequenceId,
}

/// The ledger of sequences and cells.
#[derive(Debug)]
pub(crate) struct Residency {
    slots: Vec<Slot>,
    /// The tokens of the sequences.
    prefixes: PrefixTree,
    references: Vec<References>,
    free: Vec<u32>,
    active_cells: u32,
}

impl Residency {
    pub(crate) fn new(sequences: u32, cells: u32) -> Self {
        let slot = || Slot {
            cells: Vec::new(),
            sole_cells: 0,
            usage: Use::Free,
        };
        Self {
            slots: (0..sequences).map(|_| slot()).collect(),
            prefixes: PrefixTree::new(sequences),
            references: vec![References::default(); cells as usize],
            free: (0..cells).rev().collect(),
            active_cells: 0,
        }
    }

    /// Cells that hold nothing.
    pub(crate) fn free_cells(&self) -> u32 {
        self.free.len() as u32
    }

    /// Cells that only idle sequences hold.
    pub(crate) fn evictable_cells(&self) -> u32 {
        self.used_cells() - self.active_cells
    }

    /// Cells that hold something.
    pub(crate) fn used_cells(&self) -> u32 {
        (self.references.len() - self.free.len()) as u32
    }

    /// Cells that sequence `id` holds.
    pub(crate) fn len(&self, id: SequenceId) -> u32 {
        self.slots[id as usize].cells.len() as u32
    }

    /// Whether sequence `id` is idle and belongs to `session`.
    pub(crate) fn is_idle_of(&self, id: SequenceId, session: Option<u64>) -> bool {
        matches!(self.slots[id as usize].usage, Use::Idle { session: owner, .. }
            if owner.is_some() && owner == session)
    }

    /// Whether sequence `id` is idle.
    pub(crate) fn is_idle(&self, id: SequenceId) -> bool {
        matches!(self.slots[id as usize].usage, Use::Idle { .. })
    }

    /// A sequence id that is not in use.
    pub(crate) fn free_sequence(&self) -> Option<SequenceId> {
        let index = self.slots.iter().position(|slot| slot.usage == Use::Free)?;
        Some(index as SequenceId)
    }

    /// The idle sequences, in order of id, as a policy sees them.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (SequenceId, Resident)> {
        let resident = |(id, slot): (usize, &Slot)| match slot.usage {
            Use::Idle { last_used, session } => {
                let resident = Resident {
                    session,
                    session_arrived: last_used,
                    mean_gap: None,
                    last_used,
                    cells: slot.cells.len() as u32,
                    freed_cells: slot.sole_cells,
                };
                Some((id as SequenceId, resident))
            }
            _ => None,
        };
        self.slots.iter().enumerate().filter_map(resident)
    }

    /// How many sequences are idle.
    pub(crate) fn idle_count(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.usage, Use::Idle { .. }))
            .count()
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
        let cells = &mut self.slots[id as usize].cells;
        cells.reserve_exact(tokens.saturating_sub(cells.len()));
    }

    /// Marks sequence `id` as used by a running request.
    pub(crate) fn activate(&mut self, id: SequenceId) {
        let slot = &mut self.slots[id as usize];
        debug_assert!(slot.usage != Use::Active, "sequence {id} is active already");
        slot.usage = Use::Active;
        for &cell in &slot.cells {
            let references = &mut self.references[cell as usize];
            self.active_cells += u32::from(references.active == 0);
            references.active += 1;
        }
        self.prefixes.set_idle(id, false);
    }

    /// Marks sequence `id` as idle since `now`; an empty one becomes free.
    pub(crate) fn deactivate(&mut self, id: SequenceId, now: f64, session: Option<u64>) {
        let slot = &mut self.slots[id as usize];
        debug_assert!(slot.usage == Use::Active, "sequence {id} is not active");
        for &cell in &slot.cells {
            let references = &mut self.references[cell as usize];
            references.active -= 1;
            self.active_cells -= u32::from(references.active == 0);
        }
        slot.usage = if slot.cells.is_empty() {
            Use::Free
        } else {
            Use::Idle {
                last_used: now,
                session,
            }
        };
        self.prefixes.set_idle(id, true);
    }

    /// Gives an active sequence cells for `tokens` at its end. The caller has made sure that
    /// enough cells are free.
    pub(crate) fn append(&mut self, id: SequenceId, tokens: &[Token]) {
        self.prefixes.extend(id, tokens);
        let slot = &mut self.slots[id as usize];
        for _ in tokens {
            let cell = self
                .free
                .pop()
                .expect("the engine reserves cells before it appends");
            self.references[cell as usize] = References {
                all: 1,
                active: 1,
                holders: id,
            };
            slot.cells.push(cell);
        }
        slot.sole_cells += tokens.len() as u32;
        self.active_cells += tokens.len() as u32;
    }

    /// Makes the first `tokens` cells of `from` also cells of the free sequence `to`.
    pub(crate) fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        let [source, target] = self
            .slots
            .get_disjoint_mut([from as usize, to as usize])
            .expect("a sequence shares with another");
        debug_assert!(target.cells.is_empty(), "sequence {to} is not empty");
        for &cell in &source.cells[..tokens as usize] {
            let references = &mut self.references[cell as usize];
            source.sole_cells -= u32::from(references.all == 1);
            references.all += 1;
            references.holders ^= to;
            target.cells.push(cell);
        }
        self.prefixes.fork(from, to, tokens);
    }

    /// Shortens sequence `id` to its first `tokens` tokens.
    pub(crate) fn truncate(&mut self, id: SequenceId, tokens: u32) {
        self.prefixes.truncate(id, tokens);
        let active = u16::from(self.slots[id as usize].usage == Use::Active);
        while self.len(id) > tokens {
            let slot = &mut self.slots[id as usize];
            let Some(cell) = slot.cells.pop() else { break };
            let references = &mut self.references[cell as usize];
            references.all -= 1;
            references.active -= active;
            references.holders ^= id;
            self.active_cells -= u32::from(active == 1 && references.active == 0);
            match references.all {
                0 => {
                    slot.sole_cells -= 1;
                    self.free.push(cell);
                }
                1 => self.slots[references.holders as usize].sole_cells += 1,
                _ => {}
            }
        }
    }

    /// Empties an idle sequence and makes its id free. Returns how many cells became free.
    pub(crate) fn evict(&mut self, id: SequenceId) -> u32 {
        let before = self.free_cells();
        self.truncate(id, 0);
        self.slots[id as usize].usage = Use::Free;
        self.free_cells() - before
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Recounts everything the ledger keeps as running totals.
    fn check(ledger: &Residency) {
        let all: HashSet<u32> = ledger
            .slots
            .iter()
            .flat_map(|slot| slot.cells.iter().copied())
            .collect();
        let active: HashSet<u32> = ledger
            .slots
            .iter()
            .filter(|slot| slot.usage == Use::Active)
            .flat_map(|slot| slot.cells.iter().copied())
            .collect();
        assert_eq!(ledger.used_cells() as usize, all.len());
        assert_eq!(ledger.evictable_cells() as usize, all.len() - active.len());
        assert!(ledger.free.iter().all(|cell| !all.contains(cell)));
        for (id, slot) in ledger.slots.iter().enumerate() {
            let tokens = ledger.prefixes.tokens(id as SequenceId);
            assert_eq!(tokens.len(), slot.cells.len());
            assert!(slot.usage != Use::Free || slot.cells.is_empty());
            let holders = |cell| {
                ledger
                    .slots
                    .iter()
                    .filter(move |it| it.cells.contains(cell))
            };
            let sole = slot.cells.iter().filter(|cell| holders(cell).count() == 1);
            assert_eq!(slot.sole_cells as usize, sole.count());
        }
    }

    proptest! {
        #[test]
        fn totals_equal_a_recount_after_any_history(
            steps in prop::collection::vec((0u8..6, 0u32..4, 0u32..4, 0u32..9), 1..60)
        ) {
            let mut ledger = Residency::new(4, 64);
            for (operation, a, b, count) in steps {
                let usage = ledger.slots[a as usize].usage;
                match operation {
                    0 if usage == Use::Free => ledger.activate(a),
                    1 if usage == Use::Active && ledger.free_cells() >= count => {
                        let tokens: Vec<Token> = (0..count).collect();
                        ledger.append(a, &tokens);
                    }
                    2 if usage == Use::Active => ledger.deactivate(a, f64::from(count), None),
                    3 if usage != Use::Free => {
                        let keep = ledger.len(a).saturating_sub(count).max(1).min(ledger.len(a));
                        ledger.truncate(a, keep);
                    }
                    4 if ledger.is_idle(a) => {
                        ledger.evict(a);
                    }
                    5 if usage != Use::Free && ledger.slots[b as usize].usage == Use::Free => {
                        let tokens = ledger.len(a).min(count);
                        ledger.share(a, b, tokens);
                        ledger.activate(b);
                    }
                    _ => {}
                }
                check(&ledger);
            }
        }
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
