//! Versions that are deleted while sessions are built on them.

use reqwest::Method;

use crate::support::{Answer, Setup, TestApp, Tiny, eventually, png, threads};

/// A request for one layer of a version.
fn asking(app: &TestApp, version: u32, layer: &str) -> reqwest::RequestBuilder {
    let path = format!("/features?model=doomed&version={version}&layer={layer}&pool=none");
    app.post_image(&path, png(32, 32, |x, y| [x as u8, y as u8, 0]))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_asked_for_layers_of_a_version_that_goes_is_answered() {
    let setup = (0..4).fold(Setup::new(), |setup, _| setup.with(Tiny::Block, "doomed"));
    let app = setup.configured(|config| config.runtime.cut_cache_bytes = 1).spawn().await;
    let listed = app.get("/models/doomed/layers").await.ok().json();
    let names: Vec<String> = listed["layers"].as_array().expect("a list").iter().map(|layer| layer["name"].to_string()).collect();
    let names: Vec<&str> = names.iter().map(|name| name.trim_matches('"')).collect();
    assert!(names.len() > 8, "{names:?}");
    for version in 1..4 {
        app.send(asking(&app, version, names[0])).await.ok();
        let decoding = app.engine.decoding_memory().take(u64::MAX).await;
        // One session at a time is built and kept, so that most have to wait.
        let asked: Vec<_> =
            (0..2).flat_map(|_| &names).map(|name| tokio::spawn(Answer::to(asking(&app, version, name)))).collect();
        let places = async || app.metric("graft_queue_images{model=\"doomed\"}").await;
        eventually("all have their places", async || places().await == asked.len() as f64).await;
        // It goes before the first of their sessions is built, or while one after the other is.
        let decoding = Some(decoding).filter(|_| version == 1);
        let deleted = app.send(app.ask(Method::DELETE, &format!("/models/doomed/versions/{version}"))).await;
        assert_eq!(deleted.status, 204, "{}", deleted.text());
        drop(decoding);
        for asked in asked {
            asked.await.expect("no panic").ok();
        }
        app.send(asking(&app, version, names[0])).await.problem(404, "unknown_version", "it has");
    }
    app.send(asking(&app, 4, names[1])).await.ok();
    app.gives_all_back().await;
    eventually("their threads have ended", async || threads("graft-doomed") == 1).await;
}
