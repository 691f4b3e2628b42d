//! How much a drafter may draft: a fixed threshold, or as many tokens a step as a rival drafts.

use agentinfer_sam::Guess;

/// The threshold of a budget never falls below this: there is nothing to gain there.
const LOWEST: f32 = 0.002;

/// Classes of probabilities that are counted, each a hundredth wide in logarithm: as exact as a
/// threshold must be.
const CLASSES: usize = 640;
const CLASSES_PER_NAT: f32 = 100.0;

/// How far below the threshold a drafter with a budget is asked to go, as a part of it: so it is
/// known what a lower one would bring.
const BELOW: f32 = 0.7;

/// Steps after which the threshold is chosen anew.
const STEPS: u64 = 32;

/// The part of the budget that is aimed at: what a step drafts varies, and all of it together must
/// not be more than is allowed.
const AIM: f64 = 0.99;

/// Drafts of full length that may be ahead of the budget: promising places come in bursts. Only a
/// drafter that is always equally certain is held back by it.
const RESERVE_DRAFTS: usize = 64;

/// Decides before each step how much a drafter may propose.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    max_draft: usize,
    least: f32,
    budget: Option<Budget>,
}

/// A budget in drafted tokens a step. The threshold is the one at which all steps so far would have
/// drafted what they were allowed to; the steps to come are not known to it.
#[derive(Clone, Debug)]
struct Budget {
    tokens_per_step: f64,
    steps: u64,
    drafted: u64,
    /// Guesses so far, by the logarithm of the probability with which they are reached.
    guesses: Vec<u64>,
}

impl Pace {
    /// At most `max_draft` guesses a step, none that is reached with a probability below `least`.
    pub(super) fn fixed(max_draft: usize, least: f32) -> Self {
        Self {
            max_draft,
            least,
            budget: None,
        }
    }

    /// At most `max_draft` guesses a step, and on average over many steps no more than
    /// `tokens_per_step`. The threshold begins at `least`.
    pub(super) fn within(tokens_per_step: f64, max_draft: usize, least: f32) -> Self {
        let budget = Budget {
            tokens_per_step,
            steps: 0,
            drafted: 0,
            guesses: vec![0; CLASSES],
        };
        Self {
            max_draft,
            least: least.max(LOWEST),
            budget: Some(budget),
        }
    }

    /// How many guesses may be proposed.
    pub(super) fn limit(&self) -> usize {
        self.max_draft
    }

    /// With which probability they must be reached to be proposed.
    pub(super) fn floor(&self) -> f32 {
        match self.budget {
            Some(_) => (self.least * BELOW).max(LOWEST),
            None => self.least,
        }
    }

    /// With which probability they must be reached to be verified.
    pub(super) fn least(&self) -> f32 {
        self.least
    }

    /// Cuts the proposal of a step to what is verified.
    pub(super) fn cut(&mut self, draft: &mut Vec<Guess>) {
        let Some(budget) = &mut self.budget else {
            return;
        };
        budget.steps += 1;
        let mut reached = 1.0;
        let mut verified = 0;
        for guess in &*draft {
            reached *= guess.probability;
            budget.guesses[class(reached)] += 1;
            verified += usize::from(reached >= self.least);
        }
        let reserve = RESERVE_DRAFTS * self.max_draft;
        draft.truncate(verified.min(budget.left(reserve)));
        budget.drafted += draft.len() as u64;
        if budget.steps.is_multiple_of(STEPS) {
            self.least = budget.threshold();
        }
    }
}

impl Budget {
    /// Tokens that may be drafted now.
    fn left(&self, reserve: usize) -> usize {
        let allowed = AIM * self.tokens_per_step * self.steps as f64 + reserve as f64;
        (allowed - self.drafted as f64).max(0.0) as usize
    }

    fn threshold(&self) -> f32 {
        let allowed = AIM * self.tokens_per_step * self.steps as f64;
        // What was drafted too much with other thresholds is saved now, and the other way round.
        let allowed = 2.0 * allowed - self.drafted as f64;
        let mut drafted = 0;
        let enough = self.guesses.iter().position(|count| {
            drafted += count;
            drafted as f64 > allowed
        });
        let lowest = enough.unwrap_or(CLASSES);
        (-(lowest as f32) / CLASSES_PER_NAT).exp().max(LOWEST)
    }
}

/// The class of a probability, the likeliest first.
fn class(probability: f32) -> usize {
    ((-probability.ln() * CLASSES_PER_NAT) as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use agentinfer_sam::DraftSource;

    use super::*;

    /// Guesses verified in a step whose first is reached with probability `hope` and each next one
    /// with `hope` times less.
    fn drafted(hope: f64, pace: &mut Pace) -> usize {
        let reached = (1..=pace.limit()).map(|depth| hope.powi(depth as i32) as f32);
        let proposed = reached.take_while(|p| *p >= pace.floor());
        let guess = Guess {
            token: 0,
            probability: hope as f32,
            source: DraftSource::default(),
        };
        let mut draft = vec![guess; proposed.count()];
        pace.cut(&mut draft);
        draft.len()
    }

    #[test]
    fn a_fixed_threshold_stays() {
        let mut pace = Pace::fixed(4, 0.25);
        for _ in 0..100 {
            assert_eq!((pace.limit(), pace.floor(), pace.least()), (4, 0.25, 0.25));
            assert_eq!(drafted(0.8, &mut pace), 4);
        }
    }

    #[test]
    fn a_budget_is_spent_and_not_overdrawn() {
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
            for step in 0..steps {
                // Stretches of text that repeats, and of text that does not.
                let repeats = (step / 200) % 3 == 0;
                let hope = random.f64().powf(if repeats { 0.1 } else { 1.5 });
                let count = drafted(hope, &mut pace);
                total += count;
            }
            let share = total as f64 / f64::from(steps) / tokens_per_step;
            let context = format!("{tokens_per_step} of {max_draft} from {least}: {share}");
            assert!(share > 0.95 && share <= 1.0, "{context}");
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
}
