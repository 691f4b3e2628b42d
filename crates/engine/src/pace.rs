//! How prefill and decode share the time of a device on which they slow each other down.
//!
//! A step that computes a chunk of somebody's prompt takes many times as long as one that only
//! decodes, and everybody who decodes waits for it. Where the policy says that those who decode go
//! first, such a step runs up a debt, and prefill pauses until as many steps without it have paid
//! it off that prefill gets no more than its share of the time.

/// What a step computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nobody's prompt.
    Decode,
    /// Prompts, of requests that need not give way to those that decode, if any do.
    Prefill,
    /// Prompts of requests that go after others that decode.
    Both,
}

/// The account of prefill beside decode.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Seconds of decoding that are owed.
    debt: f64,
    /// Seconds of the last step that only decoded.
    decode_seconds: f64,
}

impl Pace {
    /// Whether prefill that goes after others pauses now.
    pub(crate) fn pauses(&self) -> bool {
        self.debt > 0.0
    }

    /// Notes a step that took so many seconds, where prefill may have `share` of the time (above 0,
    /// at most 1).
    pub(crate) fn note(&mut self, work: Work, seconds: f64, share: f64) {
        match work {
            Work::Decode => {
                self.decode_seconds = seconds;
                self.debt = (self.debt - seconds).max(0.0);
            }
            Work::Prefill => self.debt = 0.0,
            Work::Both => {
                let added = (seconds - self.decode_seconds).max(0.0);
                self.debt += added * (1.0 - share) / share;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefill_gets_its_share_of_the_time() {
        for share in [0.1, 0.25, 0.5, 1.0] {
            let mut pace = Pace::default();
            let (mut prefill, mut total) = (0.0, 0.0);
            for _ in 0..10_000 {
                let (work, seconds) = match pace.pauses() {
                    true => (Work::Decode, 0.04),
                    false => (Work::Both, 1.0),
                };
                pace.note(work, seconds, share);
                total += seconds;
                prefill += if work == Work::Both { 0.96 } else { 0.0 };
            }
            let measured: f64 = prefill / total;
            assert!((measured - share).abs() < 0.05, "{share}: {measured}");
        }
    }
}
