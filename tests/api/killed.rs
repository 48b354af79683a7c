//! A server that is killed at eleven moments, from an upload to a registration: nothing is lost, nothing half-made stays,
//! nothing is told twice, and the weights are the same bits as without kills. So it is with kills within an epoch.

use std::{
    collections::HashSet,
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use graft::registry::{Calibration, Metadata, Novelty};
use serde_json::{Value, json};

use crate::{
    finetune::drawings,
    support::{Graft, Setup, Tiny, eventually},
};

const JSON: &str = "application/json";
/// Drawings of each of the three shapes.
const DRAWINGS: usize = 200;
/// Longer than any epoch here.
const WHOLE_EPOCHS: &str = "30000";
const HEAD_EPOCHS: u64 = 2;
const EPOCHS: u64 = 4;
/// One checkpoint per epoch, and one per phase.
const LAST_CHECKPOINT: u64 = HEAD_EPOCHS + 1 + EPOCHS + 1;

/// A server over folders that outlive it, and what they show from outside.
struct Site {
    setup: Setup,
    graft: Graft,
    /// Between checkpoints within an epoch, in milliseconds.
    interval: &'static str,
    /// What was awaited before each kill.
    kills: Vec<&'static str>,
}

impl Site {
    fn new(interval: &'static str) -> Self {
        let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
        let graft = Self::start(&setup, interval);
        Self { setup, graft, interval, kills: Vec::new() }
    }

    fn start(setup: &Setup, interval: &str) -> Graft {
        // A killed worker's job is another's after two seconds instead of half a minute. Nobody reads the log of requests, and
        // a full pipe would stop the server.
        let variables = [
            ("GRAFT__JOBS__LEASE_MS", "2000"),
            ("GRAFT__JOBS__MAX_ATTEMPTS", "10"),
            ("GRAFT__TRAINING__CHECKPOINT_INTERVAL_MS", interval),
            ("GRAFT__TELEMETRY__LOG_LEVEL", "warn,graft::app=info"),
        ];
        Graft::serve(&setup.config().models.dir, "seeded", &variables)
    }

    /// Kills the server as soon as `holds`, and starts the next one once `look` has seen what the kill left.
    async fn kill(&mut self, moment: &'static str, mut holds: impl FnMut(&Self) -> bool, look: impl FnOnce(&Self)) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("never came: {moment}"));
        self.graft.kill();
        look(self);
        self.graft = Self::start(&self.setup, self.interval);
        self.kills.push(moment);
    }

    fn data(&self, folder: &str) -> PathBuf {
        self.setup.config().data.dir.join(folder)
    }

    /// Uploads being received or unpacked, by folder.
    fn uploads(&self) -> Vec<PathBuf> {
        hidden(&self.data("datasets"))
    }

    /// Records of each cache that has any.
    fn records(&self) -> Vec<usize> {
        let sums = entries(&self.data("cache")).into_iter().filter_map(|cache| std::fs::read(cache.join("checksums.u32")).ok());
        sums.map(|sums| sums.chunks(4).filter(|sum| **sum != [0; 4]).count()).filter(|count| *count > 0).collect()
    }

    /// Number of the newest checkpoint of any job.
    fn checkpoint(&self) -> u64 {
        let files = entries(&self.data("jobs")).into_iter().flat_map(|job| entries(&job));
        // `WRITER-NUMBER.safetensors`.
        files.filter_map(|file| file.file_stem()?.to_str()?.split_once('-')?.1.parse().ok()).max().unwrap_or(0)
    }

    /// Versions of the job's model, and those in the making.
    fn versions(&self) -> [usize; 2] {
        let models = &self.setup.config().models.dir;
        let versions = entries(&models.join("shapes"));
        [versions.iter().filter(|path| path.extension().is_none()).count(), hidden(models).len()]
    }

    async fn upload(&self) -> String {
        let answer = self.graft.post("/datasets", "application/zip", drawings(DRAWINGS, 1)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("a data set has an id").to_owned()
    }

    /// Submits the recipe and gives the job's path.
    async fn submit(&self, dataset: &str) -> String {
        let recipe = json!({
            "dataset": dataset,
            "base": "seeded",
            "name": "shapes",
            "head": {"pool": "flatten", "hidden": [64], "dropout": 0.25},
            "horizontal_flip": true,
            "phases": [
                {"trainable": "head", "epochs": HEAD_EPOCHS, "optimizer": {"type": "rmsprop"}},
                {"trainable_from": "conv2d_1", "epochs": EPOCHS, "optimizer": {"type": "adam", "learning_rate": 0.002}},
            ],
        });
        let answer = self.graft.post("/jobs/finetune", JSON, recipe.to_string()).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.header("location").to_owned()
    }

    async fn succeeded(&self, job: &str) {
        let ended = self.graft.ended(job).await;
        let epochs = ended["history"].as_array().map(Vec::len);
        assert_eq!((&ended["state"], epochs), (&json!("succeeded"), Some((HEAD_EPOCHS + EPOCHS) as usize)), "{ended}");
    }

    /// Hash of the weights of the only version, and what else is told by bits.
    fn bits(&self) -> (String, Option<Calibration>, Option<Novelty>, Vec<u8>) {
        let snapshot = self.setup.repository().scan().expect("the repository can be read");
        let versions = &snapshot.model("shapes").expect("it was registered").versions;
        assert_eq!(versions.len(), 1, "it was registered once");
        let Metadata { weights, calibration, novelty, .. } = &*versions[0].metadata;
        let references = std::fs::read(versions[0].dir().join("novelty.npy")).expect("they are published");
        (weights.sha256.clone(), calibration.clone(), novelty.clone(), references)
    }
}

#[tokio::test]
async fn kills_from_upload_to_registration_lose_nothing() {
    let mut site = Site::new(WHOLE_EPOCHS);
    let archive = drawings(DRAWINGS, 1);
    let _half = send(&site.graft, &archive[..archive.len() / 2], archive.len());
    let arriving = |site: &Site| site.uploads().iter().any(|upload| size(&upload.join("archive")) > 0);
    site.kill("an archive arrives", arriving, |site| assert_eq!(site.uploads().len(), 1)).await;
    let _whole = send(&site.graft, &archive, archive.len());
    let unpacking = |site: &Site| site.uploads().iter().any(|upload| !entries(&upload.join("images")).is_empty());
    site.kill("an archive is unpacked", unpacking, |site| assert_eq!(site.uploads().len(), 1)).await;
    assert_eq!((site.uploads().len(), site.graft.get("/datasets").await["datasets"].as_array().map(Vec::len)), (0, Some(0)));

    let dataset = site.upload().await;
    let job = site.submit(&dataset).await;
    let all = 2 * 3 * DRAWINGS;
    site.kill(
        "the first images are cached",
        |site| !site.records().is_empty(),
        |site| assert!(site.records()[0] < all, "{:?}", site.records()),
    )
    .await;
    let before = site.records()[0];
    site.kill(
        "more images are cached",
        |site| site.records()[0] > before,
        |site| assert!(site.checkpoint() == 0, "{:?} of {all}", site.records()),
    )
    .await;
    site.kill("the head trains", |site| site.checkpoint() >= 1, |site| assert!(site.checkpoint() < 3)).await;
    let [of_head, of_top] = site.records()[..] else { panic!("two caches: {:?}", site.records()) };
    assert_eq!(of_head, of_top, "one pass gave both");
    for (moment, at) in [("top and head train", 4), ("they train on", 6)] {
        site.kill(moment, |site| site.checkpoint() >= at, |site| assert!(site.checkpoint() < LAST_CHECKPOINT)).await;
    }
    let evaluating = |site: &Site| site.checkpoint() >= LAST_CHECKPOINT;
    site.kill("the best epoch is evaluated", evaluating, |site| assert_eq!(site.versions(), [0, 0])).await;
    // Before it trains, a job tries whether a version could be written: such a folder has no weights.
    let is_written = |staging: &PathBuf| staging.join("weights.bin").exists();
    let exporting = |site: &Site| hidden(&site.setup.config().models.dir).iter().any(is_written);
    site.kill("it is exported", exporting, |site| assert_eq!(site.versions(), [0, 1])).await;
    site.kill("it is registered", |site| site.versions()[0] > 0, |site| assert_eq!(site.versions(), [1, 0])).await;
    // The last kill may come when the job's end is written already.
    let had_ended = site.graft.get(&job).await["state"] == "succeeded";
    site.succeeded(&job).await;
    let events = site.graft.events(&job).await;
    // Those of the upload were no kills of the job, and those before the first checkpoint left nothing to resume from.
    check_events(&events, site.kills.len() - 4 - usize::from(had_ended));
    eventually("the checkpoints are removed", async || entries(&site.data("jobs")).is_empty()).await;

    let undisturbed = Site::new(WHOLE_EPOCHS);
    let job = undisturbed.submit(&undisturbed.upload().await).await;
    undisturbed.succeeded(&job).await;
    assert_eq!(site.bits(), undisturbed.bits());
}

#[tokio::test]
async fn kills_within_an_epoch_lose_nothing() {
    let mut site = Site::new("0");
    let job = site.submit(&site.upload().await).await;
    for (moment, at) in [("the head trains", 7), ("it trains on", 21), ("the top trains", 50)] {
        site.kill(moment, |site| site.checkpoint() >= at, |_| ()).await;
    }
    site.succeeded(&job).await;
    check_events(&site.graft.events(&job).await, site.kills.len());

    let undisturbed = Site::new(WHOLE_EPOCHS);
    let job = undisturbed.submit(&undisturbed.upload().await).await;
    undisturbed.succeeded(&job).await;
    assert_eq!(site.bits(), undisturbed.bits());
}

/// Sends the first part of a request for a data set of `length` bytes; its answer is never read.
fn send(graft: &Graft, part: &[u8], length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(graft.address).expect("it listens");
    let head = format!(
        "POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), part].concat()).expect("it reads");
    stream
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn hidden(dir: &Path) -> Vec<PathBuf> {
    let name = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".staging-"));
    entries(dir).into_iter().filter(name).collect()
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// Ids are consecutive from 1, a place in the training is told once, the last event is the end, and the job resumed so often.
fn check_events(stream: &str, resumed: usize) {
    let values = |field: &str| stream.lines().filter_map(|line| line.strip_prefix(field)).map(str::trim).collect::<Vec<_>>();
    let (ids, kinds, data) = (values("id:"), values("event:"), values("data:"));
    let expected: Vec<String> = (1..=ids.len()).map(|id| id.to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(kinds.last(), Some(&"end"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "resumed").count(), resumed, "{kinds:?}");
    let (mut told, mut goes_on) = (HashSet::new(), None);
    for (kind, data) in kinds.iter().zip(data).filter(|(kind, _)| matches!(**kind, "resumed" | "step" | "epoch")) {
        let data: Value = serde_json::from_str(data).expect("events are JSON");
        if *kind == "resumed" {
            goes_on = Some(data);
            continue;
        }
        if let Some(from) = goes_on.take_if(|from| from["phase"] == data["phase"]) {
            // Steps behind the checkpoint may have been told before the kill: these are not told again.
            let (before, now) = (from["step"].as_u64().expect("a number"), data["step"].as_u64().expect("a number"));
            let is_told = |step| told.contains(&("step", data["phase"].as_u64(), Some(step)));
            assert!(now > before && (before + 1..now).all(is_told), "{data} after {from}");
        }
        assert!(told.insert((*kind, data["phase"].as_u64(), data["step"].as_u64())), "{kind} {data} was told twice");
    }
}
