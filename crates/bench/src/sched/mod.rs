//! Scheduling policies compared on simulated time: the production engine and scheduler, a model
//! that only takes time, and agents' sessions, synthetic or recorded, with tools in between.

mod bound;
mod calibrate;
mod contender;
mod options;
mod real;
mod replay;
mod results;
mod script;
mod trace;
mod workload;

use std::fs;
use std::path::Path;

use agentinfer_engine::LatencyCurve;
pub use agentinfer_engine::PolicySpec;

pub use contender::Contender;
pub use options::SchedOptions;
pub use real::{RealOptions, ValidationRow};
pub(crate) use replay::Flight;
use replay::replay_traced;
pub use replay::{SimulatedServer, replay};
pub use results::{CurveRow, SchedResults, SchedRow, TraceRow};
pub(crate) use script::{CallId, Script};
pub use script::{CallOutcome, Outcome};
pub use trace::Trace;
pub(crate) use workload::{ARRIVAL_SECONDS, words};
pub use workload::{Call, Prefix, Session, Workload};

use crate::BenchError;
use crate::decisions::{self, FileTrace};

/// Cells beside the longest session that are always there, so that its helpers can run.
const SPARE_CELLS: usize = 1024;

/// Where sessions come from.
enum Source {
    Synthetic,
    Recorded(Trace),
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::Synthetic => "research",
            Self::Recorded(trace) => &trace.name,
        }
    }

    /// One of its workloads; what was recorded is scaled already.
    fn workload(&self, load: usize, seed: u64, scale: f64) -> Workload {
        match self {
            Self::Synthetic => Workload::research(load, seed, scale),
            Self::Recorded(trace) => Workload::choose(&trace.sessions, load, seed),
        }
    }

    /// Its row in the results, if it was recorded.
    fn row(&self) -> Option<TraceRow> {
        let Self::Recorded(trace) = self else {
            return None;
        };
        let longest = trace.sessions.iter().map(Session::longest_context);
        Some(TraceRow {
            trace: trace.name.clone(),
            sessions: trace.sessions.len(),
            calls: trace
                .sessions
                .iter()
                .map(|session| session.calls.len())
                .sum(),
            skipped: trace.skipped,
            longest_context: longest.max().unwrap_or(0),
        })
    }
}

/// Plays every workload under every policy.
///
/// # Errors
/// [`BenchError::Option`] when nothing is to be compared or a number makes no sense, the errors of
/// [`Trace::read`] and [`replay`], and [`BenchError::Llama`] when a real model cannot be loaded.
pub async fn run_sched_bench(
    options: &SchedOptions,
    mut progress: impl FnMut(&str),
) -> Result<SchedResults, BenchError> {
    options.check()?;
    let sources = sources(options)?;
    if let Some(folder) = &options.out {
        prepare(folder, &sources)?;
    }
    let mut results = SchedResults {
        traces: sources.iter().filter_map(Source::row).collect(),
        ..SchedResults::default()
    };
    let mut curve = LatencyCurve::default();
    if let Some(real) = &options.real {
        progress("measuring the model's steps; leave the machine alone until the end");
        curve = real::measured(real).await?;
        results.curve = Some(curve.clone().into());
        for source in &sources {
            let rows = validation(source, options, real, &curve).await?;
            results.validation.extend(rows);
            progress(&format!("{}: played for real", source.name()));
        }
    }
    for source in &sources {
        for &load in &options.loads {
            for &tool_latency in &options.tool_latencies {
                for seed in options.first_seed..options.first_seed + options.seeds {
                    let workload = source.workload(load, seed, options.scale);
                    let workload = workload.with_tool_latency(tool_latency);
                    let named = SchedRow {
                        trace: source.name().to_owned(),
                        seed,
                        load,
                        tool_latency,
                        ..SchedRow::default()
                    };
                    results
                        .policies
                        .extend(play(&workload, options, &curve, &named)?);
                }
                let name = source.name();
                progress(&format!(
                    "{name}, {load} sessions, tools take {tool_latency} times as long: done"
                ));
            }
        }
    }
    Ok(results)
}

/// Plays a source's first workload for real.
async fn validation(
    source: &Source,
    options: &SchedOptions,
    real: &RealOptions,
    curve: &LatencyCurve,
) -> Result<Vec<ValidationRow>, BenchError> {
    let (load, pressure) = (options.loads[0], options.pressures[0]);
    let workload = source.workload(load, 1, options.scale);
    let workload = workload.with_tool_latency(options.tool_latencies[0]);
    let server = server(options, cells(&workload, pressure), curve);
    let rows = real::validate(&workload, real, &server).await?;
    let named = rows.into_iter().map(|row| ValidationRow {
        trace: source.name().to_owned(),
        pressure,
        ..row
    });
    Ok(named.collect())
}

fn sources(options: &SchedOptions) -> Result<Vec<Source>, BenchError> {
    if options.traces.is_empty() {
        return Ok(vec![Source::Synthetic]);
    }
    let read = |path| Trace::read(path, options.scale).map(Source::Recorded);
    options.traces.iter().map(|path| read(path)).collect()
}

fn server(options: &SchedOptions, cells: u32, curve: &LatencyCurve) -> SimulatedServer {
    let mut server = SimulatedServer::new(cells, curve.clone());
    server.options.max_running = options.max_running;
    if options.offload {
        server.options.offload_bytes = u64::MAX;
    }
    server
}

/// Plays one workload at every pressure under every policy; `named` says which it is.
fn play(
    workload: &Workload,
    options: &SchedOptions,
    curve: &LatencyCurve,
    named: &SchedRow,
) -> Result<Vec<SchedRow>, BenchError> {
    let roomy = server(options, cells(workload, 1.0), curve);
    let alone = (0..workload.sessions.len()).map(|session| {
        let outcome = replay(&workload.alone(session), Contender::default(), &roomy)?;
        Ok(outcome.session_seconds[0])
    });
    let alone: Vec<f64> = alone.collect::<Result<_, BenchError>>()?;
    let mut rows = Vec::new();
    for &pressure in &options.pressures {
        let cells = cells(workload, pressure);
        for &policy in &options.policies {
            let server = server(options, cells, curve);
            let row = SchedRow {
                policy: policy.to_string(),
                pressure,
                cells,
                ..named.clone()
            };
            let outcome = match &options.out {
                Some(folder) => traced(workload, policy, &server, &row, folder)?,
                None => replay(workload, policy, &server)?,
            };
            rows.push(SchedRow {
                policy: row.policy,
                trace: row.trace,
                seed: row.seed,
                load: row.load,
                tool_latency: row.tool_latency,
                pressure,
                cells,
                ..SchedRow::of(&outcome, &alone)
            });
        }
    }
    Ok(rows)
}

/// Creates the folder for traces, whose files are named after the sources.
fn prepare(folder: &Path, sources: &[Source]) -> Result<(), BenchError> {
    let mut names: Vec<&str> = sources.iter().map(Source::name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(BenchError::Option {
            field: "out",
            message: format!("two traces are called {}; rename one of them", pair[0]),
        });
    }
    fs::create_dir_all(folder).map_err(|source| BenchError::Write {
        path: folder.to_owned(),
        source,
    })
}

/// Plays a workload and writes its trace and its page into `folder`; `row` says which it is.
fn traced(
    workload: &Workload,
    policy: Contender,
    server: &SimulatedServer,
    row: &SchedRow,
    folder: &Path,
) -> Result<Outcome, BenchError> {
    let label = format!(
        "{} load={} pressure={} tool-latency={} seed={} {policy}",
        row.trace, row.load, row.pressure, row.tool_latency, row.seed
    );
    let trace = FileTrace::create(decisions::file_name(folder, &label))?;
    let outcome = replay_traced(workload, policy, server, Some((&label, &trace)))?;
    let path = trace.finish()?;
    let page = decisions::page(&path)?;
    let path = path.with_extension("html");
    match fs::write(&path, page) {
        Ok(()) => Ok(outcome),
        Err(source) => Err(BenchError::Write { path, source }),
    }
}

/// The KV cells that a workload would fill `pressure` times.
fn cells(workload: &Workload, pressure: f64) -> u32 {
    let wanted = workload.working_set() as f64 / pressure;
    let least = workload.longest_context() + SPARE_CELLS;
    (wanted as usize).max(least) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_policy_plays_the_same_workloads() {
        let options = SchedOptions {
            loads: vec![2],
            pressures: vec![2.0],
            seeds: 2,
            ..SchedOptions::default()
        };
        let results = run_sched_bench(&options, |_| {}).await.expect("plays");
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
            assert!(row.completion_p50_s <= row.completion_p99_s, "{row:?}");
            assert!(row.slowdown_mean <= row.slowdown_max, "{row:?}");
            assert!(row.plan_us_p99 > 0.0, "{row:?}");
        }
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_by_name() {
        type Change = fn(&mut SchedOptions);
        let changes: [(Change, &str); 7] = [
            (|options| options.policies.clear(), "policies"),
            (|options| options.seeds = 0, "seeds"),
            (|options| options.max_running = 0, "max-running"),
            (|options| options.loads = vec![0], "load"),
            (|options| options.pressures = vec![-1.0], "pressure"),
            (
                |options| options.tool_latencies = vec![f64::NAN],
                "tool-latency",
            ),
            (|options| options.scale = 2.0, "scale"),
        ];
        for (change, field) in changes {
            let mut options = SchedOptions::default();
            change(&mut options);
            match run_sched_bench(&options, |_| {}).await {
                Err(BenchError::Option { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
