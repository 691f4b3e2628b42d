//! How much a drafter may draft: a fixed threshold, or as many tokens a step as a rival drafts.

/// The threshold of a budget stays between these: below a guess in a thousand nothing is gained,
/// and one above never leaves a certain guess out.
const LEAST: (f64, f64) = (0.001, 0.999);

/// Tokens of budget, in full drafts, that are held back for the next promising places. Fewer would
/// cut their drafts off, more would be left over at the end.
const RESERVE_DRAFTS: f64 = 8.0;

/// By how much, in nats, the threshold gives way where a whole reserve is missing or left over.
const GAIN: f64 = 0.3;

/// Further from the reserve than so many times itself, the threshold does not follow: what could
/// not be spent for long is not wasted at once.
const MOST_RESERVES: f64 = 4.0;

/// Decides before each step how much a drafter may propose.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    max_draft: usize,
    least: f64,
    budget: Option<Budget>,
}

/// A budget in drafted tokens a step, spent by a threshold that follows what is left of it (a
/// proportional and integral control of its logarithm). The steps to come are not known to it.
#[derive(Clone, Copy, Debug)]
struct Budget {
    tokens_per_step: f64,
    /// Tokens allowed so far that were not drafted; never negative.
    left: f64,
    /// How many of them there should be.
    reserve: f64,
    /// Logarithm of the threshold at which the reserve stays as it is.
    level: f64,
}

impl Pace {
    /// At most `max_draft` guesses a step, none that is reached with a probability below `least`.
    pub(super) fn fixed(max_draft: usize, least: f32) -> Self {
        Self {
            max_draft,
            least: f64::from(least),
            budget: None,
        }
    }

    /// At most `max_draft` guesses a step, and on average never more than `tokens_per_step`. The
    /// threshold begins at `least`.
    pub(super) fn within(tokens_per_step: f64, max_draft: usize, least: f32) -> Self {
        let least = f64::from(least).clamp(LEAST.0, LEAST.1);
        let budget = Budget {
            tokens_per_step,
            left: 0.0,
            reserve: RESERVE_DRAFTS * max_draft as f64,
            level: least.ln(),
        };
        Self {
            max_draft,
            least,
            budget: Some(budget),
        }
    }

    /// How many guesses the next step may have.
    pub(super) fn limit(&self) -> usize {
        self.budget.map_or(self.max_draft, |budget| {
            self.max_draft.min(budget.allowed() as usize)
        })
    }

    /// With which probability they must be reached.
    pub(super) fn least(&self) -> f32 {
        self.least as f32
    }

    /// A step had `drafted` guesses.
    pub(super) fn took(&mut self, drafted: usize) {
        if let Some(budget) = &mut self.budget {
            budget.left = budget.allowed() - drafted as f64;
            self.least = budget.follow();
        }
    }
}

impl Budget {
    fn allowed(&self) -> f64 {
        self.left + self.tokens_per_step
    }

    /// The threshold after a step.
    fn follow(&mut self) -> f64 {
        let (low, high) = (LEAST.0.ln(), LEAST.1.ln());
        let missing = 1.0 - self.left / self.reserve;
        let missing = GAIN * missing.clamp(1.0 - MOST_RESERVES, 1.0);
        // So slow that the level does not overshoot: a draft changes the reserve by a part of it,
        // and the level by that part of what the threshold gives way at once.
        let pace = GAIN / (4.0 * self.reserve);
        self.level = (self.level + pace * missing).clamp(low, high);
        (self.level + missing).clamp(low, high).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guesses of a step whose first is reached with probability `hope` and each next one with
    /// `hope` times less, down to the threshold.
    fn drafted(hope: f64, pace: &Pace) -> usize {
        let reached = (1..=pace.limit()).map(|depth| hope.powi(depth as i32));
        reached
            .take_while(|p| *p >= f64::from(pace.least()))
            .count()
    }

    #[test]
    fn a_fixed_threshold_stays() {
        let mut pace = Pace::fixed(4, 0.25);
        for _ in 0..10 {
            assert_eq!((pace.limit(), pace.least()), (4, 0.25));
            pace.took(4);
        }
    }

    #[test]
    fn a_budget_is_spent_and_never_overdrawn() {
        for (tokens_per_step, max_draft, least) in [
            (0.4, 3, 0.3),
            (1.5, 3, 0.9),
            (0.8, 16, 0.3),
            (2.5, 16, 0.01),
            (3.0, 16, 0.99),
            (5.0, 32, 0.3),
        ] {
            let mut pace = Pace::within(tokens_per_step, max_draft, least);
            let mut random = fastrand::Rng::with_seed(7);
            let (mut total, steps) = (0, 20_000);
            for step in 1..=steps {
                // Stretches of text that repeats, and of text that does not.
                let repeats = (step / 200) % 3 == 0;
                let hope = random.f64().powf(if repeats { 0.1 } else { 1.5 });
                let count = drafted(hope, &pace);
                pace.took(count);
                total += count;
                assert!(total as f64 <= tokens_per_step * f64::from(step) + 1e-6);
            }
            let share = total as f64 / f64::from(steps) / tokens_per_step;
            let context = format!("{tokens_per_step} of {max_draft} from {least}: {share}");
            assert!(share > 0.97, "{context}");
        }
    }

    #[test]
    fn the_threshold_settles_where_the_best_fixed_one_is() {
        let tokens_per_step = 1.2;
        let mut random = fastrand::Rng::with_seed(3);
        let hopes: Vec<f64> = (0..30_000).map(|_| random.f64()).collect();
        let gained = |pace: &mut Pace| {
            let mut gained = (0.0, 0);
            for hope in &hopes {
                let count = drafted(*hope, pace);
                pace.took(count);
                gained.1 += count;
                gained.0 += (1..=count)
                    .map(|depth| hope.powi(depth as i32))
                    .sum::<f64>();
            }
            gained
        };
        let (ours, spent) = gained(&mut Pace::within(tokens_per_step, 16, 0.9));
        let fixed = (1..100).map(|percent| Pace::fixed(16, percent as f32 / 100.0));
        let best = fixed
            .map(|mut pace| gained(&mut pace))
            .filter(|(_, drafted)| *drafted <= spent)
            .map(|(gained, _)| gained)
            .fold(0.0, f64::max);
        assert!(ours > 0.98 * best, "{ours} of {best}");
    }

    #[test]
    fn a_drafter_that_has_little_to_say_does_not_wind_the_threshold_up() {
        let mut pace = Pace::within(2.0, 16, 0.5);
        for _ in 0..100_000 {
            pace.took(0);
        }
        assert!((f64::from(pace.least()) - LEAST.0).abs() < 1e-4);
        assert_eq!(pace.limit(), 16);
        // What was left over may be spent; then the threshold comes back.
        for _ in 0..50_000 {
            let limit = pace.limit();
            pace.took(limit);
        }
        assert!(pace.least() > 0.5, "{}", pace.least());
    }
}
