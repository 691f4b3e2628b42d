//! Which tokens' KV cells are resident, and who shares them.
//!
//! The ledger mirrors the model's cache: every sequence is a list of tokens and, in parallel, of
//! cells; a cell may belong to several sequences. It answers how many cells are free, how many
//! could be freed, and which sequence holds the longest prefix of a prompt.

use agentinfer_sched::Resident;

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
    tokens: Vec<Token>,
    cells: Vec<u32>,
    usage: Use,
}

/// References to one cell: from all sequences, and of these from active ones.
#[derive(Clone, Copy, Debug, Default)]
struct References {
    all: u16,
    active: u16,
}

/// The ledger of sequences and cells.
#[derive(Debug)]
pub(crate) struct Residency {
    slots: Vec<Slot>,
    references: Vec<References>,
    free: Vec<u32>,
    active_cells: u32,
}

impl Residency {
    pub(crate) fn new(sequences: u32, cells: u32) -> Self {
        let slot = || Slot {
            tokens: Vec::new(),
            cells: Vec::new(),
            usage: Use::Free,
        };
        Self {
            slots: (0..sequences).map(|_| slot()).collect(),
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

    /// The tokens that sequence `id` holds.
    pub(crate) fn tokens(&self, id: SequenceId) -> &[Token] {
        &self.slots[id as usize].tokens
    }

    /// How many leading cells sequence `id` shares with others.
    pub(crate) fn shared(&self, id: SequenceId) -> u32 {
        let cells = &self.slots[id as usize].cells;
        cells.partition_point(|&cell| self.references[cell as usize].all > 1) as u32
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
    pub(crate) fn idle(&self) -> Vec<(SequenceId, Resident)> {
        let resident = |(id, slot): (usize, &Slot)| match slot.usage {
            Use::Idle { last_used, session } => {
                let freed_cells = slot
                    .cells
                    .iter()
                    .filter(|&&cell| self.references[cell as usize].all == 1);
                let resident = Resident {
                    session,
                    session_arrived: last_used,
                    expected_gap: None,
                    ended: false,
                    last_used,
                    cells: slot.cells.len() as u32,
                    freed_cells: freed_cells.count() as u32,
                };
                Some((id as SequenceId, resident))
            }
            _ => None,
        };
        self.slots.iter().enumerate().filter_map(resident).collect()
    }

    /// How many sequences are idle.
    pub(crate) fn idle_count(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.usage, Use::Idle { .. }))
            .count()
    }

    /// The sequence that holds the longest prefix of `tokens`, and how many tokens of it. Among
    /// equals an idle one wins (it can be continued in place), then the one with the least tail.
    pub(crate) fn longest_prefix(&self, tokens: &[Token]) -> Option<(SequenceId, u32)> {
        let candidates = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.usage != Use::Free);
        candidates
            .map(|(id, slot)| (id, slot, common_prefix(&slot.tokens, tokens)))
            .filter(|(_, _, shared)| *shared > 0)
            .max_by_key(|(id, slot, shared)| {
                let tail = slot.tokens.len() - shared;
                (
                    *shared,
                    slot.usage != Use::Active,
                    usize::MAX - tail,
                    usize::MAX - id,
                )
            })
            .map(|(id, _, shared)| (id as SequenceId, shared as u32))
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
    }

    /// Gives an active sequence cells for `tokens` at its end. The caller has made sure that
    /// enough cells are free.
    pub(crate) fn append(&mut self, id: SequenceId, tokens: &[Token]) {
        let slot = &mut self.slots[id as usize];
        slot.tokens.extend_from_slice(tokens);
        for _ in tokens {
            let cell = self
                .free
                .pop()
                .expect("the engine reserves cells before it appends");
            self.references[cell as usize] = References { all: 1, active: 1 };
            slot.cells.push(cell);
        }
        self.active_cells += tokens.len() as u32;
    }

    /// Makes the first `tokens` cells of `from` also cells of the free sequence `to`.
    pub(crate) fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        debug_assert!(
            self.slots[to as usize].cells.is_empty(),
            "sequence {to} is not empty"
        );
        let source = &self.slots[from as usize];
        let cells = source.cells[..tokens as usize].to_vec();
        let shared = source.tokens[..tokens as usize].to_vec();
        for &cell in &cells {
            self.references[cell as usize].all += 1;
        }
        let target = &mut self.slots[to as usize];
        target.cells = cells;
        target.tokens = shared;
    }

    /// Shortens sequence `id` to its first `tokens` tokens.
    pub(crate) fn truncate(&mut self, id: SequenceId, tokens: u32) {
        let slot = &mut self.slots[id as usize];
        let active = u16::from(slot.usage == Use::Active);
        slot.tokens.truncate(tokens as usize);
        for cell in slot.cells.drain(tokens as usize..) {
            let references = &mut self.references[cell as usize];
            references.all -= 1;
            references.active -= active;
            self.active_cells -= u32::from(active == 1 && references.active == 0);
            if references.all == 0 {
                self.free.push(cell);
            }
        }
    }

    /// Shortens an idle sequence to its first `kept` tokens; with 0 its id becomes free. Returns
    /// how many cells became free.
    pub(crate) fn evict(&mut self, id: SequenceId, kept: u32) -> u32 {
        let before = self.free_cells();
        self.truncate(id, kept);
        if kept == 0 {
            self.slots[id as usize].usage = Use::Free;
        }
        self.free_cells() - before
    }
}

/// How many leading tokens `a` and `b` have in common.
pub(crate) fn common_prefix(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
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
        for slot in &ledger.slots {
            assert_eq!(slot.tokens.len(), slot.cells.len());
            assert!(slot.usage != Use::Free || slot.cells.is_empty());
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
                        ledger.evict(a, count.min(ledger.len(a)));
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
        assert_eq!(ledger.longest_prefix(&[1, 2, 3, 4, 5]), Some((1, 4)));
        assert_eq!(ledger.longest_prefix(&[1, 2, 3, 9]), Some((1, 3)));
        assert_eq!(ledger.longest_prefix(&[7]), None);
        assert!(ledger.is_idle_of(1, Some(5)) && !ledger.is_idle_of(1, None));
    }
}
