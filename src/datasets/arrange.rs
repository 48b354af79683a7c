//! Files in their classes and splits, by paths alone, whatever stands for their contents.
//!
//! Data sets and folders that are read in place share it; reads no file.

use std::collections::BTreeSet;

use super::{
    inbox::never_an_image,
    layout::{Layout, Place},
    manifest::{Skipped, Split},
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
    /// Without an outer folder.
    pub path: String,
    pub contents: T,
}

/// Files and folders in their places.
#[derive(Debug)]
pub(super) struct Arranged<T> {
    pub layout: Layout,
    /// Names of the classes, those of empty folders too.
    pub classes: BTreeSet<String>,
    pub candidates: Vec<Candidate<T>>,
    pub skipped: Vec<Skipped>,
}

/// Finds the layout of what arrived, and places every file.
pub(super) fn arrange<T>(files: Vec<Arrived<T>>, folders: &BTreeSet<String>) -> Arranged<T> {
    let visible = |path: &str| !path.is_empty() && never_an_image(path).is_none();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(|path| visible(path)).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).filter(|path| visible(path)).collect();
    let layout = Layout::of(paths.iter().copied(), folders.iter().copied());
    let empty = folders.iter().filter_map(|path| layout.class_of_folder(path));
    let mut classes: BTreeSet<String> = empty.map(str::to_owned).collect();
    classes.extend(paths.iter().filter_map(|path| layout.place(path).ok()).map(|place| place.class.to_owned()));
    let (mut candidates, mut skipped) = (Vec::new(), Vec::new());
    for file in files {
        match (layout.place(&file.path), file.contents) {
            (_, Err(reason)) => skipped.push(Skipped { path: layout.inner(&file.path).to_owned(), reason }),
            (Err(reason), Ok(_)) => {
                skipped.push(Skipped { path: layout.inner(&file.path).to_owned(), reason: reason.to_owned() });
            }
            (Ok(Place { class, split, path }), Ok(contents)) => {
                candidates.push(Candidate { class: class.to_owned(), split, path: path.to_owned(), contents });
            }
        }
    }
    Arranged { layout, classes, candidates, skipped }
}
