//! The rows of the report, and how sure they are.

use std::collections::BTreeMap;
use std::fmt::Write;

use agentinfer_sam::Acceptance;
use serde::Serialize;

use super::arm::{Arm, Module};
use super::block::Block;
use super::compare::{Bound, Comparison};
use super::rows::{CallKind, Counted, Lane, Machine, Point, TaskRow, Tokens};
use crate::statistics::mean;

/// All that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ResearchResults {
    /// One row per arm and number of sessions.
    pub arms: Vec<MeasuredArm>,
    /// Each arm beside the first.
    pub comparisons: Vec<Comparison>,
    /// What the first arm's work would take at best.
    pub bounds: Vec<Bound>,
    /// One row per arm, number of sessions, run and task, in order of the file.
    pub tasks: Vec<TaskRow>,
    /// The calls of each of these.
    pub lanes: Vec<Lane>,
    /// What our servers were seen to do.
    pub series: Vec<Series>,
    /// By arm and number of sessions, the command line of its server.
    pub commands: BTreeMap<String, String>,
}

/// An arm's totals and means.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ArmRow {
    /// The arm.
    pub arm: String,
    /// How many tasks it ran.
    pub tasks: usize,
    /// Mean exact match; a failed task counts as 0.
    pub em: f64,
    /// Mean F1 likewise.
    pub f1: f64,
    /// Mean seconds from question to answer.
    pub task_seconds_mean: f64,
    /// Throughput with as many sessions as were asked for.
    pub tasks_per_hour: f64,
    /// Mean completions per task.
    pub turns_mean: f64,
    /// Completions.
    pub llm_calls: u64,
    /// Prompt tokens that the client's history amounts to.
    pub prompt_tokens_full: u64,
    /// Prompt tokens that the model was given.
    pub prompt_tokens_served: u64,
    /// Prompt tokens that were prefilled, not resident.
    pub prompt_tokens_computed: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Share of completions by the large tier.
    pub large_step_share: f64,
    /// Changes of the tier.
    pub switches: u64,
    /// Seconds that sessions waited for background work.
    pub stall_seconds: f64,
    /// Tasks that failed.
    pub errors: u64,
}

/// An arm with so many sessions at a time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MeasuredArm {
    /// Totals and means over all runs.
    #[serde(flatten)]
    pub own: ArmRow,
    /// How many tasks at a time.
    pub sessions: usize,
    /// How often all tasks were run.
    pub runs: usize,
    /// The modules that were on.
    pub modules: Vec<Module>,
    /// The program, where it is not ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<&'static str>,
    /// Where the time went, in seconds summed over sessions; absent for peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Seconds>,
    /// Where the tokens went; absent for peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<AllTokens>,
    /// Draft tokens by source and position; absent for peers, and where nothing was drafted.
    #[serde(
        with = "crate::acceptance",
        skip_serializing_if = "Acceptance::is_empty"
    )]
    pub acceptance: Acceptance,
}

/// What a server was seen to do in a block.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The arm.
    pub arm: String,
    /// Which run of all tasks.
    pub run: usize,
    /// How many tasks at a time.
    pub sessions: usize,
    /// Which part of the tasks.
    pub block: usize,
    /// The looks.
    pub points: Vec<Point>,
}

/// Where the tokens went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AllTokens {
    /// What the server counted.
    #[serde(flatten)]
    pub counted: Tokens,
    /// Of prompts, never computed because they were distilled away.
    pub distilled_away: u64,
}

/// Where the time of all sessions went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// What the server computed.
    #[serde(flatten)]
    pub machine: Machine,
    /// The rest of the time that completions took: for others' steps, and for the network.
    pub waiting: f64,
    /// In tools.
    pub tools: f64,
    /// Of the completions, in progress checks; part of the other kinds.
    pub checks: f64,
}

impl ArmRow {
    /// Totals and means of rows that took `wall_seconds` together.
    pub fn of(arm: &str, rows: &[&TaskRow], wall_seconds: f64) -> Self {
        let sum = |of: fn(&TaskRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
        let mean_of = |of: fn(&TaskRow) -> f64| mean(rows.iter().map(|row| of(row)));
        let calls = sum(|row| u64::from(row.turns));
        let large = sum(|row| u64::from(row.large_turns));
        Self {
            arm: arm.to_owned(),
            tasks: rows.len(),
            em: mean_of(|row| row.em),
            f1: mean_of(|row| row.f1),
            task_seconds_mean: mean_of(|row| row.seconds),
            tasks_per_hour: rows.len() as f64 * 3600.0 / wall_seconds.max(f64::EPSILON),
            turns_mean: mean_of(|row| f64::from(row.turns)),
            llm_calls: calls,
            prompt_tokens_full: sum(|row| row.prompt_tokens_full),
            prompt_tokens_served: sum(|row| row.prompt_tokens),
            prompt_tokens_computed: sum(|row| row.prompt_tokens_computed),
            completion_tokens: sum(|row| row.completion_tokens),
            large_step_share: large as f64 / calls.max(1) as f64,
            switches: sum(|row| u64::from(row.switches)),
            stall_seconds: 0.0,
            errors: sum(|row| u64::from(row.error.is_some())),
        }
    }
}

impl ResearchResults {
    pub(super) fn of(
        arms: &[Arm],
        sessions: &[usize],
        runs: usize,
        blocks: &[Block],
        commands: BTreeMap<String, String>,
    ) -> Self {
        let of = |arm: &Arm, sessions: usize| -> Vec<&Block> {
            let own = |block: &&Block| {
                block.key.arm == arm.name()
                    && block.key.sessions == sessions
                    && block.key.run < runs
            };
            blocks.iter().filter(own).collect()
        };
        let mut results = Self {
            commands,
            ..Self::default()
        };
        for &sessions in sessions {
            let first = of(&arms[0], sessions);
            results.bounds.extend(Bound::of(&arms[0], sessions, &first));
            for (number, arm) in arms.iter().enumerate() {
                let own = of(arm, sessions);
                if own.is_empty() {
                    continue;
                }
                results.arms.push(MeasuredArm::of(arm, sessions, &own));
                if number > 0 && !first.is_empty() {
                    let compared = Comparison::of(arm, &own, &arms[0], &first, sessions);
                    results.comparisons.push(compared);
                }
                results.add(&own);
            }
        }
        results
    }

    /// Adds what was measured in an arm's blocks. Times of a block count from its beginning; of a
    /// run they count from its first block's, without the turns of other arms.
    fn add(&mut self, blocks: &[&Block]) {
        let mut passed: BTreeMap<usize, f64> = BTreeMap::new();
        let mut blocks = blocks.to_vec();
        blocks.sort_by_key(|block| (block.key.run, block.key.number));
        for block in blocks {
            let passed = passed.entry(block.key.run).or_default();
            let began_s = |began_s: f64| *passed + began_s;
            self.tasks.extend(block.rows.iter().map(|row| TaskRow {
                began_s: began_s(row.began_s),
                ..row.clone()
            }));
            self.lanes.extend(block.lanes.iter().map(|lane| Lane {
                began_s: began_s(lane.began_s),
                ..lane.clone()
            }));
            self.series.push(Series::of(block, *passed));
            *passed += block.seconds;
        }
    }

    /// A table of the arms, each beside the first.
    pub fn table(&self) -> String {
        let widest = self.arms.iter().map(|row| row.own.arm.len()).max();
        let width = widest.unwrap_or(0).max(3);
        let mut text = format!(
            "{:<width$} {:>8} {:>5} {:>5} {:>7} {:>18} {:>6} {:>6} {:>16} {:>8} {:>6}\n",
            "arm",
            "sessions",
            "EM",
            "F1",
            "seconds",
            "times as fast",
            "thr",
            "large",
            "F1 by first",
            "computed",
            "errors"
        );
        for row in &self.arms {
            let compared =
                |other: &&Comparison| other.arm == row.own.arm && other.sessions == row.sessions;
            let compared = self.comparisons.iter().find(compared);
            let shown =
                |shown: fn(&Comparison) -> String| compared.map_or_else(|| "-".to_owned(), shown);
            let _ = writeln!(
                text,
                "{:<width$} {:>8} {:>5.3} {:>5.3} {:>7.1} {:>18} {:>6} {:>6.2} {:>16} {:>8} {:>6}",
                row.own.arm,
                row.sessions,
                row.own.em,
                row.own.f1,
                row.own.task_seconds_mean,
                shown(|c| format!(
                    "{:.2} [{:.2}, {:.2}]",
                    c.speedup, c.speedup_low, c.speedup_high
                )),
                shown(|c| format!("{:.2}", c.throughput)),
                row.own.large_step_share,
                shown(|c| format!(
                    "{:+.2} [{:+.2}, {:+.2}]",
                    c.f1_difference, c.f1_low, c.f1_high
                )),
                shown(|c| format!("{:.2}", c.prompt_computed_ratio)),
                row.own.errors,
            );
        }
        for bound in &self.bounds {
            let _ = writeln!(
                text,
                "{}, {} sessions: its tokens at its best rate of prefill, {:.0} tok/s, would be \
                 {:.2} times as fast",
                bound.arm, bound.sessions, bound.prefill_rate, bound.speedup
            );
        }
        text.trim_end().to_owned()
    }
}

impl MeasuredArm {
    pub(super) fn of(arm: &Arm, sessions: usize, blocks: &[&Block]) -> Self {
        let rows: Vec<&TaskRow> = blocks.iter().flat_map(|block| &block.rows).collect();
        let wall: f64 = blocks.iter().map(|block| block.seconds).sum();
        let runs = blocks.iter().map(|block| block.key.run + 1).max();
        let counted: Option<Vec<Counted>> = blocks.iter().map(|block| block.counted).collect();
        let counted =
            counted.map(|counted| counted.into_iter().fold(Counted::default(), Counted::and));
        let own = ArmRow {
            stall_seconds: counted.map_or(0.0, |counted| counted.stall_seconds),
            ..ArmRow::of(arm.name(), &rows, wall)
        };
        let calls = || blocks.iter().flat_map(|block| &block.lanes);
        let calls = || calls().flat_map(|lane| &lane.calls);
        let spent = |kinds: &[CallKind]| -> f64 {
            let of = calls().filter(|call| kinds.contains(&call.kind));
            of.map(|call| call.seconds).sum()
        };
        let seconds = counted.map(|Counted { machine, .. }| Seconds {
            machine,
            waiting: (spent(&[CallKind::Llm, CallKind::Check]) - machine.sum()).max(0.0),
            tools: spent(&[CallKind::Tool]),
            checks: spent(&[CallKind::Check]),
        });
        let tokens = counted.map(|counted| AllTokens {
            counted: counted.tokens,
            distilled_away: own
                .prompt_tokens_full
                .saturating_sub(own.prompt_tokens_served),
        });
        Self {
            own,
            sessions,
            runs: runs.unwrap_or(0),
            modules: arm.modules().to_vec(),
            peer: arm.peer(),
            seconds,
            tokens,
            acceptance: counted.map_or_else(Acceptance::default, |it| it.acceptance),
        }
    }
}

impl Series {
    /// Of a block before which so many seconds have passed.
    fn of(block: &Block, passed: f64) -> Self {
        let later = |point: &Point| Point {
            at_s: passed + point.at_s,
            ..*point
        };
        Self {
            arm: block.key.arm.clone(),
            run: block.key.run,
            sessions: block.key.sessions,
            block: block.key.number,
            points: block.points.iter().map(later).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentinfer_sam::{DraftSource, Tally};
    use serde_json::json;

    use super::super::block::Key;
    use super::super::rows::Call;
    use super::*;

    fn block(arm: &str, run: usize, seconds: f64, f1: f64) -> Block {
        let row = |id: &str| TaskRow {
            arm: arm.to_owned(),
            run,
            sessions: 2,
            id: id.to_owned(),
            f1,
            seconds,
            turns: 3,
            prompt_tokens_full: 200,
            prompt_tokens: 150,
            prompt_tokens_computed: 100,
            ..TaskRow::default()
        };
        let rows: Vec<TaskRow> = ["a", "b"].map(row).to_vec();
        let call = |kind, seconds| Call {
            at: 0.0,
            seconds,
            kind,
            step: String::new(),
            model: None,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
        };
        let calls = [CallKind::Llm, CallKind::Check, CallKind::Tool];
        let calls = calls.map(|kind| call(kind, 10.0)).to_vec();
        let machine = Machine {
            prefill: 2.0,
            decode: 3.0,
            other: 1.0,
        };
        let tokens = Tokens {
            prompt_computed: 200,
            generated: 100,
            ..Tokens::default()
        };
        let mut acceptance = Acceptance::default();
        *acceptance.tally_mut(DraftSource::Corpus, 1) = Tally {
            drafted: 5,
            tested: 4,
            accepted: 3,
        };
        Block {
            key: Key {
                arm: arm.to_owned(),
                sessions: 2,
                run,
                number: 0,
            },
            seconds: 2.0 * seconds,
            lanes: vec![Lane::of(&rows[0], calls)],
            rows,
            points: vec![Point::default()],
            counted: arm.ne("llama-server").then_some(Counted {
                machine,
                tokens,
                stall_seconds: 0.5,
                acceptance,
            }),
        }
    }

    fn results() -> ResearchResults {
        let arms = Arm::list("large_only,full,llama-server").expect("arms");
        let blocks = [
            block("large_only", 0, 20.0, 0.5),
            block("large_only", 1, 30.0, 0.5),
            block("full", 0, 10.0, 0.75),
            block("full", 1, 10.0, 0.75),
            block("llama-server", 0, 25.0, 0.5),
        ];
        ResearchResults::of(&arms, &[2], 2, &blocks, BTreeMap::new())
    }

    #[test]
    fn arms_are_compared_task_by_task() {
        let results = results();
        let [full, peer] = &results.comparisons[..] else {
            panic!("two comparisons");
        };
        assert_eq!((full.tasks, full.speedup, full.throughput), (2, 2.5, 2.5));
        assert_eq!((full.f1_difference, full.f1_low), (0.25, 0.25));
        assert_eq!((peer.speedup, peer.prompt_computed_ratio), (1.0, 1.0));
        assert_eq!(results.arms[1].runs, 2);
        let [bound] = &results.bounds[..] else {
            panic!("one bound");
        };
        // 600 tokens at 100 a second, where the blocks took 100 seconds.
        assert_eq!((bound.prefill_rate, bound.seconds), (100.0, 6.0));
        assert!((bound.speedup - 100.0 / 6.0).abs() < 1e-9);
        let table = results.table();
        for part in ["full", "2.50 [2.50, 2.50]", "+0.25", "llama-server"] {
            assert!(table.contains(part), "{table}");
        }
    }

    #[test]
    fn time_and_tokens_are_divided_by_kind() {
        let results = results();
        let seconds = results.arms[0].seconds.expect("ours");
        assert_eq!((seconds.machine.sum(), seconds.waiting), (12.0, 28.0));
        assert_eq!((seconds.tools, seconds.checks), (20.0, 20.0));
        let tokens = results.arms[0].tokens.expect("ours");
        assert_eq!(
            (tokens.distilled_away, tokens.counted.generated),
            (200, 200)
        );
        assert_eq!(results.arms[0].own.stall_seconds, 1.0);
        assert!(results.arms[2].seconds.is_none() && results.arms[2].peer.is_some());
        let acceptance = |arm: usize| serde_json::to_value(&results.arms[arm]).unwrap();
        // Two blocks.
        let row = json!({"source": "corpus", "position": 1, "drafted": 10, "tested": 8,
            "accepted": 6});
        assert_eq!(acceptance(0)["acceptance"], json!([row]));
        assert!(acceptance(2).get("acceptance").is_none());
    }
}
