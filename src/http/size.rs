//! How large an answer of features will be, before anything is computed; too large is refused with the way out.

use super::{accept::Format, error::ApiError, params::Form};
use crate::{
    inference::{Plan, Pool},
    tensor::Dtype,
};

/// Longest shortest-form float32 that `serde_json` writes, with its comma: `-0.000012345678,`.
const JSON_FLOAT_BYTES: u64 = 16;
/// Room for one class in JSON or in arrays, its label included.
const CLASS_BYTES: u64 = 256;
/// Room for one layer's keys, name and shape in JSON, or for an array's headers in `.npy` and zip.
const LAYER_BYTES: u64 = 512;
/// Room for one image's name, warnings and keys.
const IMAGE_BYTES: u64 = 1024;

/// Checks the answer's size against `bound` bytes.
///
/// # Errors
/// [`ApiError::ResponseTooLarge`], with what would make it smaller.
pub fn check(plan: &Plan, form: Form, images: usize, bound: usize) -> Result<(), ApiError> {
    let per_image = image_bytes(plan, form);
    let total = per_image.saturating_mul(images as u64);
    if total <= bound as u64 {
        return Ok(());
    }
    let ways = ways_out(plan, form, images, per_image, bound as u64);
    Err(ApiError::ResponseTooLarge(format!(
        "the answer would take up to {total} bytes ({per_image} per image), but the bound is {bound} (`server.max_response_bytes`); {}",
        ways.join(", or ")
    )))
}

/// Upper bound on one image's share of the answer, in bytes; the values themselves are exact except in plain JSON.
fn image_bytes(plan: &Plan, form: Form) -> u64 {
    let width = form.dtype.size() as u64;
    let values = |values: u64| match form.format {
        Format::Json if form.base64 => values.saturating_mul(width).div_ceil(3).saturating_mul(4),
        Format::Json => values.saturating_mul(JSON_FLOAT_BYTES),
        Format::Npy | Format::Npz => values.saturating_mul(width),
    };
    let layers = plan.layers.iter().map(|spec| values(product(&spec.shape)).saturating_add(LAYER_BYTES));
    let classes = plan.top_k.unwrap_or(0) as u64 * CLASS_BYTES;
    layers.fold(IMAGE_BYTES + classes, u64::saturating_add)
}

fn ways_out(plan: &Plan, form: Form, images: usize, per_image: u64, bound: u64) -> Vec<String> {
    let mut ways = Vec::new();
    let fitting = bound / per_image;
    if images > 1 && fitting > 0 {
        ways.push(format!("send at most {fitting} images per request"));
    }
    if plan.pool == Pool::None && plan.layers.iter().any(|spec| spec.layer.shape.len() == 3) {
        ways.push("pool maps to vectors with `pool=avg` or `pool=max`".to_owned());
    }
    if form.format == Format::Json {
        let binary = if plan.layers.len() == 1 { "application/x-npy" } else { "application/x-npz" };
        let base64 = if form.base64 { "" } else { " or `encoding_format=base64`" };
        ways.push(format!("take binary with `Accept: {binary}`{base64}"));
    }
    if form.dtype == Dtype::F32 && (form.format != Format::Json || form.base64) {
        ways.push("halve it with `dtype=float16`".to_owned());
    }
    if plan.layers.len() > 1 {
        ways.push("ask for fewer layers".to_owned());
    }
    ways.push("ask for a later, smaller layer (`/models/{model}/layers` lists them)".to_owned());
    ways
}

fn product(shape: &[usize]) -> u64 {
    shape.iter().fold(1u64, |product, side| product.saturating_mul(*side as u64))
}
