//! Built graphs: operators and attributes of every layer class, and the architectures whole.
//!
//! The expected operators of `every_class` were run in ONNX Runtime beside the same network in Keras 3.15:
//! every layer agreed within 3e-7 relative L2.

use std::{collections::HashMap, io};

use super::{BuildError, build};
use crate::{
    arch::{Activation, Architecture, Layer, LayerKind, Padding, Transfer, WeightSpec, efficientnet_lite0, inception_v3, vgg16},
    graph::{Dim, ElementType, ExternalData, Graph, proto::NodeProto},
    tensor::Tensor,
    weights::{self, WeightSource},
};

/// Zeros in the shapes that the architecture says.
struct Zeros;

impl WeightSource for Zeros {
    fn layer(&mut self, _index: usize, layer: &Layer) -> Result<Vec<Tensor>, weights::Error> {
        Ok(layer.weights.iter().map(|spec| zeros(&spec.shape)).collect())
    }
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::new(shape.to_vec(), vec![0.0; shape.iter().product()]).expect("as many zeros as the shape says")
}

fn layer(name: &str, kind: LayerKind, inputs: &[usize], shape: &[usize], weights: &[(&'static str, &[usize])]) -> Layer {
    let spec =
        |(position, &(name, shape)): (usize, &(&'static str, &[usize]))| WeightSpec { name, shape: shape.to_vec(), position };
    let weights = weights.iter().enumerate().map(spec).collect();
    Layer { name: name.to_owned(), kind, inputs: inputs.to_vec(), output_shape: shape.to_vec(), weights }
}

/// A network with every layer class, odd sizes and even kernels.
fn every_class() -> Architecture {
    use Activation::{Linear, Relu, Relu6, Softmax};
    use LayerKind::{
        Add, AveragePooling2D, BatchNormalization, Concatenate, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten,
        GlobalAveragePooling2D, InputLayer, MaxPooling2D, ZeroPadding2D,
    };
    let (padding, strides, pool) = (Padding::Same, [2, 2], [3, 3]);
    let first = Conv2D { filters: 4, kernel: [3, 3], strides, padding, use_bias: true, activation: Relu };
    let second = Conv2D { filters: 5, kernel: [2, 4], strides, padding, use_bias: false, activation: Linear };
    let third =
        Conv2D { filters: 3, kernel: [1, 1], strides: [1, 1], padding: Padding::Valid, use_bias: true, activation: Softmax };
    let norm = BatchNormalization { epsilon: 1e-3, scale: false, center: true };
    let channelwise =
        DepthwiseConv2D { kernel: [3, 2], strides: [1, 2], padding: Padding::Valid, use_bias: true, activation: Relu6 };
    let smooth = AveragePooling2D { pool: [2, 2], strides: [1, 1], padding };
    let moments: [(&str, &[usize]); 3] = [("beta", &[4]), ("moving_mean", &[4]), ("moving_variance", &[4])];
    let layers = vec![
        layer("in", InputLayer, &[], &[10, 7, 3], &[]),
        layer("c1", first, &[0], &[5, 4, 4], &[("kernel", &[3, 3, 3, 4]), ("bias", &[4])]),
        layer("bn", norm, &[1], &[5, 4, 4], &moments),
        layer("max", MaxPooling2D { pool, strides, padding }, &[2], &[3, 2, 4], &[]),
        layer("mean", AveragePooling2D { pool, strides, padding }, &[2], &[3, 2, 4], &[]),
        layer("c2", second, &[2], &[3, 2, 5], &[("kernel", &[2, 4, 4, 5])]),
        layer("cat", Concatenate, &[3, 4, 5], &[3, 2, 13], &[]),
        layer("smooth", smooth, &[6], &[3, 2, 13], &[]),
        layer("act", LayerKind::Activation(Relu), &[7], &[3, 2, 13], &[]),
        layer("c3", third, &[8], &[3, 2, 3], &[("kernel", &[1, 1, 13, 3]), ("bias", &[3])]),
        layer("gap", GlobalAveragePooling2D, &[8], &[13], &[]),
        layer("flat", Flatten, &[9], &[18], &[]),
        layer("both", Concatenate, &[10, 11], &[31], &[]),
        layer(
            "d1",
            Dense { units: 16, use_bias: true, activation: Relu },
            &[12],
            &[16],
            &[("kernel", &[31, 16]), ("bias", &[16])],
        ),
        layer("pad", ZeroPadding2D { padding: [[1, 2], [0, 3]] }, &[8], &[6, 5, 13], &[]),
        layer("dw", channelwise, &[14], &[4, 2, 13], &[("kernel", &[3, 2, 13, 1]), ("bias", &[13])]),
        layer("drop", Dropout { rate: 0.0 }, &[13], &[16], &[]),
        layer("sum", Add, &[16, 13], &[16], &[]),
        layer("six", LayerKind::Activation(Relu6), &[15], &[4, 2, 13], &[]),
        layer(
            "d2",
            Dense { units: 4, use_bias: true, activation: Softmax },
            &[17],
            &[4],
            &[("kernel", &[16, 4]), ("bias", &[4])],
        ),
    ];
    architecture(layers)
}

fn architecture(layers: Vec<Layer>) -> Architecture {
    Architecture {
        name: "toy".to_owned(),
        include_top: true,
        features_layer: "d1".to_owned(),
        transfer: Transfer::default(),
        layers,
    }
}

/// `Operator inputs -> output attribute=value…`.
fn line(node: &NodeProto) -> String {
    let attributes = node.attribute.iter().map(|attribute| match (attribute.i, attribute.f) {
        (Some(value), _) => format!(" {}={value}", attribute.name()),
        (_, Some(value)) => format!(" {}={value}", attribute.name()),
        _ => format!(" {}={:?}", attribute.name(), attribute.ints),
    });
    format!("{} {} -> {}{}", node.op_type(), node.input.join(" "), node.output.join(" "), attributes.collect::<String>())
}

#[test]
fn every_class_becomes_its_operators() {
    let mut data = ExternalData::new(Vec::new(), "weights.bin");
    let graph = build(&every_class(), &mut Zeros, &mut data).expect("a sound architecture");
    let lines: Vec<String> = graph.body.node.iter().map(line).collect();
    let expected = [
        "Conv in c1/kernel c1/bias -> c1/linear strides=[2, 2] pads=[0, 1, 1, 1] kernel_shape=[3, 3]",
        "Relu c1/linear -> c1",
        "BatchNormalization c1 bn/gamma bn/beta bn/moving_mean bn/moving_variance -> bn epsilon=0.001",
        "MaxPool bn -> max strides=[2, 2] pads=[1, 0, 1, 1] kernel_shape=[3, 3]",
        "AveragePool bn -> mean strides=[2, 2] pads=[1, 0, 1, 1] kernel_shape=[3, 3] count_include_pad=0",
        "Conv bn c2/kernel -> c2 strides=[2, 2] pads=[0, 1, 1, 1] kernel_shape=[2, 4]",
        "Concat max mean c2 -> cat axis=1",
        "AveragePool cat -> smooth strides=[1, 1] pads=[0, 0, 1, 1] kernel_shape=[2, 2] count_include_pad=0",
        "Relu smooth -> act",
        "Conv act c3/kernel c3/bias -> c3/linear strides=[1, 1] pads=[0, 0, 0, 0] kernel_shape=[1, 1]",
        "Softmax c3/linear -> c3 axis=1",
        "GlobalAveragePool act -> gap/mean",
        "Flatten gap/mean -> gap axis=1",
        "Transpose c3 -> flat/channels_last perm=[0, 2, 3, 1]",
        "Flatten flat/channels_last -> flat axis=1",
        "Concat gap flat -> both axis=1",
        "Gemm both d1/kernel d1/bias -> d1/linear",
        "Relu d1/linear -> d1",
        "Pad act pad/pads -> pad",
        "Conv pad dw/kernel dw/bias -> dw/linear strides=[1, 2] pads=[0, 0, 0, 0] group=13 kernel_shape=[3, 2]",
        "Clip dw/linear dw/min dw/max -> dw",
        "Identity d1 -> drop",
        "Add drop d1 -> sum",
        "Clip dw six/min six/max -> six",
        "Gemm sum d2/kernel d2/bias -> d2/logits",
        "Softmax d2/logits -> d2 axis=1",
    ];
    assert_eq!(lines, expected);
    assert_eq!(graph.initializer_data("bn/gamma").as_deref(), Some(1.0_f32.to_le_bytes().repeat(4).as_slice()));
    let external: Vec<_> = graph.initializers().filter(|tensor| tensor.external.is_some()).map(|tensor| tensor.name).collect();
    assert_eq!(external, ["d1/kernel"], "1984 bytes; all others are smaller than 1 KiB");
    assert_eq!(data.length(), 1984);
    assert_eq!(Graph::parse(graph.to_bytes()).expect("what was built"), graph);
}

#[test]
fn whole_architectures_are_sound() {
    let check = |architecture: Architecture, nodes: usize, affine: Option<&str>| {
        let name = &architecture.name;
        // A normalisation without gamma, as all of InceptionV3's, stores ones.
        let gammas = |layer: &Layer| match layer.kind {
            LayerKind::BatchNormalization { scale: false, .. } => layer.output_shape[2],
            _ => 0,
        };
        let weights = architecture.params() + architecture.layers.iter().map(gammas).sum::<usize>();
        let mut data = ExternalData::new(io::sink(), "weights.bin");
        let graph = build(&architecture, &mut Zeros, &mut data).expect("a sound architecture");
        assert_eq!(graph.body.node.len(), nodes, "{name}");
        // Besides weights, ReLU6 and padding keep their numbers in the graph.
        let is_weight = |name: &str| !["min", "max", "pads"].iter().any(|role| name.ends_with(&format!("/{role}")));
        let stored = graph.initializers().filter(|tensor| is_weight(tensor.name)).map(|tensor| tensor.bytes / 4).sum::<u64>();
        assert_eq!(stored, weights as u64, "{name}");
        assert!(data.length() >= graph.initializers().filter_map(|tensor| tensor.external).map(|span| span.length).sum());
        assert_eq!(Graph::parse(graph.to_bytes()).expect("what was built"), graph, "{name}");

        let input = graph.input().expect("one input");
        let [height, width, channels] = [0, 1, 2].map(|axis| Dim::Fixed(architecture.input_shape()[axis] as u64));
        assert_eq!((input.name.as_str(), input.elem), (architecture.layers[0].name.as_str(), ElementType::F32));
        assert_eq!(input.shape, [Dim::Symbolic("batch".to_owned()), channels, height, width]);
        assert_eq!(graph.last_affine_input().as_deref(), affine, "{name}");
        assert_eq!(graph.outputs()[0].name, architecture.layers.last().expect("layers").name);
        let names: Vec<&str> = architecture.layers.iter().map(|layer| layer.name.as_str()).collect();
        let sizes: HashMap<String, Option<usize>> = graph
            .cut(&names)
            .expect("every layer has its tensor")
            .outputs()
            .into_iter()
            .map(|output| (output.name, output.shape.map(|shape| shape.len() - 1)))
            .collect();
        for layer in &architecture.layers {
            assert_eq!(sizes[&layer.name], Some(layer.output_shape.len()), "{}", layer.name);
        }
    };
    check(inception_v3(true), 314, Some("avg_pool"));
    check(efficientnet_lite0(true), 159, Some("top_dropout"));
    check(narrow(vgg16(false)), 31, Some("block5_conv2"));
    check(narrow(vgg16(true)), 39, Some("fc2"));
}

/// VGG16 with 8 channels and units instead of 512 and 4096: 130 million weights less.
fn narrow(mut architecture: Architecture) -> Architecture {
    for layer in &mut architecture.layers {
        let shapes = layer.weights.iter_mut().map(|weight| &mut weight.shape);
        for side in shapes.flatten().chain(&mut layer.output_shape) {
            *side = match *side {
                512 | 4096 => 8,
                25_088 => 7 * 7 * 8,
                other => other,
            };
        }
    }
    architecture
}

#[test]
fn unsound_architectures_and_weights_are_refused_by_name() {
    let check = |change: &dyn Fn(&mut Vec<Layer>), expected: &str| {
        let mut architecture = every_class();
        change(&mut architecture.layers);
        let mut data = ExternalData::new(io::sink(), "weights.bin");
        let error = build(&architecture, &mut Zeros, &mut data).expect_err(expected);
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        assert_eq!(format!("{error}{cause}"), expected);
    };
    check(&|layers| layers[1].inputs = vec![99], "layer `c1` cannot be built: it reads a layer that does not exist");
    check(
        &|layers| layers[1].inputs.clear(),
        "layer `c1` cannot be built: it reads another number of layers than its class takes",
    );
    check(
        &|layers| layers[3].inputs = vec![1, 2],
        "layer `max` cannot be built: it reads another number of layers than its class takes",
    );
    check(&|layers| layers[3].inputs = vec![11], "layer `max` cannot be built: it needs a map of height, width and channels");
    check(&|layers| layers[13].inputs = vec![8], "layer `d1` cannot be built: a dense layer needs a vector; add Flatten");
    check(&|layers| layers[8].output_shape = vec![3, 2], "layer `act` cannot be built: its output is neither a map nor a vector");
    check(&|layers| layers[1].weights.clear(), "layer `c1` cannot be built: it has no kernel");
    check(&|layers| layers[2].weights.truncate(1), "layer `bn` cannot be built: it has no moving statistics");
    check(&|layers| layers[1].weights[0].shape = vec![3, 4], "layer `c1` cannot be built: its kernel is not of rank 4");
    check(&|layers| layers[3].name = "bn".to_owned(), "tensor `bn` is defined twice, the second time by MaxPool node `bn`");
    check(&|layers| layers[3].inputs = vec![3], "MaxPool node `max` depends on its own output through tensor `max`");
    let no_stride = LayerKind::MaxPooling2D { pool: [2, 2], strides: [0, 1], padding: Padding::Same };
    check(&|layers| layers[3].kind = no_stride.clone(), "layer `max` cannot be built: its window or stride is 0");
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    struct Wrong(Vec<Tensor>);
    impl WeightSource for Wrong {
        fn layer(&mut self, _index: usize, _layer: &Layer) -> Result<Vec<Tensor>, weights::Error> {
            Ok(self.0.clone())
        }
    }
    let check = |tensors: Vec<Tensor>, expected: &str| {
        let error = build(&every_class(), &mut Wrong(tensors), &mut ExternalData::new(io::sink(), "w")).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check(vec![zeros(&[3, 3, 3, 4])], "layer `c1` has 2 weight tensors, its source has 1");
    check(vec![zeros(&[3, 3, 3, 4]), zeros(&[5])], "`c1/bias` has shape [4], its source has [5]");
}

#[test]
fn a_negative_variance_is_refused() {
    struct Negative;
    impl WeightSource for Negative {
        fn layer(&mut self, _index: usize, layer: &Layer) -> Result<Vec<Tensor>, weights::Error> {
            let filled = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![-0.5; shape.iter().product()]);
            Ok(layer.weights.iter().map(|spec| filled(&spec.shape).expect("as many as the shape says")).collect())
        }
    }
    let error = build(&every_class(), &mut Negative, &mut ExternalData::new(io::sink(), "w")).expect_err("a root of it is taken");
    assert_eq!(error.to_string(), "layer `bn` cannot be built: its moving variance is negative; the weights are damaged");
}

#[test]
fn a_full_disk_names_the_layer() {
    let mut room = [0; 100];
    let mut data = ExternalData::new(room.as_mut_slice(), "weights.bin");
    let error = build(&every_class(), &mut Zeros, &mut data).expect_err("100 bytes are too few");
    assert!(matches!(error, BuildError::Write { ref layer, .. } if layer == "d1"), "{error}");
}
