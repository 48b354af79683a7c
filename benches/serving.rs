//! What serving adds: `POST /predict` over HTTP beside a bare loop over the same session, in one process and in turn.
//!
//! `GRAFT__MODELS__DIR=models cargo bench --bench serving -- PHOTO [MODEL …]`; the default model is `vgg16`.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use graft::{
    app::App,
    config::{self, Config},
    graph::Graph,
    preprocess::{self, Limits},
    registry::{ModelVersion, Repository},
    runtime::{LoadedGraph, Runtime, Session},
    tensor::Tensor,
};

const ROUNDS: usize = 30;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(photo) = arguments.next() else {
        println!("skipped: name a photo, `cargo bench --bench serving -- PHOTO [MODEL …]`");
        return Ok(());
    };
    let mut models: Vec<String> = arguments.collect();
    if models.is_empty() {
        models.push("vgg16".to_owned());
    }
    let photo = std::fs::read(&photo).with_context(|| format!("cannot read {photo}"))?;
    let mut config = config::load(&config::Sources::from_process())?;
    config.server.port = 0;
    config.models.preload = Some(models.clone());
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(config, photo, models))
}

async fn run(config: Config, photo: Vec<u8>, models: Vec<String>) -> anyhow::Result<()> {
    let repository = Repository::open(&config.models.dir)?;
    let snapshot = repository.scan()?;
    let runtime = Runtime::open(&config.runtime)?;
    let (started, choice) = (Instant::now(), config.runtime.provider);
    let app = App::bind(config, repository).await?;
    let (address, engine) = (app.address()?, app.engine().clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(app.run(async { drop(stopped.await) }));
    while !engine.readiness().missing.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("bind to ready with {}: {:.2} s; resident {} MB", models.join(", "), started.elapsed().as_secs_f64(), resident_mb());
    println!("| model | bare session ms | POST /predict ms | ratio of medians | decode ms |");
    for name in &models {
        let version = snapshot.model(name).and_then(|model| model.version(model.stable.version)).context("the model is gone")?;
        let mut bare = Bare::open(&runtime, version, choice)?;
        let url = format!("http://{address}/predict?model={name}");
        bare.compare(&url, &photo).await?;
    }
    stop.send(()).ok();
    server.await?
}

/// The session that the server runs, without the server.
struct Bare {
    name: String,
    session: Session,
    preprocessing: preprocess::Preprocessing,
}

impl Bare {
    fn open(runtime: &Runtime, version: &ModelVersion, choice: config::ProviderChoice) -> anyhow::Result<Self> {
        let graph = Graph::read(&version.graph_path())?;
        let output = version.metadata.output.as_ref().context("a model without classes")?;
        let cut = graph.cut(&[&output.tensor])?;
        let session = runtime.session(LoadedGraph::read(&cut, choice.provider)?.source(), choice)?;
        Ok(Self { name: version.metadata.name.clone(), session, preprocessing: version.metadata.preprocessing.clone() })
    }

    async fn compare(&mut self, url: &str, photo: &[u8]) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        let (mut bare, mut served, mut decode) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let started = Instant::now();
            let input = self.input(photo)?;
            let decoded = started.elapsed();
            let started = Instant::now();
            self.session.run(&input)?;
            let ran = started.elapsed();
            let started = Instant::now();
            let request = client.post(url).header("content-type", "application/octet-stream").body(photo.to_vec());
            request.send().await?.error_for_status()?.bytes().await?;
            if round > 0 {
                bare.push(ran);
                served.push(started.elapsed());
                decode.push(decoded);
            }
        }
        let [bare, served, decode] = [bare, served, decode].map(median_ms);
        println!("| {} | {bare:.1} | {served:.1} | {:.3} | {decode:.1} |", self.name, served / bare);
        Ok(())
    }

    fn input(&self, photo: &[u8]) -> anyhow::Result<Tensor> {
        let decoded = preprocess::decode(photo, &Limits { max_bytes: usize::MAX, max_pixels: u64::MAX })?;
        let (shape, data) = preprocess::prepare(decoded, &self.preprocessing).0.into_parts();
        Ok(Tensor::new(std::iter::once(1).chain(shape).collect(), data)?)
    }
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Resident memory of this process, from `/proc`.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string(PathBuf::from("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
}
