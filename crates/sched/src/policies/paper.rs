//! AgentSched as published (arXiv 2512.18337): between shortest job first while memory is loose
//! and keeping caches while it is tight, by a shadow price of KV memory.

use super::parameters::Parameters;
use super::reasons::{baseline, count, seconds};
use crate::{Candidate, Policy, View, Waiting};

/// The parameters of the published policy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperOptions {
    /// The shadow price when memory is as tight as can be.
    pub lambda_max: f64,
    /// How sharply the price rises around the point where demand is what there is.
    pub k: f64,
    /// Gain of a resident block.
    pub a: f64,
    /// Cost of a block that is needed.
    pub b: f64,
    /// Gain of a second of waiting.
    pub c: f64,
    /// Tokens in a block.
    pub tokens_per_block: f64,
}

impl Default for PaperOptions {
    /// The paper leaves the numbers open. These make a resident and a missing block weigh the same
    /// while memory is loose, and a second of waiting as much as a block.
    fn default() -> Self {
        Self {
            lambda_max: 4.0,
            k: 4.0,
            a: 1.0,
            b: 1.0,
            c: 1.0,
            tokens_per_block: 16.0,
        }
    }
}

impl Parameters<6> for PaperOptions {
    fn fields(&mut self) -> [(&'static str, &mut f64); 6] {
        [
            ("lambda_max", &mut self.lambda_max),
            ("k", &mut self.k),
            ("a", &mut self.a),
            ("b", &mut self.b),
            ("c", &mut self.c),
            ("tokens_per_block", &mut self.tokens_per_block),
        ]
    }
}

/// Keeps the quotient of demand and supply finite.
const EPSILON: f64 = 1e-6;

/// AgentSched as published.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    options: PaperOptions,
    /// The shadow price of the last situation observed.
    lambda: f64,
}

impl Paper {
    /// The policy with these parameters.
    pub fn new(options: PaperOptions) -> Self {
        Self {
            options,
            lambda: 0.0,
        }
    }

    /// The shadow price of KV memory in a situation, from 0 to `lambda_max`: with `N` blocks to be
    /// had, `H` of the queue's blocks resident and `D` missing, `z = D / max(0, N - H)`, and the
    /// price is a sigmoid of `z` around 1.
    pub fn shadow_price(&self, view: &View<'_>) -> f64 {
        let available = self.blocks(view.free_cells) + self.blocks(view.idle_cells);
        let sum = |of: fn(&Waiting) -> u32| -> f64 {
            view.waiting
                .iter()
                .map(|request| self.blocks(of(request)))
                .sum()
        };
        let resident = sum(|request| request.resident_tokens);
        let missing = sum(Waiting::missing_tokens);
        let z = missing / ((available - resident).max(0.0) + EPSILON);
        let PaperOptions { lambda_max, k, .. } = self.options;
        lambda_max / (1.0 + (-k * (z - 1.0)).exp())
    }

    fn blocks(&self, tokens: u32) -> f64 {
        (f64::from(tokens) / self.options.tokens_per_block.max(1.0)).ceil()
    }

    /// What counts for a request and against it.
    fn weigh(&self, view: &View<'_>, request: &Waiting) -> Weights {
        let lambda_max = self.options.lambda_max;
        let tightness = if lambda_max > 0.0 {
            (self.lambda / lambda_max).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let whole = self.blocks(request.prompt_tokens);
        let missing = self.blocks(request.missing_tokens());
        Weights {
            hit: self.blocks(request.resident_tokens),
            need: (1.0 - tightness) * whole + tightness * missing,
            wait: view.now - request.arrived,
        }
    }
}

/// Blocks that are resident, blocks that are needed, seconds of waiting.
struct Weights {
    hit: f64,
    need: f64,
    wait: f64,
}

impl Policy for Paper {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn observe(&mut self, view: &View<'_>) {
        self.lambda = self.shadow_price(view);
    }

    /// `a * hit - (b + lambda) * need + c * wait` in blocks and seconds, where `need` goes from the
    /// whole prompt to what is missing of it as the price rises. Only what fits is a candidate.
    fn admission(&self, view: &View<'_>, request: &Waiting) -> Option<f64> {
        if !request.fits {
            return None;
        }
        let PaperOptions { a, b, c, .. } = self.options;
        let Weights { hit, need, wait } = self.weigh(view, request);
        Some(a * hit - (b + self.lambda) * need + c * wait)
    }

    fn reason(&self, view: &View<'_>, candidate: Candidate<'_>) -> String {
        let Candidate::Waiting(request) = candidate else {
            return baseline(view, candidate);
        };
        if !request.fits {
            let needed = count(request.needed_cells);
            return format!("no candidate: needs {needed} cells, more than can be had");
        }
        let PaperOptions { a, b, c, .. } = self.options;
        let Weights { hit, need, wait } = self.weigh(view, request);
        let (lambda, wait) = (self.lambda, seconds(wait));
        format!(
            "{a} x hit of {hit} blocks - ({b} + lambda of {lambda:.2}) x need of {need:.1} blocks \
             + {c} x wait of {wait}"
        )
    }

    fn price(&self, view: &View<'_>) -> Option<f64> {
        Some(self.shadow_price(view))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit;

    fn waiting(id: u64, prompt_tokens: u32, resident_tokens: u32) -> Waiting {
        Waiting {
            id,
            prompt_tokens,
            resident_tokens,
            fits: true,
            ..Waiting::default()
        }
    }

    fn view(free_cells: u32, waiting: &[Waiting]) -> View<'_> {
        View {
            free_cells,
            waiting,
            ..View::default()
        }
    }

    #[test]
    fn the_price_rises_with_demand() {
        let paper = Paper::new(PaperOptions::default());
        let queue = [waiting(1, 1600, 0)];
        let prices =
            [160_000, 3200, 1600, 800, 16].map(|free| paper.shadow_price(&view(free, &queue)));
        assert!(prices.is_sorted(), "{prices:?}");
        assert!(
            prices[0] < 0.1 && (prices[2] - 2.0).abs() < 1e-3 && prices[4] > 3.99,
            "{prices:?}"
        );
    }

    #[test]
    fn loose_memory_prefers_the_short_tight_memory_the_resident() {
        let queue = [waiting(1, 3200, 2880), waiting(2, 640, 0)];
        let options = PaperOptions {
            a: 0.0,
            ..PaperOptions::default()
        };
        let mut paper = Paper::new(options);
        let chosen = |paper: &mut Paper, free| {
            let choice = admit(paper, &view(free, &queue)).expect("somebody waits");
            queue[choice.index].id
        };
        assert_eq!(chosen(&mut paper, 1_000_000), 2);
        assert_eq!(chosen(&mut paper, 320), 1);
    }

    #[test]
    fn waiting_counts_and_what_does_not_fit_is_no_candidate() {
        let mut old = waiting(1, 320, 0);
        old.arrived = -1000.0;
        let queue = [waiting(2, 16, 0), old];
        let mut paper = Paper::new(PaperOptions::default());
        let choice = admit(&mut paper, &view(1000, &queue));
        assert_eq!(choice.map(|choice| choice.index), Some(1));
        let queue = [Waiting { fits: false, ..old }];
        assert_eq!(admit(&mut paper, &view(1000, &queue)), None);
    }
}
