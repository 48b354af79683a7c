//! `/models`, `/models/{m}`, its labels and its layers: what is served, as clients read it.

use serde_json::{Value, json};

use crate::support::{Setup, TestApp, Tiny, plain};

#[tokio::test]
async fn models_are_listed_with_what_they_are() {
    let app = Setup::new().with(Tiny::Untrained, "another").with(Tiny::Colours, "colours").spawn().await;
    let body = app.get("/models").await.ok().json();
    assert_eq!(body["problems"], json!([]));
    let models = body["models"].as_array().expect("a list");
    let summaries: Vec<Value> =
        models.iter().map(|model| json!([model["name"], model["default"], model["stable"], model["pretrained"]])).collect();
    assert_eq!(summaries, [json!(["another", false, 1, false]), json!(["colours", true, 2, true])]);
    let [old, stable] = models[1]["versions"].as_array().expect("a list").as_slice() else { panic!("two versions: {body}") };
    assert_eq!((&old["version"], &old["loaded"]), (&json!(1), &json!(false)));
    assert_eq!(old["provider"], json!({"in_effect": null, "note": null}));
    assert_eq!(stable["provider"], json!({"in_effect": "cpu", "note": null}));
    let facts = ["version", "architecture", "pretrained", "classes", "features_layer", "layers", "loaded"];
    let found: Vec<&Value> = facts.iter().map(|key| &stable[*key]).collect();
    assert_eq!(json!(found), json!([2, "onnx", true, 4, "embedding", 8, true]));
    assert_eq!(
        stable["input"],
        json!({
            "height": 8, "width": 8, "resize": "nearest", "fit": {"rule": "stretch"}, "channel_order": "rgb",
            "mean": [0.0, 0.0, 0.0], "scale": [1.0, 1.0, 1.0], "orientation": "ignore",
        })
    );
    assert_eq!(stable["weights"]["source"], "onnx:colours.onnx");
    assert_eq!(stable["weights"]["sha256"].as_str().map(str::len), Some(64));
    assert!(stable["created"].as_str().is_some_and(|time| time.ends_with('Z') && time.starts_with("20")), "{stable}");
    assert!(stable.get("labels").is_none(), "labels are long: only `/models/{{m}}` has them");
}

#[tokio::test]
async fn one_model_has_its_labels() {
    let app = Setup::new().with(Tiny::Thousand, "thousand").spawn().await;
    let body = app.get("/models/colours").await.ok().json();
    let labels = body["versions"][0]["labels"].as_array().expect("a list").clone();
    let names: Vec<&Value> = labels.iter().map(|label| &label["label"]).collect();
    assert_eq!(json!(names), json!(["red", "green", "blue", "lime"]));
    let body = app.get("/models/thousand").await.ok().json();
    assert_eq!(body["versions"][0]["labels"][820], json!({"label": "steam_locomotive", "wnid": "n04310018"}));
    assert_eq!(body["versions"][0]["weights"]["source"], "keras:tiny.h5");
    let file = app.repository.root().join("thousand/1/weights.bin");
    let bytes = std::fs::metadata(file).expect("it was published").len();
    assert!(bytes >= 4 * (3 * 1000 + 1000));
    assert_eq!(body["versions"][0]["weights"]["bytes"], bytes);
}

#[tokio::test]
async fn versions_and_labels_come_in_pages() {
    let app = Setup::new().with(Tiny::Colours, "colours").with(Tiny::Thousand, "colours").spawn().await;
    let versions = async |path: &str| {
        let model = app.get(path).await.ok().json();
        let numbers = model["versions"].as_array().expect("a list").iter().map(|version| version["version"].clone());
        (numbers.collect::<Value>(), model["next"].clone())
    };
    assert_eq!(versions("/models/colours").await, (json!([1, 2, 3]), Value::Null));
    assert_eq!(versions("/models/colours?limit=2").await, (json!([1, 2]), json!(2)));
    assert_eq!(versions("/models/colours?limit=2&after=2").await, (json!([3]), Value::Null));
    app.get("/models/colours?limit=1001").await.problem(422, "invalid_parameter", "1000 is the most");

    let labels = async |query: &str| {
        let answer = app.get(&format!("/models/colours/labels?{query}")).await.ok();
        let body = answer.json();
        let named = |label: &Value| json!([label["index"], label["label"]]);
        (body["labels"].as_array().expect("a list").iter().map(named).collect::<Value>(), body["next"].clone())
    };
    let all = json!([[0, "red"], [1, "green"], [2, "blue"], [3, "lime"]]);
    assert_eq!(labels("version=1").await, (all, Value::Null));
    assert_eq!(labels("version=1&limit=3").await, (json!([[0, "red"], [1, "green"], [2, "blue"]]), json!(2)));
    assert_eq!(labels("version=1&limit=3&after=2").await, (json!([[3, "lime"]]), Value::Null));
    let (stable, next) = labels("").await;
    assert_eq!((stable.as_array().map(Vec::len), &stable[820][1], next), (Some(1000), &json!("steam_locomotive"), Value::Null));
    app.get("/models/colours/labels?version=9").await.problem(404, "unknown_version", "it has 1, 2, 3");
}

#[tokio::test]
async fn models_and_problems_come_in_pages() {
    let setup = Setup::empty().with(Tiny::Colours, "b").with(Tiny::Colours, "c").with(Tiny::Colours, "a");
    for number in 0..150 {
        std::fs::write(setup.repository().root().join(format!("file_{number:03}")), "").expect("it is writable");
    }
    let app = setup.start().await;
    let page = async |query: &str| {
        let body = app.get(&format!("/models?{query}")).await.ok().json();
        let all = |list: &str, field: &str| {
            let entries = body[list].as_array().expect("a list").iter().map(|entry| entry[field].clone());
            entries.collect::<Vec<Value>>()
        };
        (all("models", "name"), body["next"].clone(), all("problems", "path"), body["problem_count"].clone(), body)
    };
    let (models, next, first, count, body) = page("limit=2").await;
    assert_eq!((models, next, count), (vec![json!("a"), json!("b")], json!("b"), json!(150)));
    assert_eq!((first.len(), &first[99], &body["problems_next"]), (100, &json!("file_099"), &json!(99)));
    let (models, next, rest, count, body) = page("limit=2&after=b&problems_after=99").await;
    assert_eq!((models, next, count), (vec![json!("c")], Value::Null, json!(150)));
    assert_eq!((rest.len(), &rest[0], &body["problems_next"]), (50, &json!("file_100"), &Value::Null));
    let (models, _, none, ..) = page("after=bb&problems_after=149").await;
    assert_eq!((models, none), (vec![json!("c")], vec![]), "a name need not be there to be begun behind");
    app.get("/models?problems_after=x").await.problem(422, "invalid_parameter", "must be an index");
    let layers = app.get("/models/a/layers?limit=2&after=6").await.ok().json();
    assert_eq!((layers["layers"].as_array().map(Vec::len), &layers["next"]), (Some(1), &Value::Null));
    let layers = app.get("/models/a/layers?limit=2&after=1").await.ok().json();
    assert_eq!((&layers["layers"][0]["name"], &layers["next"]), (&json!("dim"), &json!(3)));
}

#[tokio::test]
async fn lists_of_models_are_made_where_clients_take_turns() {
    let app = Setup::empty().start().await;
    // Of each process: another test of the same one may have been there.
    let used = async || app.get("/metrics").await.ok().text().contains("graft_work_running{lane=\"store\"}");
    app.get("/models").await.ok();
    assert!(used().await, "what is made at the desk shows as work of its lane");
}

#[tokio::test]
async fn layers_have_index_name_type_shape_and_bytes() {
    let app = Setup::new().with(Tiny::Thousand, "thousand").spawn().await;
    let answer = app.get("/models/colours/layers").await.ok();
    assert_eq!(answer.header("graft-version"), "1");
    let map = |index: u32, name: &str, kind: &str| json!({"index": index, "name": name, "type": kind, "shape": [8, 8, 3], "layout": "map", "bytes": 768});
    let vector = |index: u32, name: &str, kind: &str, size: u32| json!({"index": index, "name": name, "type": kind, "shape": [size], "layout": "vector", "bytes": 4 * size});
    let layers = json!([
        map(0, "conv", "Conv"),
        map(1, "bright", "Mul"),
        map(2, "dim", "Mul"),
        map(3, "relu", "Relu"),
        {"index": 4, "name": "mean", "type": "GlobalAveragePool", "shape": [1, 1, 3], "layout": "map", "bytes": 12},
        vector(5, "embedding", "Flatten", 3),
        vector(6, "logits", "Gemm", 4),
        vector(7, "scores", "Softmax", 4),
    ]);
    assert_eq!(answer.json(), json!({"layers": layers}));
    let keras = app.get("/models/thousand/layers?version=1").await.ok().json();
    let names: Vec<Value> =
        keras["layers"].as_array().expect("a list").iter().map(|layer| json!([layer["name"], layer["type"]])).collect();
    assert_eq!(
        names,
        [json!(["input_layer", "InputLayer"]), json!(["avg_pool", "GlobalAveragePooling2D"]), json!(["predictions", "Dense"]),]
    );
}

#[tokio::test]
async fn every_listed_layer_can_be_had_in_its_listed_shape() {
    let app = Setup::new().with(Tiny::Thousand, "thousand").spawn().await;
    for model in ["colours", "thousand"] {
        let listed = app.get(&format!("/models/{model}/layers")).await.ok().json();
        for layer in listed["layers"].as_array().expect("a list") {
            let name = layer["name"].as_str().expect("a name");
            let request = app.post_image(&format!("/features?model={model}&layer={name}"), plain([5; 3]));
            let found = app.send(request).await.ok().json()["features"][0]["layers"][name]["shape"].clone();
            assert_eq!(found, layer["shape"], "{model} {name}");
        }
    }
}

#[tokio::test]
async fn models_that_are_not_asked_for_are_not_loaded() {
    let app = Setup::new().with(Tiny::Thousand, "thousand").spawn().await;
    let loaded = async |app: &TestApp| app.get("/models/thousand").await.ok().json()["versions"][0]["loaded"].clone();
    assert_eq!(loaded(&app).await, false);
    app.get("/models/thousand/layers").await.ok();
    assert_eq!(loaded(&app).await, false, "its layers are known without it");
    app.send(app.post_image("/predict?model=thousand", plain([0; 3]))).await.ok();
    assert_eq!(loaded(&app).await, true);
}
