//! Which folder names mean a split, whatever their case and usual affixes: `train`, `Training_set`, `seg_test`, `valid2`.
//!
//! Knows words alone; whether such a folder is a split is decided from what lies in and beside it.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::datasets::manifest::Split;

const TRAIN: [&str; 4] = ["train", "training", "trainval", "trn"];

const VAL: [&str; 6] = ["val", "valid", "validation", "validate", "validating", "dev"];

/// `evaluation` too: what may not be trained on is rather kept for the end than looked at in every epoch.
const TEST: [&str; 7] = ["test", "tests", "testing", "tst", "eval", "evaluation", "holdout"];

/// What stands beside such words and says nothing of its own.
const AFFIXES: [&str; 24] = [
    "set", "sets", "subset", "data", "dataset", "datasets", "image", "images", "img", "imgs", "photo", "photos", "picture",
    "pictures", "pic", "pics", "sample", "samples", "file", "files", "folder", "split", "splits", "seg",
];

/// Longest word that may have affixes, in bytes: there are many ways to take them off a long one.
const MAX_WORD: usize = 24;

/// The splits that `siblings`, the folders of one folder, are called by.
///
/// Words of their own (`flowers_train`) are no obstacle where another of `siblings` has the same ones beside another split
/// (`flowers_test`).
pub(super) fn splits<'a>(siblings: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, Split> {
    let named: Vec<(&str, SplitName)> = siblings.filter_map(|name| Some((name, SplitName::of(name)?))).collect();
    let mut splits: HashMap<&[String], HashSet<Split>> = HashMap::new();
    for (_, own) in &named {
        splits.entry(&own.rest).or_default().insert(own.split);
    }
    let has_twin = |own: &SplitName| splits[own.rest.as_slice()].len() > 1;
    named.iter().filter(|(_, own)| own.rest.is_empty() || has_twin(own)).map(|(name, own)| (*name, own.split)).collect()
}

/// The split that a word in `name` means, whatever words stand beside it: `train_augmented`.
pub(super) fn hint(name: &str) -> Option<Split> {
    SplitName::of(name).map(|named| named.split)
}

/// A name with one word for a split.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SplitName {
    split: Split,
    /// The words that are neither that nor an affix, in lower case.
    rest: Vec<String>,
}

impl SplitName {
    fn of(name: &str) -> Option<Self> {
        let (mut splits, mut rest) = (Vec::new(), Vec::new());
        for word in words(name) {
            match meaning(&word) {
                Some(split) => splits.push(split),
                None if is_affix(&word) => {}
                None => rest.push(word),
            }
        }
        match splits[..] {
            [split] => Some(Self { split, rest }),
            // `train_test_split` is none of the two.
            _ => None,
        }
    }
}

/// The words of a name in lower case: letters and digits apart, and `trainSet` at its capital.
fn words(name: &str) -> Vec<String> {
    let (mut words, mut before) = (vec![String::new()], None::<char>);
    for letter in name.chars() {
        let begins = before.is_some_and(|before| {
            (before.is_lowercase() && letter.is_uppercase()) || before.is_ascii_digit() != letter.is_ascii_digit()
        });
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
        before = Some(letter);
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_affix(word: &str) -> bool {
    AFFIXES.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The split that a word means, by itself or grown together with affixes: `trainset`, `imagestrain`.
fn meaning(word: &str) -> Option<Split> {
    if word.len() > MAX_WORD {
        return None;
    }
    let words = [(&TRAIN[..], Split::Train), (&VAL[..], Split::Val), (&TEST[..], Split::Test)];
    if let Some((_, split)) = words.iter().find(|(words, _)| words.contains(&word)) {
        return Some(*split);
    }
    AFFIXES.iter().find_map(|affix| {
        let rest = word.strip_suffix(affix).or_else(|| word.strip_prefix(affix))?;
        meaning(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expected: Option<Split>) {
        for name in names {
            assert_eq!(splits([*name].into_iter()).get(name).copied(), expected, "{name}");
        }
    }

    #[test]
    fn usual_names_mean_splits() {
        let train = ["train", "Train", "TRAINING", "train_set", "training_set", "Training Set", "seg_train", "train_images"];
        check(&train, Some(Split::Train));
        check(
            &["images_train", "trainset", "train-data", "TrainData", "trainImages", "train2017", "traindataset"],
            Some(Split::Train),
        );
        check(
            &["val", "Valid", "validation", "dev", "val2017", "valid_set", "validation-data", "valset", "DevSet"],
            Some(Split::Val),
        );
        check(
            &["test", "Testing", "test_set", "testing_set", "seg_test", "test1", "testset", "eval", "Evaluation"],
            Some(Split::Test),
        );
    }

    #[test]
    fn other_names_do_not() {
        let others =
            ["car", "bus", "invalid", "contest", "latest", "device", "n01440764", "images", "data", "set", "", "seg_pred"];
        check(&others, None);
        check(&["train_test_split", "train station", "steam_train", "test-multiple_fruits", "steel trainers"], None);
    }

    /// There are more ways to take affixes off such a name than anyone can try.
    #[test]
    fn long_names_take_no_longer() {
        check(&[&format!("{}{}", "data".repeat(40), "set".repeat(40)), &"images".repeat(100)], None);
    }

    #[test]
    fn words_of_their_own_need_a_twin() {
        let found = |names: &[&'static str]| splits(names.iter().copied()).into_keys().collect::<Vec<_>>();
        assert_eq!(found(&["flowers_train", "flowers_test", "docs"]), ["flowers_test", "flowers_train"]);
        assert!(found(&["steam_train", "bullet_train", "bus"]).is_empty());
        assert!(found(&["train_station", "bus_station"]).is_empty());
        assert!(found(&["birds_train", "flowers_test"]).is_empty());
    }
}
