//! Reading: what a model must be, and that nothing of it is lost.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::{
    Graph,
    fixture::{branch, classifier, graph, model, node, untyped, zeros},
    proto::{GraphProto, ModelProto, TensorProto},
};
use crate::test_data::real;

/// Written by the `onnx` package with every field of every message set.
const EVERY_FIELD: &[u8] = include_bytes!("testdata/every_field.onnx");

#[test]
fn no_field_is_lost() {
    let model = ModelProto::decode(EVERY_FIELD).expect("the file is a model");
    assert_eq!(model.encode_to_vec(), EVERY_FIELD);
}

#[test]
fn real_models_come_out_byte_for_byte() {
    let Some(folder) = real("weights") else { return };
    for name in ["googlenet.onnx", "squeezenet_fp16.onnx"] {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).expect("a real file");
        let graph = Graph::parse(bytes.clone().into()).expect("a real model");
        assert!(graph.to_bytes() == bytes, "{name} changed");
        assert_eq!(graph, Graph::read(&path).map(|read| Graph { dir: None, ..read }).expect("a real file"));
    }
}

#[test]
fn foreign_bytes_are_named() {
    let check = |bytes: &[u8], expected: &str| {
        let message = Graph::parse(Bytes::copy_from_slice(bytes)).expect_err("no model").to_string();
        assert!(message.starts_with("not an ONNX model: ") && message.contains(expected), "{message}");
    };
    check(b"", "empty");
    check(b"\n<!DOCTYPE html><html>404</html>", "HTML");
    check(b"\x89HDF\r\n\x1a\n\0\0", "HDF5");
    check(b"PK\x03\x04\x14\0", "zip");
    check(b"{\"error\":\"no\"}", "JSON");
    check(b"\x1f\x8b\x08\0", "gzip");
    check(b"version https://git-lfs.github.com/spec/v1", "LFS");
    check(b"\x20\0\0\0ORTM", ".ort");
    check(b"\x1c\0\0\0TFL3", "TensorFlow Lite");
    check(b"\x08\x08", "no graph");
    check(b"\xff\xff\xff\xff", "damaged");
    let model = model(classifier()).encode_to_vec();
    check(&model[..model.len() - 1], "damaged");
}

#[test]
fn broken_graphs_are_refused_by_name() {
    let check = |change: &dyn Fn(&mut GraphProto), expected: &str| {
        let mut body = classifier();
        change(&mut body);
        let error = graph(body).expect_err(expected);
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        assert_eq!(format!("{error}{cause}"), expected);
    };
    check(
        &|body| body.node[3] = node("Add", "relu zz", "shifted"),
        "Add node `shifted` reads tensor `zz`, which nothing defines",
    );
    check(&|body| body.output.push(untyped("zz")), "the graph's output list reads tensor `zz`, which nothing defines");
    check(
        &|body| body.node.push(node("Relu", "x", "relu")),
        "tensor `relu` is defined twice, the second time by Relu node `relu`",
    );
    check(&|body| body.node.push(node("Relu", "x", "w1")), "tensor `w1` is defined twice, the second time by Relu node `w1`");
    check(&|body| body.input.push(untyped("x")), "tensor `x` is defined twice, the second time by the graph's input list");
    check(
        &|body| body.initializer.push(zeros("w1", &[1])),
        "tensor `w1` is defined twice, the second time by the graph's initializers",
    );
    check(
        &|body| body.node[0] = node("Gemm", "y w1", "hidden"),
        "Gemm node `hidden` depends on its own output through tensor `y`",
    );
    check(
        &|body| {
            let inner =
                GraphProto { node: vec![node("Relu", "outer", "inner")], output: vec![untyped("inner")], ..Default::default() };
            body.node[1].attribute.push(branch("then_branch", inner));
        },
        "Relu node `relu` reads tensor `outer`, which nothing defines",
    );
}

#[test]
fn damaged_tensors_are_refused_by_name() {
    let check = |change: &dyn Fn(&mut TensorProto), expected: &str| {
        let mut body = classifier();
        change(&mut body.initializer[0]);
        let error = graph(body).expect_err(expected);
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(error.to_string(), "tensor `w1` is damaged");
        assert_eq!(cause.as_deref(), Some(expected));
    };
    check(&|w| w.dims = vec![3, 3], "its shape and type need 36 bytes, it has 24");
    check(&|w| w.dims = vec![-3, -2], "its dimensions [-3, -2] are negative or too large");
    check(&|w| w.dims = vec![i64::MAX, 2], "its dimensions [9223372036854775807, 2] are negative or too large");
    check(&|w| w.dims = vec![i64::MAX], "its dimensions [9223372036854775807] are negative or too large");
    check(&|w| w.data_type = None, "its element type 0 is not one of ONNX's");
    check(&|w| w.data_type = Some(21), "its shape and type need 3 bytes, it has 24");
    let typed = |w: &mut TensorProto, values: usize| {
        w.raw_data = None;
        w.float_data = vec![0.0; values];
    };
    check(&|w| typed(w, 5), "its shape and type need 6 values, it has 5");
    check(
        &|w| {
            typed(w, 0);
            w.dims = vec![i64::MAX / 16]
        },
        "its shape and type need 576460752303423487 values, it has 0",
    );
}

#[test]
fn nodes_are_put_in_order() {
    let mut body = classifier();
    body.node.reverse();
    let ordered: Vec<String> =
        graph(body).expect("a graph without cycles").body.node.iter().map(|node| node.output[0].clone()).collect();
    assert_eq!(ordered, ["k", "hidden", "relu", "shifted", "logits", "y"]);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Graph::parse(bytes.into());
    }

    #[test]
    fn damaged_models_never_panic(cut in 0_usize..2000, place in 0_usize..2000, byte in any::<u8>()) {
        for whole in [model(classifier()).encode_to_vec(), EVERY_FIELD.to_vec()] {
            let mut bytes = whole.clone();
            let place = place % bytes.len();
            bytes[place] = byte;
            exercise(&bytes);
            exercise(&whole[..cut % whole.len()]);
        }
    }
}

/// Everything that can be asked of a model that somebody brought.
fn exercise(bytes: &[u8]) {
    let Ok(graph) = Graph::parse(Bytes::copy_from_slice(bytes)) else { return };
    let _ = (graph.input(), graph.outputs(), graph.last_affine_input(), graph.initializers().count());
    for layer in graph.image_layers() {
        let cut = graph.cut(&[&layer.name]).expect("a layer can be cut to");
        assert!(Graph::parse(cut.to_bytes()).is_ok(), "the cut at {} is no graph", layer.name);
    }
    let _ = graph.clone().externalize(&mut super::ExternalData::new(std::io::sink(), "weights.bin"), 8);
    let _ = graph.inline(env!("CARGO_MANIFEST_DIR").as_ref());
}
