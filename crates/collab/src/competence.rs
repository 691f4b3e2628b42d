//! What the small tier is good at, learned from what came of its steps.
//!
//! Small models judge themselves badly, so their word is one feature among others: a logistic
//! model over the mechanical checks and the verdict says how probable it is that the large tier
//! would have come to the same. Its weights are the sum of those shared by all kinds of steps and
//! those of the kind at hand; it is learned online, by steps that both tiers have taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Outcome, Signal, Tier, Verdict};

/// Kinds of steps that are kept apart. Clients name their tools as they like, so there must be a
/// bound; further ones share what is known of all.
const MOST_KINDS: usize = 64;

/// Each signal passed, each failed, the three verdicts, the model's probability, and the constant.
const FEATURES: usize = 2 * Signal::ALL.len() + 5;
const VERDICTS: usize = 2 * Signal::ALL.len();
const P_TRUE: usize = VERDICTS + 3;
const CONSTANT: usize = P_TRUE + 1;

/// How far a step of learning goes at first, and how fast that shrinks (AdaGrad).
const RATE: f64 = 0.5;

/// Log-odds beyond which the model's probability says no more.
const MOST_LOG_ODDS: f32 = 3.0;

/// Over how many steps a kind's seconds are averaged.
const AVERAGED: f64 = 4.0;

/// What is assumed of a kind of which nothing is known: small steps that stand, and what they take
/// of a large one's time.
const KEPT: f64 = 0.6;
const TIME: f64 = 0.35;

/// What a step adds to the share of those that stood; the others fade by as much.
const FADE: f64 = 0.0625;

/// Steps of a kind that both tiers take before the small one's are trusted, and every how many of
/// those that stand both take one then: what is never looked at is never found to be wrong.
const FIRST_AUDITS: u32 = 8;
const AUDIT_EVERY: u32 = 16;

/// Labelled steps over which the model's discrimination is reported.
const WINDOW: usize = 512;

type Features = [f64; FEATURES];

/// What is known of the small tier, over all sessions. Serializable, to be kept between runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Competence {
    shared: Weights,
    kinds: BTreeMap<String, Kind>,
    /// Probability and outcome of the last labelled steps.
    labelled: Vec<(f32, bool)>,
    /// How many there were in all.
    labels: usize,
}

/// What is known of one kind of steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kind {
    own: Weights,
    /// Share of the small steps that stood.
    kept: f64,
    /// Seconds of steps by tier.
    seconds: [Option<f64>; 2],
    /// Steps in a row that the small tier was not given.
    passed_over: u32,
    /// Steps that both tiers have taken.
    labels: u32,
    /// Steps since then that stood.
    unlabelled: u32,
}

impl Default for Kind {
    fn default() -> Self {
        Self {
            own: Weights::default(),
            kept: KEPT,
            seconds: [None; 2],
            passed_over: 0,
            labels: 0,
            unlabelled: 0,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Weights {
    values: Vec<f64>,
    /// Sums of squared gradients.
    squares: Vec<f64>,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            values: vec![0.0; FEATURES],
            squares: vec![1.0; FEATURES],
        }
    }
}

impl Weights {
    fn score(&self, features: &Features) -> f64 {
        self.values.iter().zip(features).map(|(w, x)| w * x).sum()
    }

    fn learn(&mut self, features: &Features, error: f64) {
        let weights = self.values.iter_mut().zip(&mut self.squares);
        for ((value, square), feature) in weights.zip(features) {
            let gradient = error * feature;
            *square += gradient * gradient;
            *value += RATE * gradient / square.sqrt();
        }
    }
}

impl Default for Competence {
    fn default() -> Self {
        let mut shared = Weights::default();
        // What stands in a document is mostly right; what cannot be read is of no use.
        for (signal, passed, failed) in [
            (Signal::Parsed, 0.6, -4.0),
            (Signal::Answered, 0.3, -2.0),
            (Signal::Supported, 1.2, -1.5),
            (Signal::Fits, 0.3, -1.5),
            (Signal::NewCall, 0.4, -2.0),
            (Signal::NewResult, 0.4, -1.0),
            (Signal::Fresh, 0.4, -2.0),
            (Signal::Agrees, 1.0, -1.0),
        ] {
            shared.values[2 * signal as usize] = passed;
            shared.values[2 * signal as usize + 1] = failed;
        }
        shared.values[VERDICTS] = 0.2;
        shared.values[VERDICTS + 1] = -0.2;
        shared.values[P_TRUE] = 0.1;
        Self {
            shared,
            kinds: BTreeMap::new(),
            labelled: Vec::new(),
            labels: 0,
        }
    }
}

impl Competence {
    /// The probability that a small step of this kind is as good as a large one.
    pub fn probability(&self, kind: &str, outcome: &Outcome) -> f64 {
        let features = features(outcome);
        let own = self.kinds.get(kind).map(|kind| kind.own.score(&features));
        logistic(self.shared.score(&features) + own.unwrap_or_default())
    }

    /// Takes note of a small step that the large tier has taken too: whether they came to the same.
    pub fn learn(&mut self, kind: &str, outcome: &Outcome, same: bool) {
        let probability = self.probability(kind, outcome);
        if self.labelled.len() < WINDOW {
            self.labelled.push((probability as f32, same));
        } else {
            self.labelled[self.labels % WINDOW] = (probability as f32, same);
        }
        self.labels += 1;
        let error = f64::from(u8::from(same)) - probability;
        let features = features(outcome);
        self.shared.learn(&features, error);
        if let Some(kind) = self.kind_mut(kind) {
            kind.own.learn(&features, error);
            kind.labels = kind.labels.saturating_add(1);
            kind.unlabelled = 0;
        }
    }

    /// Whether a small step that stands should be taken by the large tier too, to see whether it
    /// should have.
    pub(crate) fn wants_label(&self, kind: &str) -> bool {
        let known = self.kinds.get(kind);
        known.is_none_or(|kind| kind.labels < FIRST_AUDITS || kind.unlabelled >= AUDIT_EVERY)
    }

    /// Whether a step of this kind is finished sooner if the small tier tries it first: what it
    /// takes must be less than what it saves.
    pub(crate) fn pays(&self, kind: &str) -> bool {
        let kind = self.kinds.get(kind);
        let kept = kind.map_or(KEPT, |kind| kind.kept);
        let time = match kind.map(|kind| kind.seconds) {
            Some([Some(small), Some(large)]) if large > 0.0 => small / large,
            _ => TIME,
        };
        kept > time
    }

    /// Steps of this kind in a row that the small tier was not given.
    pub(crate) fn passed_over(&self, kind: &str) -> u32 {
        self.kinds.get(kind).map_or(0, |kind| kind.passed_over)
    }

    /// Takes note of a step's time.
    pub(crate) fn note_seconds(&mut self, kind: &str, tier: Tier, seconds: f64) {
        if seconds <= 0.0 || !seconds.is_finite() {
            return;
        }
        if let Some(kind) = self.kind_mut(kind) {
            let known = &mut kind.seconds[tier as usize];
            *known = Some(known.map_or(seconds, |known| known + (seconds - known) / AVERAGED));
        }
    }

    /// Takes note of which tier a step was given to.
    pub(crate) fn note_choice(&mut self, kind: &str, tier: Tier) {
        if let Some(kind) = self.kind_mut(kind) {
            kind.passed_over = match tier {
                Tier::Small => 0,
                Tier::Large => kind.passed_over.saturating_add(1),
            };
        }
    }

    /// Takes note of whether a small step stood.
    pub(crate) fn note_kept(&mut self, kind: &str, kept: bool) {
        if let Some(kind) = self.kind_mut(kind) {
            kind.kept += (f64::from(u8::from(kept)) - kind.kept) * FADE;
            kind.unlabelled = kind.unlabelled.saturating_add(u32::from(kept));
        }
    }

    /// How well the probabilities told right from wrong over the last labelled steps: the area
    /// under the ROC curve (0.5 is chance), and over how many steps. None while there were not
    /// both.
    pub fn auc(&self) -> Option<(f64, usize)> {
        let mut labelled = self.labelled.clone();
        labelled.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut right, mut wrong, mut above) = (0_usize, 0_usize, 0.0);
        for tied in labelled.chunk_by(|one, other| one.0 == other.0) {
            let same = tied.iter().filter(|(_, same)| *same).count();
            // A pair that is told apart by nothing is half right.
            above += same as f64 * (wrong as f64 + (tied.len() - same) as f64 / 2.0);
            right += same;
            wrong += tied.len() - same;
        }
        (right * wrong > 0).then(|| (above / (right * wrong) as f64, labelled.len()))
    }

    fn kind_mut(&mut self, name: &str) -> Option<&mut Kind> {
        if !self.kinds.contains_key(name) {
            if self.kinds.len() >= MOST_KINDS {
                return None;
            }
            self.kinds.insert(name.to_owned(), Kind::default());
        }
        self.kinds.get_mut(name)
    }
}

fn features(outcome: &Outcome) -> Features {
    let mut features = [0.0; FEATURES];
    for signal in Signal::ALL {
        if let Some(passed) = outcome.signals.get(signal) {
            features[2 * signal as usize + usize::from(!passed)] = 1.0;
        }
    }
    let verdict = match outcome.verdict {
        Verdict::Progress => 0,
        Verdict::Stall => 1,
        Verdict::Missing => 2,
    };
    features[VERDICTS + verdict] = 1.0;
    if let Some(p) = outcome.p_true.filter(|p| (0.0..=1.0).contains(p)) {
        let odds = (p / (1.0 - p)).ln();
        features[P_TRUE] = f64::from(odds.clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS));
    }
    features[CONSTANT] = 1.0;
    features
}

fn logistic(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Signals;

    fn outcome(supported: bool, fits: bool) -> Outcome {
        let signals = Signals::default()
            .with(Signal::Supported, supported)
            .with(Signal::Fits, fits);
        Outcome {
            signals,
            ..Outcome::default()
        }
    }

    #[test]
    fn what_needs_no_model_is_believed_before_anything_is_learned() {
        let competence = Competence::default();
        let p = |outcome: &Outcome| competence.probability("read", outcome);
        assert!(p(&outcome(true, true)) > 0.75);
        assert!(p(&outcome(false, false)) < 0.1);
        assert!(p(&outcome(true, false)) < p(&outcome(true, true)));
        let says = |p_true| Outcome {
            p_true: Some(p_true),
            ..Outcome::judged(Verdict::Progress)
        };
        assert!(p(&says(0.99)) > p(&says(0.2)));
        assert!(p(&says(f32::NAN)).is_finite());
        assert_eq!(competence.auc(), None);
    }

    #[test]
    fn kinds_are_learned_apart_and_what_they_share_together() {
        let mut competence = Competence::default();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..400 {
            // Supported plans are right by chance, readings that are supported always.
            let supported = random.bool();
            competence.learn("plan", &outcome(supported, true), random.bool());
            competence.learn("read", &outcome(supported, true), supported);
        }
        let p = |kind, supported| competence.probability(kind, &outcome(supported, true));
        assert!(p("read", true) > 0.9 && p("read", false) < 0.15);
        let chance = |p: f64| (p - 0.5).abs() < 0.25;
        assert!(chance(p("plan", true)) && chance(p("plan", false)));
        assert!(p("unknown", true) > p("unknown", false));
        let (auc, labels) = competence.auc().expect("both labels");
        assert!(auc > 0.65 && labels == WINDOW, "{auc} {labels}");
    }

    #[test]
    fn a_try_must_be_worth_its_time() {
        let mut competence = Competence::default();
        assert!(competence.pays("read"), "the first guess is in favour");
        for _ in 0..40 {
            competence.note_seconds("read", Tier::Small, 1.0);
            competence.note_seconds("read", Tier::Large, 4.0);
            competence.note_kept("read", false);
        }
        assert!(!competence.pays("read"));
        (0..20).for_each(|_| competence.note_kept("read", true));
        assert!(competence.pays("read"));
        (0..40).for_each(|_| competence.note_seconds("read", Tier::Small, 3.9));
        assert!(!competence.pays("read"));
    }

    #[test]
    fn kinds_are_bounded_and_everything_is_kept_between_runs() {
        let mut competence = Competence::default();
        for kind in 0..2 * MOST_KINDS {
            competence.learn(&format!("tool {kind}"), &outcome(true, true), kind % 2 == 0);
        }
        assert_eq!(competence.kinds.len(), MOST_KINDS);
        let text = serde_json::to_string(&competence).expect("serializes");
        let again: Competence = serde_json::from_str(&text).expect("is read again");
        for kind in ["tool 0", "tool 100"] {
            let p = |competence: &Competence| competence.probability(kind, &outcome(true, false));
            assert!((p(&again) - p(&competence)).abs() < 1e-9);
        }
    }
}
