//! What a client asks of the engine.

use serde_json::Value;

use crate::{EngineError, ModelLimits, Token};

/// A request to continue a sequence of tokens.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt, at least one token.
    pub prompt: Vec<Token>,
    /// At most this many tokens are generated; never more than the context has room for. With 0
    /// the prompt is computed and stays resident for a later request, and this one does not count
    /// as a call of its session; as background work it is *pre-warming*, which gives way to all.
    pub max_tokens: u32,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// What the output must look like.
    pub constraint: Constraint,
    /// Texts that end generation; they are not part of the output.
    pub stop: Vec<String>,
    /// Tokens that end generation in addition to the model's own end-of-generation tokens.
    pub stop_tokens: Vec<Token>,
    /// Whether the model's end-of-generation tokens are ignored (for benchmarks).
    pub ignore_eos: bool,
    /// The session that the request belongs to, if the runtime knows it.
    pub session: Option<u64>,
    /// What its client tells about it and its session.
    pub hints: Hints,
}

/// What a client may tell about a request and its session. All of it is optional and changes
/// nothing but who goes first and whose cells stay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hints {
    /// How urgent it is: lower goes earlier, 0 is usual.
    pub priority: i32,
    /// Whether nobody waits for it. It then keeps out of the way of other engines on the same
    /// [`Device`](crate::Device); within this one that is up to the policy.
    pub background: bool,
    /// Who pays for it: a number for the client's API key; 0 where keys are not asked for.
    pub tenant: u64,
    /// Seconds from the end of this request to the session's next one.
    pub expected_gap_seconds: Option<f64>,
    /// Whether the session ends with this request: then its idle cells are evicted before others.
    pub ends_session: bool,
    /// Whether the session's cells must not be written to disk.
    pub in_memory: bool,
}

impl Request {
    /// A greedy request without constraint that ends when the model does.
    pub fn new(prompt: Vec<Token>) -> Self {
        Self {
            prompt,
            max_tokens: u32::MAX,
            sampling: Sampling::default(),
            constraint: Constraint::None,
            stop: Vec::new(),
            stop_tokens: Vec::new(),
            ignore_eos: false,
            session: None,
            hints: Hints::default(),
        }
    }

    /// Sets the largest number of tokens to generate.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Whether a model with these limits can serve the request.
    pub(crate) fn validate(&self, limits: &ModelLimits) -> Result<(), EngineError> {
        let invalid = |field, message: &str| {
            Err(EngineError::InvalidRequest {
                field,
                message: message.to_owned(),
            })
        };
        let sampling = &self.sampling;
        if self.prompt.is_empty() {
            return invalid("prompt", "it is empty; give at least one token");
        }
        let known = |token: &Token| *token < limits.vocabulary;
        if !self.prompt.iter().all(known) {
            return invalid(
                "prompt",
                "it holds a token id beyond the model's vocabulary",
            );
        }
        if !sampling
            .logit_bias
            .iter()
            .all(|(token, bias)| known(token) && bias.is_finite())
        {
            return invalid(
                "logit_bias",
                "token ids must be in the vocabulary, biases finite",
            );
        }
        let finite = [
            sampling.temperature,
            sampling.top_p,
            sampling.min_p,
            sampling.repetition_penalty,
            sampling.frequency_penalty,
            sampling.presence_penalty,
        ];
        if !finite.iter().all(|value| value.is_finite()) {
            return invalid("sampling", "every setting must be a finite number");
        }
        if sampling.repetition_penalty <= 0.0 {
            return invalid("repetition_penalty", "it must be above 0; 1 means none");
        }
        if self.stop.iter().any(String::is_empty) {
            return invalid("stop", "a stop text is empty; remove it");
        }
        let gap = self.hints.expected_gap_seconds;
        if gap.is_some_and(|gap| !gap.is_finite() || gap < 0.0) {
            return invalid(
                "expected_gap_seconds",
                "it must be a finite number, and at least 0",
            );
        }
        if self.prompt.len() >= limits.context_tokens as usize {
            return Err(EngineError::ContextOverflow {
                prompt_tokens: self.prompt.len(),
                context_tokens: limits.context_tokens as usize,
            });
        }
        Ok(())
    }
}

/// How the next token is chosen from the logits. The default is greedy.
///
/// Applied in this order: logit bias, penalties, constraint, temperature, top-k, top-p, min-p.
/// (The constraint only removes tokens, so it commutes with the others.)
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 is greedy: the most probable token, the lowest id among equals.
    pub temperature: f32,
    /// Keep only the `top_k` most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of tokens whose probabilities sum to at least this; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this probable relative to the most probable; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred; 1 is none.
    pub repetition_penalty: f32,
    /// Subtracted per occurrence in the generated text.
    pub frequency_penalty: f32,
    /// Subtracted once if the token occurred in the generated text.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(Token, f32)>,
    /// Seed of the random source; equal seeds give equal output.
    pub seed: u64,
    /// Whether to report log-probabilities, and with how many alternatives per token.
    pub logprobs: Option<u32>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
            logprobs: None,
        }
    }
}

/// What the output must look like. Compiled by llguidance when the request is submitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Constraint {
    /// Anything.
    #[default]
    None,
    /// JSON that follows this schema (`{"type": "object"}` is any object).
    JsonSchema(Value),
    /// Text that matches this regular expression.
    Regex(String),
    /// Text of this grammar, in llguidance's Lark syntax.
    Lark(String),
}
