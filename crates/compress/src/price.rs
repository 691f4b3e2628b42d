//! Whether compressing pays, and when to stop trying.

/// What a shorter conversation costs and saves. Whoever asks knows the machine: all seconds are
/// theirs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Tokens by which the conversation becomes shorter.
    pub saved_tokens: u32,
    /// Tokens from the first changed one on, which must be computed anew.
    pub computed_tokens: u32,
    /// How often the model will probably be asked again.
    pub turns: f64,
    /// Seconds that one more token of context costs a turn: attention while it decodes, and the
    /// token's own computation by the chance that its cells are gone when the turn comes.
    pub resident_seconds: f64,
    /// Seconds to compute a token of a prompt.
    pub prefill_seconds: f64,
    /// How much of the computing somebody waits for: 1 when it is done at once, near 0 when it is
    /// done while nobody asks.
    pub waited_share: f64,
}

/// Whether a shorter conversation saves more time than it costs.
///
/// ```
/// use agentinfer_compress::{Price, pays};
///
/// let idle = Price {
///     saved_tokens: 4_000,
///     computed_tokens: 6_000,
///     turns: 5.0,
///     resident_seconds: 0.000_02,
///     prefill_seconds: 0.002,
///     waited_share: 0.01,
/// };
/// assert!(pays(&idle));
/// assert!(!pays(&Price { waited_share: 1.0, ..idle }));
/// ```
pub fn pays(price: &Price) -> bool {
    let saved = f64::from(price.saved_tokens) * price.turns * price.resident_seconds;
    let spent = f64::from(price.computed_tokens) * price.prefill_seconds * price.waited_share;
    saved > spent
}

/// Refused distillations in a row after which a session is left alone.
const MOST_REJECTS: u32 = 3;

/// Stops compressing a session whose results cannot be distilled: each try costs a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    rejects: u32,
}

impl Breaker {
    /// A distillation was taken.
    pub fn accepted(&mut self) {
        if !self.is_open() {
            self.rejects = 0;
        }
    }

    /// A distillation was refused.
    pub fn rejected(&mut self) {
        self.rejects = self.rejects.saturating_add(1);
    }

    /// Whether the session is left alone from now on.
    pub fn is_open(&self) -> bool {
        self.rejects >= MOST_REJECTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_rejects_in_a_row_are_enough() {
        for (events, open) in [("", false), ("rr", false), ("rrr", true), ("rrarr", false)] {
            let mut breaker = Breaker::default();
            for event in events.chars() {
                match event {
                    'r' => breaker.rejected(),
                    _ => breaker.accepted(),
                }
            }
            assert_eq!(breaker.is_open(), open, "{events}");
        }
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| breaker.rejected());
        breaker.accepted();
        assert!(breaker.is_open(), "what is left alone stays so");
    }
}
