//! How long a real model's steps take, measured for the simulated one.

use agentinfer_engine::{
    Batch, EngineError, Entry, LatencyCurve, Model, ModelError, SequenceId, Token,
};

use crate::BenchError;

/// Batch sizes that are measured.
const TOKENS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// Sizes of which also the cost of a row of logits for each token is measured: more requests than
/// this rarely decode at once.
const ROWS: [usize; 4] = [2, 4, 8, 16];
/// Steps of each kind, after one that does not count: of up to 16 tokens, and of more. Medians are
/// taken.
const REPEATS: [usize; 2] = [7, 3];
/// Tokens of the longer of the two contexts; the shorter has none.
const CONTEXT: usize = 2048;
/// Tokens whose cells are copied at once, as many as the engine copies.
const COPIED: u32 = 64;
/// Tokens of a context on the machine that is measured: the context and the largest step twice.
pub(super) const CELLS: u32 = (CONTEXT + 2 * TOKENS[TOKENS.len() - 1]) as u32;

/// The two sequences that are measured.
const LONG: SequenceId = 0;
const SHORT: SequenceId = 1;

/// Measures a model that holds nothing: steps of each size on an empty machine, on one that holds
/// another sequence, and as a continuation of that sequence. It holds nothing again afterwards.
///
/// # Errors
/// [`BenchError::Engine`] when the model fails.
pub(super) fn calibrate(model: &mut impl Model) -> Result<LatencyCurve, BenchError> {
    let mut probe = Probe {
        random: fastrand::Rng::with_seed(1),
        words: model.limits().vocabulary,
        lengths: [0; 2],
        model,
    };
    let most = probe.model.limits().batch_tokens as usize;
    let sizes: Vec<usize> = TOKENS
        .into_iter()
        .filter(|tokens| *tokens <= most)
        .collect();
    let each = |probe: &mut Probe<'_, _>, sequence| -> Result<Vec<f64>, BenchError> {
        sizes
            .iter()
            .map(|&tokens| probe.median(sequence, tokens, 1))
            .collect()
    };
    // The price of rows is a small difference: both sides of it are measured close to each other,
    // so that a machine that changes its speed changes both.
    let mut rows = vec![(1, 0.0)];
    for tokens in ROWS {
        let one = probe.median(SHORT, tokens, 1)?;
        let all = probe.median(SHORT, tokens, tokens)?;
        rows.push((tokens as u32, (all - one).max(0.0)));
    }
    // A step without a row leaves one out.
    rows.insert(0, (0, -rows[1].1));
    let empty = each(&mut probe, SHORT)?;
    while probe.lengths[LONG as usize] < CONTEXT {
        probe.step(LONG, most.min(CONTEXT - probe.lengths[LONG as usize]), 1)?;
    }
    let beside = each(&mut probe, SHORT)?;
    let longer = each(&mut probe, LONG)?;
    let copied = probe.copied()?;
    probe.shorten(LONG, 0);

    let cells = CONTEXT as f64;
    let mut curve = LatencyCurve {
        points: Vec::new(),
        context: Vec::new(),
        resident: Vec::new(),
        rows,
        copied,
        tiled: probe.model.attends_in_tiles(),
    };
    for (index, &tokens) in sizes.iter().enumerate() {
        let resident = ((beside[index] - empty[index]) / cells).max(0.0);
        let context = ((longer[index] - beside[index]) / cells).max(0.0);
        // On the empty machine the step's own tokens were its context.
        let own = (tokens - 1) as f64 / 2.0;
        let seconds = empty[index] - context * own - resident * tokens as f64;
        let tokens = tokens as u32;
        curve.points.push((tokens, seconds));
        curve.context.push((tokens, context));
        curve.resident.push((tokens, resident));
    }
    Ok(curve)
}

/// A model that is measured.
struct Probe<'a, M> {
    model: &'a mut M,
    random: fastrand::Rng,
    words: u32,
    lengths: [usize; 2],
}

impl<M: Model> Probe<'_, M> {
    /// The median seconds of a step of so many tokens that continues a sequence, with logits of its
    /// last `rows` tokens. The sequence is as long as before afterwards.
    fn median(
        &mut self,
        sequence: SequenceId,
        tokens: usize,
        rows: usize,
    ) -> Result<f64, BenchError> {
        let length = self.lengths[sequence as usize];
        let repeats = REPEATS[usize::from(tokens > ROWS[ROWS.len() - 1])];
        let mut seconds = Vec::with_capacity(repeats);
        for repeat in 0..=repeats {
            let taken = self.step(sequence, tokens, rows)?;
            self.shorten(sequence, length);
            if repeat > 0 {
                seconds.push(taken);
            }
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[repeats / 2])
    }

    /// Appends random tokens to a sequence and returns the seconds until the most probable next
    /// token of each row is known.
    fn step(
        &mut self,
        sequence: SequenceId,
        tokens: usize,
        rows: usize,
    ) -> Result<f64, BenchError> {
        let length = self.lengths[sequence as usize];
        let entry = |index: usize, token: Token| Entry {
            token,
            position: (length + index) as u32,
            sequence,
            logits: index + rows >= tokens,
        };
        let entries = (0..tokens).map(|index| entry(index, self.random.u32(..self.words)));
        let batch = Batch {
            entries: entries.collect(),
        };
        let begin = self.model.now();
        let computed = self.model.forward(&batch);
        computed.map_err(|error| EngineError::Model(error.to_string()))?;
        for row in tokens - rows..tokens {
            let logits = self.model.logits(row);
            let most = logits.iter().copied().max_by(f32::total_cmp);
            std::hint::black_box(most);
        }
        let seconds = self.model.now() - begin;
        self.lengths[sequence as usize] += tokens;
        Ok(seconds)
    }

    /// The median seconds in which a cell at the end of the long sequence is copied back.
    fn copied(&mut self) -> Result<f64, BenchError> {
        if self.model.saved_format().is_none() {
            return Ok(LatencyCurve::default().copied);
        }
        let failed = |error: ModelError| EngineError::Model(error.to_string());
        let to = self.lengths[LONG as usize] as u32;
        let from = to - COPIED;
        let saved = self.model.save(LONG, from, to).map_err(failed)?;
        let mut seconds = Vec::with_capacity(REPEATS[0]);
        for _ in 0..REPEATS[0] {
            self.model.truncate(LONG, from);
            let begin = self.model.now();
            let restored = self.model.restore(LONG, from, COPIED, &saved);
            restored.map_err(failed)?;
            seconds.push(self.model.now() - begin);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[REPEATS[0] / 2] / f64::from(COPIED))
    }

    fn shorten(&mut self, sequence: SequenceId, tokens: usize) {
        self.model.truncate(sequence, tokens as u32);
        self.lengths[sequence as usize] = tokens;
    }
}

#[cfg(test)]
mod tests {
    use agentinfer_engine::{ModelLimits, SimModel};

    use super::*;

    #[test]
    fn what_is_measured_on_a_simulated_model_is_its_curve() {
        let line = |slope: f64| vec![(1, slope), (512, 512.0 * slope)];
        let truth = LatencyCurve {
            points: vec![(1, 0.03), (8, 0.1), (512, 3.0)],
            context: line(2e-6),
            resident: line(3e-7),
            rows: vec![(0, -0.004), (1, 0.0), (16, 0.06)],
            copied: 3e-5,
            tiled: true,
        };
        let limits = ModelLimits {
            cells: CELLS,
            context_tokens: CELLS,
            ..SimModel::default().limits()
        };
        let mut model = SimModel::new(limits, truth.clone());
        let measured = calibrate(&mut model).expect("measures");
        let close = |a: &[(u32, f64)], b: &[(u32, f64)]| {
            a.iter()
                .zip(b)
                .all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-9)
        };
        assert!((measured.copied - truth.copied).abs() < 1e-9);
        assert!(close(&measured.rows[..2], &truth.rows[..2]), "{measured:?}");
        for (tokens, seconds) in measured.points {
            let at = |points: &[(u32, f64)], x: u32| {
                let right = points.partition_point(|point| point.0 < x).max(1);
                let ((x0, y0), (x1, y1)) = (points[right - 1], points[right]);
                y0 + (y1 - y0) * f64::from(x - x0) / f64::from(x1 - x0)
            };
            assert!(
                (seconds - at(&truth.points, tokens)).abs() < 1e-9,
                "{tokens}"
            );
        }
        for (tokens, seconds) in measured.context {
            assert!((seconds - 2e-6 * f64::from(tokens)).abs() < 1e-9);
        }
        for (tokens, seconds) in measured.resident {
            assert!((seconds - 3e-7 * f64::from(tokens)).abs() < 1e-9);
        }
    }
}
