//! `agentinfer bench scale`: the arms of `bench research` for many sessions, simulated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use agentinfer_agent::Policy;
use agentinfer_bench::research::Arm;
use agentinfer_bench::scale::{PairSpec, ScaleOptions, run_scale_bench};
use agentinfer_bench::sched::PolicySpec;
use anyhow::Result;

use super::{or, report};
use crate::output;

/// Simulate the modules for up to a thousand sessions, and tell what saturates first.
///
/// Deep-research sessions with tools in between share two models that only take time, as long as
/// models of 38 and 7 billion parameters would on a GPU each, or those of 1.5 and 0.5 billion on
/// two cores that they share. Engines, scheduler, controller and drafting budget are those of the
/// server. Needs no model. docs/bench.md says what is assumed.
///
/// Arms are those of `bench research`, but for peers: large_only, small_only, collab, compress,
/// sched, sam, joined as in collab+sam, +MODULE, full.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    agentinfer bench scale --sessions 16,64 --seeds 1\n  \
    agentinfer bench scale --arms large_only,+collab,+compress,+sched,full --json scale.json\n  \
    agentinfer bench scale --pair cpu --sessions 1,4,16 --scale 0.5 --validate research.json")]
pub(crate) struct Args {
    /// The models and what they compute on: gpu or cpu.
    #[arg(long, default_value = "gpu", value_name = "PAIR")]
    pair: PairSpec,
    /// How many sessions there are; each number is simulated by itself
    /// [default: 16,64,256,1000].
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    sessions: Vec<usize>,
    /// What is compared, separated by commas; the others are compared with the first.
    #[arg(
        long,
        default_value = "large_only,small_only,collab,+compress,+sched,full",
        value_name = "ARM,..."
    )]
    arms: String,
    /// Who takes which call where there are two models; as in `agentinfer run`. Controllers that
    /// ask how a step went are told by chance.
    #[arg(long, default_value = "random:share=0.34", value_name = "POLICY")]
    collab: Policy,
    /// The probability that a step is progress, for such controllers.
    #[arg(long, default_value_t = 0.6, value_name = "P")]
    progress: f64,
    /// Who is admitted and evicted where AgentSched is on; as in `agentinfer serve`.
    #[arg(long, default_value_t = PolicySpec::default(), value_name = "POLICY")]
    policy: PolicySpec,
    /// Share of its tokens that a tool result keeps where AgentCompress replaces it.
    #[arg(long, default_value_t = 0.3, value_name = "SHARE")]
    kept: f64,
    /// Tokens of a conversation up to which AgentCompress leaves it alone
    /// [default: as the server's].
    #[arg(long, value_name = "N")]
    trigger: Option<u32>,
    /// The probability that a drafted token is right; at most 4 are drafted at a time.
    #[arg(long, default_value_t = 0.6, value_name = "P")]
    accept: f64,
    /// Multiplies every length in tokens of the sessions, which end with about 7,000 at 1.
    #[arg(long, default_value_t = 2.0, value_name = "X")]
    scale: f64,
    /// Sessions begin at random within so many seconds.
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    window: f64,
    /// How many random workloads for each number of sessions.
    #[arg(long, default_value_t = 3, value_name = "N")]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1, value_name = "N")]
    first_seed: u64,
    /// Also simulate the arms of this report of `bench research`, on two cores and with the lengths
    /// that it tells, and show how near that comes.
    #[arg(long, value_name = "FILE.json")]
    validate: Option<PathBuf>,
    /// Write the report to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let started = SystemTime::now();
    let default = ScaleOptions::new(Arm::list(&args.arms)?);
    let options = ScaleOptions {
        sessions: or(args.sessions, default.sessions),
        pair: args.pair,
        collab: args.collab,
        progress: args.progress,
        policy: args.policy,
        kept: args.kept,
        trigger: args.trigger.unwrap_or(default.trigger),
        accept: args.accept,
        scale: args.scale,
        window_seconds: args.window,
        seeds: args.seeds,
        first_seed: args.first_seed,
        validate: args.validate,
        arms: default.arms,
    };
    let results = run_scale_bench(&options, output::note)?;
    output::line(results.table())?;
    let models = BTreeMap::new();
    report("scale", models, started, results, args.json.as_deref())
}
