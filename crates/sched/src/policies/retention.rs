//! Rivals that are about the cells of sessions whose tools run: how long they are kept.

use super::keeping::Keeping;
use super::parameters::Parameters;
use super::reasons::{baseline, count, gap, seconds};
use crate::{Candidate, Policy, Resident, Running, View, Waiting};

/// Above every time on the clock.
const PINNED: f64 = 1e12;

/// The parameters of [`TimeToLive`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeToLiveOptions {
    /// Seconds that every session's cells are kept after its call.
    pub seconds: f64,
    /// How many of its expected gaps they are kept beyond that; a gap is as long as its tools
    /// usually take. Above 0 this is a time to live per tool.
    pub gaps: f64,
}

impl Default for TimeToLiveOptions {
    /// A fixed time to live of as long as most tools take.
    fn default() -> Self {
        Self {
            seconds: 10.0,
            gaps: 0.0,
        }
    }
}

impl Parameters<2> for TimeToLiveOptions {
    fn fields(&mut self) -> [(&'static str, &mut f64); 2] {
        [("seconds", &mut self.seconds), ("gaps", &mut self.gaps)]
    }
}

/// Cells are pinned for a time to live after a call, and sessions are served in the order in which
/// they came, as in Continuum. Pinned cells are displaced only when nobody else runs.
#[derive(Clone, Debug)]
pub struct TimeToLive {
    options: TimeToLiveOptions,
    keeping: Keeping,
}

impl TimeToLive {
    /// The policy with these parameters.
    pub fn new(options: TimeToLiveOptions) -> Self {
        Self {
            options,
            keeping: Keeping::default(),
        }
    }

    fn lives(&self, now: f64, sequence: &Resident) -> bool {
        let gap = sequence.expected_gap.unwrap_or(0.0);
        let life = self.options.seconds + self.options.gaps * gap;
        now - sequence.last_used <= life
    }
}

impl Policy for TimeToLive {
    fn name(&self) -> &'static str {
        "ttl"
    }

    fn observe(&mut self, view: &View<'_>) {
        let mut keeping = std::mem::take(&mut self.keeping);
        keeping.observe(view, |idle| self.retention(view, idle));
        self.keeping = keeping;
    }

    fn admission(&self, view: &View<'_>, request: &Waiting) -> Option<f64> {
        let room = || self.keeping.finds_room(view, request, PINNED);
        let fits = request.fits && (view.must_admit(request) || room());
        fits.then_some(-request.session_arrived)
    }

    fn retention(&self, view: &View<'_>, sequence: &Resident) -> f64 {
        match self.lives(view.now, sequence) {
            true => PINNED + sequence.last_used,
            false => sequence.last_used,
        }
    }

    fn tenure(&self, _view: &View<'_>, request: &Running) -> f64 {
        -request.session_arrived
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        match candidate {
            Candidate::Waiting(request) => {
                let held = match (self.admission(view, request), request.fits) {
                    (Some(_), _) => "",
                    (None, false) => "; held: it needs more cells than can be had",
                    (None, true) => "; held: the cells that it needs are pinned",
                };
                let came = seconds(view.now - request.session_arrived);
                format!("session came {came} ago{held}")
            }
            Candidate::Running(request) => {
                let came = seconds(view.now - request.session_arrived);
                format!("session came {came} ago")
            }
            Candidate::Idle(sequence) => {
                let lives = self.lives(view.now, sequence);
                let state = if lives {
                    "pinned"
                } else {
                    "its time to live is over"
                };
                format!("{state}: {}", baseline(view, candidate))
            }
        }
    }
}

/// Cells are kept while that wastes less memory over time than computing them again would, as in
/// InferCept: keeping `c` cells for `t` seconds wastes `c * t`, computing them again in `f` seconds
/// wastes `c * f` and, of all that is held meanwhile, as much again.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinWaste;

impl Policy for MinWaste {
    fn name(&self) -> &'static str {
        "min_waste"
    }

    fn admission(&self, _view: &View<'_>, request: &Waiting) -> Option<f64> {
        Some(-(request.id as f64))
    }

    /// Cell seconds that are wasted less by keeping than by dropping.
    fn retention(&self, view: &View<'_>, sequence: &Resident) -> f64 {
        let idle = view.now - sequence.last_used;
        // Who is overdue, or was never seen to return, may take as long again as it took so far.
        let left = sequence.expected_gap.map(|gap| gap - idle);
        let left = left.filter(|left| *left > 0.0).unwrap_or(idle);
        let cells = f64::from(sequence.freed_cells);
        let reload = view
            .costs
            .reload_seconds(sequence.cells, sequence.freed_cells);
        let running: u32 = view.running.iter().map(|request| request.cells).sum();
        reload * (cells + f64::from(running)) - cells * left
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        let Candidate::Idle(sequence) = candidate else {
            return baseline(view, candidate);
        };
        let reload = view
            .costs
            .reload_seconds(sequence.cells, sequence.freed_cells);
        format!(
            "{}; {} cells, {} to have again",
            gap(sequence.expected_gap, view.now - sequence.last_used),
            count(sequence.freed_cells),
            seconds(reload)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Costs, admit, evict};

    const NOW: f64 = 100.0;

    fn resident(last_used: f64, expected_gap: Option<f64>, cells: u32) -> Resident {
        Resident {
            session: Some(1),
            expected_gap,
            last_used,
            cells,
            freed_cells: cells,
            ..Resident::default()
        }
    }

    fn view<'a>(waiting: &'a [Waiting], running: &'a [Running], idle: &'a [Resident]) -> View<'a> {
        View {
            now: NOW,
            free_cells: 10,
            costs: Costs {
                token: 0.01,
                ..Costs::default()
            },
            waiting,
            running,
            idle,
            ..View::default()
        }
    }

    #[test]
    fn cells_are_pinned_for_their_time_to_live() {
        let wants = [Waiting {
            session: Some(2),
            needed_cells: 100,
            fits: true,
            ..Waiting::default()
        }];
        let running = [Running::default()];
        let fixed = TimeToLiveOptions::default();
        let per_tool = TimeToLiveOptions {
            seconds: 1.0,
            gaps: 2.0,
        };
        for (options, last_used, gap, admitted) in [
            (fixed, 95.0, None, false),
            (fixed, 80.0, None, true),
            (fixed, 80.0, Some(60.0), true),
            (per_tool, 95.0, None, true),
            (per_tool, 80.0, Some(12.0), false),
            (per_tool, 80.0, Some(9.0), true),
        ] {
            let idle = [resident(last_used, gap, 500)];
            let mut policy = TimeToLive::new(options);
            let choice = admit(&mut policy, &view(&wants, &running, &idle));
            assert_eq!(
                choice.is_some(),
                admitted,
                "{options:?} {last_used} {gap:?}"
            );
            let alone = admit(&mut policy, &view(&wants, &[], &idle));
            assert!(alone.is_some(), "nobody else runs");
            let prewarms = wants.map(|request| Waiting {
                prewarms: true,
                ..request
            });
            let alone = admit(&mut policy, &view(&prewarms, &[], &idle));
            assert_eq!(alone.is_some(), admitted, "nobody waits for it");
        }
    }

    #[test]
    fn what_wastes_most_is_dropped() {
        let running = [Running {
            cells: 2000,
            ..Running::default()
        }];
        let cases: &[([Resident; 2], usize)] = &[
            // Equal sessions: the one that takes longer to return.
            (
                [
                    resident(NOW, Some(2.0), 500),
                    resident(NOW, Some(60.0), 500),
                ],
                1,
            ),
            // The longer overdue.
            ([resident(50.0, None, 500), resident(95.0, None, 500)], 0),
            // About to return: the cheaper to compute again.
            (
                [
                    resident(NOW, Some(1.0), 2000),
                    resident(NOW, Some(1.0), 100),
                ],
                1,
            ),
        ];
        for (idle, dropped) in cases {
            let choice = evict(&mut MinWaste, &view(&[], &running, idle));
            assert_eq!(
                choice.map(|choice| choice.index),
                Some(*dropped),
                "{idle:?}"
            );
        }
    }
}
