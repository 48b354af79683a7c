//! Tolerances by name: how near two implementations of the same arithmetic must come.

/// A bound on `|found − expected| / scale`.
#[derive(Debug, Clone, Copy)]
pub struct Close(f64);

impl Close {
    /// The project's promise for every layer against Keras: 1e-4 of the layer's size.
    pub const LAYER: Self = Self(1e-4);
    /// Probabilities after a softmax, which magnifies differences of its logits.
    pub const SCORE: Self = Self(1e-3);
    /// The same float32 arithmetic in another order.
    pub const ROUNDING: Self = Self(1e-6);
    /// Values that went through float16 once: half a unit in the last of its 11 bits.
    pub const HALF: Self = Self(1.0 / 2048.0);

    /// Whether `found` is near `expected`, measured by `scale`.
    pub fn holds(self, found: f64, expected: f64, scale: f64) -> bool {
        (found - expected).abs() <= self.0 * scale
    }

    /// Checks two vectors value by value, measured by the larger of `expected`'s largest magnitude and one.
    #[track_caller]
    pub fn check(self, what: &str, found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{what}: {found:?} against {expected:?}");
        let scale = expected.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
        let near = found.iter().zip(expected).all(|(found, expected)| self.holds(*found, *expected, scale));
        assert!(near, "{what}: {found:?} is not {self:?} to {expected:?}");
    }
}
