//! Commands as somebody meets them who is new to graft: folders with other files in them, few classes, names that are not there.

use std::fs;

use tempfile::TempDir;

use crate::support::{Ran, Setup, Tiny, npy, plain};

/// A folder with two images, below it a third, and a file that only looks like one.
fn photos() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::create_dir(folder.path().join("more")).expect("a folder can be made");
    for (name, colour) in [("red.png", [240, 0, 0]), ("green.png", [0, 240, 0]), ("more/blue.png", [0, 0, 240])] {
        fs::write(folder.path().join(name), plain(colour)).expect("a file can be written");
    }
    fs::write(folder.path().join("broken.jpg"), b"no photo").expect("a file can be written");
    folder
}

fn graft(setup: &Setup, arguments: &[&str]) -> Ran {
    Ran::graft(&setup.config().models.dir, arguments)
}

#[test]
fn predict_takes_folders_and_goes_past_bad_files() {
    let (setup, photos) = (Setup::new(), photos());
    let folder = photos.path().display().to_string();
    let predicted = graft(&setup, &["predict", &folder, "--model", "colours@1", "--top-k", "1"]);
    assert_eq!(predicted.code, Some(2), "{predicted:?}");
    let found: Vec<&str> = predicted.stdout.lines().filter(|line| line.starts_with(' ')).collect();
    let found: Vec<&str> = found.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(found, ["green", "blue", "red"], "in order of their paths: {predicted:?}");
    assert!(predicted.stderr.contains(&format!("left out {folder}/broken.jpg: ")), "{predicted:?}");
    assert!(predicted.stderr.contains("3 images, 1 left out"), "{predicted:?}");
    let bad = photos.path().join("broken.jpg").display().to_string();
    let none = graft(&setup, &["predict", &bad, "--model", "colours"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""), "{none:?}");
    assert!(none.stderr.contains("none of the 1 files is an image"), "{none:?}");
}

#[test]
fn more_classes_than_there_are_are_all_with_a_warning() {
    let (setup, photos) = (Setup::new(), photos());
    let photo = photos.path().join("red.png").display().to_string();
    let predicted = graft(&setup, &["predict", &photo, "--model", "colours", "--top-k", "9"]);
    assert_eq!(predicted.ok().lines().count(), 1 + 4, "{predicted:?}");
    assert!(predicted.stderr.contains("`top_k` is 9, but `colours` has 4 classes; the answer has all of them"), "{predicted:?}");
    let predicted = graft(&setup, &["predict", &photo, "--model", "colours"]);
    assert!(predicted.ok().lines().count() == 1 + 4 && predicted.stderr.is_empty(), "the default is no wish: {predicted:?}");
    let none = graft(&setup, &["predict", &photo, "--model", "colours", "--top-k", "0"]);
    assert!(none.code == Some(1) && none.stderr.contains("`top_k` is 0; ask for 1 to 4 classes"), "{none:?}");
}

#[test]
fn an_array_has_the_names_of_its_rows_beside_it() {
    let (setup, photos) = (Setup::new(), photos());
    let (folder, output) = (photos.path().display().to_string(), photos.path().join("means.npy"));
    let path = output.display().to_string();
    let written = graft(&setup, &["features", &folder, "-m", "colours", "-l", "-3", "-l", "embedding", "-o", &path]);
    assert_eq!(written.code, Some(2), "`-3` is `embedding`, so one layer is asked for: {written:?}");
    assert_eq!(npy(&fs::read(&output).expect("it was written")).shape(), [3, 3]);
    let names = output.with_extension("names.txt");
    assert!(written.stderr.contains(&names.display().to_string()), "it says where they are: {written:?}");
    let names = fs::read_to_string(names).expect("they were written");
    let expected: Vec<String> = ["green.png", "more/blue.png", "red.png"].map(|name| format!("{folder}/{name}")).to_vec();
    assert_eq!(names.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_name_that_is_not_there_says_what_is() {
    let setup = Setup::new().with(Tiny::Thousand, "thousand");
    let refused = |arguments: &[&str], expected: &[&str]| {
        let ran = graft(&setup, arguments);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        expected.iter().for_each(|expected| assert!(ran.stderr.contains(expected), "{expected} is not in {ran:?}"));
    };
    refused(&["layers", "nope"], &["unknown model `nope`; there are `colours`, `thousand`", "`graft models`", "`vgg16`"]);
    refused(&["layers", "colours@7"], &["model `colours` has no version 7; it has 1 (`graft models`"]);
    let photos = photos();
    let folder = photos.path().display().to_string();
    let finetune = ["finetune", &folder, "--name", "x", "--base"];
    refused(&[&finetune[..], &["nope"]].concat(), &["unknown model `nope`", "`graft models`", "`graft pull --list`"]);
    refused(&[&finetune[..], &["vgg16"]].concat(), &["unknown model `vgg16`; `graft pull vgg16` downloads it"]);
    let features = ["features", &folder, "-o", "x.npy", "--model", "thousand", "--layer"];
    let lists = "`GET /models/thousand/layers` and `graft layers thousand` list its layers";
    refused(&[&features[..], &["relu"]].concat(), &["unknown layer `relu` for thousand; `colours` has it", lists]);
    refused(&[&features[..], &["-9"]].concat(), &["unknown layer `-9` for thousand", lists]);
}

#[test]
fn the_doctor_does_not_call_all_well_after_a_warning() {
    let setup = Setup::empty().with(Tiny::Untrained, "raw");
    let doctor = graft(&setup, &["doctor"]);
    assert!(doctor.ok().contains("warn  models: raw has UNTRAINED weights"), "{doctor:?}");
    let last = doctor.stdout.lines().last().unwrap_or_default();
    assert!(last.starts_with("graft can answer; see the ") && !doctor.stdout.contains("all is well"), "{doctor:?}");
}

#[test]
fn the_doctor_says_who_may_use_the_server() {
    let setup = Setup::new();
    let check = |set: &[&str], expected: &str| {
        let arguments: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        let doctor = graft(&setup, &[&["doctor"], &arguments[..]].concat());
        assert!(doctor.stdout.contains(expected), "{expected}: {doctor:?}");
    };
    let everyone = "server.host=0.0.0.0";
    check(&[], "ok    access: without a key, from this machine alone (127.0.0.1)");
    check(&[everyone], "FAIL  access: anyone who reaches 0.0.0.0 could use this server");
    check(&[everyone, "server.allow_anonymous=true"], "warn  access: anyone who reaches this address may use the server");
    check(&["server.auth=required"], "warn  access: every request needs an API key, and none is in force");
    check(&["server.cors_origins=*"], "warn  access: any page that a browser which reaches this server visits");
    check(&["server.cors_origins=*", everyone], "FAIL  access: anyone who reaches 0.0.0.0");
    graft(&setup, &["keys", "create", "ci"]).ok();
    check(&[everyone], "ok    access: with a key, of which 1 is in force, at 0.0.0.0");
    graft(&setup, &["keys", "revoke", "ci"]).ok();
    check(&[], "warn  access: every request needs an API key, and none is in force");
}

#[test]
fn no_name_moves_the_cursor() {
    let setup = Setup::new();
    let models = setup.config().models.dir.clone();
    let name = "a\u{1b}[2J\u{9b}b\u{202e}";
    fs::create_dir_all(models.join(name)).expect("a folder can be made");
    let photo = models.with_file_name(format!("{name}.png"));
    fs::write(&photo, plain([240, 0, 0])).expect("a file can be written");
    let photo = photo.display().to_string();
    for arguments in [
        &["models"][..],
        &["doctor"],
        &["layers", name],
        &["import", "vgg16", name],
        &["predict", &photo, "-m", "colours"],
        &["predict", "-m", "colours", &photo, name],
    ] {
        let ran = graft(&setup, arguments);
        let shown = format!("{}{}", ran.stdout, ran.stderr);
        // Excerpts have marks in place of what others write out.
        assert!(shown.contains("\\u{202e}"), "{arguments:?}: {ran:?}");
        assert!(!shown.contains(|letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}')), "{ran:?}");
    }
    let json = graft(&setup, &["predict", &photo, "-m", "colours", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(json.ok()).expect("what programs read is as it was");
    assert_eq!(answer["image"], *photo);
}
