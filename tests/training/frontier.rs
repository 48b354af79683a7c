//! The frontier cache over a small model of its own: numbers, resumption, bounds, mirrors and refusals.

use std::{num::NonZeroUsize, path::Path, sync::atomic::AtomicUsize};

use graft::{
    arch::{Activation, Architecture, Builder, Description, LayerKind, Padding, Transfer},
    datasets::Split,
    graph::Graph,
    preprocess::{Decoder, Limits},
    registry::{ModelVersion, Provenance, Repository, import_weights},
    runtime::{LoadedGraph, Runtime},
    tensor::Tensor,
    training::{
        Error, Estimate, Sample, Samples, TrainValSplit,
        batches::Pick,
        cache::{Context, Filled, FrontierCache},
        recipe::{Recipe, Request},
    },
    weights::seeded::Seeded,
};
use serde_json::json;

use crate::case::{CPU, runtime};

/// Two parallel paths behind a first convolution, joined; their weights are seeded.
fn small() -> Architecture {
    let conv = |filters| LayerKind::Conv2D {
        filters,
        kernel: [3, 3],
        strides: [1, 1],
        padding: Padding::Same,
        use_bias: true,
        activation: Activation::Relu,
    };
    let mut model = Builder::new([8, 8, 3]);
    let first = model.named("first", conv(4), &[0]);
    let left = model.named("left", conv(2), &[first]);
    let right = model.named("right", conv(3), &[first]);
    let right = model.named("right2", conv(3), &[right]);
    let joined = model.named("joined", LayerKind::Concatenate, &[left, right]);
    model.finish(
        joined,
        Description { name: "small", include_top: false, features_layer: "joined", transfer: Transfer::default() },
    )
}

/// A published model, drawn images and a folder for caches.
struct Bench {
    root: tempfile::TempDir,
    runtime: Runtime,
    base: ModelVersion,
    samples: Samples,
    decoder: Decoder,
}

const IMAGES: usize = 10;

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let repository = Repository::open(root.path().join("models")).expect("a repository");
        let provenance = Provenance { source: "seed:1".to_owned(), pretrained: true };
        let base = import_weights(&repository, "small", &small(), &mut Seeded::perturbed(1), provenance).expect("published");
        let images = (0..IMAGES).map(|number| drawn(root.path(), number)).collect();
        let samples =
            Samples { fingerprint: "f".to_owned(), classes: vec!["a".to_owned(), "b".to_owned()], images, warnings: Vec::new() };
        std::fs::create_dir(root.path().join("cache")).expect("a folder");
        let decoder = Decoder::alone(Limits { max_bytes: 1 << 20, max_pixels: 1 << 20 });
        Self { runtime: runtime(), base, samples, root, decoder }
    }

    fn recipe(&self, phase: serde_json::Value, flip: bool) -> Recipe {
        self.recipe_of(&[phase], flip)
    }

    fn recipe_of(&self, phases: &[serde_json::Value], flip: bool) -> Recipe {
        let body = json!({"dataset": "d", "name": "n", "phases": phases, "horizontal_flip": flip});
        let request: Request = serde_json::from_value(body).expect("a request");
        request.resolve(&self.base, &self.samples).expect("a sound request")
    }

    fn context<'a>(&'a self, root: &'a Path, bound: u64) -> Context<'a> {
        Context {
            runtime: &self.runtime,
            base: &self.base,
            choice: CPU,
            threads: NonZeroUsize::new(2).expect("not 0"),
            decoder: &self.decoder,
            root,
            bound,
        }
    }

    fn cache_root(&self) -> std::path::PathBuf {
        self.root.path().join("cache")
    }
}

/// A bitmap of 12 × 10 pixels without any symmetry.
fn drawn(folder: &Path, number: usize) -> Sample {
    let (width, height) = (12_u32, 10_u32);
    let mut bytes = b"BM".to_vec();
    bytes.extend((54 + width * height * 3).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(54_u32.to_le_bytes());
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes.extend((0..width * height * 3).map(|at| ((at * 7 + at * at * (number as u32 + 3)) % 251) as u8));
    let file = folder.join(format!("{number}.bmp"));
    std::fs::write(&file, bytes).expect("written");
    Sample { path: format!("{number}.bmp"), file, class: number % 2, split: Split::Train }
}

fn picks() -> Vec<Pick> {
    (0..IMAGES as u32).map(|image| Pick { image, flipped: false }).collect()
}

/// Name and size of every file in the folders of `root`.
fn files(root: &Path) -> Vec<(String, u64)> {
    let entries = |folder: &Path| std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let file =
        |entry: std::fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().expect("a file").len());
    entries(root).flat_map(|folder| entries(&folder.path()).map(file).collect::<Vec<_>>()).collect()
}

fn fill(cache: &mut FrontierCache<'_>, picks: &[Pick]) -> Vec<Filled> {
    let mut seen = Vec::new();
    let result = cache.fill(picks, &mut |progress| {
        seen.push(progress);
        true
    });
    result.expect("filled");
    seen
}

/// What one session over the whole batch gives at `tensor`.
fn reference(bench: &Bench, tensor: &str) -> Vec<f32> {
    let graph = Graph::read(&bench.base.graph_path()).expect("a graph").cut(&[tensor]).expect("a tensor");
    let loaded = LoadedGraph::whole(&graph).expect("its weights are there");
    let mut session = bench.runtime.session(loaded.source(), CPU).expect("a session");
    let limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 20 };
    let image = |sample: &Sample| {
        let bytes = std::fs::read(&sample.file).expect("read");
        let decoded = graft::preprocess::decode(&bytes, &limits).expect("decoded");
        graft::preprocess::prepare(decoded, &bench.base.metadata.preprocessing).0.into_parts().1
    };
    let data: Vec<f32> = bench.samples.images.iter().flat_map(image).collect();
    let input = Tensor::new(vec![IMAGES, 3, 8, 8], data).expect("as many values");
    session.run(&input).expect("run").remove(0).into_parts().1
}

fn close(found: &[f32], expected: &[f32]) -> bool {
    let error: f32 = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f32 = expected.iter().map(|value| value.powi(2)).sum();
    found.len() == expected.len() && norm > 0.0 && (error / norm).sqrt() < 1e-6
}

#[test]
fn several_tensors_come_back_as_the_serving_runtime_computes_them() {
    let bench = Bench::new();
    let recipe = bench.recipe(json!({"trainable_from": "right2"}), false);
    let names: Vec<&str> = recipe.phases[0].frontier.iter().map(|tensor| tensor.tensor.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let root = bench.cache_root();
    let mut cache =
        FrontierCache::open(bench.context(&root, 1 << 30), &recipe, &recipe.phases[0], &bench.samples).expect("opened");
    let seen = fill(&mut cache, &picks());
    assert_eq!(seen.last(), Some(&Filled { done: IMAGES, total: IMAGES }));
    assert_eq!(cache.warning(), None);
    let batch = cache.batch(&picks(), IMAGES + 1).expect("read");
    for (tensor, name) in batch.iter().zip(names) {
        let (filled, padding) = tensor.data().split_at(tensor.data().len() / (IMAGES + 1) * IMAGES);
        assert!(close(filled, &reference(&bench, name)), "{name}");
        assert!(padding.iter().all(|&value| value == 0.0), "{name}");
    }
}

#[test]
fn pooled_vectors_are_means() {
    let bench = Bench::new();
    let recipe = bench.recipe(json!({"trainable": "head"}), false);
    let root = bench.cache_root();
    let mut cache =
        FrontierCache::open(bench.context(&root, 1 << 30), &recipe, &recipe.phases[0], &bench.samples).expect("opened");
    let batch = cache.batch(&picks(), IMAGES).expect("computed");
    assert_eq!(batch[0].shape(), [IMAGES, 5]);
    let means: Vec<f32> = reference(&bench, "joined").chunks(64).map(|map| map.iter().sum::<f32>() / 64.0).collect();
    assert!(close(batch[0].data(), &means));
}

#[test]
fn cached_resumed_and_computed_numbers_are_the_same_bits() {
    let bench = Bench::new();
    let recipe = bench.recipe(json!({"trainable_from": "right2"}), true);
    let root = bench.cache_root();
    let open =
        |bound| FrontierCache::open(bench.context(&root, bound), &recipe, &recipe.phases[0], &bench.samples).expect("opened");
    let division = TrainValSplit::of(&bench.samples, Some(0.2), 0);
    let picks = division.picks(true);
    assert_eq!(picks.len(), 18, "8 images twice, 2 once");
    let computed = open(1 << 30).batch(&picks, 18).expect("computed");
    std::fs::remove_dir_all(&root).expect("removed");
    std::fs::create_dir(&root).expect("made");
    let asked = AtomicUsize::new(0);
    let stopped = open(1 << 30).fill(&picks[..10], &mut |progress| {
        asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        progress.done == 0
    });
    assert!(matches!(stopped, Ok(()) | Err(Error::Cancelled)), "{stopped:?}");
    let mut cache = open(1 << 30);
    fill(&mut cache, &picks);
    assert_eq!(fill(&mut open(1 << 30), &picks), [Filled { done: 18, total: 18 }], "nothing is left to do");
    let bits =
        |batch: Vec<Tensor>| batch.iter().flat_map(|tensor| tensor.data()).map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(cache.batch(&picks, 18).expect("read")), bits(computed));
    let image = division.train[0];
    let [plain, mirror] = [false, true].map(|flipped| bits(cache.batch(&[Pick { image, flipped }], 1).expect("read")));
    assert_ne!(plain, mirror);
}

#[test]
fn one_pass_gives_every_phase_its_tensors() {
    let bench = Bench::new();
    let root = bench.cache_root();
    let phases = [json!({"trainable": "head"}), json!({"trainable_from": "right2"}), json!({"trainable_from": 0})];
    let recipe = bench.recipe_of(&phases, true);
    let open = |recipe: &Recipe, phase: usize| {
        FrontierCache::open(bench.context(&root, 1 << 30), recipe, &recipe.phases[phase], &bench.samples).expect("opened")
    };
    let mirrored = picks().into_iter().map(|pick| Pick { flipped: true, ..pick });
    let picks: Vec<Pick> = picks().into_iter().chain(mirrored).collect();
    let whole = [Filled { done: 20, total: 20 }];
    fill(&mut open(&recipe, 0), &picks[..7]);
    assert_eq!(fill(&mut open(&recipe, 0), &picks)[0], Filled { done: 7, total: 20 });
    let bits =
        |batch: Vec<Tensor>| batch.iter().flat_map(|tensor| tensor.data()).map(|value| value.to_bits()).collect::<Vec<_>>();
    let read = |phase: usize| {
        let mut cache = open(&recipe, phase);
        assert_eq!(fill(&mut cache, &picks), whole, "nothing is left to do for phase {phase}");
        bits(cache.batch(&picks, 20).expect("read"))
    };
    let read: Vec<_> = (0..3).map(read).collect();
    // What else a pass gives is part of what it is.
    let caches = || std::fs::read_dir(&root).expect("a folder").count();
    let (before, mut flat) = (caches(), recipe.clone());
    flat.phases[0].frontier[0].pooled = false;
    open(&flat, 1);
    assert_eq!(caches(), before + 2, "its own, and that of the last phase");
    for (phase, read) in phases.into_iter().zip(read) {
        std::fs::remove_dir_all(&root).expect("removed");
        std::fs::create_dir(&root).expect("made");
        let alone = bench.recipe_of(std::slice::from_ref(&phase), true);
        assert_eq!(bits(open(&alone, 0).batch(&picks, 20).expect("computed")), read, "{phase}");
    }
}

#[test]
fn what_lies_on_the_way_keeps_to_the_bound() {
    let bench = Bench::new();
    let root = bench.cache_root();
    let recipe = bench.recipe_of(&[json!({"trainable": "head"}), json!({"trainable_from": "right2"})], false);
    let [head, top] = &recipe.phases[..] else { panic!("two phases") };
    // The other files of a cache count too, a block each.
    let (of_head, bound) = (10 * head.frontier_bytes_per_image, 10 * head.frontier_bytes_per_image + 7000);
    assert!(bound < of_head + 10 * top.frontier_bytes_per_image);
    fill(&mut FrontierCache::open(bench.context(&root, bound), &recipe, head, &bench.samples).expect("opened"), &picks());
    let files = files(&root);
    let tensors: u64 = files.iter().filter(|(name, _)| name.ends_with(".f32")).map(|(_, bytes)| bytes).sum();
    assert!((of_head + 1..=bound).contains(&tensors), "{files:?}");
}

#[test]
fn what_does_not_fit_is_computed_anew() {
    let bench = Bench::new();
    let recipe = bench.recipe(json!({"trainable_from": "right2"}), false);
    let root = bench.cache_root();
    let bytes = recipe.phases[0].frontier_bytes_per_image;
    let mut cache =
        FrontierCache::open(bench.context(&root, 4 * bytes), &recipe, &recipe.phases[0], &bench.samples).expect("opened");
    let warning = cache.warning().expect("six do not fit");
    assert!(warning.contains("6 of 10 images") && warning.contains("`training.cache_bytes`"), "{warning}");
    assert_eq!(fill(&mut cache, &picks()).last(), Some(&Filled { done: 4, total: 4 }));
    let batch = cache.batch(&picks(), IMAGES).expect("read and computed");
    assert!(close(batch[0].data(), &reference(&bench, &recipe.phases[0].frontier[0].tensor)));
}

#[test]
fn the_image_itself_can_be_the_frontier() {
    let bench = Bench::new();
    let recipe = bench.recipe(json!({"trainable_from": 0}), false);
    let root = bench.cache_root();
    let mut cache =
        FrontierCache::open(bench.context(&root, 1 << 30), &recipe, &recipe.phases[0], &bench.samples).expect("opened");
    fill(&mut cache, &picks());
    let plain = cache.batch(&picks(), IMAGES).expect("read").remove(0);
    assert_eq!(plain.shape(), [IMAGES, 3, 8, 8]);
    drop(cache);

    let recipe = bench.recipe(json!({"trainable_from": 0}), true);
    let mut cache =
        FrontierCache::open(bench.context(&root, 1 << 30), &recipe, &recipe.phases[0], &bench.samples).expect("opened");
    let flipped: Vec<Pick> = picks().into_iter().map(|pick| Pick { flipped: true, ..pick }).collect();
    let told = fill(&mut cache, &[picks(), flipped.clone()].concat());
    assert_eq!(told[0], Filled { done: IMAGES, total: 2 * IMAGES }, "the same cache has the images as they are");
    let mirrored = cache.batch(&flipped, IMAGES).expect("read").remove(0);
    let rows = |tensor: &Tensor| tensor.data().chunks_exact(8).map(<[f32]>::to_vec).collect::<Vec<_>>();
    let expected = rows(&plain).into_iter().map(|row| row.into_iter().rev().collect::<Vec<f32>>()).collect::<Vec<_>>();
    assert_eq!(rows(&mirrored), expected);
}

#[test]
fn what_changed_or_broke_is_named() {
    let mut bench = Bench::new();
    let recipe = bench.recipe(json!({"trainable": "head"}), false);
    let root = bench.cache_root();
    let file = bench.samples.images[3].file.clone();
    std::fs::write(&file, b"BM").expect("written");
    let mut cache =
        FrontierCache::open(bench.context(&root, 1 << 30), &recipe, &recipe.phases[0], &bench.samples).expect("opened");
    let broken = cache.fill(&picks(), &mut |_| true).expect_err("an image is broken");
    assert!(broken.to_string().contains("3.bmp"), "{broken}");
    drop(cache);
    bench.samples.fingerprint = "g".to_owned();
    let changed = FrontierCache::open(bench.context(&root, 1 << 30), &recipe, &recipe.phases[0], &bench.samples).err();
    assert!(matches!(changed, Some(Error::DatasetChanged { dataset }) if dataset == "d"));
}

#[test]
fn a_dry_run_estimates_without_touching_caches() {
    let bench = Bench::new();
    let recipe = bench.recipe(json!({"trainable_from": "right2"}), false);
    let root = bench.root.path().join("none");
    let estimate = Estimate::measured(bench.context(&root, 1 << 30), &recipe, &bench.samples).expect("measured");
    assert_eq!(estimate.cache_bytes, 10 * recipe.phases[0].frontier_bytes_per_image);
    assert!(estimate.minutes > 0.0 && estimate.minutes < 1.0, "{estimate:?}");
    assert!(!root.exists());
}
