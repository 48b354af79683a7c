//! Trees of folders as people have them, each with what it means; and that names change nothing of it.

use proptest::prelude::*;

use super::*;

/// Each file as `class`, `class val` or `class test`, or `-` where it belongs nowhere.
fn read(files: &[&str], folders: &[&str], wanted: Option<FolderLayout>) -> Result<Vec<String>, LayoutFault> {
    let layout = Layout::of(files, folders, wanted)?;
    let place = |path: &&str| match layout.place(path) {
        Ok(Place { class, split: Split::Train, .. }) => class.to_owned(),
        Ok(Place { class, split, .. }) => format!("{class} {split}"),
        Err(_) => "-".to_owned(),
    };
    Ok(files.iter().map(place).collect())
}

#[track_caller]
fn check(files: &[(&str, &str)]) {
    let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    let expected: Vec<&str> = files.iter().map(|(_, place)| *place).collect();
    assert_eq!(read(&paths, &[], None).expect("it can be read"), expected, "{paths:?}");
}

#[track_caller]
fn check_refused(files: &[&str], wanted: Option<FolderLayout>, expected: &[&str]) {
    let error = read(files, &[], wanted).expect_err("it is in doubt").to_string();
    assert!(expected.iter().all(|part| error.contains(part)), "{files:?}: {error}");
}

#[test]
fn folders_are_classes() {
    check(&[("ants/a.jpg", "ants"), ("bees/b/c/d.jpg", "bees"), ("readme.md", "-")]);
    check(&[("ants/a.jpg", "ants")]);
    check(&[("a.jpg", "-")]);
    check(&[]);
    check(&[("photos/ants/a.jpg", "ants"), ("photos/bees/b.jpg", "bees"), ("photos/readme.md", "-"), ("notes.txt", "-")]);
    check(&[("a/ants/a.jpg", "a"), ("b/bees/b.jpg", "b")]);
    check(&[("archive/dataset/ants/a.jpg", "ants"), ("archive/dataset/bees/b.jpg", "bees"), ("archive/labels.csv", "-")]);
}

#[test]
fn folders_that_repeat_each_other_are_in_doubt() {
    let variants = ["color/a/1.jpg", "color/b/2.jpg", "grey/a/3.jpg", "grey/b/4.jpg", "grey/c/5.jpg", "other/6.jpg"];
    let both = "`color/`, `grey/` hold the same folders, so that each may be a data set of its own, or a copy";
    check_refused(&variants, None, &[both, "`layout=classes`", "for 3 classes: `color` (2), `grey` (3), `other` (1)"]);
    let classes = read(&variants, &[], Some(FolderLayout::Classes)).expect("it was said");
    assert_eq!(classes, ["color", "color", "grey", "grey", "grey", "other"]);
    let copy = ["cells/a/1.jpg", "cells/b/2.jpg", "cells/cells/a/1.jpg", "cells/cells/b/2.jpg"];
    check_refused(&copy, None, &["`cells/cells/` holds folders that lie beside it too", "leave a copy out"]);
    // Twenty thousand of them take no longer than others.
    let many: Vec<String> =
        (0..20_000).flat_map(|class| [format!("{class}/x/1.jpg"), format!("{class}/y{class}/2.jpg")]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(read(&many, &[], None).expect("only `x` is shared").len(), 40_000);
    let split = |number: usize| if number.is_multiple_of(2) { "train" } else { "val" };
    let many: Vec<String> = (0..20_000).map(|number| format!("{}_{number}/y{number}/1.jpg", split(number))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(read(&many, &[], Some(FolderLayout::Classes)).expect("it was said").len(), 20_000);
    drop(read(&many, &[], None));
    // One name in common says little, and photos directly in a folder make a class of it.
    check(&[("ants/big/1.jpg", "ants"), ("ants/small/2.jpg", "ants"), ("bees/big/3.jpg", "bees"), ("bees/old/4.jpg", "bees")]);
    check(&[("a/x/1.jpg", "a"), ("a/y/2.jpg", "a"), ("a/3.jpg", "a"), ("b/x/4.jpg", "b"), ("b/y/5.jpg", "b"), ("b/6.jpg", "b")]);
}

#[test]
fn empty_folders_are_classes_too() {
    let classes = |files: &[&str], folders: &[&str]| {
        let layout = Layout::of(files, folders, None).expect("it can be read");
        folders.iter().filter_map(|folder| layout.class_of_folder(folder)).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(classes(&["ants/a.jpg", "bees/b.jpg"], &["ants", "wasps"]), ["ants", "wasps"]);
    assert_eq!(classes(&["photos/ants/a.jpg", "photos/bees/b.jpg"], &["photos", "photos/wasps"]), ["wasps"]);
    assert_eq!(classes(&["train/ants/a.jpg", "val/ants/b.jpg"], &["train", "train/wasps", "val/bees"]), ["wasps", "bees"]);
}

#[test]
fn splits_are_folders_over_classes() {
    check(&[
        ("train/ants/a.jpg", "ants"),
        ("val/ants/b.jpg", "ants val"),
        ("test/ants/c.jpg", "ants test"),
        ("train/d.jpg", "-"),
    ]);
    check(&[("Training/ants/a.jpg", "ants"), ("Testing/ants/b.jpg", "ants test"), ("valid/ants/c.jpg", "ants val")]);
    check(&[("set/train/ants/a.jpg", "ants"), ("set/val/ants/b.jpg", "ants val"), ("set/readme.md", "-")]);
    check(&[("train/ants/a.jpg", "ants"), ("train/bees/b.jpg", "bees")]);
    check(&[("test/ants/a.jpg", "ants test"), ("test/bees/b.jpg", "bees test")]);
    check(&[("training/a/1.jpg", "a"), ("validation/a/2.jpg", "a val"), ("evaluation/a/3.jpg", "a test")]);
}

/// The shapes of sets that many have: Intel's scenes, chest X-rays, brain tumours, PlantVillage, Fruits-360, Tiny ImageNet.
#[test]
fn public_data_sets_mean_what_they_mean() {
    check(&[
        ("seg_train/seg_train/sea/1.jpg", "sea"),
        ("seg_train/seg_train/street/2.jpg", "street"),
        ("seg_test/seg_test/sea/3.jpg", "sea test"),
        ("seg_test/seg_test/street/4.jpg", "street test"),
        ("seg_pred/seg_pred/5.jpg", "-"),
    ]);
    check(&[
        ("chest_xray/train/NORMAL/1.jpeg", "NORMAL"),
        ("chest_xray/train/PNEUMONIA/2.jpeg", "PNEUMONIA"),
        ("chest_xray/val/NORMAL/3.jpeg", "NORMAL val"),
        ("chest_xray/test/PNEUMONIA/4.jpeg", "PNEUMONIA test"),
        ("chest_xray/chest_xray/train/NORMAL/1.jpeg", "-"),
        ("chest_xray/chest_xray/test/NORMAL/4.jpeg", "-"),
    ]);
    check(&[
        ("Training/glioma_tumor/1.jpg", "glioma_tumor"),
        ("Training/no_tumor/2.jpg", "no_tumor"),
        ("Testing/glioma_tumor/3.jpg", "glioma_tumor test"),
    ]);
    check(&[
        ("dataset/training_set/cats/1.jpg", "cats"),
        ("dataset/training_set/dogs/2.jpg", "dogs"),
        ("dataset/test_set/cats/3.jpg", "cats test"),
        ("dataset/single_prediction/4.jpg", "-"),
    ]);
    check(&[
        ("New Plant Diseases/New Plant Diseases/train/Apple___scab/1.JPG", "Apple___scab"),
        ("New Plant Diseases/New Plant Diseases/train/Corn/2.JPG", "Corn"),
        ("New Plant Diseases/New Plant Diseases/valid/Corn/3.JPG", "Corn val"),
        ("test/test/AppleScab1.JPG", "-"),
    ]);
    check(&[
        ("fruits-360_dataset/fruits-360/Training/Apple/1.jpg", "Apple"),
        ("fruits-360_dataset/fruits-360/Training/Kiwi/2.jpg", "Kiwi"),
        ("fruits-360_dataset/fruits-360/Test/Apple/3.jpg", "Apple test"),
        ("fruits-360_dataset/fruits-360/test-multiple_fruits/4.jpg", "-"),
        ("fruits-360_dataset/fruits-360/papers/paper.pdf", "-"),
        ("fruits-360_dataset/fruits-360/LICENSE", "-"),
    ]);
    check(&[
        ("tiny-imagenet-200/train/n01443537/images/1.JPEG", "n01443537"),
        ("tiny-imagenet-200/train/n01629819/images/2.JPEG", "n01629819"),
        ("tiny-imagenet-200/train/n01443537/n01443537_boxes.txt", "n01443537"),
        ("tiny-imagenet-200/val/images/3.JPEG", "-"),
        ("tiny-imagenet-200/test/images/4.JPEG", "-"),
        ("tiny-imagenet-200/wnids.txt", "-"),
    ]);
    check(&[
        ("flowers_train/daisy/1.jpg", "daisy"),
        ("flowers_train/tulip/2.jpg", "tulip"),
        ("flowers_test/daisy/3.jpg", "daisy test"),
    ]);
    check(&[
        ("images/train2017/cat/1.jpg", "cat"),
        ("images/train2017/dog/2.jpg", "dog"),
        ("images/val2017/cat/3.jpg", "cat val"),
    ]);
    check(&[("test_data/train/cat/1.jpg", "cat"), ("test_data/train/dog/2.jpg", "dog"), ("test_data/val/cat/3.jpg", "cat val")]);
}

#[test]
fn splits_are_folders_below_classes_too() {
    check(&[
        ("cats/train/1.jpg", "cats"),
        ("cats/test/2.jpg", "cats test"),
        ("dogs/train/3.jpg", "dogs"),
        ("dogs/test/deep/4.jpg", "dogs test"),
    ]);
    check(&[
        ("archive/cats/Training/1.jpg", "cats"),
        ("archive/dogs/Training/2.jpg", "dogs"),
        ("archive/dogs/valid/3.jpg", "dogs val"),
    ]);
    let folds = [
        "one/train/a/1.jpg",
        "one/train/b/2.jpg",
        "one/val/a/3.jpg",
        "two/train/a/4.jpg",
        "two/train/b/5.jpg",
        "two/val/a/6.jpg",
    ];
    let each = ["`one/`, `two/` have splits of their own", "`layout=splits` for 2 classes: `one` (2 train, 1 val), `two`"];
    check_refused(&folds, None, &[each[0], each[1], "`layout=classes` for 2 classes: `one` (3), `two` (3)"]);
    let splits = read(&folds, &[], Some(FolderLayout::Splits)).expect("it was said");
    assert_eq!(splits, ["one", "one", "one val", "two", "two", "two val"]);
    let beside = [&folds[..], &["rest/7.jpg"]].concat();
    check_refused(&beside, None, &each);
    assert_eq!(read(&beside, &[], Some(FolderLayout::Splits)).expect("it was said")[6], "-");
    let deep = ["x/one/train/a/1.jpg", "x/one/val/a/2.jpg", "x/two/train/a/3.jpg", "x/two/val/a/4.jpg", "y/5.jpg"];
    for wanted in [None, Some(FolderLayout::Splits)] {
        check_refused(&deep, wanted, &["`x/one/`, `x/two/` have splits", "for 2 classes: `x` (4), `y` (1) (`--layout` on"]);
    }
}

#[test]
fn folders_below_a_split_belong_to_it() {
    check(&[
        ("cat/train/a/1.jpg", "cat"),
        ("cat/test/a/2.jpg", "cat test"),
        ("dog/train/a/3.jpg", "dog"),
        ("dog/test/a/4.jpg", "dog test"),
    ]);
    check(&[
        ("cat/train/batch1/1.jpg", "cat"),
        ("cat/train/batch2/2.jpg", "cat"),
        ("cat/test/deep/er/3.jpg", "cat test"),
        ("dog/train/4.jpg", "dog"),
    ]);
    let batches = ["cat/train/1/1.jpg", "cat/train/2/2.jpg", "cat/test/1/3.jpg", "dog/train/1/4.jpg", "dog/train/2/5.jpg"];
    let batches = [&batches[..], &["dog/test/1/6.jpg"]].concat();
    check_refused(&batches, None, &["`cat/`, `dog/` have splits", "`layout=splits` for 2 classes: `cat` (2 train, 1 test)"]);
    let splits = read(&batches, &[], Some(FolderLayout::Splits)).expect("it was said");
    assert_eq!(splits, ["cat", "cat", "cat test", "dog", "dog", "dog test"]);
}

#[test]
fn doubt_shows_both_readings() {
    let vehicles = ["train/steam/1.jpg", "train/steam/2.jpg", "train/3.jpg", "car/4.jpg", "bus/5.jpg"];
    let both = [
        "As splits: one class: `steam` (2 train)",
        "As classes: 3 classes: `bus` (1), `car` (1), `train` (3)",
        "`layout=splits`",
    ];
    check_refused(&vehicles, None, &both);
    let splits = read(&vehicles, &[], Some(FolderLayout::Splits)).expect("it was said");
    assert_eq!(splits, ["steam", "steam", "-", "-", "-"]);
    let classes = read(&vehicles, &[], Some(FolderLayout::Classes)).expect("it was said");
    assert_eq!(classes, ["train", "train", "train", "car", "bus"]);
    let below = ["cats/train/1.jpg", "cats/old/2.jpg", "dogs/train/3.jpg", "birds/4.jpg"];
    check_refused(&below, None, &["As splits: 2 classes: `cats` (1 train)", "As classes: 3 classes: `birds` (1), `cats` (2)"]);
    let elsewhere = ["x/train/a/1.jpg", "x/train/b/2.jpg", "x/test/a/3.jpg", "y/4.jpg", "y/5.jpg"];
    check_refused(&elsewhere, None, &["As splits: 2 classes: `a` (1 train, 1 test)", "As classes: 2 classes: `x` (3), `y` (2)"]);
}

#[test]
fn folders_called_as_splits_are_never_classes_by_themselves() {
    let bare = ["Training/1.jpg", "Testing/2.jpg"];
    check_refused(&bare, None, &["`Testing`", "`Training`", "hold photos directly", "`Training` (1)", "`layout=classes`"]);
    check_refused(&bare, Some(FolderLayout::Splits), &["hold photos directly"]);
    assert_eq!(read(&bare, &[], Some(FolderLayout::Classes)).expect("it was said"), ["Training", "Testing"]);
    check_refused(&["train/1.jpg", "test/2.jpg", "car/3.jpg"], None, &["As splits: no class"]);
    check_refused(&["ants/1.jpg", "bees/2.jpg"], Some(FolderLayout::Splits), &["no folder over or under the classes"]);
}

#[test]
fn folders_that_look_alike_are_in_doubt() {
    let names = [
        ("train_augmented", "val", "val"),
        ("training_v2", "testing", "test"),
        ("augmented", "test", "test"),
        ("Original_train", "Aug_test", "test"),
    ];
    for (training, other, split) in names {
        let files = [format!("{training}/a/1.jpg"), format!("{training}/b/2.jpg"), format!("{other}/a/3.jpg")];
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        check_refused(&files, None, &["As splits: 2 classes", "As classes: 2 classes", "`layout=splits`"]);
        let read_as = read(&files, &[], Some(FolderLayout::Splits)).expect("it was said");
        assert_eq!(read_as, ["a".to_owned(), "b".to_owned(), format!("a {split}")]);
    }
    let three = ["train_augmented/a/1.jpg", "train_augmented/b/2.jpg", "val/a/3.jpg", "test/b/4.jpg"];
    check_refused(&three, None, &["As splits: 2 classes: `a` (1 train, 1 val)"]);
    check(&[("night_train/x/1.jpg", "night_train"), ("test_track/y/2.jpg", "test_track")]);
}

#[test]
fn trains_are_vehicles_too() {
    let vehicles = ["train/a.jpg", "car/b.jpg", "bus/c.jpg"];
    let both =
        ["As splits: no class, since `train` holds photos directly", "As classes: 3 classes: `bus` (1), `car` (1), `train` (1)"];
    for outer in ["", "archive/"] {
        let files = vehicles.map(|path| format!("{outer}{path}"));
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        check_refused(&files, None, &[both[0], both[1], "`layout=classes`"]);
        check_refused(&files, Some(FolderLayout::Splits), &["`train` holds photos directly, and names of files say no class"]);
        assert_eq!(read(&files, &[], Some(FolderLayout::Classes)).expect("it was said"), ["train", "car", "bus"]);
    }
    check_refused(&["train/cat.0.jpg", "train/dog.0.jpg"], None, &["`train` holds photos directly, and names of files"]);
    check_refused(&["valid/a.jpg", "invalid/b.jpg"], None, &["since `valid` holds", "`invalid` (1), `valid` (1)"]);
    let test = ["test/x/1.jpg", "ants/2.jpg", "bees/3.jpg"];
    check_refused(&test, None, &["As splits: one class: `x` (1 test)", "As classes: 3 classes", "`layout=splits`"]);
    assert_eq!(read(&test, &[], Some(FolderLayout::Splits)).expect("it was said"), ["x test", "-", "-"]);
    check(&[("train/valid/a.jpg", "valid"), ("train/train/b.jpg", "train"), ("test/valid/c.jpg", "valid test")]);
}

#[test]
fn many_classes_are_told_in_short() {
    let files: Vec<String> = (0..200).map(|number| format!("c{number:03}/1.jpg")).chain(["train/x/1.jpg".to_owned()]).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    check_refused(&files, None, &["As classes: 201 classes: `c000` (1), `c001` (1)", "`c007` (1), 193 more"]);
}

#[test]
fn paths_lose_the_outer_folders_alone() {
    let layout = Layout::of(&["x/set/train/ants/a.jpg", "x/set/val/ants/b.jpg"], &[], None).expect("it can be read");
    assert_eq!(layout.place("x/set/train/ants/a.jpg").map(|place| place.path), Ok("train/ants/a.jpg"));
}

/// A split's folder under one of its names.
fn name_of(split: Split, prefix: &str, suffix: &str, case: u8) -> String {
    let word = match split {
        Split::Train => ["train", "training"],
        Split::Val => ["val", "validation"],
        Split::Test => ["test", "testing"],
    };
    let name = format!("{prefix}{}{suffix}", word[usize::from(case % 2)]);
    match case % 3 {
        0 => name,
        1 => name.to_uppercase(),
        _ => name[..1].to_uppercase() + &name[1..],
    }
}

proptest! {
    /// Whatever split folders are called, and whatever lies around them, classes and splits are the same.
    #[test]
    fn names_of_splits_and_outer_folders_change_nothing(
        classes in prop::collection::btree_set("[b-z]{1,2}[0-9]?x", 2..6),
        outer in prop::sample::select(vec!["", "archive/", "data set/inner/", "test_data/", "a/b/c/"]),
        prefix in prop::sample::select(vec!["", "seg_", "images-", "data_"]),
        suffix in prop::sample::select(vec!["", "_set", " data", "-images", "set", "2017"]),
        case in any::<u8>(),
        has_test in any::<bool>(),
        is_doubled in any::<bool>(),
        is_below in any::<bool>(),
    ) {
        let kinds = if has_test { &Split::ALL[..] } else { &Split::ALL[..2] };
        let (mut files, mut expected) = (vec!["README.md".to_owned(), format!("{outer}labels.csv")], vec!["-".to_owned(), "-".to_owned()]);
        for (&split, class) in kinds.iter().flat_map(|split| classes.iter().map(move |class| (split, class))) {
            let folder = name_of(split, prefix, suffix, case);
            files.push(match (is_below, is_doubled) {
                (true, _) => format!("{outer}{class}/{folder}/1.jpg"),
                (false, true) => format!("{outer}{folder}/{folder}/{class}/1.jpg"),
                (false, false) => format!("{outer}{folder}/{class}/1.jpg"),
            });
            expected.push(if split == Split::Train { class.clone() } else { format!("{class} {split}") });
        }
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        prop_assert_eq!(read(&files, &[], None), Ok(expected), "{:?}", files);
    }

    /// Without such names folders are classes, in any outer folder.
    #[test]
    fn other_folders_are_classes(
        classes in prop::collection::btree_set("[b-z]{1,3}x", 2..8), outer in prop::sample::select(vec!["", "o/", "o/p/"])
    ) {
        let files: Vec<String> = classes.iter().map(|class| format!("{outer}{class}/1.jpg")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        prop_assert_eq!(read(&files, &[], None), Ok(classes.into_iter().collect::<Vec<_>>()));
    }

    /// No tree of folders, however strange, breaks the search.
    #[test]
    fn any_tree_is_read_or_refused(
        files in prop::collection::vec("(train|test|val|a|b|x)(/(train|test|val|a|b|x|é)){0,5}/[12](.jpg|.csv)?", 0..12),
        wanted in prop::sample::select(vec![None, Some(FolderLayout::Splits), Some(FolderLayout::Classes)]),
    ) {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        if let Ok(places) = read(&files, &[], wanted) {
            prop_assert_eq!(places.len(), files.len());
        }
    }
}
