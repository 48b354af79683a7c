//! Judging what an output's numbers are where nobody said it: trial images, and versions that an earlier graft published.
//!
//! Changes no file: what is found out holds for this process.

use std::{path::Path, sync::Arc};

use super::{FoundBy, Label, Layer, Metadata, ModelVersion, Output, OutputKind, numbered_labels};
use crate::{
    graph::{Graph, Shapes},
    preprocess::{Decoded, Preprocessing, prepare},
    tensor::Tensor,
};

/// A few images as different as can be, prepared for a model: black, white, a slope, stripes and noise.
pub fn trial_images(preprocessing: &Preprocessing) -> Vec<Tensor> {
    let (height, width) = (preprocessing.height, preprocessing.width);
    let mut noise = 0x2545_f491_u32;
    let mut pixel = |kind: u32, x: u32, y: u32, channel: u32| match kind {
        0 => 0,
        1 => 255,
        2 => (255 * (x + y * (channel + 1)) / (width + 3 * height)) as u8,
        3 => [20, 220][((x / 4 + channel) % 2) as usize],
        _ => {
            // Xorshift: the same on every machine.
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            (noise >> 24) as u8
        }
    };
    let mut image = |kind: u32| {
        let mut rgb = Vec::with_capacity(3 * height as usize * width as usize);
        for y in 0..height {
            for x in 0..width {
                rgb.extend((0..3).map(|channel| pixel(kind, x, y, channel)));
            }
        }
        prepare(Decoded { width, height, rgb, orientation: 1 }, preprocessing).0
    };
    (0..5).map(&mut image).collect()
}

/// Reads the output of `metadata`, of format 1, as its graph says.
///
/// That format held a guess (probabilities behind a Softmax, else logits) unless the user had said what it is.
pub(super) fn judge_again(metadata: &mut Metadata, graph: &Path) {
    let Some(output) = metadata.output.clone() else { return };
    let Some(layer) = metadata.layers.iter().find(|layer| layer.tensor == output.tensor) else { return };
    let Some(values) = layer.values() else { return };
    if layer.shape.iter().filter(|&&size| size != 1).count() > 1 {
        let shape = layer.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        metadata.correction = Some(format!(
            "its output `{}` holds {shape} values an image, which are no classes: it serves features alone",
            layer.name
        ));
        metadata.output = None;
        metadata.labels.clear();
        return;
    }
    let said = output.kind == OutputKind::Probabilities && layer.kind != "Softmax" && metadata.architecture == "onnx";
    let told = Graph::read(graph).ok().and_then(|graph| graph.scores(&output.tensor, values, &shapes(&metadata.layers)));
    let (kind, found_by) = match told.map(OutputKind::from) {
        _ if said => (output.kind, FoundBy::Given),
        Some(kind) => (kind, FoundBy::Graph),
        None => (output.kind, FoundBy::Guess),
    };
    settle(metadata, Output { kind: kind.of_values(values), found_by, ..output });
}

impl ModelVersion {
    /// The version with an output of `kind`, which trial runs have found.
    pub(crate) fn judged(&self, kind: OutputKind) -> Self {
        let mut metadata = Metadata::clone(&self.metadata);
        if let Some(output) = metadata.output.clone() {
            settle(&mut metadata, Output { kind, found_by: FoundBy::Probe, ..output });
        }
        Self { metadata: Arc::new(metadata), ..self.clone() }
    }
}

/// Puts `output` in the place of what was stored, and notes it where that changes the answers.
fn settle(metadata: &mut Metadata, output: Output) {
    let stored = metadata.output.as_ref().map_or(output.kind, |stored| stored.kind);
    if stored != output.kind {
        metadata.correction = Some(format!(
            "an earlier graft took its output for {stored}; it holds {} ({}) and is served as that: import it again to store this",
            output.kind, output.found_by
        ));
    }
    if let ([only], 2) = (metadata.labels.as_slice(), output.kind.classes(1)) {
        let [first, numbered] = [0, 1].map(|index| numbered_labels(2)[index].clone());
        let second = if only.label == first.label { numbered } else { Label::clone(only) };
        metadata.labels = vec![first, second];
    }
    metadata.output = Some(output);
}

/// The shapes that tensors have in a run of one image.
fn shapes(layers: &[Layer]) -> Shapes {
    let shape = |layer: &Layer| match *layer.shape {
        [height, width, channels] => vec![1, channels, height, width],
        ref other => [&[1], other].concat(),
    };
    layers.iter().map(|layer| (layer.tensor.clone(), shape(layer))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::metadata;

    /// An output of `shape`, made by `op`, that was stored as `kind`, read again without its graph.
    fn read_again(shape: &[usize], op: &str, kind: OutputKind, labels: usize) -> Metadata {
        let mut metadata = metadata("old");
        metadata.architecture = "onnx".to_owned();
        metadata.labels = numbered_labels(labels);
        metadata.layers[1].shape = shape.to_vec();
        metadata.layers[1].kind = op.to_owned();
        metadata.output = metadata.output.map(|output| Output { kind, found_by: FoundBy::Guess, ..output });
        judge_again(&mut metadata, Path::new("nowhere"));
        metadata
    }

    #[test]
    fn a_map_that_passed_for_classes_serves_features_alone() {
        let metadata = read_again(&[16, 16, 8], "Conv", OutputKind::Logits, 2048);
        assert_eq!((metadata.output.is_none(), metadata.labels.len()), (true, 0));
        let said = metadata.correction.expect("it is said");
        assert!(said.starts_with("its output `predictions` holds 16×16×8 values an image"), "{said}");
    }

    #[test]
    fn one_number_gets_a_second_label() {
        let metadata = read_again(&[1], "Erf", OutputKind::Logits, 1);
        assert_eq!(metadata.labels, numbered_labels(2));
        assert_eq!(metadata.output.map(|output| output.kind), Some(OutputKind::BinaryLogit));
        let mut named = read_again(&[1], "Erf", OutputKind::Logits, 1);
        named.labels = vec![Label { label: "dog".into(), wnid: None }];
        judge_again(&mut named, Path::new("nowhere"));
        assert_eq!(named.labels.iter().map(|label| label.label.as_str()).collect::<Vec<_>>(), ["class_0", "dog"]);
    }

    #[test]
    fn trial_images_differ() {
        let images = trial_images(&metadata("vgg16").preprocessing);
        assert_eq!(images[0].shape(), [3, 224, 224]);
        assert!(images.iter().enumerate().all(|(index, image)| !images[..index].contains(image)));
    }
}
