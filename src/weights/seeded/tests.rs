//! Seeded weights against numpy (`tests/goldens/seeded.py`).
//!
//! Every bit of a tensor counts.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Seeded;
use crate::{arch::by_name, weights::WeightSource};

#[test]
fn tensors_are_those_of_numpy() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../../tests/fixtures/seeded.json")).expect("JSON");
    for case in &cases {
        check(case);
    }
}

fn check(case: &Value) {
    let seed = case["seed"].as_u64().expect("a seed");
    let mut source = if case["perturbed"] == true { Seeded::perturbed(seed) } else { Seeded::new(seed) };
    let arch = by_name(case["arch"].as_str().expect("a name"), true).expect("a known name");
    let (index, layer) = arch.layer(case["layer"].as_str().expect("a name")).expect("a known layer");
    let tensors = source.layer(index, layer).expect("seeded weights are always there");
    let expected = case["tensors"].as_array().expect("tensors");
    assert_eq!(tensors.len(), expected.len(), "{case}");
    for ((tensor, spec), expected) in tensors.iter().zip(&layer.weights).zip(expected) {
        assert_eq!(tensor.shape(), spec.shape);
        let bits = |value: &Value| (value.as_f64().expect("a number") as f32).to_bits();
        let first: Vec<u32> = expected["first"].as_array().expect("numbers").iter().map(bits).collect();
        let found: Vec<u32> = tensor.data()[..3].iter().map(|value| value.to_bits()).collect();
        assert_eq!(found, first, "{} {}", layer.name, spec.name);
        assert_eq!(tensor.data().last().map(|value| value.to_bits()), Some(bits(&expected["last"])), "{}", spec.name);
        let bytes: Vec<u8> = tensor.data().iter().flat_map(|value| value.to_le_bytes()).collect();
        let digest: String = hex::encode(Sha256::digest(&bytes));
        assert_eq!(expected["sha256"], digest, "{} {}", layer.name, spec.name);
    }
}

#[test]
fn seeds_and_positions_differ() {
    let arch = by_name("vgg16", true).expect("a known name");
    let (index, layer) = arch.layer("block1_conv1").expect("a known layer");
    let first = |mut source: Seeded| source.layer(index, layer).expect("always there")[0].data()[0];
    assert_ne!(first(Seeded::new(1)), first(Seeded::new(2)));
    assert_ne!(first(Seeded::new(1)), first(Seeded::perturbed(1)));
}
