//! The loads that speculation is measured under: agents' sessions, and stories.

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::Case;
use super::agents::{AGENT_SYSTEM, KINDS, Session, sessions, story};
use super::chats::ChatLoad;
use super::client::{Answer, Target, ask, metrics};
use super::measure::Sample;
use super::results::OURS;
use super::speculation::{Drafts, Spoken};
use crate::BenchError;

/// Tokens of an agent's answer, at most; what it is asked for takes 30 to 130.
const AGENT_TOKENS: usize = 160;
/// Tokens of a story, which all have.
const STORY_TOKENS: usize = 128;

impl ChatLoad {
    /// Puts a server under a case about speculation once. The value is the speed of decoding:
    /// tokens after each answer's first one, by the time from the first text to the answer's end,
    /// summed over the answers.
    pub(super) async fn speak(
        &self,
        server: Target<'_>,
        case: Case,
        run: u32,
    ) -> Result<Sample, BenchError> {
        let ours = server.arm.starts_with(OURS);
        let counted = async || match ours {
            true => Ok(Drafts::of_metrics(&metrics(&self.client, server).await?)),
            false => Ok::<_, BenchError>(Drafts::default()),
        };
        let before = counted().await?;
        let begun = Instant::now();
        let answers = match case.is_novel() {
            true => self.stories(server, case, run).await?,
            false => self.agents(server, case, run).await?,
        };
        let seconds = begun.elapsed().as_secs_f64();
        let drafts = match ours {
            true => counted().await?.since(&before),
            false => Drafts::of_timings(answers.iter().map(|answer| answer.timings)),
        };
        let tokens = |answer: &Answer| u64::from(answer.usage.completion_tokens);
        let after_first: u64 = answers
            .iter()
            .map(|answer| tokens(answer).saturating_sub(1))
            .sum();
        let decoding: Duration = answers
            .iter()
            .map(|answer| answer.total.saturating_sub(answer.ttft))
            .sum();
        let spoken = Spoken {
            tokens_per_second: answers.iter().map(tokens).sum::<u64>() as f64 / seconds,
            generated_tokens: answers.iter().map(tokens).sum(),
            drafts,
        };
        let speed = after_first as f64 / decoding.as_secs_f64();
        Ok(Sample {
            spoken: Some(spoken),
            ..Sample::new(speed).with_usage(&answers)
        })
    }

    /// As many sessions at once as the case says; one at a time there is one of each kind.
    async fn agents(
        &self,
        server: Target<'_>,
        case: Case,
        run: u32,
    ) -> Result<Vec<Answer>, BenchError> {
        let seed = case.seed(run);
        let sessions = sessions(&mut Rng::with_seed(seed), case.chats().max(KINDS));
        let named = sessions.iter().enumerate();
        let named: Vec<(String, &Session)> = named
            .map(|(index, session)| (format!("{seed:x}-{index}"), session))
            .collect();
        let mut answers = Vec::new();
        for at_once in named.chunks(case.chats()) {
            let asked = at_once
                .iter()
                .map(|(name, session)| self.agent(server, name, session));
            answers.extend(try_join_all(asked).await?.into_iter().flatten());
        }
        Ok(answers)
    }

    /// A session, each of whose turns continues what this server answered.
    async fn agent(
        &self,
        server: Target<'_>,
        name: &str,
        session: &Session,
    ) -> Result<Vec<Answer>, BenchError> {
        let mut messages = vec![json!({"role": "system", "content": AGENT_SYSTEM})];
        let mut answers = Vec::new();
        for (turn, request) in session.iter().enumerate() {
            messages.push(json!({"role": "user", "content": request}));
            let mut body = self.body(&json!(messages), AGENT_TOKENS);
            body["logit_bias"] = json!({});
            body["prompt_cache_key"] = json!(name);
            body["end_session"] = json!(turn + 1 == session.len());
            let answer = ask(&self.client, server, &body).await?;
            if answer.text.is_empty() {
                return Err(BenchError::Answer {
                    server: server.arm.to_owned(),
                    message: format!("it says nothing to {request:?}"),
                });
            }
            messages.push(json!({"role": "assistant", "content": answer.text}));
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Stories of equal length, all at once, sampled with seeds of their own.
    async fn stories(
        &self,
        server: Target<'_>,
        case: Case,
        run: u32,
    ) -> Result<Vec<Answer>, BenchError> {
        let seed = case.seed(run);
        let mut random = Rng::with_seed(seed);
        let body = |index| {
            let messages = json!([{"role": "user", "content": story(&mut random)}]);
            let mut body = self.body(&messages, STORY_TOKENS);
            body["temperature"] = json!(1);
            body["top_k"] = json!(40);
            body["seed"] = json!((seed << 8) | index);
            body["prompt_cache_key"] = json!(format!("{seed:x}-{index}"));
            body["end_session"] = json!(true);
            body
        };
        let bodies: Vec<Value> = (0..case.chats() as u64).map(body).collect();
        let asked = bodies
            .iter()
            .map(|body| self.ask(server, body, STORY_TOKENS));
        try_join_all(asked).await
    }
}
