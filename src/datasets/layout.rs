//! Which class and split a file belongs to, from paths alone.
//!
//! `CLASS/…`, or `train/CLASS/…` and `val/CLASS/…`, either within one outer folder.

use std::collections::BTreeSet;

use super::manifest::Split;

/// What validation folders may be called, besides `train` for training; in any case.
const VAL: [&str; 3] = ["val", "valid", "validation"];

/// How a data set's folders are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The folder around everything, with its `/`; empty without one.
    outer: String,
    /// Whether the next folder names the split.
    splits: bool,
}

/// Where a file belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The class's folder.
    pub class: &'a str,
    pub split: Split,
    /// The path without the outer folder.
    pub path: &'a str,
}

impl Layout {
    /// Finds the layout of `files` and `folders`, none of them to be ignored.
    pub fn of<'a>(files: impl Iterator<Item = &'a str> + Clone, folders: impl Iterator<Item = &'a str> + Clone) -> Self {
        let has_splits = |outer: &str| {
            // `train` directly over images is a class like any other.
            let mut inner = files.clone().filter_map(|path| path.strip_prefix(outer));
            inner.any(|path| path.split_once('/').is_some_and(|(top, rest)| split(top).is_some() && rest.contains('/')))
        };
        if has_splits("") {
            return Self { outer: String::new(), splits: true };
        }
        let tops = files.clone().filter_map(|path| path.split_once('/').map(|(top, _)| top));
        let tops: BTreeSet<&str> = tops.chain(folders.filter_map(|path| path.split('/').next())).collect();
        let nested = || files.clone().any(|path| path.split('/').count() > 2);
        match tops.first() {
            Some(top) if tops.len() == 1 && nested() => {
                let outer = format!("{top}/");
                let splits = has_splits(&outer);
                Self { outer, splits }
            }
            _ => Self { outer: String::new(), splits: false },
        }
    }

    /// Where the file at `path` belongs; `Err` says why nowhere.
    pub fn place<'a>(&self, path: &'a str) -> Result<Place<'a>, &'static str> {
        let outside = if self.splits { "outside the class folders of `train` and `val`" } else { "outside the class folders" };
        let path = path.strip_prefix(&self.outer).ok_or(outside)?;
        let (split, rest) = self.split_of(path).ok_or(outside)?;
        let (class, _) = rest.split_once('/').ok_or(outside)?;
        Ok(Place { class, split, path })
    }

    /// The folder around everything, with its `/`; empty without one.
    pub fn outer(&self) -> &str {
        &self.outer
    }

    /// Whether folders for training and validation lie over the classes.
    pub fn has_splits(&self) -> bool {
        self.splits
    }

    /// The path without the outer folder.
    pub fn inner<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&self.outer).unwrap_or(path)
    }

    /// The class that a folder stands for, if it is a class's.
    pub fn class_of_folder<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (_, rest) = self.split_of(path.strip_prefix(&self.outer)?)?;
        (!rest.is_empty() && !rest.contains('/')).then_some(rest)
    }

    fn split_of<'a>(&self, path: &'a str) -> Option<(Split, &'a str)> {
        if !self.splits {
            return Some((Split::Train, path));
        }
        let (top, rest) = path.split_once('/')?;
        Some((split(top)?, rest))
    }
}

fn split(folder: &str) -> Option<Split> {
    if folder.eq_ignore_ascii_case("train") {
        return Some(Split::Train);
    }
    VAL.iter().any(|name| folder.eq_ignore_ascii_case(name)).then_some(Split::Val)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each file with its class and split, or `-`; then the classes of folders.
    #[track_caller]
    fn check(files: &[(&str, &str)], folders: &[&str], classes: &[&str]) {
        let layout = Layout::of(files.iter().map(|(path, _)| *path), folders.iter().copied());
        for (path, expected) in files {
            let place = match layout.place(path) {
                Ok(Place { class, split: Split::Train, .. }) => class.to_owned(),
                Ok(Place { class, split: Split::Val, .. }) => format!("{class} val"),
                Err(_) => "-".to_owned(),
            };
            assert_eq!(place, *expected, "{path} with {layout:?}");
        }
        let found: Vec<&str> = folders.iter().filter_map(|path| layout.class_of_folder(path)).collect();
        assert_eq!(found, classes, "{layout:?}");
    }

    #[test]
    fn folders_are_classes() {
        check(
            &[("ants/a.jpg", "ants"), ("bees/b/c/d.jpg", "bees"), ("readme.md", "-")],
            &["ants", "bees", "wasps"],
            &["ants", "bees", "wasps"],
        );
        check(&[("ants/a.jpg", "ants")], &["ants"], &["ants"]);
        check(&[("a.jpg", "-")], &[], &[]);
        check(&[], &[], &[]);
    }

    #[test]
    fn an_outer_folder_is_seen_through() {
        check(
            &[("photos/ants/a.jpg", "ants"), ("photos/bees/b.jpg", "bees"), ("photos/readme.md", "-"), ("notes.txt", "-")],
            &["photos", "photos/ants", "photos/wasps"],
            &["ants", "wasps"],
        );
        check(&[("a/ants/a.jpg", "a"), ("b/bees/b.jpg", "b")], &[], &[]);
    }

    #[test]
    fn splits_are_folders_over_classes() {
        check(
            &[("train/ants/a.jpg", "ants"), ("val/ants/b.jpg", "ants val"), ("test/ants/c.jpg", "-"), ("train/d.jpg", "-")],
            &["train", "train/ants", "val/bees"],
            &["ants", "bees"],
        );
        check(&[("Train/ants/a.jpg", "ants"), ("Validation/ants/b.jpg", "ants val"), ("valid/ants/x.jpg", "ants val")], &[], &[]);
        check(
            &[("set/train/ants/a.jpg", "ants"), ("set/val/ants/b.jpg", "ants val"), ("set/readme.md", "-")],
            &["set/train/bees"],
            &["bees"],
        );
    }

    #[test]
    fn trains_are_vehicles_too() {
        check(&[("train/a.jpg", "train"), ("car/b.jpg", "car")], &[], &[]);
    }

    #[test]
    fn paths_lose_the_outer_folder_alone() {
        let layout = Layout::of(["set/train/ants/a.jpg", "set/val/ants/b.jpg"].into_iter(), std::iter::empty());
        assert_eq!(layout.place("set/train/ants/a.jpg").map(|place| place.path), Ok("train/ants/a.jpg"));
    }
}
