//! How many cells are free, and who holds the others.
//!
//! A prefix tree over cells with reference counts: cells that the same sequences share form a run,
//! and a sequence is the way from its last run up to the root. Which cells they are only the model
//! knows; here they are numbers, so taking, sharing and dropping thousands changes a few counts.

use crate::SequenceId;
use crate::compaction::Move;

type RunId = u32;

/// The run above all: no cells, held by nobody.
const ROOT: RunId = 0;

/// Cells that the same sequences hold.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    parent: RunId,
    /// Cells from the root to the end of the run.
    end: u32,
    /// Sequences that hold them.
    holders: u32,
    /// Of these, active ones.
    active: u32,
}

/// The cells of all sequences.
#[derive(Debug)]
pub(crate) struct CellTree {
    runs: Vec<Run>,
    vacant: Vec<RunId>,
    /// The last run of each sequence; the root while it holds nothing.
    tips: Vec<RunId>,
    free: u32,
    active: u32,
}

impl CellTree {
    /// A tree of so many sequences that hold nothing, and free cells.
    pub(crate) fn new(sequences: u32, cells: u32) -> Self {
        Self {
            runs: vec![Run::default()],
            vacant: Vec::new(),
            tips: vec![ROOT; sequences as usize],
            free: cells,
            active: 0,
        }
    }

    /// Cells that nobody holds.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    /// Cells that active sequences hold.
    pub(crate) fn active(&self) -> u32 {
        self.active
    }

    /// Cells that sequence `id` holds.
    pub(crate) fn len(&self, id: SequenceId) -> u32 {
        self.run(self.tip(id)).end
    }

    /// Cells that only sequence `id` holds.
    pub(crate) fn sole(&self, id: SequenceId) -> u32 {
        let mut run = self.tip(id);
        while run != ROOT && self.run(run).holders == 1 {
            run = self.run(run).parent;
        }
        self.len(id) - self.run(run).end
    }

    /// Notes that sequence `id` becomes active.
    pub(crate) fn activate(&mut self, id: SequenceId) {
        let mut run = self.tip(id);
        while run != ROOT {
            self.tidy(run);
            if self.run(run).active == 0 {
                self.active += self.length(run);
            }
            self.run_mut(run).active += 1;
            run = self.run(run).parent;
        }
    }

    /// Notes that sequence `id` is active no more.
    pub(crate) fn deactivate(&mut self, id: SequenceId) {
        let mut run = self.tip(id);
        while run != ROOT {
            self.tidy(run);
            self.run_mut(run).active -= 1;
            if self.run(run).active == 0 {
                self.active -= self.length(run);
            }
            run = self.run(run).parent;
        }
    }

    /// Gives an active sequence so many free cells at its end.
    pub(crate) fn append(&mut self, id: SequenceId, cells: u32) {
        if cells == 0 {
            return;
        }
        assert!(
            cells <= self.free,
            "the engine reserves cells before it appends"
        );
        self.free -= cells;
        self.active += cells;
        let tip = self.tip(id);
        if self.run(tip).holders == 1 {
            self.run_mut(tip).end += cells;
        } else {
            let end = self.run(tip).end + cells;
            self.tips[id as usize] = self.create(Run {
                parent: tip,
                end,
                holders: 1,
                active: 1,
            });
        }
    }

    /// Makes the first `cells` cells of `from` also cells of `to`, which is not active and holds
    /// nothing.
    pub(crate) fn share(&mut self, from: SequenceId, to: SequenceId, cells: u32) {
        let mut run = self.run_to(self.tip(from), cells);
        self.tips[to as usize] = run;
        while run != ROOT {
            self.tidy(run);
            self.run_mut(run).holders += 1;
            run = self.run(run).parent;
        }
    }

    /// Shortens sequence `id` to its first `cells` cells, if it has more.
    pub(crate) fn truncate(&mut self, id: SequenceId, cells: u32, active: bool) {
        let mut run = self.tip(id);
        if cells >= self.run(run).end {
            return;
        }
        let until = self.run_to(run, cells);
        self.tips[id as usize] = until;
        while run != until {
            let (length, parent) = (self.length(run), self.run(run).parent);
            let left = self.run_mut(run);
            left.holders -= 1;
            left.active -= u32::from(active);
            let Run {
                holders,
                active: on,
                ..
            } = *left;
            if active && on == 0 {
                self.active -= length;
            }
            if holders == 0 {
                self.free += length;
                self.vacant.push(run);
            }
            run = parent;
        }
    }

    /// By which moves the sequences, in this order, get their cells when all are empty.
    pub(crate) fn moves(&self, order: &[SequenceId]) -> Vec<Move> {
        let mut moves = Vec::new();
        // The first sequence that gets a run.
        let mut given: Vec<Option<SequenceId>> = vec![None; self.runs.len()];
        for &to in order {
            let mut path = Vec::new();
            let mut run = self.tip(to);
            while run != ROOT && given[run as usize].is_none() {
                path.push(run);
                run = self.run(run).parent;
            }
            if let Some(from) = given[run as usize] {
                let tokens = self.run(run).end;
                moves.push(Move::Share { from, to, tokens });
            }
            for run in path.into_iter().rev() {
                given[run as usize] = Some(to);
                let to_end = self.run(run).end;
                moves.push(Move::Restore {
                    sequence: to,
                    from: to_end - self.length(run),
                    to: to_end,
                });
            }
        }
        moves
    }

    fn run(&self, run: RunId) -> &Run {
        &self.runs[run as usize]
    }

    fn run_mut(&mut self, run: RunId) -> &mut Run {
        &mut self.runs[run as usize]
    }

    fn tip(&self, id: SequenceId) -> RunId {
        self.tips[id as usize]
    }

    fn length(&self, run: RunId) -> u32 {
        self.run(run).end - self.run(self.run(run).parent).end
    }

    fn create(&mut self, run: Run) -> RunId {
        match self.vacant.pop() {
            Some(id) => {
                *self.run_mut(id) = run;
                id
            }
            None => {
                self.runs.push(run);
                (self.runs.len() - 1) as RunId
            }
        }
    }

    /// The run that ends after `cells` cells on the way from the root to `run`, divided from the
    /// rest of its run if need be; the rest keeps the name.
    fn run_to(&mut self, mut run: RunId, cells: u32) -> RunId {
        loop {
            self.tidy(run);
            let here = *self.run(run);
            if here.end == cells {
                return run;
            }
            if self.run(here.parent).end < cells {
                let upper = self.create(Run { end: cells, ..here });
                self.run_mut(run).parent = upper;
                return upper;
            }
            run = here.parent;
        }
    }

    /// Joins a run with those before it that the same sequences hold. They are left behind by
    /// others that shared a part; every way that gets longer or is shared again is tidied first, so
    /// there are never more than a few runs for each sequence.
    fn tidy(&mut self, run: RunId) {
        loop {
            let Run {
                parent, holders, ..
            } = *self.run(run);
            if parent == ROOT || self.run(parent).holders != holders {
                return;
            }
            self.run_mut(run).parent = self.run(parent).parent;
            self.vacant.push(parent);
        }
    }

    /// How many runs there are.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> usize {
        self.runs.len() - 1 - self.vacant.len()
    }
}
