//! `/datasets` over loopback: bodies beyond the bound on image requests, and senders that leave half-way.

use std::{io::Write, net::TcpStream, path::Path};

use serde_json::json;

use crate::support::{Setup, eventually, png};

/// A tar archive of two photos in each of two classes, each photo as large as `side` makes it.
fn archive(side: u32) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, shade) in [("ants/1.png", 1), ("ants/2.png", 2), ("bees/1.png", 3), ("bees/2.png", 4)] {
        let bytes = png(side, side, |x, y| [(x * 7 + y * 13) as u8, (x * y) as u8, shade]);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes.as_slice()).expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

/// What lies in the store below `data`.
fn left(data: &Path) -> usize {
    std::fs::read_dir(data.join("datasets")).map_or(0, Iterator::count)
}

/// A connection on which half of an upload has been sent.
fn half_sent(address: std::net::SocketAddr) -> TcpStream {
    let body = archive(8);
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    let head = format!(
        "POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    stream.write_all(&body[..length / 2]).expect("it reads");
    stream
}

#[tokio::test]
async fn archives_have_a_bound_of_their_own() {
    let body = archive(300);
    let setup = Setup::empty().configured(|config| config.server.max_body_bytes = body.len() / 4);
    let app = setup.start().await;
    let sent = app.send(app.post_typed("/datasets", "application/x-tar", body.clone())).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    assert_eq!(
        sent.json()["classes"],
        json!([{"name": "ants", "train": 2, "val": 0, "test": 0}, {"name": "bees", "train": 2, "val": 0, "test": 0}])
    );
    let found = app.get(sent.header("location")).await.ok();
    assert_eq!(found.json(), sent.json());
    let setup = Setup::empty().configured(|config| config.datasets.max_upload_bytes = body.len() as u64 - 1);
    let app = setup.start().await;
    let refused = app.send(app.post_typed("/datasets", "application/x-tar", body)).await;
    refused.problem(413, "body_too_large", "`datasets.max_upload_bytes`");
}

#[tokio::test]
async fn a_sender_that_leaves_leaves_nothing() {
    let setup = Setup::empty();
    let data = setup.config().data.dir.clone();
    let app = setup.start().await;
    let stream = half_sent(app.address);
    eventually("the upload is in progress", async || left(&data) == 1).await;
    drop(stream);
    eventually("nothing is left of it", async || left(&data) == 0).await;
}

#[tokio::test]
async fn classes_and_skipped_files_come_in_pages() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes).expect("memory takes it");
    };
    for (shade, class) in ["ants", "bees", "cats"].into_iter().enumerate() {
        for number in 0..2 {
            let photo = png(8, 8, |x, y| [(x * 7 + y * 13) as u8, 100 * number, shade as u8]);
            add(&format!("{class}/{number}.png"), &photo);
        }
        add(&format!("{class}/broken.png"), b"no image");
    }
    let archive = builder.into_inner().expect("memory takes it");
    let app = Setup::empty().start().await;
    let sent = app.send(app.post_typed("/datasets", "application/x-tar", archive)).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let dataset = sent.header("location").to_owned();
    let page = async |of: &str| app.get(&format!("{dataset}{of}")).await.ok().json();

    let class = |index: usize, name: &str| json!({"index": index, "name": name, "train": 2, "val": 0, "test": 0});
    let first = json!({"classes": [class(0, "ants"), class(1, "bees")], "next": 1});
    assert_eq!(page("/classes?limit=2").await, first);
    assert_eq!(page("/classes?limit=2&after=1").await, json!({"classes": [class(2, "cats")], "next": null}));
    assert_eq!(page("/classes").await["classes"].as_array().map(Vec::len), Some(3));

    let shown = page("").await;
    let files = shown["skipped"].as_array().expect("a list");
    assert_eq!((files.len(), &shown["skipped_count"]), (3, &json!(3)), "{shown}");
    assert_eq!(page("/skipped?limit=2").await, json!({"skipped": files[..2], "skipped_count": 3, "next": 1}));
    assert_eq!(page("/skipped?limit=2&after=1").await, json!({"skipped": files[2..], "skipped_count": 3, "next": null}));

    for of in ["classes", "skipped"] {
        app.get(&format!("/datasets/x/{of}")).await.problem(404, "unknown_dataset", "");
        app.get(&format!("{dataset}/{of}?limit=10001")).await.problem(422, "invalid_parameter", "10000 is the most");
        app.get(&format!("{dataset}/{of}?after=ants")).await.problem(422, "invalid_parameter", "must be an index");
    }
}
