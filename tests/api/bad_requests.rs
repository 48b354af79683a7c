//! The table of bad requests: what each is answered with, over the wire.
//!
//! Every row is checked to be a problem of that status and code with the request's id; the detail names input and way out.

use reqwest::{Method, RequestBuilder};

use crate::support::{Setup, TestApp, Tiny, plain};

/// What is asked, status, code, a part of the detail.
type Row = (RequestBuilder, u16, &'static str, &'static str);

async fn check(app: &TestApp, rows: Vec<Row>) {
    for (request, status, code, detail) in rows {
        app.send(request).await.problem(status, code, detail);
    }
    assert_eq!(app.get("/readyz").await.status, 200, "no bad request harms the server");
}

#[tokio::test]
async fn unknown_names_get_the_nearest_ones() {
    let app = Setup::new().with(Tiny::Colours, "colours").with(Tiny::Topless, "colonel").spawn().await;
    let post = |path: &str| app.post_image(path, plain([0; 3]));
    let get = |path: &str| app.ask(Method::GET, path);
    let rows = vec![
        (post("/predict?model=colour"), 404, "unknown_model", "unknown model `colour`; did you mean `colours`"),
        (post("/features?model=Colours"), 404, "unknown_model", "did you mean `colours`"),
        (post("/models/coloors/predict"), 404, "unknown_model", "did you mean `colours`"),
        (post("/models/colone/versions/1/features"), 404, "unknown_model", "did you mean `colonel`"),
        (post("/predict?model=resnet50"), 404, "unknown_model", "unknown model `resnet50`"),
        (get("/models/colurs"), 404, "unknown_model", "did you mean `colours`"),
        (get("/models/colurs/layers"), 404, "unknown_model", "did you mean `colours`"),
        (post("/predict?version=3"), 404, "unknown_version", "model `colours` has no version 3; it has 1, 2"),
        (post("/models/colours/versions/9/features"), 404, "unknown_version", "it has 1, 2"),
        (get("/models/colours/layers?version=7"), 404, "unknown_version", "it has 1, 2"),
        (get("/models/colours@7/layers"), 404, "unknown_version", "it has 1, 2"),
        (post("/predict?model=colours@9"), 404, "unknown_version", "model `colours` has no version 9; it has 1, 2"),
        (
            post("/features?layer=embeding"),
            422,
            "unknown_layer",
            "unknown layer `embeding` for colours; did you mean `embedding`?",
        ),
        (post("/features?layer=relu,relu6"), 422, "unknown_layer", "did you mean `relu`"),
        (post("/features?layer=8"), 422, "unknown_layer", "unknown layer `8`"),
        (post("/features?layer=fc2"), 422, "unknown_layer", "unknown layer `fc2`"),
        (get("/nothing"), 404, "not_found", "there is nothing at `/nothing`; `/docs` lists the routes"),
        (post("/models/colours/versions/1/classify"), 404, "not_found", "nothing at `/models/colours/versions/1/classify`"),
        (get("/predict"), 405, "method_not_allowed", "`GET` is not allowed at `/predict`; send `POST` with a photo"),
        (app.ask(Method::DELETE, "/models/colours"), 405, "method_not_allowed", "`DELETE` is not allowed"),
        (post("/healthz"), 405, "method_not_allowed", "`POST` is not allowed at `/healthz`"),
        (post("/openapi.yaml"), 405, "method_not_allowed", "`POST` is not allowed"),
    ];
    check(&app, rows).await;
    let answer = app.get("/predict").await;
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn bad_parameters_say_what_would_be_right() {
    let app = TestApp::spawn().await;
    let post = |path: &str| app.post_image(path, plain([0; 3]));
    let bad = |path: &str, detail: &'static str| (post(path), 422, "invalid_parameter", detail);
    let rows = vec![
        bad("/predict?top_k=0", "it must be a whole number from 1"),
        bad("/predict?top_k=-1", "it must be a whole number from 1"),
        bad("/predict?top_k=two", "`top_k` is `two`"),
        bad("/predict?topk=2", "unknown parameter `topk`; did you mean `top_k`?"),
        bad("/predict?layer=relu", "unknown parameter `layer`"),
        bad("/features?layers=relu", "did you mean `layer`?"),
        bad("/predict?top_k=1&top_k=2", "`top_k` is given more than once"),
        bad("/predict?model=", "`model` is empty"),
        bad("/predict?version=one", "`version` is `one`"),
        bad("/models/colours/versions/latest/predict", "`version` is `latest`"),
        bad("/models/colours/predict?model=other", "`colours` in the path but `other` in the query"),
        bad("/features?layer=relu,,conv", "`layer` has an empty element"),
        bad("/features?pool=mean", "it may be `none`, `avg`, `max`"),
        bad("/features?flatten=yes", "it may be `true`, `false`"),
        bad("/features?normalize=l1", "it may be `none`, `l2`"),
        bad("/features?dtype=int8", "it may be `float32`, `float16`"),
        bad("/features?encoding_format=hex", "it may be `float`, `base64`"),
        bad("/predict?resize=lanczos", "it may be `nearest`, `bilinear`, `bicubic`, `opencv_bilinear`"),
        bad("/predict?orientation=6", "it may be `ignore`, `exif`"),
        bad("/predict?on_error=ignore", "it may be `fail`, `skip`"),
        bad("/predict?top_k=%zz", "`top_k` is `%zz`"),
        bad("/predict?model=colours@latest", "`model` is `colours@latest`; write `NAME`, or `NAME@VERSION`"),
        bad("/models/colours@1/predict?version=2", "`version` is `1` in `model` but `2` in the query"),
        (app.ask(Method::GET, "/models/colours@1"), 422, "invalid_parameter", "leave `@1` out"),
        (app.ask(Method::PUT, "/models/colours@1/stable"), 422, "invalid_parameter", "leave `@1` out"),
        (
            app.ask(Method::GET, "/models?label=red"),
            422,
            "invalid_parameter",
            "(this route takes `limit`, `after`, `problems_after`)",
        ),
        (app.ask(Method::GET, "/models/colours/layers?version=0"), 422, "invalid_parameter", "a whole number from 1"),
    ];
    check(&app, rows).await;
}

#[tokio::test]
async fn what_cannot_be_answered_as_asked_is_not() {
    let app = TestApp::spawn().await;
    let post = |query: &str, accept: &str| app.post_image(&format!("/features?{query}"), plain([0; 3])).header("Accept", accept);
    let (npy, npz) = ("application/x-npy", "application/x-npz");
    let rows = vec![
        (post("layer=relu,conv", npy), 406, "not_acceptable", "2 layers are asked for; ask for one, or for `application/x-npz`"),
        (post("layer=relu", "text/csv"), 406, "not_acceptable", "`Accept: text/csv` allows none of `application/json`"),
        (post("layer=relu", "application/json;q=0"), 406, "not_acceptable", "allows none of"),
        (post("top_k=1", npy), 422, "invalid_parameter", "ask for `application/x-npz` or `application/json`"),
        (post("on_error=skip", npz), 422, "invalid_parameter", "`on_error=skip` needs `Accept: application/json`"),
        (post("encoding_format=base64", npz), 422, "invalid_parameter", "is for `application/json`"),
    ];
    check(&app, rows).await;
}

#[tokio::test]
async fn bodies_that_are_not_what_they_say_are_malformed() {
    let app = TestApp::spawn().await;
    let json = |body: &str| app.post_typed("/predict", "application/json", body);
    let form = |body: &str| app.post_typed("/predict", "multipart/form-data; boundary=b", body);
    let part = "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\nx";
    let rows = vec![
        (json("{"), 400, "malformed_body", "cannot read the JSON body: EOF"),
        (json(""), 400, "malformed_body", "cannot read the JSON body"),
        (json("[]"), 400, "malformed_body", "cannot read the JSON body"),
        (json("{\"image\":\"AAAA\"}"), 422, "invalid_parameter", "unknown parameter `image`; did you mean `images`?"),
        (json("{\"images\":[{\"url\":\"x\"}]}"), 400, "malformed_body", "unknown field `url`"),
        (json("{\"images\":[],\"top_k\":[1]}"), 422, "invalid_parameter", "`top_k` is a list; give one value"),
        (json("{\"images\":[{\"b64\":7}]}"), 400, "malformed_body", "invalid type"),
        (form("nothing"), 400, "malformed_body", "cannot read the form"),
        (form(part), 400, "malformed_body", "cannot read the form"),
        (app.post_typed("/predict", "multipart/form-data", part), 400, "malformed_body", "cannot read the form"),
        (json("{\"images\":[]}"), 422, "no_images", "the request holds no image; send at least one"),
        (form("--b--\r\n"), 422, "no_images", "send at least one"),
        (app.ask(Method::POST, "/predict"), 422, "no_images", "send one as the body, with its `Content-Type`"),
        (
            form("--b\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nAAAA\r\n--b--\r\n"),
            422,
            "invalid_parameter",
            "form field `image` has no file name and holds no image; send images as files (`-F image=@photo.jpg`)",
        ),
    ];
    check(&app, rows).await;
}

#[tokio::test]
async fn other_types_are_unsupported_and_told_what_is() {
    let app = TestApp::spawn().await;
    let typed = |kind: &str| app.post_typed("/features", kind, plain([0; 3]));
    let rows = vec![
        (typed("text/plain"), 415, "unsupported_media_type", "`text/plain` carries no image; send `image/*`"),
        (typed("application/x-www-form-urlencoded"), 415, "unsupported_media_type", "add `-H 'Content-Type: image/jpeg'`"),
        (typed("video/mp4"), 415, "unsupported_media_type", "`video/mp4` carries no image"),
        (app.ask(Method::POST, "/features").body(plain([0; 3])), 415, "unsupported_media_type", "no `Content-Type`"),
    ];
    check(&app, rows).await;
}
