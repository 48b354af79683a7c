//! Clients that ask for much and read nothing: what they hold is bounded by their share, others are answered, and all of it comes
//! back when they leave.

use std::{fs, net::Ipv4Addr};

use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::support::{Setup, TestApp, Tiny, eventually, plain};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CROWD: usize = 60;

/// So many connections of one address that have sent `request` and read nothing.
async fn crowd(app: &TestApp, count: usize, request: &[u8]) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..count {
        crowd.push(app.asked(ATTACKER, request).await);
    }
    crowd
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A data set of so many classes with long names.
fn classes(count: usize) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (class, number) in (0..count).flat_map(|class| [(class, 0), (class, 1)]) {
        let photo = crate::support::png(8, 8, |x, y| [x as u8 * 8 + y as u8, class as u8, (class >> 8) as u8 * 2 + number]);
        let mut header = tar::Header::new_gnu();
        header.set_size(photo.len() as u64);
        header.set_mode(0o644);
        let path = format!("{class:03}{}/{number}.png", "x".repeat(80));
        archive.append_data(&mut header, path, photo.as_slice()).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

#[tokio::test]
async fn unread_lists_hold_their_clients_share() {
    let bound = 2 << 20;
    let setup = Setup::empty().configured(|config| {
        (config.server.max_buffered_bytes, config.server.max_body_bytes) = (bound, 64 << 10);
        config.server.max_response_bytes = 256 << 10;
    });
    let app = setup.start().await;
    let archive = classes(100);
    for _ in 0..4 {
        let sent = app.send(app.post_typed("/datasets", "application/x-tar", archive.clone())).await;
        assert_eq!(sent.status, 201, "{}", sent.text());
    }
    let one = app.get("/datasets").await.ok().body.len();
    assert!(one > 30_000, "one list has {one} bytes");
    app.gives_all_back().await;

    // More than the kernel keeps for them.
    let crowd = crowd(&app, CROWD, get("/datasets").repeat(16).as_bytes()).await;
    let memory = app.engine.admissions().memory();
    eventually("they hold lists", async || memory.used() > 0).await;
    for _ in 0..20 {
        assert_eq!(app.get("/datasets").await.ok().body.len(), one, "others are answered");
        assert!(memory.used() <= bound as u64 * 3 / 4, "{} bytes are held", memory.used());
    }
    drop(crowd);
    app.gives_all_back().await;
}

#[tokio::test]
async fn unread_features_hold_their_clients_share() {
    let bound = 2 << 20;
    let setup = Setup::empty().with(Tiny::Convolutions, "unread").configured(|config| {
        (config.server.max_buffered_bytes, config.server.max_body_bytes) = (bound, 64 << 10);
        config.server.max_response_bytes = 256 << 10;
    });
    let app = setup.start().await;
    let (path, photo) = ("/features?model=unread&layer=conv2d&pool=none", plain([120; 3]));
    let features = async || {
        let asked = app.post_image(path, photo.clone()).header("Accept", "application/x-npy");
        app.send(asked).await.ok().body.len()
    };
    let one = features().await;
    assert!(one > 4 * 32 * 32 * 16, "one answer has {one} bytes");
    app.gives_all_back().await;

    let length = photo.len();
    let form = "Host: localhost\r\nAccept: application/x-npy\r\nContent-Type: image/png";
    let head = format!("POST {path} HTTP/1.1\r\n{form}\r\nContent-Length: {length}\r\n\r\n");
    // More than the kernel keeps for each, and together more than one client's share: values and body of seven answers.
    let crowd = crowd(&app, 10, &[head.as_bytes(), &photo].concat().repeat(16)).await;
    let memory = app.engine.admissions().memory();
    eventually("they hold answers", async || memory.used() >= 4 * one as u64).await;
    for _ in 0..20 {
        assert_eq!(features().await, one, "others are answered");
        assert!(memory.used() <= bound as u64 * 3 / 4, "{} bytes are held", memory.used());
    }
    drop(crowd);
    app.gives_all_back().await;
    assert_eq!(features().await, one);
}

/// Files of this process that are open below `models.dir` of the model `name`.
fn open_files(name: &str) -> usize {
    let opened = fs::read_dir("/proc/self/fd").expect("Linux tells").flatten();
    let of_model =
        |link: &fs::DirEntry| fs::read_link(link.path()).is_ok_and(|path| path.components().any(|part| part.as_os_str() == name));
    opened.filter(of_model).count()
}

#[tokio::test]
async fn unread_downloads_hold_their_clients_share() {
    let app = Setup::empty().with(Tiny::FullyConnected, "unread").start().await;
    let path = "/models/unread/versions/1/onnx";
    let length = app.get(path).await.ok().body.len();
    assert!(length > 500_000, "more than the kernel keeps: {length}");
    eventually("it is closed", async || open_files("unread") == 0).await;

    // More than 16 of 32 places are nobody's; whoever gets none is told at once.
    let mut crowd = crowd(&app, CROWD, get(path).as_bytes()).await;
    let mut refused = 0;
    for stream in &mut crowd {
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("it is answered");
        refused += usize::from(head == *b"HTTP/1.1 503");
    }
    assert_eq!(CROWD - refused, 16, "half of the places are one client's");
    assert!((1..=16 * 2).contains(&open_files("unread")), "{} files are open", open_files("unread"));
    for _ in 0..3 {
        assert_eq!(app.get(path).await.ok().body.len(), length, "others are answered");
    }
    app.get("/models").await.ok();
    drop(crowd);
    eventually("their files are closed", async || open_files("unread") == 0).await;
    app.gives_all_back().await;
    let mut again = app.asked(ATTACKER, get(path).as_bytes()).await;
    let mut head = [0; 12];
    again.read_exact(&mut head).await.expect("it is answered");
    assert_eq!(&head, b"HTTP/1.1 200");
}
