//! What a model of strangers may cost: memory and time are bounded at import, and the refusal names the node and the bound.
//!
//! The models are `tests/goldens/bounds.py`'s.

use std::{fs, path::PathBuf, time::Duration};

use graft::{
    config::{Provider, ProviderChoice, ProviderPolicy},
    registry::OnnxSettings,
    runtime::{Error, SessionSource, SharedWeights},
    tensor::Tensor,
};

use crate::{
    outputs::{file, import_file},
    support::{Setup, runtime},
};

fn refused(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/bounds/{name}.onnx"));
    import_file(Setup::empty().repository(), "stranger", &file, &OnnxSettings::default()).expect_err(name)
}

#[test]
fn constants_out_of_proportion_are_refused_by_name() {
    for (name, node) in [
        ("constant_of_shape", "ConstantOfShape node `huge` makes a constant of 4294967296 values"),
        ("constant_expand", "Expand node `huge` makes a constant of 4294967296 values"),
        ("constant_tile", "Tile node `huge` makes a constant of 4294967296 values"),
        ("constant_random", "RandomNormal node `huge` makes a constant of 4294967296 values"),
        ("constant_many", "makes a constant of 16777216 values"),
    ] {
        let error = refused(name);
        assert!(error.contains(node) && error.contains("67108864 are the most"), "{name}: {error}");
    }
}

#[test]
fn runs_beyond_the_bound_are_refused_by_name() {
    for (name, node) in [("run_resize", "Resize node `image`"), ("run_pad", "Pad node `image`")] {
        let error = refused(name);
        assert!(error.contains(node) && error.contains("`runtime.max_run_bytes`"), "{name}: {error}");
    }
}

#[test]
fn a_run_ends_at_its_limit() {
    let graph = fs::read(file("slow")).expect("a fixture");
    let source = SessionSource { graph: &graph, shared: &SharedWeights::default() };
    let cpu = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };
    let mut session = runtime().unfolded_session(source, cpu, None).expect("a session");
    let image = |value: f32| Tensor::new(vec![1, 3, 8, 8], vec![value; 192]).expect("an image");
    assert!(session.run_within(Duration::from_secs(60), &image(0.0)).is_ok(), "black takes no time");
    let late = session.run_within(Duration::from_millis(20), &image(255.0));
    assert!(matches!(late, Err(Error::TooSlow { .. })), "{late:?}");
    let left = session.run_while(&|| false, &image(255.0));
    assert!(matches!(left, Err(Error::Unwanted)), "{left:?}");
    assert!(session.run(&image(1.0)).is_ok(), "the next run is none of its business");
}
