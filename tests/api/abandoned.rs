//! Work on stores whose clients hang up: it has its place, and that of its key, until it is over.
//!
//! A named pipe in the place of a file holds the work up until the test lets it go on.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::{Method, RequestBuilder};
use rustix::fs::OFlags;
use serde_json::json;

use crate::support::{Answer, Plans, Ran, Setup, TestApp, Tiny, eventually, finetune};

/// A file whose reader waits.
struct Pipe {
    path: PathBuf,
    /// Once it is read.
    writer: Option<File>,
}

impl Pipe {
    /// In the place of the file at `path`.
    fn at(path: &Path) -> Self {
        fs::remove_file(path).ok();
        assert!(Command::new("mkfifo").arg(path).status().expect("it is installed").success());
        Self { path: path.to_owned(), writer: None }
    }

    /// Whether somebody reads it, who then waits until [`Self::let_go`].
    fn is_read(&mut self) -> bool {
        if self.writer.is_none() {
            // Without a reader this is refused.
            self.writer =
                OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&self.path).ok();
        }
        self.writer.is_some()
    }

    /// Lets its reader read nothing.
    fn let_go(self) {
        assert!(self.writer.is_some(), "it is read");
    }
}

/// Sends `request` and hangs up as soon as its work reads `pipe`.
async fn hang_up(app: &TestApp, request: RequestBuilder, pipe: &mut Pipe) {
    let asking = tokio::spawn(request.send());
    eventually("its work runs", async || pipe.is_read()).await;
    asking.abort();
    assert!(asking.await.is_err_and(|error| error.is_cancelled()), "its client has left");
    // The server has noticed by then.
    for _ in 0..20 {
        app.get("/healthz").await.ok();
    }
}

/// A data set's folder that holds nothing.
fn dataset(setup: &Setup) -> (String, PathBuf) {
    let id = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10";
    let folder = setup.config().data.dir.join("datasets").join(id);
    fs::create_dir_all(&folder).expect("a folder");
    (format!("/datasets/{id}"), folder)
}

/// A server whose clients have one place each at the desk of the stores.
fn one_place() -> Setup {
    Setup::empty().configured(|config| config.server.max_client_percent = 2)
}

#[tokio::test]
async fn what_is_looked_up_has_its_place_until_it_is_found() {
    let setup = one_place();
    let (path, folder) = dataset(&setup);
    let app = setup.start().await;
    let mut pipe = Pipe::at(&folder.join("dataset.json"));
    hang_up(&app, app.ask(Method::GET, &path), &mut pipe).await;
    for path in ["/datasets", "/datasets/none", "/jobs", "/jobs/none"] {
        let refused = app.get(path).await;
        refused.problem(503, "busy", "as many lists, details, choices and deletions are at work or wait as may");
        assert_eq!(refused.header("retry-after"), "1");
    }
    app.get("/healthz").await.ok();
    pipe.let_go();
    eventually("its place is free", async || app.get("/datasets/none").await.status == 404).await;
}

#[tokio::test]
async fn a_deletion_goes_on_whoever_leaves_and_has_its_place() {
    let setup = one_place();
    let (path, folder) = dataset(&setup);
    let app = setup.start().await;
    let mut pipe = Pipe::at(&folder.join("dataset.json"));
    hang_up(&app, app.ask(Method::DELETE, &path), &mut pipe).await;
    assert_eq!((app.get("/datasets/none").await.status, folder.exists()), (503, true));
    pipe.let_go();
    eventually("it is gone", async || !folder.exists()).await;
    eventually("its place is free", async || app.get(&path).await.status == 404).await;
}

#[tokio::test]
async fn a_download_that_is_checked_has_its_place_until_that_is_done() {
    let setup = one_place().with(Tiny::Colours, "colours").configured(|config| {
        // The file that is replaced is not to be found by a scan.
        config.models.scan_interval = std::time::Duration::from_secs(3600);
    });
    let graph = setup.repository().root().join("colours/1/graph.onnx");
    let whole = fs::read(&graph).expect("it was published");
    let app = setup.start().await;
    let path = "/models/colours/versions/1/onnx";
    // This scan is behind the first one.
    app.send(app.ask(Method::DELETE, "/models/colours/versions/9")).await.problem(404, "unknown_version", "");
    let mut pipe = Pipe::at(&graph);
    hang_up(&app, app.ask(Method::GET, path), &mut pipe).await;
    app.get(path).await.problem(503, "busy", "as many models are being downloaded as may");
    fs::remove_file(&graph).and_then(|()| fs::write(&graph, whole)).expect("it can be put back");
    pipe.let_go();
    eventually("its place is free", async || app.get(path).await.status == 200).await;
}

/// Nothing holds its work up: it receives as long as something is sent.
#[tokio::test]
async fn a_file_that_is_cut_off_has_no_place_and_leaves_nothing() {
    let setup = Setup::empty().configured(|config| {
        config.models.max_import_bytes = 1 << 20;
        config.server.max_client_percent = 25;
    });
    let files = setup.config().data.dir.join("imports");
    let received = || fs::read_dir(&files).map_or(0, Iterator::count);
    let app = setup.start().await;
    let head = "POST /jobs/import?name=cut HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
                Content-Length: 100000\r\n\r\n";
    let cut = app.asked([127, 0, 0, 1].into(), &[head.as_bytes(), &[7; 50_000]].concat()).await;
    eventually("it is being received", async || received() > 0).await;
    let another =
        async || app.send(app.post_typed("/jobs/import?name=other", "application/octet-stream", b"none".to_vec())).await;
    another().await.problem(503, "busy", "are being received or wait for their jobs");
    drop(cut);
    eventually("its place is free", async || another().await.status != 503).await;
    eventually("nothing of it is left", async || received() == 0).await;
}

#[tokio::test]
async fn a_plan_has_the_place_of_its_key_until_it_is_made() {
    let (planner, gate) = Plans::gated();
    let setup = Setup::empty();
    let create = ["keys", "create", "phone", "--scope", "train", "--in-flight", "1"];
    let key = Ran::graft(&setup.config().models.dir, &create).ok().trim().to_owned();
    let (app, _) = setup.with_jobs(planner).await;
    let ask = |name: &str| finetune(&app, "?dry_run=true", &json!({"name": name})).bearer_auth(&key);
    let first = tokio::spawn(ask("slow").send());
    gate.reached.notified().await;
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()), "its client has left");
    for _ in 0..20 {
        app.get("/healthz").await.ok();
    }
    Answer::to(ask("cats")).await.problem(429, "rate_limited", "");
    gate.open.send(()).expect("the planner waits");
    eventually("its place is free", async || Answer::to(ask("cats")).await.status == 200).await;
}
