//! Graphs of other types, in float32: names, values, and what stays before a frontier.

use super::*;
use crate::graph::{
    fixture::{classifier, graph, node, value},
    proto::{GraphProto, TensorProto},
};

/// A stored tensor from its bytes.
fn stored(name: &str, data_type: i32, dims: &[i64], raw: Vec<u8>) -> TensorProto {
    let (name, raw_data) = (Some(name.to_owned()), Some(raw.into()));
    TensorProto { name, dims: dims.to_vec(), data_type: Some(data_type), raw_data, ..Default::default() }
}

fn halves(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>() as usize;
    stored(name, data_type::FLOAT16, dims, half::f16::from_f32(0.5).to_le_bytes().repeat(count))
}

fn floats(name: &str, values: &[f32]) -> TensorProto {
    let dims: Vec<i64> = if values.len() == 1 { Vec::new() } else { vec![values.len() as i64] };
    stored(name, data_type::FLOAT, &dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// `x` → Cast `h` → Gemm `hidden` → Relu `relu` → Gemm `logits` → Cast `y`, in float16; both products read the bias `b`.
fn in_halves() -> GraphProto {
    let cast = |input: &str, output: &str, to: i32| make::node("Cast", &[input], &[output], vec![int("to", to.into())]);
    GraphProto {
        node: vec![
            cast("x", "h", data_type::FLOAT16),
            node("Gemm", "h w1 b", "hidden"),
            node("Relu", "hidden", "relu"),
            node("Gemm", "relu w2 b", "logits"),
            cast("logits", "y", data_type::FLOAT),
        ],
        initializer: vec![halves("w1", &[3, 2]), halves("w2", &[2, 2]), halves("b", &[2])],
        value_info: vec![value("relu", data_type::FLOAT16, &[0, 2]), value("logits", data_type::FLOAT16, &[0, 2])],
        output: vec![value("y", 1, &[0, 2])],
        ..classifier()
    }
}

/// `x` → `x8` → `xd` → Gemm `hidden` → `h8` → `hd` → Gemm `y`; weights in int8 by channel, activations in 8 bits.
fn quantised() -> GraphProto {
    let mut weight = node("DequantizeLinear", "w1q w1s w1z", "w1d");
    weight.attribute.push(int("axis", 1));
    GraphProto {
        node: vec![
            weight,
            node("DequantizeLinear", "bq bs", "bd"),
            node("QuantizeLinear", "x s u", "x8"),
            node("DequantizeLinear", "x8 s u", "xd"),
            node("Gemm", "xd w1d bd", "hidden"),
            node("QuantizeLinear", "hidden s z", "h8"),
            node("DequantizeLinear", "h8 s z", "hd"),
            node("Gemm", "hd w2", "y"),
        ],
        initializer: vec![
            stored("w1q", data_type::INT8, &[3, 2], [1, 2, 3, 4, 5, -6_i8].map(i8::cast_unsigned).to_vec()),
            floats("w1s", &[0.5, 2.0]),
            stored("w1z", data_type::INT8, &[2], vec![0, 1]),
            stored("bq", data_type::INT32, &[2], [7_i32, -8].iter().flat_map(|value| value.to_le_bytes()).collect()),
            floats("bs", &[0.25]),
            floats("s", &[0.1]),
            stored("u", data_type::UINT8, &[], vec![0]),
            stored("z", data_type::INT8, &[], vec![28]),
            stored("w2", data_type::FLOAT, &[2, 2], vec![0; 16]),
        ],
        value_info: Vec::new(),
        output: vec![value("y", 1, &[0, 2])],
        ..classifier()
    }
}

fn nodes(graph: &Graph) -> Vec<String> {
    graph
        .body
        .node
        .iter()
        .map(|node| format!("{} {} -> {}", node.op_type(), node.input.join(" "), node.output.join(" ")))
        .collect()
}

#[test]
fn halves_become_floats_under_their_names() {
    let single = graph(in_halves()).expect("a valid graph").in_float32().expect("it is whole");
    let expected = [
        "Identity x -> h",
        "Gemm h w1/float32 b/float32 -> hidden",
        "Relu hidden -> relu",
        "Gemm relu w2/float32 b/float32 -> logits",
        "Identity logits -> y",
    ];
    assert_eq!(nodes(&single), expected);
    assert_eq!(single.stored("w1/float32").expect("stored").data(), [0.5; 6]);
    assert!(!single.has_other_floats() && single.initializers().count() == 3);
    assert!(single.body.value_info.iter().all(|info| elem_type(info) == data_type::FLOAT));
    Graph::parse(single.to_bytes()).expect("it is whole");
    let weighted = single.weighted("y").expect("a tensor of the graph");
    assert_eq!(weighted.len(), 2, "both products can train");
}

#[test]
fn quantised_weights_and_activations_become_floats() {
    let single = graph(quantised()).expect("a valid graph").in_float32().expect("it is whole");
    let expected = [
        "Clip x xd/min xd/max -> xd",
        "Gemm xd w1d/float32 bd/float32 -> hidden",
        "Clip hidden hd/min hd/max -> hd",
        "Gemm hd w2 -> y",
    ];
    assert_eq!(nodes(&single), expected);
    let check = |name: &str, expected: &[f32]| assert_eq!(single.stored(name).expect("stored").data(), expected, "{name}");
    check("w1d/float32", &[0.5, 2.0, 1.5, 6.0, 2.5, -14.0]);
    check("bd/float32", &[1.75, -2.0]);
    check("xd/min", &[0.0]);
    check("xd/max", &[255.0 * 0.1]);
    check("hd/min", &[(-128.0 - 28.0) * 0.1]);
    check("hd/max", &[(127.0 - 28.0) * 0.1]);
    assert!(single.initializers().all(|tensor| !["w1q", "w1s", "s", "u"].contains(&tensor.name)), "nobody reads them");
    Graph::parse(single.to_bytes()).expect("it is whole");
}

#[test]
fn what_lies_before_a_frontier_keeps_its_types() {
    let whole = graph(in_halves()).expect("a valid graph");
    let (mixed, output) = whole.float32_behind(&["relu"], "logits").expect("a frontier");
    let expected = [
        "Cast x -> h",
        "Gemm h w1 b -> hidden",
        "Relu hidden -> relu",
        "Cast relu -> relu/float32",
        "Gemm relu/float32 w2/float32 b/float32 -> logits",
    ];
    assert_eq!((nodes(&mixed).as_slice(), output.as_str()), (&expected.map(str::to_owned)[..], "logits"));
    assert_eq!(mixed.float32_name("relu"), "relu/float32");
    let types: Vec<_> =
        mixed.body.value_info.iter().chain(&mixed.body.output).map(|info| (info.name(), elem_type(info))).collect();
    assert_eq!(types, [("relu", data_type::FLOAT16), ("logits", data_type::FLOAT)]);
    Graph::parse(mixed.to_bytes()).expect("it is whole");

    let mut undeclared = in_halves();
    undeclared.value_info.clear();
    let whole = graph(undeclared).expect("a valid graph");
    let (head_alone, output) = whole.float32_behind(&["logits"], "logits").expect("a frontier");
    assert!(head_alone.body.value_info.is_empty(), "nothing is said of what is not known");
    assert_eq!((head_alone.body.node.len(), output.as_str()), (5, "logits/float32"));
    // What came out is a base again.
    let (again, _) = mixed.float32_behind(&["relu"], "logits").expect("a frontier");
    Graph::parse(again.to_bytes()).expect("names are unique");

    let whole = graph(quantised()).expect("a valid graph");
    let (mixed, _) = whole.float32_behind(&["hd"], "y").expect("a frontier");
    assert_eq!(nodes(&mixed)[7], "Gemm hd w2 -> y");
    let (mixed, _) = whole.float32_behind(&["xd"], "y").expect("a frontier");
    assert_eq!(nodes(&mixed)[2], "Gemm xd w1d/float32 bd/float32 -> hidden");
}

#[test]
fn float32_stays_as_it_is() {
    let whole = graph(classifier()).expect("a valid graph");
    assert_eq!(whole.in_float32().expect("it is whole"), whole);
    let (cut, output) = whole.float32_behind(&["relu"], "logits").expect("a frontier");
    assert_eq!((cut, output.as_str()), (whole.cut(&["logits"]).expect("a tensor"), "logits"));
}

#[test]
fn what_float32_cannot_say_stays() {
    let mut body = quantised();
    // A scale that is computed, and integers that something else reads.
    body.node.push(node("Abs", "s", "made"));
    body.node.push(node("DequantizeLinear", "w1q made", "odd"));
    body.node.push(node("MatMulInteger", "x8 w1q", "product"));
    let single = graph(body).expect("a valid graph").in_float32().expect("it is whole");
    let kinds: Vec<&str> = single.body.node.iter().map(|node| node.op_type()).collect();
    assert_eq!(kinds, ["QuantizeLinear", "Clip", "Gemm", "Clip", "Gemm", "Abs", "DequantizeLinear", "MatMulInteger"]);
    Graph::parse(single.to_bytes()).expect("it is whole");
}

#[test]
fn ranges_are_those_of_the_quantiser() {
    // Readers may leave a zero point of 0 out; without any the quantiser says the type, or it is uint8.
    let bounds = |zero: &str, output_dtype: Option<i32>| {
        let mut body = quantised();
        body.node[5] = node("QuantizeLinear", &format!("hidden s {zero}"), "h8");
        body.node[5].attribute.extend(output_dtype.map(|kind| int("output_dtype", kind.into())));
        body.node[6] = node("DequantizeLinear", "h8 s", "hd");
        body.initializer.push(stored("z0", data_type::INT8, &[], vec![0]));
        let single = graph(body).expect("a valid graph").in_float32().expect("it is whole");
        ["hd/min", "hd/max"].map(|name| (single.stored(name).expect("stored").data()[0] * 10.0).round())
    };
    assert_eq!(bounds("z0", None), [-128.0, 127.0]);
    assert_eq!(bounds("", Some(data_type::INT8)), [-128.0, 127.0]);
    assert_eq!(bounds("", Some(data_type::UINT16)), [0.0, 65_535.0]);
    assert_eq!(bounds("", None), [0.0, 255.0]);
}

#[test]
fn weights_that_are_not_read_stay() {
    const INT4: i32 = 22;
    let mut body = quantised();
    body.node[0] = node("DequantizeLinear", "w1q s", "w1d");
    body.initializer[0] = stored("w1q", INT4, &[3, 2], vec![1; 3]);
    let whole = graph(body).expect("a valid graph");
    for single in [whole.in_float32(), whole.outline_in_float32()].map(|single| single.expect("it is whole")) {
        assert_eq!(nodes(&single)[0], "DequantizeLinear w1q s -> w1d");
        let weighted = single.weighted("y").expect("a tensor of the graph");
        assert!(weighted.iter().flat_map(|node| &node.parameters).all(|weight| !weight.name.contains("w1d")));
    }
}

#[test]
fn integers_that_floats_come_with_stay_integers() {
    let mut body = in_halves();
    body.node.push(node("TopK", "logits k", "best places"));
    body.node.push(make::node("Cast", &["places"], &["as_floats"], vec![int("to", data_type::FLOAT16.into())]));
    body.initializer.push(stored("k", 7, &[1], 1_i64.to_le_bytes().to_vec()));
    let single = graph(body).expect("a valid graph").in_float32().expect("it is whole");
    assert_eq!(nodes(&single).last().map(String::as_str), Some("Cast places -> as_floats"));
}

#[test]
fn an_outline_has_shapes_and_no_values() {
    for body in [in_halves(), quantised()] {
        let whole = graph(body).expect("a valid graph");
        let (outline, single) = (whole.outline_in_float32().expect("whole"), whole.in_float32().expect("whole"));
        assert_eq!(nodes(&outline), nodes(&single));
        let names =
            |graph: &Graph| graph.initializers().map(|tensor| (tensor.name.to_owned(), tensor.shape.clone())).collect::<Vec<_>>();
        assert_eq!(names(&outline), names(&single));
        let weights = outline
            .body
            .initializer
            .iter()
            .filter(|tensor| tensor.name().ends_with("w1/float32") || tensor.name() == "w1d/float32");
        assert!(weights.clone().count() == 1 && weights.flat_map(|tensor| &tensor.raw_data).all(|raw| raw.is_empty()));
    }
}
