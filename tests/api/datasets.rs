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
