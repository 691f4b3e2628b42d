//! What keeps drafts from costing more than they save, whatever their probabilities say.

/// Guesses that the belief in probabilities counts as: some misses in a row halve it.
const BELIEF: f64 = 2.0;

/// Standard deviations by which guesses may fall short of their probabilities by chance: whoever is
/// honest is not to be taken for a liar every now and then.
const CHANCE: f64 = 2.0;

/// What the past keeps at each guess: the last hundred or so count.
const KEPT: f64 = 0.99;

/// What the past keeps at each step without a guess: whoever is not believed any more is tried
/// again after some hundred steps.
const KEPT_IDLE: f64 = 0.9995;

/// How much less often guesses come true than their probabilities say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trust {
    /// Sum of the probabilities of guesses that were put to the test.
    expected: f64,
    /// How many of these came true.
    happened: f64,
    /// Variance of that number if the probabilities are true.
    variance: f64,
}

impl Trust {
    /// By what a probability must be multiplied; at most 1.
    pub(super) fn factor(&self) -> f32 {
        let by_chance = CHANCE * self.variance.sqrt();
        let factor = (self.happened + by_chance + BELIEF) / (self.expected + BELIEF);
        factor.min(1.0) as f32
    }

    /// A guess was put to the test.
    pub(super) fn note(&mut self, probability: f32, came_true: bool) {
        let probability = f64::from(probability);
        self.expected = self.expected * KEPT + probability;
        self.happened = self.happened * KEPT + f64::from(u8::from(came_true));
        self.variance = self.variance * KEPT + probability * (1.0 - probability);
    }

    /// A step went by without a guess.
    pub(super) fn relax(&mut self) {
        self.expected *= KEPT_IDLE;
        self.happened *= KEPT_IDLE;
        self.variance *= KEPT_IDLE;
    }
}

/// How often a kind of guess comes true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    came_true: f64,
    missed: f64,
}

impl Rate {
    /// A rate that is believed as if it had been seen in so many guesses.
    pub(super) fn believed(came_true: f64, missed: f64) -> Self {
        Self { came_true, missed }
    }

    pub(super) fn probability(&self) -> f32 {
        (self.came_true / (self.came_true + self.missed)) as f32
    }

    pub(super) fn note(&mut self, came_true: bool) {
        let weight = self.came_true + self.missed;
        // Below the weight at which a new guess would add more than is forgotten, nothing is.
        let kept = if weight > 1.0 / (1.0 - KEPT) {
            KEPT
        } else {
            1.0
        };
        self.came_true = self.came_true * kept + f64::from(u8::from(came_true));
        self.missed = self.missed * kept + f64::from(u8::from(!came_true));
    }
}

/// Share of the time that drafts may lose, in seconds per second.
const ALLOWANCE: f64 = 0.01;

/// Undrafted steps' time that drafts may lose at the beginning.
const FIRST_CREDIT: f64 = 8.0;

/// Undrafted steps' time that drafts may lose after a long good time.
const MOST_CREDIT: f64 = 32.0;

/// The account of what drafts saved and cost: the promise that decoding with them is not slower
/// than without, in the long run and over some dozen steps. Drafting pauses while it is overdrawn,
/// and time pays in [`ALLOWANCE`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    /// In seconds; none before the first step.
    balance: Option<f64>,
}

impl Account {
    pub(super) fn is_overdrawn(&self) -> bool {
        self.balance.is_some_and(|balance| balance < 0.0)
    }

    /// A step took `seconds` and would have taken `alone` without its drafts and without anybody's
    /// prefill; drafts saved and cost so many seconds.
    pub(super) fn settle(&mut self, seconds: f64, alone: f64, saved: f64, cost: f64) {
        let balance = self.balance.unwrap_or(FIRST_CREDIT * alone);
        let balance = balance + ALLOWANCE * seconds + saved - cost;
        self.balance = Some(balance.min(MOST_CREDIT * alone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_follows_what_happens_and_comes_back() {
        for (probability, one_in, expected) in [
            (0.8, 1, 1.0),
            (0.5, 2, 1.0),
            (0.8, 4, 0.4),
            (1.0, 1000, 0.02),
        ] {
            let mut trust = Trust::default();
            (0..1000).for_each(|index| trust.note(probability, index % one_in == one_in - 1));
            let factor = trust.factor();
            assert!((factor - expected).abs() < 0.05, "{probability} {factor}");
            (0..20_000).for_each(|_| trust.relax());
            assert!(trust.factor() > 0.98);
        }
        let mut trust = Trust::default();
        (0..6).for_each(|_| trust.note(0.9, false));
        assert!(trust.factor() < 0.5, "six misses are enough");
        // Bad luck is none: 44 of 100 where 50 were due.
        let mut trust = Trust::default();
        (0..500).for_each(|index| trust.note(0.5, index % 9 < 4));
        assert!(trust.factor() > 0.99);
    }

    #[test]
    fn a_rate_follows_what_happens() {
        let mut rate = Rate::believed(19.0, 1.0);
        assert!((rate.probability() - 0.95).abs() < 1e-6);
        (0..500).for_each(|index| rate.note(index % 2 == 0));
        assert!((rate.probability() - 0.5).abs() < 0.02);
    }

    #[test]
    fn losses_stay_within_the_allowance() {
        let mut account = Account::default();
        let (mut lost, mut steps) = (0.0, 0.0);
        for _ in 0..10_000 {
            let cost = if account.is_overdrawn() { 0.0 } else { 0.3 };
            account.settle(0.1 + cost, 0.1, 0.0, cost);
            lost += cost;
            steps += 0.1;
        }
        assert!(lost < 0.011 * steps + 8.0 * 0.1 + 0.3, "{lost} in {steps}");
        // What was saved can be lost again, up to a bound.
        (0..1000).for_each(|_| account.settle(0.1, 0.1, 0.1, 0.0));
        assert!(
            account
                .balance
                .is_some_and(|balance| (balance - 3.2).abs() < 1e-9)
        );
    }
}
