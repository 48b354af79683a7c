//! `/features` as a picture: what it names, what it refuses, and where the ink is.

use crate::support::{Answer, Setup, TestApp, Tiny, plain};

async fn features(app: &TestApp, query: &str, accept: &str, images: usize) -> Answer {
    let images: Vec<_> = (0..images).map(|number| (format!("<{number}>.png"), plain([250, 3, number as u8]))).collect();
    let images: Vec<_> = images.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    app.send(app.post_form(&format!("/features?{query}"), &images).header("Accept", accept)).await
}

fn has_line(text: &str, expected: &str) -> bool {
    text.contains(&format!(">{expected}</text>"))
}

#[tokio::test]
async fn an_svg_shows_a_line_for_each_image() {
    let app = TestApp::spawn().await;
    let answer = features(&app, "layer=relu&pool=max", "image/svg+xml", 2).await.ok();
    answer.is_from("colours", "1", "true");
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    assert_eq!(answer.header("vary"), "accept");
    let text = String::from_utf8(answer.body.clone()).expect("SVG is text");
    assert!(text.starts_with("<svg") && has_line(&text, "colours@1, relu (3)"), "{text}");
    assert!(has_line(&text, "&lt;0&gt;.png") && has_line(&text, "&lt;1&gt;.png") && !text.contains("<0>"), "{text}");
    assert!(text.matches("<polyline").count() > 10, "a line for each image, and the ticks: {text}");
    let one = features(&app, "layer=conv", "image/svg+xml", 1).await.ok();
    let text = String::from_utf8(one.body.clone()).expect("SVG is text");
    assert!(has_line(&text, "colours@1, conv (8, 8, 3)") && !text.contains(".png"), "{text}");
}

#[tokio::test]
async fn a_png_is_one_and_says_when_weights_are_untrained() {
    let app = Setup::new().with(Tiny::Untrained, "raw").spawn().await;
    let query = "model=raw&layer=predictions";
    let png = features(&app, query, "image/png", 1).await.ok();
    png.is_from("raw", "1", "false");
    assert_eq!(png.header("content-type"), "image/png");
    let image = image::load_from_memory(&png.body).expect("a PNG").to_rgb8();
    assert_eq!(image.dimensions(), (1600, 800));
    let svg = features(&app, query, "image/svg+xml", 1).await.ok();
    assert!(has_line(&String::from_utf8_lossy(&svg.body), "raw@1, predictions (1000), untrained weights"));
}

#[tokio::test]
async fn what_no_plot_shows_is_refused() {
    let app = TestApp::spawn().await;
    let several = features(&app, "layer=relu,conv", "image/png", 1).await;
    several.problem(406, "not_acceptable", "`image/png` shows one layer, but 2 layers are asked for; ask for one");
    let many = features(&app, "layer=relu", "image/svg+xml", 11).await;
    many.problem(406, "not_acceptable", "shows at most 10 images, a line each, but 11 came");
    let top_k = features(&app, "layer=relu&top_k=1", "image/svg+xml", 1).await;
    top_k.problem(422, "invalid_parameter", "ask for `application/json`");
    features(&app, "layer=relu", "image/svg+xml", 10).await.ok();
}
