//! Many requests at a time, for different layers: no answer is mixed up with another, whatever the batches and cuts are.

use tokio::task::JoinSet;

use crate::support::{Answer, Setup, plain};

const LAYERS: [(&str, f64); 4] = [("conv", 1.0), ("bright", 1024.0), ("dim", 1.0), ("relu", 1.0)];

/// A colour of its own for every request.
fn colour(request: u32) -> [u8; 3] {
    [(request * 5 % 256) as u8, (request * 7 % 256) as u8, (request * 11 % 256) as u8]
}

#[track_caller]
fn check(answer: &Answer, request: u32, layer: &str, factor: f64) {
    let expected = colour(request).map(|level| f64::from(level) * factor);
    assert_eq!(answer.layer(0, layer), expected, "request {request} for {layer}");
}

#[tokio::test]
async fn answers_at_the_same_time_are_not_mixed_up() {
    let app = Setup::new().configured(|config| config.runtime.max_batch = 4).spawn().await;
    let mut requests = JoinSet::new();
    for request in 0..80 {
        let (layer, factor) = LAYERS[request as usize % LAYERS.len()];
        let post = app.post_image(&format!("/features?layer={layer}&pool=max&top_k=1"), plain(colour(request)));
        requests.spawn(async move { (Answer::to(post).await.ok(), request, layer, factor) });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.len(), 80);
    for (answer, request, layer, factor) in answers {
        check(&answer, request, layer, factor);
    }
}

#[tokio::test]
async fn layers_that_do_not_fit_together_are_answered_all_the_same() {
    let app = Setup::new().configured(|config| config.runtime.cut_cache_bytes = 0).spawn().await;
    let mut requests = JoinSet::new();
    for request in 0..24 {
        let (layer, factor) = LAYERS[request as usize % LAYERS.len()];
        let post = app.post_image(&format!("/features?layer={layer}&pool=max"), plain(colour(request)));
        requests.spawn(async move { (Answer::to(post).await.ok(), request, layer, factor) });
    }
    for (answer, request, layer, factor) in requests.join_all().await {
        check(&answer, request, layer, factor);
    }
}

#[tokio::test]
async fn cuts_that_come_and_go_give_the_same_answers() {
    let app = Setup::new().configured(|config| config.runtime.cut_cache_bytes = 0).spawn().await;
    for request in 0..24 {
        let (layer, factor) = LAYERS[request as usize * 3 % LAYERS.len()];
        let answer = app.send(app.post_image(&format!("/features?layer={layer}&pool=max"), plain(colour(request)))).await.ok();
        check(&answer, request, layer, factor);
    }
}
