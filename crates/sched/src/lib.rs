//! AgentSched: who runs next, and whose KV cells give way.
//!
//! A [`Policy`] scores candidates of one moment, a [`View`] of plain numbers: which waiting request
//! to admit, which idle session's residency to evict, which running request to preempt. It sees no
//! clock, no tokens and no device. The engine does what [`admit`], [`evict`] and [`preempt`] say
//! and nothing else decides, so the same policy runs in production and in simulation.
//!
//! ```
//! use agentinfer_sched::{PolicySpec, View, Waiting, admit};
//!
//! let request = |id, prompt_tokens, resident_tokens| Waiting {
//!     id,
//!     arrived: id as f64,
//!     prompt_tokens,
//!     resident_tokens,
//!     fits: true,
//!     ..Waiting::default()
//! };
//! let waiting = [request(7, 900, 850), request(8, 100, 0)];
//! let view = View { now: 9.0, free_cells: 4096, waiting: &waiting, ..View::default() };
//! let mut policy = "sjf".parse::<PolicySpec>()?.build();
//! let choice = admit(&mut *policy, &view).expect("somebody waits");
//! assert_eq!(waiting[choice.index].id, 8);
//! # Ok::<(), String>(())
//! ```

mod costs;
mod policies;
mod policy;
mod view;

pub use costs::{CostModel, Costs};
pub use policies::{
    Agent, AgentOptions, Fcfs, LeastAttained, LongestPrefix, MinWaste, Paper, PaperOptions,
    PolicySpec, ShortestJob, TimeToLive, TimeToLiveOptions,
};
pub use policy::{Candidate, Choice, Policy, admit, evict, preempt};
pub use view::{Resident, Running, View, Waiting};

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(waiting: &'a [Waiting], running: &'a [Running], idle: &'a [Resident]) -> View<'a> {
        View {
            now: 9.0,
            free_cells: 100,
            idle_cells: 100,
            waiting,
            running,
            idle,
            ..View::default()
        }
    }

    #[test]
    fn each_rival_looks_at_its_one_thing() {
        let request = |id, prompt_tokens, resident_tokens, attained_tokens| Waiting {
            id,
            prompt_tokens,
            resident_tokens,
            attained_tokens,
            fits: true,
            ..Waiting::default()
        };
        let waiting = [
            request(5, 400, 300, 900),
            request(3, 800, 200, 400),
            request(9, 200, 100, 800),
            request(7, 500, 50, 100),
            request(4, 200, 300, 100),
        ];
        for (name, expected) in [("fcfs", 3), ("sjf", 4), ("lpm", 4), ("las", 4)] {
            let spec: PolicySpec = name.parse().expect(name);
            let choice = admit(&mut *spec.build(), &view(&waiting, &[], &[]));
            assert_eq!(waiting[choice.expect(name).index].id, expected, "{name}");
            assert_eq!(admit(&mut *spec.build(), &view(&[], &[], &[])), None);
        }
    }

    #[test]
    fn eviction_prefers_ended_sessions_then_the_oldest_that_frees_cells() {
        let resident = |last_used, freed_cells| Resident {
            last_used,
            cells: 100,
            freed_cells,
            ..Resident::default()
        };
        let ended = |resident| Resident {
            ended: true,
            ..resident
        };
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
            (
                &[resident(1.0, 5), ended(resident(3.0, 5)), resident(2.0, 5)],
                Some(1),
            ),
            (&[ended(resident(1.0, 0)), resident(3.0, 5)], Some(1)),
        ];
        for (idle, expected) in cases {
            let choice = evict(&mut Fcfs, &view(&[], &[], idle));
            assert_eq!(choice.map(|choice| choice.index), *expected, "{idle:?}");
        }
    }

    #[test]
    fn the_newest_request_is_preempted() {
        let running = |id| Running {
            id,
            cells: 1,
            ..Running::default()
        };
        let choice = preempt(
            &mut Fcfs,
            &view(&[], &[running(4), running(9), running(2)], &[]),
        );
        assert_eq!(choice.map(|choice| choice.index), Some(1));
        assert_eq!(preempt(&mut Fcfs, &view(&[], &[], &[])), None);
    }
}
