//! What a bench wrote, as far as the page shows it. `docs/bench.md` says what the keys mean.
//!
//! Keys that are not known are skipped, and all may be absent: files of older versions lack some.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::error::Category;

use crate::ReportError;

/// The benches that can be shown.
const BENCHES: [&str; 7] = [
    "research", "collab", "compress", "sched", "scale", "sam", "engine",
];

/// A file that `agentinfer bench NAME --json FILE` wrote.
#[derive(Clone, Copy, Debug)]
pub struct RunFile<'a> {
    /// What the page and errors call it: its path.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// A file's content.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    /// The file's name; not in the file.
    #[serde(skip)]
    pub(crate) file: String,
    pub(crate) bench: String,
    pub(crate) version: String,
    pub(crate) machine: Machine,
    pub(crate) models: BTreeMap<String, Model>,
    pub(crate) command: String,
    pub(crate) started_at: String,
    #[serde(rename = "results")]
    read: Option<Results>,
    /// The results, which every run has once it is read.
    #[serde(skip)]
    pub(crate) results: Results,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: Option<f64>,
    pub(crate) memory_bytes: Option<f64>,
    pub(crate) features: String,
    pub(crate) os: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Model {
    pub(crate) path: String,
    pub(crate) bytes: Option<f64>,
}

/// The keys of all benches together; each has some of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Results {
    pub(crate) arms: Vec<ArmRow>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) comparisons: Vec<ComparisonRow>,
    pub(crate) lanes: Vec<LaneRow>,
    pub(crate) series: Vec<SeriesRow>,
    pub(crate) bound: Option<BoundRow>,
    pub(crate) bounds: Vec<LeastRow>,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) sets: Vec<SetRow>,
    pub(crate) policies: Vec<PolicyRow>,
    pub(crate) validation: Vec<ValidationRow>,
    pub(crate) scale: Vec<ScaleRow>,
    pub(crate) first: Vec<FirstRow>,
    pub(crate) cases: Vec<CaseRow>,
    pub(crate) ratios: BTreeMap<String, Option<f64>>,
    pub(crate) speculation: Vec<SpeculationRow>,
    pub(crate) commands: BTreeMap<String, String>,
}

/// Questions answered in one way.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ArmRow {
    /// The recordings that were played live; none where questions were answered.
    pub(crate) set: Option<String>,
    pub(crate) arm: String,
    /// How many at a time.
    pub(crate) sessions: Option<f64>,
    pub(crate) runs: Option<f64>,
    pub(crate) tasks: Option<f64>,
    pub(crate) em: Option<f64>,
    pub(crate) f1: Option<f64>,
    pub(crate) task_seconds_mean: Option<f64>,
    pub(crate) tasks_per_hour: Option<f64>,
    pub(crate) turns_mean: Option<f64>,
    pub(crate) llm_calls: Option<f64>,
    pub(crate) prompt_tokens_full: Option<f64>,
    pub(crate) prompt_tokens_served: Option<f64>,
    pub(crate) prompt_tokens_computed: Option<f64>,
    pub(crate) completion_tokens: Option<f64>,
    pub(crate) large_step_share: Option<f64>,
    pub(crate) switches: Option<f64>,
    pub(crate) stall_seconds: Option<f64>,
    pub(crate) errors: Option<f64>,
    /// The modules that were on; empty for plain serving, none where the bench does not say.
    pub(crate) modules: Option<Vec<String>>,
    /// The other server that ran it.
    pub(crate) peer: Option<String>,
    /// Sums by kind of time.
    pub(crate) seconds: Option<BTreeMap<String, f64>>,
    /// Sums by kind of token.
    pub(crate) tokens: Option<BTreeMap<String, f64>>,
    /// What became of drafts.
    pub(crate) acceptance: Vec<AcceptanceRow>,
    /// To the first arm, with the ends of its interval; older files have it here.
    pub(crate) f1_difference: Option<[f64; 3]>,
    /// The first arm's time by this one's, with the ends of its interval.
    pub(crate) speedup: Option<[f64; 3]>,
}

/// A question answered in one way.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TaskRow {
    pub(crate) arm: String,
    pub(crate) sessions: Option<f64>,
    pub(crate) id: String,
    pub(crate) question: String,
    pub(crate) answer: Option<String>,
    pub(crate) references: Option<Vec<String>>,
    pub(crate) f1: Option<f64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) error: Option<String>,
}

/// An arm beside another, question by question.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ComparisonRow {
    pub(crate) arm: String,
    pub(crate) base: String,
    pub(crate) sessions: Option<f64>,
    pub(crate) speedup: Option<f64>,
    pub(crate) speedup_low: Option<f64>,
    pub(crate) speedup_high: Option<f64>,
    pub(crate) throughput: Option<f64>,
    pub(crate) f1_difference: Option<f64>,
    pub(crate) f1_low: Option<f64>,
    pub(crate) f1_high: Option<f64>,
}

/// One session's calls over time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LaneRow {
    pub(crate) arm: String,
    pub(crate) run: Option<f64>,
    pub(crate) sessions: Option<f64>,
    /// Which of the sessions at a time.
    pub(crate) slot: f64,
    pub(crate) id: String,
    /// Seconds since the arm's begin.
    pub(crate) began_s: f64,
    pub(crate) calls: Vec<CallRow>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CallRow {
    pub(crate) at: f64,
    pub(crate) seconds: f64,
    /// `llm`, `tool` or `check`.
    pub(crate) kind: String,
    pub(crate) step: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) prompt_tokens: Option<f64>,
    pub(crate) cached_tokens: Option<f64>,
    pub(crate) completion_tokens: Option<f64>,
}

/// The engine's state over time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SeriesRow {
    pub(crate) arm: String,
    pub(crate) run: Option<f64>,
    pub(crate) sessions: Option<f64>,
    pub(crate) points: Vec<PointRow>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PointRow {
    pub(crate) at_s: f64,
    pub(crate) cells_used: f64,
    pub(crate) cells_total: f64,
    pub(crate) waiting: f64,
    pub(crate) running: f64,
    pub(crate) price: Option<f64>,
}

/// What nothing could be better than.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BoundRow {
    /// Of `collab`: each question given to the fastest arm that answers it no worse.
    pub(crate) f1: Option<f64>,
    pub(crate) speedup: Option<f64>,
}

/// The least time that an arm's work takes with its model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LeastRow {
    pub(crate) arm: String,
    pub(crate) sessions: Option<f64>,
    pub(crate) prefill_rate: f64,
    pub(crate) seconds: f64,
    pub(crate) speedup: f64,
}

/// A kind of step that both models have taken.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StepRow {
    pub(crate) arm: String,
    pub(crate) kind: String,
    pub(crate) steps: Option<f64>,
    pub(crate) same: Option<f64>,
    pub(crate) small_seconds: Option<f64>,
    pub(crate) large_seconds: Option<f64>,
    pub(crate) check_precision: Option<f64>,
    pub(crate) check_recall: Option<f64>,
}

/// Recordings replayed: of `compress`, or of `sam` where it has a `mode`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SetRow {
    pub(crate) set: String,
    pub(crate) arm: String,
    pub(crate) turns: Option<f64>,
    pub(crate) prompt_tokens_full: Option<f64>,
    pub(crate) prompt_tokens_served: Option<f64>,
    pub(crate) blocks: Option<f64>,
    pub(crate) used: Option<f64>,
    pub(crate) kept_share: Option<f64>,
    pub(crate) reachable_share: Option<f64>,
    pub(crate) distil_ms_p50: Option<f64>,
    pub(crate) mode: Option<String>,
    pub(crate) max_draft: Option<f64>,
    pub(crate) tokens: Option<f64>,
    pub(crate) drafted: Option<f64>,
    pub(crate) accepted: Option<f64>,
    pub(crate) ote: Option<f64>,
    pub(crate) shr: Option<f64>,
    pub(crate) drafted_per_step: Option<f64>,
    pub(crate) within_budget: Option<bool>,
    pub(crate) gain_by_peer: Option<f64>,
    pub(crate) draft_us_p50: Option<f64>,
    pub(crate) draft_us_p99: Option<f64>,
    pub(crate) acceptance: Vec<AcceptanceRow>,
}

/// A scheduling policy on one workload.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PolicyRow {
    pub(crate) policy: String,
    pub(crate) trace: String,
    pub(crate) seed: Option<f64>,
    pub(crate) load: Option<f64>,
    pub(crate) pressure: Option<f64>,
    pub(crate) tool_latency: Option<f64>,
    pub(crate) completion_mean_s: Option<f64>,
    pub(crate) call_mean_s: Option<f64>,
    pub(crate) ttft_mean_s: Option<f64>,
    pub(crate) hit_rate: Option<f64>,
    pub(crate) recomputed_tokens: Option<f64>,
    pub(crate) slowdown_max: Option<f64>,
    pub(crate) throughput_tok_s: Option<f64>,
    pub(crate) plan_us_p99: Option<f64>,
}

/// A simulated workload played for real.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ValidationRow {
    pub(crate) policy: String,
    pub(crate) trace: String,
    pub(crate) load: Option<f64>,
    pub(crate) pressure: Option<f64>,
    pub(crate) simulated_s: Option<f64>,
    pub(crate) real_s: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) simulated_call_s: Option<f64>,
    pub(crate) real_call_s: Option<f64>,
    pub(crate) simulated_hit_rate: Option<f64>,
    pub(crate) real_hit_rate: Option<f64>,
}

/// An arm simulated with so many sessions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScaleRow {
    pub(crate) arm: String,
    pub(crate) pair: String,
    pub(crate) sessions: Option<f64>,
    pub(crate) task_seconds_mean: Option<f64>,
    pub(crate) tasks_per_hour: Option<f64>,
    pub(crate) ttft_mean_s: Option<f64>,
    pub(crate) hit_rate: Option<f64>,
    pub(crate) large: LoadRow,
    pub(crate) small: LoadRow,
    pub(crate) first_saturated: String,
    pub(crate) speedup: Option<f64>,
    pub(crate) throughput: Option<f64>,
}

/// What a tier did, as shares of the time.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadRow {
    pub(crate) busy_share: Option<f64>,
    pub(crate) cells_held_share: Option<f64>,
}

/// Where an arm saturates first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FirstRow {
    pub(crate) arm: String,
    pub(crate) sessions: Option<f64>,
    pub(crate) what: String,
    pub(crate) reason: String,
}

/// A case of `engine` by one program.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CaseRow {
    pub(crate) case: String,
    pub(crate) arm: String,
    pub(crate) unit: String,
    pub(crate) samples: Vec<f64>,
    pub(crate) median: Option<f64>,
}

/// What drafts brought on a real model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SpeculationRow {
    pub(crate) case: String,
    pub(crate) arm: String,
    pub(crate) decode_by_off: Option<f64>,
    pub(crate) end_to_end_by_off: Option<f64>,
    pub(crate) drafted_tokens: Option<f64>,
    pub(crate) accepted_tokens: Option<f64>,
    pub(crate) expected_accepted_tokens: Option<f64>,
    pub(crate) acceptance: Vec<AcceptanceRow>,
}

/// Drafted tokens of one source at one position of their drafts; 9 stands for all later ones, too.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AcceptanceRow {
    pub(crate) source: String,
    pub(crate) position: f64,
    pub(crate) drafted: f64,
    /// Of these, those whose predecessors were all accepted.
    pub(crate) tested: f64,
    pub(crate) accepted: f64,
}

impl Run {
    /// Reads a file.
    pub(crate) fn read(file: &RunFile<'_>) -> Result<Self, ReportError> {
        let name = || file.name.to_owned();
        let not_a_report = |reason: String| ReportError::NotAReport {
            file: name(),
            reason,
        };
        let mut run: Self =
            serde_json::from_str(file.text).map_err(|source| match source.classify() {
                Category::Data => not_a_report(source.to_string()),
                _ => ReportError::Json {
                    file: name(),
                    source,
                },
            })?;
        if run.bench.is_empty() {
            return Err(not_a_report("it has no `bench`".to_owned()));
        }
        if !BENCHES.contains(&run.bench.as_str()) {
            return Err(ReportError::UnknownBench {
                file: name(),
                bench: run.bench,
                known: BENCHES.join(", "),
            });
        }
        run.results = run
            .read
            .take()
            .ok_or_else(|| not_a_report("it has no `results`".to_owned()))?;
        run.file = name();
        run.complete();
        Ok(run)
    }

    /// Fills in how many sessions ran at a time where older files only have it in the command.
    fn complete(&mut self) {
        let known = match self.bench.as_str() {
            "collab" => Some(1.0),
            _ => self.option("--sessions").and_then(|it| it.parse().ok()),
        };
        let results = &mut self.results;
        let arms = results.arms.iter_mut().map(|row| &mut row.sessions);
        let tasks = results.tasks.iter_mut().map(|row| &mut row.sessions);
        for sessions in arms.chain(tasks) {
            *sessions = sessions.or(known);
        }
    }

    /// The value of an option of its command.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let mut words = self.command.split_whitespace();
        words.find(|word| *word == name)?;
        words.next()
    }

    /// Its machine in words; empty where it is not known.
    pub(crate) fn machine_line(&self) -> String {
        const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
        let machine = &self.machine;
        let cores = machine.cores.map(|cores| format!("{cores} cores"));
        let memory = machine.memory_bytes.filter(|bytes| *bytes > 0.0);
        let memory = memory.map(|bytes| format!("{:.1} GiB", bytes / GIB));
        let parts = [
            Some(machine.cpu.clone()),
            cores,
            memory,
            Some(machine.os.clone()),
        ];
        let parts = parts.into_iter().flatten().filter(|it| !it.is_empty());
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Its models, by role or name: file names and sizes.
    pub(crate) fn models_line(&self) -> String {
        let models = self.models.iter().map(|(name, model)| {
            let path = model.path.rsplit(['/', '\\']).next().unwrap_or("");
            let bytes = model.bytes.map(|bytes| format!(", {:.2} GB", bytes / 1e9));
            format!("{name}: {path}{}", bytes.unwrap_or_default())
        });
        models.collect::<Vec<_>>().join("; ")
    }
}
