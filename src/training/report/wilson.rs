//! Wilson's score interval of a proportion.
//!
//! Arithmetic alone.

/// The 97.5th percentile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's interval at 95 % for `hits` of `trials` (Wilson 1927, without continuity correction); all of 0 … 1 without trials.
pub fn wilson(hits: u64, trials: u64) -> [f64; 2] {
    if trials == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (trials as f64, hits as f64 / trials as f64);
    let shrink = 1.0 + Z * Z / n;
    let center = (p + Z * Z / (2.0 * n)) / shrink;
    let half = Z / shrink * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    [(center - half).max(0.0), (center + half).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::wilson;

    /// Worked out apart from this code, in Python.
    #[test]
    fn intervals_are_wilson_s() {
        #[track_caller]
        fn check(hits: u64, trials: u64, expected: [f64; 2]) {
            let found = wilson(hits, trials);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {expected:?}");
        }
        check(0, 10, [0.0, 0.277_533]);
        check(10, 10, [0.722_467, 1.0]);
        check(5, 10, [0.236_593, 0.763_407]);
        check(146, 153, [0.908_581, 0.977_664]);
        check(0, 0, [0.0, 1.0]);
    }
}
