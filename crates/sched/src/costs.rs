//! What computing and copying costs on this machine, in seconds, fitted while it works.

/// Weight that the past keeps at each observation: the last hundred or so count.
const KEPT: f64 = 0.99;

/// Steps of fewer tokens are not prefill: their time is that of reading the weights once.
const LEAST_TOKENS: u32 = 16;

/// Seconds per token before anything was observed: a small model on two cores.
const FIRST_GUESS: f64 = 0.01;

/// Prices in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Seconds to compute a token.
    pub token: f64,
    /// Seconds added for each token of context that it attends to.
    pub context: f64,
    /// Seconds to copy a token's cell back from where evicted cells are kept; none if they are
    /// not kept.
    pub copied: Option<f64>,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            token: FIRST_GUESS,
            context: 0.0,
            copied: None,
        }
    }
}

impl Costs {
    /// Seconds to compute `tokens` tokens after `context` others.
    pub fn prefill_seconds(&self, context: u32, tokens: u32) -> f64 {
        let (context, tokens) = (f64::from(context), f64::from(tokens));
        tokens * (self.token + self.context * (context + tokens / 2.0))
    }

    /// Seconds to have the last `tokens` of `cells` cells again after they were evicted.
    pub fn reload_seconds(&self, cells: u32, tokens: u32) -> f64 {
        let computed = self.prefill_seconds(cells - tokens.min(cells), tokens);
        let copied = self.copied.map(|copied| copied * f64::from(tokens));
        copied.map_or(computed, |copied| copied.min(computed))
    }
}

/// Fits [`Costs`] by least squares over what was observed, the newest most.
#[derive(Clone, Copy, Debug, Default)]
pub struct CostModel {
    /// Sums of products of tokens, contexts and seconds.
    tokens_tokens: f64,
    tokens_contexts: f64,
    contexts_contexts: f64,
    tokens_seconds: f64,
    contexts_seconds: f64,
    copied_tokens: f64,
    copied_seconds: f64,
}

impl CostModel {
    /// A step of `tokens` tokens took so many seconds; `contexts` is the sum of their contexts.
    pub fn observe_step(&mut self, tokens: u32, contexts: f64, seconds: f64) {
        if tokens < LEAST_TOKENS {
            return;
        }
        let tokens = f64::from(tokens);
        for (sum, product) in [
            (&mut self.tokens_tokens, tokens * tokens),
            (&mut self.tokens_contexts, tokens * contexts),
            (&mut self.contexts_contexts, contexts * contexts),
            (&mut self.tokens_seconds, tokens * seconds),
            (&mut self.contexts_seconds, contexts * seconds),
        ] {
            *sum = *sum * KEPT + product;
        }
    }

    /// Copying the cells of `tokens` tokens took so many seconds.
    pub fn observe_copy(&mut self, tokens: u32, seconds: f64) {
        self.copied_tokens = self.copied_tokens * KEPT + f64::from(tokens);
        self.copied_seconds = self.copied_seconds * KEPT + seconds;
    }

    /// The prices as they look now, where evicted cells are kept or not. What was not observed
    /// yet is guessed: a token as [`Costs::default`] says, a copy at a hundredth of it.
    pub fn costs(&self, keeps: bool) -> Costs {
        let (token, context) = self.fit();
        let copied = match self.copied_tokens > 0.0 {
            true => self.copied_seconds / self.copied_tokens,
            false => token / 100.0,
        };
        Costs {
            token,
            context,
            copied: keeps.then_some(copied),
        }
    }

    fn fit(&self) -> (f64, f64) {
        if self.tokens_tokens <= 0.0 {
            return (FIRST_GUESS, 0.0);
        }
        let alone = self.tokens_seconds / self.tokens_tokens;
        let product = self.tokens_tokens * self.contexts_contexts;
        let determinant = product - self.tokens_contexts * self.tokens_contexts;
        // All contexts were alike: the two cannot be told apart.
        if determinant <= 1e-9 * product {
            return (alone, 0.0);
        }
        let token = self.tokens_seconds * self.contexts_contexts
            - self.contexts_seconds * self.tokens_contexts;
        let context =
            self.contexts_seconds * self.tokens_tokens - self.tokens_seconds * self.tokens_contexts;
        match (token / determinant, context / determinant) {
            (token, context) if token > 0.0 && context >= 0.0 => (token, context),
            _ => (alone, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_is_found_and_followed() {
        let mut model = CostModel::default();
        let observe = |model: &mut CostModel, slower: f64| {
            for step in 0..400u32 {
                let (tokens, context) = (64 + step % 5 * 64, f64::from(step % 7 * 500));
                let contexts = f64::from(tokens) * context;
                let seconds = slower * (f64::from(tokens) * 0.004 + contexts * 1e-6);
                model.observe_step(tokens, contexts, seconds);
                // Decoding is not prefill.
                model.observe_step(1, context, 0.05);
            }
        };
        observe(&mut model, 1.0);
        let costs = model.costs(false);
        assert!((costs.token - 0.004).abs() < 1e-5, "{costs:?}");
        assert!((costs.context - 1e-6).abs() < 1e-8, "{costs:?}");
        assert!((costs.prefill_seconds(1000, 100) - 0.505).abs() < 1e-3);
        observe(&mut model, 2.0);
        let costs = model.costs(false);
        assert!((costs.token - 0.008).abs() < 4e-4, "{costs:?}");
    }

    #[test]
    fn without_variety_or_observations_prices_are_sensible() {
        assert_eq!(CostModel::default().costs(false), Costs::default());
        let mut model = CostModel::default();
        model.observe_step(100, 5000.0, 0.5);
        assert_eq!(model.costs(false).token, 0.005);
        let kept = model.costs(true);
        assert_eq!(kept.reload_seconds(2000, 1000), 1000.0 * 0.005 / 100.0);
        model.observe_copy(100, 0.002);
        assert_eq!(model.costs(true).copied, Some(2e-5));
        // A copy that is dearer than computing is not made.
        model.observe_copy(100_000, 1e6);
        let costs = model.costs(true);
        assert_eq!(
            costs.reload_seconds(100, 100),
            costs.prefill_seconds(0, 100)
        );
    }
}
