//! The repository as its users meet it: published, damaged, raced for, left behind.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use self::testing::metadata;
use super::*;

const WEIGHTS: &[u8] = testing::WEIGHTS;

fn staged(repository: &Repository, name: &str) -> Staging {
    let staging = repository.stage(name).unwrap();
    fs::write(staging.graph_path(), b"graph").unwrap();
    fs::write(staging.weights_path(), WEIGHTS).unwrap();
    staging
}

fn publish(repository: &Repository, name: &str) -> ModelVersion {
    staged(repository, name).publish(metadata(name)).unwrap()
}

fn repository() -> (tempfile::TempDir, Repository) {
    let root = tempfile::tempdir().unwrap();
    let repository = Repository::open(root.path()).unwrap();
    (root, repository)
}

/// Each model as `name versions stable`.
fn listed(snapshot: &Snapshot) -> Vec<String> {
    let versions = |model: &Model| model.versions.iter().map(|version| version.metadata.version).collect::<Vec<_>>();
    snapshot.models.iter().map(|model| format!("{} {:?} {}", model.name, versions(model), model.stable.version)).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".numbers");
    names.sort();
    names
}

fn aged(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn publishes_numbers_in_order_and_reads_them_back() {
    let (root, repository) = repository();
    let first = publish(&repository, "vgg16");
    assert_eq!(first.dir(), root.path().join("vgg16/1"));
    assert_eq!(names(first.dir()), ["graph.onnx", "metadata.json", "weights.bin"]);
    assert!(first.metadata.created.ends_with('Z'), "{}", first.metadata.created);
    publish(&repository, "vgg16");
    publish(&repository, "ants-bees");
    let snapshot = repository.scan().unwrap();
    assert_eq!(listed(&snapshot), ["ants-bees [1] 1", "vgg16 [1, 2] 2"]);
    assert_eq!(snapshot.problems, []);
    assert_eq!(snapshot.model("vgg16").unwrap().version(1).unwrap().metadata, first.metadata);
    assert_eq!(names(root.path()), ["ants-bees", "vgg16"], "nothing hidden is left");
}

#[test]
fn a_staging_that_is_dropped_or_fails_leaves_nothing() {
    let (root, repository) = repository();
    drop(staged(&repository, "vgg16"));
    let mut wrong = metadata("vgg16");
    wrong.features_layer = "fc9".into();
    let check = |staging: Staging, metadata: Metadata, expected: &str| {
        let message = staging.publish(metadata).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(names(root.path()).is_empty());
    };
    check(staged(&repository, "vgg16"), wrong, "the metadata of `vgg16` is wrong");
    let mut large = metadata("vgg16");
    large.labels[0].label = "x".repeat(17 << 20);
    check(staged(&repository, "vgg16"), large, "16777216 are the most");
    check(staged(&repository, "vgg16"), metadata("other"), "its metadata is that of `other`");
    check(repository.stage("vgg16").unwrap(), metadata("vgg16"), "`graph.onnx`: No such file");
    let short = staged(&repository, "vgg16");
    fs::write(short.weights_path(), b"w").unwrap();
    check(short, metadata("vgg16"), "`weights.bin` has 1 bytes, not the 7 of its metadata");
}

#[test]
fn concurrent_publishers_get_different_versions() {
    const PUBLISHERS: usize = 8;
    let (_root, repository) = repository();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let repository = repository.clone();
            thread::spawn(move || (0..4).map(|_| publish(&repository, "m").metadata.version).collect::<Vec<_>>())
        })
        .collect();
    let mut versions: Vec<u32> = publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=4 * PUBLISHERS as u32).collect::<Vec<_>>());
    let snapshot = repository.scan().unwrap();
    assert_eq!((snapshot.models[0].versions.len(), snapshot.problems), (versions.len(), vec![]));
}

/// `metadata.json` without its own sum, as an earlier graft wrote it.
fn unsealed(text: &str) -> String {
    let seal = text.rfind(",\n  \"sha256\": ").expect("it ends with its sum");
    format!("{}\n}}", &text[..seal])
}

#[test]
fn whatever_is_not_whole_is_a_problem() {
    let check = |damage: &dyn Fn(&Path), path: &str, expected: &str| {
        let (_root, repository) = repository();
        let version = publish(&repository, "vgg16");
        damage(version.dir());
        let snapshot = repository.scan().unwrap();
        assert_eq!(listed(&snapshot), Vec::<String>::new(), "{expected}");
        let problem = snapshot.problems.iter().find(|problem| problem.path == path);
        let reason = &problem.unwrap_or_else(|| panic!("no problem at {path}: {:?}", snapshot.problems)).reason;
        assert!(reason.contains(expected), "{reason}");
    };
    let edit = |from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let path = dir.join("metadata.json");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            fs::write(&path, unsealed(&text).replacen(from, to, 1)).unwrap();
        }
    };
    let remove = |file: &'static str| move |dir: &Path| fs::remove_file(dir.join(file)).unwrap();
    let write = |file: &'static str, bytes: &'static [u8]| move |dir: &Path| fs::write(dir.join(file), bytes).unwrap();
    check(&remove("metadata.json"), "vgg16/1", "`metadata.json` is missing: not wholly published");
    check(&remove("weights.bin"), "vgg16/1", "`weights.bin` is missing");
    check(&remove("graph.onnx"), "vgg16/1", "`graph.onnx` is missing");
    check(&write("weights.bin", b"w"), "vgg16/1", "`weights.bin` has 1 bytes, not the 7");
    check(&write("graph.onnx", b""), "vgg16/1", "`graph.onnx` has 0 bytes, not the 5");
    check(&write("metadata.json", b""), "vgg16/1", "`metadata.json` cannot be read: EOF");
    check(&write("metadata.json", b"\xff{"), "vgg16/1", "`metadata.json` cannot be read");
    check(&write("metadata.json", b"{\"format\": 3}"), "vgg16/1", "has format 3, this graft reads 1 to 2");
    check(&edit("\"vgg16\"", "\"vgg19\""), "vgg16/1", "is that of `vgg19` version 1");
    check(&edit("\"fc2\"", "\"fc3\""), "vgg16/1", "`features_layer` is `fc2`, which is not among the layers");
    check(&|dir| fs::rename(dir, dir.with_file_name("7")).unwrap(), "vgg16/7", "is that of `vgg16` version 1");
    check(&|dir| fs::rename(dir, dir.with_file_name("01")).unwrap(), "vgg16/01", "not a version");
    let emptied = |dir: &Path| {
        fs::remove_dir_all(dir).unwrap();
        aged(dir.parent().unwrap(), 120);
    };
    check(&emptied, "vgg16", "holds no whole version");
    check(
        &|dir| {
            fs::remove_file(dir.join("weights.bin")).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", dir.join("weights.bin")).unwrap();
        },
        "vgg16/1",
        "`weights.bin` is not a file (links are not followed)",
    );
    check(
        &|dir| fs::File::create(dir.join("metadata.json")).unwrap().set_len((16 << 20) + 1).unwrap(),
        "vgg16/1",
        "larger than 16777216 bytes",
    );
}

#[test]
fn foreign_entries_do_not_hide_models() {
    let (root, repository) = repository();
    publish(&repository, "good");
    fs::write(root.path().join("README"), b"").unwrap();
    fs::write(root.path().join(".gitkeep"), b"").unwrap();
    fs::create_dir(root.path().join("with space")).unwrap();
    for name in ["empty", "new"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    aged(&root.path().join("empty"), 120);
    fs::write(root.path().join("good/notes.txt"), b"").unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", root.path().join("loop")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    publish(&Repository::open(elsewhere.path()).unwrap(), "linked");
    std::os::unix::fs::symlink(elsewhere.path().join("linked"), root.path().join("linked")).unwrap();
    let snapshot = repository.scan().unwrap();
    assert_eq!(listed(&snapshot), ["good [1] 1", "linked [1] 1"]);
    let mut paths: Vec<_> = snapshot.problems.iter().map(|problem| problem.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["README", "dangling", "empty", "good/notes.txt", "loop", "with space"], "`new` may get a version soon");
}

#[test]
fn unchanged_versions_are_not_read_again() {
    let (_root, repository) = repository();
    let version = publish(&repository, "m");
    let read = |repository: &Repository| Arc::clone(&repository.scan().unwrap().models[0].versions[0].metadata);
    assert!(!Arc::ptr_eq(&read(&repository), &read(&repository)), "what is just written may change within one tick");
    for file in names(version.dir()) {
        aged(&version.dir().join(file), 10);
    }
    let first = read(&repository);
    assert!(Arc::ptr_eq(&first, &read(&repository)));
    assert!(Arc::ptr_eq(&first, &read(&repository.clone())));
    let path = version.dir().join("metadata.json");
    fs::write(&path, unsealed(&fs::read_to_string(&path).unwrap()).replace("seed:1", "seed:22")).unwrap();
    assert_eq!(read(&repository).weights.source, "seed:22");
}

#[test]
fn stable_chooses_a_version_and_a_wrong_one_is_a_problem() {
    let (root, repository) = repository();
    publish(&repository, "m");
    publish(&repository, "m");
    repository.pin("m", 1).unwrap();
    assert_eq!(listed(&repository.scan().unwrap()), ["m [1, 2] 1"]);
    let unknown = repository.pin("m", 9).unwrap_err().to_string();
    assert_eq!(unknown, "model `m` has no version 9 in the repository");
    let check = |text: &str, stable: u32, expected: &str| {
        fs::write(root.path().join("m/stable"), text).unwrap();
        let snapshot = repository.scan().unwrap();
        assert_eq!(listed(&snapshot), [format!("m [1, 2] {stable}")]);
        assert_eq!(snapshot.problems.len(), 1, "{text}");
        assert!(snapshot.problems[0].reason.contains(expected), "{}", snapshot.problems[0].reason);
    };
    check("9\n", 9, "names version 9, which is not there, or is not whole; no other answers in its place");
    check("newest", 2, "does not hold a version number");
    check("", 2, "does not hold a version number");
    check(&"1".repeat(1000), 2, "does not hold a version number");
}

#[test]
fn removes_versions_and_then_the_model() {
    let (root, repository) = repository();
    publish(&repository, "m");
    publish(&repository, "m");
    repository.pin("m", 1).unwrap();
    repository.remove("m", 1).unwrap();
    assert_eq!(listed(&repository.scan().unwrap()), ["m [2] 2"]);
    assert_eq!(repository.scan().unwrap().problems, []);
    repository.remove("m", 2).unwrap();
    assert!(names(root.path()).is_empty());
    assert!(matches!(repository.remove("m", 2), Err(Error::UnknownVersion { .. })));
    assert!(matches!(repository.remove("../m", 2), Err(Error::InvalidName(_))));
}

#[test]
fn no_number_is_given_twice() {
    let (root, repository) = repository();
    let number = |name: &str| publish(&repository, name).metadata.version;
    assert_eq!([number("m"), number("m"), number("other")], [1, 2, 1]);
    repository.remove("m", 2).unwrap();
    assert_eq!(number("m"), 3, "the newest was removed");
    repository.remove("m", 1).unwrap();
    repository.remove("m", 3).unwrap();
    assert_eq!(number("m"), 4, "the model was removed");
    fs::remove_dir_all(root.path().join("m")).unwrap();
    assert_eq!(number("m"), 5, "somebody removed its folder");
    fs::write(root.path().join(".numbers/m"), "many").unwrap();
    assert_eq!(number("m"), 6, "versions that are there count in any case");
    // As an older graft leaves a repository.
    fs::remove_dir_all(root.path().join(".numbers")).unwrap();
    repository.remove("m", 6).unwrap();
    assert_eq!(number("m"), 7);
}

#[test]
fn the_newest_published_version_is_stable_unless_one_is_pinned() {
    let (_root, repository) = repository();
    let register = |published| {
        let metadata = Metadata { published, ..metadata("m") };
        staged(&repository, "m").publish(metadata).unwrap();
        let Stable { version, pinned } = repository.scan().unwrap().model("m").unwrap().stable;
        (version, pinned)
    };
    assert_eq!(register(false), (1, false), "nothing else is there");
    assert_eq!(register(true), (2, false));
    assert_eq!(register(false), (2, false));
    repository.pin("m", 3).unwrap();
    assert_eq!(register(true), (3, true));
    repository.unpin("m").unwrap();
    repository.unpin("m").unwrap();
    assert_eq!(register(false), (4, false));
    repository.remove("m", 4).unwrap();
    assert_eq!(register(false), (2, false));
    assert!(matches!(repository.unpin("../m"), Err(Error::InvalidName(_))));
}

#[test]
fn a_version_is_published_on_a_condition_that_nobody_changes_meanwhile() {
    let (_root, repository) = repository();
    let seen = |staging: Staging, expected| staging.publish_if(metadata("m"), |stable| stable == expected).unwrap();
    let Published::Version(first) = seen(staged(&repository, "m"), None) else { panic!("it is the first") };
    assert_eq!(first.metadata.version, 1);
    let Published::Refused(staging) = seen(staged(&repository, "m"), None) else { panic!("there is one") };
    let one = Some(Stable { version: 1, pinned: false });
    let Published::Version(second) = seen(staging, one) else { panic!("it is as it was seen") };
    assert_eq!(second.metadata.version, 2);
}

#[test]
fn what_a_dead_process_left_is_reported_and_cleaned() {
    let (root, repository) = repository();
    let dead = root.path().join(".staging-m-dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("weights.bin"), b"half").unwrap();
    let fresh = root.path().join(".staging-m-fresh");
    fs::create_dir(&fresh).unwrap();
    let live = staged(&repository, "m");
    aged(live.dir(), 100_000);
    aged(&dead, 120);
    let snapshot = repository.scan().unwrap();
    let paths: Vec<_> = snapshot.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, [".staging-m-dead"], "a live or a fresh one is none");
    let mut cleaned = repository.clean().unwrap();
    cleaned.sort();
    assert_eq!(cleaned, [dead, fresh], "nobody makes one while others are removed");
    assert_eq!(repository.scan().unwrap().problems, []);
    assert_eq!(live.publish(metadata("m")).unwrap().metadata.version, 1);
}

#[test]
fn a_broken_or_foreign_newest_version_is_not_overwritten() {
    let (root, repository) = repository();
    fs::create_dir_all(root.path().join("m/4")).unwrap();
    fs::write(root.path().join("m/5"), b"a file").unwrap();
    assert_eq!(publish(&repository, "m").metadata.version, 6);
    fs::create_dir(root.path().join(format!("m/{}", u32::MAX))).unwrap();
    let error = staged(&repository, "m").publish(metadata("m")).unwrap_err();
    assert!(matches!(error, Error::NoFreeVersion { .. }), "{error}");
}

#[test]
fn names_are_checked() {
    let (root, repository) = repository();
    let check = |name: &str, valid: bool| {
        assert_eq!(repository.stage(name).is_ok(), valid, "{name:?}");
    };
    for name in ["vgg16", "inception_v3", "ants-bees.2", "A", &"x".repeat(64)] {
        check(name, true);
    }
    for name in ["", ".", "..", ".hidden", "-x", "_x", "a/b", "a b", "é", "a\0", &"x".repeat(65)] {
        check(name, false);
    }
    assert!(names(root.path()).is_empty());
}

#[test]
fn refusals_name_the_path_and_the_way_out() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    let message = Repository::open(&file).unwrap_err().to_string();
    assert_eq!(message, format!("the model repository `{}` is not a folder; set `models.dir` to one", file.display()));
    let below = file.join("models");
    let message = Repository::open(&below).unwrap_err().to_string();
    assert_eq!(message, format!("cannot open the model repository `{}`", below.display()));
    assert!(Repository::open(root.path().join("a/b/models")).is_ok(), "missing parents are made");
}

#[test]
fn a_read_only_repository_can_be_read_and_says_what_it_lacks() {
    use std::os::unix::fs::PermissionsExt;
    let (root, repository) = repository();
    publish(&repository, "m");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(listed(&repository.scan().unwrap()), ["m [1] 1"]);
    if rustix::process::geteuid().is_root() {
        println!("skipped: permissions do not bind root");
    } else {
        let message = repository.stage("m").unwrap_err().to_string();
        assert!(message.contains("; give this user permission on it"), "{message}");
    }
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
}
