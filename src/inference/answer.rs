//! From a session's raw outputs to classes and features.
//!
//! Sessions give channel, height, width; answers are height, width, channel, as in Keras.

use super::{Class, Error, ImageAnswer, LayerSpec, Normalize, Plan, Pool};
use crate::{
    registry::{Label, OutputKind},
    tensor::Tensor,
};

/// Shapes the raw outputs of one image, those of `tensors` in their order, into its answer, without warnings.
///
/// `image` is its position, for messages.
///
/// # Errors
/// NaN or infinity in a layer that was asked for, or in the scores.
pub(super) fn assemble(plan: &Plan, image: usize, tensors: &[String], outputs: &[&[f32]]) -> Result<ImageAnswer, Error> {
    let output_of = |tensor: &str| {
        let position = tensors.iter().position(|name| name == tensor).expect("the cut holds every tensor of its plan");
        outputs[position]
    };
    let features = plan
        .layers
        .iter()
        .map(|spec| feature(spec, plan, output_of(&spec.layer.tensor)).ok_or_else(|| not_finite(&spec.layer.name, image)))
        .collect::<Result<_, _>>()?;
    let metadata = &plan.version.metadata;
    let top_k = match (plan.top_k, &metadata.output) {
        (Some(top_k), Some(output)) => {
            let scores = scores(output_of(&output.tensor), output.kind);
            scores.and_then(|scores| best(&scores, &metadata.labels, top_k)).ok_or_else(|| not_finite(&output.tensor, image))?
        }
        _ => Vec::new(),
    };
    Ok(ImageAnswer { top_k, features, warnings: Vec::new() })
}

fn not_finite(layer: &str, image: usize) -> Error {
    Error::NotFinite { layer: layer.to_owned(), image, float16: false }
}

/// One layer's answer, or `None` when it is not finite.
fn feature(spec: &LayerSpec, plan: &Plan, raw: &[f32]) -> Option<Tensor> {
    let mut data = match (plan.pool, spec.layer.shape.as_slice()) {
        (Pool::Avg, &[height, width, _]) => {
            pool(raw, height * width, |map| map.iter().map(|&value| f64::from(value)).sum::<f64>() as f32 / map.len() as f32)
        }
        (Pool::Max, &[height, width, _]) => pool(raw, height * width, |map| map.iter().copied().fold(f32::MIN, f32::max)),
        (Pool::None, &[height, width, channels]) => channels_last(raw, height * width, channels),
        _ => raw.to_vec(),
    };
    // `f32::max` skips NaN, so the raw values are what must be finite.
    if !raw.iter().all(|value| value.is_finite()) {
        return None;
    }
    if plan.normalize == Normalize::L2 {
        normalize(&mut data);
    }
    let shape = spec.shape.clone();
    Some(Tensor::new(shape, data).expect("a plan's shapes come from the graph that computed the data"))
}

fn pool(data: &[f32], pixels: usize, reduce: impl Fn(&[f32]) -> f32) -> Vec<f32> {
    data.chunks_exact(pixels).map(reduce).collect()
}

/// (channel, pixel) → (pixel, channel), in tiles that fit the cache.
fn channels_last(data: &[f32], pixels: usize, channels: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut out = vec![0.0; data.len()];
    for pixel in (0..pixels).step_by(TILE) {
        for channel in (0..channels).step_by(TILE) {
            for c in channel..(channel + TILE).min(channels) {
                for p in pixel..(pixel + TILE).min(pixels) {
                    out[p * channels + c] = data[c * pixels + p];
                }
            }
        }
    }
    out
}

/// Divides by the Euclidean length; a zero vector stays zero.
fn normalize(data: &mut [f32]) {
    let length = data.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        data.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

/// One score per class, or `None` when one is not finite.
fn scores(raw: &[f32], kind: OutputKind) -> Option<Vec<f32>> {
    let sigmoid = |logit: f32| 1.0 / (1.0 + f64::from(-logit).exp());
    let scores = match kind {
        OutputKind::Probabilities | OutputKind::Independent => raw.to_vec(),
        OutputKind::LogProbabilities => raw.iter().map(|value| f64::from(*value).exp() as f32).collect(),
        OutputKind::IndependentLogits => raw.iter().map(|&logit| sigmoid(logit) as f32).collect(),
        OutputKind::Binary => raw.iter().flat_map(|&share| [1.0 - share, share]).collect(),
        OutputKind::BinaryLogit => raw.iter().flat_map(|&logit| [sigmoid(-logit) as f32, sigmoid(logit) as f32]).collect(),
        OutputKind::Logits => softmax(raw),
    };
    // A probability of 0 has the logarithm −∞.
    let counts = |value: &f32| value.is_finite() || kind == OutputKind::LogProbabilities && *value == f32::NEG_INFINITY;
    (raw.iter().all(counts) && scores.iter().all(|score| score.is_finite())).then_some(scores)
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let exponents: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
    let sum: f64 = exponents.iter().sum();
    exponents.iter().map(|exponent| (exponent / sum) as f32).collect()
}

/// The `top_k` best classes, best first; ties go to the lower index. `None` when there are fewer scores than that.
fn best(scores: &[f32], labels: &[Label], top_k: usize) -> Option<Vec<Class>> {
    let mut order: Vec<usize> = (0..scores.len().min(labels.len())).collect();
    let rank = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    if top_k > order.len() || top_k == 0 {
        return None;
    }
    if top_k < order.len() {
        order.select_nth_unstable_by(top_k - 1, rank);
        order.truncate(top_k);
    }
    order.sort_unstable_by(rank);
    let class = |index: usize| Class {
        index,
        label: labels[index].label.clone(),
        wnid: labels[index].wnid.clone(),
        score: scores[index],
    };
    Some(order.into_iter().map(class).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(count: usize) -> Vec<Label> {
        (0..count).map(|index| Label { label: format!("class_{index}"), wnid: None }).collect()
    }

    #[test]
    fn best_classes_come_first_and_ties_go_to_the_lower_index() {
        let check = |scores: &[f32], top_k, expected: &[usize]| {
            let found = best(scores, &labels(scores.len()), top_k).expect("enough classes");
            assert_eq!(found.iter().map(|class| class.index).collect::<Vec<_>>(), expected, "{scores:?}");
        };
        check(&[0.1, 0.7, 0.2], 2, &[1, 2]);
        check(&[0.5, 0.5, 0.5, 0.5], 3, &[0, 1, 2]);
        check(&[0.2, 0.3, 0.3, 0.2], 4, &[1, 2, 0, 3]);
        check(&[1.0], 1, &[0]);
    }

    #[test]
    fn an_output_becomes_scores_by_its_kind() {
        let check = |raw: &[f32], kind, expected: &[f32]| {
            let found = scores(raw, kind).expect("finite");
            let near = |(found, expected): (&f32, &f32)| (found - expected).abs() < 1e-7;
            assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{kind}: {found:?}");
        };
        check(&[1000.0, 1000.0, -1000.0], OutputKind::Logits, &[0.5, 0.5, 0.0]);
        check(&[0.7, 0.2], OutputKind::Probabilities, &[0.7, 0.2]);
        check(&[0.7, 0.9], OutputKind::Independent, &[0.7, 0.9]);
        check(&[f32::NEG_INFINITY, 0.0], OutputKind::LogProbabilities, &[0.0, 1.0]);
        check(&[0.0, -1000.0, 1000.0], OutputKind::IndependentLogits, &[0.5, 0.0, 1.0]);
        check(&[0.25], OutputKind::Binary, &[0.75, 0.25]);
        check(&[1000.0], OutputKind::BinaryLogit, &[0.0, 1.0]);
        for (_, kind) in OutputKind::NAMES {
            assert!(scores(&[f32::NAN], kind).is_none() && scores(&[f32::INFINITY], kind).is_none(), "{kind}");
        }
    }

    #[test]
    fn maps_become_height_width_channel() {
        let (pixels, channels) = (37, 70);
        let data: Vec<f32> = (0..pixels * channels).map(|value| value as f32).collect();
        let out = channels_last(&data, pixels, channels);
        assert!((0..pixels).all(|p| (0..channels).all(|c| out[p * channels + c] == data[c * pixels + p])));
    }

    #[test]
    fn a_zero_vector_stays_zero() {
        let mut zero = vec![0.0; 3];
        normalize(&mut zero);
        assert_eq!(zero, [0.0; 3]);
        let mut vector = vec![3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
    }
}
