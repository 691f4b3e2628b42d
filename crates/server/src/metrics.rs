//! `/metrics`: what the server counts itself, and what the engines report, as Prometheus text.
//!
//! The recorder belongs to the server and is not the process's global one, so two servers in one
//! process (as in tests) do not mix their numbers.

use std::time::Duration;

use agentinfer_runtime::{
    Acceptance, AutoStats, BreakerState, CompressStats, CorpusStats, RemoteStats, Runtime,
    StoreStats, Tier, TierStats,
};
use axum::http::StatusCode;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

const REQUESTS: &str = "agentinfer_requests_total";
const REJECTED: &str = "agentinfer_requests_rejected_total";
const CANCELLED: &str = "agentinfer_requests_cancelled_total";
const IN_FLIGHT: &str = "agentinfer_requests_in_flight";
const TTFT: &str = "agentinfer_ttft_seconds";
const E2E: &str = "agentinfer_e2e_seconds";

/// Seconds: from a resident prefix on a GPU to a long prompt on a CPU.
const TTFT_BUCKETS: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

/// Seconds: from `/health` to a long answer on a CPU.
const E2E_BUCKETS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0,
];

/// The server's metrics.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(TTFT.to_owned()), &TTFT_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full(E2E.to_owned()), &E2E_BUCKETS)
            })
            .expect("the buckets are not empty")
            .build_recorder();
        metrics::with_local_recorder(&recorder, describe);
        Self { recorder }
    }

    /// A request arrived.
    pub(crate) fn request_started(&self) {
        self.record(|| gauge!(IN_FLIGHT).increment(1));
    }

    /// A request ended: with a status that was delivered, or because the client left.
    pub(crate) fn request_ended(&self, route: &str, status: Option<StatusCode>, took: Duration) {
        let route = route.to_owned();
        self.record(|| {
            gauge!(IN_FLIGHT).decrement(1);
            histogram!(E2E, "route" => route.clone()).record(took);
            match status {
                Some(status) => {
                    let status = status.as_u16().to_string();
                    counter!(REQUESTS, "route" => route, "status" => status).increment(1);
                }
                None => counter!(CANCELLED, "route" => route).increment(1),
            }
        });
    }

    /// A request was refused, or failed, for this reason (a code of the error body).
    pub(crate) fn rejected(&self, reason: &str) {
        let reason = reason.to_owned();
        self.record(|| counter!(REJECTED, "reason" => reason).increment(1));
    }

    /// The first chunk of a stream was ready.
    pub(crate) fn first_token(&self, route: &'static str, after: Duration) {
        self.record(|| histogram!(TTFT, "route" => route).record(after));
    }

    /// Moves histogram samples from their queue into the buckets. Without it they would pile up
    /// in a server whose metrics nobody reads.
    pub(crate) fn settle(&self) {
        self.recorder.handle().run_upkeep();
    }

    /// The text for Prometheus.
    pub(crate) fn render(&self, runtime: &Runtime) -> String {
        let corpus = runtime.corpus_stats();
        let corpus = corpus.map_or_else(String::new, corpus_text);
        let auto = runtime.auto_stats();
        let auto = auto.map_or_else(String::new, |auto| auto_text(&auto));
        let tiers = runtime.stats();
        let engines = engine_text(&tiers) + &draft_text(tiers.iter().map(drafts));
        let remotes = remote_text(&runtime.remote_stats());
        let compress = compress_text(&runtime.compress_stats());
        let memory = runtime.store_stats();
        let memory = memory.map_or_else(String::new, memory_text);
        let text = self.recorder.handle().render() + &engines + &remotes + &corpus + &auto;
        text + &compress + &memory
    }

    fn record(&self, change: impl FnOnce()) {
        metrics::with_local_recorder(&self.recorder, change);
    }
}

fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by route and status.");
    describe_counter!(
        REJECTED,
        "Requests refused or failed, by code of the error."
    );
    describe_counter!(
        CANCELLED,
        "Requests whose client left before the answer's end, by route."
    );
    describe_gauge!(IN_FLIGHT, "Requests in work now.");
    describe_histogram!(
        TTFT,
        "Seconds from a streamed request to its first text or tool call."
    );
    describe_histogram!(E2E, "Seconds from a request to the end of its answer.");
}

/// What rises and falls; all else in a tier's statistics only grows.
const GAUGES: [&str; 10] = [
    "waiting",
    "running",
    "cells_total",
    "cells_used",
    "cells_idle",
    "offload_host_bytes",
    "offload_disk_bytes",
    "resident_sequences",
    "sessions",
    "conversations",
];

/// Every statistic of every engine, so that one added there shows here. Written as text because
/// seconds are fractions, and the counters of `metrics` are integers.
fn engine_text(tiers: &[TierStats]) -> String {
    let row = |tier: &TierStats| (labels(tier.tier, &tier.model), samples(tier));
    rows_text("engine", &tiers.iter().map(row).collect::<Vec<_>>())
}

/// What became of drafted tokens, by where they came from and by their position in their draft.
/// Each is counted once, so sums over any labels are counts too.
fn draft_text(tiers: impl Iterator<Item = (String, Acceptance)>) -> String {
    const NAME: &str = "agentinfer_engine_draft_tokens_total";
    let mut samples = String::new();
    for (labels, acceptance) in tiers {
        for (source, position, tally) in acceptance.tallies() {
            // The counters are read one after another, while they grow.
            let tested = tally
                .tested
                .clamp(tally.accepted, tally.drafted.max(tally.accepted));
            let outcomes = [
                ("accepted", tally.accepted),
                ("rejected", tested - tally.accepted),
                ("untested", tally.drafted.saturating_sub(tested)),
            ];
            let source = source.as_str();
            let later = if position == Acceptance::LAST {
                "+"
            } else {
                ""
            };
            for (outcome, count) in outcomes {
                samples += &format!(
                    "{NAME}{{{labels},source=\"{source}\",position=\"{position}{later}\",\
                     outcome=\"{outcome}\"}} {count}\n"
                );
            }
        }
    }
    match samples.is_empty() {
        true => samples,
        false => format!("# TYPE {NAME} counter\n{samples}"),
    }
}

/// A tier's labels, and what became of its drafts.
fn drafts(tier: &TierStats) -> (String, Acceptance) {
    (labels(tier.tier, &tier.model), tier.engine.acceptance)
}

/// What was passed on to other servers.
fn remote_text(remotes: &[RemoteStats]) -> String {
    let breaker = |remote: &RemoteStats| match remote.breaker {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    };
    let row = |remote: &RemoteStats| {
        let samples = [
            ("requests_total", "counter", remote.requests),
            ("retries_total", "counter", remote.retries),
            ("failures_total", "counter", remote.failures),
            ("running", "gauge", remote.running),
            ("breaker", "gauge", breaker(remote)),
        ];
        let sample = |(name, kind, value): (&str, _, u64)| (name.to_owned(), kind, value as f64);
        let samples = samples.into_iter().map(sample).collect();
        (labels(remote.tier, &remote.model), samples)
    };
    rows_text("remote", &remotes.iter().map(row).collect::<Vec<_>>())
}

/// The samples of several tiers, each with its labels and with the same names in the same order.
fn rows_text(group: &str, rows: &[(String, Vec<Sample>)]) -> String {
    let mut text = String::new();
    // The samples of one metric must stand together, whichever tier they are of.
    for index in 0..rows.first().map_or(0, |(_, samples)| samples.len()) {
        let (name, kind, _) = &rows[0].1[index];
        text += &format!("# TYPE agentinfer_{group}_{name} {kind}\n");
        for (labels, samples) in rows {
            let value = samples[index].2;
            text += &format!("agentinfer_{group}_{name}{{{labels}}} {value}\n");
        }
    }
    text
}

/// What is kept of past sessions for drafts.
fn corpus_text(corpus: CorpusStats) -> String {
    let CorpusStats {
        indexed,
        dropped,
        damaged,
        evicted,
        bytes,
    } = corpus;
    let samples = [
        ("sessions_indexed_total", "counter", indexed),
        ("sessions_dropped_total", "counter", dropped),
        ("files_damaged_total", "counter", damaged),
        ("files_evicted_total", "counter", evicted),
        ("bytes", "gauge", bytes),
    ];
    samples.map(|sample| line("corpus", sample)).concat()
}

/// What is kept of sessions.
fn memory_text(stats: StoreStats) -> String {
    let samples = [
        ("sessions", "gauge", stats.sessions),
        ("turns", "gauge", stats.turns),
        ("bytes", "gauge", stats.bytes),
        ("written_total", "counter", stats.written),
        ("dropped_total", "counter", stats.dropped),
        ("failed_total", "counter", stats.failed),
        ("evicted_total", "counter", stats.evicted),
    ];
    samples.map(|sample| line("memory", sample)).concat()
}

/// A sample without labels.
fn line(group: &str, (name, kind, value): (&str, &str, impl std::fmt::Display)) -> String {
    format!("# TYPE agentinfer_{group}_{name} {kind}\nagentinfer_{group}_{name} {value}\n")
}

/// What the model `auto` has chosen, and what that has cost.
fn auto_text(auto: &AutoStats) -> String {
    let mut text = String::from("# TYPE agentinfer_auto_steps_total counter\n");
    for ((tier, reason), count) in &auto.steps {
        let labels = format!("tier=\"{tier}\",reason=\"{reason}\"");
        text += &format!("agentinfer_auto_steps_total{{{labels}}} {count}\n");
    }
    text += "# TYPE agentinfer_auto_fallbacks_total counter\n";
    for (tier, count) in &auto.fallbacks {
        text += &format!("agentinfer_auto_fallbacks_total{{tier=\"{tier}\"}} {count}\n");
    }
    text += "# TYPE agentinfer_auto_checks_total counter\n";
    for (outcome, count) in [
        ("true", auto.checks_true),
        ("false", auto.checks_false),
        ("malformed", auto.checks_malformed),
        ("late", auto.checks_late),
        ("refused", auto.checks_refused),
    ] {
        text += &format!("agentinfer_auto_checks_total{{outcome=\"{outcome}\"}} {count}\n");
    }
    for (name, count) in [
        ("checks_asked_total", auto.checks),
        ("switches_total", auto.switches),
        ("switch_prefill_tokens_total", auto.switch_prefill_tokens),
        ("prewarms_total", auto.prewarms),
        ("prewarms_cancelled_total", auto.prewarms_cancelled),
        ("prewarmed_tokens_total", auto.prewarmed_tokens),
    ] {
        text += &format!("# TYPE agentinfer_auto_{name} counter\nagentinfer_auto_{name} {count}\n");
    }
    if let Some((auc, steps)) = auto.auc {
        for (name, value) in [("auc", auc), ("steps", steps as f64)] {
            let name = format!("agentinfer_auto_competence_{name}");
            text += &format!("# TYPE {name} gauge\n{name} {value}\n");
        }
    }
    text
}

/// What was served of long conversations in another form.
fn compress_text(compress: &CompressStats) -> String {
    let counts = [
        ("views_total", compress.views),
        ("full_prompt_tokens_total", compress.full_tokens),
        ("served_prompt_tokens_total", compress.served_tokens),
        ("distilled_results_total", compress.distilled),
        ("original_tokens_total", compress.original_tokens),
        ("distilled_tokens_total", compress.block_tokens),
        ("rejected_total", compress.rejected),
        ("breakers_total", compress.breakers),
        ("swaps_total", compress.swaps),
        ("gave_up_total", compress.gave_up),
        ("fitted_total", compress.fitted),
        ("recalls_total", compress.recalls),
        ("recall_misses_total", compress.recall_misses),
    ];
    let counts = counts.map(|(name, count)| line("compress", (name, "counter", count)));
    let stall = ("stall_seconds_total", "counter", compress.stall_seconds);
    counts.concat() + &line("compress", stall)
}

/// Name, kind and value.
type Sample = (String, &'static str, f64);

fn samples(tier: &TierStats) -> Vec<Sample> {
    let engine = &tier.engine;
    let bookkeeping = engine.step_nanoseconds as f64 * engine.bookkeeping_share();
    let entries = engine.entries().map(|(name, value)| (name, value as f64));
    let more = [
        ("bookkeeping_nanoseconds", bookkeeping),
        ("sessions", tier.sessions as f64),
        ("conversations", tier.conversations.conversations as f64),
        ("reused_prompt_tokens", tier.reused_prompt_tokens as f64),
        (
            "tokenized_prompt_tokens",
            tier.tokenized_prompt_tokens as f64,
        ),
    ];
    let sample = |(name, value): (&str, f64)| match name.strip_suffix("_nanoseconds") {
        Some(name) => (format!("{name}_seconds_total"), "counter", value * 1e-9),
        None if GAUGES.contains(&name) => (name.to_owned(), "gauge", value),
        None => (format!("{name}_total"), "counter", value),
    };
    entries.chain(more).map(sample).collect()
}

fn labels(tier: Tier, model: &str) -> String {
    // The characters that Prometheus asks to be escaped.
    let model = model
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n");
    format!("tier=\"{tier}\",model=\"{model}\"")
}

#[cfg(test)]
mod tests {
    use agentinfer_runtime::{DraftSource, Tally};

    use super::*;

    #[test]
    fn drafted_tokens_are_told_by_source_position_and_outcome() {
        let mut acceptance = Acceptance::default();
        let counts = [
            (DraftSource::Session, 1, [10, 9, 7]),
            (DraftSource::Forced, 9, [4, 0, 0]),
        ];
        for (source, position, [drafted, tested, accepted]) in counts {
            *acceptance.tally_mut(source, position) = Tally {
                drafted,
                tested,
                accepted,
            };
        }
        let tiers = [
            (labels(Tier::Small, "a \"b\""), Acceptance::default()),
            (labels(Tier::Large, "c"), acceptance),
        ];
        let text = draft_text(tiers.into_iter());
        let name = "agentinfer_engine_draft_tokens_total";
        let sample = |place: &str, outcome: &str, count: u64| {
            let labels = format!("tier=\"large\",model=\"c\",{place},outcome=\"{outcome}\"");
            format!("{name}{{{labels}}} {count}")
        };
        let (first, later) = (
            "source=\"session\",position=\"1\"",
            "source=\"forced\",position=\"9+\"",
        );
        let expected = [
            format!("# TYPE {name} counter"),
            sample(first, "accepted", 7),
            sample(first, "rejected", 2),
            sample(first, "untested", 1),
            sample(later, "accepted", 0),
            sample(later, "rejected", 0),
            sample(later, "untested", 4),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert_eq!(draft_text(std::iter::empty()), "");
    }
}
