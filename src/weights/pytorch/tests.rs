//! The reader against files that the safetensors crate writes, and against hostile ones.
//!
//! The network is a toy with the names of EfficientNet-Lite0.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, tensor::TensorView};

use super::{StateDict, is_safetensors};
use crate::{
    arch::{Activation, Architecture, Builder, Description, LayerKind, Padding, Transfer},
    weights::{self, WeightSource},
};

/// Shapes by PyTorch's names.
type Shapes = BTreeMap<String, Vec<usize>>;

/// A convolution, a depthwise one, a normalisation and a classifier.
fn toy(include_top: bool) -> Architecture {
    let (strides, padding, use_bias, activation) = ([1, 1], Padding::Same, false, Activation::Linear);
    let mut model = Builder::new([4, 4, 3]);
    let stem = LayerKind::Conv2D { filters: 2, kernel: [1, 2], strides, padding, use_bias, activation };
    let x = model.named("stem_conv", stem, &[0]);
    let depthwise = LayerKind::DepthwiseConv2D { kernel: [2, 2], strides, padding, use_bias, activation };
    let x = model.named("block1a_dwconv", depthwise, &[x]);
    let norm = LayerKind::BatchNormalization { epsilon: 1e-3, scale: true, center: true };
    let mut x = model.named("block1a_bn", norm, &[x]);
    if include_top {
        x = model.named("avg_pool", LayerKind::GlobalAveragePooling2D, &[x]);
        x = model.named("predictions", LayerKind::dense(3, Activation::Softmax), &[x]);
    }
    let transfer = Transfer { blocks: vec!["block1a_bn".to_owned()], ..Transfer::default() };
    let name = "efficientnet_lite0";
    model.finish(x, Description { name, include_top, features_layer: "block1a_bn", transfer })
}

/// Shapes of the toy's state dict, in PyTorch's layout.
fn shapes() -> Shapes {
    let shapes: [(&str, &[usize]); 8] = [
        ("_conv_stem.weight", &[2, 3, 1, 2]),
        ("_blocks.0._depthwise_conv.weight", &[2, 1, 2, 2]),
        ("_blocks.0._bn1.weight", &[2]),
        ("_blocks.0._bn1.bias", &[2]),
        ("_blocks.0._bn1.running_mean", &[2]),
        ("_blocks.0._bn1.running_var", &[2]),
        ("_fc.weight", &[3, 2]),
        ("_fc.bias", &[3]),
    ];
    shapes.into_iter().map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect()
}

/// A file in which every tensor holds 0, 1, 2, … in PyTorch's order; `value` may replace one of them.
fn file(shapes: &Shapes, dtype: Dtype, value: Option<f32>) -> Vec<u8> {
    let bytes = |shape: &Vec<usize>| -> Vec<u8> {
        let values = (0..shape.iter().product::<usize>()).map(|index| value.filter(|_| index == 1).unwrap_or(index as f32));
        values.flat_map(|value| value.to_le_bytes()).collect()
    };
    let data: BTreeMap<&String, Vec<u8>> = shapes.iter().map(|(name, shape)| (name, bytes(shape))).collect();
    let view = |(name, shape): (&String, &Vec<usize>)| {
        (name.clone(), TensorView::new(dtype, shape.clone(), &data[name]).expect("as many bytes as the shape has"))
    };
    safetensors::serialize(shapes.iter().map(view), None).expect("sound tensors")
}

fn open(path: &Path) -> Result<StateDict, weights::Error> {
    StateDict::open_as(path, toy(true), toy(false))
}

/// Opens and reads everything; the error with its causes, as the command line prints it.
fn load(path: &Path) -> Result<Vec<Vec<f32>>, String> {
    let read = || {
        let mut file = open(path)?;
        let layers = file.architecture().layers;
        let read = layers.iter().enumerate().map(|(index, layer)| file.layer(index, layer));
        let tensors = read.collect::<Result<Vec<_>, _>>()?;
        Ok(tensors.into_iter().flatten().map(|tensor| tensor.data().to_vec()).collect())
    };
    read().map_err(|error: weights::Error| format!("{:#}", anyhow::Error::new(error)))
}

#[test]
fn tensors_come_in_keras_s_layout_with_and_without_the_top() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("w.safetensors");
    fs::write(&path, file(&shapes(), Dtype::F32, None)).expect("written");
    let tensors = load(&path).expect("sound weights");
    // PyTorch's out, in, height, width of 2, 3, 1, 2 as height, width, in, out: its strides are 6, 2, 2, 1.
    assert_eq!(tensors[0], [0.0, 6.0, 2.0, 8.0, 4.0, 10.0, 1.0, 7.0, 3.0, 9.0, 5.0, 11.0]);
    // Channel, 1, height, width of 2, 1, 2, 2 as height, width, channel, 1.
    assert_eq!(tensors[1], [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    assert_eq!(tensors[6], [0.0, 2.0, 4.0, 1.0, 3.0, 5.0], "out, in as in, out");
    assert_eq!(tensors.len(), 8);

    let mut bare = shapes();
    bare.retain(|name, _| !name.starts_with("_fc"));
    bare.insert("_blocks.0._bn1.num_batches_tracked".to_owned(), vec![1]);
    fs::write(&path, file(&bare, Dtype::F32, None)).expect("written");
    let opened = open(&path).unwrap_or_else(|error| panic!("{:#}", anyhow::Error::new(error)));
    assert_eq!(opened.architecture(), toy(false), "a counter is no weight");
}

#[test]
fn wrong_weights_say_what_was_expected_and_found() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("given.safetensors");
    let check = |change: &dyn Fn(&mut Shapes), dtype: Dtype, value: Option<f32>, expected: &str| {
        let mut shapes = shapes();
        change(&mut shapes);
        fs::write(&path, file(&shapes, dtype, value)).expect("written");
        let message = load(&path).expect_err(expected);
        assert!(message.contains(expected), "{message}\nshould contain: {expected}");
        assert!(message.contains("given.safetensors"), "{message}");
    };
    let same = |_: &mut Shapes| {};
    let rename = |shapes: &mut Shapes| {
        let shape = shapes.remove("_fc.bias").expect("it is there");
        shapes.insert("_fc.shift".to_owned(), shape);
    };
    check(&rename, Dtype::F32, None, "expected tensor `_fc.bias` (for layer 5 `predictions`), found none of that name");
    let more = |shapes: &mut Shapes| drop(shapes.insert("_extra".repeat(40), vec![1]));
    check(&more, Dtype::F32, None, "expected the weights of efficientnet_lite0 alone, found 1 other tensors");
    let turned = |shapes: &mut Shapes| drop(shapes.insert("_fc.weight".to_owned(), vec![2, 3]));
    check(&turned, Dtype::F32, None, "expected `_fc.weight` of shape [3, 2] for layer 5 `predictions`, found [2, 3]");
    check(&same, Dtype::I32, None, "found I32; convert the model with `.float()`");
    let nan = "expected finite weights, found NaN in `_conv_stem.weight` of layer 1 `stem_conv`";
    check(&same, Dtype::F32, Some(f32::NAN), nan);
    check(&same, Dtype::F32, Some(f32::INFINITY), "expected finite weights, found inf");
}

#[test]
fn hostile_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("given.safetensors");
    let check = |bytes: &[u8], expected: &str| {
        fs::write(&path, bytes).expect("written");
        let message = load(&path).expect_err(expected);
        assert!(message.contains(expected), "{message}\nshould contain: {expected}");
    };
    let whole = file(&shapes(), Dtype::F32, None);
    let of_length = |length: u64, rest: &[u8]| [&length.to_le_bytes()[..], rest].concat();
    check(b"", "an empty file");
    check(b"PK\x03\x04 and more", "a PyTorch checkpoint, whose pickle could run anything");
    check(&[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9], "a PyTorch checkpoint");
    check(b"\x89HDF\r\n\x1a\n and more", "an HDF5 file; call it `.h5`");
    check(b"version https://git-lfs.github.com/spec/v1", "git lfs pull");
    check(b"something else", "a file that starts with 73 6f 6d 65 74 68 69 6e");
    check(&whole[..whole.len() - 1], "download or copy it again");
    check(&[&whole[..], b"more"].concat(), "download or copy it again");
    check(&of_length(u64::MAX, b"{}"), "18446744073709551615 bytes; at most 1048576 are read");
    check(&of_length(1 << 20, b"{}"), "download or copy it again");
    check(&of_length(2, b"{}"), "expected tensor `_conv_stem.weight`");
    check(&of_length(3, b"{x}"), "the header is damaged");
    let one = |info: &str| {
        let header = format!("{{\"_conv_stem.weight\":{info}}}");
        of_length(header.len() as u64, header.as_bytes())
    };
    check(&one(r#"{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,64]}"#), "the header is damaged");
    check(&one(r#"{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551615,3]}"#), "the header is damaged");
    check(&one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#), "the header is damaged");
    check(&one(r#"{"dtype":"F32","shape":[268435456],"data_offsets":[0,1073741824]}"#), "download or copy it again");
    check(&of_length(100_000, "[".repeat(100_000).as_bytes()), "a file that starts with");
    check(&of_length(100_000, format!("{{\"a\":{}", "[".repeat(99_995)).as_bytes()), "the header is damaged");
}

#[test]
fn kinds_of_files_are_told_apart() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("weights.bin");
    fs::write(&path, file(&shapes(), Dtype::F32, None)).expect("written");
    assert!(is_safetensors(&path), "by its header");
    assert!(is_safetensors(Path::new("no/such.SafeTensors")), "by its name");
    fs::write(&path, b"\x89HDF\r\n\x1a\n").expect("written");
    assert!(!is_safetensors(&path));
    let refused = |name: &str| {
        let error = weights::open(Path::new("x.safetensors"), name).err().expect("no such file");
        format!("{:#}", anyhow::Error::new(error))
    };
    let expected = "expected an HDF5 file of Keras weights (`.h5`) for vgg16, found safetensors, which graft reads for \
                    efficientnet_lite0";
    assert!(refused("vgg16").contains(expected), "{}", refused("vgg16"));
    assert!(refused("resnet50").contains("unknown architecture `resnet50`"));
    assert!(refused("efficientnet_lite0").contains("the file cannot be read"));
}
