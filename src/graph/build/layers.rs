//! Keras's layers as ONNX operators.

use std::io::Write;

use crate::{
    arch::{Activation, Layer, LayerKind, Padding},
    graph::{
        make::{self, dim, float, int, sizes},
        proto::AttributeProto,
    },
    tensor::Tensor,
};

use super::{BuildError, assembly::Assembly, values::Values};

/// Stands for channels in both layouts: `(batch, channel, height, width)` and `(batch, units)`.
const CHANNEL_AXIS: i64 = 1;

impl<'a, W: Write> Assembly<'a, W> {
    /// Adds the nodes of `layer`, the last of which makes the tensor of its name.
    pub(super) fn layer_nodes(&mut self, layer: &Layer, weights: &[Tensor]) -> Result<(), BuildError> {
        let output = layer.name.as_str();
        let sources = self.sources(layer)?;
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let is_map = sources[0].output_shape.len() == 3;
        let needs_map = |attributes: Result<Vec<AttributeProto>, BuildError>| match is_map {
            true => attributes,
            false => Err(problem(layer, "it needs a map of height, width and channels")),
        };
        match layer.kind {
            LayerKind::InputLayer => return Err(problem(layer, "an input is not an operator")),
            LayerKind::Conv2D { kernel, strides, padding, activation, .. } => {
                let window = needs_map(window(layer, sources[0], kernel, strides, padding))?;
                self.convolution(layer, names[0], weights, window, activation)?;
            }
            LayerKind::DepthwiseConv2D { kernel, strides, padding, activation, .. } => {
                let mut window = needs_map(window(layer, sources[0], kernel, strides, padding))?;
                window.push(int("group", dim(sources[0].output_shape[2])));
                self.convolution(layer, names[0], weights, window, activation)?;
            }
            LayerKind::ZeroPadding2D { padding: [rows, columns] } => {
                let attributes = needs_map(Ok(Vec::new()))?;
                self.pad(names[0], rows, columns, output, attributes);
            }
            LayerKind::BatchNormalization { epsilon, .. } => self.normalization(layer, names[0], weights, epsilon)?,
            LayerKind::Activation(activation) => self.activate(activation, names[0], output),
            LayerKind::MaxPooling2D { pool, strides, padding } => {
                let window = needs_map(window(layer, sources[0], pool, strides, padding))?;
                self.node("MaxPool", &names, output, window);
            }
            LayerKind::AveragePooling2D { pool, strides, padding } => {
                let mut window = needs_map(window(layer, sources[0], pool, strides, padding))?;
                window.push(int("count_include_pad", 0));
                self.node("AveragePool", &names, output, window);
            }
            LayerKind::Concatenate => self.node("Concat", &names, output, vec![int("axis", CHANNEL_AXIS)]),
            LayerKind::Add => self.node("Add", &names, output, Vec::new()),
            LayerKind::Dropout { rate } => self.dropout(names[0], rate, output),
            LayerKind::GlobalAveragePooling2D => {
                let mean = format!("{output}/mean");
                self.node("GlobalAveragePool", &names, &mean, needs_map(Ok(Vec::new()))?);
                self.node("Flatten", &[&mean], output, vec![int("axis", 1)]);
            }
            LayerKind::Flatten => self.flatten(names[0], is_map, output),
            LayerKind::Dense { .. } if is_map => return Err(problem(layer, "a dense layer needs a vector; add Flatten")),
            LayerKind::Dense { activation, .. } => self.dense(layer, names[0], weights, activation)?,
        }
        Ok(())
    }

    /// The layers that `layer` reads, as many as its class takes.
    fn sources(&self, layer: &Layer) -> Result<Vec<&'a Layer>, BuildError> {
        let all = self.layers;
        let sources: Option<Vec<&Layer>> = layer.inputs.iter().map(|&index| all.get(index)).collect();
        let sources = sources.ok_or_else(|| problem(layer, "it reads a layer that does not exist"))?;
        match (sources.len(), &layer.kind) {
            (1.., LayerKind::Concatenate) | (2, LayerKind::Add) => Ok(sources),
            (_, LayerKind::Add) => Err(wrong_number(layer)),
            (1, _) => Ok(sources),
            _ => Err(wrong_number(layer)),
        }
    }

    fn convolution(
        &mut self,
        layer: &Layer,
        input: &str,
        weights: &[Tensor],
        mut attributes: Vec<AttributeProto>,
        activation: Activation,
    ) -> Result<(), BuildError> {
        let kernel = weight(layer, weights, "kernel").ok_or_else(|| problem(layer, "it has no kernel"))?;
        let &[height, width, channels, filters] = kernel.shape() else {
            return Err(problem(layer, "its kernel is not of rank 4"));
        };
        attributes.push(sizes("kernel_shape", &[height, width]));
        let values = Values::Kernel { taps: height * width, channels, filters, data: kernel.data() };
        // A depthwise kernel is that of a convolution with as many groups as filters: Keras has one filter per channel.
        let shape = match layer.kind {
            LayerKind::DepthwiseConv2D { .. } => [channels, filters, height, width],
            _ => [filters, channels, height, width],
        };
        let kernel = self.constant(layer, "kernel", &shape, values)?;
        let mut inputs = vec![input, &kernel];
        let bias = self.optional_bias(layer, weights)?;
        inputs.extend(bias.as_deref());
        self.activated(activation, &layer.name, "linear", |assembly, output| {
            assembly.node("Conv", &inputs, output, attributes);
        });
        Ok(())
    }

    fn dense(&mut self, layer: &Layer, input: &str, weights: &[Tensor], activation: Activation) -> Result<(), BuildError> {
        let kernel = weight(layer, weights, "kernel").ok_or_else(|| problem(layer, "it has no kernel"))?;
        let kernel = self.constant(layer, "kernel", kernel.shape(), Values::AsIs(kernel.data()))?;
        let mut inputs = vec![input, &kernel];
        let bias = self.optional_bias(layer, weights)?;
        inputs.extend(bias.as_deref());
        let linear = if activation == Activation::Softmax { "logits" } else { "linear" };
        self.activated(activation, &layer.name, linear, |assembly, output| {
            assembly.node("Gemm", &inputs, output, Vec::new());
        });
        Ok(())
    }

    fn optional_bias(&mut self, layer: &Layer, weights: &[Tensor]) -> Result<Option<String>, BuildError> {
        let bias = weight(layer, weights, "bias");
        bias.map(|bias| self.constant(layer, "bias", bias.shape(), Values::AsIs(bias.data()))).transpose()
    }

    /// `gamma` is 1 and `beta` 0 where Keras has none.
    fn normalization(&mut self, layer: &Layer, input: &str, weights: &[Tensor], epsilon: f32) -> Result<(), BuildError> {
        let channels = layer.output_shape.last().copied().unwrap_or(0);
        let mut inputs = vec![input.to_owned()];
        for (role, default) in [("gamma", Some(1.0)), ("beta", Some(0.0)), ("moving_mean", None), ("moving_variance", None)] {
            let name = match (weight(layer, weights, role), default) {
                (Some(tensor), _) => self.constant(layer, role, tensor.shape(), Values::AsIs(tensor.data()))?,
                (None, Some(value)) => self.constant(layer, role, &[channels], Values::AsIs(&vec![value; channels]))?,
                (None, None) => return Err(problem(layer, "it has no moving statistics")),
            };
            inputs.push(name);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.node("BatchNormalization", &inputs, &layer.name, vec![float("epsilon", epsilon)]);
        Ok(())
    }

    /// Zeros around a map: `rows` above and below, `columns` left and right.
    fn pad(&mut self, input: &str, rows: [usize; 2], columns: [usize; 2], output: &str, attributes: Vec<AttributeProto>) {
        let pads = format!("{output}/pads");
        let sides = [0, 0, rows[0], columns[0], 0, 0, rows[1], columns[1]].map(dim);
        let pad = make::node("Pad", &[input, &pads], &[output], attributes);
        self.push(pad, [make::integers(&pads, &[sides.len()], &sides)]);
    }

    /// Does nothing when the graph is run as it is; a training graph takes it for what it says.
    fn dropout(&mut self, input: &str, rate: f32, output: &str) {
        if rate == 0.0 {
            return self.node("Identity", &[input], output, Vec::new());
        }
        let ratio = format!("{output}/rate");
        self.push(make::node("Dropout", &[input, &ratio], &[output], Vec::new()), [make::floats(&ratio, &[], &[rate])]);
    }

    /// Height, width, channel, as Keras flattens a map.
    fn flatten(&mut self, input: &str, is_map: bool, output: &str) {
        let channels_last = format!("{output}/channels_last");
        let input = if is_map {
            self.node("Transpose", &[input], &channels_last, vec![sizes("perm", &[0, 2, 3, 1])]);
            &channels_last
        } else {
            input
        };
        self.node("Flatten", &[input], output, vec![int("axis", 1)]);
    }

    /// Adds the node that `add` makes, and the activation behind it; what lies between is called `LAYER/linear`.
    fn activated(&mut self, activation: Activation, layer: &str, linear: &str, add: impl FnOnce(&mut Self, &str)) {
        if activation == Activation::Linear {
            return add(self, layer);
        }
        let linear = format!("{layer}/{linear}");
        add(self, &linear);
        self.activate(activation, &linear, layer);
    }

    fn activate(&mut self, activation: Activation, input: &str, output: &str) {
        match activation {
            Activation::Linear => self.node("Identity", &[input], output, Vec::new()),
            Activation::Relu => self.node("Relu", &[input], output, Vec::new()),
            Activation::Relu6 => {
                let (clip, bounds) = make::relu6(input, output);
                self.push(clip, bounds);
            }
            Activation::Softmax => self.node("Softmax", &[input], output, vec![int("axis", CHANNEL_AXIS)]),
        }
    }
}

/// The attributes of a window operation; `pads` are top, left, bottom, right.
fn window(
    layer: &Layer,
    source: &Layer,
    kernel: [usize; 2],
    strides: [usize; 2],
    padding: Padding,
) -> Result<Vec<AttributeProto>, BuildError> {
    if kernel.contains(&0) || strides.contains(&0) {
        return Err(problem(layer, "its window or stride is 0"));
    }
    let side = |axis: usize| match padding {
        Padding::Valid => (0, 0),
        Padding::Same => same_padding(source.output_shape.get(axis).copied().unwrap_or(0), kernel[axis], strides[axis]),
    };
    let ((top, bottom), (left, right)) = (side(0), side(1));
    let mut attributes = vec![sizes("strides", &strides), sizes("pads", &[top, left, bottom, right])];
    if !matches!(layer.kind, LayerKind::Conv2D { .. } | LayerKind::DepthwiseConv2D { .. }) {
        attributes.push(sizes("kernel_shape", &kernel));
    }
    Ok(attributes)
}

/// TensorFlow's `SAME`: ⌈size ÷ stride⌉ outputs, and of an odd total the larger half at the end.
fn same_padding(size: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let covered = size.div_ceil(stride).saturating_sub(1) * stride + kernel;
    let total = covered.saturating_sub(size);
    (total / 2, total - total / 2)
}

/// The tensor that Keras calls `name`, if the layer has it.
fn weight<'t>(layer: &Layer, weights: &'t [Tensor], name: &str) -> Option<&'t Tensor> {
    layer.weights.iter().position(|spec| spec.name == name).and_then(|position| weights.get(position))
}

fn wrong_number(layer: &Layer) -> BuildError {
    problem(layer, "it reads another number of layers than its class takes")
}

fn problem(layer: &Layer, problem: &'static str) -> BuildError {
    BuildError::Layer { layer: layer.name.clone(), problem }
}

#[cfg(test)]
mod tests {
    use super::same_padding;

    #[test]
    fn same_padding_is_tensorflows() {
        let check = |size, kernel, stride, expected| {
            assert_eq!(same_padding(size, kernel, stride), expected, "size {size}, kernel {kernel}, stride {stride}");
        };
        check(224, 3, 1, (1, 1));
        check(224, 3, 2, (0, 1));
        check(5, 3, 2, (1, 1));
        check(6, 3, 2, (0, 1));
        check(6, 2, 1, (0, 1));
        check(5, 4, 2, (1, 2));
        check(7, 1, 2, (0, 0));
        check(1, 7, 1, (3, 3));
        check(3, 1, 5, (0, 0));
    }
}
