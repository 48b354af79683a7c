//! Images with the same content: those that are in two splits, and those that are in two classes.
//!
//! The same photo for training and for measuring would make the measurement flatter the model: it stays where it is measured,
//! so that the set that models are compared on stays as its owner made it.

use std::collections::{BTreeMap, HashMap};

use super::{
    assemble::Candidate,
    manifest::{Skipped, Split},
};

/// Most photos in several classes that are named.
const NAMED: usize = 20;

/// Removes images whose content is in a split that is measured later too, and says so.
pub(super) fn drop_leaks(candidates: &mut Vec<Candidate>, skipped: &mut Vec<Skipped>) {
    let mut last: HashMap<String, (Split, String)> = HashMap::new();
    for Candidate { split, path, contents, .. } in candidates.iter().filter(|candidate| candidate.split != Split::Train) {
        let known = last.entry(contents.clone()).or_insert_with(|| (*split, path.clone()));
        if order(*split) > order(known.0) {
            *known = (*split, path.clone());
        }
    }
    candidates.retain(|Candidate { split, path, contents, .. }| {
        let Some((kept, twin)) = last.get(contents).filter(|(kept, _)| kept != split) else { return true };
        let purpose = if *kept == Split::Test { "testing" } else { "validation" };
        let reason = format!("has the same content as `{twin}`, which stays for {purpose}");
        skipped.push(Skipped { path: path.clone(), reason });
        false
    });
}

/// Warnings of photos that are in several classes: of these no model can learn which is right.
pub(super) fn in_several_classes(candidates: &[Candidate]) -> Vec<String> {
    let mut first: HashMap<&str, &Candidate> = HashMap::new();
    let mut pairs: BTreeMap<&str, &Candidate> = BTreeMap::new();
    for candidate in candidates {
        let known = *first.entry(&candidate.contents).or_insert(candidate);
        if known.class != candidate.class {
            pairs.insert(&candidate.path, known);
        }
    }
    let warning = |(path, known): (&&str, &&Candidate)| {
        format!("`{}` and `{path}` are the same photo in two classes; keep the right one", known.path)
    };
    let mut warnings: Vec<String> = pairs.iter().take(NAMED).map(warning).collect();
    if pairs.len() > NAMED {
        warnings.push(format!("{} more photos are in several classes", pairs.len() - NAMED));
    }
    warnings
}

/// What is measured later comes later.
fn order(split: Split) -> usize {
    split as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(class: &str, split: Split, path: &str, contents: &str) -> Candidate {
        Candidate { class: class.to_owned(), split, path: path.to_owned(), contents: contents.to_owned() }
    }

    #[test]
    fn photos_stay_in_the_split_that_is_measured_last() {
        let mut candidates = vec![
            candidate("a", Split::Train, "train/a/1", "x"),
            candidate("a", Split::Test, "test/a/1", "x"),
            candidate("a", Split::Val, "val/a/1", "x"),
            candidate("a", Split::Val, "val/a/2", "y"),
            candidate("a", Split::Train, "train/a/2", "y"),
            candidate("a", Split::Train, "train/a/3", "z"),
        ];
        let mut skipped = Vec::new();
        drop_leaks(&mut candidates, &mut skipped);
        let kept: Vec<&str> = candidates.iter().map(|candidate| candidate.path.as_str()).collect();
        assert_eq!(kept, ["test/a/1", "val/a/2", "train/a/3"]);
        let told: Vec<String> = skipped.iter().map(|skipped| format!("{} {}", skipped.path, skipped.reason)).collect();
        assert_eq!(
            told,
            [
                "train/a/1 has the same content as `test/a/1`, which stays for testing",
                "val/a/1 has the same content as `test/a/1`, which stays for testing",
                "train/a/2 has the same content as `val/a/2`, which stays for validation",
            ]
        );
    }

    #[test]
    fn photos_in_two_classes_are_named_and_counted() {
        let mut candidates = vec![
            candidate("a", Split::Train, "a/1", "x"),
            candidate("a", Split::Train, "a/2", "x"),
            candidate("b", Split::Train, "b/1", "x"),
            candidate("c", Split::Train, "c/1", "x"),
        ];
        let warnings = in_several_classes(&candidates);
        let expected = [
            "`a/1` and `b/1` are the same photo in two classes; keep the right one",
            "`a/1` and `c/1` are the same photo in two classes; keep the right one",
        ];
        assert_eq!(warnings, expected);
        let more = |number: usize| candidate("b", Split::Train, &format!("b/m{number:03}"), "x");
        candidates.extend((0..50).map(more));
        let warnings = in_several_classes(&candidates);
        assert_eq!((warnings.len(), warnings[20].as_str()), (21, "32 more photos are in several classes"));
    }
}
