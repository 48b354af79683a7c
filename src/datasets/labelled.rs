//! A folder of class folders, read where it lies.
//!
//! Lists files by the rules that data sets are made by, and opens none: what is no image shows when it is decoded.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use super::{
    arrange::{Arranged, Arrived, Candidate, arrange},
    entry_path::{clean, shown},
    error::{ContentsFault, Error, FolderFault},
    folder::{Found, walk},
    inbox::never_an_image,
    manifest::{Skipped, Split},
    options::ReadAs,
};

/// What a folder of class folders holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledFolder {
    /// Names of the class folders in code-point order, those without files too.
    pub classes: Vec<String>,
    /// What may be images, by path in code-point order.
    pub images: Vec<LabelledImage>,
    /// Whether folders of splits lie over or under the classes; without, every image's split is [`Split::Train`].
    pub has_splits: bool,
    /// Files that are passed over, by path.
    pub skipped: Vec<Skipped>,
    /// What to know of where files lie.
    pub warnings: Vec<String>,
}

/// A file of a class folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImage {
    /// Where it lies, without outer folders, in Unicode's composed form: `val/ants/1.jpg`.
    pub path: String,
    /// The file, under the name that it has on disk.
    pub file: PathBuf,
    /// Index of its class.
    pub class: usize,
    /// What its folder says it is for.
    pub split: Split,
}

impl LabelledFolder {
    /// Lists `folder`. Links are followed wherever they lead: who calls may read what they can.
    ///
    /// # Errors
    /// No folder; one in it that cannot be read, lies too deep or has a name that no data set takes; folders that can be read in
    /// two ways.
    pub fn read(folder: &Path, read_as: ReadAs) -> Result<Self, Error> {
        if !folder.is_dir() {
            return Err(Error::Folder { path: shown(&folder.display().to_string()), fault: FolderFault::NotAFolder });
        }
        let (mut files, mut folders) = (Vec::new(), BTreeSet::new());
        walk(folder, Path::new("/"), read_as.names, &mut |name, found| {
            let file = match found {
                Found::Folder(_) => {
                    folders.insert(clean(name)?);
                    return Ok(());
                }
                Found::File(file) => clean(name).map(|path| (never_an_image(&path).map_or(Ok(file), Err), path)),
                Found::Refused(error) => Err(error),
            };
            files.push(match file {
                Ok((contents, path)) => Arrived { path, contents: contents.map_err(str::to_owned) },
                Err(error) => Arrived { path: shown(name), contents: Err(reason(error)) },
            });
            Ok(())
        })?;
        let arranged = arrange(files, &folders, read_as.layout);
        arranged.map(Self::of).map_err(|fault| Error::Contents(ContentsFault::Layout(fault)))
    }

    fn of(arranged: Arranged<PathBuf>) -> Self {
        let Arranged { has_splits, classes, candidates, mut skipped, warnings } = arranged;
        let indices: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let mut images: Vec<LabelledImage> = candidates
            .into_iter()
            .map(|Candidate { class, split, path, contents: file }| {
                let class = indices[class.as_str()];
                LabelledImage { path, file, class, split }
            })
            .collect();
        images.sort_by(|a, b| a.path.cmp(&b.path));
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Self { classes: classes.into_iter().collect(), images, has_splits, skipped, warnings }
    }
}

/// What is wrong, for a list that names the path already.
fn reason(error: Error) -> String {
    match error {
        Error::Entry { fault, .. } => fault.to_string(),
        Error::Folder { fault, .. } => fault.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A folder of empty files; `a -> b` is a link to what `b` is, from the link's folder.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let (path, target) = file.split_once(" -> ").map_or((*file, None), |(path, target)| (path, Some(target)));
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match target {
                _ if file.ends_with('/') => fs::create_dir_all(&path).unwrap(),
                Some(target) => symlink(target, &path).unwrap(),
                None => fs::write(&path, file).unwrap(),
            }
        }
        folder
    }

    /// Classes; images as `path class split`; skipped files as `path: reason`. Every image's file can be read.
    #[track_caller]
    fn check(files: &[&str], classes: &[&str], images: &[&str], skipped: &[&str]) {
        let folder = folder(files);
        let found = LabelledFolder::read(folder.path(), ReadAs::default()).expect("it can be listed");
        assert_eq!(found.classes, classes);
        let shown = |image: &LabelledImage| format!("{} {} {:?}", image.path, found.classes[image.class], image.split);
        assert_eq!(found.images.iter().map(shown).collect::<Vec<_>>(), images);
        let passed_over = found.skipped.iter().map(|skipped| format!("{}: {}", skipped.path, skipped.reason));
        assert_eq!(passed_over.collect::<Vec<_>>(), skipped);
        assert!(found.images.iter().all(|image| image.file.is_file()));
    }

    #[test]
    fn class_folders_are_listed_in_code_point_order() {
        check(
            &["bees/b.jpg", "ants/deep/a.jpg", "ants/Z.jpg", "wasps/", "readme.md", "ants/.hidden", "__MACOSX/ants/x.jpg"],
            &["ants", "bees", "wasps"],
            &["ants/Z.jpg ants Train", "ants/deep/a.jpg ants Train", "bees/b.jpg bees Train"],
            &[
                "__MACOSX/ants/x.jpg: what macOS adds to archives, no image of yours",
                "ants/.hidden: hidden (its name or a folder's starts with a dot)",
                "readme.md: outside the class folders",
            ],
        );
    }

    #[test]
    fn splits_and_an_outer_folder_are_seen_through() {
        check(
            &["set/train/ants/a.jpg", "set/Valid/ants/b.jpg", "set/test/ants/c.jpg", "set/train/d.jpg"],
            &["ants"],
            &["Valid/ants/b.jpg ants Val", "test/ants/c.jpg ants Test", "train/ants/a.jpg ants Train"],
            &["train/d.jpg: outside the class folders of the splits"],
        );
    }

    #[test]
    fn links_are_followed_and_what_is_no_file_is_passed_over() {
        check(
            &["elsewhere/1.jpg", "ants/2.jpg", "bees -> elsewhere", "wasps/3.jpg -> ../ants/2.jpg", "ants/gone.jpg -> nothing"],
            &["ants", "bees", "elsewhere", "wasps"],
            &["ants/2.jpg ants Train", "bees/1.jpg bees Train", "elsewhere/1.jpg elsewhere Train", "wasps/3.jpg wasps Train"],
            &["ants/gone.jpg: cannot be read: No such file or directory (os error 2)"],
        );
        check(&["ants/null -> /dev/null"], &["ants"], &[], &["ants/null: is neither a file nor a folder; leave it out"]);
    }

    #[test]
    fn links_in_a_circle_and_missing_folders_are_errors() {
        let circle = folder(&["ants/1.jpg", "ants/again -> ../ants"]);
        let error = LabelledFolder::read(circle.path(), ReadAs::default()).unwrap_err().to_string();
        assert!(error.ends_with("is more than 16 folders deep; flatten it"), "{error}");
        for path in ["nowhere", "ants/1.jpg"] {
            let error = LabelledFolder::read(&circle.path().join(path), ReadAs::default()).unwrap_err().to_string();
            assert!(
                error.ends_with("is not a folder that can be read; check its name and permissions, and unpack archives first"),
                "{error}"
            );
        }
    }
}
