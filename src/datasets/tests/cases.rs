//! Archives as the public has them, each standing for a kind (`tests/fixtures/archives`): what they mean, not what they say.

use std::{fs, path::PathBuf};

use super::{
    super::{Dataset, Error, FolderLayout, ReadAs, Split},
    Store, block_on, bounds, classes,
};

fn send(name: &str, read_as: ReadAs) -> Result<Dataset, Error> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archives").join(name);
    let archive = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let store = Store::new(bounds());
    let result = block_on(store.send_as(None, &archive, read_as));
    if let Ok(dataset) = &result {
        assert_eq!(store.left(), std::slice::from_ref(&dataset.dir));
    }
    result
}

#[track_caller]
fn check(name: &str, expected: &[&str]) -> Dataset {
    let dataset = send(name, ReadAs::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(classes(&dataset), expected, "{name}");
    dataset
}

#[test]
fn split_folders_of_other_names() {
    let dataset = check("training_testing.zip", &["ants 3/0/2", "bees 3/0/2"]);
    let test = dataset.images.iter().filter(|image| image.split == Split::Test);
    assert!(test.clone().count() == 4 && test.clone().all(|image| image.path.starts_with("Testing/")));
    assert!(!dataset.has_val);
    let dataset = check("training_validation.zip", &["ants 3/2", "bees 3/2"]);
    assert!(dataset.has_val);
}

#[test]
fn split_folders_below_class_folders() {
    check("class_then_split.zip", &["cats 3/0/3", "dogs 3/0/3"]);
}

#[test]
fn one_name_in_two_spellings() {
    check("nfc_nfd_flat.zip", &["bees 4/0", "caf\u{e9} 7/0"]);
}

#[test]
fn names_that_are_not_utf8() {
    let error = send("sjis.zip", ReadAs::default()).expect_err("nobody says what the names are").to_string();
    assert!(error.contains("is not UTF-8") && error.contains("犬") && error.contains("`names=shift_jis`"), "{error}");
    let read_as = ReadAs { names: "shift_jis".parse().ok(), ..ReadAs::default() };
    // Half of `ソ` is a backslash in Shift JIS: what separates folders is found in text, not in bytes.
    let dataset = send("sjis.zip", read_as).expect("it is Shift JIS");
    assert_eq!(classes(&dataset), ["ソ 3/0", "犬 3/0"]);
}

#[test]
fn archives_of_windows() {
    check("backslash.zip", &["ants 3/0", "bees 3/0"]);
    check("deflate64.zip", &["ants 3/0", "bees 3/0"]);
}

#[test]
fn the_same_photo_in_two_classes() {
    let dataset = check("dup_across_classes.zip", &["ants 4/0", "bees 4/0"]);
    assert_eq!(dataset.warnings, ["`ants/d.jpg` and `bees/d.jpg` are the same photo in two classes; keep the right one"]);
}

#[test]
fn what_was_found_can_be_overruled() {
    let classes_of = |name: &str| {
        let read_as = ReadAs { layout: Some(FolderLayout::Classes), ..ReadAs::default() };
        classes(&send(name, read_as).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    assert_eq!(classes_of("training_testing.zip"), ["Testing 4/0", "Training 6/0"]);
    assert_eq!(classes_of("class_then_split.zip"), ["cats 6/0", "dogs 6/0"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    /// Whatever wrong bytes make of Deflate64, it is a data set or a broken archive: its reader is nobody's but its author's.
    #[test]
    fn damaged_deflate64_is_a_broken_archive(
        damage in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 1..8),
    ) {
        let mut archive = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/archives/deflate64.zip")).unwrap();
        for (at, byte) in damage {
            *at.get_mut(&mut archive) = byte;
        }
        let store = Store::new(bounds());
        match block_on(store.send_as(None, &archive, ReadAs::default())) {
            Ok(dataset) => assert_eq!(store.left(), std::slice::from_ref(&dataset.dir)),
            Err(Error::Io { action, path, source }) => panic!("cannot {action} {}: {source}", path.display()),
            Err(_) => assert_eq!(store.left(), Vec::<PathBuf>::new()),
        }
    }
}
