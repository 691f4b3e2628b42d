//! A simulated model and its vocabulary.

use std::collections::BTreeMap;

use crate::{Batch, Model, ModelError, ModelLimits, SequenceId, Token, Vocabulary};

/// Seconds of a forward pass by number of tokens and context.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyCurve {
    /// Measured points: tokens in the batch, seconds. Rising; straight lines between them, and
    /// the slope of the last two beyond them.
    pub points: Vec<(u32, f64)>,
    /// Seconds added per token computed and cell of its context.
    pub seconds_per_context_cell: f64,
    /// Seconds per token to copy its cell out of the model, or back.
    pub seconds_per_copied_cell: f64,
}

impl Default for LatencyCurve {
    /// Qwen2.5-Coder 1.5B Q4_K_M on two cores: a step of one token takes 38 ms, and of 2, 4, 8,
    /// 16, 32 and 64 tokens 1.4, 2.3, 5, 6, 10 and 18 times that.
    fn default() -> Self {
        let relative = [
            (1, 1.0),
            (2, 1.4),
            (4, 2.3),
            (8, 5.0),
            (16, 6.0),
            (32, 10.0),
            (64, 18.0),
        ];
        let points = relative
            .map(|(tokens, factor)| (tokens, factor * 0.038))
            .to_vec();
        Self {
            points,
            seconds_per_context_cell: 3e-7,
            seconds_per_copied_cell: 2e-5,
        }
    }
}

impl LatencyCurve {
    /// Seconds that a forward pass takes.
    pub fn seconds(&self, batch: &Batch) -> f64 {
        let tokens = batch.entries.len() as f64;
        let context: f64 = batch
            .entries
            .iter()
            .map(|entry| f64::from(entry.position))
            .sum();
        self.at(tokens) + context * self.seconds_per_context_cell
    }

    fn at(&self, tokens: f64) -> f64 {
        let point = |index: usize| (f64::from(self.points[index].0), self.points[index].1);
        match self.points.len() {
            0 => 0.0,
            1 => point(0).1,
            count => {
                let beyond = self.points.partition_point(|(x, _)| f64::from(*x) < tokens);
                let right = beyond.clamp(1, count - 1);
                let ((x0, y0), (x1, y1)) = (point(right - 1), point(right));
                y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)
            }
        }
    }
}

/// A model without weights: deterministic tokens on a latency curve and a virtual clock. Its
/// logits depend on every token that a sequence really holds, and it refuses what a real model
/// would abort for, so it is a strict oracle for the step loop.
#[derive(Clone, Debug)]
pub struct SimModel {
    limits: ModelLimits,
    curve: LatencyCurve,
    /// Per sequence, the hash of each prefix of its tokens.
    sequences: BTreeMap<SequenceId, Vec<u64>>,
    rows: Vec<Option<Vec<f32>>>,
    clock: f64,
}

impl Default for SimModel {
    fn default() -> Self {
        let limits = ModelLimits {
            cells: 16_384,
            sequences: 32,
            batch_tokens: 512,
            context_tokens: 8192,
            vocabulary: SimVocabulary::default().len() as u32,
        };
        Self::new(limits, LatencyCurve::default())
    }
}

impl SimModel {
    /// A model with these limits and latencies. The vocabulary must be [`SimVocabulary`]'s.
    pub fn new(limits: ModelLimits, curve: LatencyCurve) -> Self {
        Self {
            limits,
            curve,
            sequences: BTreeMap::new(),
            rows: Vec::new(),
            clock: 0.0,
        }
    }

    /// Lets time pass until `moment`, in seconds on the virtual clock, if it is not past.
    pub fn wait_until(&mut self, moment: f64) {
        self.clock = self.clock.max(moment);
    }

    /// Printable text that ends after some dozens of tokens.
    fn row(&self, hash: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(hash);
        let mut row = vec![-20.0; self.limits.vocabulary as usize];
        for logit in &mut row[usize::from(b' ')..=usize::from(b'~')] {
            *logit = random.f32() * 4.0;
        }
        if random.u32(..48) == 0 {
            row[END as usize] = 10.0;
        }
        row
    }
}

impl Model for SimModel {
    fn limits(&self) -> ModelLimits {
        self.limits
    }

    fn forward(&mut self, batch: &Batch) -> Result<(), ModelError> {
        let refuse = |message: String| Err(ModelError(message));
        if batch.entries.is_empty() || batch.entries.len() > self.limits.batch_tokens as usize {
            return refuse(format!("a batch of {} tokens", batch.entries.len()));
        }
        self.rows.clear();
        for entry in &batch.entries {
            let hashes = self.sequences.entry(entry.sequence).or_default();
            if hashes.len() != entry.position as usize {
                return refuse(format!(
                    "position {} after {}",
                    entry.position,
                    hashes.len()
                ));
            }
            let before = hashes.last().copied().unwrap_or(0x9E37_79B9_7F4A_7C15);
            let hash = (before ^ u64::from(entry.token)).wrapping_mul(0x0100_0000_01B3_0001);
            hashes.push(hash ^ (hash >> 29));
            let hash = *hashes.last().unwrap_or(&0);
            let row = entry.logits.then(|| self.row(hash));
            self.rows.push(row);
        }
        self.clock += self.curve.seconds(batch);
        Ok(())
    }

    fn logits(&self, index: usize) -> &[f32] {
        let row = self.rows.get(index).and_then(Option::as_deref);
        row.expect("logits are read only of entries that asked for them")
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        let shared = self.sequences[&from][..tokens as usize].to_vec();
        let previous = self.sequences.insert(to, shared);
        assert!(
            previous.is_none_or(|cells| cells.is_empty()),
            "sequence {to} was not empty"
        );
    }

    fn truncate(&mut self, sequence: SequenceId, tokens: u32) {
        let hashes = self.sequences.entry(sequence).or_default();
        assert!(
            hashes.len() >= tokens as usize,
            "sequence {sequence} is shorter than {tokens}"
        );
        hashes.truncate(tokens as usize);
    }

    fn saved_format(&self) -> Option<String> {
        Some("simulated".to_owned())
    }

    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        self.clock += f64::from(to - from) * self.curve.seconds_per_copied_cell;
        let hashes = &self.sequences[&sequence][from as usize..to as usize];
        Ok(hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect())
    }

    fn restore(
        &mut self,
        sequence: SequenceId,
        from: u32,
        tokens: u32,
        saved: &[u8],
    ) -> Result<(), ModelError> {
        self.clock += f64::from(tokens) * self.curve.seconds_per_copied_cell;
        let hashes = self.sequences.entry(sequence).or_default();
        let (saved, rest) = saved.as_chunks::<8>();
        if hashes.len() != from as usize || saved.len() != tokens as usize || !rest.is_empty() {
            let message = format!("{} cells at {from} after {}", saved.len(), hashes.len());
            return Err(ModelError(message));
        }
        hashes.extend(saved.iter().map(|hash| u64::from_le_bytes(*hash)));
        Ok(())
    }

    fn now(&self) -> f64 {
        self.clock
    }
}

/// First of the control tokens; the tokens below it are the 256 bytes.
const END: Token = 256;

/// The names of the control tokens, from [`END`] on.
const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// The vocabulary of [`SimModel`]: a token per byte, and ChatML's control tokens.
#[derive(Clone, Debug)]
pub struct SimVocabulary {
    bytes: Vec<u8>,
}

impl Default for SimVocabulary {
    fn default() -> Self {
        Self {
            bytes: (0..=255).collect(),
        }
    }
}

impl Vocabulary for SimVocabulary {
    fn len(&self) -> usize {
        self.bytes.len() + CONTROL.len()
    }

    fn tokenize(&self, text: &str, _add_special: bool, parse_special: bool) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.bytes().next() {
            let control = CONTROL
                .iter()
                .position(|name| parse_special && rest.starts_with(name));
            if let Some(index) = control {
                tokens.push(END + index as Token);
                rest = &rest[CONTROL[index].len()..];
            } else {
                let character = rest.chars().next().map_or(1, char::len_utf8);
                tokens.push(Token::from(first));
                tokens.extend(rest.bytes().take(character).skip(1).map(Token::from));
                rest = &rest[character..];
            }
        }
        tokens
    }

    fn bytes(&self, token: Token) -> &[u8] {
        let index = token as usize;
        self.bytes.get(index..=index).unwrap_or(&[])
    }

    fn name(&self, token: Token) -> &[u8] {
        match CONTROL.get((token as usize).wrapping_sub(self.bytes.len())) {
            Some(name) => name.as_bytes(),
            None => self.bytes(token),
        }
    }

    fn is_end_of_generation(&self, token: Token) -> bool {
        token == END || token == END + 2
    }

    fn begin_of_sequence(&self) -> Option<Token> {
        None
    }

    fn end_of_sequence(&self) -> Option<Token> {
        Some(END)
    }
}
