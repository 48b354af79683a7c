//! From a session's raw outputs to classes and features.
//!
//! Sessions give tensors as the graph has them; answers are height, width, channel, or tokens and channel, as in Keras.

use super::{Class, Distance, Error, ImageAnswer, LayerSpec, Normalize, Plan, Pool};
use crate::{
    graph::Layout,
    registry::{Label, Layer, Novelty, OutputKind, References},
    tensor::{Tensor, softmax},
};

/// Shapes the raw outputs of one image, those of `tensors` in their order, into its answer, without warnings.
///
/// `image` is its position, for messages; `references` are those of the plan's version, if it has some.
///
/// # Errors
/// NaN or infinity in a layer that was asked for, or in the scores.
pub(super) fn assemble(
    plan: &Plan,
    image: usize,
    tensors: &[String],
    outputs: &[&[f32]],
    references: Option<&References>,
) -> Result<ImageAnswer, Error> {
    let output_of = |tensor: &str| {
        let position = tensors.iter().position(|name| name == tensor).expect("the cut holds every tensor of its plan");
        outputs[position]
    };
    let features = plan
        .layers
        .iter()
        .map(|spec| feature(spec, plan, output_of(&spec.layer.tensor)).ok_or_else(|| not_finite(&spec.layer.name, image)))
        .collect::<Result<_, _>>()?;
    let labels = &plan.version.metadata.labels;
    let top_k = match (plan.top_k, plan.scores()) {
        (Some(top_k), Some((tensor, kind))) => {
            let scores = scores(output_of(tensor), kind);
            scores.and_then(|scores| best(&scores, labels, top_k)).ok_or_else(|| not_finite(tensor, image))?
        }
        _ => Vec::new(),
    };
    let distance = |(references, (novelty, layer)): (&References, (&Novelty, &Layer))| Distance {
        distance: references.distance(output_of(&layer.tensor)),
        threshold: novelty.threshold,
    };
    let novelty = references.zip(plan.novelty()).map(distance);
    Ok(ImageAnswer { top_k, features, novelty, warnings: Vec::new() })
}

fn not_finite(layer: &str, image: usize) -> Error {
    Error::NotFinite { layer: layer.to_owned(), image, float16: false }
}

/// One layer's answer, or `None` when it is not finite.
fn feature(spec: &LayerSpec, plan: &Plan, raw: &[f32]) -> Option<Tensor> {
    let mut data = match (plan.pool, Positions::of(&spec.layer)) {
        (Pool::Avg, Some(positions)) => positions.pool(raw, 0.0, |sum, value| sum + f64::from(value), positions.count() as f32),
        (Pool::Max, Some(positions)) => positions.pool(raw, f64::MIN, |most, value| most.max(f64::from(value)), 1.0),
        (Pool::None, Some(positions)) => positions.channels_last(raw),
        (_, None) => raw.to_vec(),
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

/// Where the positions and channels of a map or of tokens are in their tensor.
struct Positions {
    /// How many, and how far apart: rows and columns, or one row of tokens.
    rows: (usize, usize),
    columns: (usize, usize),
    channels: (usize, usize),
}

impl Positions {
    /// Those of `layer`; `None` when it is no map and has no tokens.
    fn of(layer: &Layer) -> Option<Self> {
        let shape = layer.stored_shape();
        let along = |axis: usize| (shape[axis], shape[axis + 1..].iter().product());
        match layer.layout() {
            Layout::Map([height, width, channel]) => {
                Some(Self { rows: along(height), columns: along(width), channels: along(channel) })
            }
            Layout::Tokens([token, channel]) => Some(Self { rows: (1, 0), columns: along(token), channels: along(channel) }),
            Layout::Vector | Layout::NoMap => None,
        }
    }

    fn count(&self) -> usize {
        self.rows.0 * self.columns.0
    }

    /// Where in the tensor each position begins, row after row.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let (rows, columns) = (self.rows, self.columns);
        (0..rows.0).flat_map(move |row| (0..columns.0).map(move |column| row * rows.1 + column * columns.1))
    }

    /// Per channel, its values put together from `start` on, over `divisor`.
    fn pool(&self, data: &[f32], start: f64, put: impl Fn(f64, f32) -> f64, divisor: f32) -> Vec<f32> {
        let (channels, stride) = self.channels;
        let pooled = |channel: usize| self.starts().map(|at| data[at + channel * stride]).fold(start, &put);
        (0..channels).map(|channel| pooled(channel) as f32 / divisor).collect()
    }

    /// Position after position, each with its channels; in tiles that fit the cache.
    fn channels_last(&self, data: &[f32]) -> Vec<f32> {
        const TILE: usize = 32;
        let (channels, stride) = self.channels;
        let starts: Vec<usize> = self.starts().collect();
        let mut out = vec![0.0; data.len()];
        for (tile, starts) in starts.chunks(TILE).enumerate() {
            for channel in (0..channels).step_by(TILE) {
                for c in channel..(channel + TILE).min(channels) {
                    for (p, at) in starts.iter().enumerate() {
                        out[(tile * TILE + p) * channels + c] = data[at + c * stride];
                    }
                }
            }
        }
        out
    }
}

/// Divides by the Euclidean length; a zero vector stays zero.
fn normalize(data: &mut [f32]) {
    let length = data.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        data.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

/// One score per class, or `None` when one is not finite.
pub(super) fn scores(raw: &[f32], kind: OutputKind) -> Option<Vec<f32>> {
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

    fn layer() -> Layer {
        crate::registry::testing::metadata("m").layers[0].clone()
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
    fn whatever_the_order_of_its_axes_a_map_is_height_width_channel() {
        let (sides, mean) = ([37_usize, 3, 70], |values: &mut dyn Iterator<Item = f32>| values.map(f64::from).sum::<f64>());
        let value = |at: [usize; 3]| (at[0] * 1000 + at[1] * 100 + at[2]) as f32;
        for axes in [[1, 2, 0], [0, 1, 2], [2, 1, 0], [0, 2, 1]] {
            let layer = Layer { shape: sides.to_vec(), layout: Some(Layout::Map(axes)), ..layer() };
            let stored = layer.stored_shape();
            let mut data = Vec::new();
            for index in 0..sides.iter().product::<usize>() {
                let at = [index / stored[2] / stored[1], index / stored[2] % stored[1], index % stored[2]];
                data.push(value(axes.map(|axis| at[axis])));
            }
            let positions = Positions::of(&layer).expect("a map");
            let shown = |index: usize| value([index / 210, index / 70 % 3, index % 70]);
            let expected: Vec<f32> = (0..data.len()).map(shown).collect();
            assert_eq!(positions.channels_last(&data), expected, "{axes:?}");
            let pooled = positions.pool(&data, 0.0, |sum, value| sum + f64::from(value), 111.0);
            let of_channel = |c: usize| mean(&mut expected.iter().copied().skip(c).step_by(70)) as f32 / 111.0;
            assert_eq!(pooled, (0..70).map(of_channel).collect::<Vec<_>>(), "{axes:?}");
        }
    }

    #[test]
    fn tokens_are_pooled_over_positions() {
        let layer = Layer { shape: vec![2, 3], layout: Some(Layout::Tokens([1, 0])), ..layer() };
        let positions = Positions::of(&layer).expect("tokens");
        let data = [1.0, 2.0, 3.0, 5.0, 4.0, 9.0];
        assert_eq!(positions.channels_last(&data), [1.0, 3.0, 4.0, 2.0, 5.0, 9.0]);
        assert_eq!(positions.pool(&data, f64::MIN, |most, value| most.max(f64::from(value)), 1.0), [2.0, 5.0, 9.0]);
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
