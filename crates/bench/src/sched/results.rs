//! What was measured, and the table of it.

use std::fmt::Write;

use agentinfer_engine::LatencyCurve;
use serde::Serialize;

use super::real::ValidationRow;
use super::script::{CallOutcome, Outcome};
use crate::statistics::{half_interval, jain, mean, percentile};

/// One workload under one policy. Times are seconds of simulated time, where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SchedRow {
    /// The policy.
    pub policy: String,
    /// Where the sessions are from.
    pub trace: String,
    /// Which random workload.
    pub seed: u64,
    /// Sessions that share the server.
    pub load: usize,
    /// How many times the KV cells the sessions would fill together.
    pub pressure: f64,
    /// How many times as long tools took.
    pub tool_latency: f64,
    /// KV cells.
    pub cells: u32,
    /// Mean time from a session's arrival to its end.
    pub completion_mean_s: f64,
    /// Percentiles of the same.
    pub completion_p50_s: f64,
    /// 95th.
    pub completion_p95_s: f64,
    /// 99th.
    pub completion_p99_s: f64,
    /// Mean time of a call, waiting included.
    pub call_mean_s: f64,
    /// Percentiles of the same.
    pub call_p50_s: f64,
    /// 95th.
    pub call_p95_s: f64,
    /// 99th.
    pub call_p99_s: f64,
    /// Mean time to a call's first token.
    pub ttft_mean_s: f64,
    /// The same of agents' first calls.
    pub ttft_first_turn_s: f64,
    /// And of their later ones; short calls of tools are in neither.
    pub ttft_later_turns_s: f64,
    /// Prompt tokens that were resident, by all prompt tokens.
    pub hit_rate: f64,
    /// Prompt tokens of sessions that had been computed before.
    pub recomputed_tokens: u64,
    /// Prompt tokens copied back from host memory or disk: none, nothing is put there yet.
    pub restored_tokens: u64,
    /// Mean over the sessions of how many times as long they took as with the server to
    /// themselves.
    pub slowdown_mean: f64,
    /// The largest of these.
    pub slowdown_max: f64,
    /// Jain's index of the slowdowns: 1 where all suffer alike.
    pub slowdown_jain: f64,
    /// Generated tokens a second, until the last session ends.
    pub throughput_tok_s: f64,
    /// Wall-clock microseconds that the engine took to decide what a step computes: median.
    pub plan_us_p50: f64,
    /// 99th percentile of the same.
    pub plan_us_p99: f64,
}

impl SchedRow {
    /// The figures of an outcome, `alone` being each session's time with the server to itself. The
    /// workload's own are left empty.
    pub(super) fn of(outcome: &Outcome, alone: &[f64]) -> Self {
        let calls = &outcome.calls;
        let all = |of: fn(&CallOutcome) -> f64| calls.iter().map(of);
        let sum = |of: fn(&CallOutcome) -> u32| -> u64 {
            calls.iter().map(|call| u64::from(of(call))).sum()
        };
        let turns = |of: fn(usize) -> bool| {
            let chosen = calls.iter().filter(|call| call.turn.is_some_and(of));
            mean(chosen.map(|call| call.ttft_seconds))
        };
        let call_seconds: Vec<f64> = all(|call| call.seconds).collect();
        let sessions = &outcome.session_seconds;
        let slowdowns: Vec<f64> = sessions.iter().zip(alone).map(|(t, one)| t / one).collect();
        let plan = |share| percentile(&outcome.plan_seconds, share) * 1e6;
        let generated = sum(|call| call.completion_tokens);
        Self {
            completion_mean_s: mean(sessions.iter().copied()),
            completion_p50_s: percentile(sessions, 0.5),
            completion_p95_s: percentile(sessions, 0.95),
            completion_p99_s: percentile(sessions, 0.99),
            call_mean_s: mean(call_seconds.iter().copied()),
            call_p50_s: percentile(&call_seconds, 0.5),
            call_p95_s: percentile(&call_seconds, 0.95),
            call_p99_s: percentile(&call_seconds, 0.99),
            ttft_mean_s: mean(all(|call| call.ttft_seconds)),
            ttft_first_turn_s: turns(|turn| turn == 0),
            ttft_later_turns_s: turns(|turn| turn > 0),
            hit_rate: outcome.hit_rate(),
            recomputed_tokens: sum(|call| call.recomputed_tokens),
            restored_tokens: outcome.restored_tokens,
            slowdown_mean: mean(slowdowns.iter().copied()),
            slowdown_max: slowdowns.iter().copied().fold(0.0, f64::max),
            slowdown_jain: jain(&slowdowns),
            throughput_tok_s: generated as f64 / outcome.seconds,
            plan_us_p50: plan(0.5),
            plan_us_p99: plan(0.99),
            ..Self::default()
        }
    }

    /// Whether the rows are of the same kind of workload, whatever seed and policy.
    fn is_like(&self, other: &Self) -> bool {
        let kind = |row: &Self| (row.load, row.pressure, row.tool_latency);
        self.trace == other.trace && kind(self) == kind(other)
    }
}

/// Where sessions are from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceRow {
    /// Its name.
    pub trace: String,
    /// Sessions recorded.
    pub sessions: usize,
    /// Calls recorded that are played.
    pub calls: usize,
    /// Calls that are left out, because they failed or were not counted.
    pub skipped: usize,
    /// The longest prompt with its output, in tokens, scaled.
    pub longest_context: usize,
}

/// All that was compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SchedResults {
    /// One row per recorded source of sessions.
    pub traces: Vec<TraceRow>,
    /// One row per trace, load, pressure, tool latency, seed and policy.
    pub policies: Vec<SchedRow>,
    /// One row per real replay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<ValidationRow>,
    /// How long the real model's steps took; none where nothing was real.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<CurveRow>,
}

/// A latency curve; see [`LatencyCurve`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CurveRow {
    /// Tokens, seconds.
    pub points: Vec<(u32, f64)>,
    /// Tokens, seconds per cell of own context.
    pub context: Vec<(u32, f64)>,
    /// Tokens, seconds per resident cell.
    pub resident: Vec<(u32, f64)>,
    /// Rows of logits, seconds.
    pub rows: Vec<(u32, f64)>,
}

impl From<LatencyCurve> for CurveRow {
    fn from(curve: LatencyCurve) -> Self {
        Self {
            points: curve.points,
            context: curve.context,
            resident: curve.resident,
            rows: curve.rows,
        }
    }
}

impl SchedResults {
    /// A table for people: per workload and policy the means over the seeds, and session completion
    /// relative to the first policy with its 95 % confidence interval.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "trace            load press tools policy           session s  relative       \
             call s  ttft s  hits  recomputed  slowdown  fair  plan us\n",
        );
        for (index, row) in self.policies.iter().enumerate() {
            let same = |other: &&SchedRow| other.is_like(row) && other.policy == row.policy;
            if self.policies[..index].iter().any(|other| same(&other)) {
                continue;
            }
            let group: Vec<_> = self.policies.iter().filter(same).collect();
            let ratios: Vec<f64> = group.iter().filter_map(|row| self.relative(row)).collect();
            let average = |of: fn(&SchedRow) -> f64| mean(group.iter().map(|row| of(row)));
            let _ = writeln!(
                text,
                "{:16.16} {:4} {:5} {:5} {:16} {:9.1}  {:.3} ± {:.3} {:7.2} {:7.2} {:4.0}% {:11.0} \
                 {:9.2} {:5.2} {:8.0}",
                row.trace,
                row.load,
                row.pressure,
                row.tool_latency,
                row.policy,
                average(|row| row.completion_mean_s),
                mean(ratios.iter().copied()),
                half_interval(&ratios),
                average(|row| row.call_mean_s),
                average(|row| row.ttft_mean_s),
                100.0 * average(|row| row.hit_rate),
                average(|row| row.recomputed_tokens as f64),
                average(|row| row.slowdown_max),
                average(|row| row.slowdown_jain),
                average(|row| row.plan_us_p99),
            );
        }
        for row in &self.validation {
            let _ = writeln!(
                text,
                "{} played for real with {}: session {:.1} s (simulated {:.1}, {:.3} of it), call \
                 {:.2} s ({:.2}), hits {:.1}% ({:.1}%)",
                row.trace,
                row.policy,
                row.real_s,
                row.simulated_s,
                row.ratio,
                row.real_call_s,
                row.simulated_call_s,
                100.0 * row.real_hit_rate,
                100.0 * row.simulated_hit_rate,
            );
        }
        text
    }

    /// A row's mean session completion by that of the first policy on the same workload.
    fn relative(&self, row: &SchedRow) -> Option<f64> {
        let first = &self.policies.first()?.policy;
        let base = self
            .policies
            .iter()
            .find(|other| other.is_like(row) && other.seed == row.seed && other.policy == *first)?;
        Some(row.completion_mean_s / base.completion_mean_s)
    }
}
