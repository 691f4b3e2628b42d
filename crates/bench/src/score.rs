//! Scores of short answers, as SQuAD and HotpotQA count them.

use std::collections::HashMap;

/// How well an answer meets the best of the references; both from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Exact match after normalisation.
    pub em: f64,
    /// Harmonic mean of precision and recall over words.
    pub f1: f64,
}

impl Score {
    /// Scores an answer against the references; each measure takes its own best reference.
    pub fn of(answer: &str, references: &[impl AsRef<str>]) -> Self {
        let answer = normalize(answer);
        let references = references.iter().map(|text| normalize(text.as_ref()));
        references.fold(Self::default(), |best, reference| Self {
            em: best.em.max(if answer == reference { 1.0 } else { 0.0 }),
            f1: best.f1.max(f1(&answer, &reference)),
        })
    }
}

/// Lower case, without punctuation and articles, single spaces.
fn normalize(text: &str) -> String {
    let text = text.to_lowercase();
    let text: String = text.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let words = text.split_whitespace();
    let words: Vec<_> = words
        .filter(|word| !["a", "an", "the"].contains(word))
        .collect();
    words.join(" ")
}

/// F1 of two normalised texts. As in HotpotQA, `yes` and `no` match only themselves.
fn f1(answer: &str, reference: &str) -> f64 {
    let closed = |text: &str| ["yes", "no", "noanswer"].contains(&text);
    if (closed(answer) || closed(reference)) && answer != reference {
        return 0.0;
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in reference.split(' ') {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0u32;
    for word in answer.split(' ').filter(|word| !word.is_empty()) {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    let words = answer.split(' ').count() + reference.split(' ').count();
    // 2 P R / (P + R) with P = shared / answer's words and R = shared / reference's words.
    #[expect(clippy::cast_precision_loss, reason = "answers have few words")]
    let words = words as f64;
    2.0 * f64::from(shared) / words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores() {
        for (answer, references, em, f1) in [
            ("The Reds!", vec!["reds"], 1.0, 1.0),
            ("Nick Hexum", vec!["Nicholas Nick Hexum"], 0.0, 0.8),
            ("London", vec!["Paris", "london, "], 1.0, 1.0),
            ("yes", vec!["yes it is"], 0.0, 0.0),
            ("no", vec!["no"], 1.0, 1.0),
            ("Oslo", vec!["Bergen"], 0.0, 0.0),
            ("", vec!["Bergen"], 0.0, 0.0),
            ("a a b b", vec!["b c"], 0.0, 0.5),
        ] {
            let score = Score::of(answer, &references);
            assert_eq!(score.em, em, "{answer}");
            assert!((score.f1 - f1).abs() < 1e-9, "{answer}: {}", score.f1);
        }
        assert_eq!(Score::of("x", &[""; 0]), Score::default());
    }
}
