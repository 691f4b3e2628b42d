//! The loads that servers are put under.

use std::time::Instant;

use agentinfer_engine::Vocabulary;
use fastrand::Rng;
use futures_util::future::try_join_all;
use reqwest::Client;
use serde_json::{Map, Value, json};

use super::Case;
use super::case::GENERATED_TOKENS;
use super::client::{Answer, Target, ask};
use super::measure::Sample;
use super::prompts::{SYSTEM, question, report, short_question};
use crate::BenchError;

/// Tokens of the report that the second turn of `ttft_resident` finds resident.
const REPORT_TOKENS: usize = 1500;
/// Reports that other conversations are about between the two turns of `ttft_evicted`: with the
/// first, half as much again as fits.
const OTHER_REPORTS: usize = 3;
/// Tokens generated in its turns: some to be kept, then as few as tell the time to the first.
const FIRST_TURN_TOKENS: usize = 16;
const SECOND_TURN_TOKENS: usize = 4;

/// The largest negative bias of the OpenAI API: such a token is not chosen.
const NEVER: f64 = -100.0;

/// What all servers are asked, made before anything is measured.
#[derive(Debug)]
pub(super) struct ChatLoad {
    pub(super) client: Client,
    /// Keeps the model from ending its turn, so that every answer has the same length.
    bias: Map<String, Value>,
    /// One per run, and those of the others.
    reports: Vec<Vec<String>>,
}

impl ChatLoad {
    pub(super) fn new(client: Client, vocabulary: &dyn Vocabulary, runs: u32) -> Self {
        let tokens = 0..vocabulary.len() as u32;
        let ends = tokens.filter(|&token| vocabulary.is_end_of_generation(token));
        let count = |text: &str| vocabulary.tokenize(text, false, false).len();
        let report = |run| {
            let mut random = Rng::with_seed(Case::TtftResident.seed(run));
            let reports = (0..=OTHER_REPORTS).map(|_| report(&mut random, REPORT_TOKENS, count));
            reports.collect()
        };
        Self {
            client,
            bias: ends.map(|end| (end.to_string(), NEVER.into())).collect(),
            reports: (0..=runs).map(report).collect(),
        }
    }

    /// Puts a server under the load of a case once.
    pub(super) async fn sample(
        &self,
        server: Target<'_>,
        case: Case,
        run: u32,
    ) -> Result<Sample, BenchError> {
        match case {
            Case::TtftResident | Case::TtftEvicted => self.second_turn(server, case, run).await,
            _ if case.is_speculation() => self.speak(server, case, run).await,
            _ => self.chats(server, case, run).await,
        }
    }

    /// Generated tokens per second of several chats at once, from the first request to the last
    /// answer's end.
    async fn chats(&self, server: Target<'_>, case: Case, run: u32) -> Result<Sample, BenchError> {
        let mut random = Rng::with_seed(case.seed(run));
        let body = |_| {
            let messages = json!([
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": question(&mut random)},
            ]);
            self.body(&messages, GENERATED_TOKENS)
        };
        let bodies: Vec<Value> = (0..case.chats()).map(body).collect();
        let begun = Instant::now();
        let asked = bodies
            .iter()
            .map(|body| self.ask(server, body, GENERATED_TOKENS));
        let answers = try_join_all(asked).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let generated = GENERATED_TOKENS * answers.len();
        Ok(Sample::new(generated as f64 / seconds).with_usage(&answers))
    }

    /// Seconds to the first token of a second turn, right after the first one, or after others have
    /// taken its place.
    async fn second_turn(
        &self,
        server: Target<'_>,
        case: Case,
        run: u32,
    ) -> Result<Sample, BenchError> {
        let mut random = Rng::with_seed(case.seed(run));
        let mut conversation = |report: &String| {
            let system = format!("Answer from this report.\n{report}");
            vec![
                json!({"role": "system", "content": system}),
                json!({"role": "user", "content": short_question(&mut random)}),
            ]
        };
        let reports = &self.reports[run as usize];
        let mut messages = conversation(&reports[0]);
        let others: Vec<Vec<Value>> = match case {
            Case::TtftEvicted => reports[1..].iter().map(&mut conversation).collect(),
            _ => Vec::new(),
        };
        let first = self.body(&json!(messages), FIRST_TURN_TOKENS);
        let first = self.ask(server, &first, FIRST_TURN_TOKENS).await?;
        for other in others {
            let body = self.body(&json!(other), FIRST_TURN_TOKENS);
            self.ask(server, &body, FIRST_TURN_TOKENS).await?;
        }
        messages.push(json!({"role": "assistant", "content": first.text}));
        messages.push(json!({"role": "user", "content": short_question(&mut random)}));
        let second = self.body(&json!(messages), SECOND_TURN_TOKENS);
        let second = self.ask(server, &second, SECOND_TURN_TOKENS).await?;
        Ok(Sample::new(second.ttft.as_secs_f64()).with_usage(&[second]))
    }

    /// The same request for every server, with each one's fastest settings: greedy, and of the
    /// candidates only the best.
    pub(super) fn body(&self, messages: &Value, max_tokens: usize) -> Value {
        json!({
            "model": "default",
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": 0,
            "top_k": 1,
            "logit_bias": self.bias,
            "stream": true,
            "stream_options": {"include_usage": true},
            "cache_prompt": true,
        })
    }

    /// Asks, and insists on the number of tokens that was asked for.
    pub(super) async fn ask(
        &self,
        server: Target<'_>,
        body: &Value,
        tokens: usize,
    ) -> Result<Answer, BenchError> {
        let answer = ask(&self.client, server, body).await?;
        let problem = match answer.usage.completion_tokens as usize {
            generated if generated != tokens => {
                format!("it has {generated} tokens instead of {tokens}")
            }
            _ if answer.text.is_empty() => "it has no text".to_owned(),
            _ => return Ok(answer),
        };
        Err(BenchError::Answer {
            server: server.arm.to_owned(),
            message: problem,
        })
    }
}
