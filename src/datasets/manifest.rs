//! What is known of a data set, and the two files that hold it: `images.jsonl` and, written last, `dataset.json`.
//!
//! Knows nothing of how the data set came in.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Read, Write},
    ops::Deref,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::error::{At, Error};

/// The folder of contents, in a data set's folder.
pub(super) const IMAGES: &str = "images";

const SUMMARY: &str = "dataset.json";
const LIST: &str = "images.jsonl";

/// The form of the files that this graft writes and reads.
const FORMAT: u32 = 1;

/// Largest `dataset.json` in bytes.
const MAX_SUMMARY_BYTES: u64 = 64 << 20;

/// What is known of a data set besides its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// A UUID, also the folder's name.
    pub id: String,
    /// When it was imported, RFC 3339.
    pub created: String,
    /// SHA-256 over every image's path, class, split and content: equal for equal data, whatever it was packed in.
    pub fingerprint: String,
    /// Classes by name in code-point order; a position is the class's index.
    pub classes: Vec<ClassCount>,
    /// Whether some images are set apart for validation.
    pub has_val: bool,
    /// What its owner should know of it, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Bytes of all contents.
    pub bytes: u64,
    /// Files that were passed over, by path; the first [`MAX_SKIPPED`] of them.
    pub skipped: Vec<Skipped>,
    /// How many files were passed over.
    pub skipped_count: usize,
}

/// Most skipped files that are listed; the rest is counted.
pub const MAX_SKIPPED: usize = 10_000;

/// A class and its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The folder's name.
    pub name: String,
    /// Images to train on.
    pub train: usize,
    /// Images to validate on.
    pub val: usize,
    /// Images to measure on once, at the end.
    #[serde(default)]
    pub test: usize,
}

/// A file that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SkippedDto)]
pub struct Skipped {
    /// Where it was.
    #[schema(example = "train/ants/imageNotFound.gif")]
    pub path: String,
    /// Why.
    #[schema(example = "the bytes are no image; send JPEG, PNG, BMP, GIF, WebP or TIFF")]
    pub reason: String,
}

/// A data set; it never changes, and its files stay as long as a job holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// What is known of it besides its images.
    pub summary: Summary,
    /// Images by path in code-point order; a position is an image's identity for as long as the fingerprint is the same.
    pub images: Vec<ImageEntry>,
    /// The data set's folder.
    pub dir: PathBuf,
}

/// An image of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageEntry {
    /// Where it lay, without outer folders, in Unicode's composed form (NFC): `train/ants/1.jpg`. A name for people: [`Dataset::file`] tells where it is.
    pub path: String,
    /// Index of its class.
    pub class: usize,
    /// What it is for.
    pub split: Split,
    /// Hash of its contents, in hexadecimal.
    pub sha256: String,
}

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Training, or splitting off a part for validation when the data set has no [`Split::Val`].
    Train,
    /// Validation.
    Val,
    /// The last measurement: neither trained nor validated on.
    Test,
}

impl Split {
    /// Every split, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        })
    }
}

impl Deref for Dataset {
    type Target = Summary;

    fn deref(&self) -> &Summary {
        &self.summary
    }
}

/// `dataset.json`.
#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    images: usize,
    #[serde(flatten)]
    summary: Summary,
}

impl Dataset {
    /// The file that holds an image's bytes.
    pub fn file(&self, image: &ImageEntry) -> PathBuf {
        self.dir.join(IMAGES).join(&image.sha256)
    }

    /// Writes both files into `dir` and waits until the disk has them.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        write_synced(&dir.join(LIST), |file| {
            for image in &self.images {
                serde_json::to_writer(&mut *file, image)?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })?;
        let document = Document { format: FORMAT, images: self.images.len(), summary: self.summary.clone() };
        write_synced(&dir.join(SUMMARY), |file| Ok(serde_json::to_writer_pretty(file, &document)?))
    }

    /// Reads the data set in `dir`.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let Document { images: count, summary, .. } = read_document(dir)?;
        let path = dir.join(LIST);
        let corrupt = |detail: String| Error::Corrupt { path: path.clone().into(), detail };
        let lines = BufReader::new(File::open(&path).at("read", &path)?).lines();
        let images = lines.map(|line| {
            let image: ImageEntry = serde_json::from_str(&line.at("read", &path)?).map_err(|error| corrupt(error.to_string()))?;
            let plain = image.sha256.len() == 64 && image.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !plain || image.class >= summary.classes.len() {
                return Err(corrupt(format!("`{}` has no such class or hash", image.path)));
            }
            Ok(image)
        });
        let images = images.collect::<Result<Vec<_>, Error>>()?;
        if images.len() != count {
            return Err(corrupt(format!("it has {} images, not the {count} that `{SUMMARY}` says", images.len())));
        }
        Ok(Self { summary, images, dir: dir.to_owned() })
    }
}

/// Reads what is known of the data set in `dir` besides its images.
pub(super) fn read_summary(dir: &Path) -> Result<Summary, Error> {
    read_document(dir).map(|document| document.summary)
}

/// Bytes of memory that reading what is known of the data set in `dir` takes: its text, and twice as much for what it says.
pub(super) fn summary_memory(dir: &Path) -> u64 {
    fs::metadata(dir.join(SUMMARY)).map_or(0, |metadata| 3 * metadata.len().min(MAX_SUMMARY_BYTES))
}

/// Bytes of all contents of the data set in `dir`, if it says so. Nothing else of what it says is kept in memory.
pub(super) fn stored_bytes(dir: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Size {
        bytes: u64,
    }
    let file = File::open(dir.join(SUMMARY)).ok()?;
    let size: Size = serde_json::from_reader(BufReader::new(file.take(MAX_SUMMARY_BYTES))).ok()?;
    Some(size.bytes)
}

/// The hash that [`Summary::fingerprint`] is. Paths and names hold no control characters, so nothing is ambiguous.
pub(super) fn fingerprint(classes: &[ClassCount], images: &[ImageEntry]) -> String {
    let mut hash = Sha256::new();
    for ImageEntry { path, class, split, sha256 } in images {
        hash.update(format!("{path}\n{}\n{split}\n{sha256}\n", classes[*class].name));
    }
    hex::encode(hash.finalize())
}

fn read_document(dir: &Path) -> Result<Document, Error> {
    let path = dir.join(SUMMARY);
    let corrupt = |detail: String| Error::Corrupt { path: path.clone().into(), detail };
    let mut text = Vec::new();
    let file = File::open(&path).at("read", &path)?;
    file.take(MAX_SUMMARY_BYTES + 1).read_to_end(&mut text).at("read", &path)?;
    if text.len() as u64 > MAX_SUMMARY_BYTES {
        return Err(corrupt(format!("it is larger than {MAX_SUMMARY_BYTES} bytes")));
    }
    let document: Document = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
    if document.format != FORMAT {
        return Err(corrupt(format!("it has format {}, this graft reads {FORMAT}", document.format)));
    }
    if dir.file_name().is_some_and(|name| name != document.summary.id.as_str()) {
        return Err(corrupt(format!("it is that of `{}`; data sets cannot be renamed or copied", document.summary.id)));
    }
    Ok(document)
}

fn write_synced(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<(), Error> {
    let mut file = BufWriter::new(fs::File::create(path).at("create", path)?);
    write(&mut file).at("write", path)?;
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", path)?;
    file.sync_all().at("write", path)
}
