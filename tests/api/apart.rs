//! Foreign graphs that a process of their own examines: what they do to it, they do not do to graft.

use std::{fs, path::PathBuf};

use crate::support::{Ran, Setup, Tiny};

fn graph(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.onnx")).display().to_string()
}

#[test]
fn a_graph_without_end_is_given_up_and_leaves_nothing() {
    let setup = Setup::empty();
    let models = &setup.config().models.dir;
    let endless = graph("bounds/run_loop");
    let ran = Ran::graft(models, &["import", &endless, "--name", "endless", "--set", "models.import_timeout_ms=1000"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("takes more than 1 s (`models.import_timeout_ms`)"), "{ran:?}");
    let left: Vec<_> = fs::read_dir(models).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_another_process_refuses_is_said_as_ever() {
    let setup = Setup::empty();
    let ran = Ran::graft(&setup.config().models.dir, &["import", &graph("bounds/run_pad"), "--name", "padded"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("runtime.max_run_bytes"), "{ran:?}");
}

#[test]
fn what_another_process_examines_is_the_same_version() {
    let setup = Setup::empty().with(Tiny::Colours, "here");
    let models = &setup.config().models.dir;
    let read = |name: &str, file: &str| fs::read(models.join(name).join("1").join(file)).expect("published");
    Ran::graft(models, &["import", &graph("models/colours"), "--name", "apart"]).ok();
    assert_eq!(read("apart", "graph.onnx"), read("here", "graph.onnx"));
    assert_eq!(read("apart", "weights.bin"), read("here", "weights.bin"));
}
