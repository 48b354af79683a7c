//! What imported graphs take: types, channels, their place, and sizes that are left open, against ONNX Runtime's own numbers.
//!
//! The models, and what each says of one image, are `tests/goldens/inputs.py`'s.

use std::{fs, path::PathBuf};

use graft::{
    graph::InputLayout,
    preprocess::{ChannelOrder, IntegerType, Mode, Resize},
    registry::{ModelVersion, OnnxSettings, Repository, import_onnx},
};
use serde_json::{Value, json};

use crate::support::{Close, Setup, TestApp, runtime};

fn fixture(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inputs").join(file)
}

fn image(file: &str) -> Vec<u8> {
    fs::read(fixture(file)).expect("a fixture")
}

fn import(repository: &Repository, name: &str, settings: &OnnxSettings) -> Result<ModelVersion, String> {
    import_onnx(repository, &runtime(), name, &fixture(&format!("{name}.onnx")), settings).map_err(|error| error.to_string())
}

fn scaled(scale: f64) -> OnnxSettings {
    OnnxSettings {
        mode: Some(Mode::None),
        scale: Some([scale as f32; 3]),
        resize: Some(Resize::Nearest),
        ..OnnxSettings::default()
    }
}

fn expected() -> Value {
    serde_json::from_slice(&image("expected.json")).expect("JSON")
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
}

async fn check(name: &str) {
    let wanted = expected()["models"][name].clone();
    let setup = Setup::empty().configured(|config| config.models.default = name.to_owned());
    let settings = scaled(wanted["scale"].as_f64().expect("a number"));
    let version = import(setup.repository(), name, &settings).expect("a classifier of images");
    let spec = &version.metadata.preprocessing;
    assert_eq!(json!([spec.height, spec.width]), wanted["size"], "{name}");
    assert_eq!(json!(spec.channels()), wanted["channels"], "{name}");
    let app = setup.spawn().await;
    let answer = app.send(app.post_image("/features?layer=logits", image("image.png"))).await.ok();
    Close::LAYER.check(name, &answer.layer(0, "logits"), &numbers(&wanted["logits"]));
}

#[tokio::test]
async fn one_channel_is_grey() {
    for name in ["grey_nchw", "grey_nhwc", "grey_nhwc_open", "grey_all_open"] {
        check(name).await;
    }
}

#[tokio::test]
async fn other_types_are_cast() {
    for name in ["grey_uint8", "colours_int64", "colours_float64", "colours_float16"] {
        check(name).await;
    }
}

#[tokio::test]
async fn open_sizes_are_assumed_or_found() {
    for name in ["colours_open", "colours_one_side", "colours_of_64"] {
        check(name).await;
    }
}

#[tokio::test]
async fn whole_numbers_are_never_rounded() {
    let setup = Setup::empty().configured(|config| config.models.default = "grey_uint8".to_owned());
    let version = import(setup.repository(), "grey_uint8", &OnnxSettings::default()).expect("without any setting");
    let spec = &version.metadata.preprocessing;
    assert_eq!((spec.channel_order, spec.mean, spec.scale), (ChannelOrder::Grey, [0.0; 3], [1.0; 3]));
    assert_eq!(spec.integer, Some(IntegerType::Uint8));
    let refused = import(setup.repository(), "grey_uint8", &scaled(1.0 / 255.0)).expect_err("fractions");
    assert!(refused.contains("uint8") && refused.contains("mode `none`"), "{refused}");
    let app = setup.spawn().await;
    let ask = async |query: &str| app.send(app.post_image(&format!("/features?layer=logits{query}"), image("image.png"))).await;
    ask("&preprocess=none").await.ok();
    ask("&preprocess=tf").await.problem(422, "invalid_parameter", "uint8");
    ask("&preprocess=caffe").await.problem(422, "invalid_parameter", "one channel");
    ask("&channel_order=bgr").await.problem(422, "invalid_parameter", "1 channel (grey)");
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    let setup = Setup::empty();
    let check = |name: &str, settings: &OnnxSettings, expected: &str| {
        let refused = import(setup.repository(), name, settings).expect_err(name);
        assert!(refused.contains(expected), "{name}: {refused}");
    };
    let plain = OnnxSettings::default;
    check("four_channels", &plain(), "N×4×24×24: 4 channels");
    check("grey_nchw", &OnnxSettings { channel_order: Some(ChannelOrder::Rgb), ..plain() }, "takes 1 channels");
    check("colours_open", &OnnxSettings { channel_order: Some(ChannelOrder::Grey), ..plain() }, "takes 3 channels");
    check("colours_one_side", &OnnxSettings { input_size: Some([41, 40]), ..plain() }, "41 was given");
    check("grey_nchw", &OnnxSettings { input_layout: Some(InputLayout::Nhwc), ..plain() }, "28 channels");
    let mean = OnnxSettings { mean: Some([1.0, 2.0, 3.0]), ..plain() };
    check("grey_nchw", &mean, "give one value");
    assert!(import(setup.repository(), "colours_open", &OnnxSettings { input_size: Some([40, 48]), ..plain() }).is_ok());
}

/// Grey as Keras's `load_img(color_mode="grayscale")` gives it; 16 bits are clipped as by `convert("L")`, where Keras keeps them.
#[tokio::test]
async fn grey_is_keras_s() {
    let setup = Setup::empty().configured(|config| config.models.default = "grey_nhwc_open".to_owned());
    let settings = OnnxSettings { input_size: Some([9, 7]), ..scaled(1.0) };
    import(setup.repository(), "grey_nhwc_open", &settings).expect("a classifier");
    let app = setup.spawn().await;
    for source in ["image.png", "image_16.png"] {
        let answer = app.send(app.post_image("/features?layer=first", image(source))).await.ok();
        let rows = expected()["grey"][source].as_array().expect("rows").iter().flat_map(numbers).collect::<Vec<_>>();
        let clipped: Vec<f64> = rows.into_iter().map(|value| value.min(255.0)).collect();
        assert_eq!(answer.layer(0, "first"), clipped, "{source}");
    }
}

#[tokio::test]
async fn whole_numbers_with_channels_last_are_fed_as_the_graph_wants_them() {
    let (app, name) = case("uint8_nhwc", &OnnxSettings::default()).await;
    let logits = app.send(app.post_image(&format!("/features?model={name}&layer=logits"), image("input.png"))).await.ok();
    Close::LAYER.check(name, &logits.layer(0, "logits"), &[35.386402, 161.54129, -44.51149, 37.631618, -375.310822]);
}

/// A server of one model alone.
async fn case<'a>(name: &'a str, settings: &OnnxSettings) -> (TestApp, &'a str) {
    let setup = Setup::empty().configured(|config| config.models.default = name.to_owned());
    import(setup.repository(), name, settings).expect("a classifier");
    (setup.spawn().await, name)
}

#[tokio::test]
async fn layers_that_are_channels_last_inside_are_shown_as_they_lie() {
    let (app, name) = case("nhwc_normalize_then_transpose", &scaled(1.0 / 255.0)).await;
    let ask = async |query: &str| {
        let path = format!("/features?model={name}&{query}");
        app.send(app.post_image(&path, image("input.png"))).await.ok()
    };
    let logits = ask("layer=logits").await;
    let right = [0.557412, -0.478209, 2.985426, -0.178609, -0.112757];
    Close::LAYER.check(name, &logits.layer(0, "logits"), &right);
    // Before the transpose and behind it a layer is the same map.
    let before = ask("layer=xm").await;
    let behind = ask("layer=nchw").await;
    assert_eq!(before.json()["features"][0]["layers"]["xm"]["shape"], json!([32, 32, 3]));
    assert_eq!(before.layer(0, "xm"), behind.layer(0, "nchw"));
    let pooled = ask("layer=xm&pool=avg").await.layer(0, "xm");
    let map = before.layer(0, "xm");
    let mean = |channel: usize| map.iter().skip(channel).step_by(3).sum::<f64>() / 1024.0;
    Close::LAYER.check("pooled", &pooled, &[mean(0), mean(1), mean(2)]);
}
