//! Foreign files that a process of their own examines: what they do to it, they do not do to graft.

use std::{fs, path::PathBuf};

use crate::support::{Graft, Ran, Setup, Tiny, eventually, fixture};

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

/// A field of a protobuf message that holds bytes, a text or a message.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = value.len();
    while length > 0x7f {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(value);
    bytes
}

/// A model file around the fields of its graph.
fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    let output = field(12, &field(1, b"scores"));
    [vec![1 << 3, 8], field(8, &[2 << 3, 17]), field(7, &[graph.concat(), output].concat())].concat()
}

/// An initializer of 2^58 float32 that are in the file `x` beside the model.
fn declared() -> Vec<u8> {
    let entry = |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let shape = [1 << 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04];
    let length = (1_u64 << 60).to_string();
    let parts = [shape.to_vec(), vec![2 << 3, 1], field(8, b"scores"), entry("location", "x"), entry("length", &length)];
    [parts.concat(), vec![14 << 3, 1]].concat()
}

/// A node with a subgraph with a node with a subgraph, and so on.
fn nested(depth: usize) -> Vec<u8> {
    let node = |attributes: &[u8]| [field(2, b"y"), field(4, b"If"), attributes.to_vec()].concat();
    (0..depth).fold(node(&[]), |inner, _| {
        let graph = field(6, &field(1, &inner));
        node(&field(5, &[field(1, b"then_branch"), graph, vec![0xa0, 0x01, 5]].concat()))
    })
}

/// Keras weights whose first B-tree is its own child.
fn without_end() -> Vec<u8> {
    let mut bytes = fixture("weights/keras_3.weights.h5");
    let at = bytes.windows(4).position(|found| found == b"TREE").expect("a B-tree");
    // Signature, type, level, entries, two siblings, the first key, the first child.
    bytes[at + 5] = 1;
    bytes[at + 32..at + 40].copy_from_slice(&(at as u64).to_le_bytes());
    bytes
}

#[test]
fn hostile_files_are_refused_and_leave_nothing() {
    let setup = Setup::empty();
    let models = &setup.config().models.dir;
    let folder = tempfile::tempdir().expect("a scratch folder");
    fs::write(folder.path().join("x"), [0; 64]).expect("written");
    let refused = |name: &str, bytes: &[u8], architecture: Option<&str>| {
        let path = folder.path().join(name).display().to_string();
        fs::write(&path, bytes).expect("written");
        let what: Vec<&str> = architecture.into_iter().chain([path.as_str()]).collect();
        let arguments = [&["import"], &what[..], &["--name", "stranger", "--set", "models.import_timeout_ms=10000"]].concat();
        let ran = Ran::graft(models, &arguments);
        assert_eq!(ran.code, Some(1), "{name}: {ran:?}");
        let left: Vec<_> = fs::read_dir(models).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{name}: {left:?}");
        ran.stderr
    };
    let error = refused("declared.onnx", &model(&[field(5, &declared())]), None);
    assert!(error.contains("declared.onnx") && !error.contains("signal"), "{error}");
    let error = refused("nested.onnx", &model(&[field(1, &nested(3000))]), None);
    assert!(error.contains("nested.onnx") && !error.contains("signal"), "{error}");
    let error = refused("cycle.h5", &without_end(), Some("vgg16"));
    assert!(error.contains("cycle.h5"), "{error}");
    let error = refused("none.onnx", b"<!DOCTYPE html>", None);
    assert!(error.contains("HTML"), "{error}");
}

/// The process that `parent` has started, while there is one.
fn child_of(parent: u32) -> Option<u32> {
    let ids = fs::read_dir("/proc").expect("Linux tells").flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.into_iter().find(|&id| status(id).is_some_and(|(_, found)| found == parent))
}

/// State and parent of the process `id`.
fn status(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

#[tokio::test]
async fn an_examination_ends_with_whoever_asked_for_it() {
    let setup = Setup::empty();
    let endless = graph("bounds/run_loop");
    let mut importing = Ran::started(&setup.config().models.dir, &["import", &endless, "--name", "endless"]);
    let child = async || child_of(importing.id());
    eventually("it is examined", async || child().await.is_some()).await;
    let child = child().await.expect("it runs until it is ended");
    importing.kill().and_then(|()| importing.wait()).expect("it was running");
    eventually("it is over", async || status(child).is_none_or(|(state, _)| state == 'Z')).await;
}

#[tokio::test]
async fn a_binary_that_is_replaced_examines_as_before() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_graft")).with_file_name(format!("graft-{}", std::process::id()));
    fs::hard_link(env!("CARGO_BIN_EXE_graft"), &binary).expect("a link");
    let settings = [("GRAFT__MODELS__MAX_IMPORT_BYTES", "1000000"), ("GRAFT__JOBS__NICE", "0")];
    let graft = Graft::of_program(&binary, &setup.config().models.dir, "colours", &settings);
    fs::remove_file(&binary).expect("it is there");
    let file = fixture("models/colours.onnx");
    let job = graft.post("/jobs/import?name=later", "application/octet-stream", file).await.json()["id"].clone();
    let ended = graft.ended(&format!("/jobs/{}", job.as_str().expect("it is accepted"))).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
}
