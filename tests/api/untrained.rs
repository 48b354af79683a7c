//! Untrained weights are loud wherever they answer, and refused where the configuration forbids them.

use serde_json::json;

use crate::support::{Graft, Setup, Tiny, plain, publish};

#[tokio::test]
async fn untrained_weights_say_so_everywhere() {
    let app =
        Setup::empty().with(Tiny::Untrained, "raw").configured(|config| config.models.default = "raw".to_owned()).spawn().await;
    for path in ["/predict", "/features", "/models/raw/predict", "/models/raw/versions/1/features?layer=predictions"] {
        let answer = app.send(app.post_image(path, plain([0; 3]))).await.ok();
        answer.is_from("raw", "1", "false");
        assert_eq!(answer.json()["model"], json!({"name": "raw", "version": 1, "pretrained": false}), "{path}");
    }
    for accept in ["application/x-npy", "application/x-npz"] {
        app.send(app.post_image("/features", plain([0; 3])).header("Accept", accept)).await.ok().is_from("raw", "1", "false");
    }
    assert_eq!(app.get("/models/raw/layers").await.ok().header("graft-pretrained"), "false");
    let model = app.get("/models/raw").await.ok().json();
    assert_eq!((&model["pretrained"], &model["versions"][0]["pretrained"]), (&json!(false), &json!(false)));
    assert_eq!(model["versions"][0]["weights"]["source"], "seed:1");
    assert_eq!(model["versions"][0]["labels"][820], json!({"label": "class_820"}), "never ImageNet's names");
    let top = app.send(app.post_image("/predict?top_k=1000", plain([0; 3]))).await.ok().json();
    let classes = top["predictions"][0]["top_k"].as_array().expect("a list").clone();
    assert!(classes.iter().all(|class| class["label"] == format!("class_{}", class["index"]) && class.get("wnid").is_none()));
}

#[tokio::test]
async fn untrained_weights_can_be_forbidden() {
    let forbid = |setup: Setup| setup.with(Tiny::Untrained, "raw").configured(|config| config.models.allow_untrained = false);
    let app = forbid(Setup::new()).spawn().await;
    let answer = app.send(app.post_image("/predict?model=raw", plain([0; 3]))).await;
    answer.problem(
        403,
        "untrained_model",
        "raw has untrained weights (`pretrained: false`) and `models.allow_untrained` is false",
    );
    app.send(app.post_image("/features?model=raw", plain([0; 3]))).await.problem(403, "untrained_model", "`graft pull`");
    app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
    let setup = forbid(Setup::empty()).configured(|config| config.models.preload = Some(vec!["raw".to_owned()]));
    let error = setup.bind().await.err().expect("a configured model may not be served");
    assert!(format!("{error:#}").starts_with("raw has untrained weights"), "{error:#}");
}

#[test]
fn production_refuses_to_start_with_untrained_weights() {
    let setup = Setup::empty();
    publish(setup.repository(), Tiny::Untrained, "raw");
    let refusal = Graft::refusal(&setup.config().models.dir, "raw", &[("GRAFT_ENVIRONMENT", "production")]);
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    let line = refusal.line();
    assert!(line.starts_with("graft: raw has untrained weights") && line.contains("`graft pull`"), "{line}");
}
