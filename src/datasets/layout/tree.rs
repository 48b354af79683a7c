//! The folders of a data set with the photos in each: what a layout is found from.
//!
//! Knows names; opens no file.

use std::collections::BTreeMap;

/// Endings of files that lie beside photos and are none.
const SIDE_ENDINGS: [&str; 40] = [
    "csv", "tsv", "txt", "md", "rst", "json", "jsonl", "xml", "yaml", "yml", "toml", "html", "htm", "pdf", "doc", "docx", "xls",
    "xlsx", "ods", "py", "ipynb", "sh", "m", "mat", "npy", "npz", "h5", "hdf5", "pkl", "pt", "pth", "onnx", "parquet", "db",
    "ini", "log", "names", "cfg", "url", "lnk",
];

/// Names of such files without an ending.
const SIDE_NAMES: [&str; 8] = ["readme", "license", "licence", "copying", "notice", "authors", "changelog", "makefile"];

/// Whether the file at `path` lies beside photos, by its name: it says nothing of where classes and splits are.
pub(in crate::datasets) fn is_side_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    match name.rsplit_once('.') {
        Some((_, ending)) => SIDE_ENDINGS.contains(&ending),
        None => SIDE_NAMES.contains(&name.as_str()),
    }
}

/// A folder.
#[derive(Debug, Default)]
pub(super) struct Folder<'a> {
    /// Photos directly in it.
    pub photos: usize,
    /// Photos in it and in all below.
    pub total: usize,
    /// Whether files lie in it or below that are no photos.
    has_side_files: bool,
    folders: BTreeMap<&'a str, Folder<'a>>,
}

impl<'a> Folder<'a> {
    /// The folder around `files` and `folders`.
    pub fn of(files: impl Iterator<Item = &'a str>, folders: impl Iterator<Item = &'a str>) -> Self {
        let mut root = Self::default();
        for path in folders {
            path.split('/').fold(&mut root, |folder, name| folder.folders.entry(name).or_default());
        }
        for path in files {
            let is_photo = !is_side_file(path);
            let (parents, _) = path.rsplit_once('/').unwrap_or(("", path));
            root.count(is_photo);
            let mut folder = &mut root;
            for name in parents.split('/').filter(|name| !name.is_empty()) {
                folder = folder.folders.entry(name).or_default();
                folder.count(is_photo);
            }
            folder.photos += usize::from(is_photo);
        }
        root
    }

    fn count(&mut self, is_photo: bool) {
        self.total += usize::from(is_photo);
        self.has_side_files |= !is_photo;
    }

    /// The folders in it that count: those with photos, and empty ones; not those with side files alone.
    pub fn children(&self) -> impl Iterator<Item = (&'a str, &Self)> {
        self.folders.iter().map(|(name, folder)| (*name, folder)).filter(|(_, folder)| folder.total > 0 || !folder.has_side_files)
    }

    /// Those of them that hold photos.
    pub fn filled(&self) -> impl Iterator<Item = (&'a str, &Self)> {
        self.children().filter(|(_, folder)| folder.total > 0)
    }

    /// Whether folders with photos lie in it.
    pub fn has_folders(&self) -> bool {
        self.filled().next().is_some()
    }

    /// The one folder in it, if it is alone and holds folders with photos itself.
    pub fn inner(&self) -> Option<(&'a str, &Self)> {
        let mut children = self.children();
        let only = children.next().filter(|(_, folder)| folder.has_folders())?;
        children.next().is_none().then_some(only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_are_counted_and_side_files_are_not() {
        let files = ["a/1.jpg", "a/b/2", "a/b/labels.csv", "c/notes.txt", "README"];
        let root = Folder::of(files.into_iter(), ["d", "a/e"].into_iter());
        assert_eq!((root.photos, root.total), (0, 2));
        assert_eq!(root.children().map(|(name, folder)| (name, folder.total)).collect::<Vec<_>>(), [("a", 2), ("d", 0)]);
        let (_, a) = root.filled().next().expect("it holds photos");
        assert_eq!((a.photos, a.has_folders()), (1, true));
        assert!(root.inner().is_none(), "`d` lies beside it");
    }
}
