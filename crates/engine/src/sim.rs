//! A simulated model and its vocabulary.

use std::collections::{BTreeMap, HashMap};

use crate::{Batch, Entry, Model, ModelError, ModelLimits, SequenceId, Token, Vocabulary};

/// Seconds of a forward pass. Each part is a curve of measured points with rising first numbers:
/// straight lines between them, the slope of the last two beyond them, nothing where there are no
/// points.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyCurve {
    /// Tokens in the batch, seconds.
    pub points: Vec<(u32, f64)>,
    /// Tokens in the batch, seconds more per cell of their own context (its mean over the tokens).
    pub context: Vec<(u32, f64)>,
    /// Tokens in the batch, seconds more per resident cell, whoever's it is.
    pub resident: Vec<(u32, f64)>,
    /// Rows of logits, seconds more than for one.
    pub rows: Vec<(u32, f64)>,
    /// Seconds per token to copy its cell out of the model, or back.
    pub copied: f64,
    /// Whether attention is computed in tiles, so that a batch takes [two passes](Batch::passes),
    /// and the engine lays cells out anew; the curve is that of cells that lie well.
    pub tiled: bool,
}

impl Default for LatencyCurve {
    /// Qwen2.5-Coder 1.5B Q4_K_M on two cores: a step of one token takes 38 ms, and of 2, 4, 8,
    /// 16, 32 and 64 tokens 1.4, 2.3, 5, 6, 10 and 18 times that; a cell of context 0.3
    /// microseconds a token.
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
            context: vec![(0, 0.0), (1, 3e-7)],
            resident: Vec::new(),
            rows: Vec::new(),
            copied: 2e-5,
            tiled: false,
        }
    }
}

impl LatencyCurve {
    /// Seconds that a forward pass takes while so many cells are resident.
    pub fn seconds(&self, batch: &Batch, resident_cells: usize) -> f64 {
        let passes = match self.tiled {
            true => batch.passes(),
            false => [&[], &batch.entries[..]],
        };
        let passes = passes.iter().filter(|entries| !entries.is_empty());
        passes
            .map(|entries| self.pass(entries, resident_cells))
            .sum()
    }

    fn pass(&self, entries: &[Entry], resident_cells: usize) -> f64 {
        let tokens = entries.len() as f64;
        let positions = entries.iter().map(|entry| f64::from(entry.position));
        let context = positions.sum::<f64>() / tokens;
        let rows = entries.iter().filter(|entry| entry.logits).count();
        at(&self.points, tokens)
            + at(&self.context, tokens) * context
            + at(&self.resident, tokens) * resident_cells as f64
            + at(&self.rows, rows as f64)
    }
}

/// The value of a curve.
fn at(points: &[(u32, f64)], x: f64) -> f64 {
    let point = |index: usize| (f64::from(points[index].0), points[index].1);
    match points.len() {
        0 => 0.0,
        1 => point(0).1,
        count => {
            let beyond = points.partition_point(|(known, _)| f64::from(*known) < x);
            let right = beyond.clamp(1, count - 1);
            let ((x0, y0), (x1, y1)) = (point(right - 1), point(right));
            y0 + (y1 - y0) * (x - x0) / (x1 - x0)
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
    /// How many sequences hold each cell, by the hash of the text up to it; counted only where
    /// the curve asks for resident cells.
    cells: HashMap<u64, u32>,
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
            cells: HashMap::new(),
            rows: Vec::new(),
            clock: 0.0,
        }
    }

    /// Counts cells that a sequence has got.
    fn hold(&mut self, hashes: &[u64]) {
        if !self.curve.resident.is_empty() {
            for hash in hashes {
                *self.cells.entry(*hash).or_default() += 1;
            }
        }
    }

    /// Counts cells that a sequence has given up.
    fn drop_cells(&mut self, hashes: &[u64]) {
        for hash in hashes {
            if let Some(count) = self.cells.get_mut(hash) {
                *count -= 1;
                if *count == 0 {
                    self.cells.remove(hash);
                }
            }
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
            let hash = hash ^ (hash >> 29);
            hashes.push(hash);
            self.hold(&[hash]);
            let row = entry.logits.then(|| self.row(hash));
            self.rows.push(row);
        }
        self.clock += self.curve.seconds(batch, self.cells.len());
        Ok(())
    }

    fn logits(&self, index: usize) -> &[f32] {
        let row = self.rows.get(index).and_then(Option::as_deref);
        row.expect("logits are read only of entries that asked for them")
    }

    fn share(&mut self, from: SequenceId, to: SequenceId, tokens: u32) {
        let shared = self.sequences[&from][..tokens as usize].to_vec();
        self.hold(&shared);
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
        let dropped = hashes.split_off(tokens as usize);
        self.drop_cells(&dropped);
    }

    fn attends_in_tiles(&self) -> bool {
        self.curve.tiled
    }

    fn saved_format(&self) -> Option<String> {
        Some("simulated".to_owned())
    }

    fn save(&mut self, sequence: SequenceId, from: u32, to: u32) -> Result<Vec<u8>, ModelError> {
        self.clock += f64::from(to - from) * self.curve.copied;
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
        self.clock += f64::from(tokens) * self.curve.copied;
        let hashes = self.sequences.entry(sequence).or_default();
        let (saved, rest) = saved.as_chunks::<8>();
        if hashes.len() != from as usize || saved.len() != tokens as usize || !rest.is_empty() {
            let message = format!("{} cells at {from} after {}", saved.len(), hashes.len());
            return Err(ModelError(message));
        }
        let restored: Vec<u64> = saved.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
        hashes.extend(&restored);
        self.hold(&restored);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    #[test]
    fn a_step_takes_the_sum_of_its_parts() {
        let curve = LatencyCurve {
            points: vec![(1, 1.0), (3, 3.0)],
            context: vec![(1, 0.1), (2, 0.3)],
            resident: vec![(0, 0.0), (1, 0.01)],
            rows: vec![(1, 0.0), (2, 0.5)],
            copied: 0.0,
            tiled: false,
        };
        let limits = SimModel::default().limits();
        let mut model = SimModel::new(limits, curve);
        let mut step = |tokens: &[(SequenceId, u32, bool)]| {
            let entry = |&(sequence, position, logits): &(SequenceId, u32, bool)| Entry {
                token: 7,
                position,
                sequence,
                logits,
            };
            let begin = model.now();
            let entries = tokens.iter().map(entry).collect();
            model.forward(&Batch { entries }).expect("sound");
            let seconds = model.now() - begin;
            if tokens.len() == 3 {
                model.share(0, 1, 2);
                model.truncate(0, 1);
            }
            seconds
        };
        // Three tokens; 0.5 a cell of a mean context of 1; 3 cells at 0.03; one row.
        let first = step(&[(0, 0, false), (0, 1, false), (0, 2, true)]);
        assert!((first - (3.0 + 0.5 + 0.09)).abs() < 1e-9, "{first}");
        // Both sequences hold the beginning of one text of three tokens: cells count once.
        let second = step(&[(0, 1, true), (1, 2, true)]);
        let expected = 2.0 + 0.3 * 1.5 + 3.0 * 0.02 + 0.5;
        assert!((second - expected).abs() < 1e-9, "{second}");
    }

    #[test]
    fn in_tiles_what_decodes_and_what_prefills_are_two_passes() {
        let whole = LatencyCurve {
            points: vec![(1, 1.0), (201, 3.0)],
            context: vec![(1, 0.1), (2, 0.1)],
            ..LatencyCurve::default()
        };
        let tiled = LatencyCurve {
            tiled: true,
            ..whole.clone()
        };
        // Tokens that decode after 10 others, and those of a prompt; entries of the first pass.
        for (decodes, prompt, first) in [
            (0, 100, 0),
            (2, 61, 0),
            (2, 62, 2),
            (70, 0, 0),
            (70, 10, 70),
        ] {
            let part = |sequence, start: u32, tokens, logits| {
                (start..start + tokens).map(move |position| Entry {
                    token: 7,
                    position,
                    sequence,
                    logits,
                })
            };
            let batch = |decodes, prompt| Batch {
                entries: part(0, 10, decodes, true)
                    .chain(part(1, 0, prompt, false))
                    .collect(),
            };
            let both = batch(decodes, prompt);
            assert_eq!(both.passes().map(<[_]>::len)[0], first);
            let seconds = tiled.seconds(&both, 0);
            let expected = match first {
                0 => whole.seconds(&both, 0),
                _ => whole.seconds(&batch(decodes, 0), 0) + whole.seconds(&batch(0, prompt), 0),
            };
            assert!((seconds - expected).abs() < 1e-9, "{decodes} {prompt}");
        }
    }
}
