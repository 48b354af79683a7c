//! `/predict`: the bodies it takes, the routes it has, and the classes it answers with.
//!
//! Scores are compared with a softmax over mean colours worked out here.

use serde_json::{Value, json};

use crate::support::{Answer, Close, Setup, TestApp, Tiny, base64, plain};

const RED: [u8; 3] = [240, 16, 0];
const GREEN: [u8; 3] = [0, 200, 64];

/// What `colours` scores: a softmax over a 64th of the mean of red, green, blue, and green again.
fn scores([red, green, blue]: [u8; 3]) -> [f64; 4] {
    let exponents = [red, green, blue, green].map(|level| (f64::from(level) / 64.0).exp());
    exponents.map(|exponent| exponent / exponents.iter().sum::<f64>())
}

fn indices(prediction: &Value) -> Vec<u64> {
    let classes = prediction["top_k"].as_array().expect("there are classes");
    classes.iter().map(|class| class["index"].as_u64().expect("an index")).collect()
}

#[track_caller]
fn check(prediction: &Value, image: &str, colour: [u8; 3], order: &[usize]) {
    const LABELS: [&str; 4] = ["red", "green", "blue", "lime"];
    assert_eq!(prediction["image"], image);
    assert_eq!(prediction["warnings"], json!([]));
    let classes = prediction["top_k"].as_array().expect("there are classes");
    assert_eq!(indices(prediction), order.iter().map(|index| *index as u64).collect::<Vec<_>>(), "{prediction}");
    for (class, index) in classes.iter().zip(order) {
        assert_eq!(class["label"], LABELS[*index]);
        assert!(class.get("wnid").is_none(), "only ImageNet's classes have one: {class}");
        let score = class["score"].as_f64().expect("a number");
        Close::ROUNDING.check("score", &[score], &[scores(colour)[*index]]);
    }
}

fn predictions(answer: &Answer) -> Vec<Value> {
    answer.json()["predictions"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn more_classes_than_there_are_are_all_with_a_warning() {
    let app = TestApp::spawn().await;
    let detail = "`top_k` is 5, but `colours` has 4 classes; the answer has all of them";
    let answer = app.send(app.post_image("/predict?top_k=5", plain(RED))).await.ok();
    assert_eq!(answer.headers("graft-warning"), [format!("fewer_classes; {detail}")]);
    assert_eq!(answer.json()["warnings"], json!([{"code": "fewer_classes", "detail": detail}]));
    check(&predictions(&answer)[0], "0", RED, &[0, 1, 3, 2]);
    let features = app.send(app.post_image("/features?layer=relu&top_k=5", plain(RED))).await.ok().json();
    assert_eq!(
        (&features["warnings"][0]["code"], features["features"][0]["top_k"].as_array().map(Vec::len)),
        (&json!("fewer_classes"), Some(4))
    );
    let default = app.send(app.post_image("/predict", plain(RED))).await.ok().json();
    assert_eq!(default["warnings"], json!([]), "nobody asked for five");
}

#[tokio::test]
async fn one_image_as_it_is_gets_its_classes() {
    let app = TestApp::spawn().await;
    let answer = app.send(app.post_image("/predict?top_k=2", plain(RED))).await.ok();
    answer.is_from("colours", "1", "true");
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["model", "warnings", "predictions", "timings"]);
    assert_eq!(body["model"], json!({"name": "colours", "version": 1, "pretrained": true}));
    check(&body["predictions"][0], "0", RED, &[0, 1]);
    for stage in ["decode_ms", "queue_ms", "inference_ms"] {
        assert!(body["timings"][stage].as_f64().is_some_and(|ms| ms >= 0.0), "{body}");
    }
    let typed = app.send(app.post_typed("/predict?top_k=2", "image/png", plain(RED))).await.ok();
    check(&predictions(&typed)[0], "0", RED, &[0, 1]);
}

#[tokio::test]
async fn forms_and_json_carry_several_named_images() {
    let app = TestApp::spawn().await;
    let form = app.post_form("/predict?top_k=1", &[("r.png", plain(RED)), ("g.png", plain(GREEN)), ("r.png", plain(RED))]);
    let found = predictions(&app.send(form).await.ok());
    assert_eq!(found.len(), 3);
    check(&found[0], "r.png", RED, &[0]);
    check(&found[1], "g.png", GREEN, &[1]);
    check(&found[2], "r.png", RED, &[0]);
    let body = json!({"images": [
        {"b64": base64(&plain(GREEN)), "name": "g"},
        {"b64": format!("data:image/png;base64,{}", base64(&plain(RED)))},
    ]});
    let found = predictions(&app.send(app.post_typed("/predict?top_k=1", "application/json", body.to_string())).await.ok());
    assert_eq!(found.len(), 2);
    check(&found[0], "g", GREEN, &[1]);
    check(&found[1], "1", RED, &[0]);
}

#[tokio::test]
async fn ties_go_to_the_lower_index_and_every_class_can_be_had() {
    let app = TestApp::spawn().await;
    let answer = app.send(app.post_image("/predict", plain(GREEN))).await.ok();
    check(&predictions(&answer)[0], "0", GREEN, &[1, 3, 2, 0]);
    let answer = app.send(app.post_image("/predict?top_k=3", plain([70; 3]))).await.ok();
    check(&predictions(&answer)[0], "0", [70; 3], &[0, 1, 2]);
}

#[tokio::test]
async fn five_classes_with_imagenets_names_are_the_default() {
    let app = Setup::empty().with(Tiny::Thousand, "thousand").spawn().await;
    let answer = app.send(app.post_image("/predict?model=thousand", plain(RED))).await.ok();
    let classes = &predictions(&answer)[0]["top_k"];
    assert_eq!(classes.as_array().map(Vec::len), Some(5));
    let all = app.send(app.post_image("/predict?model=thousand&top_k=1000", plain(RED))).await.ok();
    let all = predictions(&all)[0]["top_k"].as_array().expect("a list").clone();
    let sum: f64 = all.iter().filter_map(|class| class["score"].as_f64()).sum();
    Close::SCORE.check("the sum of probabilities", &[sum], &[1.0]);
    let engine = all.iter().find(|class| class["index"] == 820).expect("every class is there");
    assert_eq!((&engine["label"], &engine["wnid"]), (&json!("steam_locomotive"), &json!("n04310018")));
}

#[tokio::test]
async fn every_route_answers_with_the_model_it_names() {
    let app = Setup::new().with(Tiny::Colours, "other").with(Tiny::Colours, "other").spawn().await;
    for (path, model, version) in [
        ("/predict", "colours", "1"),
        ("/predict?model=other", "other", "2"),
        ("/predict?model=other&version=1", "other", "1"),
        ("/models/other/predict", "other", "2"),
        ("/models/other/versions/1/predict", "other", "1"),
        ("/models/other/versions/1/predict?model=other&version=1", "other", "1"),
    ] {
        let answer = app.send(app.post_image(path, plain(RED))).await.ok();
        answer.is_from(model, version, "true");
        let expected = json!({"name": model, "version": version.parse::<u32>().ok(), "pretrained": true});
        assert_eq!(answer.json()["model"], expected, "{path}");
    }
}

#[tokio::test]
async fn more_images_than_a_batch_come_back_in_order() {
    let app = Setup::new().with(Tiny::Pair, "pair").configured(|config| config.runtime.max_batch = 4).spawn().await;
    let colours: Vec<[u8; 3]> = (0..11).map(|step| if step % 3 == 0 { RED } else { [0, 20 * step, 0] }).collect();
    let images: Vec<(&str, Vec<u8>)> = colours.iter().map(|colour| ("x", plain(*colour))).collect();
    // `pair` takes two images per run; the last of an odd number runs beside zeros.
    for path in ["/predict?top_k=1", "/predict?top_k=1&model=pair"] {
        let found = predictions(&app.send(app.post_form(path, &images)).await.ok());
        assert_eq!(found.len(), colours.len());
        for (prediction, colour) in found.iter().zip(&colours) {
            check(prediction, "x", *colour, &[if *colour == RED { 0 } else { 1 }]);
        }
    }
}

#[tokio::test]
async fn request_ids_of_clients_are_kept() {
    let app = TestApp::spawn().await;
    let answer = app.send(app.post_image("/predict", plain(RED)).header("X-Request-Id", "mine-7")).await.ok();
    assert_eq!(answer.header("x-request-id"), "mine-7");
    let answer = app.send(app.post_image("/predict", Vec::new()).header("X-Request-Id", "mine-8")).await;
    assert_eq!(answer.problem(422, "bad_images", "an image")["request_id"], "mine-8");
}
