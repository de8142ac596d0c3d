//! How good a prediction was, and how sure a share is. Plain definitions, checked against worked examples.

/// The two-sided 95 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "nobody counts past 2^53 customers")]
pub fn float(n: u64) -> f64 {
    n as f64
}

/// Rounded to six decimals: more would be noise, and a decimal this short survives JSON to the bit.
pub fn round6(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

/// Wilson's 95 % interval of `k` in `n`; everything when `n` is 0. It stays inside 0-1 and is honest for small numbers, where
/// the textbook's "± 1.96 standard errors" is not.
pub fn wilson(k: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (float(n), float(k) / float(n));
    let middle = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

/// The normal 95 % interval of a mean: mean ± 1.96·sd/√n, with the sample's standard deviation.
pub fn interval_of_mean(mean: f64, variance: f64, n: u64) -> (f64, f64) {
    let spread = Z * (variance / float(n)).sqrt();
    (mean - spread, mean + spread)
}

/// Area under the ROC curve: how often a case that came true was ranked above one that did not, ties counting half. `None`
/// when there are no two kinds of cases to compare.
pub fn auc(cases: &mut [(f64, bool)]) -> Option<f64> {
    cases.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let n_true = cases.iter().filter(|case| case.1).count() as u64;
    let n_false = cases.len() as u64 - n_true;
    // Twice the rank sum of the true ones, ties sharing their middle rank: whole numbers all the way.
    let (mut before, mut twice_ranks) = (0u64, 0u128);
    for ties in cases.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let (n, n_true_here) = (ties.len() as u64, ties.iter().filter(|case| case.1).count() as u64);
        twice_ranks += u128::from(n_true_here) * u128::from(2 * before + n + 1);
        before += n;
    }
    if n_true == 0 || n_false == 0 {
        return None;
    }
    let least = u128::from(n_true) * u128::from(n_true + 1);
    let wins = u64::try_from(twice_ranks - least).unwrap_or(u64::MAX);
    Some(float(wins) / 2.0 / float(n_true) / float(n_false))
}

/// Brier score: the mean squared distance of probability and outcome. 0 is perfect; saying the base rate of everybody
/// gives `base · (1 - base)`.
pub fn brier(cases: &[(f64, bool)]) -> f64 {
    let sum: f64 = cases.iter().map(|&(p, came)| (p - f64::from(u8::from(came))).powi(2)).sum();
    sum / float(cases.len().max(1) as u64)
}

/// Expected calibration error over ten equal bins of probability: how far, on average, a stated probability is from the
/// share that came true.
pub fn ece10(cases: &[(f64, bool)]) -> f64 {
    let mut bins = [(0.0, 0.0); 10];
    for &(p, came) in cases {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0-9 by the clamp")]
        let bin = (p * 10.0).floor().clamp(0.0, 9.0) as usize;
        bins[bin].0 += p;
        bins[bin].1 += f64::from(u8::from(came));
    }
    bins.iter().map(|(said, came): &(f64, f64)| (said - came).abs()).sum::<f64>() / float(cases.len().max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 5e-7, "{a} is not {b}");
    }

    #[test]
    fn the_worked_example_comes_out() {
        let came = [1, 0, 1, 1, 0, 0, 1, 0, 0, 0].map(|y| y == 1);
        let said = [0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.35, 0.3, 0.2, 0.1];
        let mut cases: Vec<(f64, bool)> = said.into_iter().zip(came).collect();
        close(brier(&cases), 0.1925);
        close(ece10(&cases), 0.32);
        close(auc(&mut cases).unwrap(), 0.791_667);
    }

    #[test]
    fn ties_count_half_and_one_kind_of_case_cannot_be_ranked() {
        close(auc(&mut [(0.5, true), (0.5, false), (0.5, false)]).unwrap(), 0.5);
        close(auc(&mut [(0.9, true), (0.5, true), (0.5, false)]).unwrap(), 0.75);
        assert_eq!(auc(&mut [(0.9, true), (0.5, true)]), None);
        assert_eq!(auc(&mut []), None);
    }

    #[test]
    fn wilsons_interval_is_that_of_the_tables_and_never_leaves_0_to_1() {
        let (low, high) = wilson(30, 200);
        close(low, 0.107_136);
        close(high, 0.206_056);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
        assert!(wilson(0, 5).0 >= 0.0 && wilson(5, 5).1 <= 1.0);
    }
}
