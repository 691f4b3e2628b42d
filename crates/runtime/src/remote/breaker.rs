//! When a server that fails is left alone, and when it is tried again: a circuit breaker.
//!
//! Closed, all requests go through. After some failures in a row it opens, and none does. After a
//! pause one request finds out whether the server is back: if it fails, the next pause is longer.

/// Failures in a row after which a server is left alone: one may be chance, and each costs the
/// session that meets it a wait.
const FAILURES: u32 = 3;

/// Times that a pause is doubled: the longest is 32 times the first (a minute, as it is set), since
/// a server that is back should not stay unused for long.
const DOUBLINGS: u32 = 5;

/// Whether requests go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All do.
    Closed,
    /// One does, or may, to find out whether the server is back.
    HalfOpen,
    /// None does.
    Open,
}

impl BreakerState {
    /// Its name in `/ready`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A circuit breaker. Times are seconds of any clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Breaker {
    /// Length of the first pause, in seconds.
    pause: f64,
    /// Failures in a row.
    failures: u32,
    /// Pauses in a row.
    pauses: u32,
    /// While it is open: until when.
    until: Option<f64>,
    /// Whether the request that finds out is under way.
    probing: bool,
}

/// How a request was let through; whoever was must tell what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Like all others.
    Closed,
    /// To find out whether the server is back.
    Probe,
}

impl Breaker {
    /// A closed one, whose first pause has so many seconds.
    pub(crate) fn new(pause: f64) -> Self {
        Self {
            pause,
            failures: 0,
            pauses: 0,
            until: None,
            probing: false,
        }
    }

    /// Whether a request may be sent now.
    pub(crate) fn allow(&mut self, now: f64) -> Option<Way> {
        match self.state(now) {
            BreakerState::Closed => Some(Way::Closed),
            BreakerState::HalfOpen if !self.probing => {
                self.probing = true;
                Some(Way::Probe)
            }
            BreakerState::HalfOpen | BreakerState::Open => None,
        }
    }

    /// The answer has begun. That lets the others through; but the server is only trusted again
    /// when an answer is complete, as it may break off each one.
    pub(crate) fn began(&mut self) {
        if self.until.take().is_some() {
            self.failures = FAILURES - 1;
        }
        self.probing = false;
    }

    /// The server has done what it should.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::new(self.pause);
    }

    /// It has not. Of requests that were sent before it was found to fail, nothing new is learned.
    pub(crate) fn failed(&mut self, way: Way, now: f64) {
        if self.until.is_some() && way == Way::Closed {
            return;
        }
        self.probing = false;
        self.failures = self.failures.saturating_add(1);
        if way == Way::Probe || self.failures >= FAILURES {
            let doublings = self.pauses.min(DOUBLINGS);
            self.until = Some(now + self.pause * f64::from(1_u32 << doublings));
            self.pauses = doublings + 1;
        }
    }

    /// The request was given up before anything came of it.
    pub(crate) fn given_up(&mut self, way: Way) {
        if way == Way::Probe {
            self.probing = false;
        }
    }

    /// Whether requests go through now.
    pub(crate) fn state(&self, now: f64) -> BreakerState {
        match self.until {
            None => BreakerState::Closed,
            Some(until) if now < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to a breaker, and what it then is.
    #[derive(Clone, Copy, Debug)]
    enum Then {
        /// A request is let through, in this way.
        Goes(Way),
        /// A request is refused.
        Refused,
        Began,
        Succeeded,
        Failed(Way),
        GivenUp(Way),
    }
    use BreakerState::{Closed as C, HalfOpen as H, Open as O};
    use Then::{Began, Failed, GivenUp, Goes, Refused, Succeeded};
    const CLOSED: Way = Way::Closed;
    const PROBE: Way = Way::Probe;

    /// Plays `(second, what happens, the state then)` on a breaker whose first pause is 2 s.
    fn check(script: &[(f64, Then, BreakerState)]) {
        let mut breaker = Breaker::new(2.0);
        for (line, &(now, then, state)) in script.iter().enumerate() {
            match then {
                Goes(way) => assert_eq!(breaker.allow(now), Some(way), "line {line}"),
                Refused => assert_eq!(breaker.allow(now), None, "line {line}"),
                Began => breaker.began(),
                Succeeded => breaker.succeeded(),
                Failed(way) => breaker.failed(way, now),
                GivenUp(way) => breaker.given_up(way),
            }
            assert_eq!(breaker.state(now), state, "line {line}");
        }
    }

    const OPENS: [(f64, Then, BreakerState); 3] = [
        (0.0, Failed(CLOSED), C),
        (0.0, Failed(CLOSED), C),
        (0.0, Failed(CLOSED), O),
    ];

    #[test]
    fn three_failures_in_a_row_open_it() {
        check(&OPENS);
        check(&[
            (0.0, Failed(CLOSED), C),
            (0.0, Failed(CLOSED), C),
            (0.0, Succeeded, C),
            (0.0, Failed(CLOSED), C),
            (0.0, GivenUp(CLOSED), C),
            // Answers that begin and break off count, too.
            (0.0, Began, C),
            (0.0, Failed(CLOSED), C),
            (0.0, Goes(CLOSED), C),
            (0.0, Failed(CLOSED), O),
        ]);
    }

    #[test]
    fn one_request_finds_out_whether_the_server_is_back() {
        let rest: [(f64, Then, BreakerState); 12] = [
            (1.9, Refused, O),
            (2.0, Goes(PROBE), H),
            (2.0, Refused, H),
            (3.0, Failed(PROBE), O),
            (6.9, Refused, O),
            (7.0, Goes(PROBE), H),
            (7.0, GivenUp(PROBE), H),
            (7.5, Goes(PROBE), H),
            (7.6, Began, C),
            (7.6, Goes(CLOSED), C),
            (7.7, Succeeded, C),
            (7.8, Failed(CLOSED), C),
        ];
        check(&[&OPENS[..], &rest].concat());
    }

    #[test]
    fn a_server_that_breaks_off_every_answer_is_left_alone_longer_and_longer() {
        let rest = [
            (2.0, Goes(PROBE), H),
            (2.1, Began, C),
            (2.2, Failed(PROBE), O),
            (6.1, Refused, O),
            (6.2, Goes(PROBE), H),
            (6.3, Began, C),
            (6.3, Goes(CLOSED), C),
            (6.4, Failed(CLOSED), O),
            (14.3, Refused, O),
            (14.4, Goes(PROBE), H),
        ];
        check(&[&OPENS[..], &rest].concat());
    }

    #[test]
    fn requests_from_before_an_outage_make_it_no_longer() {
        let rest: Vec<_> = (0..20).map(|_| (0.5, Failed(CLOSED), O)).collect();
        let back = [(2.0, Failed(CLOSED), H), (2.0, Goes(PROBE), H)];
        check(&[&OPENS[..], &rest, &back].concat());
    }

    proptest! {
        /// Whatever happens, a pause is at most 32 times the first, after it one request goes
        /// through, and two that succeed close it.
        #[test]
        fn it_never_stays_open(events in prop::collection::vec((0..6_u8, 0.0..40.0_f64), 0..60)) {
            let (mut breaker, mut now) = (Breaker::new(2.0), 0.0);
            let mut sent = Vec::new();
            for (event, seconds) in events {
                now += seconds;
                match event {
                    0 | 1 => sent.extend(breaker.allow(now)),
                    2 => breaker.began(),
                    3 => breaker.succeeded(),
                    4 => sent.pop().into_iter().for_each(|way| breaker.failed(way, now)),
                    _ => sent.pop().into_iter().for_each(|way| breaker.given_up(way)),
                }
                let probes = sent.iter().filter(|way| **way == Way::Probe).count();
                prop_assert!(!breaker.probing || probes > 0);
            }
            for way in sent {
                breaker.given_up(way);
            }
            now += 64.0;
            prop_assert!(breaker.allow(now).is_some());
            breaker.succeeded();
            prop_assert_eq!(breaker, Breaker::new(2.0));
        }
    }
}
