//! What our server says of itself while it is measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentinfer_protocol::ui::Overview;
use agentinfer_sam::Acceptance;

use super::rows::{Counted, Machine, Point, Tokens};
use crate::acceptance;

/// Time between two looks: many to a question, and each costs the server less than a millisecond.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for what a server does after its last answer: a view of a long conversation is
/// prefilled in about a minute on two cores.
const SETTLED: Duration = Duration::from_secs(120);

/// Points of a block that are kept. Of a longer one every second is left out, again and again.
const MOST_POINTS: usize = 600;

/// Counters at one moment, over all tiers, by their names without the prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    sums: BTreeMap<String, f64>,
    acceptance: Acceptance,
}

impl Counters {
    /// Reads the text of `/metrics`.
    fn parse(text: &str) -> Self {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("agentinfer_") else {
                continue;
            };
            let name = rest.split(['{', ' ']).next().unwrap_or_default();
            let value = rest.rsplit(' ').next().map(str::parse::<f64>);
            if let Some(Ok(value)) = value {
                let name = name.strip_prefix("engine_").unwrap_or(name);
                *sums.entry(name.to_owned()).or_default() += value;
            }
        }
        Self {
            sums,
            acceptance: acceptance::of_metrics(text),
        }
    }

    fn get(&self, name: &str) -> f64 {
        self.sums.get(name).copied().unwrap_or(0.0)
    }

    /// What was counted since `before`.
    pub(crate) fn since(&self, before: &Self) -> Counted {
        let seconds = |name: &str| self.get(name) - before.get(name);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts"
        )]
        let tokens = |name: &str| (self.get(name) - before.get(name)).max(0.0) as u64;
        let forward = seconds("forward_seconds_total");
        let decode = seconds("decode_seconds_total");
        Counted {
            machine: Machine {
                prefill: (forward - decode).max(0.0),
                decode,
                other: (seconds("step_seconds_total") - forward).max(0.0),
            },
            tokens: Tokens {
                // What is copied back counts as found, too.
                prompt_resident: tokens("cached_tokens_total")
                    .saturating_sub(tokens("restored_tokens_total")),
                prompt_restored: tokens("restored_tokens_total"),
                prompt_computed: tokens("prefill_tokens_total"),
                generated: tokens("generated_tokens_total"),
                drafted: tokens("drafted_tokens_total"),
                accepted: tokens("accepted_tokens_total"),
            },
            stall_seconds: seconds("compress_stall_seconds_total"),
            acceptance: self.acceptance.since(&before.acceptance),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts"
    )]
    fn point(&self, at_s: f64, price: Option<f64>) -> Point {
        let now = |name: &str| self.get(name) as u64;
        Point {
            at_s,
            cells_used: now("cells_used"),
            cells_total: now("cells_total"),
            waiting: now("waiting"),
            running: now("running"),
            price,
        }
    }
}

/// A server that is looked at; none where it has nothing to say.
pub(crate) struct Watch(Option<(reqwest::Client, String)>);

impl Watch {
    /// Looks at the server of ours at `url`.
    pub(crate) fn of(client: &reqwest::Client, url: &str) -> Self {
        Self(Some((client.clone(), url.to_owned())))
    }

    /// Looks at nothing.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    /// Its counters now.
    pub(crate) async fn counters(&self) -> Option<Counters> {
        Some(Counters::parse(&self.get("/metrics").await?))
    }

    /// The highest shadow price now, which the live view shows.
    async fn price(&self) -> Option<f64> {
        let text = self.get("/ui/api/overview").await?;
        let overview: Overview = serde_json::from_str(&text).ok()?;
        let queues = overview.tiers.into_iter().filter_map(|tier| tier.queue);
        let prices = queues.filter_map(|queue| queue.shadow_price);
        prices.max_by(f64::total_cmp)
    }

    async fn get(&self, route: &str) -> Option<String> {
        let (client, url) = self.0.as_ref()?;
        let answer = client.get(format!("{url}{route}")).send().await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }

    /// Waits until the server has nothing to do any more, not even in the background; at most
    /// [`SETTLED`], and not at all where it is not looked at.
    pub(crate) async fn settled(&self) {
        let begun = Instant::now();
        let mut before = None;
        while begun.elapsed() < SETTLED {
            let Some(now) = self.counters().await else {
                return;
            };
            let busy = now.get("running") + now.get("waiting") > 0.0;
            let steps = now.get("steps_total");
            if !busy && before == Some(steps) {
                return;
            }
            before = Some(steps);
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Looks again and again, until it is dropped, and adds what it sees to `points`.
    pub(crate) async fn look(&self, points: &mut Vec<Point>) {
        let begun = Instant::now();
        let mut pause = INTERVAL;
        while self.0.is_some() {
            if let Some(counters) = self.counters().await {
                let price = self.price().await;
                points.push(counters.point(begun.elapsed().as_secs_f64(), price));
            }
            if points.len() >= MOST_POINTS {
                let mut number = 0;
                points.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                pause *= 2;
            }
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_tiers_are_added() {
        let text = |decode: f64| {
            format!(
                "# TYPE agentinfer_engine_cells_used gauge\n\
                 agentinfer_engine_cells_used{{tier=\"small\",model=\"a b\"}} 7\n\
                 agentinfer_engine_cells_used{{tier=\"large\",model=\"c\"}} 5\n\
                 agentinfer_engine_forward_seconds_total{{tier=\"large\",model=\"c\"}} {}\n\
                 agentinfer_engine_decode_seconds_total{{tier=\"large\",model=\"c\"}} {decode}\n\
                 agentinfer_engine_step_seconds_total{{tier=\"large\",model=\"c\"}} {}\n\
                 agentinfer_engine_cached_tokens_total{{tier=\"large\",model=\"c\"}} 9\n\
                 agentinfer_engine_restored_tokens_total{{tier=\"large\",model=\"c\"}} 4\n\
                 agentinfer_engine_drafted_tokens_total{{tier=\"large\",model=\"c\"}} 12\n\
                 agentinfer_engine_draft_tokens_total{{tier=\"large\",model=\"c\",\
                 source=\"session\",position=\"1\",outcome=\"accepted\"}} 12\n\
                 agentinfer_compress_stall_seconds_total 0.25\n\
                 agentinfer_requests_total{{route=\"a\",status=\"200\"}} 3\n",
                decode + 2.0,
                decode + 2.5,
            )
        };
        let before = Counters::default();
        let after = Counters::parse(&text(1.0));
        let Counted {
            machine,
            tokens,
            acceptance,
            ..
        } = after.since(&before);
        assert_eq!(
            (machine.prefill, machine.decode, machine.other),
            (2.0, 1.0, 0.5)
        );
        assert_eq!(tokens.drafted, 12);
        assert_eq!(acceptance.total().accepted, 12);
        assert_eq!((tokens.prompt_resident, tokens.prompt_restored), (5, 4));
        assert_eq!(after.since(&before).stall_seconds, 0.25);
        assert_eq!(after.point(1.0, None).cells_used, 12);
        let later = Counters::parse(&text(4.0)).since(&after).machine;
        assert_eq!((later.prefill, later.decode), (0.0, 3.0));
    }
}
