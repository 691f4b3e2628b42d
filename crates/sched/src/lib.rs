//! AgentSched: who runs next, and whose KV cells give way.
//!
//! A [`Policy`] is asked three questions, each about an explicit snapshot: which waiting request
//! to admit, which idle session's residency to evict, and which running request to preempt. It
//! answers with an index and a reason, and sees no clock, no tokens and no device. The engine
//! does what the policy says and nothing else decides, so the same policy runs in production and
//! in simulation.
//!
//! [`FcfsLru`] is the baseline: first come first served, least recently used out first.
//!
//! ```
//! use agentinfer_sched::{FcfsLru, Policy, Waiting};
//!
//! let waiting = [
//!     Waiting { id: 8, arrived: 2.0, prompt_tokens: 10, resident_tokens: 0, preemptions: 0 },
//!     Waiting { id: 7, arrived: 1.0, prompt_tokens: 900, resident_tokens: 0, preemptions: 0 },
//! ];
//! let choice = FcfsLru.admit(3.0, &waiting).expect("somebody waits");
//! assert_eq!(waiting[choice.index].id, 7);
//! ```

/// A request that waits to be admitted. Times are seconds on the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waiting {
    /// The engine's number for the request; numbers rise in order of submission.
    pub id: u64,
    /// When it was submitted.
    pub arrived: f64,
    /// Tokens it must hold before it can decode (prompt, and what it generated if preempted).
    pub prompt_tokens: u32,
    /// How many of these are resident.
    pub resident_tokens: u32,
    /// How often it was preempted.
    pub preemptions: u32,
}

/// A request that holds cells and runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// The engine's number for the request.
    pub id: u64,
    /// When it was submitted.
    pub arrived: f64,
    /// Cells it holds, shared ones included.
    pub cells: u32,
    /// How often it was preempted.
    pub preemptions: u32,
}

/// An idle sequence whose cells are kept in case its session returns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resident {
    /// The session it belongs to, if known.
    pub session: Option<u64>,
    /// When it was last used.
    pub last_used: f64,
    /// Cells it holds, shared ones included.
    pub cells: u32,
    /// Cells that dropping it would free (those it shares with nobody).
    pub freed_cells: u32,
}

/// A choice and why it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Index into the slice that was asked about.
    pub index: usize,
    /// The reason, for people.
    pub reason: &'static str,
}

/// Decides order and eviction. `now` is seconds on the engine's clock.
pub trait Policy: Send {
    /// Which waiting request to admit next; `None` to admit nobody now.
    fn admit(&mut self, now: f64, waiting: &[Waiting]) -> Option<Choice>;

    /// Which idle sequence to evict when cells are short; `None` if `idle` is empty.
    fn evict(&mut self, now: f64, idle: &[Resident]) -> Option<Choice>;

    /// Which running request to preempt when nothing idle is left; `None` if `running` is empty.
    fn preempt(&mut self, now: f64, running: &[Running]) -> Option<Choice>;
}

/// First come, first served; least recently used residency out first; last come preempted first.
#[derive(Clone, Copy, Debug, Default)]
pub struct FcfsLru;

impl Policy for FcfsLru {
    fn admit(&mut self, _now: f64, waiting: &[Waiting]) -> Option<Choice> {
        let index = (0..waiting.len()).min_by_key(|&index| waiting[index].id)?;
        Some(Choice {
            index,
            reason: "first come",
        })
    }

    fn evict(&mut self, _now: f64, idle: &[Resident]) -> Option<Choice> {
        let by_age = |&a: &usize, &b: &usize| idle[a].last_used.total_cmp(&idle[b].last_used);
        // A sequence that frees nothing (all its cells are shared) is only worth evicting when
        // every other is like it: then its sequence id is what is wanted.
        let frees = (0..idle.len())
            .filter(|&index| idle[index].freed_cells > 0)
            .min_by(by_age);
        let index = frees.or_else(|| (0..idle.len()).min_by(by_age))?;
        Some(Choice {
            index,
            reason: "least recently used",
        })
    }

    fn preempt(&mut self, _now: f64, running: &[Running]) -> Option<Choice> {
        let index = (0..running.len()).max_by_key(|&index| running[index].id)?;
        Some(Choice {
            index,
            reason: "last come",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(last_used: f64, freed_cells: u32) -> Resident {
        Resident {
            session: None,
            last_used,
            cells: 100,
            freed_cells,
        }
    }

    #[test]
    fn eviction_prefers_the_oldest_that_frees_cells() {
        let cases: &[(&[Resident], Option<usize>)] = &[
            (&[], None),
            (
                &[resident(3.0, 5), resident(1.0, 5), resident(2.0, 5)],
                Some(1),
            ),
            (
                &[resident(1.0, 0), resident(3.0, 5), resident(2.0, 5)],
                Some(2),
            ),
            (&[resident(2.0, 0), resident(1.0, 0)], Some(1)),
        ];
        for (idle, expected) in cases {
            let choice = FcfsLru.evict(9.0, idle);
            assert_eq!(choice.map(|choice| choice.index), *expected, "{idle:?}");
        }
    }

    #[test]
    fn the_newest_request_is_preempted() {
        let running = |id| Running {
            id,
            arrived: 0.0,
            cells: 1,
            preemptions: 0,
        };
        let choice = FcfsLru.preempt(0.0, &[running(4), running(9), running(2)]);
        assert_eq!(choice.map(|choice| choice.index), Some(1));
        assert_eq!(FcfsLru.preempt(0.0, &[]), None);
    }
}
