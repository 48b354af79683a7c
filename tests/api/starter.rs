//! The first answer: the starter's real weights, as `make starter` brings them, on the repository's own photos.

use std::path::Path;

use graft::registry::import_keras;

use crate::support::{Ran, Setup};

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
        let mut server = crate::support::Graft::serve(&models, "vgg16", &[("GRAFT__MODELS__STARTER", WEIGHTS)]);
        server.kill();
        let versions: Vec<String> = listed().lines().map(str::to_owned).collect();
        assert_eq!(versions.len(), 1, "it is taken in once: {versions:?}");
        assert!(versions[0].starts_with("efficientnet_lite0") && versions[0].contains("1000 classes"), "{versions:?}");
    }
}
