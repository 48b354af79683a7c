//! graft's half of `make trajectory`: runs the recipes that `trajectory.py` wrote as the trainer runs a job, and writes the
//! head that they begin with and every step's images and loss.
//!
//! Knows nothing of Keras; `trajectory.py` compares.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow};
use graft::{
    config::{self, Config, Provider, ProviderChoice, ProviderPolicy, Sources},
    datasets::{Datasets, ReadAs},
    graph::Graph,
    preprocess::{Decoder, Limits},
    registry::{self, Metadata, ModelVersion, Repository, Staging, import_keras},
    runtime::Runtime,
    tensor::{Dtype, little_endian, npz::NpzWriter},
    training::{
        self, Made, Publisher, Samples, TrainValSplit,
        batches::Batches,
        cache,
        event::{Event, Observer, Position},
        recipe::{Recipe, Request},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;

const CPU: ProviderChoice = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };

/// What `trajectory.py prepare` wrote.
#[derive(Deserialize)]
struct Cases {
    /// InceptionV3's weights.
    weights: PathBuf,
    /// Bodies of `POST /jobs/finetune`, by name.
    recipes: BTreeMap<String, Request>,
}

/// A step, as `trajectory.py compare` takes it again.
#[derive(Serialize)]
struct Step {
    phase: usize,
    loss: f64,
    /// Paths in the data set, in the batch's order.
    images: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("which folder did `trajectory.py prepare` write?")?);
    let cases: Cases = serde_json::from_slice(&fs::read(folder.join("cases.json"))?)?;
    let bench = Bench::new(&folder, &cases.weights)?;
    let first = cases.recipes.values().next().context("cases.json has no recipe")?;
    write_head(&folder.join("head.npz"), &bench.head(first)?)?;
    let mut runs = BTreeMap::new();
    for (name, request) in &cases.recipes {
        let (_, steps) = bench.run(name, request)?;
        println!("{name}: {} steps", steps.len());
        runs.insert(name, steps);
    }
    fs::write(folder.join("runs.json"), serde_json::to_vec(&runs)?)?;
    Ok(())
}

/// Takes whatever a run makes.
struct Shelf<'a> {
    repository: &'a Repository,
    name: &'a str,
}

impl Shelf<'_> {
    fn refused(&self, source: registry::Error) -> training::Error {
        training::Error::Register { name: self.name.to_owned(), source: source.into() }
    }
}

impl Publisher for Shelf<'_> {
    fn published(&self) -> Result<Option<ModelVersion>, training::Error> {
        Ok(None)
    }

    fn rehearse(&self, _: u64) -> Result<(), training::Error> {
        Ok(())
    }

    fn stage(&self) -> Result<Staging, training::Error> {
        self.repository.stage(self.name).map_err(|source| self.refused(source))
    }

    fn publish(&self, staging: Staging, metadata: Metadata, _: &Made<'_>) -> Result<ModelVersion, training::Error> {
        staging.publish(metadata).map_err(|source| self.refused(source))
    }
}

/// An imported model, a data set, and a folder for what runs leave behind.
struct Bench {
    config: Config,
    runtime: Runtime,
    repository: Repository,
    base: ModelVersion,
    samples: Samples,
    scratch: tempfile::TempDir,
}

impl Bench {
    fn new(folder: &Path, weights: &Path) -> anyhow::Result<Self> {
        let config = config::load(&Sources::from_process())?;
        let scratch = tempfile::tempdir_in(folder)?;
        let repository = Repository::open(scratch.path().join("models"))?;
        let base = import_keras(&repository, Some("base"), "inception_v3", weights, "keras:trajectory".to_owned())?;
        let datasets = Datasets::open(config.datasets.clone(), scratch.path(), Limits::from(&config.images))?;
        let photos = datasets.copy_folder(&folder.join("photos"), ReadAs::default())?;
        let samples = Samples::from(&*photos);
        Ok(Self { runtime: Runtime::open(&config.runtime)?, config, repository, base, samples, scratch })
    }

    /// The model that comes out, and every step on the way to it.
    fn run(&self, name: &str, request: &Request) -> anyhow::Result<(ModelVersion, Vec<Step>)> {
        let recipe = request.resolve(&self.base, &self.samples).map_err(|problems| anyhow!("{name}: {problems:?}"))?;
        let root = self.scratch.path().join("cache");
        fs::create_dir_all(&root)?;
        let decoder = Decoder::alone(Limits::from(&self.config.images));
        let context = training::Context {
            cache: cache::Context {
                runtime: &self.runtime,
                base: &self.base,
                choice: CPU,
                threads: NonZeroUsize::new(self.config.training.threads).unwrap_or(NonZeroUsize::MIN),
                decoder: &decoder,
                root: &root,
                bound: self.config.training.cache_bytes,
            },
            publisher: &Shelf { repository: &self.repository, name: &recipe.name },
            checkpoint_interval: self.config.training.checkpoint_interval,
            folder: &self.scratch.path().join("runs").join(name),
            job: name,
            lease: 0,
        };
        let losses = Losses::default();
        let outcome = training::run(context, &recipe, &self.samples, &losses)?;
        let losses = losses.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let steps = losses.into_iter().map(|(at, loss)| Step { phase: at.phase, loss, images: self.images(&recipe, at) });
        Ok((outcome.version, steps.collect()))
    }

    /// The head that recipes with this seed begin with: that of a model whose steps are too small to change a number.
    fn head(&self, request: &Request) -> anyhow::Result<Graph> {
        let phase = json!({"trainable": "head", "epochs": 1, "optimizer": {"type": "sgd", "learning_rate": 1e-30}});
        let request = Request { phases: Some(vec![serde_json::from_value(phase)?]), ..request.clone() };
        let (version, _) = self.run("still", &request)?;
        Ok(Graph::read(&version.graph_path())?)
    }

    /// What the trainer took for the step that ended at `at`.
    fn images(&self, recipe: &Recipe, at: Position) -> Vec<String> {
        let division = TrainValSplit::of(&self.samples, recipe.validation.split, recipe.seed);
        let batches = Batches {
            train: &division.train,
            classes: &self.samples.labels(),
            class_weights: &recipe.class_weights,
            batch_size: recipe.batch_size,
            horizontal_flip: recipe.horizontal_flip,
            seed: recipe.seed,
            phase: u32::try_from(at.phase).unwrap_or(u32::MAX),
        };
        let batch = batches.epoch(at.epoch).batch(at.step - 1);
        let images = batch.map(|batch| batch.images).unwrap_or_default();
        images.iter().map(|pick| self.samples.images[pick.image as usize].path.clone()).collect()
    }
}

fn write_head(path: &Path, graph: &Graph) -> anyhow::Result<()> {
    let mut writer = NpzWriter::new(File::create(path)?);
    for name in ["dense/kernel", "dense/bias", "predictions/kernel", "predictions/bias"] {
        let tensor = graph.stored(name)?;
        writer.add(name, Dtype::F32, tensor.shape(), &little_endian(Dtype::F32, tensor.data())?)?;
    }
    writer.finish()?;
    Ok(())
}

/// Follows a run: every step's place and loss.
#[derive(Default)]
struct Losses(Mutex<Vec<(Position, f64)>>);

impl Observer for Losses {
    fn event(&self, event: Event) {
        if let Event::Step { at, loss, .. } = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((at, loss));
        }
    }

    fn flush(&self) {}

    fn checkpointed(&self, _at: Position) {}

    fn cancelled(&self) -> bool {
        false
    }
}
