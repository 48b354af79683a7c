//! The reader against files of all four layouts (`tests/goldens/weights.py`), and against damaged ones.
//!
//! The files hold a toy model; a real one is read where it is at hand.

use std::{fs, path::PathBuf};

use super::{KerasFile, Layout};
use crate::{
    arch::{Activation, Architecture, Builder, Description, LayerKind, Padding, Transfer},
    test_data::real,
    weights::WeightSource,
};

/// `toy()` of `tests/goldens/weights.py`.
fn toy(include_top: bool) -> Architecture {
    let conv = |filters, kernel, strides, padding, use_bias, activation| LayerKind::Conv2D {
        filters,
        kernel,
        strides: [strides; 2],
        padding,
        use_bias,
        activation,
    };
    let mut model = Builder::new([8, 8, 3]);
    let x = model.named("stem", conv(4, [3, 3], 2, Padding::Valid, false, Activation::Linear), &[0]);
    let x = model.add(LayerKind::BatchNormalization { epsilon: 1e-3, scale: false, center: true }, &[x]);
    let x = model.add(LayerKind::Activation(Activation::Relu), &[x]);
    let left = model.add(conv(5, [1, 3], 1, Padding::Same, true, Activation::Relu), &[x]);
    let right = model.add(conv(6, [3, 1], 1, Padding::Same, true, Activation::Relu), &[x]);
    let x = model.add(LayerKind::Concatenate, &[left, right]);
    let mut x = model.named("avg_pool", LayerKind::GlobalAveragePooling2D, &[x]);
    if include_top {
        x = model.named("predictions", LayerKind::dense(7, Activation::Softmax), &[x]);
    }
    let transfer = Transfer::default();
    model.finish(x, Description { name: "toy", include_top, features_layer: "avg_pool", transfer })
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/weights").join(name)
}

fn open_toy(path: &std::path::Path) -> Result<KerasFile, crate::weights::Error> {
    KerasFile::open_as(path, vec![toy(true), toy(false)])
}

/// Reads everything; the error with its causes, as the command line prints it.
fn load(path: &std::path::Path) -> Result<(), String> {
    let read = || {
        let mut file = open_toy(path)?;
        let arch = file.architecture();
        for (index, layer) in arch.layers.iter().enumerate() {
            file.layer(index, layer)?;
        }
        Ok(())
    };
    read().map_err(|error: crate::weights::Error| format!("{:#}", anyhow::Error::new(error)))
}

#[test]
fn every_layout_gives_the_same_weights() {
    let check = |name: &str, layout, include_top| {
        let mut file = open_toy(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {:#}", anyhow::Error::new(error)));
        let arch = file.architecture();
        assert_eq!((file.layout(), arch.include_top), (layout, include_top), "{name}");
        for (index, layer) in arch.layers.iter().enumerate() {
            let tensors = file.layer(index, layer).unwrap_or_else(|error| panic!("{name}: {:#}", anyhow::Error::new(error)));
            assert_eq!(tensors.len(), layer.weights.len(), "{name} {}", layer.name);
            for (tensor, spec) in tensors.iter().zip(&layer.weights) {
                let element = |i: usize| ((31 * spec.position + 7 * i) % 101) as f32 / 64.0 - 50.0 / 64.0;
                let expected: Vec<f32> = (0..spec.elements()).map(element).collect();
                assert_eq!((tensor.shape(), tensor.data()), (&spec.shape[..], &expected[..]), "{name} {}", layer.name);
            }
        }
    };
    check("keras_2016.h5", Layout::Keras2, true);
    check("legacy.h5", Layout::Legacy, true);
    check("packed.h5", Layout::Legacy, true);
    check("whole_model.h5", Layout::WholeModel, true);
    check("keras_3.weights.h5", Layout::Keras3, true);
    check("keras_3_notop.weights.h5", Layout::Keras3, false);
}

#[test]
fn wrong_files_say_what_was_expected_and_found() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let check = |bytes: &[u8], expected: &str| {
        let path = scratch.path().join("given.h5");
        fs::write(&path, bytes).expect("the scratch folder is writable");
        let message = load(&path).expect_err(expected);
        assert!(message.contains(expected), "{message}\nshould contain: {expected}");
        assert!(message.contains("given.h5"), "{message}");
    };
    let read = |name| fs::read(fixture(name)).expect("the fixture is there");
    check(b"", "found an empty file");
    check(b"<!DOCTYPE html><html>", "found an HTML or XML page");
    check(b"PK\x03\x04rest", "`.keras` file; load it in Keras and write `model.save_weights(");
    check(b"\x08\x07\x12\x07pytorch", "import it with `graft import FILE.onnx");
    check(b"version https://git-lfs.github.com/spec/v1", "git lfs pull");
    check(b"anything", "found a file that starts with 61 6e 79 74 68 69 6e 67");
    check(&read("legacy.h5")[..20_000], "its header says 26104 bytes, there are 20000");
    check(&read("legacy.h5")[..50], "at the superblock");
    check(
        &read("foreign.h5"),
        "expected Keras weights (attribute `layer_names`, or a group `layers` or `model_weights`), found `temperature`",
    );
    check(&read("float64.h5"), "expected float32 in `layer_0/kernel`, found float64");
    check(&read("vgg16_notop_shapes.h5"), "expected the weights of toy, found those of vgg16; import this file as `vgg16`");
    check(&with_nan(read("legacy.h5")), "expected finite weights, found NaN in kernel of layer 4 `conv2d`");
    let missing = replaced(read("keras_3.weights.h5"), b"conv2d_2\0", b"conv2d_3\0");
    check(&missing, "expected `layers/conv2d_2/vars` in the file, found nothing there (for layer 5 `conv2d_1`)");
    let renamed = replaced(read("keras_2016.h5"), b"old_4_W_1:0", b"old_4_X_1:0");
    check(&renamed, "expected `old_4/old_4_W_1:0` in the file, found nothing there");
}

#[test]
fn another_architecture_is_named() {
    let check = |name: &str, candidates: Vec<Architecture>, expected: &str| {
        let error = KerasFile::open_as(&fixture(name), candidates).err().expect(expected);
        let message = format!("{:#}", anyhow::Error::new(error));
        assert!(message.contains(expected), "{message}\nshould contain: {expected}");
    };
    let of = |name| [true, false].into_iter().filter_map(|top| crate::arch::by_name(name, top)).collect::<Vec<_>>();
    check(
        "legacy.h5",
        of("vgg16"),
        "expected 16 or 13 (without its top) layers with weights for vgg16, found 5; the first that differs: \
         expected 2 weight tensors (kernel, bias) for layer 1 `block1_conv1`, found 1 in `stem`",
    );
    check(
        "keras_3.weights.h5",
        of("inception_v3"),
        "expected conv2d kernel [3, 3, 3, 32] for layer 1 `conv2d`, found [3, 3, 3, 4] in `layers/conv2d/vars/0`",
    );
    check("vgg16_notop_shapes.h5", of("inception_v3"), "import this file as `vgg16`");
    let mut wider = toy(true);
    wider.layers[5].weights[0].shape[3] = 9;
    check(
        "legacy.h5",
        vec![wider],
        "expected conv2d kernel [3, 1, 4, 9] for layer 5 `conv2d_1`, found [3, 1, 4, 6] in `conv2d_1/conv2d_1/kernel`",
    );
    assert!(KerasFile::open(&fixture("legacy.h5"), "resnet50").is_err());
}

#[test]
fn a_file_of_full_size_is_read() {
    let Some(path) = real("weights/inception_v3_2015_partial.h5") else { return };
    let mut file = KerasFile::open(&path, "inception_v3").expect("InceptionV3's weights");
    let arch = file.architecture();
    assert_eq!((file.layout(), arch.include_top), (Layout::Legacy, true));
    for name in ["conv2d", "batch_normalization_93", "predictions"] {
        let (index, layer) = arch.layer(name).expect("a layer of InceptionV3");
        let shapes: Vec<Vec<usize>> = file.layer(index, layer).expect(name).iter().map(|t| t.shape().to_vec()).collect();
        assert_eq!(shapes, layer.weights.iter().map(|spec| spec.shape.clone()).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn weights_that_were_never_written_are_refused() {
    let mut file = KerasFile::open(&fixture("vgg16_notop_shapes.h5"), "vgg16").expect("VGG16's shapes");
    let arch = file.architecture();
    assert!(!arch.include_top);
    let error = file.layer(1, &arch.layers[1]).expect_err("nothing was written");
    let message = format!("{:#}", anyhow::Error::new(error));
    assert!(message.contains("expected the kernel of layer 1 `block1_conv1`, found only zeros"), "{message}");
    assert!(file.layer(0, &arch.layers[0]).expect("nothing to read").is_empty());
    assert!(file.layer(2, &arch.layers[1]).is_err(), "a layer at another's index");
}

#[test]
fn damaged_files_never_panic() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let path = scratch.path().join("damaged.h5");
    for name in ["keras_2016.h5", "packed.h5", "keras_3.weights.h5"] {
        let whole = fs::read(fixture(name)).expect("the fixture is there");
        for length in (0..whole.len()).step_by(211) {
            fs::write(&path, &whole[..length]).expect("the scratch folder is writable");
            load(&path).expect_err("a truncated file is refused");
        }
        for position in (0..whole.len()).step_by(41) {
            let mut flipped = whole.clone();
            flipped[position] ^= 1 << (position % 8);
            fs::write(&path, &flipped).expect("the scratch folder is writable");
            // A flip among the weights or in unused space is not noticed; all that counts is that it returns.
            let _ = load(&path);
        }
    }
}

fn with_nan(bytes: Vec<u8>) -> Vec<u8> {
    let second = ((7.0 - 50.0) / 64.0_f32).to_le_bytes();
    let first = (-50.0 / 64.0_f32).to_le_bytes();
    replaced(bytes, &[first, second].concat(), &[f32::NAN.to_le_bytes(), second].concat())
}

/// `bytes` with the first `old` replaced by a `new` of the same length.
fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = (0..bytes.len() - old.len()).find(|&at| bytes[at..].starts_with(old)).expect("the file has it");
    bytes[at..at + old.len()].copy_from_slice(new);
    bytes
}
