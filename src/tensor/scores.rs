//! What scores of classes come down to: the best class, and probabilities from logits.
//!
//! Knows no classes.

/// The position of the highest value, the first of equal ones; 0 without any.
pub fn argmax(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

/// The softmax of `logits`, summed in float64.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let exponents: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
    let sum: f64 = exponents.iter().sum();
    exponents.into_iter().map(|exponent| (exponent / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_values_the_first_is_the_highest() {
        assert_eq!((argmax(&[]), argmax(&[1.0]), argmax(&[0.5, 2.0, 2.0])), (0, 0, 1));
        assert_eq!(argmax(&[0.0, f32::NAN, 1.0]), 2);
    }

    #[test]
    fn probabilities_neither_overflow_nor_vanish() {
        assert_eq!(softmax(&[1000.0, 1000.0]), [0.5, 0.5]);
        assert_eq!(softmax(&[-1000.0, 0.0]), [0.0, 1.0]);
    }
}
