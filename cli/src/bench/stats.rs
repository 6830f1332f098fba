//! Medians and percentiles.

use std::time::Duration;

/// The middle one; zero of none.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    percentile(&sorted(values), 0.5).unwrap_or_default()
}

pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest value that this share of the sorted values does not exceed: one that was measured, never one in between.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    // Saturates where it must not: a share of 0 is the first value.
    let rank = (number(sorted.len()) * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied()
}

/// A count as a number to calculate with: exact up to 2^53.
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}

/// Milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let thousand: Vec<f64> = (1..=1000).map(f64::from).collect();
        for (share, value) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            assert_eq!(percentile(&thousand, share), Some(value));
        }
        assert_eq!(percentile(&[7.0], 0.999), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
