//! Arms that take turns.

use agentinfer_engine::StatsSnapshot;

use super::Case;
use super::chats::ChatLoad;
use super::client::{Answer, Target};
use super::in_process::InProcess;
use super::llama_bench::LlamaBench;
use super::results::{CaseResult, OURS, median};
use super::speculation::{Spoken, SpokenResult};
use crate::BenchError;
use crate::servers::ServerProcess;

/// Processor time that a server may use while it is not measured, as a share of one core: a
/// tenth of what would show in the results.
const IDLE_CPU: f64 = 0.02;
/// Samples shorter than this say nothing about processor time, which is counted in hundredths.
const LONG_ENOUGH: f64 = 0.5;

/// One measured value.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) value: f64,
    pub(super) prompt_tokens: u64,
    pub(super) cached_tokens: u64,
    /// The counters of our engine, where it ran in process.
    pub(super) stats: Option<StatsSnapshot>,
    /// What else is counted where speculation is measured.
    pub(super) spoken: Option<Spoken>,
}

impl Sample {
    pub(super) fn new(value: f64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    pub(super) fn with_usage(mut self, answers: &[Answer]) -> Self {
        for Answer { usage, .. } in answers {
            let details = usage.prompt_tokens_details.as_ref();
            self.prompt_tokens += u64::from(usage.prompt_tokens);
            self.cached_tokens += details.map_or(0, |details| u64::from(details.cached_tokens));
        }
        self
    }
}

/// One of the things compared.
pub(super) enum Arm<'a> {
    InProcess(&'a InProcess),
    LlamaBench(&'a LlamaBench),
    Server(&'a ServerProcess, &'a ChatLoad),
}

impl Arm<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::InProcess(_) => OURS,
            Self::LlamaBench(bench) => bench.name(),
            Self::Server(server, _) => &server.arm,
        }
    }

    async fn sample(&self, case: Case, run: u32) -> Result<Sample, BenchError> {
        match self {
            Self::InProcess(engine) => engine.sample(case, case.seed(run)).await,
            Self::LlamaBench(bench) => bench.sample(case).await.map(Sample::new),
            Self::Server(server, load) => {
                let sample = load.sample(Target::from(*server), case, run).await;
                sample.map_err(|error| server.failure(&error.to_string()))
            }
        }
    }

    fn cpu_seconds(&self) -> Option<f64> {
        match self {
            Self::Server(server, _) => server.cpu_seconds(),
            Self::InProcess(_) | Self::LlamaBench(_) => None,
        }
    }
}

/// What came out of a case.
pub(super) struct Measured {
    /// One per arm.
    pub(super) results: Vec<CaseResult>,
    /// Our engine's counters, summed over the samples.
    pub(super) stats: StatsSnapshot,
    /// By server, the share of a core that it used while others were measured.
    pub(super) idle_cpu: Vec<(String, f64)>,
}

/// Measures a case: one warm-up that does not count, then `runs` runs.
pub(super) async fn measure(
    case: Case,
    arms: &[Arm<'_>],
    runs: u32,
    progress: &mut dyn FnMut(&str),
) -> Result<Measured, BenchError> {
    let mut samples: Vec<Vec<Sample>> = arms.iter().map(|_| Vec::new()).collect();
    let mut idle_cpu = vec![0.0_f64; arms.len()];
    for run in 0..=runs {
        for index in order(arms.len(), run) {
            let before: Vec<_> = arms.iter().map(Arm::cpu_seconds).collect();
            let begun = std::time::Instant::now();
            let sample = arms[index].sample(case, run).await?;
            let seconds = begun.elapsed().as_secs_f64();
            progress(&line(case, arms[index].name(), run, runs, &sample));
            if run == 0 {
                continue;
            }
            for (other, arm) in arms.iter().enumerate() {
                let used = before[other].zip(arm.cpu_seconds());
                if let Some((before, after)) = used
                    && other != index
                    && seconds >= LONG_ENOUGH
                {
                    idle_cpu[other] = idle_cpu[other].max((after - before) / seconds);
                }
            }
            samples[index].push(sample);
        }
    }
    let all = arms.iter().zip(&samples);
    let results = all.map(|(arm, samples)| result(case, arm.name(), samples));
    let seen = arms.iter().zip(idle_cpu);
    let seen = seen.filter(|(arm, _)| arm.cpu_seconds().is_some());
    let idle_cpu = seen.map(|(arm, share)| {
        if share > IDLE_CPU {
            progress(&warning(arm.name(), share));
        }
        (arm.name().to_owned(), share)
    });
    Ok(Measured {
        idle_cpu: idle_cpu.collect(),
        results: results.collect(),
        stats: sum(samples.iter().flatten().filter_map(|sample| sample.stats)),
    })
}

/// Every second run goes round the other way.
fn order(arms: usize, run: u32) -> Vec<usize> {
    match run % 2 {
        0 => (0..arms).collect(),
        _ => (0..arms).rev().collect(),
    }
}

fn line(case: Case, arm: &str, run: u32, runs: u32, sample: &Sample) -> String {
    let Sample {
        value,
        prompt_tokens,
        cached_tokens,
        ..
    } = sample;
    let which = match run {
        0 => "warm-up".to_owned(),
        _ => format!("run {run}/{runs}"),
    };
    let unit = case.unit();
    let mut line = format!("{case} {which}: {arm} {value:.3} {unit}");
    if *prompt_tokens > 0 {
        line += &format!(" ({cached_tokens} of {prompt_tokens} prompt tokens resident)");
    }
    line
}

fn warning(arm: &str, share: f64) -> String {
    let percent = share * 100.0;
    format!("note: {arm} used {percent:.1} % of a core while another arm was measured")
}

fn result(case: Case, arm: &str, samples: &[Sample]) -> CaseResult {
    let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    CaseResult {
        case,
        arm: arm.to_owned(),
        unit: case.unit(),
        median: median(&values),
        samples: values,
        prompt_tokens: samples.iter().map(|sample| sample.prompt_tokens).sum(),
        cached_tokens: samples.iter().map(|sample| sample.cached_tokens).sum(),
        spoken: SpokenResult::new(samples.iter().filter_map(|sample| sample.spoken)),
    }
}

/// The sum of the counters that shares of step time are made of.
fn sum(all: impl Iterator<Item = StatsSnapshot>) -> StatsSnapshot {
    all.fold(StatsSnapshot::default(), |sum, stats| StatsSnapshot {
        step_nanoseconds: sum.step_nanoseconds + stats.step_nanoseconds,
        forward_nanoseconds: sum.forward_nanoseconds + stats.forward_nanoseconds,
        sampling_nanoseconds: sum.sampling_nanoseconds + stats.sampling_nanoseconds,
        ..sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_has_its_turn_and_the_order_turns_round() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [2, 1, 0]);
        assert_eq!(order(1, 5), [0]);
    }

    #[test]
    fn progress_says_which_sample_it_is() {
        let sample = Sample {
            prompt_tokens: 1600,
            cached_tokens: 1580,
            ..Sample::new(0.25)
        };
        assert_eq!(
            line(Case::TtftResident, "llama-server", 2, 5, &sample),
            "ttft_resident run 2/5: llama-server 0.250 s (1580 of 1600 prompt tokens resident)"
        );
        let line = line(Case::Decode1, OURS, 0, 5, &Sample::new(30.0));
        assert_eq!(line, "decode_1 warm-up: agentinfer 30.000 tok/s");
    }

    #[test]
    fn results_keep_order_and_sum_tokens() {
        let sample = |value| Sample {
            prompt_tokens: 10,
            cached_tokens: 4,
            ..Sample::new(value)
        };
        let result = result(Case::Chats4, OURS, &[sample(3.0), sample(1.0), sample(2.0)]);
        assert_eq!(result.samples, [3.0, 1.0, 2.0]);
        assert_eq!(result.median, 2.0);
        assert_eq!((result.prompt_tokens, result.cached_tokens), (30, 12));
    }
}
