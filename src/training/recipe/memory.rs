//! What a recipe needs in memory, so that one that asks for more than there is is refused before it is queued.
//!
//! An estimate from counts and shapes; measures nothing.

use super::{
    problem::Problem,
    resolved::{Phase, Recipe},
};

/// Bytes per trainable parameter: the values of two sessions, gradient, two of optimizer state, the latest and the best epoch's
/// copies, and the checkpoint being written.
const BYTES_PER_PARAM: u64 = 32;

/// What a step holds of each layer that trains: its output, the gradient with respect to it, and what convolutions unfold.
///
/// InceptionV3 from `mixed8` on in steps of 32 takes 1.4 GB by this count; whole jobs peaked at 1.67 GB, process included.
const COPIES_PER_ACTIVATION: u64 = 4;

impl Phase {
    fn bytes_per_image(&self) -> u64 {
        self.frontier_bytes_per_image.saturating_add(self.activation_bytes_per_image.saturating_mul(COPIES_PER_ACTIVATION))
    }

    fn parameter_bytes(&self) -> u64 {
        self.trainable_params.saturating_mul(BYTES_PER_PARAM)
    }

    fn memory_bytes(&self, batch_size: usize) -> u64 {
        self.bytes_per_image().saturating_mul(batch_size as u64).saturating_add(self.parameter_bytes())
    }
}

impl Recipe {
    /// Memory that training takes in the phase that takes most, besides the process itself and the frozen part.
    pub fn memory_bytes(&self) -> u64 {
        self.phases.iter().map(|phase| phase.memory_bytes(self.batch_size)).max().unwrap_or(0)
    }

    /// Whether every phase trains within `bound` bytes of memory.
    ///
    /// # Errors
    /// Of every phase that does not, the field to change, and to what.
    pub fn fits(&self, bound: u64) -> Result<(), Vec<Problem>> {
        let problems: Vec<Problem> = (0..).zip(&self.phases).filter_map(|phase| self.excess(phase, bound)).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn excess(&self, (index, phase): (usize, &Phase), bound: u64) -> Option<Problem> {
        const GIB: f64 = (1_u64 << 30) as f64;
        let needed = phase.memory_bytes(self.batch_size);
        if needed <= bound {
            return None;
        }
        let most = bound.saturating_sub(phase.parameter_bytes()) / phase.bytes_per_image().max(1);
        let (field, way_out) = match most {
            0 => (format!("phases[{index}]"), "train fewer parameters".to_owned()),
            most => ("batch_size".to_owned(), format!("use at most {most}, or let phases[{index}] begin at a later layer")),
        };
        let (needed, bound) = (needed as f64 / GIB, bound as f64 / GIB);
        let detail = format!(
            "makes phases[{index}] take about {needed:.1} GiB of memory, and {bound:.1} are allowed (`training.memory_bytes`); \
             {way_out}"
        );
        Some(Problem { field, detail })
    }
}

#[cfg(test)]
mod tests {
    use crate::training::fixture::resolved_inception;

    #[test]
    fn what_a_phase_takes_is_bounded() {
        let mut recipe = resolved_inception();
        let top = recipe.phases[1].clone();
        let per_image = 327_680 + 4 * top.activation_bytes_per_image;
        let params = 32 * top.trainable_params;
        assert!((7_000_000..8_500_000).contains(&top.activation_bytes_per_image), "{}", top.activation_bytes_per_image);
        let exact = per_image * recipe.batch_size as u64 + params;
        assert_eq!((recipe.memory_bytes(), recipe.fits(exact)), (exact, Ok(())));
        let [problem] = &recipe.fits(exact - 1).expect_err("one byte less")[..] else { panic!("one phase needs more") };
        let most = recipe.batch_size - 1;
        assert!(problem.detail.contains(&format!("use at most {most}, or let phases[1] begin at a later layer")), "{problem:?}");
        assert_eq!(problem.field, "batch_size");
        let [problem] = &recipe.fits(params).expect_err("no image")[..] else { panic!("one phase needs more") };
        assert_eq!(
            (problem.field.as_str(), problem.detail.ends_with("train fewer parameters")),
            ("phases[1]", true),
            "{problem:?}"
        );
        assert_eq!(recipe.fits(0).expect_err("nothing").len(), 2, "every phase is told");
        recipe.batch_size = usize::MAX;
        assert!(recipe.fits(u64::MAX - 1).is_err(), "nothing overflows");
    }
}
