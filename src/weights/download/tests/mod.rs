//! Downloads from a server that cuts, stalls, lies, ignores and refuses.
//!
//! Everything is local; nothing sleeps.

mod server;

use std::{fs, path::Path, time::Duration};

use md5::{Digest, Md5};
use tempfile::TempDir;

use self::server::{File, Partial, Reply, Server, Stop};
use super::{Download, Error, Options, fetch};

/// Three pieces of the transfer's buffer, and a bit.
fn body(salt: u8) -> Vec<u8> {
    (0..200_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ salt).collect()
}

fn md5(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

fn options() -> Options {
    let read_timeout = Duration::from_millis(300);
    Options { read_timeout, backoff: Duration::from_millis(1), attempts: 3, ..Options::default() }
}

struct Run {
    folder: TempDir,
    server: Server,
    result: Result<std::path::PathBuf, Error>,
    progress: Vec<(u64, Option<u64>)>,
}

/// Fetches `weights.h5`, expected to be `body(0)`, with `left` already in its part file.
fn run(replies: Vec<Reply>, left: Option<&[u8]>) -> Run {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let server = Server::start(replies);
    if let Some(left) = left {
        fs::write(folder.path().join("weights.h5.part"), left).expect("writable");
    }
    let mut progress = Vec::new();
    let result = fetch(&download(&server.base), folder.path(), &options(), &mut |done, total| progress.push((done, total)));
    Run { folder, server, result, progress }
}

fn download(base: &str) -> Download {
    let url = format!("{base}/vgg16/weights.h5?alt=media");
    Download { url, md5: md5(&body(0)), max_bytes: 1 << 20, architecture: "vgg16".to_owned() }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_file_arrives_whatever_the_server_does() {
    let whole = File::new(&body(0));
    let cut = |bytes, stop| Reply::File(File { stop: Some((bytes, stop)), ..whole.clone() });
    let plain = File { etag: None, ..whole.clone() };
    let old = File { etag: Some("\"old\""), stop: Some((70_000, Stop::Close)), ..File::new(&body(1)) };
    let check = |what: &str, replies: Vec<Reply>, left: Option<&[u8]>, ranges: &[Option<&str>]| {
        let run = run(replies, left);
        let target = run.result.unwrap_or_else(|error| panic!("{what}: {:#}", anyhow::Error::new(error)));
        assert_eq!(target, run.folder.path().join("weights.h5"), "{what}");
        assert!(fs::read(&target).expect("readable") == body(0), "{what}");
        assert_eq!(names(run.folder.path()), ["weights.h5"], "{what}");
        let asked = run.server.headers("range");
        assert_eq!(asked.iter().map(Option::as_deref).collect::<Vec<_>>(), ranges, "{what}");
        assert!(run.progress.iter().any(|(done, _)| *done == 200_003), "{what}: {:?}", run.progress);
    };
    let file = || Reply::File(whole.clone());
    check("whole", vec![file()], None, &[None]);
    check("cut, then resumed", vec![cut(70_000, Stop::Close), file()], None, &[None, Some("bytes=70000-")]);
    check("stalled, then resumed", vec![cut(50_000, Stop::Stall), file()], None, &[None, Some("bytes=50000-")]);
    check("left by an earlier call", vec![file()], Some(&body(0)[..1000]), &[Some("bytes=1000-")]);
    let deaf = Reply::File(File { ranges: false, ..whole.clone() });
    check("ignores ranges", vec![deaf], Some(&body(0)[..1000]), &[Some("bytes=1000-")]);
    let partly = |partial| Reply::File(File { partial, ..whole.clone() });
    let asked = [None, Some("bytes=70000-"), None];
    check("another range than asked for", vec![cut(70_000, Stop::Close), partly(Partial::From(500)), file()], None, &asked);
    let asked = [None, Some("bytes=70000-"), Some("bytes=130000-")];
    check("less than asked for", vec![cut(70_000, Stop::Close), partly(Partial::AtMost(60_000)), file()], None, &asked);
    check("changed on the server", vec![Reply::File(old), file()], None, &[None, Some("bytes=70000-")]);
    check("left by another file", vec![Reply::File(plain)], Some(&body(1)[..1000]), &[Some("bytes=1000-"), None]);
    check("left longer than the file", vec![file()], Some(&[7; 300_000]), &[Some("bytes=300000-"), None]);
    check("left whole, wrong", vec![file()], Some(&body(1)), &[Some("bytes=200003-"), None]);
    check("busy for a while", vec![Reply::Status(503), Reply::Status(429), file()], None, &[None, None, None]);
    let untold = Reply::File(File { length: false, ..whole.clone() });
    check("length not told", vec![untold], None, &[None]);
    let elsewhere = Server::start(vec![file()]);
    let redirect = Reply::Redirect(format!("{}/elsewhere", elsewhere.base));
    check("elsewhere", vec![redirect], None, &[None]);
}

#[test]
fn a_resumed_request_names_the_file_it_goes_on_with() {
    let cut = File { stop: Some((70_000, Stop::Close)), ..File::new(&body(0)) };
    let run = run(vec![Reply::File(cut), Reply::File(File::new(&body(0)))], None);
    assert_eq!(run.server.headers("if-range"), [None, Some("\"one\"".to_owned())]);
    assert_eq!(run.server.headers("accept-encoding"), [Some("identity".to_owned()), Some("identity".to_owned())]);
}

#[test]
fn failures_say_what_to_do() {
    let check = |replies: Vec<Reply>, expected: &str| {
        let run = run(replies, None);
        let message = format!("{:#}", anyhow::Error::new(run.result.expect_err(expected)));
        assert!(message.contains(expected), "{message}\nshould contain: {expected}");
        assert!(message.contains(&run.server.base), "{message}");
        assert_eq!(names(run.folder.path()), [""; 0], "{message}");
    };
    let sums = format!("has MD5 {}, expected {}; nothing was kept", md5(&body(1)), md5(&body(0)));
    check(vec![Reply::File(File::new(&body(1)))], &sums);
    check(vec![Reply::Status(404)], "is not there (404); check the base address");
    check(vec![Reply::Status(403)], "answered with status 403");
    check(vec![Reply::Status(500)], "answered with status 500");
    check(vec![Reply::Redirect("/vgg16/weights.h5".to_owned())], "cannot reach");
    let cut = File { stop: Some((0, Stop::Close)), ..File::new(&body(0)) };
    check(vec![Reply::File(cut)], "broke off after 0 bytes, 3 times; run the same command again");
    let large = vec![0; 2 << 20];
    check(vec![Reply::File(File::new(&large))], "is larger than 1048576 bytes");
    let endless = File { length: false, ..File::new(&large) };
    check(vec![Reply::File(endless)], "is larger than 1048576 bytes");
}

#[test]
fn an_unreachable_host_is_told_with_the_way_out() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let base = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let error = fetch(&download(&base), folder.path(), &options(), &mut |_, _| {}).expect_err("nobody listens");
    let message = error.to_string();
    let target = folder.path().join("weights.h5");
    assert!(message.contains(&format!("cannot reach {base}/vgg16/weights.h5")), "{message}");
    assert!(message.contains(&format!("put it at {}", target.display())), "{message}");
    assert!(message.contains("`graft import vgg16 FILE`"), "{message}");
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    fs::write(folder.path().join("weights.h5"), body(0)).expect("writable");
    let server = Server::start(vec![Reply::Status(500)]);
    fetch(&download(&server.base), folder.path(), &options(), &mut |_, _| {}).expect("it is there");
    assert_eq!(server.headers("range").len(), 0);
}

#[test]
fn two_at_once_do_not_meet() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let held = super::part::Part::open(folder.path().join("weights.h5.part")).expect("a new part");
    let server = Server::start(vec![Reply::File(File::new(&body(0)))]);
    let error = fetch(&download(&server.base), folder.path(), &options(), &mut |_, _| {}).expect_err("it is locked");
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    drop(held);
}

#[test]
fn addresses_without_a_safe_file_name_are_refused() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for url in ["http://127.0.0.1:9", "http://127.0.0.1:9/", "http://127.0.0.1:9/..", "weights.h5", "http://h/a%2Fb", ""] {
        let download = Download { url: url.to_owned(), ..download("http://unused") };
        let error = fetch(&download, folder.path(), &options(), &mut |_, _| {}).expect_err(url);
        assert!(matches!(error, Error::BadUrl { .. }), "{url}: {error}");
    }
}

#[test]
fn a_full_disk_is_named() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert!(matches!(Error::write(Path::new("x"), full), Error::DiskFull { .. }));
}
