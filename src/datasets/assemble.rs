//! From files that arrived to a data set: drops what is no image, and counts.
//!
//! Knows paths and hashes; opens no file itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::PathBuf,
    time::SystemTime,
};

use uuid::Uuid;

use super::{
    arrange::{self, Arranged},
    bounds::Cancel,
    check::Checker,
    error::{ContentsFault, Error},
    inbox::Delivery,
    manifest::{ClassCount, Dataset, ImageEntry, MAX_SKIPPED, Skipped, Split, Summary, fingerprint},
    options::FolderLayout,
    staging::Staging,
    twins,
};
use crate::registry::rfc3339;

/// Fewest images to train on per class.
const MIN_TRAIN: usize = 2;

/// Endings of archives.
const ARCHIVES: [&str; 6] = [".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"];

/// A file in its place, with the hash of its contents.
pub(super) type Candidate = arrange::Candidate<String>;

/// Makes the data set and deletes the contents that it does not need; it still lies in `delivery`'s staging folder.
///
/// # Errors
/// Contents that are no data set; what the file system refuses.
pub(super) fn assemble(
    delivery: Delivery,
    wanted: Option<FolderLayout>,
    checker: &Checker,
    cancel: &Cancel,
) -> Result<(Staging, Dataset), Error> {
    let Delivery { mut staging, files, folders } = delivery;
    let stored: BTreeSet<String> = files.iter().filter_map(|file| file.contents.clone().ok()).collect();
    let arranged = arrange::arrange(files, &folders, wanted);
    let arranged = arranged.map_err(|fault| Error::Contents(ContentsFault::Layout(fault)))?;
    let Arranged { classes, mut candidates, mut skipped, mut warnings, .. } = arranged;
    drop_broken(&mut candidates, &mut skipped, |sha256| staging.image_path(sha256), checker, cancel)?;
    candidates.sort_by(|a, b| a.path.cmp(&b.path));
    warnings.extend(twins::in_several_classes(&candidates));
    twins::drop_leaks(&mut candidates, &mut skipped);
    let classes = count(classes, &candidates, &skipped)?;
    let used: HashSet<&str> = candidates.iter().map(|candidate| candidate.contents.as_str()).collect();
    for sha256 in stored.iter().filter(|sha256| !used.contains(sha256.as_str())) {
        staging.remove_image(sha256)?;
    }
    let bytes = staging.share.held();
    let mut dataset = dataset(candidates, classes, skipped, bytes);
    dataset.summary.warnings = warnings;
    Ok((staging, dataset))
}

fn drop_broken(
    candidates: &mut Vec<Candidate>,
    skipped: &mut Vec<Skipped>,
    file: impl Fn(&str) -> PathBuf,
    checker: &Checker,
    cancel: &Cancel,
) -> Result<(), Error> {
    let contents: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.contents.as_str()).collect();
    let files: Vec<PathBuf> = contents.iter().map(|sha256| file(sha256)).collect();
    let refused = checker.refused(files, cancel)?;
    skip(candidates, skipped, |candidate| refused.get(&file(&candidate.contents)).cloned());
    Ok(())
}

/// Moves candidates with a reason to the skipped ones.
fn skip(candidates: &mut Vec<Candidate>, skipped: &mut Vec<Skipped>, reason: impl Fn(&Candidate) -> Option<String>) {
    candidates.retain(|candidate| {
        let reason = reason(candidate);
        let keep = reason.is_none();
        skipped.extend(reason.map(|reason| Skipped { path: candidate.path.clone(), reason }));
        keep
    });
}

fn count(classes: BTreeSet<String>, candidates: &[Candidate], skipped: &[Skipped]) -> Result<Vec<ClassCount>, Error> {
    if classes.len() < 2 {
        let is_archive = |path: &&str| ARCHIVES.iter().any(|ending| path.to_lowercase().ends_with(ending));
        let archive = skipped.iter().map(|file| file.path.as_str()).find(is_archive).map(str::to_owned);
        return Err(Error::Contents(ContentsFault::TooFewClasses { classes: classes.into_iter().collect(), archive }));
    }
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for candidate in candidates {
        counts.entry(&candidate.class).or_default()[candidate.split as usize] += 1;
    }
    if !candidates.is_empty() && candidates.iter().all(|candidate| candidate.split != Split::Train) {
        return Err(Error::Contents(ContentsFault::NoTraining { images: candidates.len() }));
    }
    let class = |name: String| {
        let [train, val, test] = counts.get(name.as_str()).copied().unwrap_or_default();
        if train < MIN_TRAIN {
            let of_class = |skipped: &&Skipped| skipped.path.split('/').rev().skip(1).any(|part| part == name);
            let skipped = skipped.iter().filter(of_class).count();
            return Err(Error::Contents(ContentsFault::TooFewImages { name, usable: train, skipped }));
        }
        Ok(ClassCount { name, train, val, test })
    };
    classes.into_iter().map(class).collect()
}

fn dataset(candidates: Vec<Candidate>, classes: Vec<ClassCount>, mut skipped: Vec<Skipped>, bytes: u64) -> Dataset {
    let indices: HashMap<&str, usize> = classes.iter().enumerate().map(|(index, class)| (class.name.as_str(), index)).collect();
    let image = |Candidate { class, split, path, contents }: Candidate| {
        let class = indices[class.as_str()];
        ImageEntry { path, class, split, sha256: contents }
    };
    let mut images: Vec<ImageEntry> = candidates.into_iter().map(image).collect();
    images.sort_by(|a, b| a.path.cmp(&b.path));
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    let skipped_count = skipped.len();
    skipped.truncate(MAX_SKIPPED);
    let summary = Summary {
        id: Uuid::now_v7().to_string(),
        created: rfc3339(SystemTime::now()),
        fingerprint: fingerprint(&classes, &images),
        has_val: images.iter().any(|image| image.split == Split::Val),
        warnings: Vec::new(),
        classes,
        bytes,
        skipped,
        skipped_count,
    };
    Dataset { summary, images, dir: PathBuf::new() }
}
