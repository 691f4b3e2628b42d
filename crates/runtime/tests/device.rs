//! Tiers share one device, on simulated models.

use agentinfer_protocol::ChatCompletionRequest;
use agentinfer_runtime::{Runtime, RuntimeOptions, Tier, TierOptions, TierSource};
use serde_json::json;

/// Chats after which two engines that share a device have met on it: each takes a hundred steps.
const MOST_CHATS: usize = 1000;

fn chat(model: &str) -> ChatCompletionRequest {
    let request = json!({
        "model": model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 100,
        "logit_bias": {"256": -100, "258": -100},
    });
    serde_json::from_value(request).expect("a chat request")
}

#[tokio::test]
async fn the_engines_of_two_tiers_wait_for_each_other() {
    let tiers = [(Tier::Small, "fast"), (Tier::Large, "strong")];
    let tiers = tiers.map(|(tier, name)| TierOptions::new(tier, name, TierSource::Sim));
    let runtime = Runtime::start(RuntimeOptions::new(tiers.into())).expect("simulated tiers start");
    for _ in 0..MOST_CHATS {
        let [fast, strong] = ["fast", "strong"].map(|model| runtime.chat(chat(model)));
        let (fast, strong) = tokio::join!(
            fast.expect("is served").collect(),
            strong.expect("is served").collect()
        );
        for answer in [fast, strong] {
            assert_eq!(answer.expect("no failure").usage.completion_tokens, 100);
        }
        let waited = runtime
            .stats()
            .into_iter()
            .map(|tier| tier.engine.device_wait_nanoseconds);
        if waited.sum::<u64>() > 0 {
            return;
        }
    }
    panic!("neither ever waited for the other");
}
