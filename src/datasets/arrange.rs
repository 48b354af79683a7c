//! Files in their classes and splits, by paths alone, whatever stands for their contents.
//!
//! Data sets and folders that are read in place share it; reads no file.

use std::collections::{BTreeSet, HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;

use super::{
    inbox::never_an_image,
    layout::{Layout, LayoutFault, Place, is_side_file},
    manifest::{Skipped, Split},
    options::FolderLayout,
};

/// A file that arrived.
#[derive(Debug)]
pub(super) struct Arrived<T> {
    /// Where it lay, cleaned.
    pub path: String,
    /// What stands for its contents, or why it is passed over.
    pub contents: Result<T, String>,
}

/// A file in its place.
#[derive(Debug)]
pub(super) struct Candidate<T> {
    pub class: String,
    pub split: Split,
    /// Without outer folders.
    pub path: String,
    pub contents: T,
}

/// Files and folders in their places.
#[derive(Debug)]
pub(super) struct Arranged<T> {
    /// Whether folders say what images are for.
    pub has_splits: bool,
    /// Names of the classes, those of empty folders too.
    pub classes: BTreeSet<String>,
    pub candidates: Vec<Candidate<T>>,
    pub skipped: Vec<Skipped>,
    /// What the owner should know of where files lie.
    pub warnings: Vec<String>,
}

/// Finds the layout of what arrived, and places every file; names are in Unicode's composed form (NFC) from here on.
///
/// # Errors
/// Folders that can be read in two ways, or not as `wanted`.
pub(super) fn arrange<T>(
    files: Vec<Arrived<T>>,
    folders: &BTreeSet<String>,
    wanted: Option<FolderLayout>,
) -> Result<Arranged<T>, LayoutFault> {
    let visible = |path: &str| !path.is_empty() && never_an_image(path).is_none();
    let files = composed(files);
    let folders: BTreeSet<String> = folders.iter().map(|path| path.nfc().collect()).collect();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(|path| visible(path)).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).filter(|path| visible(path)).collect();
    let layout = Layout::of(&paths, &folders, wanted)?;
    let warnings = layout.warnings(&paths);
    let mut classes = layout.classes();
    classes.extend(folders.iter().filter_map(|path| layout.class_of_folder(path)).map(str::to_owned));
    let photos = paths.iter().filter(|path| !is_side_file(path));
    classes.extend(photos.filter_map(|path| layout.place(path).ok()).map(|place| place.class.to_owned()));
    let (mut candidates, mut skipped) = (Vec::new(), Vec::new());
    for file in files {
        let place = layout.place(&file.path);
        // A folder of notes beside the class folders is none itself.
        let place = place.and_then(|place| classes.get(place.class).map(|_| place).ok_or("in a folder without photos"));
        match (place, file.contents) {
            (_, Err(reason)) => skipped.push(Skipped { path: layout.inner(&file.path).to_owned(), reason }),
            (Err(reason), Ok(_)) => {
                skipped.push(Skipped { path: layout.inner(&file.path).to_owned(), reason: reason.to_owned() });
            }
            (Ok(Place { class, split, path }), Ok(contents)) => {
                candidates.push(Candidate { class: class.to_owned(), split, path: path.to_owned(), contents });
            }
        }
    }
    Ok(Arranged { has_splits: layout.has_splits(), classes, candidates, skipped, warnings })
}

/// `files` with composed paths; of files that differ in their spelling alone the later ones get a number.
fn composed<T>(mut files: Vec<Arrived<T>>) -> Vec<Arrived<T>> {
    // One order, whatever they arrived in, so that equal data sets are equal.
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut taken = HashSet::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for file in &mut files {
        let spelling: String = file.path.nfc().collect();
        let mut path = spelling.clone();
        while !taken.insert(path.clone()) {
            let number = numbers.entry(spelling.clone()).or_insert(1);
            *number += 1;
            path = with_number(&spelling, *number);
        }
        file.path = path;
    }
    files
}

/// `ants/1.jpg` as `ants/1 (2).jpg`.
fn with_number(path: &str, number: usize) -> String {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let end = path[name..].rfind('.').map_or(path.len(), |at| name + at);
    format!("{} ({number}){}", &path[..end], &path[end..])
}
