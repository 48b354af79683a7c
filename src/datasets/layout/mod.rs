//! Which class and split a file belongs to, from paths alone.
//!
//! `docs/datasets.md` has the rules with examples; [`search`] applies them, [`Layout`] is what they find.

mod fault;
mod search;
mod split_name;
mod told;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub use self::fault::LayoutFault;
pub(super) use self::tree::is_side_file;
use self::{search::Verdict, tree::Folder};
use super::{manifest::Split, options::FolderLayout};

/// Most folders that warnings name.
const MAX_WARNINGS: usize = 20;

/// How a data set's folders are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The folders around everything, each with its `/`; empty without one.
    outer: String,
    /// What lies in which folder of `outer`; none of these lies in another.
    parts: HashMap<String, Part>,
}

/// The folder of a part of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    split: Split,
    /// The class of what is in it; `None` where its folders are classes.
    class: Option<String>,
    /// False for a split whose folders are no classes: what is in it has no label.
    has_labels: bool,
}

/// Where a file belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The class's folder.
    pub class: &'a str,
    pub split: Split,
    /// The path without the outer folders.
    pub path: &'a str,
}

impl Layout {
    /// Finds the layout of `files` and `folders`, none of them to be ignored; `wanted` decides what is in doubt.
    ///
    /// # Errors
    /// Folders that can be read in two ways, or not as `wanted`.
    pub fn of(files: &[&str], folders: &[&str], wanted: Option<FolderLayout>) -> Result<Self, LayoutFault> {
        let root = Folder::of(files.iter().copied(), folders.iter().copied());
        let classes = search::classes(&root);
        if wanted == Some(FolderLayout::Classes) {
            return Ok(classes);
        }
        match search::splits(&root) {
            Verdict::Splits(splits) => Ok(splits),
            Verdict::Doubt(splits) if wanted.is_some() => Ok(splits),
            Verdict::Doubt(splits) => Err(LayoutFault::TwoReadings { splits: splits.told(files), classes: classes.told(files) }),
            Verdict::Bare(folders) if wanted.is_some() || classes.count(files) < 2 => Err(LayoutFault::NoClasses { folders }),
            Verdict::Bare(folders) => Err(LayoutFault::BareSplits { folders, classes: classes.told(files) }),
            Verdict::Several { splits: Some(splits), .. } if wanted.is_some() => Ok(splits),
            Verdict::Several { folders, splits } => Err(LayoutFault::SeveralSets {
                folders,
                splits: splits.map(|splits| splits.told(files)),
                classes: classes.told(files),
            }),
            Verdict::None if wanted.is_some() => Err(LayoutFault::NoSplits { classes: classes.told(files) }),
            Verdict::None => match search::repeated(&root) {
                sets if sets.is_empty() => Ok(classes),
                folders => Err(LayoutFault::SameFolders { folders, classes: classes.told(files) }),
            },
        }
    }

    /// Where the file at `path` belongs; `Err` says why nowhere.
    pub fn place<'a>(&'a self, path: &'a str) -> Result<Place<'a>, &'static str> {
        let outside = if self.has_splits() { "outside the class folders of the splits" } else { "outside the class folders" };
        let path = path.strip_prefix(self.outer.as_str()).ok_or(outside)?;
        let (part, rest) = self.part(path).ok_or(outside)?;
        if !part.has_labels {
            return Err("in a split whose folders are no classes: it has no label");
        }
        let class = match &part.class {
            Some(class) => class.as_str(),
            None => rest.split_once('/').ok_or(outside)?.0,
        };
        Ok(Place { class, split: part.split, path })
    }

    /// Whether folders for training, validation or test lie over or under the classes.
    pub fn has_splits(&self) -> bool {
        !self.parts.contains_key("")
    }

    /// The path without the outer folders.
    pub fn inner<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(self.outer.as_str()).unwrap_or(path)
    }

    /// The class that a folder stands for, if it is a class's.
    pub fn class_of_folder<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (part, rest) = self.part(path.strip_prefix(self.outer.as_str())?)?;
        let is_class = part.class.is_none() && part.has_labels && !rest.is_empty() && !rest.contains('/');
        is_class.then_some(rest)
    }

    /// What to know of `files` that this layout leaves out though they may be photos.
    pub fn warnings(&self, files: &[&str]) -> Vec<String> {
        let left_out = files.iter().filter(|path| self.has_splits() && !is_side_file(path) && self.place(path).is_err());
        let mut counts = BTreeMap::new();
        for path in left_out {
            let inner = self.inner(path);
            *counts.entry(inner.split_once('/').map(|(folder, _)| folder)).or_insert(0_usize) += 1;
        }
        let warning = |(folder, count): (Option<&str>, usize)| {
            let place = folder.map_or_else(|| "beside the folders".to_owned(), |folder| format!("in `{folder}`"));
            format!("files {place} are left out, since they lie in no class folder of a split: {count}")
        };
        counts.into_iter().map(warning).take(MAX_WARNINGS).collect()
    }

    /// The classes that have folders of splits.
    pub fn classes(&self) -> BTreeSet<String> {
        self.parts.values().filter_map(|part| part.class.clone()).collect()
    }

    /// The part that a path within the outer folders is in, and the path from there.
    fn part<'a>(&self, path: &'a str) -> Option<(&Part, &'a str)> {
        let ends = std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1));
        ends.map(|end| path.split_at(end)).find_map(|(folder, rest)| Some((self.parts.get(folder)?, rest)))
    }
}

#[cfg(test)]
mod tests;
