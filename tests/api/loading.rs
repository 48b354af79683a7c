//! What is loaded, and for how long: pins, what makes room for what, loads that fail, runs without end.
//!
//! All models but the slow one have equally large weights, so that bounds are whole numbers of them.

use std::{fs, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Answer, Setup, TestApp, Tiny, eventually, patch_graph, plain, publish};

/// A server that has room for two models, of which `kept` stays.
fn two_fit(setup: Setup) -> Setup {
    let snapshot = setup.repository().scan().expect("it can be read");
    let bytes = snapshot.model("kept").expect("it was published").versions[0].metadata.weights.bytes;
    setup.configured(|config| {
        config.models.preload = Some(vec!["kept".to_owned()]);
        config.models.max_loaded_bytes = 2 * bytes;
    })
}

async fn predict(app: &TestApp, model: &str) -> Answer {
    app.send(app.post_image(&format!("/models/{model}"), plain([0; 3]))).await
}

async fn is_loaded(app: &TestApp, model: &str, version: u64) -> bool {
    let answer = app.get(&format!("/models/{model}")).await.ok().json();
    let versions = answer["versions"].as_array().expect("a list");
    versions.iter().any(|found| found["version"] == version && found["loaded"] == true)
}

#[tokio::test]
async fn a_version_that_is_replaced_makes_room_and_the_one_that_answers_stays() {
    let app = two_fit(Setup::empty().with(Tiny::Thousand, "kept").with(Tiny::Thousand, "other")).spawn().await;
    publish(&app.repository, Tiny::Thousand, "kept");
    eventually("the new version is loaded", async || is_loaded(&app, "kept", 2).await).await;
    assert!(is_loaded(&app, "kept", 1).await, "there is room for both");
    predict(&app, "other/predict").await.ok();
    assert!(!is_loaded(&app, "kept", 1).await && is_loaded(&app, "kept", 2).await);
    predict(&app, "kept/predict?version=1").await.ok();
    assert!(is_loaded(&app, "kept", 2).await && !is_loaded(&app, "other", 1).await);
}

#[tokio::test]
async fn a_version_that_does_not_load_unloads_others_once_at_most() {
    let damaged = |folder: &std::path::Path| {
        let file = folder.join("weights.bin");
        let mut bytes = fs::read(&file).expect("it was published");
        bytes[9] ^= 1;
        fs::write(&file, bytes).expect("writable");
    };
    let refused = |folder: &std::path::Path| patch_graph(folder, b"Softmax", b"Softmux");
    for (is_found_before, spoil) in [(true, &damaged as &dyn Fn(&std::path::Path)), (false, &refused)] {
        let names = ["kept", "other", "broken"];
        let setup = names.into_iter().fold(Setup::empty(), |setup, name| setup.with(Tiny::Thousand, name));
        spoil(&setup.repository().root().join("broken/1"));
        let app = two_fit(setup).spawn().await;
        let asked = async || {
            predict(&app, "other/predict").await.ok();
            let answer = predict(&app, "broken/predict").await;
            (is_loaded(&app, "other", 1).await, answer.json()["detail"].clone())
        };
        let (stays, first) = asked().await;
        assert_eq!(stays, is_found_before, "{first}");
        for _ in 0..2 {
            assert_eq!(asked().await, (true, first.clone()), "it is known by now");
        }
        // Another one under the same name and number.
        fs::remove_dir_all(app.repository.root().join("broken")).expect("it is there");
        let gone = async || app.get("/models/broken").await.status == 404;
        eventually("it is gone", gone).await;
        publish(&app.repository, Tiny::Thousand, "broken");
        eventually("it is found", async || !gone().await).await;
        predict(&app, "broken/predict").await.ok();
    }
}

/// Clock ticks that the threads of this process called `name` have used.
fn ticks(name: &str) -> u64 {
    let used = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let (before, after) = stat.rsplit_once(") ")?;
        before.ends_with(&format!("({name}")).then(|| after.split(' ').nth(11)?.parse::<u64>().ok())?
    };
    fs::read_dir("/proc/self/task").expect("Linux tells").flatten().filter_map(used).sum()
}

#[tokio::test]
async fn a_run_without_end_ends_when_nobody_waits_for_it() {
    let setup = Setup::empty().with(Tiny::Slow, "endless").configured(|config| {
        config.models.preload = Some(vec!["endless".to_owned()]);
        config.server.request_timeout = Duration::from_secs(3);
    });
    // Rounds for each level of the brightest pixel.
    patch_graph(&setup.repository().root().join("endless/1"), &8e3_f32.to_le_bytes(), &8e12_f32.to_le_bytes());
    let app = setup.spawn().await;
    let (path, bright, black) = ("/predict?model=endless", plain([255; 3]), plain([0; 3]));

    let mut client = TcpStream::connect(app.address).await.expect("it listens");
    let length = bright.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("it reads");
    client.write_all(&bright).await.expect("it reads");
    eventually("it loops", async || ticks("graft-endless") > 20).await;
    drop(client);
    app.send(app.post_image(path, black.clone())).await.ok();

    app.send(app.post_image(path, bright)).await.problem(503, "timeout", "no answer within 3000 ms");
    app.send(app.post_image(path, black)).await.ok();
}
