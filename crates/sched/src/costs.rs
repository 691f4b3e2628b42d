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
    /// Share of a decoding step of one token that is not taken longer by a further one: 1 where
    /// sequences decode beside others for nothing, 0 where they might as well take turns.
    pub spare: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            token: FIRST_GUESS,
            context: 0.0,
            copied: None,
            spare: 0.0,
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
    decoding: Decoding,
}

/// What a further token adds to a decoding step. Steps are compared with the one before: all else
/// that their time depends on is alike then.
#[derive(Clone, Copy, Debug, Default)]
struct Decoding {
    /// Tokens and seconds of the last step.
    last: Option<(f64, f64)>,
    /// Tokens and seconds of the usual one.
    usual: (f64, f64),
    /// Sums of products of the differences between one step and the next, in tokens and seconds.
    tokens_tokens: f64,
    tokens_seconds: f64,
}

impl Decoding {
    fn observe(&mut self, tokens: f64, seconds: f64) {
        let Some((before, took)) = self.last.replace((tokens, seconds)) else {
            self.usual = (tokens, seconds);
            return;
        };
        self.usual.0 += (1.0 - KEPT) * (tokens - self.usual.0);
        self.usual.1 += (1.0 - KEPT) * (seconds - self.usual.1);
        let (more, longer) = (tokens - before, seconds - took);
        // Steps of the same size say nothing of it, so nothing is forgotten for them.
        if more != 0.0 {
            self.tokens_tokens = self.tokens_tokens * KEPT + more * more;
            self.tokens_seconds = self.tokens_seconds * KEPT + more * longer;
        }
    }

    /// [`Costs::spare`]; none of it where nothing was seen.
    fn spare(&self) -> f64 {
        if self.tokens_tokens <= 0.0 {
            return 0.0;
        }
        let further = (self.tokens_seconds / self.tokens_tokens).max(0.0);
        let alone = self.usual.1 - further * (self.usual.0 - 1.0);
        if alone <= 0.0 {
            return 0.0;
        }
        (1.0 - further / alone).max(0.0)
    }
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

    /// A step in which `tokens` tokens were decoded, and nobody's prompt, took so many seconds.
    pub fn observe_decoding(&mut self, tokens: u32, seconds: f64) {
        self.decoding.observe(f64::from(tokens), seconds);
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
            spare: self.decoding.spare(),
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
    fn what_decoding_beside_others_costs_is_seen_where_their_number_changes() {
        let seen = |seconds: fn(f64) -> f64, sizes: &[u32]| {
            let mut model = CostModel::default();
            for step in 0..400 {
                let tokens = sizes[step / 10 % sizes.len()];
                // The machine slows down meanwhile.
                let slower = 1.0 + step as f64 * 1e-4;
                model.observe_decoding(tokens, slower * seconds(f64::from(tokens)));
            }
            // A long time in which nothing changes says nothing new.
            for _ in 0..100_000 {
                model.observe_decoding(sizes[0], 1.04 * seconds(f64::from(sizes[0])));
            }
            model.costs(false).spare
        };
        let turns = |tokens: f64| 0.04 * tokens;
        let half = |tokens: f64| 0.02 + 0.02 * tokens;
        let free = |_: f64| 0.03;
        for (seconds, sizes, spare) in [
            (turns as fn(f64) -> f64, &[1, 2, 4][..], 0.0),
            (half, &[1, 2], 0.5),
            (half, &[3, 9, 30, 4], 0.5),
            (free, &[1, 40], 1.0),
            (free, &[7], 0.0),
        ] {
            let measured = seen(seconds, sizes);
            assert!((measured - spare).abs() < 0.05, "{sizes:?}: {measured}");
        }
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
