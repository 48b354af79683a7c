//! Classifiers that others trained, on photos: what a user's own ONNX file is like, from old operators to float16.
//!
//! The files are no part of the project: without a folder of them (`tests/README.md`) each test says that it is skipped.

use std::{
    fs,
    path::{Path, PathBuf},
};

use graft::{
    preprocess::Mode,
    registry::{OnnxSettings, import_onnx},
};
use serde_json::json;

use crate::{
    data::real,
    support::{Setup, TestApp, runtime},
};

/// Photos of one thing each and the index of its class.
fn photos(folder: &Path) -> Vec<(String, Vec<u8>, u64)> {
    let table = fs::read_to_string(folder.join("expected_classes.csv")).expect("the table lies beside the photos");
    let row = |line: &str| {
        let (file, index) = line.split_once(',').expect("two columns");
        let bytes = fs::read(folder.join(file)).expect("a photo of the table");
        (file.to_owned(), bytes, index.parse().expect("an index"))
    };
    table.lines().filter(|line| line.starts_with("ovms_")).map(row).collect()
}

/// Both are fed as Caffe feeds its models.
async fn spawn(file: &Path, labels: PathBuf) -> TestApp {
    let setup = Setup::empty().configured(|config| config.models.default = "real".to_owned());
    let settings = OnnxSettings {
        mode: Some(Mode::Caffe),
        mean: Some([104.0, 117.0, 123.0]),
        shorter_side: Some(256),
        labels: Some(labels),
        ..OnnxSettings::default()
    };
    import_onnx(setup.repository(), &runtime(), "real", file, &settings).expect("it is a classifier");
    setup.spawn().await
}

/// How many photos have their class first, all of them in one request.
async fn hits(app: &TestApp, photos: &[(String, Vec<u8>, u64)]) -> usize {
    let images: Vec<(&str, Vec<u8>)> = photos.iter().map(|(file, bytes, _)| (file.as_str(), bytes.clone())).collect();
    let found = app.send(app.post_form("/predict?top_k=1", &images)).await.ok().json()["predictions"].clone();
    let right = photos.iter().enumerate().filter(|(position, (file, _, class))| {
        assert_eq!(found[*position]["image"], json!(file));
        let best = &found[*position]["top_k"][0];
        println!("{file}: {best}");
        best["index"] == json!(class)
    });
    right.count()
}

async fn check(file: &str) {
    let Some(file) = real(file) else { return };
    let (Some(labels), Some(folder)) = (real("labels/imagenet_class_index.json"), real("photos")) else { return };
    let app = spawn(&file, labels).await;
    let photos = photos(&folder);
    let right = hits(&app, &photos).await;
    assert!(photos.len() == 10 && right >= 9, "{right} of {} photos", photos.len());
}

#[tokio::test]
async fn googlenet_names_nine_of_ten_photos() {
    check("weights/googlenet.onnx").await;
}

/// Its input and output are float16, its batch is fixed at one image, its operators are of 2018.
#[tokio::test]
async fn squeezenet_names_nine_of_ten_photos() {
    check("weights/squeezenet_fp16.onnx").await;
}
