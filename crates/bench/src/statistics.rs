//! Means and their uncertainty.

/// The mean; 0 of nothing.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    if count == 0.0 { 0.0 } else { sum / count }
}

/// The value below which a share of the values lies, by the nearest rank.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Jain's index of fairness of shares: 1 where all are equal, one over their number where one has
/// everything; 1 of nothing.
pub(crate) fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares == 0.0 {
        1.0
    } else {
        sum * sum / (shares.len() as f64 * squares)
    }
}

/// Half the width of the mean's 95 % confidence interval, by Student's t.
pub(crate) fn half_interval(values: &[f64]) -> f64 {
    /// Two-sided 95 % quantiles for 1 to 10 degrees of freedom; more are taken as 10, which errs
    /// towards the wider.
    const T: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    let Some(freedom) = values.len().checked_sub(1).filter(|freedom| *freedom > 0) else {
        return 0.0;
    };
    let middle = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
    let error = (squares / freedom as f64 / values.len() as f64).sqrt();
    T[freedom.min(T.len()) - 1] * error
}

/// A statistic of `count` paired samples and the ends of its 95 % interval, by the percentile
/// bootstrap: it is given indices of samples, all of them first, then such drawn with replacement.
fn bootstrap(count: usize, statistic: impl Fn(&[usize]) -> f64) -> [f64; 3] {
    /// Resamples: enough for the second digit of the interval's ends.
    const RESAMPLES: usize = 2000;
    let mut random = fastrand::Rng::with_seed(1);
    let mut chosen: Vec<usize> = (0..count).collect();
    let value = statistic(&chosen);
    if count == 0 {
        return [value; 3];
    }
    let resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            chosen.fill_with(|| random.usize(..count));
            statistic(&chosen)
        })
        .collect();
    let end = |share| percentile(&resampled, share);
    [value, end(0.025), end(0.975)]
}

/// The mean difference of pairs, the first of each less the second, and the ends of its 95 %
/// interval (paired bootstrap).
pub(crate) fn paired_difference(pairs: &[(f64, f64)]) -> [f64; 3] {
    bootstrap(pairs.len(), |chosen| {
        mean(chosen.iter().map(|&index| pairs[index].0 - pairs[index].1))
    })
}

/// The sum of the first of all pairs by that of the second, 0 where that is 0, and the ends of its
/// 95 % interval (paired bootstrap).
pub(crate) fn paired_ratio(pairs: &[(f64, f64)]) -> [f64; 3] {
    bootstrap(pairs.len(), |chosen| {
        let over: f64 = chosen.iter().map(|&index| pairs[index].0).sum();
        let under: f64 = chosen.iter().map(|&index| pairs[index].1).sum();
        if under > 0.0 { over / under } else { 0.0 }
    })
}

/// McNemar's exact test: the probability that of `better + worse` pairs that differ, at least as
/// many go one way as did, if both ways were equally likely (two-sided).
pub(crate) fn mcnemar(better: usize, worse: usize) -> f64 {
    let (count, fewer) = (better + worse, better.min(worse));
    // Binomial coefficients by their ratios, in logarithms so that none overflows.
    let mut log_term = -(count as f64) * std::f64::consts::LN_2;
    let mut tail = 0.0;
    for index in 0..=fewer {
        tail += log_term.exp();
        log_term += ((count - index) as f64 / (index + 1) as f64).ln();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_paired_samples() {
        let values: Vec<f64> = (0..100).map(|index| f64::from(index % 10)).collect();
        let [value, low, high] = bootstrap(values.len(), |chosen| {
            mean(chosen.iter().map(|&index| values[index]))
        });
        assert_eq!(value, 4.5);
        // The mean's standard error is 0.29.
        assert!(
            (low - 3.94).abs() < 0.1 && (high - 5.06).abs() < 0.1,
            "{low} {high}"
        );
        assert_eq!(bootstrap(0, |_| 0.0), [0.0; 3]);
    }

    #[test]
    fn pairs_that_differ_by_chance() {
        for (better, worse, p) in [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (8, 1, 0.0390625)] {
            assert!(
                (mcnemar(better, worse) - p).abs() < 1e-9,
                "{better} {worse}"
            );
            assert_eq!(mcnemar(better, worse), mcnemar(worse, better));
        }
        assert!(mcnemar(600, 400) < 1e-9);
    }

    #[test]
    fn statistics() {
        assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0], 0.95), 4.0);
        assert_eq!(percentile(&[4.0, 1.0, 3.0, 2.0], 0.5), 2.0);
        assert!((half_interval(&[1.0, 2.0, 3.0]) - 4.303 / 3.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!(half_interval(&[1.0]), 0.0);
        assert_eq!(
            (jain(&[2.0, 2.0]), jain(&[0.0, 0.0, 3.0])),
            (1.0, 1.0 / 3.0)
        );
    }
}
