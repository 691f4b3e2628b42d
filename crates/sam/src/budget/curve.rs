//! What a decoding step costs by its size.

/// Tokens of the largest step that has a time of its own; beyond it the last slope goes on. Four
/// sequences with the longest drafts, or dozens with short ones; steps are not chosen larger.
pub const MOST_TOKENS: usize = 128;

/// Seconds of a step of so many tokens relative to one of a single token, before anything is known:
/// a 1.5B model in four bits on two cores. Relative times vary little between models of one
/// machine, and steps larger than were measured are taken to grow as here.
const PRIOR: [(usize, f64); 7] = [
    (1, 1.0),
    (2, 1.4),
    (4, 2.3),
    (8, 5.0),
    (16, 6.0),
    (32, 10.0),
    (64, 18.0),
];

/// Seconds of a step of one token before anything is known; the first step corrects it.
const FIRST_GUESS: f64 = 0.04;

// How sure what is known is, as variances of logarithms of times: a step that takes longer than was
// expected says something of the machine's present speed and something of its size, and is believed
// in each as far as that was uncertain.

/// Of a single step: times vary by a tenth.
const NOISE: f64 = 0.01;

/// Of the machine's speed, added by each step: a change is known within some ten steps.
const SPEED_CHANGE: f64 = 5e-4;

/// Of the machine's speed after measuring: other work ran beside it then, or does now.
const SPEED_UNKNOWN: f64 = 0.25;

/// Of a size's relative time, added by each of its steps: it changes far more slowly.
const SIZE_CHANGE: f64 = 1e-6;

/// Of a size that was measured a time or two.
const SIZE_MEASURED: f64 = 0.02;

/// Of a size that was not.
const SIZE_UNKNOWN: f64 = 0.05;

/// A step that took this many times what was expected, or this part of it, counts as no more: the
/// process was stopped, or the clock was set.
const OUTLIER: f64 = 4.0;

/// Price of a cell of context for a token that attends to it, in steps of one token, before it is
/// known: the model of [`PRIOR`], which has grouped-query attention.
const CONTEXT_PRIOR: f64 = 8e-6;

/// Models without it pay up to so many times that; what looks dearer is something else.
const CONTEXT_MOST: f64 = 10.0;

/// How much must be seen of contexts before they outweigh the prior, in squared cells: times vary
/// by a twentieth, and the prior is sure to some 5e-6.
const CONTEXT_WEIGHT: f64 = 1e8;

/// What of the past counts for the price of context: some thousand steps.
const CONTEXT_KEPT: f64 = 0.999;

/// With what the usual step of a size is compared: the last ten or so of that size.
const USUAL_RATE: f64 = 0.1;

/// Seconds that a step takes which decodes: every token of it is followed by logits.
///
/// It is one factor for the machine's present speed, times a table of relative times by the number
/// of tokens, plus a price per cell of context that a token attends to. Between sizes that were
/// seen the table is a straight line; it need not rise, since kernels are made for some sizes and
/// not for others.
#[derive(Clone, Debug)]
pub struct StepCurve {
    /// By number of tokens; the first is not used.
    relative: [f64; MOST_TOKENS + 1],
    /// Whether it was measured or seen, by number of tokens; else its time is interpolated.
    seen: [bool; MOST_TOKENS + 1],
    /// How sure its relative time is, by number of tokens.
    variance: [f64; MOST_TOKENS + 1],
    /// Seconds of a relative time of 1.
    scale: f64,
    /// How sure that is.
    scale_variance: f64,
    /// Whether the scale was seen.
    scaled: bool,
    /// Seconds per token and cell of context.
    context: f64,
    price: ContextPrice,
}

/// Learns what a cell of context costs from steps of one size in unlike contexts: that sizes cost
/// something else than was thought does not matter then, nor that the machine slows down meanwhile.
#[derive(Clone, Debug)]
struct ContextPrice {
    /// By number of tokens: the usual contexts and seconds, both per relative time of the size.
    usual: [Option<(f64, f64)>; MOST_TOKENS + 1],
    /// Sums of products of what differs from the usual.
    contexts_contexts: f64,
    contexts_seconds: f64,
}

impl Default for StepCurve {
    fn default() -> Self {
        let mut relative = [0.0; MOST_TOKENS + 1];
        for (tokens, value) in relative.iter_mut().enumerate() {
            *value = prior(tokens);
        }
        Self {
            relative,
            seen: [false; MOST_TOKENS + 1],
            variance: [SIZE_UNKNOWN; MOST_TOKENS + 1],
            scale: FIRST_GUESS,
            scale_variance: SPEED_UNKNOWN,
            scaled: false,
            context: FIRST_GUESS * CONTEXT_PRIOR,
            price: ContextPrice {
                usual: [None; MOST_TOKENS + 1],
                contexts_contexts: 0.0,
                contexts_seconds: 0.0,
            },
        }
    }
}

impl ContextPrice {
    /// Takes note of a step; returns the price in seconds, where `scale` is that of the curve.
    fn observe(&mut self, tokens: usize, contexts: f64, seconds: f64, scale: f64) -> f64 {
        if let Some((usual_contexts, usual_seconds)) = &mut self.usual[tokens] {
            let (x, y) = (contexts - *usual_contexts, seconds - *usual_seconds);
            *usual_contexts += USUAL_RATE * x;
            *usual_seconds += USUAL_RATE * y;
            self.contexts_contexts = self.contexts_contexts * CONTEXT_KEPT + x * x;
            self.contexts_seconds = self.contexts_seconds * CONTEXT_KEPT + x * y;
        } else {
            self.usual[tokens] = Some((contexts, seconds));
        }
        let prior = scale * CONTEXT_PRIOR;
        let price = (self.contexts_seconds + CONTEXT_WEIGHT * prior)
            / (self.contexts_contexts + CONTEXT_WEIGHT);
        price.clamp(0.0, CONTEXT_MOST * prior)
    }
}

impl StepCurve {
    /// A curve of measured points: tokens (1 to [`MOST_TOKENS`]; others are left out), seconds
    /// (above 0) with next to no context.
    pub fn measured(points: &[(usize, f64)]) -> Self {
        let mut curve = Self::default();
        let known = |point: &&(usize, f64)| (1..=MOST_TOKENS).contains(&point.0) && point.1 > 0.0;
        for &(tokens, seconds) in points.iter().filter(known) {
            if !curve.scaled {
                curve.scale = seconds / prior(tokens);
                curve.scaled = true;
            }
            curve.relative[tokens] = seconds / curve.scale;
            curve.seen[tokens] = true;
            curve.variance[tokens] = SIZE_MEASURED;
        }
        curve.context = curve.scale * CONTEXT_PRIOR;
        curve.interpolate();
        curve
    }

    /// The curve with this price of a cell of context, in seconds for each token that attends to
    /// it, until steps show another.
    #[must_use]
    pub fn with_context(mut self, seconds: f64) -> Self {
        self.context = seconds;
        self
    }

    /// Seconds of a step of `tokens` tokens (at least 1) whose contexts sum up to `contexts` cells.
    pub fn seconds(&self, tokens: usize, contexts: f64) -> f64 {
        let relative = match self.relative.get(tokens) {
            Some(relative) => *relative,
            None => {
                let last = self.relative[MOST_TOKENS];
                let slope = (last - self.relative[MOST_TOKENS / 2]) / (MOST_TOKENS / 2) as f64;
                last + slope.max(0.0) * (tokens - MOST_TOKENS) as f64
            }
        };
        self.scale * relative + self.context * contexts
    }

    /// Takes note of a step that did nothing but decode.
    pub fn observe(&mut self, tokens: usize, contexts: f64, seconds: f64) {
        if !(1..=MOST_TOKENS).contains(&tokens) || seconds <= 0.0 || !seconds.is_finite() {
            return;
        }
        if !self.scaled {
            let relative = self.relative[tokens] + CONTEXT_PRIOR * contexts;
            self.scale = seconds / relative;
            self.context = self.scale * CONTEXT_PRIOR;
            self.scaled = true;
            return;
        }
        let expected = self.seconds(tokens, contexts);
        let ratio = (seconds / expected).clamp(1.0 / OUTLIER, OUTLIER);
        let relative = self.relative[tokens];
        let (x, y) = (contexts / relative, ratio * expected / relative);
        self.context = self.price.observe(tokens, x, y, self.scale);
        let speed = self.scale_variance + SPEED_CHANGE;
        let size = self.variance[tokens] + SIZE_CHANGE;
        let total = speed + size + NOISE;
        self.scale *= ratio.powf(speed / total);
        self.relative[tokens] *= ratio.powf(size / total);
        self.scale_variance = speed * (1.0 - speed / total);
        self.variance[tokens] = size * (1.0 - size / total);
        self.seen[tokens] = true;
        self.interpolate();
    }

    /// The sizes that were seen or measured, with their seconds without context.
    pub fn points(&self) -> impl Iterator<Item = (usize, f64)> {
        let seen = (1..=MOST_TOKENS).filter(|&tokens| self.seen[tokens]);
        seen.map(|tokens| (tokens, self.scale * self.relative[tokens]))
    }

    /// Fills in the sizes that were not seen.
    fn interpolate(&mut self) {
        let mut left: Option<usize> = None;
        for tokens in 1..=MOST_TOKENS {
            if !self.seen[tokens] {
                continue;
            }
            let (y1, first) = (self.relative[tokens], left.map_or(1, |left| left + 1));
            for between in first..tokens {
                self.relative[between] = match left {
                    Some(left) => {
                        let share = (between - left) as f64 / (tokens - left) as f64;
                        self.relative[left] + (y1 - self.relative[left]) * share
                    }
                    None => y1 * prior(between) / prior(tokens),
                };
            }
            left = Some(tokens);
        }
        let Some(last) = left else { return };
        for beyond in last + 1..=MOST_TOKENS {
            self.relative[beyond] = self.relative[last] * prior(beyond) / prior(last);
        }
    }
}

/// [`PRIOR`] by straight lines, the last of which goes on.
fn prior(tokens: usize) -> f64 {
    let right = PRIOR.partition_point(|(known, _)| *known < tokens);
    let right = right.clamp(1, PRIOR.len() - 1);
    let ((x0, y0), (x1, y1)) = (PRIOR[right - 1], PRIOR[right]);
    y0 + (y1 - y0) * (tokens as f64 - x0 as f64) / (x1 - x0) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, share: f64) -> bool {
        (a - b).abs() <= share * b
    }

    #[test]
    fn what_was_measured_is_given_back_and_the_rest_fits_in() {
        let curve = StepCurve::measured(&[(1, 0.02), (4, 0.05), (8, 0.11), (12, 0.09)]);
        for (tokens, seconds) in [
            (1, 0.02),
            (2, 0.03),
            (4, 0.05),
            (6, 0.08),
            (8, 0.11),
            (10, 0.10),
            (12, 0.09),
            // As the prior grows: 5.5 at 12 tokens, 6 at 16, 18 at 64, 34 at 128.
            (16, 0.09 * 6.0 / 5.5),
            (64, 0.09 * 18.0 / 5.5),
            (192, 0.09 * 50.0 / 5.5),
        ] {
            let found = curve.seconds(tokens, 0.0);
            assert!(near(found, seconds, 1e-9), "{tokens}: {found} {seconds}");
        }
        let sizes: Vec<usize> = curve.points().map(|(tokens, _)| tokens).collect();
        assert_eq!(sizes, [1, 4, 8, 12]);
    }

    #[test]
    fn without_measurements_the_first_step_gives_the_scale() {
        let mut curve = StepCurve::default();
        curve.observe(2, 0.0, 0.14);
        assert!(near(curve.seconds(1, 0.0), 0.1, 1e-9));
        assert!(near(curve.seconds(16, 0.0), 0.6, 1e-9));
        let curve = curve.with_context(1e-6);
        assert!(near(curve.seconds(1, 50_000.0), 0.15, 1e-9));
    }

    #[test]
    fn another_shape_is_learned_from_the_steps_that_happen() {
        let truth = |tokens: usize| 0.01 + 0.03 * (tokens as f64 / 8.0).floor();
        let mut curve = StepCurve::measured(&[(1, 0.01), (4, 0.02), (16, 0.1)]);
        for step in 0..12_000 {
            let tokens = [1, 3, 7, 8, 12, 16][step % 6];
            let contexts = 1000.0 * (step % 5) as f64 * tokens as f64;
            curve.observe(tokens, contexts, truth(tokens) + 3e-7 * contexts);
        }
        let price = curve.seconds(1, 1e6) - curve.seconds(1, 0.0);
        assert!(near(price, 0.3, 0.1), "{price}");
        for tokens in [1, 3, 7, 8, 12, 16] {
            let found = curve.seconds(tokens, 0.0);
            assert!(near(found, truth(tokens), 0.02), "{tokens}: {found}");
        }
    }

    #[test]
    fn a_slower_machine_keeps_its_shape() {
        let mut curve = StepCurve::measured(&[(1, 0.02), (2, 0.03), (16, 0.1)]);
        // Only steps of one token happen while everything takes twice as long.
        for (steps, seconds, allowed) in [(300, 0.04, 0.08), (30, 0.08, 0.1), (300, 0.02, 0.1)] {
            (0..steps).for_each(|_| curve.observe(1, 0.0, seconds));
            assert!(near(curve.seconds(1, 0.0), seconds, 0.02));
            let relative = curve.seconds(16, 0.0) / curve.seconds(1, 0.0);
            assert!(near(relative, 5.0, allowed), "{relative}");
        }
    }

    #[test]
    fn a_disturbed_measurement_is_mended() {
        let truth = [(1, 0.02), (2, 0.03), (3, 0.04), (4, 0.05)];
        for disturbed in 0..truth.len() {
            let mut points = truth;
            points[disturbed].1 *= 6.0;
            let mut curve = StepCurve::measured(&points);
            for step in 0..80 {
                let (tokens, seconds) = truth[[0, 1, 0, 2, 0, 3][step % 6]];
                curve.observe(tokens, 0.0, seconds);
            }
            for (tokens, seconds) in truth {
                let found = curve.seconds(tokens, 0.0);
                assert!(near(found, seconds, 0.1), "{disturbed}, {tokens}: {found}");
            }
        }
    }

    #[test]
    fn one_hiccup_changes_little_and_nonsense_nothing() {
        let mut curve = StepCurve::measured(&[(1, 0.02), (8, 0.1)]);
        (0..10).for_each(|_| curve.observe(1, 0.0, 0.02));
        curve.observe(1, 0.0, 60.0);
        (0..30).for_each(|_| curve.observe(1, 0.0, 0.02));
        assert!(near(curve.seconds(8, 0.0), 0.1, 0.25));
        let before = curve.seconds(1, 0.0);
        for (tokens, seconds) in [(0, 1.0), (1, 0.0), (1, f64::NAN), (MOST_TOKENS + 1, 1.0)] {
            curve.observe(tokens, 0.0, seconds);
        }
        assert_eq!(curve.seconds(1, 0.0), before);
    }
}
