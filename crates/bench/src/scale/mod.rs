//! The arms of the research bench for many sessions, on simulated time: production engines,
//! scheduler, controller and drafting budget with two models that only take time, as long as two
//! models of a chosen size would on chosen devices.

mod choice;
mod compress;
mod device;
mod drafts;
mod options;
mod pair;
mod play;
mod results;
mod validate;

use std::time::Instant;

use agentinfer_collab::Policy;
use agentinfer_compress::Options;

pub use options::ScaleOptions;
pub use pair::{PairRow, PairSpec, Parts, Roofline, TierRow, TierSpec, Timing};
use play::{Setup, play};
pub use results::{FirstRow, ScaleResults, ScaleRow, TierLoad};
pub use validate::RealRow;

use crate::BenchError;
use crate::research::{Arm, Module};
use crate::sched::{ARRIVAL_SECONDS, Workload};

/// Cells beside the longest session that there must be, so that its helpers can run.
const SPARE_CELLS: usize = 1024;

/// Simulates every arm with every number of sessions.
///
/// # Errors
/// [`BenchError::Option`] when a number makes no sense or a session does not fit,
/// [`BenchError::Read`] when the report to validate with is not there,
/// [`BenchError::Engine`] when an engine refuses or fails.
pub fn run_scale_bench(
    options: &ScaleOptions,
    mut progress: impl FnMut(&str),
) -> Result<ScaleResults, BenchError> {
    options.check()?;
    let mut results = ScaleResults {
        pairs: vec![options.pair.row()],
        ..ScaleResults::default()
    };
    if let Some(path) = &options.validate {
        results.pairs.push(PairSpec::cpu().row());
        results.real = validate::validate(path, options, &mut progress)?;
    }
    let mut sessions = options.sessions.clone();
    sessions.sort_unstable();
    sessions.dedup();
    for sessions in sessions {
        for seed in options.first_seed..options.first_seed + options.seeds {
            let workload = workload(options, sessions, seed)?;
            let of_this = results.scale.len();
            for arm in &options.arms {
                let begin = Instant::now();
                let row = simulate(&workload, arm, options, seed)?;
                progress(&format!(
                    "{sessions} sessions, seed {seed}, {arm}: {:.0} s a task, {} ({:.0} s)",
                    row.task_seconds_mean,
                    row.first_saturated,
                    begin.elapsed().as_secs_f64(),
                ));
                let row = row.beside(results.scale.get(of_this));
                results.scale.push(row);
            }
        }
    }
    results.conclude();
    Ok(results)
}

/// The sessions of a seed.
fn workload(options: &ScaleOptions, sessions: usize, seed: u64) -> Result<Workload, BenchError> {
    let mut workload = Workload::research(sessions, seed, options.scale);
    for session in &mut workload.sessions {
        session.arrives *= options.window_seconds / ARRIVAL_SECONDS;
    }
    let longest = workload.longest_context() + SPARE_CELLS;
    let cells = options.pair.large.cells.min(options.pair.small.cells);
    match longest > cells as usize {
        false => Ok(workload),
        true => Err(BenchError::Option {
            field: "--scale",
            message: format!(
                "a session needs {longest} of the {cells} cells of a model; lower --scale"
            ),
        }),
    }
}

/// Plays a workload as an arm serves it.
fn simulate(
    workload: &Workload,
    arm: &Arm,
    options: &ScaleOptions,
    seed: u64,
) -> Result<ScaleRow, BenchError> {
    let has = |module| arm.modules().contains(&module);
    let setup = Setup {
        pair: &options.pair,
        collab: match (has(Module::Collab), arm.needs_small()) {
            (true, _) => options.collab,
            (false, true) => Policy::SmallOnly,
            (false, false) => Policy::LargeOnly,
        },
        progress: options.progress,
        sched: has(Module::Sched).then_some(options.policy),
        accept: has(Module::Sam).then_some(options.accept),
        seed,
    };
    let played = if has(Module::Compress) {
        let compress = Options {
            trigger_tokens: options.trigger,
            ..Options::default()
        };
        let served = compress::compressed(workload, &compress, options.kept);
        play(&served, &setup)?
    } else {
        play(workload, &setup)?
    };
    Ok(ScaleRow {
        arm: arm.name().to_owned(),
        seed,
        ..ScaleRow::of(&played, &options.pair)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arms: &str) -> ScaleOptions {
        ScaleOptions {
            sessions: vec![4, 2],
            scale: 1.0,
            trigger: 2_500,
            seeds: 2,
            ..ScaleOptions::new(Arm::list(arms).expect("arms"))
        }
    }

    #[test]
    fn the_arms_add_up_where_nothing_is_contended() {
        let options = options("large_only,small_only,collab,compress,sched,sam,full");
        let results = run_scale_bench(&options, |_| {}).expect("plays");
        assert_eq!(results.scale.len(), 7 * 2 * 2);
        for rows in results.scale.chunks(7) {
            let [large, small, collab, compress, sched, sam, full] = rows else {
                panic!("seven arms each");
            };
            assert_eq!((large.speedup, large.large_step_share), (1.0, 1.0));
            assert_eq!((small.large_step_share, small.switches), (0.0, 0));
            assert!(collab.large_step_share > 0.1 && collab.large_step_share < 0.7);
            assert!(collab.switches > 0 && collab.recomputed_tokens > 0);
            assert!(compress.prompt_tokens_served < large.prompt_tokens_served);
            assert!((sched.speedup - 1.0).abs() < 0.05, "{}", sched.speedup);
            assert!(sam.accepted_tokens > 0 && large.drafted_tokens == 0);
            for faster in [small, collab, sam, full] {
                assert!(faster.speedup > 1.05, "{}: {}", faster.arm, faster.speedup);
            }
            assert!(full.speedup > collab.speedup, "{}", full.speedup);
            assert_eq!(large.llm_calls, full.llm_calls);
            assert_eq!(large.first_saturated, "nothing");
        }
        let table = results.table();
        assert!(
            table.contains("1.00 ± 0.00") && table.contains("full: nothing"),
            "{table}"
        );
        assert_eq!(table.lines().count(), 1 + 7 * 2 + 7);
    }

    #[test]
    fn memory_that_is_short_saturates_and_is_named() {
        let mut options = options("large_only");
        options.sessions = vec![1, 24];
        options.seeds = 1;
        options.pair.large.cells = 24_000;
        let results = run_scale_bench(&options, |_| {}).expect("plays");
        let [first] = &results.first[..] else {
            panic!("one arm");
        };
        assert_eq!(
            (first.sessions, first.what.as_str()),
            (Some(24), "large memory")
        );
        assert!(
            first.reason.ends_with("waited for KV cells"),
            "{}",
            first.reason
        );
        assert!(results.scale[1].recomputed_tokens > 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        type Change = fn(&mut ScaleOptions);
        let changes: [(Change, &str); 10] = [
            (|it| it.sessions = vec![0], "--sessions"),
            (|it| it.collab = Policy::Cascade, "--collab"),
            (|it| it.progress = f64::NAN, "--progress"),
            (|it| it.kept = 0.0, "--kept"),
            (|it| it.accept = 1.0, "--accept"),
            (|it| it.scale = 9.0, "--scale"),
            (|it| it.window_seconds = -1.0, "--window"),
            (|it| it.seeds = 0, "--seeds"),
            (|it| it.pair.large.cells = 900, "--scale"),
            (
                |it| it.arms = Arm::list("large_only,server").expect("arms"),
                "--arms",
            ),
        ];
        for (change, field) in changes {
            let mut options = options("large_only");
            change(&mut options);
            match run_scale_bench(&options, |_| {}) {
                Err(BenchError::Option { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
