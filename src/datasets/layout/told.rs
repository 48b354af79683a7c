//! A layout in words: its classes with how many photos each has, for a sender who is to choose.
//!
//! Decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Layout, is_side_file};
use crate::datasets::{entry_path::shown, manifest::Split};

/// Most classes that are named.
const SHOWN: usize = 8;

impl Layout {
    /// The classes of `files` and their photos: `2 classes: `ants` (3 train, 2 test), `bees` (3 train)`.
    pub(super) fn told(&self, files: &[&str]) -> String {
        let mut classes: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        for place in files.iter().filter(|path| !is_side_file(path)).filter_map(|path| self.place(path).ok()) {
            classes.entry(place.class).or_default()[place.split as usize] += 1;
        }
        let class = |(name, counts): (&&str, &[usize; 3])| format!("`{}` ({})", shown(name), self.counts(*counts));
        let mut shown: Vec<String> = classes.iter().take(SHOWN).map(class).collect();
        if classes.len() > SHOWN {
            shown.push(format!("{} more", classes.len() - SHOWN));
        }
        match classes.len() {
            0 => "no class".to_owned(),
            1 => format!("one class: {}", shown.concat()),
            count => format!("{count} classes: {}", shown.join(", ")),
        }
    }

    /// How many classes `files` have.
    pub(super) fn count(&self, files: &[&str]) -> usize {
        let photos = files.iter().filter(|path| !is_side_file(path));
        photos.filter_map(|path| self.place(path).ok()).map(|place| place.class).collect::<BTreeSet<_>>().len()
    }

    fn counts(&self, counts: [usize; 3]) -> String {
        if !self.has_splits() {
            return counts.iter().sum::<usize>().to_string();
        }
        let of_split = |(split, count): (Split, usize)| (count > 0).then(|| format!("{count} {split}"));
        Split::ALL.into_iter().zip(counts).filter_map(of_split).collect::<Vec<_>>().join(", ")
    }
}
