//! A few image files at a time through the engine: memory does not grow with their number.
//!
//! Knows nothing of what is done with the answers.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;

use super::{answer, progress::Progress};
use crate::{
    inference::{Admission, Engine, Image, ImageAnswer, Plan},
    preprocess::ImageError,
};

/// Images that are read, decoded and queued at a time.
pub(super) const BATCH: usize = 16;

/// Runs `files` through `plan` and hands `take` what each got; names each file that is left out, and gives their number.
///
/// # Errors
/// What fails for all of them, `take`'s own, or that no file is an image.
pub(super) async fn each(
    engine: &Engine,
    plan: &Plan,
    files: &[PathBuf],
    mut progress: Option<Progress>,
    mut take: impl FnMut(&Path, ImageAnswer) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let (mut done, mut bad) = (0, 0);
    for some in files.chunks(BATCH) {
        for (file, answer) in some.iter().zip(run(engine, plan, some).await?) {
            match answer {
                Ok(image) => take(file, image)?,
                Err(reason) => {
                    bad += 1;
                    let note = format!("left out {}: {reason}", file.display());
                    progress.as_ref().map_or_else(|| answer::note(&note), |progress| progress.note(&note));
                }
            }
        }
        done += some.len();
        progress.iter_mut().for_each(|progress| progress.set(done as u64, Some(files.len() as u64)));
    }
    progress.into_iter().for_each(Progress::finish);
    match bad == files.len() {
        true => bail!("none of the {bad} files is an image that can be read"),
        false => Ok(bad),
    }
}

/// How a command ends that left out `bad` files and answered the others.
pub(super) fn exit_code(bad: usize) -> ExitCode {
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// Runs `files` through `plan`, which skips bad images: what each got, or why it is left out.
///
/// # Errors
/// What fails for all of them.
pub(super) async fn run(engine: &Engine, plan: &Plan, files: &[PathBuf]) -> anyhow::Result<Vec<Result<ImageAnswer, String>>> {
    let read: Vec<Result<Image, String>> = files.iter().map(|file| read(file, engine.limits().max_bytes)).collect();
    let images = read.iter().flatten().cloned().collect();
    let mut answers = engine.run(plan.clone(), images, &Admission::local()).await?.images.into_iter();
    let mut next = || answers.next().expect("each image has an outcome").map_err(|error| error.to_string());
    Ok(read.into_iter().map(|image| image.and_then(|_| next())).collect())
}

/// A file that is no image may be a film: what is too large is not read.
fn read(file: &Path, max_bytes: usize) -> Result<Image, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > max_bytes {
        return Err(ImageError::TooManyBytes { bytes, limit: max_bytes }.to_string());
    }
    std::fs::read(file).map(|bytes| Image::Encoded(bytes.into())).map_err(|error| error.to_string())
}
