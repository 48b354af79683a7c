//! `TestApp`: the real server on a free port of the loopback, over a temporary model repository.
//!
//! `Setup` is what goes in: tiny models and a configuration; everything ends when the `TestApp` is dropped.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use graft::{
    app::{self, App},
    config::{self, Config, Sources},
    datasets::Datasets,
    http::State,
    inference::{Engine, Settings},
    jobs::{AnyKind, Jobs, Kinds, system_clock},
    registry::Repository,
    runtime::Runtime,
    service::Service,
};
use reqwest::{Client, Method, RequestBuilder};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    time,
};

use super::{Answer, Tiny, publish};

/// Longest that [`eventually`] waits; only a broken server needs it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in the making.
pub struct Setup {
    folder: TempDir,
    repository: Repository,
    config: Config,
}

/// A server that listens; dropping it stops it.
pub struct TestApp {
    /// Where it listens.
    pub address: SocketAddr,
    /// The repository that it serves.
    pub repository: Repository,
    /// What answers, for what is held of its bounds.
    pub engine: Engine,
    client: Client,
    /// Held for its drop: the server ends when the sender is gone.
    _stop: oneshot::Sender<()>,
    _folder: TempDir,
}

impl Setup {
    /// An empty repository and the default configuration, with scans so frequent that a test need not wait.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut config = config::load(&Sources::default()).expect("the defaults are valid");
        config.server.port = 0;
        config.models.dir = folder.path().join("models");
        config.models.default = "colours".to_owned();
        config.models.preload = Some(Vec::new());
        config.models.scan_interval = Duration::from_millis(20);
        config.data.dir = folder.path().join("data");
        config.telemetry.log_level = "warn".to_owned();
        // Tests wait for jobs, whatever else the machine does.
        config.jobs.nice = 0;
        let repository = Repository::open(&config.models.dir).expect("the repository can be made");
        Self { folder, repository, config }
    }

    /// `colours`, loaded at start.
    pub fn new() -> Self {
        Self::empty().with(Tiny::Colours, "colours").configured(|config| config.models.preload = Some(vec!["colours".to_owned()]))
    }

    /// Publishes one more model.
    pub fn with(self, model: Tiny, name: &str) -> Self {
        publish(&self.repository, model, name);
        self
    }

    /// Changes the configuration; values out of a key's range are possible here and keep tests small.
    pub fn configured(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// The configuration, for a test that binds by itself.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The repository, for a test that publishes by itself.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Binds, without serving.
    pub async fn bind(&self) -> anyhow::Result<App> {
        App::bind(self.config.clone(), self.repository.clone()).await
    }

    /// Serves, without waiting for models.
    pub async fn start(self) -> TestApp {
        let app = self.bind().await.expect("the server starts");
        let (address, engine) = (app.address().expect("it is bound"), app.engine().clone());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(app.run(async { drop(stopped.await) }));
        let client = Client::builder().no_proxy().build().expect("a client without TLS can be built");
        TestApp { address, repository: self.repository, engine, client, _stop: stop, _folder: self.folder }
    }

    /// What a transport asks, with jobs that `kind` plans and nobody runs; a test runs them itself.
    pub async fn service(&self, kind: impl AnyKind + 'static) -> (Service, Jobs) {
        let Self { repository, config, .. } = self;
        let engine = Engine::new(runtime(), repository.clone(), Settings::of(config));
        let engine = engine.expect("the repository can be read");
        let jobs = Jobs::open(&config.jobs, &config.data.dir, system_clock()).await.expect("a new store");
        let datasets = Datasets::open_within(config.datasets.clone(), &config.data.dir, engine.decoder().clone());
        let datasets = datasets.expect("a new store");
        let service = Service::new(engine, datasets, &config.server);
        (service.with_jobs(jobs.clone(), Kinds::default().with("finetune", Arc::new(kind))), jobs)
    }

    /// Serves [`Self::service`].
    pub async fn with_jobs(self, kind: impl AnyKind + 'static) -> (TestApp, Jobs) {
        let (service, jobs) = self.service(kind).await;
        let engine = service.engine().clone();
        let Self { folder, repository, config } = self;
        let gate = jobs.keys().gate(config.server.auth).await.expect("a new store");
        let state = State::new(service, config.server, None).behind(gate);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(app::serve(listener, None, state, async { drop(stopped.await) }));
        let client = Client::builder().no_proxy().build().expect("a client without TLS can be built");
        (TestApp { address, repository, engine, client, _stop: stop, _folder: folder }, jobs)
    }

    /// Serves, and waits until the configured models are warm.
    pub async fn spawn(self) -> TestApp {
        let app = self.start().await;
        eventually("the configured models are warm", async || app.get("/readyz").await.status == 200).await;
        app
    }
}

impl TestApp {
    /// A server of `colours`, loaded and warm, with the default configuration.
    pub async fn spawn() -> Self {
        Setup::new().spawn().await
    }

    /// A request for `path_and_query`.
    pub fn ask(&self, method: Method, path_and_query: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path_and_query}", self.address))
    }

    /// A `POST` of one image as it is.
    pub fn post_image(&self, path_and_query: &str, image: impl Into<Vec<u8>>) -> RequestBuilder {
        self.post_typed(path_and_query, "application/octet-stream", image)
    }

    /// A `POST` of a body with its type.
    pub fn post_typed(&self, path_and_query: &str, content_type: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.ask(Method::POST, path_and_query).header("Content-Type", content_type).body(body.into())
    }

    /// A `POST` of named images as form files.
    pub fn post_form(&self, path_and_query: &str, images: &[(&str, Vec<u8>)]) -> RequestBuilder {
        use reqwest::multipart::{Form, Part};
        let file = |form: Form, (name, bytes): &(&str, Vec<u8>)| {
            form.part("image", Part::bytes(bytes.clone()).file_name((*name).to_owned()))
        };
        self.ask(Method::POST, path_and_query).multipart(images.iter().fold(Form::new(), file))
    }

    /// The answer to `request`.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::to(request).await
    }

    /// The answer to a `GET`.
    pub async fn get(&self, path_and_query: &str) -> Answer {
        self.send(self.ask(Method::GET, path_and_query)).await
    }

    /// Writes `request` as it is, and gives what comes back until the server has answered once or closes.
    pub async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"}") {
            match stream.read(&mut chunk).await {
                Ok(count @ 1..) => answer.extend_from_slice(&chunk[..count]),
                Ok(0) | Err(_) => break,
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// An open connection on which `request` was sent, whose receiver takes little that it does not read.
    pub async fn asked(&self, from: Ipv4Addr, request: &[u8]) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a socket's buffer can be small");
        socket.bind((from, 0).into()).expect("an address of the loopback");
        let mut stream = socket.connect(self.address).await.expect("it listens");
        stream.write_all(request).await.expect("it reads");
        stream
    }

    /// Waits until nothing is held of what bounds requests and their images.
    pub async fn gives_all_back(&self) {
        eventually("no memory is held", async || self.engine.admissions().memory().used() == 0).await;
        let decoding = self.engine.decoding_memory();
        eventually("nothing is decoded", async || decoding.free() == decoding.bound()).await;
        let metrics = async || self.get("/metrics").await.text();
        let is_busy = |line: &str| {
            let bounds = ["graft_queue_images{", "graft_work_running{", "graft_work_waiting{"];
            // The metrics themselves are written in that lane.
            let own = r#"graft_work_running{lane="encode"} 1"#;
            bounds.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0") && line != own
        };
        eventually("no place is taken", async || !metrics().await.lines().any(is_busy)).await;
    }

    /// The value of one line of `/metrics`, 0 when it is not there.
    pub async fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let values = text.lines().filter_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse::<f64>().ok());
        values.sum()
    }
}

/// ONNX Runtime; the first call of the process decides its threads.
pub fn runtime() -> Runtime {
    let config = config::load(&Sources::default()).expect("the defaults are valid");
    Runtime::open(&config.runtime).expect("`make library` has brought ONNX Runtime")
}

/// How many threads of this process are called `name`.
pub fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux tells").flatten();
    let called = |task: &std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.filter(|task| called(task).trim() == name).count()
}

/// Asks until `holds` says yes, and fails the test when it never does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut ticks = time::interval(Duration::from_millis(5));
    let asking = async {
        while !holds().await {
            ticks.tick().await;
        }
    };
    time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}
