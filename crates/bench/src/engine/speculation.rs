//! What speculation brought, beside what was expected of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agentinfer_sam::Acceptance;
use serde::Serialize;

use super::Case;
use super::client::Timings;
use super::results::{CaseResult, OURS, median};
use crate::acceptance;

/// The arms that are ours, with their `--spec`: no drafts, from the same session, from past
/// sessions too.
pub(super) const SETTINGS: [(&str, &str); 3] = [
    (OFF, "off"),
    ("agentinfer:spec=session", "session"),
    (FULL, "full"),
];
const OFF: &str = "agentinfer:spec=off";
/// The arm that is compared with peers.
pub(super) const FULL: &str = "agentinfer:spec=full";

/// What was drafted, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Drafts {
    /// Tokens that were drafted and verified.
    pub drafted_tokens: u64,
    /// Of these, accepted.
    pub accepted_tokens: u64,
    /// How many our cost model expected to be accepted; absent in peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_accepted_tokens: Option<u64>,
    /// Seconds of our forward passes that only decoded; absent in peers, 0 without speculation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_seconds: Option<f64>,
    /// How many seconds our cost model expected these to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_decode_seconds: Option<f64>,
    /// Both by source and position; absent in peers, and where nothing was drafted.
    #[serde(with = "acceptance", skip_serializing_if = "Acceptance::is_empty")]
    pub acceptance: Acceptance,
}

impl Drafts {
    /// Our counters in the Prometheus text of `/metrics`, summed over tiers.
    pub(super) fn of_metrics(text: &str) -> Self {
        let total = |name: &str| {
            let value = |line: &str| {
                let rest = line.strip_prefix("agentinfer_engine_")?;
                let rest = rest.strip_prefix(name)?;
                // Labels may hold spaces; the value is what comes after the last one.
                let (_, value) = rest.strip_prefix("_total{")?.rsplit_once(' ')?;
                value.parse::<f64>().ok()
            };
            text.lines().filter_map(value).sum::<f64>()
        };
        Self {
            drafted_tokens: total("drafted_tokens") as u64,
            accepted_tokens: total("accepted_tokens") as u64,
            expected_accepted_tokens: Some(total("expected_accepted_tokens") as u64),
            decode_seconds: Some(total("decode_seconds")),
            expected_decode_seconds: Some(total("expected_decode_seconds")),
            acceptance: acceptance::of_metrics(text),
        }
    }

    /// The sum of what llama-server says of each answer.
    pub(super) fn of_timings(all: impl Iterator<Item = Timings>) -> Self {
        all.fold(Self::default(), |sum, timings| Self {
            drafted_tokens: sum.drafted_tokens + timings.draft_n,
            accepted_tokens: sum.accepted_tokens + timings.draft_n_accepted,
            ..sum
        })
    }

    /// What has been counted since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |a: Option<f64>, b: Option<f64>| Some(a? - b.unwrap_or(0.0));
        let fewer = |a: u64, b: u64| a.saturating_sub(b);
        let expected = before.expected_accepted_tokens.unwrap_or(0);
        Self {
            drafted_tokens: fewer(self.drafted_tokens, before.drafted_tokens),
            accepted_tokens: fewer(self.accepted_tokens, before.accepted_tokens),
            expected_accepted_tokens: self
                .expected_accepted_tokens
                .map(|tokens| fewer(tokens, expected)),
            decode_seconds: less(self.decode_seconds, before.decode_seconds),
            expected_decode_seconds: less(
                self.expected_decode_seconds,
                before.expected_decode_seconds,
            ),
            acceptance: self.acceptance.since(&before.acceptance),
        }
    }

    fn plus(&self, other: &Self) -> Self {
        let sum = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        let expected = (
            self.expected_accepted_tokens,
            other.expected_accepted_tokens,
        );
        Self {
            drafted_tokens: self.drafted_tokens + other.drafted_tokens,
            accepted_tokens: self.accepted_tokens + other.accepted_tokens,
            expected_accepted_tokens: expected.0.zip(expected.1).map(|(a, b)| a + b),
            decode_seconds: sum(self.decode_seconds, other.decode_seconds),
            expected_decode_seconds: sum(
                self.expected_decode_seconds,
                other.expected_decode_seconds,
            ),
            acceptance: self.acceptance.plus(&other.acceptance),
        }
    }
}

/// One sample, beside its speed of decoding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spoken {
    /// Generated tokens by the time from the first request to the last answer's end.
    pub(super) tokens_per_second: f64,
    pub(super) generated_tokens: u64,
    pub(super) drafts: Drafts,
}

/// What a case about speculation adds to its speed of decoding.
#[derive(Clone, Debug, Serialize)]
pub struct SpokenResult {
    /// By run, generated tokens per second from the first request to the last answer's end,
    /// prefill included.
    pub end_to_end_samples: Vec<f64>,
    /// Their median.
    pub end_to_end_median: f64,
    /// Tokens generated in all runs.
    pub generated_tokens: u64,
    /// Drafts of all runs.
    #[serde(flatten)]
    pub drafts: Drafts,
}

impl SpokenResult {
    /// Of an arm's samples; absent where there is none.
    pub(super) fn new(samples: impl Iterator<Item = Spoken>) -> Option<Self> {
        let samples: Vec<Spoken> = samples.collect();
        let drafts = samples.iter().map(|sample| sample.drafts);
        let drafts = drafts.reduce(|sum, drafts| sum.plus(&drafts))?;
        let end_to_end: Vec<f64> = samples
            .iter()
            .map(|sample| sample.tokens_per_second)
            .collect();
        Some(Self {
            end_to_end_median: median(&end_to_end),
            end_to_end_samples: end_to_end,
            generated_tokens: samples.iter().map(|sample| sample.generated_tokens).sum(),
            drafts,
        })
    }
}

/// A setting of ours by the same server without speculation.
#[derive(Clone, Debug, Serialize)]
pub struct SpeculationRow {
    /// The case.
    pub case: Case,
    /// The arm, `agentinfer:spec=SETTING`.
    pub arm: String,
    /// Speed of decoding by that of `agentinfer:spec=off`: the median of the runs' ratios.
    pub decode_by_off: f64,
    /// The same of the speed from request to end.
    pub end_to_end_by_off: f64,
    /// What was drafted, and what the cost model expected, beside what came.
    #[serde(flatten)]
    pub drafts: Drafts,
}

/// Our settings by `off`, in the order of the cases.
pub(super) fn speculation(cases: &[CaseResult]) -> Vec<SpeculationRow> {
    let row = |result: &CaseResult| {
        let alike = |off: &&CaseResult| off.case == result.case && off.arm == OFF;
        let off = cases.iter().find(alike)?;
        let (spoken, without) = (result.spoken.as_ref()?, off.spoken.as_ref()?);
        let ours = result.arm != OFF && result.arm.starts_with(OURS);
        ours.then(|| SpeculationRow {
            case: result.case,
            arm: result.arm.clone(),
            decode_by_off: paired(&result.samples, &off.samples),
            end_to_end_by_off: paired(&spoken.end_to_end_samples, &without.end_to_end_samples),
            drafts: spoken.drafts,
        })
    };
    cases.iter().filter_map(row).collect()
}

/// The median of the runs' ratios: a disturbance that lasts for a whole run does not show.
fn paired(samples: &[f64], off: &[f64]) -> f64 {
    let ratios: Vec<f64> = samples.iter().zip(off).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// The part of the table for people that is about drafts; empty where none were measured.
pub(super) fn table(cases: &[CaseResult], rows: &[SpeculationRow]) -> String {
    let spoken: Vec<_> = cases
        .iter()
        .filter_map(|result| Some((result, result.spoken.as_ref()?)))
        .collect();
    let widest = spoken.iter().map(|(result, _)| result.arm.len()).max();
    let Some(width) = widest else {
        return String::new();
    };
    let by_arm: BTreeMap<_, _> = rows.iter().map(|row| ((row.case, &row.arm), row)).collect();
    let mut table = format!(
        "\n{:<14} {:<width$} {:>10} {:>8} {:>8} {:>8} {:>9} {:>9}  by off\n",
        "case", "arm", "end to end", "drafted", "accepted", "expected", "decode s", "expected"
    );
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    for (result, spoken) in spoken {
        let drafts = spoken.drafts;
        let expected = drafts.expected_accepted_tokens;
        let row = by_arm.get(&(result.case, &result.arm));
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "{:<14} {:<width$} {:>10.3} {:>8} {:>8} {:>8} {:>9} {:>9}  {}",
            result.case.name(),
            result.arm,
            spoken.end_to_end_median,
            drafts.drafted_tokens,
            drafts.accepted_tokens,
            expected.map_or_else(String::new, |tokens| tokens.to_string()),
            number(drafts.decode_seconds),
            number(drafts.expected_decode_seconds),
            number(row.map(|row| row.decode_by_off)),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const METRICS: &str = r#"# TYPE agentinfer_engine_drafted_tokens_total counter
agentinfer_engine_drafted_tokens_total{tier="large",model="a b"} 40
agentinfer_engine_accepted_tokens_total{tier="large",model="a b"} 30
agentinfer_engine_expected_accepted_tokens_total{tier="large",model="a b"} 28
agentinfer_engine_decode_seconds_total{tier="small",model="c"} 0.5
agentinfer_engine_decode_seconds_total{tier="large",model="a b"} 1.25
agentinfer_engine_expected_decode_seconds_total{tier="large",model="a b"} 1.5
agentinfer_engine_draft_tokens_total{tier="large",model="a b",source="corpus",position="2",outcome="accepted"} 30
agentinfer_engine_draft_tokens_total{tier="large",model="a b",source="corpus",position="2",outcome="untested"} 10
agentinfer_requests_total{route="chat"} 7
"#;

    fn drafts() -> Drafts {
        Drafts {
            drafted_tokens: 40,
            accepted_tokens: 30,
            expected_accepted_tokens: Some(28),
            decode_seconds: Some(1.75),
            expected_decode_seconds: Some(1.5),
            acceptance: acceptance::of_metrics(METRICS),
        }
    }

    #[test]
    fn counters_are_read_by_their_whole_names_and_over_all_tiers() {
        assert_eq!(Drafts::of_metrics(METRICS), drafts());
        assert_eq!(Drafts::of_metrics("").drafted_tokens, 0);
        let total = drafts().acceptance.total();
        assert_eq!((total.drafted, total.accepted), (40, 30));
    }

    #[test]
    fn counters_since_a_moment_and_over_runs() {
        let none = Drafts::of_metrics("");
        assert_eq!(drafts().since(&none), drafts());
        assert_eq!(drafts().since(&drafts()), none);
        assert_eq!(drafts().plus(&drafts()).since(&drafts()), drafts());
        let timings = |draft_n, draft_n_accepted| Timings {
            draft_n,
            draft_n_accepted,
        };
        let peer = Drafts::of_timings([timings(5, 3), timings(2, 1)].into_iter());
        assert_eq!((peer.drafted_tokens, peer.accepted_tokens), (7, 4));
        assert_eq!(peer.expected_accepted_tokens, None);
    }

    fn result(case: Case, arm: &str, samples: &[f64]) -> CaseResult {
        let spoken = samples.iter().map(|&value| Spoken {
            tokens_per_second: value / 2.0,
            generated_tokens: 100,
            drafts: drafts(),
        });
        CaseResult {
            case,
            arm: arm.to_owned(),
            unit: case.unit(),
            samples: samples.to_vec(),
            median: median(samples),
            prompt_tokens: 0,
            cached_tokens: 0,
            spoken: SpokenResult::new(spoken),
        }
    }

    #[test]
    fn settings_are_compared_with_off_run_by_run() {
        let cases = [
            result(Case::SpecAgent1, OFF, &[10.0, 5.0, 10.0]),
            result(Case::SpecAgent1, FULL, &[20.0, 15.0, 12.0]),
            result(Case::SpecAgent1, "llama-server", &[30.0, 30.0, 30.0]),
            result(Case::SpecNovel1, FULL, &[9.0]),
        ];
        let rows = speculation(&cases);
        assert_eq!(rows.len(), 1, "only what can be compared: {rows:?}");
        let row = &rows[0];
        assert_eq!((row.case, row.arm.as_str()), (Case::SpecAgent1, FULL));
        assert_eq!((row.decode_by_off, row.end_to_end_by_off), (2.0, 2.0));
        assert_eq!(row.drafts.drafted_tokens, 120);
        let json = serde_json::to_value(row).unwrap();
        assert_eq!(json["expected_accepted_tokens"], 84);
        assert_eq!(json["decode_seconds"], 5.25);
        let row = json!({"source": "corpus", "position": 2, "drafted": 120, "tested": 90,
            "accepted": 90});
        assert_eq!(json["acceptance"], json!([row]));
        let table = table(&cases, &rows);
        for part in ["7.500", "120", "5.25", "4.50", "  2.00\n"] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        assert_eq!(super::table(&[], &[]), "");
    }
}
