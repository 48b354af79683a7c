//! `graft evaluate`: a model on a folder of labelled photos, against its job's own report and against counts made by hand.

use std::{fs, path::Path};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    finetune::{SHAPES, draw},
    support::{Close, Ran, Setup, Tiny, plain},
};

const RED: [u8; 3] = [192, 0, 0];
const GREEN: [u8; 3] = [0, 192, 0];
const BLUE: [u8; 3] = [0, 0, 192];

/// A folder of files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    files.iter().for_each(|(path, bytes)| write(folder.path(), path, bytes));
    folder
}

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder can be made");
    fs::write(path, bytes).expect("a file can be written");
}

fn evaluate(setup: &Setup, model: &str, folder: &Path, more: &[&str]) -> Ran {
    let folder = folder.display().to_string();
    Ran::graft(&setup.config().models.dir, &[&["evaluate", model, &folder], more].concat())
}

#[test]
fn a_fine_tuned_model_is_as_good_as_its_job_said() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let photos = folder(&[]);
    for (split, count) in [("train", 12), ("val", 15), ("Test_set", 9)] {
        for (shape, number) in SHAPES.iter().flat_map(|shape| (0..count).map(move |number| (shape, number))) {
            write(photos.path(), &format!("{split}/{shape}/{number}.png"), &draw(shape, &mut random));
        }
    }
    let recipe = folder(&[]);
    let phases = json!([{"trainable_from": "conv2d", "epochs": 2, "optimizer": {"type": "adam", "learning_rate": 0.002}}]);
    let text = json!({"head": {"pool": "flatten", "hidden": [16]}, "phases": phases}).to_string();
    write(recipe.path(), "recipe.json", text.as_bytes());
    let (folder, recipe) = (photos.path().display().to_string(), recipe.path().join("recipe.json").display().to_string());
    let finetune = ["finetune", &folder, "--base", "seeded", "--name", "shapes", "--recipe", &recipe];
    let first = Ran::graft(&setup.config().models.dir, &finetune);
    assert!(first.ok().contains("on the test images, which nothing was chosen by:\naccuracy "), "{}", first.ok());
    Ran::graft(&setup.config().models.dir, &finetune).ok();
    assert_eq!(setup.repository().scan().expect("readable").model("shapes").map(|model| model.versions.len()), Some(2));

    let whole = |split: &[&str]| {
        let ran = evaluate(&setup, "shapes", photos.path(), &[&["--json"], split].concat());
        serde_json::from_str::<Value>(ran.ok()).expect("one JSON object")
    };
    let (found, tested) = (whole(&[]), whole(&["--split", "test"]));
    let head = ["model", "version", "pretrained", "split", "skipped"].map(|key| found[key].clone());
    assert_eq!(head, [json!("shapes"), json!(2), json!(true), json!("val"), json!([])]);
    let snapshot = setup.repository().scan().expect("the repository can be read");
    let version = snapshot.model("shapes").and_then(|model| model.version(1)).expect("it was registered");
    let lineage = version.metadata.lineage.as_ref().expect("it was fine-tuned");
    let test = lineage.test.as_ref().expect("there is a test folder");
    assert_eq!((&tested["split"], &tested["report"]["images"]), (&json!("test"), &json!(27)));
    for key in ["images", "correct", "accuracy", "classes", "confusion"] {
        assert_eq!(tested["report"][key], test[key], "test: {key}");
    }
    let job = lineage.metrics.clone();
    for key in ["images", "correct", "accuracy", "accuracy_interval", "classes", "confusion"] {
        assert_eq!(found["report"][key], job[key], "{key}");
    }
    let error = |report: &Value| [report["calibration_error"].as_f64().expect("a number")];
    Close::ROUNDING.check("calibration error", &error(&found["report"]), &error(&job));
    let novel = found["report"]["novel"].as_u64().expect("it is measured");
    assert!(novel <= 3, "{novel} of 45 images are beyond what 95 % of them are not");
    let loss = |report: &Value| [report["loss"].as_f64().expect("a number")];
    Close::ROUNDING.check("loss", &loss(&found["report"]), &loss(&job));
    let paths = |report: &Value| report["worst"].as_array().expect("a list").iter().map(|worst| worst["path"].clone()).collect();
    let (found, job): (Vec<Value>, Vec<Value>) = (paths(&found["report"]), paths(&job));
    assert_eq!(found, job);
    assert_eq!(found.len(), 20);
}

#[test]
fn folders_stand_for_classes_and_what_is_no_image_is_left_out() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let (red, green, blue) = (plain(RED), plain(GREEN), plain(BLUE));
    let photos = folder(&[
        ("red/a.png", &red),
        ("Green/b.png", &green),
        ("2/c.png", &blue),
        ("lime/d.png", &green),
        ("red/broken.png", &red[..40]),
        ("red/notes.txt", b"hello"),
        ("red/.DS_Store", b"x"),
        ("readme.md", b"x"),
    ]);
    let film = fs::File::create(photos.path().join("2/a film.mp4")).expect("a file can be written");
    film.set_len(1 << 33).expect("a file may have a hole");
    let ran = evaluate(&setup, "colours@1", photos.path(), &[]);
    let expected = "\
accuracy 0.7500 (95% 0.3006 to 0.9544), 3 of 4 images; loss 0.4405; calibration error 0.0768

class   images  precision  recall
red          1     1.0000  1.0000
green        1     0.5000  1.0000
blue         1     1.0000  1.0000
lime         1          -  0.0000

true     0    1    2    3   (columns: predicted class by row)
red      1    0    0    0
green    0    1    0    0
blue     0    0    1    0
lime     0    1    0    0

least sure of the right class:
  Green/b.png: green 0.4763, predicted green 0.4763
  lime/d.png: lime 0.4763, predicted green 0.4763
  2/c.png: blue 0.8700, predicted blue 0.8700
  red/a.png: red 0.8700, predicted red 0.8700
";
    assert_eq!(ran.ok(), expected);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [readme, hidden, evaluating, film, broken, notes] = lines[..] else { panic!("{}", ran.stderr) };
    assert_eq!(readme, "left out readme.md: outside the class folders");
    assert_eq!(hidden, "left out red/.DS_Store: hidden (its name or a folder's starts with a dot)");
    assert_eq!(evaluating, "evaluating colours@1 on 7 images");
    assert!(film.starts_with("left out 2/a film.mp4: the image has 8589934592 bytes, more than"), "{film}");
    assert!(broken.starts_with("left out red/broken.png: the PNG is truncated or corrupt"), "{broken}");
    assert!(notes.starts_with("left out red/notes.txt: the bytes are no image"), "{notes}");
    let json: Value = serde_json::from_str(evaluate(&setup, "colours", photos.path(), &["--json"]).ok()).expect("JSON");
    let skipped = json["skipped"].as_array().expect("a list").iter().map(|skipped| skipped["path"].clone());
    assert_eq!(skipped.collect::<Vec<_>>(), ["2/a film.mp4", "readme.md", "red/.DS_Store", "red/broken.png", "red/notes.txt"]);
    assert_eq!((&json["split"], &json["report"]["images"]), (&Value::Null, &json!(4)));
}

#[test]
fn the_split_is_chosen_and_told() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let (red, green) = (plain(RED), plain(GREEN));
    let photos = folder(&[("train/red/a.png", &red), ("train/green/b.png", &green), ("val/red/c.png", &green)]);
    let check = |more: &[&str], told: &str, counted: &str| {
        let ran = evaluate(&setup, "colours", photos.path(), more);
        assert!(ran.ok().contains(counted), "{}", ran.stdout);
        assert_eq!(ran.stderr, told);
    };
    check(&[], "evaluating colours@1 on 1 images of val; `--split` takes others\n", ", 0 of 1 images");
    check(&["--split", "train"], "evaluating colours@1 on 2 images of train\n", ", 2 of 2 images");
    check(&["--split", "all"], "evaluating colours@1 on 3 images of all splits\n", ", 2 of 3 images");
}

#[test]
fn what_cannot_be_evaluated_is_said_before_anything_runs() {
    let setup = Setup::empty().with(Tiny::Colours, "colours").with(Tiny::Topless, "topless");
    let red = plain(RED);
    let check = |model: &str, files: &[(&str, &[u8])], more: &[&str], expected: &str| {
        let photos = folder(files);
        let ran = evaluate(&setup, model, photos.path(), more);
        let told = ran.stderr.replace(&photos.path().display().to_string(), "DIR");
        assert_eq!((ran.code, ran.stdout.as_str(), told), (Some(1), "", format!("graft: {expected}\n")), "{model} {more:?}");
    };
    check(
        "colours",
        &[("red/a.png", &red), ("greeen/a.png", &red), ("violet/a.png", &red)],
        &[],
        "not every folder of DIR stands for a class of colours:\n  \
         `greeen` names no class; did you mean `green`?\n  \
         `violet` names no class\n\
         its classes are `red`, `green`, `blue`, `lime`; rename those folders, or move them away",
    );
    let nothing = "DIR has no images in class folders; it must hold a folder per class, or `train/` and `val/` with these";
    check("colours", &[], &[], nothing);
    check("colours", &[("a.png", &red), ("red/.a.png", &red)], &[], nothing);
    check(
        "colours",
        &[("red/a.png", &red)],
        &["--split", "val"],
        "DIR has no folders of splits, such as `train/` and `val/`; leave out `--split`",
    );
    let only_train = "DIR has no images of the split `val`; there are some for `--split train`";
    check("colours", &[("train/red/a.png", &red)], &[], only_train);
    let only_val = "DIR has no images of the split `train`; there are some for `--split val`";
    check("colours", &[("val/red/a.png", &red)], &["--split", "train"], only_val);
    let topless = "topless has no classes (it was imported without its top); ask for features instead";
    check("topless", &[("red/a.png", &red)], &[], topless);
    check("colors", &[("red/a.png", &red)], &[], "unknown model `colors`; did you mean `colours`?");
}

#[test]
fn photos_that_are_all_broken_are_no_report() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let ran = evaluate(&setup, "colours", folder(&[("red/a.png", b"x")]).path(), &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.ends_with("graft: none of the 1 files is an image that can be read\n"), "{}", ran.stderr);
}

#[test]
fn a_few_classes_of_a_thousand_are_enough_and_untrained_weights_are_loud() {
    let setup = Setup::empty().with(Tiny::Thousand, "thousand").with(Tiny::Untrained, "raw");
    let photos = folder(&[("n01440764/a.png", &plain(RED)), ("steam locomotive/b.png", &plain(BLUE))]);
    let table = evaluate(&setup, "thousand", photos.path(), &[]);
    assert!(table.ok().contains("; top-5 accuracy "), "{}", table.stdout);
    let class = |name: &str| table.stdout.lines().any(|line| line.starts_with(name) && line.contains("  1  "));
    assert!(class("tench") && class("steam_locomotive") && !table.stdout.contains("goldfish"), "{}", table.stdout);

    let photos = folder(&[("class_0/a.png", &plain(RED))]);
    let ran = evaluate(&setup, "raw", photos.path(), &[]);
    ran.ok();
    assert!(
        ran.stderr.starts_with("raw has UNTRAINED weights (pretrained: false): this report means nothing\n"),
        "{}",
        ran.stderr
    );
}
