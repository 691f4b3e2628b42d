//! What idle sequences are kept for, summed up once for all who would displace them.

use crate::{Resident, View, Waiting};

/// The idle sequences of one situation.
#[derive(Clone, Debug, Default)]
pub(super) struct Keeping {
    /// Those kept for least first.
    kept: Vec<Kept>,
    /// Those that belong to a session: the session, and what each is kept for and frees.
    owned: Vec<(u64, f64, u32)>,
}

/// An idle sequence.
#[derive(Clone, Copy, Debug)]
struct Kept {
    retention: f64,
    /// Cells that dropping it and all before it would free.
    cells: u32,
}

impl Keeping {
    /// Sums up the idle sequences by their retention scores, if somebody waits.
    pub(super) fn observe(&mut self, view: &View<'_>, retention: impl Fn(&Resident) -> f64) {
        self.kept.clear();
        self.owned.clear();
        if view.waiting.is_empty() {
            return;
        }
        for idle in view.idle {
            let (retention, cells) = (retention(idle), idle.freed_cells);
            self.kept.push(Kept { retention, cells });
            self.owned
                .extend(idle.session.map(|session| (session, retention, cells)));
        }
        self.kept
            .sort_unstable_by(|a, b| a.retention.total_cmp(&b.retention));
        self.owned.sort_unstable_by_key(|(session, ..)| *session);
        let mut sum = 0;
        for kept in &mut self.kept {
            sum += kept.cells;
            kept.cells = sum;
        }
    }

    /// Whether a request finds its cells by displacing what is kept for less than `claim` and is
    /// not its own session's.
    pub(super) fn finds_room(&self, view: &View<'_>, request: &Waiting, claim: f64) -> bool {
        let less = self.kept.partition_point(|kept| kept.retention < claim);
        let all = self.kept[..less].last().map_or(0, |kept| kept.cells);
        let spare = (view.free_cells + all).checked_sub(request.needed_cells);
        let (Some(spare), Some(session)) = (spare, request.session) else {
            return spare.is_some();
        };
        let first = self.owned.partition_point(|(owner, ..)| *owner < session);
        let own = self.owned[first..]
            .iter()
            .take_while(|(owner, ..)| *owner == session)
            .filter(|(_, retention, _)| *retention < claim);
        own.map(|(.., cells)| cells).sum::<u32>() <= spare
    }
}
