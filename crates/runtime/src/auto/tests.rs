//! The model `auto` on simulated tiers, as far as it takes a look behind the doors: other
//! templates, engines that stop, cells that are resident.

use std::sync::Arc;
use std::time::Duration;

use agentinfer_chat::ChatTemplate;
use agentinfer_collab::{
    Competence, Controller, Decision, Outcome, PaperOptions, Policy, Role, Step, Verdict,
};
use agentinfer_engine::Device;
use agentinfer_protocol::{ChatCompletion, ChatCompletionRequest, Message};
use serde_json::{Value, json};

use super::check::{Check, Judgement};
use super::counts::AutoStats;
use super::{AUTO, FollowUp};
use crate::chat_stream::ChatStream;
use crate::runtime::Runtime;
use crate::served::Served;
use crate::source::Source;
use crate::tier::ServedTier;
use crate::{CollabOptions, RuntimeError, RuntimeOptions, Tier, TierOptions, TierSource};

/// Far above what any step here takes: reached only when something hangs.
const HANG: Duration = Duration::from_secs(20);

fn pair(policy: &str, prewarm: bool) -> Runtime {
    let sim = |tier, name| TierOptions::new(tier, name, TierSource::Sim);
    let tiers = vec![sim(Tier::Small, "fast"), sim(Tier::Large, "strong")];
    let collab = CollabOptions {
        policy: policy.parse().expect("a policy"),
        prewarm,
        file: None,
    };
    Runtime::start(RuntimeOptions {
        collab,
        ..RuntimeOptions::new(tiers)
    })
    .expect("simulated tiers start")
}

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "look", "parameters": {
        "type": "object", "required": ["at"], "additionalProperties": false,
        "properties": {"at": {"type": "string", "maxLength": 12}},
    }}})
}

/// A request of these messages for `auto`, with more fields.
fn request(messages: &[Message], fields: Value) -> ChatCompletionRequest {
    let mut request = json!({"model": AUTO, "messages": messages, "seed": 1, "max_tokens": 24});
    for (name, value) in fields.as_object().expect("fields are an object") {
        request[name] = value.clone();
    }
    serde_json::from_value(request).expect("a chat request")
}

/// A turn of a client that lets a check end: the answer joins the messages.
async fn turn(runtime: &Runtime, messages: &mut Vec<Message>, fields: Value) -> Turn {
    let request = request(messages, fields);
    runtime.settle(&request).await;
    let mut stream = runtime.chat(request).expect("served");
    let answer = stream.read_all().await.expect("no failure");
    messages.push(answer.choices[0].message.clone());
    Turn { stream, answer }
}

struct Turn {
    stream: ChatStream,
    answer: ChatCompletion,
}

impl Turn {
    fn decision(&self) -> (Tier, &'static str) {
        self.stream.decision().expect("the tier was left open")
    }

    fn cached(&self) -> u32 {
        let details = self.answer.usage.prompt_tokens_details.as_ref();
        details.map_or(0, |details| details.cached_tokens)
    }
}

fn stats(runtime: &Runtime) -> AutoStats {
    runtime.auto_stats().expect("two tiers")
}

/// The engine of a tier.
fn engine(runtime: &Runtime, tier: Tier) -> &Arc<ServedTier> {
    runtime.tier(tier).engine().expect("a tier of this process")
}

/// The prompt that an answer was given to, as the template writes it.
fn prompt_text(stream: &ChatStream) -> &str {
    match &stream.source {
        Source::Engine(answer) => &answer.prompt.text,
        Source::Remote(_) => panic!("a tier of this process"),
    }
}

/// Waits until so many requests were served by a tier's engine, checks and pre-warms included.
async fn served(runtime: &Runtime, tier: Tier, requests: u64) {
    let handle = &engine(runtime, tier).handle;
    let all = async {
        while handle.stats().finished < requests {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(HANG, all).await;
    assert!(in_time.is_ok(), "{tier}: {:?}", handle.stats());
}

#[tokio::test]
async fn the_published_policy_is_followed_by_what_the_checks_say() {
    let runtime = pair("paper:warm_up=2:burst=2", true);
    let paper = Policy::Paper(PaperOptions::default());
    let (mut oracle, mut known) = (Controller::new(paper, 0), Competence::default());
    let mut messages = Vec::new();
    for number in 0..14 {
        messages.push(Message::user(format!("Question {number}?")));
        let step = Step::new(Role::Unknown, "chat");
        let attempt = oracle.begin(&step, &known);
        let taken = turn(&runtime, &mut messages, json!({"prompt_cache_key": "s"})).await;
        let Decision { tier, reason } = attempt.decision();
        assert_eq!(taken.decision(), (tier, reason.as_str()), "step {number}");
        assert_eq!(taken.answer.model, runtime.tier(tier).name());
        // The verdict is read when the session goes on.
        let before = stats(&runtime);
        let mut next = messages.clone();
        next.push(Message::user(format!("Question {}?", number + 1)));
        let next = request(&next, json!({"prompt_cache_key": "s"}));
        runtime.settle(&next).await;
        drop(runtime.chat(next).expect("served"));
        let after = stats(&runtime);
        assert_eq!(after.checks_late + after.checks_refused, 0);
        let verdict = match after.checks_true - before.checks_true {
            1 => Verdict::Progress,
            _ => {
                assert_eq!(after.checks_false, before.checks_false + 1);
                Verdict::Stall
            }
        };
        oracle.finish(attempt, &Outcome::judged(verdict), &mut known);
    }
    let stats = stats(&runtime);
    assert_eq!(stats.checks, 14);
    assert_eq!(stats.steps.values().sum::<u64>(), 14);
    assert!(stats.checks_true > 0 && stats.checks_false > 0, "{stats:?}");
    assert!(stats.switches > 2, "{stats:?}");
}

#[tokio::test]
async fn a_check_leaves_its_session_as_it_was() {
    let fields = json!({"temperature": 0, "prompt_cache_key": "s"});
    let (mut without, mut remembered) = (Vec::new(), Vec::new());
    // Both always ask the small tier; the second asks it for its verdict too.
    for policy in ["small_only", "both:check=1"] {
        let runtime = pair(policy, false);
        let mut messages = vec![Message::system("Be brief.")];
        for number in 0..6 {
            messages.push(Message::user(format!("Question {number}?")));
            let taken = turn(&runtime, &mut messages, fields.clone()).await;
            assert_eq!(taken.decision(), (Tier::Small, "policy"));
            let (text, usage) = (taken.answer.choices[0].message.text(), &taken.answer.usage);
            let seen = (text, usage.prompt_tokens, usage.completion_tokens);
            match policy {
                "small_only" => without.push((seen, taken.cached())),
                _ => {
                    served(&runtime, Tier::Small, 2 * (number as u64 + 1)).await;
                    let (expected, cached) = &without[number];
                    assert_eq!(seen, *expected);
                    // The check has already read how a question begins.
                    assert!(taken.cached() >= *cached);
                }
            }
        }
        let checks = if policy == "small_only" { 0 } else { 6 };
        assert_eq!(stats(&runtime).checks, checks);
        remembered.push(runtime.stats()[0].conversations);
    }
    assert_eq!(remembered[0].conversations, 1);
    assert_eq!(remembered[0], remembered[1]);
}

#[tokio::test]
async fn a_check_is_as_sure_as_its_model() {
    let runtime = pair("both:check=1", false);
    let mut sure = 0;
    for number in 0..12 {
        let mut messages = vec![Message::user(format!("Question {number}?"))];
        let taken = turn(&runtime, &mut messages, json!({})).await;
        let answer = messages.pop().expect("the answer");
        let conversation = &taken.stream.conversation;
        let after = FollowUp {
            runtime: runtime.clone(),
            tier: runtime.tier(Tier::Small).clone(),
            session: conversation.session,
            messages,
            answer,
            tools: Vec::new(),
            variables: None,
            hints: taken.stream.hints,
            check: None,
            prewarm: None,
        };
        let mut check = Check::ask(&after).expect("asked");
        let Judgement { verdict, p_true } = check.judgement().await;
        assert_ne!(verdict, Verdict::Missing);
        // The block is greedy, so the value is the likelier of the two.
        if let Some(p) = p_true {
            assert_eq!(verdict == Verdict::Progress, p >= 0.5, "{p}");
            sure += 1;
        }
    }
    assert!(
        sure > 3,
        "the values are often among the likely tokens: {sure}"
    );
}

/// Starts an answer on a tier that never ends, because nobody reads it.
fn endless(runtime: &Runtime, tier: Tier) -> ChatStream {
    let fields = json!({
        "model": tier.as_str(), "max_tokens": 3900, "logit_bias": {"256": -100, "258": -100},
    });
    let request = request(&[Message::user("Go on.")], fields);
    runtime.chat(request).expect("served")
}

#[tokio::test]
async fn a_check_is_cancelled_when_the_session_goes_on() {
    let runtime = pair("paper:warm_up=9:burst=1", false);
    let mut messages = vec![Message::user("Where is it?")];
    turn(&runtime, &mut messages, json!({})).await;
    served(&runtime, Tier::Large, 2).await;
    messages.push(Message::user("And then?"));
    // Foreground work goes first: while it runs, the check of the second answer does not begin.
    let blocker = endless(&runtime, Tier::Large);
    turn(&runtime, &mut messages, json!({})).await;
    let engine = &engine(&runtime, Tier::Large).handle;
    let asked = async {
        while stats(&runtime).checks < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, asked).await.expect("asked");
    messages.push(Message::user("And now?"));
    let third = request(&messages, json!({}));
    let mut third = runtime.chat(third).expect("a request does not wait for it");
    assert_eq!(stats(&runtime).checks_late, 1);
    third.read_all().await.expect("no failure");
    assert_eq!(engine.stats().cancelled, 1, "the check");
    drop(blocker);
}

#[tokio::test]
async fn one_waits_for_a_check_but_not_for_ever() {
    let runtime = pair("paper:warm_up=9:burst=1", false);
    let mut messages = vec![Message::user("Where is it?")];
    let blocker = endless(&runtime, Tier::Large);
    turn(&runtime, &mut messages, json!({})).await;
    messages.push(Message::user("And then?"));
    let second = request(&messages, json!({}));
    let begun = std::time::Instant::now();
    runtime.settle(&second).await;
    assert!(begun.elapsed() >= super::CHECK_WAIT);
    drop(runtime.chat(second.clone()).expect("served"));
    assert_eq!(stats(&runtime).checks_late, 1);
    drop(blocker);
    // A client that leaves while it waits takes nothing with it.
    turn(&runtime, &mut messages, json!({})).await;
    messages.push(Message::user("And now?"));
    let third = request(&messages, json!({}));
    let left = tokio::time::timeout(Duration::ZERO, runtime.settle(&third));
    let _ = left.await;
    runtime.settle(&third).await;
    runtime
        .chat(third)
        .expect("served")
        .collect()
        .await
        .expect("no failure");
}

#[tokio::test]
async fn a_tier_that_has_stopped_is_stood_in_for() {
    let runtime = pair("small_only", true);
    let mut messages = vec![Message::user("Where is it?")];
    let first = turn(&runtime, &mut messages, json!({})).await;
    assert_eq!(first.decision(), (Tier::Small, "policy"));
    let session = first.stream.conversation.session;
    engine(&runtime, Tier::Small)
        .handle
        .drain(Duration::ZERO)
        .await;
    messages.push(Message::user("And then?"));
    let second = turn(&runtime, &mut messages, json!({})).await;
    assert_eq!(second.decision(), (Tier::Large, "fallback"));
    assert_eq!(second.answer.model, "strong");
    assert_eq!(second.stream.conversation.session, session);
    engine(&runtime, Tier::Large)
        .handle
        .drain(Duration::ZERO)
        .await;
    messages.push(Message::user("And now?"));
    let error = runtime
        .chat(request(&messages, json!({})))
        .expect_err("none is left");
    assert!(
        matches!(error, RuntimeError::BothTiersFailed { .. }),
        "{error}"
    );
    assert_eq!(error.code(), Some("tiers_failed"));
    let named = request(&messages, json!({"model": "fast"}));
    let error = runtime.chat(named).expect_err("it has stopped");
    assert_eq!(error.code(), Some("shutting_down"));
}

#[tokio::test]
async fn a_tier_that_stops_while_a_request_waits_is_stood_in_for() {
    let sim = |tier, name| {
        let mut options = TierOptions::new(tier, name, TierSource::Sim);
        options.engine.max_running = 1;
        options
    };
    let tiers = vec![sim(Tier::Small, "fast"), sim(Tier::Large, "strong")];
    let mut options = RuntimeOptions::new(tiers);
    options.collab.policy = Policy::SmallOnly;
    let runtime = Runtime::start(options).expect("simulated tiers start");
    let _blocker = endless(&runtime, Tier::Small);
    let waits = request(&[Message::user("Where is it?")], json!({}));
    let mut waits = runtime.chat(waits).expect("served");
    assert_eq!(waits.decision(), Some((Tier::Small, "policy")));
    engine(&runtime, Tier::Small)
        .handle
        .drain(Duration::ZERO)
        .await;
    let answer = waits.read_all().await.expect("the other tier answers");
    assert_eq!(waits.decision(), Some((Tier::Large, "fallback")));
    assert_eq!(answer.model, "strong");
    assert_eq!(stats(&runtime).steps[&(Tier::Large, "fallback")], 1);
}

#[tokio::test]
async fn what_is_too_long_for_both_is_refused_as_such() {
    let runtime = pair("small_only", true);
    let long = [Message::user("x".repeat(9000))];
    let error = runtime
        .chat(request(&long, json!({})))
        .expect_err("too long");
    assert_eq!(error.code(), Some("context_length_exceeded"));
}

/// Cached and all prompt tokens of the first step that the small tier takes, after two of the large
/// one, and what the counts say.
async fn switched(prewarm: bool) -> (u32, u32, AutoStats) {
    let runtime = pair("always_true:warm_up=2:burst=1", prewarm);
    let mut messages = vec![Message::system("word ".repeat(600))];
    let fields = json!({"tools": [tool()]});
    for number in 0..3 {
        messages.push(Message::user(format!("Question {number}?")));
        let taken = turn(&runtime, &mut messages, fields.clone()).await;
        match number {
            2 => {
                assert_eq!(taken.decision(), (Tier::Small, "progress"));
                let prompt = taken.answer.usage.prompt_tokens;
                return (taken.cached(), prompt, stats(&runtime));
            }
            _ => assert_eq!(taken.decision(), (Tier::Large, "warm_up")),
        }
        // Only after the second step is the small tier to come.
        served(&runtime, Tier::Small, u64::from(prewarm && number == 1)).await;
    }
    unreachable!("the third step returns")
}

#[tokio::test]
async fn a_switch_finds_its_prompt_resident_when_it_was_pre_warmed() {
    let (cached, prompt, counts) = switched(true).await;
    assert!(cached * 100 >= prompt * 95, "{cached} of {prompt}");
    assert_eq!((counts.prewarms, counts.switches), (1, 1));
    assert!(
        counts.prewarmed_tokens * 100 >= u64::from(prompt) * 95,
        "{counts:?}"
    );
    let switch = counts.switch_prefill_tokens;
    assert!(switch * 100 <= u64::from(prompt) * 5, "{counts:?}");

    let (cached, prompt, counts) = switched(false).await;
    assert_eq!((cached, counts.prewarms, counts.switches), (0, 0, 1));
    let switch = counts.switch_prefill_tokens;
    assert!(
        switch * 100 >= u64::from(prompt) * 95 && switch < prompt.into(),
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_tier_that_is_not_to_come_is_not_warmed() {
    for (policy, fields) in [
        ("small_only", json!({})),
        ("large_only", json!({})),
        ("always_true:warm_up=9", json!({})),
        ("cascade", json!({})),
        ("random:share=0", json!({})),
        ("cumulative:warm_up=0", json!({"end_session": true})),
    ] {
        let runtime = pair(policy, true);
        let mut messages = vec![Message::user("Where is it?")];
        for _ in 0..2 {
            turn(&runtime, &mut messages, fields.clone()).await;
            messages.push(Message::user("And then?"));
        }
        assert_eq!(stats(&runtime).prewarms, 0, "{policy}");
    }
}

#[tokio::test]
async fn sessions_beside_each_other_are_steered_apart() {
    let runtime = pair("paper:warm_up=1:burst=2", true);
    let session = |number: u32| {
        let runtime = runtime.clone();
        async move {
            let mut messages = vec![Message::system(format!("Session {number}."))];
            let key =
                json!({"prompt_cache_key": number.is_multiple_of(2).then(|| number.to_string())});
            let mut tiers = Vec::new();
            for step in 0..8 {
                messages.push(Message::user(format!("Question {step}?")));
                let taken = turn(&runtime, &mut messages, key.clone()).await;
                tiers.push(taken.decision());
            }
            tiers
        }
    };
    let sessions: Vec<_> = (0..12)
        .map(|number| tokio::spawn(session(number)))
        .collect();
    for session in sessions {
        let tiers = session.await.expect("no panic");
        assert_eq!(tiers[0], (Tier::Large, "warm_up"));
        assert!(
            tiers[1..].iter().all(|(_, reason)| *reason != "warm_up"),
            "{tiers:?}"
        );
    }
    let stats = stats(&runtime);
    assert_eq!(stats.steps.values().sum::<u64>(), 12 * 8);
    let judged = stats.checks_true + stats.checks_false + stats.checks_late;
    assert_eq!(judged, 12 * 7, "{stats:?}");
}

/// A pair whose tiers speak otherwise: Qwen and Mistral.
fn strangers(policy: &str) -> Runtime {
    let tier = |tier, name, source: &str| {
        let options = TierOptions::new(tier, name, TierSource::Sim);
        let served = ServedTier::start(options, None, &Device::default());
        let mut served = served.expect("a simulated tier starts");
        served.template = ChatTemplate::new(source, "<s>", "</s>").expect("compiles");
        Served::Engine(Arc::new(served))
    };
    let tiers = [
        tier(
            Tier::Small,
            "qwen",
            include_str!("../../../chat/tests/fixtures/templates/qwen2.5.jinja"),
        ),
        tier(
            Tier::Large,
            "mistral",
            include_str!("../../../chat/tests/fixtures/templates/mistral.jinja"),
        ),
    ];
    Runtime {
        tiers: tiers.into(),
        ..pair(policy, true)
    }
}

#[tokio::test]
async fn every_tier_writes_the_conversation_in_its_own_way() {
    let runtime = strangers("random:share=0.5");
    let mut messages = vec![Message::user("Where is it?")];
    let fields = json!({
        "tools": [tool()], "tool_choice": "required", "parallel_tool_calls": false,
        "max_tokens": 400,
    });
    let mut written = [0, 0];
    for step in 0..10 {
        let taken = turn(&runtime, &mut messages, fields.clone()).await;
        let answer = messages.last().expect("the answer").clone();
        let calls = answer.tool_calls.as_ref().expect("a call is forced");
        let [call] = &calls[..] else {
            panic!("one call: {calls:?}")
        };
        assert!(call.id.starts_with("call_") && call.function.name == "look");
        let arguments: Value = serde_json::from_str(&call.function.arguments).expect("JSON");
        assert!(arguments["at"].is_string());
        let prompt = prompt_text(&taken.stream);
        let (tier, _) = taken.decision();
        let (own, other) = match tier {
            Tier::Small => ("<tool_call>\n{\"name\": \"look\"", "[TOOL_CALLS]"),
            Tier::Large => ("[TOOL_CALLS]", "<tool_call>"),
        };
        // The template of Qwen shows the form of calls once in its own words.
        let shown = prompt.matches(own).count();
        assert_eq!(
            (shown, prompt.matches(other).count()),
            (step, 0),
            "{prompt}"
        );
        written[tier as usize] += 1;
        let id = call.id.clone();
        let result = json!({"role": "tool", "tool_call_id": id, "content": format!("Not {step}.")});
        messages.push(serde_json::from_value(result).expect("a message"));
    }
    assert!(written[0] > 1 && written[1] > 1, "{written:?}");
    assert!(stats(&runtime).switches > 1);
}
