//! What is to be compared.

use std::path::PathBuf;

use agentinfer_engine::EngineOptions;

use super::contender::Contender;
use super::real::RealOptions;
use crate::BenchError;

/// What to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedOptions {
    /// The policies; ratios are relative to the first.
    pub policies: Vec<Contender>,
    /// Files or folders of recorded sessions; none for synthetic ones.
    pub traces: Vec<PathBuf>,
    /// Every length, in tokens, is multiplied by this, above 0 to 1.
    pub scale: f64,
    /// How many sessions share the server, once per value.
    pub loads: Vec<usize>,
    /// How many times the KV cells the sessions would fill together, once per value: at 1 all fit.
    pub pressures: Vec<f64>,
    /// How many times as long tools take, once per value.
    pub tool_latencies: Vec<f64>,
    /// Requests that run at once.
    pub max_running: usize,
    /// Whether evicted cells are kept in host memory, which is ample, and copied back. Otherwise
    /// they are computed again.
    pub offload: bool,
    /// How many random workloads of each kind.
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Where a trace of every decision, and a page that shows it, are written for each workload and
    /// policy; nowhere if absent.
    pub out: Option<PathBuf>,
    /// A real model, on whose measured latency all is simulated then, and on which the first
    /// workload of each trace is also played in real time.
    pub real: Option<RealOptions>,
}

impl Default for SchedOptions {
    /// The situation of the paper: four sessions, memory that becomes insufficient.
    fn default() -> Self {
        Self {
            policies: Contender::all(),
            traces: Vec::new(),
            scale: 1.0,
            loads: vec![4],
            pressures: vec![1.0, 1.5, 2.5],
            tool_latencies: vec![1.0],
            max_running: EngineOptions::default().max_running,
            offload: false,
            seeds: 5,
            first_seed: 1,
            out: None,
            real: None,
        }
    }
}

impl SchedOptions {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`BenchError::Option`] where one does not.
    pub(super) fn check(&self) -> Result<(), BenchError> {
        let positive = |number: &f64| number.is_finite() && *number > 0.0;
        let whole = |number: &f64| number.is_finite() && *number >= 0.0;
        let complaints = [
            (self.policies.is_empty(), "policies", "name at least one"),
            (self.seeds == 0, "seeds", "at least 1 is needed"),
            (self.max_running == 0, "max-running", "at least 1 is needed"),
            (
                self.loads.is_empty() || self.loads.contains(&0),
                "load",
                "at least 1 session is needed",
            ),
            (
                self.pressures.is_empty() || !self.pressures.iter().all(positive),
                "pressure",
                "must be above 0",
            ),
            (
                self.tool_latencies.is_empty() || !self.tool_latencies.iter().all(whole),
                "tool-latency",
                "must be 0 or more",
            ),
            (
                !positive(&self.scale) || self.scale > 1.0,
                "scale",
                "must be above 0 and at most 1",
            ),
        ];
        match complaints.into_iter().find(|(wrong, ..)| *wrong) {
            None => Ok(()),
            Some((_, field, message)) => Err(BenchError::Option {
                field,
                message: message.to_owned(),
            }),
        }
    }
}
