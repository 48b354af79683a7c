//! Weights of classes in the loss.
//!
//! Knows counts alone.

/// `n / (k · n_c)` for every class: scikit-learn's `compute_class_weight("balanced")`, what Keras users pass as
/// `class_weight`.
///
/// `n` images in all, `n_c` of class `c`, `k` classes that have images; a class without any gets 0.
pub fn class_weights(counts: &[usize]) -> Vec<f64> {
    let total: usize = counts.iter().sum();
    let classes = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| if count == 0 { 0.0 } else { total as f64 / (classes * count) as f64 };
    counts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::class_weights;

    #[test]
    fn rare_classes_weigh_more() {
        let check = |counts: &[usize], expected: &[f64]| assert_eq!(class_weights(counts), expected, "{counts:?}");
        check(&[2, 2], &[1.0, 1.0]);
        check(&[6, 2], &[8.0 / 12.0, 2.0]);
        check(&[3, 0, 1], &[4.0 / 6.0, 0.0, 2.0]);
        check(&[0], &[0.0]);
        check(&[], &[]);
    }
}
