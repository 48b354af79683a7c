//! How large an answer of features will be, before anything is computed; too large is refused with the way out.

use super::{accept::Format, error::ApiError, image_parameters::Form};
use crate::{
    inference::{LayerSpec, Plan, Pool},
    registry::{LabelSizes, json_bytes},
    tensor::Dtype,
};

/// Longest shortest-form float32 that `serde_json` writes, with its comma: `-0.000012345678,`.
const JSON_FLOAT_BYTES: u64 = 16;
/// Room for one class in JSON besides its label; in arrays, which have its index and its score; and in memory besides its label.
const CLASS_BYTES: u64 = 80;
const ARRAY_CLASS_BYTES: u64 = 12;
const CLASS_MEMORY: u64 = 96;
/// Room for one layer's keys and shape in JSON, or for an array's headers in `.npy` and zip; its name comes on top.
const LAYER_BYTES: u64 = 512;
/// The pixels of a plot while it is drawn, and its PNG.
const DRAWING_BYTES: u64 = 6 << 20;
/// Room for one image's warnings and keys; its name comes on top.
const IMAGE_BYTES: u64 = 1024;

/// What decides an answer's size.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    layers: &'a [LayerSpec],
    pool: Pool,
    top_k: usize,
    labels: LabelSizes,
    /// Bytes of an image's name, as long as the longest.
    image_name: u64,
    form: Form,
}

impl<'a> Asked<'a> {
    /// What `plan` computes, written as `form`.
    pub fn new(plan: &'a Plan, form: Form) -> Self {
        let (top_k, labels) = (plan.top_k.unwrap_or(0), plan.version.label_sizes());
        Self { layers: &plan.layers, pool: plan.pool, top_k, labels, image_name: 0, form }
    }

    /// The same for images with these `names`: each counts as the longest.
    #[must_use]
    pub fn named<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let image_name = names.into_iter().map(|name| self.name_bytes(name)).max().unwrap_or(0);
        Self { image_name, ..self }
    }

    /// Checks the size for this many `images` against `bound` bytes, and gives the memory that the answer takes while it is
    /// made: the values as float32, and the body. At most three times the bound, in the case of float16; a plot takes
    /// its pixels besides.
    ///
    /// # Errors
    /// [`ApiError::ResponseTooLarge`], with what would make it smaller.
    pub fn check(&self, images: usize, bound: usize) -> Result<usize, ApiError> {
        let per_image = self.image_bytes();
        let total = per_image.saturating_mul(images as u64);
        if total <= bound as u64 {
            let values: u64 = self.layers.iter().map(|spec| product(&spec.shape)).sum();
            let drawing = if self.form.format.picture().is_some() { DRAWING_BYTES } else { 0 };
            // Each image's features hold the names of their layers.
            let names: u64 = self.layers.iter().map(|spec| spec.layer.name.len() as u64).sum();
            let values = values * 4 + names + self.top_k as u64 * CLASS_MEMORY + self.label_bytes();
            let held = total + values * images as u64 + drawing;
            return Ok(usize::try_from(held).unwrap_or(usize::MAX));
        }
        let ways = self.ways_out(images, bound as u64 / per_image);
        Err(ApiError::ResponseTooLarge(format!(
            "the answer would take up to {total} bytes ({per_image} per image), but the bound is {bound} (`server.max_response_bytes`); \
             {}",
            ways.join(", or ")
        )))
    }

    /// Upper bound on one image's share in bytes; the values' part is exact except in plain JSON. Of a plot, which is small,
    /// it is what the values take.
    fn image_bytes(&self) -> u64 {
        let width = self.form.dtype.size() as u64;
        let values = |values: u64| match self.form.format {
            Format::Json if self.form.base64 => values.saturating_mul(width).div_ceil(3).saturating_mul(4),
            Format::Json => values.saturating_mul(JSON_FLOAT_BYTES),
            Format::Npy | Format::Npz | Format::Svg | Format::Png => values.saturating_mul(width),
        };
        let layer = |spec: &LayerSpec| {
            values(product(&spec.shape)).saturating_add(LAYER_BYTES).saturating_add(self.name_bytes(&spec.layer.name))
        };
        let classes = match self.form.format {
            Format::Npz => (self.top_k as u64).saturating_mul(ARRAY_CLASS_BYTES),
            _ => (self.top_k as u64).saturating_mul(CLASS_BYTES).saturating_add(self.label_bytes()),
        };
        let image = IMAGE_BYTES.saturating_add(self.image_name).saturating_add(classes);
        self.layers.iter().map(layer).fold(image, u64::saturating_add)
    }

    /// Bytes of the name of a layer or an image, at most: exact in JSON; twice in the headers of a zip, or four bytes a character in
    /// an array; as entities in a plot.
    fn name_bytes(&self, name: &str) -> u64 {
        match self.form.format {
            Format::Json => json_bytes(name),
            Format::Npy | Format::Npz => name.len() as u64 * 4,
            Format::Svg | Format::Png => name.len() as u64 * 6,
        }
    }

    /// Bytes of the labels of one image's classes in JSON, at most: no class is there twice.
    fn label_bytes(&self) -> u64 {
        self.labels.total.min((self.top_k as u64).saturating_mul(self.labels.longest))
    }

    fn ways_out(&self, images: usize, fitting: u64) -> Vec<String> {
        let mut ways = Vec::new();
        if images > 1 && fitting > 0 {
            ways.push(format!("send at most {fitting} image{} per request", if fitting == 1 { "" } else { "s" }));
        }
        if self.pool == Pool::None && self.layers.iter().any(|spec| spec.layer.poolable()) {
            ways.push("pool maps to vectors with `pool=avg` or `pool=max`".to_owned());
        }
        if self.form.format == Format::Json && !self.layers.is_empty() {
            let binary = if self.layers.len() == 1 { "application/x-npy" } else { "application/x-npz" };
            let base64 = if self.form.base64 { "" } else { " or `encoding_format=base64`" };
            ways.push(format!("take binary with `Accept: {binary}`{base64}"));
        }
        let halves = match self.form.format {
            Format::Json => self.form.base64 && !self.layers.is_empty(),
            Format::Npy | Format::Npz => true,
            Format::Svg | Format::Png => false,
        };
        if self.form.dtype == Dtype::F32 && halves {
            ways.push("halve it with `dtype=float16`".to_owned());
        }
        if self.layers.len() > 1 {
            ways.push("ask for fewer layers".to_owned());
        }
        if self.top_k > 1 {
            ways.push("ask for fewer classes (`top_k`)".to_owned());
        }
        if !self.layers.is_empty() {
            ways.push("ask for a later, smaller layer (`/models/{model}/layers` lists them)".to_owned());
        }
        ways
    }
}

fn product(shape: &[usize]) -> u64 {
    shape.iter().fold(1u64, |product, side| product.saturating_mul(*side as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Layer;

    const JSON: Form = Form { format: Format::Json, dtype: Dtype::F32, base64: false };

    fn spec(shape: &[usize]) -> LayerSpec {
        let layer =
            Layer { index: 0, name: "x".into(), kind: "X".into(), shape: shape.to_vec(), tensor: "x".into(), layout: None };
        LayerSpec { layer, shape: shape.to_vec() }
    }

    fn check(shapes: &[&[usize]], form: Form, images: usize, bound: usize, expected: Option<&str>) {
        let layers: Vec<LayerSpec> = shapes.iter().map(|shape| spec(shape)).collect();
        let labels = LabelSizes { longest: 100, total: 50_000 };
        let asked = Asked { layers: &layers, pool: Pool::None, top_k: 5, labels, image_name: 0, form };
        match (asked.check(images, bound), expected) {
            (Ok(held), None) => assert!(held <= 3 * bound, "{held} bytes are held for {shapes:?} as {form:?}"),
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (got, expected) => panic!("{shapes:?} as {form:?}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn too_large_answers_say_the_way_out() {
        const MB: usize = 1_000_000;
        let map: &[usize] = &[224, 224, 64];
        check(&[&[4096]], JSON, 64, 64 * MB, None);
        check(&[map], JSON, 1, 64 * MB, None);
        check(&[map], JSON, 2, 64 * MB, Some("send at most 1 image per request"));
        check(&[map], JSON, 2, 64 * MB, Some("`pool=avg`"));
        check(&[map], JSON, 2, 64 * MB, Some("`Accept: application/x-npy` or `encoding_format=base64`"));
        check(&[map, map], JSON, 1, 64 * MB, Some("`Accept: application/x-npz`"));
        check(&[map, map], JSON, 1, 64 * MB, Some("ask for fewer layers"));
        let npy = Form { format: Format::Npy, ..JSON };
        check(&[map], npy, 4, 64 * MB, None);
        check(&[map], npy, 8, 64 * MB, Some("halve it with `dtype=float16`"));
        check(&[map], Form { dtype: Dtype::F16, ..npy }, 8, 64 * MB, None);
        check(&[map], Form { base64: true, ..JSON }, 4, 64 * MB, Some("(17129183 per image)"));
        check(&[&[usize::MAX, usize::MAX]], npy, usize::MAX, 64 * MB, Some("18446744073709551615 bytes"));
    }

    #[test]
    fn classes_count_with_their_labels() {
        let asked = |top_k, format| {
            let labels = LabelSizes { longest: 500, total: 30_000_000 };
            Asked { layers: &[], pool: Pool::None, top_k, labels, image_name: 0, form: Form { format, ..JSON } }
        };
        let all = asked(100_000, Format::Json);
        assert_eq!(all.label_bytes(), 30_000_000, "no label comes twice");
        let refused = all.check(2, 64 << 20).expect_err("60 MB of labels, and what is around them").to_string();
        assert!(refused.contains("send at most 1 image per request, or ask for fewer classes (`top_k`)"), "{refused}");
        assert!(!refused.contains("layer"), "none was asked for: {refused}");
        assert!(all.check(1, 64 << 20).is_ok_and(|held| held > 2 * 30_000_000), "the answer, and the classes that it is made of");
        assert!(asked(100_000, Format::Npz).check(2, 4 << 20).is_ok(), "arrays have no labels");
    }

    #[test]
    fn names_count_once_for_each_image() {
        let mut layers = [spec(&[4])];
        layers[0].layer.name = "\u{1}".repeat(1000);
        let asked = |format| {
            let form = Form { format, ..JSON };
            Asked { layers: &layers, pool: Pool::None, top_k: 0, labels: LabelSizes::default(), image_name: 0, form }
        };
        let without = IMAGE_BYTES + LAYER_BYTES;
        let check = |format, names: &[&str], expected| {
            let named = asked(format).named(names.iter().copied());
            assert_eq!(named.image_bytes() - without, expected, "{format:?} {names:?}");
        };
        check(Format::Json, &[], 4 * JSON_FLOAT_BYTES + 6002);
        check(Format::Json, &["a", "\"\u{1}ä"], 4 * JSON_FLOAT_BYTES + 6002 + 12);
        check(Format::Npz, &["a", "bc"], 4 * 4 + 4000 + 8);
        check(Format::Npy, &[], 4 * 4 + 4000);
        check(Format::Svg, &["&"], 4 * 4 + 6000 + 6);
        let refused = asked(Format::Json).check(64, 64 * 7000).expect_err("64 times the name").to_string();
        assert!(refused.contains("send at most 58 images per request"), "{refused}");
    }

    #[test]
    fn no_float_is_longer_than_its_bound() {
        for value in
            [f32::MIN, f32::MIN_POSITIVE, -1.234_567_9e-5, -1.234_567_9e-38, 16_777_216.0, -123_456.79, -0.000_012_345_678]
        {
            let text = serde_json::to_string(&value).expect("finite");
            assert!(text.len() < JSON_FLOAT_BYTES as usize, "{text}");
        }
    }
}
