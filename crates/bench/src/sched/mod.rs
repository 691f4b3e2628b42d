//! Scheduling policies compared on simulated time: the production engine and scheduler, a model
//! that only takes time, and agents' sessions with tools in between.

mod replay;
mod workload;

use std::fmt::Write;

use agentinfer_engine::LatencyCurve;
pub use agentinfer_engine::PolicySpec;
use serde::Serialize;

pub use replay::{CallOutcome, Outcome, replay};
pub use workload::{Call, Helper, Session, Workload};

use crate::BenchError;
use crate::statistics::{half_interval, mean, percentile};

/// Cells beside the longest session that are always there, so that its helpers can run.
const SPARE_CELLS: usize = 1024;

/// What to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedOptions {
    /// The policies; ratios are relative to the first.
    pub policies: Vec<PolicySpec>,
    /// How many sessions share the server, once per value.
    pub loads: Vec<usize>,
    /// How many times the KV cells the sessions would fill together, once per value: at 1 all fit.
    pub pressures: Vec<f64>,
    /// How many random workloads of each kind.
    pub seeds: u64,
}

impl Default for SchedOptions {
    /// The situation of the paper: four sessions, memory that becomes insufficient.
    fn default() -> Self {
        Self {
            policies: PolicySpec::all().to_vec(),
            loads: vec![4],
            pressures: vec![1.0, 1.5, 2.5],
            seeds: 5,
        }
    }
}

/// One workload under one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchedRow {
    /// The policy.
    pub policy: String,
    /// The kind of workload.
    pub trace: &'static str,
    /// Which random workload.
    pub seed: u64,
    /// Sessions that share the server.
    pub load: usize,
    /// How many times the KV cells the sessions would fill together.
    pub pressure: f64,
    /// KV cells.
    pub cells: u32,
    /// Mean seconds from a session's arrival to its end.
    pub completion_mean_s: f64,
    /// 95th percentile of the same.
    pub completion_p95_s: f64,
    /// Mean seconds of a call, waiting included.
    pub call_mean_s: f64,
    /// Mean seconds to a call's first token.
    pub ttft_mean_s: f64,
    /// Prompt tokens that were resident, by all prompt tokens.
    pub hit_rate: f64,
    /// Prompt tokens of sessions that had been computed before.
    pub recomputed_tokens: u64,
    /// Prompt tokens copied back from host memory or disk: none, nothing is put there yet.
    pub restored_tokens: u64,
    /// Generated tokens a second, until the last session ends.
    pub throughput_tok_s: f64,
}

/// All that was compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchedResults {
    /// One row per load, pressure, seed and policy.
    pub policies: Vec<SchedRow>,
}

/// Plays every workload under every policy.
///
/// # Errors
/// [`BenchError::Option`] when nothing is to be compared or a number makes no sense.
pub fn run_sched_bench(
    options: &SchedOptions,
    mut progress: impl FnMut(&str),
) -> Result<SchedResults, BenchError> {
    check(options)?;
    let mut rows = Vec::new();
    for &load in &options.loads {
        for &pressure in &options.pressures {
            for seed in 1..=options.seeds {
                let workload = Workload::research(load, seed);
                let wanted = workload.working_set() as f64 / pressure;
                let least = workload.longest_context() + SPARE_CELLS;
                let cells = (wanted as usize).max(least) as u32;
                for &policy in &options.policies {
                    let outcome = replay(&workload, policy, cells, LatencyCurve::default())?;
                    rows.push(SchedRow {
                        seed,
                        load,
                        pressure,
                        cells,
                        ..row(policy, &outcome)
                    });
                }
            }
            progress(&format!("{load} sessions at pressure {pressure}: done"));
        }
    }
    Ok(SchedResults { policies: rows })
}

fn check(options: &SchedOptions) -> Result<(), BenchError> {
    let refuse = |field, message: &str| {
        Err(BenchError::Option {
            field,
            message: message.to_owned(),
        })
    };
    if options.policies.is_empty() {
        return refuse("policies", "name at least one");
    }
    if options.seeds == 0 {
        return refuse("seeds", "at least 1 is needed");
    }
    if options.loads.contains(&0) {
        return refuse("load", "at least 1 session is needed");
    }
    let sound = |pressure: &f64| pressure.is_finite() && *pressure > 0.0;
    if !options.pressures.iter().all(sound) {
        return refuse("pressure", "must be above 0");
    }
    Ok(())
}

fn row(policy: PolicySpec, outcome: &Outcome) -> SchedRow {
    let calls = &outcome.calls;
    let call_mean = |of: fn(&CallOutcome) -> f64| mean(calls.iter().map(of));
    let sum =
        |of: fn(&CallOutcome) -> u32| -> u64 { calls.iter().map(|call| u64::from(of(call))).sum() };
    let generated = sum(|call| call.completion_tokens);
    SchedRow {
        policy: policy.to_string(),
        trace: "research",
        seed: 0,
        load: 0,
        pressure: 0.0,
        cells: 0,
        completion_mean_s: mean(outcome.session_seconds.iter().copied()),
        completion_p95_s: percentile(&outcome.session_seconds, 0.95),
        call_mean_s: call_mean(|call| call.seconds),
        ttft_mean_s: call_mean(|call| call.ttft_seconds),
        hit_rate: sum(|call| call.cached_tokens) as f64 / sum(|call| call.prompt_tokens) as f64,
        recomputed_tokens: sum(|call| call.recomputed_tokens),
        restored_tokens: 0,
        throughput_tok_s: generated as f64 / outcome.seconds,
    }
}

impl SchedResults {
    /// A table for people: per load, pressure and policy the means over the seeds, and session
    /// completion relative to the first policy with its 95 % confidence interval.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "load pressure policy           session s  relative         call s  ttft s  hits  \
             recomputed\n",
        );
        let mut done: Vec<(usize, f64, &str)> = Vec::new();
        for row in &self.policies {
            let key = (row.load, row.pressure, row.policy.as_str());
            if done.contains(&key) {
                continue;
            }
            done.push(key);
            let group: Vec<_> = self.group(row).collect();
            let ratios: Vec<f64> = group.iter().filter_map(|row| self.relative(row)).collect();
            let average = |of: fn(&SchedRow) -> f64| mean(group.iter().map(|row| of(row)));
            let _ = writeln!(
                text,
                "{:4} {:8} {:16} {:9.1}  {:.3} ± {:.3}  {:9.2} {:7.2} {:4.0}% {:11.0}",
                row.load,
                row.pressure,
                row.policy,
                average(|row| row.completion_mean_s),
                mean(ratios.iter().copied()),
                half_interval(&ratios),
                average(|row| row.call_mean_s),
                average(|row| row.ttft_mean_s),
                100.0 * average(|row| row.hit_rate),
                average(|row| row.recomputed_tokens as f64),
            );
        }
        text
    }

    /// The rows that differ from `row` by the seed only.
    fn group<'a>(&'a self, row: &'a SchedRow) -> impl Iterator<Item = &'a SchedRow> {
        self.policies.iter().filter(move |other| {
            (other.load, other.pressure, &other.policy) == (row.load, row.pressure, &row.policy)
        })
    }

    /// A row's mean session completion by that of the first policy on the same workload.
    fn relative(&self, row: &SchedRow) -> Option<f64> {
        let first = &self.policies.first()?.policy;
        let base = self.policies.iter().find(|other| {
            (other.load, other.pressure, other.seed) == (row.load, row.pressure, row.seed)
                && other.policy == *first
        })?;
        Some(row.completion_mean_s / base.completion_mean_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_plays_the_same_workloads() {
        let options = SchedOptions {
            loads: vec![2],
            pressures: vec![2.0],
            seeds: 2,
            ..SchedOptions::default()
        };
        let results = run_sched_bench(&options, |_| {}).expect("plays");
        assert_eq!(results.policies.len(), 2 * options.policies.len());
        let table = results.table();
        assert_eq!(table.lines().count(), 1 + options.policies.len());
        assert!(
            table.contains("fcfs") && table.contains("1.000 ± 0.000"),
            "{table}"
        );
        for row in &results.policies {
            assert!(row.hit_rate > 0.0 && row.hit_rate < 1.0, "{row:?}");
            assert!(row.ttft_mean_s < row.call_mean_s, "{row:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let default = SchedOptions::default;
        for (options, field) in [
            (
                SchedOptions {
                    policies: Vec::new(),
                    ..default()
                },
                "policies",
            ),
            (
                SchedOptions {
                    seeds: 0,
                    ..default()
                },
                "seeds",
            ),
            (
                SchedOptions {
                    loads: vec![0],
                    ..default()
                },
                "load",
            ),
            (
                SchedOptions {
                    pressures: vec![-1.0],
                    ..default()
                },
                "pressure",
            ),
        ] {
            match run_sched_bench(&options, |_| {}) {
                Err(BenchError::Option { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
