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

#[cfg(test)]
mod tests {
    use super::*;

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
