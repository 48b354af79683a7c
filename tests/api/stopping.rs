//! SIGTERM while an image is decoded that takes long: the server ends within its time, and the work with it.

use std::{fs, net::TcpStream, process::Command};

use crate::support::{Graft, Setup, TestApp, Tiny, eventually, large_jpeg, threads};

/// Sends an image with as many empty scans as are allowed to the server at `address`.
fn send(address: std::net::SocketAddr) -> TcpStream {
    use std::io::Write;
    let (mut stream, image) = (TcpStream::connect(address).expect("it listens"), large_jpeg(26));
    let length = image.len();
    let head =
        format!("POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &image].concat()).expect("it reads");
    stream
}

/// Whether the process `id` decodes a heavy image.
fn decodes(id: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    tasks.into_iter().any(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "graft-lane"))
}

/// The same image is decoded by a server that nobody stops: what ends before that does has not waited for its end.
#[tokio::test]
async fn a_stopped_server_does_not_wait_for_a_costly_image() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let variables = [("GRAFT__SERVER__SHUTDOWN_GRACE_MS", "100"), ("GRAFT__TELEMETRY__LOG_LEVEL", "error,graft::app=info")];
    let mut stopped = Graft::serve(&setup.config().models.dir, "colours", &variables);
    let going_on = TestApp::spawn().await;
    let clients = [send(stopped.address), send(going_on.address)];
    eventually("both decode", async || decodes(stopped.id()) && threads("graft-lane") == 1).await;
    let signalled = Command::new("kill").args(["-TERM", &stopped.id().to_string()]).status();
    assert!(signalled.expect("it is installed").success());
    eventually("it has ended", async || stopped.has_ended()).await;
    assert_eq!(threads("graft-lane"), 1, "the other decodes still");

    // In a process that goes on, the work ends with its server.
    let another = Setup::new().configured(|config| config.server.shutdown_grace = std::time::Duration::ZERO).spawn().await;
    let client = send(another.address);
    eventually("two decode", async || threads("graft-lane") == 2).await;
    drop(another);
    eventually("one decodes", async || threads("graft-lane") < 2).await;
    assert_eq!(threads("graft-lane"), 1, "the one that was first");
    drop((clients, client));
    going_on.gives_all_back().await;
    eventually("none decodes", async || threads("graft-lane") == 0).await;
}
