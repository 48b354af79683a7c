//! `/datasets` through the whole router: what clients send and read, and that refusals leave nothing on disk.

use std::{path::PathBuf, time::Duration};

use axum::{Router, body::Body, extract::Request};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    config::{self, DatasetsConfig, Sources},
    datasets::{
        Datasets,
        tests::{
            LIMITS, bounds,
            packing::{ZipEntry, gzip, photos, tar_of, zip, zip_of},
        },
    },
    http::{State, router, testing},
    inference::{Engine, Settings},
    registry::Repository,
    runtime::Runtime,
    service::Service,
    work::Client,
};

struct Server {
    folder: tempfile::TempDir,
    datasets: Datasets,
    router: Router,
}

impl Server {
    fn new(datasets: DatasetsConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config::load(&Sources::default()).unwrap();
        let runtime = Runtime::open(&config.runtime).unwrap();
        let repository = Repository::open(folder.path().join("models")).unwrap();
        let engine = Engine::new(runtime, repository, Settings::of(&config)).unwrap();
        let datasets = Datasets::open(datasets, folder.path(), LIMITS).unwrap();
        let service = Service::new(engine, datasets.clone(), &testing::server());
        let state = State::new(service, testing::server(), None);
        Self { folder, datasets, router: router(state) }
    }

    async fn ask(&self, method: &str, path: &str, content_type: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("Content-Type", content_type);
        let (status, headers, body) = testing::answer(&self.router, request.body(body.into()).unwrap()).await;
        if let Some(location) = headers.get("Location") {
            assert_eq!(location.to_str().unwrap(), format!("/datasets/{}", body["id"].as_str().unwrap()));
        }
        (status.as_u16(), body)
    }

    /// Sends a data set whose body is in gzip, by its `Content-Encoding`.
    async fn send_encoded(&self, content_type: &str, body: Vec<u8>) -> (u16, Value) {
        let request = Request::post("/datasets").header("Content-Type", content_type).header("Content-Encoding", "gzip");
        let (status, _, body) = testing::answer(&self.router, request.body(body.into()).unwrap()).await;
        (status.as_u16(), body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "text/plain", Body::empty()).await
    }

    async fn refused(&self, content_type: &str, body: impl Into<Body>, status: u16, code: &str, detail: &str) {
        let (got, problem) = self.ask("POST", "/datasets", content_type, body).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        self.leaves(0).await;
    }

    /// That so many data sets are left, and nothing else: what is given up is removed on another thread.
    async fn leaves(&self, count: usize) {
        let leaves = async {
            while self.left().len() != count {
                tokio::task::yield_now().await;
            }
        };
        let left = tokio::time::timeout(Duration::from_secs(60), leaves).await;
        left.unwrap_or_else(|_| panic!("not {count} are left: {:?}", self.left()));
    }

    fn left(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join("datasets")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn good() -> Vec<(String, Vec<u8>)> {
    photos(&["set/train/a/1.png", "set/train/a/2.png", "set/train/b/1.png", "set/train/b/2.png", "set/val/a/1.png", "set/readme"])
}

#[tokio::test]
async fn a_data_set_is_sent_listed_and_deleted() {
    let server = Server::new(bounds());
    assert_eq!(server.get("/datasets").await, (200, json!({ "datasets": [], "next": null })));
    let tar = tar_of(&good());
    for (content_type, archive) in [
        ("application/zip", zip_of(&good())),
        ("application/x-tar", tar.clone()),
        ("Application/GZIP; charset=binary", gzip(&tar)),
        ("application/octet-stream", zip_of(&good())),
        ("application/octet-stream", gzip(&tar)),
        ("application/gzip", zip_of(&good())),
        ("application/x-www-form-urlencoded", tar.clone()),
        ("", gzip(&tar)),
        ("multipart/form-data; boundary=+-x", form(&[("layout", None, b"splits"), ("file", Some("a.zip"), &zip_of(&good()))])),
        ("multipart/form-data; boundary=+-x", form(&[("any", Some("a.tgz"), &gzip(&tar)), ("names", None, b"cp437")])),
    ] {
        let (status, sent) = server.ask("POST", "/datasets", content_type, archive).await;
        assert_eq!(status, 201, "{sent}");
        assert_eq!(
            sent["classes"],
            json!([{"name": "a", "train": 2, "val": 1, "test": 0}, {"name": "b", "train": 2, "val": 0, "test": 0}])
        );
        let reason = "outside the class folders of the splits";
        assert_eq!(sent["skipped"], json!([{"path": "readme", "reason": reason}]));
        assert_eq!((&sent["images"], &sent["skipped_count"]), (&json!(5), &json!(1)));
        let id = sent["id"].as_str().unwrap();
        let path = format!("/datasets/{id}");
        assert_eq!(server.get(&path).await, (200, sent.clone()));
        let mut listed = sent.clone();
        listed.as_object_mut().unwrap().remove("skipped");
        assert_eq!(server.get("/datasets").await, (200, json!({ "datasets": [listed], "next": null })));
        assert_eq!(server.ask("DELETE", &path, "text/plain", Body::empty()).await, (204, Value::Null));
        for method in ["GET", "DELETE"] {
            let (status, problem) = server.ask(method, &path, "text/plain", Body::empty()).await;
            assert_eq!((status, problem["code"].as_str()), (404, Some("unknown_dataset")), "{method}");
        }
        server.leaves(0).await;
    }
}

#[tokio::test]
async fn refusals_have_their_status_and_leave_nothing() {
    let server = Server::new(bounds());
    let evil = ZipEntry { name: b"../evil.png".into(), ..ZipEntry::default() };
    server.refused("application/zip", zip(&[evil]), 422, "bad_archive", "`../evil.png` leads out").await;
    server.refused("application/zip", "PK", 422, "bad_archive", "the zip archive is broken").await;
    server.refused("application/octet-stream", "PK", 422, "bad_archive", "neither a zip nor a tar archive").await;
    server.refused("application/octet-stream", "7z\u{fffd}", 422, "bad_archive", "neither a zip nor a tar archive").await;
    server
        .refused("application/x-7z-compressed", b"7z\xBC\xAF\x27\x1C00".to_vec(), 422, "bad_archive", "this is a 7z file")
        .await;
    let cut = zip_of(&good())[..200].to_vec();
    server.refused("application/gzip", cut, 422, "bad_archive", "was sent as a gzipped tar archive but begins as a zip").await;
    let bare = zip_of(&photos(&["Training/1.png", "Training/2.png", "Testing/1.png"]));
    server.refused("application/zip", bare, 422, "bad_dataset", "hold photos directly").await;
    server
        .refused("application/x-tar", tar_of(&photos(&["a/1.png", "a/2.png"])), 422, "bad_dataset", "one class folder, `a`")
        .await;
    for content_type in ["image/png", "text/plain", "video/mp4", "audio/mpeg", "multipart/mixed"] {
        let detail = format!("`{content_type}` carries no data set; send `application/zip`");
        server.refused(content_type, zip_of(&good()), 415, "unsupported_media_type", &detail).await;
    }
    for content_type in ["application/octet-stream", "application/zip", "application/pdf", ""] {
        server.refused(content_type, photos(&["a"])[0].1.clone(), 422, "bad_archive", "this is a single photo").await;
    }
    let gz = gzip(&zip_of(&good()));
    server.refused("application/octet-stream", gz, 422, "bad_archive", "this is a zip archive in gzip; decompress it").await;
    server.refused("", Body::empty(), 422, "bad_archive", "neither a zip nor a tar archive").await;
    server.refused("application/json", "{}", 400, "malformed_body", "missing field `path`").await;
    server.refused("application/json", r#"{"path":"a","x":1}"#, 400, "malformed_body", "unknown field `x`").await;
    server.refused("application/json", " ".repeat(70_000), 400, "malformed_body", "larger than 65536 bytes").await;
    server.refused("application/json", r#"{"path":"a"}"#, 403, "folder_refused", "`datasets.root` is not configured").await;
    for query in ["name=x", "layout=folders", "names=klingon", "layout=splits&layout=classes", "names="] {
        let (status, problem) = server.ask("POST", &format!("/datasets?{query}"), "application/zip", "PK").await;
        assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_parameter")), "{query}: {problem}");
    }
}

/// A form with the boundary `+-x`: name, file name and bytes of every part.
fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, file, bytes) in parts {
        let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        form.extend(format!("--+-x\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes());
        form.extend(*bytes);
        form.extend(b"\r\n");
    }
    form.extend(b"--+-x--\r\n");
    form
}

#[tokio::test]
async fn an_archive_that_curl_damaged_says_how() {
    let server = Server::new(bounds());
    let mangled: Vec<u8> = zip_of(&good()).into_iter().filter(|byte| !b"\r\n\0".contains(byte)).collect();
    let hint = "if curl sent it, send it with `--data-binary`";
    server.refused("application/x-www-form-urlencoded", mangled, 422, "bad_archive", hint).await;
}

#[tokio::test]
async fn forms_are_refused_by_what_is_wrong_with_them() {
    let server = Server::new(bounds());
    let zip = zip_of(&good());
    let kind = "multipart/form-data; boundary=+-x";
    let file = ("file", Some("a.zip"), zip.as_slice());
    server.refused(kind, form(&[]), 400, "malformed_body", "the form has no file").await;
    server.refused(kind, form(&[file, file]), 422, "invalid_parameter", "more than one file").await;
    server.refused(kind, form(&[("file", None, b"x")]), 422, "invalid_parameter", "form field `file` is neither").await;
    server.refused(kind, form(&[file, ("layout", None, b"folders")]), 422, "invalid_parameter", "`layout` is `folders`").await;
    let long = form(&[("layout", None, &[b'x'; 1000])]);
    server.refused(kind, long, 422, "invalid_parameter", "has more than 256 bytes and no file name").await;
    server.refused(kind, form(&[("file", Some("a.7z"), b"7z\xBC\xAF\x27\x1C")]), 422, "bad_archive", "this is a 7z file").await;
    server.refused(kind, zip.clone(), 400, "malformed_body", "cannot read the form").await;
    server.refused("multipart/form-data", zip.clone(), 400, "malformed_body", "cannot read the form").await;
    let whole = form(&[file]);
    server.refused(kind, whole[..whole.len() / 2].to_vec(), 400, "malformed_body", "cannot read the form").await;
    let twice = |value: &'static [u8]| form(&[("layout", None, value), ("names", None, b""), file]);
    let (status, problem) = server.ask("POST", "/datasets?layout=splits", kind, twice(b"classes")).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_parameter")), "{problem}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("`layout` is given more than once, as `splits` and `classes`"), "{problem}");
    let (status, dataset) = server.ask("POST", "/datasets?layout=splits", kind, twice(b"splits")).await;
    assert_eq!(status, 201, "the same said twice: {dataset}");
    let small = Server::new(DatasetsConfig { max_upload_bytes: zip.len() as u64 - 1, ..bounds() });
    small.refused(kind, form(&[file]), 413, "body_too_large", "`datasets.max_upload_bytes`").await;
}

#[tokio::test]
async fn what_a_form_holds_in_memory_is_bounded() {
    let server = Server::new(bounds());
    let head = stream::iter([Bytes::from_static(b"--+-x\r\nContent-Disposition: form-data; name=\"")]);
    let endless = stream::repeat_with(|| Bytes::from(vec![b'a'; 64 << 10])).take(10_000);
    let body = Body::from_stream(head.chain(endless).map(Ok::<_, std::io::Error>));
    server.refused("multipart/form-data; boundary=+-x", body, 400, "malformed_body", "bytes of headers").await;
}

#[tokio::test]
async fn doubt_is_decided_by_the_sender() {
    let server = Server::new(bounds());
    let paths = ["train/a/1.png", "train/a/2.png", "train/b/1.png", "train/b/2.png", "car/1.png", "car/2.png"];
    let archive = zip_of(&photos(&paths));
    let expected = "As splits: 2 classes: `a` (2 train), `b` (2 train). As classes: 2 classes: `car` (2), `train` (4).";
    server.refused("application/zip", archive.clone(), 422, "bad_dataset", expected).await;
    for (layout, classes) in [("splits", ["a", "b"]), ("classes", ["car", "train"])] {
        let (status, sent) = server.ask("POST", &format!("/datasets?layout={layout}"), "application/zip", archive.clone()).await;
        assert_eq!(status, 201, "{sent}");
        let names: Vec<&str> = sent["classes"].as_array().unwrap().iter().filter_map(|class| class["name"].as_str()).collect();
        assert_eq!(names, classes, "{sent}");
        let left_out = "files in `car` are left out, since they lie in no class folder of a split: 2";
        let warnings = if layout == "splits" { json!([left_out]) } else { json!([]) };
        assert_eq!(sent["warnings"], warnings, "{sent}");
    }
}

#[tokio::test]
async fn bounds_have_their_status() {
    let archive = zip_of(&good());
    let small = Server::new(DatasetsConfig { max_upload_bytes: archive.len() as u64 - 1, ..bounds() });
    small.refused("application/zip", archive.clone(), 413, "body_too_large", "`datasets.max_upload_bytes`").await;
    let unknown_length = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(archive.clone())]));
    small.refused("application/zip", unknown_length, 413, "body_too_large", "`datasets.max_upload_bytes`").await;
    let few = Server::new(DatasetsConfig { max_entries: 5, ..bounds() });
    few.refused("application/zip", archive.clone(), 413, "archive_too_large", "`datasets.max_entries`").await;
    let full = Server::new(DatasetsConfig { max_store_bytes: archive.len() as u64, ..bounds() });
    full.refused("application/zip", archive.clone(), 507, "storage_full", "`datasets.max_store_bytes`").await;
    let busy = Server::new(DatasetsConfig { max_uploads: 1, ..bounds() });
    let upload = busy.datasets.upload(&Client::local(), crate::datasets::ArchiveKind::Zip).await.unwrap();
    let (status, problem) = busy.ask("POST", "/datasets", "application/zip", archive).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("busy")));
    drop(upload);
}

#[tokio::test]
async fn encoded_bodies_are_measured_by_what_was_sent() {
    let server = Server::new(DatasetsConfig { max_ratio: 2, ..bounds() });
    let tar = tar_of(&[good(), vec![("set/train/a/zeros".to_owned(), vec![0; 70 << 20])]].concat());
    let kind = "multipart/form-data; boundary=+-x";
    for (content_type, body) in [("application/x-tar", gzip(&tar)), (kind, gzip(&form(&[("file", Some("a.tar"), &tar)])))] {
        let (status, problem) = server.send_encoded(content_type, body).await;
        assert_eq!((status, problem["code"].as_str()), (413, Some("archive_too_large")), "{content_type}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("`datasets.max_ratio`"), "{content_type}: {problem}");
        server.leaves(0).await;
    }
    for (content_type, body) in [("application/zip", gzip(&zip_of(&good()))), ("application/gzip", gzip(&tar_of(&good())))] {
        let (status, sent) = server.send_encoded(content_type, body).await;
        assert_eq!(status, 201, "{content_type}: {sent}");
    }
    let (status, problem) = server.send_encoded("application/zip", zip_of(&good())).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("malformed_body")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("a zip archive, without that header"), "{problem}");
}

#[tokio::test]
async fn silence_ends_an_upload_and_slowness_does_not() {
    let server = Server::new(DatasetsConfig { idle_timeout: Duration::from_secs(1), ..bounds() });
    let silent = stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"PK")) });
    let silent = silent.chain(stream::pending());
    server.refused("application/zip", Body::from_stream(silent), 408, "body_timeout", "`datasets.idle_timeout_ms`").await;
    let chunks: Vec<Bytes> = zip_of(&good()).chunks(40).map(Bytes::copy_from_slice).collect();
    assert!(chunks.len() > 20, "longer than the bound on silence altogether");
    let slow = stream::unfold(chunks.into_iter(), async |mut chunks| {
        tokio::time::sleep(Duration::from_millis(60)).await;
        Some((Ok::<_, std::io::Error>(chunks.next()?), chunks))
    });
    let (status, sent) = server.ask("POST", "/datasets", "application/zip", Body::from_stream(slow)).await;
    assert_eq!(status, 201, "{sent}");
    let broken = stream::iter([Ok(Bytes::from_static(b"PK")), Err(std::io::Error::other("reset"))]);
    let (status, problem) = server.ask("POST", "/datasets", "application/zip", Body::from_stream(broken)).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("malformed_body")));
    // The whole one alone.
    server.leaves(1).await;
}

#[tokio::test]
async fn a_folder_of_the_server_is_the_other_way_in() {
    let root = tempfile::tempdir().unwrap();
    for (path, bytes) in good() {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let server = Server::new(DatasetsConfig { root: Some(root.path().to_owned()), ..bounds() });
    server.refused("application/json", r#"{"path":".."}"#, 403, "folder_refused", "leads out").await;
    server.refused("application/json", r#"{"path":"nothing"}"#, 422, "bad_dataset", "is not a folder that can be read").await;
    let (status, sent) = server.ask("POST", "/datasets", "application/json", r#"{"path":"set"}"#).await;
    assert_eq!((status, &sent["images"]), (201, &json!(5)), "{sent}");
    let (status, sent) =
        server.ask("POST", "/datasets?names=cp437", "application/json", r#"{"path":"set","layout":"classes"}"#).await;
    assert_eq!((status, &sent["classes"][0]["name"]), (422, &Value::Null), "`val` has one photo: {sent}");
    let twice = server.ask("POST", "/datasets?layout=splits", "application/json", r#"{"path":"set","layout":"classes"}"#).await;
    assert_eq!((twice.0, twice.1["code"].as_str()), (422, Some("invalid_parameter")), "{}", twice.1);
}
