//! `/openapi.yaml` and `/docs`: the committed document, and its browser without a network.

use crate::support::{Ran, Setup, TestApp, encoded_fixture, fixture};

#[tokio::test]
async fn the_served_document_is_the_committed_one() {
    let app = Setup::empty().start().await;
    let answer = app.get("/openapi.yaml").await.ok();
    assert_eq!(answer.header("content-type"), "application/yaml");
    assert!(answer.body == fixture("../../openapi.yaml"), "openapi.yaml is stale; `make openapi` writes it");
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let models = tempfile::tempdir().expect("a temporary folder can be made");
    let models = models.path().join("models");
    std::fs::create_dir(&models).expect("it can be made");
    // More than a pipe holds, and a few lines.
    for arguments in [["openapi"].as_slice(), &["layers", "vgg16"]] {
        let ran = Ran::graft_unread(&models, arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_browser_comes_from_the_server_alone() {
    let app = Setup::empty().start().await;
    let answer = app.get("/docs").await.ok();
    assert!(answer.header("content-type").starts_with("text/html"));
    let page = answer.text();
    assert!(page.contains("swagger-ui"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing comes from elsewhere: {page}");
    let files = page.split('"').filter(|text| text.ends_with(".js") || text.ends_with(".css"));
    let files: Vec<&str> = files.map(|file| file.trim_start_matches("./")).collect();
    assert!(files.len() >= 3, "{page}");
    for file in files {
        assert!(!app.get(&format!("/docs/{file}")).await.ok().body.is_empty(), "{file}");
    }
    let initializer = app.get("/docs/swagger-initializer.js").await.ok().text();
    assert!(initializer.contains("openapi.yaml") && !initializer.contains("petstore"), "{initializer}");
}

#[tokio::test]
async fn the_document_lists_every_code_that_this_suite_meets() {
    let app = Setup::empty().start().await;
    let document = app.get("/openapi.yaml").await.ok().text();
    let answer = app.send(app.post_image("/predict", encoded_fixture("rgb_8.png"))).await;
    let body = answer.problem(404, "unknown_model", "");
    let code = body["code"].as_str().expect("a code");
    assert!(document.contains(&format!("- {code}\n")), "`{code}` is not in the document");
}

#[tokio::test]
async fn what_the_browser_sends_unasked_is_answered() {
    let app = TestApp::spawn().await;
    let document = app.get("/openapi.yaml").await.ok().text();
    let example = document.lines().find_map(|line| line.trim().strip_prefix("- b64: ")).expect("images have an example");
    let body = format!(r#"{{"images":[{{"b64":"{example}","name":"red.png"}}]}}"#);
    let answer = app.send(app.post_typed("/predict", "application/json", body)).await.ok().json();
    assert_eq!(answer["predictions"][0]["top_k"][0]["label"], "red", "{answer}");
}
