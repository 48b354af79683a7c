//! Expected calibration error: how far scores are from the share of images that is right at that score.
//!
//! Arithmetic alone; memory does not grow with the number of images.

/// Bins of equal width, as in Guo et al. 2017.
const BINS: usize = 15;

/// Images by the score of their most probable class.
#[derive(Debug, Clone, Default)]
pub struct Reliability {
    bins: [Bin; BINS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    images: u64,
    right: u64,
    scores: f64,
}

impl Reliability {
    /// Counts an image whose most probable class has `score`, 0 to 1; `right` if it is the image's.
    pub fn add(&mut self, score: f32, right: bool) {
        let place = (f64::from(score) * BINS as f64).ceil() as usize;
        let bin = &mut self.bins[place.clamp(1, BINS) - 1];
        bin.images += 1;
        bin.right += u64::from(right);
        bin.scores += f64::from(score);
    }

    /// The mean over all images of |share that is right − mean score|, each within the image's bin (Naeini et al. 2015); `None`
    /// without images.
    pub fn error(&self) -> Option<f64> {
        let images: u64 = self.bins.iter().map(|bin| bin.images).sum();
        let sum: f64 = self.bins.iter().map(|bin| (bin.right as f64 - bin.scores).abs()).sum();
        (images > 0).then(|| sum / images as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked out by hand.
    #[test]
    fn the_error_is_the_gap_of_every_bin() {
        #[track_caller]
        fn check(images: &[(f32, bool)], expected: Option<f64>) {
            let mut reliability = Reliability::default();
            images.iter().for_each(|&(score, right)| reliability.add(score, right));
            let found = reliability.error();
            let near = found.zip(expected).is_some_and(|(found, expected)| (found - expected).abs() < 1e-7);
            assert!(near || found == expected, "{images:?}: {found:?} is not {expected:?}");
        }
        check(&[], None);
        check(&[(1.0, true), (1.0, true)], Some(0.0));
        check(&[(1.0, true), (1.0, false)], Some(0.5));
        // One bin: two of three right at a mean score of 0.95.
        check(&[(0.94, true), (0.95, true), (0.96, false)], Some(0.95 - 2.0 / 3.0));
        // Two bins, whose gaps do not cancel: 0.3 above and 0.4 below.
        check(&[(0.7, true), (0.4, false)], Some(0.35));
        check(&[(0.0, false), (f32::MIN_POSITIVE, false)], Some(0.0));
    }
}
