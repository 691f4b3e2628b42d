//! What the questions have come to under each setting, and how sure that is.

use std::fmt::Write;

use agentinfer_runtime::CompressStats;
use serde::Serialize;

use crate::research::{ArmRow, Block, TaskRow};
use crate::statistics::{paired_difference, paired_ratio};

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct TasksResults {
    /// One row per arm and number of sessions at a time.
    pub arms: Vec<TasksArmRow>,
    /// One row per arm, number of sessions and task.
    pub tasks: Vec<TaskRow>,
}

/// One arm with so many sessions at a time, beside the first arm with as many. Differences and
/// ratios are paired by task, with the ends of their 95 % intervals (bootstrap).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TasksArmRow {
    /// The arm by itself.
    #[serde(flatten)]
    pub own: ArmRow,
    /// How many sessions there were at a time.
    pub sessions: usize,
    /// Results that were distilled.
    pub distilled: u64,
    /// Views that took effect, resident.
    pub swaps: u64,
    /// Conversations that were too long for the model and were shortened at once.
    pub fitted: u64,
    /// Originals that were recalled.
    pub recalls: u64,
    /// Mean exact match less the first arm's.
    pub em_difference: [f64; 3],
    /// Mean F1 less the first arm's.
    pub f1_difference: [f64; 3],
    /// Prompt tokens served by the first arm's.
    pub served_ratio: [f64; 3],
    /// Seconds by the first arm's.
    pub seconds_ratio: [f64; 3],
    /// Turns by the first arm's.
    pub turns_ratio: [f64; 3],
}

/// An arm that has run.
pub(super) struct Ran {
    /// All tasks.
    pub(super) block: Block,
    pub(super) compressed: CompressStats,
}

impl TasksResults {
    /// Of the arms of each number of sessions.
    pub(super) fn of(ran: Vec<Vec<Ran>>) -> Self {
        let mut results = Self {
            arms: Vec::new(),
            tasks: Vec::new(),
        };
        for round in ran {
            let first = round.first().map(|ran| ran.block.rows.clone());
            let first = first.unwrap_or_default();
            for ran in round {
                results.arms.push(TasksArmRow::of(&ran, &first));
                results.tasks.extend(ran.block.rows);
            }
        }
        results
    }

    /// The results as a table for people.
    pub fn table(&self) -> String {
        let names = self.arms.iter().map(|row| row.own.arm.chars().count());
        let width = names.max().unwrap_or_default().max("arm".len());
        let mut text = format!(
            "{:width$} {:>7} {:>5} {:>5} {:>5} {:>23} {:>5} {:>18} {:>7} {:>18} {:>8} {:>8} {:>8} \
             {:>18} {:>6} {:>5} {:>6}\n",
            "arm",
            "at once",
            "tasks",
            "EM",
            "F1",
            "F1 by first",
            "turns",
            "by first",
            "seconds",
            "by first",
            "full",
            "served",
            "computed",
            "served by first",
            "stall",
            "swaps",
            "errors"
        );
        for row in &self.arms {
            let own = &row.own;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:width$} {:7} {:5} {:5.3} {:5.3} {:>23} {:5.2} {:>18} {:7.1} {:>18} {:8} {:8} \
                 {:8} {:>18} {:6.3} {:5} {:6}",
                own.arm,
                row.sessions,
                own.tasks,
                own.em,
                own.f1,
                signed(row.f1_difference),
                own.turns_mean,
                times(row.turns_ratio),
                own.task_seconds_mean,
                times(row.seconds_ratio),
                own.prompt_tokens_full,
                own.prompt_tokens_served,
                own.prompt_tokens_computed,
                times(row.served_ratio),
                own.stall_seconds,
                row.swaps,
                own.errors,
            );
        }
        text.trim_end().to_owned()
    }
}

impl TasksArmRow {
    fn of(ran: &Ran, first: &[TaskRow]) -> Self {
        let Ran { block, compressed } = ran;
        let rows: Vec<&TaskRow> = block.rows.iter().collect();
        let pairs = |of: fn(&TaskRow) -> f64| -> Vec<(f64, f64)> {
            let pairs = block.rows.iter().zip(first);
            pairs.map(|(own, first)| (of(own), of(first))).collect()
        };
        Self {
            own: ArmRow {
                stall_seconds: compressed.stall_seconds,
                ..ArmRow::of(&block.key.arm, &rows, block.seconds)
            },
            sessions: block.key.sessions,
            distilled: compressed.distilled,
            swaps: compressed.swaps,
            fitted: compressed.fitted,
            recalls: compressed.recalls,
            em_difference: paired_difference(&pairs(|row| row.em)),
            f1_difference: paired_difference(&pairs(|row| row.f1)),
            served_ratio: paired_ratio(&pairs(|row| row.prompt_tokens as f64)),
            seconds_ratio: paired_ratio(&pairs(|row| row.seconds)),
            turns_ratio: paired_ratio(&pairs(|row| f64::from(row.turns))),
        }
    }
}

fn signed([value, low, high]: [f64; 3]) -> String {
    format!("{value:+.3} [{low:+.3}, {high:+.3}]")
}

fn times([value, low, high]: [f64; 3]) -> String {
    format!("x{value:.2} [{low:.2}, {high:.2}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::research::Key;

    fn ran(arm: &str, f1: f64, served: u64, seconds: f64) -> Ran {
        let row = |id: usize| TaskRow {
            arm: arm.to_owned(),
            sessions: 4,
            id: id.to_string(),
            em: f1.floor(),
            f1,
            seconds,
            turns: 4,
            prompt_tokens_full: 1_000,
            prompt_tokens: served,
            ..TaskRow::default()
        };
        let mut compressed = CompressStats::default();
        compressed.stall_seconds = 0.5;
        Ran {
            block: Block {
                key: Key {
                    arm: arm.to_owned(),
                    sessions: 4,
                    ..Key::default()
                },
                rows: (0..10).map(row).collect(),
                ..Block::default()
            },
            compressed,
        }
    }

    #[test]
    fn arms_are_paired_with_the_first_of_their_round() {
        let rounds = vec![
            vec![ran("off", 0.5, 1_000, 8.0), ran("context", 1.0, 400, 6.0)],
            vec![ran("off", 1.0, 0, 0.0), ran("context", 1.0, 400, 6.0)],
        ];
        let results = TasksResults::of(rounds);
        assert_eq!((results.arms.len(), results.tasks.len()), (4, 40));
        let [off, context, _, other] = &results.arms[..] else {
            panic!("four rows");
        };
        assert_eq!(off.f1_difference, [0.0; 3]);
        assert_eq!(context.f1_difference, [0.5; 3]);
        assert_eq!(context.em_difference, [1.0; 3]);
        assert_eq!(
            (context.served_ratio, context.seconds_ratio),
            ([0.4; 3], [0.75; 3])
        );
        assert_eq!(context.own.stall_seconds, 0.5);
        assert_eq!(
            (other.f1_difference, other.served_ratio),
            ([0.0; 3], [0.0; 3])
        );
        let json = serde_json::to_value(&results).expect("serializes");
        assert_eq!(json["arms"][1]["arm"], "context");
        assert_eq!(json["tasks"][0]["sessions"], 4);
        let table = results.table();
        assert!(table.contains("x0.40 [0.40, 0.40]"), "{table}");
        let widths: Vec<_> = table.lines().map(str::len).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }
}
