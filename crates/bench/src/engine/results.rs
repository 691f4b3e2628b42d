//! From samples to medians, ratios and a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agentinfer_engine::StatsSnapshot;
use serde::Serialize;

use super::Case;
use super::speculation::{self, FULL, SpeculationRow, SpokenResult};

/// The arm that is ours.
pub(super) const OURS: &str = "agentinfer";

/// All that was measured: `results` of the report.
#[derive(Clone, Debug, Serialize)]
pub struct EngineBenchResults {
    /// Threads that every arm computed with.
    pub threads: u32,
    /// One entry per case and arm.
    pub cases: Vec<CaseResult>,
    /// Ours by the best peer, turned round for times: more than 1 is better, always.
    pub ratios: BTreeMap<Case, f64>,
    /// Our settings of speculation by `off`.
    pub speculation: Vec<SpeculationRow>,
    /// Where the time of our engine's steps goes; absent without `decode_1` and `chats_8`.
    pub engine: Option<EngineShares>,
    /// The largest share of one core that a server used while another one was measured.
    pub idle_cpu: BTreeMap<String, f64>,
    /// The command lines of what was measured, by arm.
    pub commands: BTreeMap<String, String>,
}

/// The samples of one arm in one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// What was measured.
    pub arm: String,
    /// The unit of the samples.
    pub unit: &'static str,
    /// One per run, without the warm-up.
    pub samples: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// Prompt tokens of the samples' requests, where a server counted them.
    pub prompt_tokens: u64,
    /// Of these, not computed again.
    pub cached_tokens: u64,
    /// More about cases of speculation, whose samples are speeds of decoding.
    #[serde(flatten)]
    pub spoken: Option<SpokenResult>,
}

/// Where the time of our engine's steps goes.
#[derive(Clone, Debug, Serialize)]
pub struct EngineShares {
    /// The largest [`Shares::bookkeeping_share`] of the loads.
    pub bookkeeping_share: f64,
    /// The largest [`Shares::sampling_share`] of the loads.
    pub sampling_share: f64,
    /// By load: `decode_1`, and `chats_8` in process.
    pub loads: BTreeMap<Case, Shares>,
}

/// Parts of step time, 0 to 1.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shares {
    /// Neither the model nor sampling: the engine's own work.
    pub bookkeeping_share: f64,
    /// Choosing tokens.
    pub sampling_share: f64,
}

impl Shares {
    pub(super) fn of(stats: &StatsSnapshot) -> Self {
        let sampling = stats.sampling_nanoseconds as f64;
        Self {
            bookkeeping_share: stats.bookkeeping_share(),
            sampling_share: sampling / (stats.step_nanoseconds as f64).max(1.0),
        }
    }
}

impl EngineShares {
    /// Of several loads; absent when there is none.
    pub(super) fn new(loads: BTreeMap<Case, Shares>) -> Option<Self> {
        let largest = |share: fn(&Shares) -> f64| loads.values().map(share).reduce(f64::max);
        Some(Self {
            bookkeeping_share: largest(|shares| shares.bookkeeping_share)?,
            sampling_share: largest(|shares| shares.sampling_share)?,
            loads,
        })
    }
}

/// The middle of `samples`; the mean of the two in the middle when their number is even.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Ours by the best peer of every case that has one; ours with all drafts where settings of
/// speculation are compared.
pub(super) fn ratios(cases: &[CaseResult]) -> BTreeMap<Case, f64> {
    let ours = cases
        .iter()
        .filter(|result| [OURS, FULL].contains(&result.arm.as_str()));
    let ratio = |ours: &CaseResult| {
        let peers = cases
            .iter()
            .filter(|result| result.case == ours.case && !result.arm.starts_with(OURS));
        let ratio = |peer: &CaseResult| match ours.case.more_is_better() {
            true => ours.median / peer.median,
            false => peer.median / ours.median,
        };
        Some((ours.case, peers.map(ratio).reduce(f64::min)?))
    };
    ours.filter_map(ratio).collect()
}

impl EngineBenchResults {
    /// The results as a table for people.
    pub fn table(&self) -> String {
        let widest = self.cases.iter().map(|result| result.arm.len()).max();
        let width = widest.unwrap_or_default();
        let mut table = format!(
            "{:<14} {:<width$} {:>10} {:>10} {:>10}  unit\n",
            "case", "arm", "median", "least", "most"
        );
        for result in &self.cases {
            let samples = || result.samples.iter().copied();
            let least = samples().fold(f64::INFINITY, f64::min);
            let most = samples().fold(f64::NEG_INFINITY, f64::max);
            // Writing to a String cannot fail.
            let _ = writeln!(
                table,
                "{:<14} {:<width$} {:>10.3} {least:>10.3} {most:>10.3}  {}",
                result.case.name(),
                result.arm,
                result.median,
                result.unit,
            );
        }
        if !self.ratios.is_empty() {
            table.push_str("\nours by the best peer (more than 1 is better)\n");
        }
        for (case, ratio) in &self.ratios {
            let _ = writeln!(table, "{:<14} {ratio:.3}", case.name());
        }
        if let Some(engine) = &self.engine {
            table.push_str("\nshare of the engine's step time\n");
            let _ = writeln!(
                table,
                "bookkeeping    {:.3} %",
                engine.bookkeeping_share * 100.0
            );
            let _ = writeln!(
                table,
                "sampling       {:.3} %",
                engine.sampling_share * 100.0
            );
        }
        table += &speculation::table(&self.cases, &self.speculation);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(case: Case, arm: &str, samples: &[f64]) -> CaseResult {
        CaseResult {
            case,
            arm: arm.to_owned(),
            unit: case.unit(),
            samples: samples.to_vec(),
            median: median(samples),
            prompt_tokens: 0,
            cached_tokens: 0,
            spoken: None,
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        for (samples, expected) in [
            (&[3.0][..], 3.0),
            (&[5.0, 1.0, 3.0], 3.0),
            (&[4.0, 1.0, 3.0, 100.0], 3.5),
        ] {
            assert_eq!(median(samples), expected, "{samples:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_compare_with_the_best_peer_and_favour_more() {
        let cases = [
            result(Case::Chats4, OURS, &[30.0]),
            result(Case::Chats4, "llama-server", &[20.0]),
            result(Case::Chats4, "llama-server:cache-ram=0", &[25.0]),
            result(Case::TtftResident, OURS, &[0.2]),
            result(Case::TtftResident, "llama-server", &[0.3]),
            result(Case::TtftResident, "llama-server:cache-ram=0", &[0.5]),
            result(Case::Decode1, OURS, &[9.0]),
            result(Case::SpecAgent1, "agentinfer:spec=off", &[5.0]),
            result(Case::SpecAgent1, FULL, &[8.0]),
            result(Case::SpecAgent1, "llama-server", &[4.0]),
            result(Case::SpecNovel1, "agentinfer:spec=off", &[5.0]),
            result(Case::SpecNovel1, FULL, &[5.0]),
        ];
        let ratios = ratios(&cases);
        assert_eq!(ratios.len(), 3, "no peer, no ratio");
        assert_eq!(ratios[&Case::SpecAgent1], 2.0);
        assert!((ratios[&Case::Chats4] - 1.2).abs() < 1e-12);
        assert!((ratios[&Case::TtftResident] - 1.5).abs() < 1e-12);
    }

    #[test]
    fn json_has_the_documented_keys_and_the_table_all_numbers() {
        let stats = StatsSnapshot {
            step_nanoseconds: 1000,
            forward_nanoseconds: 980,
            sampling_nanoseconds: 15,
            ..StatsSnapshot::default()
        };
        let cases = vec![
            result(Case::Decode1, OURS, &[10.0, 12.0, 11.0]),
            result(Case::Decode1, "llama-bench", &[10.0]),
        ];
        let results = EngineBenchResults {
            threads: 2,
            ratios: ratios(&cases),
            speculation: Vec::new(),
            cases,
            engine: EngineShares::new([(Case::Decode1, Shares::of(&stats))].into()),
            idle_cpu: BTreeMap::new(),
            commands: BTreeMap::new(),
        };
        let json = serde_json::to_value(&results).unwrap();
        let first = &json["cases"][0];
        assert_eq!(first["case"], "decode_1");
        assert_eq!(first["arm"], "agentinfer");
        assert_eq!(first["unit"], "tok/s");
        assert_eq!(first["samples"], serde_json::json!([10.0, 12.0, 11.0]));
        assert_eq!(first["median"], 11.0);
        assert_eq!(json["ratios"], serde_json::json!({"decode_1": 1.1}));
        assert_eq!(json["engine"]["bookkeeping_share"], 0.005);
        assert_eq!(json["engine"]["sampling_share"], 0.015);
        let table = results.table();
        for number in ["11.000", "10.000", "12.000", "1.100", "0.500 %", "1.500 %"] {
            assert!(table.contains(number), "{number} in\n{table}");
        }
    }
}
