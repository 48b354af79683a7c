//! What the graph takes: the size of its images.
//!
//! Reads the graph's declared input and the settings; runs nothing.

use crate::{
    graph::InputInfo,
    registry::import::{ImportError, OnnxSettings},
};

/// Height and width of the input in pixels.
///
/// # Errors
/// An input that is no batch of images, a size that the graph contradicts or that nobody gives.
pub(super) fn input_size(input: &InputInfo, settings: &OnnxSettings) -> Result<[u32; 2], ImportError> {
    let refused = |reason: String| ImportError::Setting { setting: "input_size", reason };
    let fixed = |axis: usize| input.shape.get(axis).and_then(|dim| dim.fixed()).and_then(|side| u32::try_from(side).ok());
    if input.shape.len() != 4 || fixed(1).is_some_and(|channels| channels != 3) {
        return Err(refused(format!(
            "the graph's input `{}` has shape {}; graft needs N×3×height×width",
            input.name,
            input.describe()
        )));
    }
    let own = [fixed(2), fixed(3)];
    let side = |axis: usize| match (own[axis], settings.input_size.map(|size| size[axis])) {
        (Some(own), Some(wanted)) if own != wanted => {
            Err(refused(format!("{wanted} was given, but the graph fixes its input to {}", input.describe())))
        }
        (own, wanted) => {
            own.or(wanted).ok_or_else(|| refused("the graph leaves its input's size open; give height and width".to_owned()))
        }
    };
    Ok([side(0)?, side(1)?])
}
