//! Why a data set cannot be taken in, read or removed.
//!
//! Names causes; knows no status codes.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use super::{archive::ArchiveKind, entry_path::shown, layout::LayoutFault};
use crate::message::{ServerPath, excerpt};

/// How to pack folders so that they can be read, on every system.
const PACK: &str = "pack the class folders as a plain zip (in Windows `Send to` and `Compressed (zipped) folder`, in macOS's Finder \
                    `Compress`, in Linux `zip -r photos.zip FOLDER`)";

/// Why a data set cannot be taken in, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No data set of that id.
    #[error("there is no data set `{}`; `GET /datasets` lists them", excerpt(.id))]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// As many uploads as are allowed are in progress.
    #[error(
        "{limit} uploads are already in progress{}; try again when one has ended",
        if *.of_client { ", the share of one client (`server.max_client_percent`)" } else { " (`datasets.max_uploads`)" }
    )]
    TooManyUploads {
        /// How many may be.
        limit: u64,
        /// Whether it is one client's share that is full.
        of_client: bool,
    },
    /// The archive is larger than allowed.
    #[error("the archive is larger than {limit} bytes (`datasets.max_upload_bytes`)")]
    UploadTooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// The contents are larger than allowed.
    #[error("{0}")]
    TooLarge(Excess),
    /// All data sets together would be larger than allowed.
    #[error("the data sets would have more than {limit} bytes together (`datasets.max_store_bytes`); delete some")]
    QuotaExceeded {
        /// The bound in bytes.
        limit: u64,
    },
    /// An archive of another kind than was said, and broken.
    #[error("it was sent as a {kind} but begins as a {found} does: {source}")]
    Mislabelled {
        /// What it was to be.
        kind: ArchiveKind,
        /// What it is.
        found: ArchiveKind,
        /// What is wrong with it.
        #[source]
        source: Box<Error>,
    },
    /// An archive of which nothing was said, and which does not look like one.
    #[error("this is neither a zip nor a tar archive, gzipped or not; {PACK}")]
    UnknownArchive,
    /// A photo, or a file like one, and no archive.
    #[error("this is a single photo or document, and no archive; {PACK}")]
    SingleFile,
    /// gzip around another archive than tar.
    #[error("this is a {kind} in gzip; decompress it (`gunzip FILE.gz`), and send the {kind} itself")]
    Gzipped {
        /// What is in it.
        kind: ArchiveKind,
    },
    /// An archive of a kind that is not read.
    #[error("this is a {kind} file, which is not read; unpack it, and {PACK}")]
    ForeignArchive {
        /// Its kind.
        kind: &'static str,
    },
    /// A zip archive that was split over several files.
    #[error("this is one part of a zip archive in several files; join them (`zip -s 0 photos.zip --out whole.zip`), or {PACK}")]
    ArchivePart,
    /// The archive cannot be read.
    #[error("the {kind} is broken: {}; pack it again", shown(&.source.to_string()))]
    Broken {
        /// What it was to be.
        kind: ArchiveKind,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// An entry that is never unpacked.
    #[error("`{}` {fault}", excerpt(.path))]
    Entry {
        /// The entry, shortened when it is long.
        path: String,
        /// What is wrong with it.
        fault: EntryFault,
    },
    /// The contents are no data set.
    #[error("{0}")]
    Contents(ContentsFault),
    /// No folder of the server may be read.
    #[error("folders of the server cannot be imported: `datasets.root` is not configured; upload an archive instead")]
    NoRoot,
    /// A folder of the server, or something in it, that is not read.
    #[error("`{}` {fault}", excerpt(.path))]
    Folder {
        /// As it was given, or found in the folder.
        path: String,
        /// What is wrong with it.
        fault: FolderFault,
    },
    /// A stored data set was changed by something else than graft.
    #[error("the data set's `{path}` cannot be read: {detail}")]
    Corrupt {
        /// The file.
        path: ServerPath,
        /// What is wrong with it.
        detail: String,
    },
    /// No room for it, whatever the configured bound is.
    #[error("the disk is full; free some space, or delete data sets")]
    DiskFull(#[source] io::Error),
    /// The file system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: ServerPath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The caller left.
    #[error("the upload was abandoned")]
    Cancelled,
    /// The work panicked or the runtime is going down.
    #[error("the import of the data set was interrupted")]
    CutShort(#[source] tokio::task::JoinError),
}

/// Which bound the contents exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Bytes of all files.
    #[error("the data set has more than {limit} bytes (`datasets.max_bytes`); split it")]
    Bytes {
        /// The bound.
        limit: u64,
    },
    /// Files and folders.
    #[error("the data set has more than {limit} files and folders (`datasets.max_entries`); split it")]
    Entries {
        /// The bound.
        limit: usize,
    },
    /// Pixels of all images, by their headers.
    #[error(
        "the images of the data set have more than {limit} pixels together (`datasets.max_pixels`); make them smaller (models see \
         far fewer pixels than photos have), or split it"
    )]
    Pixels {
        /// The bound.
        limit: u64,
    },
    /// Bytes per byte that was sent: the sign of an archive made to fill a disk.
    #[error(
        "the archive unpacks to more than {limit} times its size (`datasets.max_ratio`); photos do not, so this looks like a bomb"
    )]
    Ratio {
        /// The bound.
        limit: u64,
    },
}

/// Why an entry is never unpacked; reads on after the entry's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Starts at the root.
    #[error("is an absolute path; pack the folder from within it")]
    Absolute,
    /// Starts with what is a drive elsewhere.
    #[error("begins with a drive (`C:`); pack the folder from within it, or rename it")]
    Drive,
    /// Has `..` in it.
    #[error("leads out of its folder (`..`); pack the folder from within it")]
    Traversal,
    /// Has a control character in it.
    #[error("has a control character in its name; rename it")]
    ControlCharacter,
    /// Bytes that are not UTF-8, with what they may mean.
    #[error(
        "has a name that is not UTF-8{guess}; say what it is with `names=shift_jis` (`--names shift_jis` on the command line) or another encoding, or rename it"
    )]
    NotUtf8 {
        /// How it reads in likely encodings, with what comes before.
        guess: String,
    },
    /// Bytes that the encoding named does not have.
    #[error(
        "has a name that is not {encoding}{guess}; say another one with `names=` (`--names` on the command line), or rename it"
    )]
    NotEncoded {
        /// What it was to be.
        encoding: String,
        /// As in [`Self::NotUtf8`].
        guess: String,
    },
    /// Too many bytes.
    #[error("has more than {limit} bytes in its path; shorten it")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// Too many folders.
    #[error("is more than {limit} folders deep; flatten it")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// The same path a second time.
    #[error("occurs twice; keep one")]
    Duplicate,
    /// A symbolic link, or a hard one to no file before it.
    #[error("is a link; pack what it points to instead (`tar --dereference`, `zip` without `--symlinks`)")]
    Link,
    /// A device, a pipe or a socket.
    #[error("is neither a file nor a folder; leave it out")]
    Special,
    /// Needs a password.
    #[error("is encrypted; {PACK}, without a password")]
    Encrypted,
    /// Compressed in a way that is not read.
    #[error("is compressed as {0}, which is not read; {PACK}")]
    Compression(String),
}

/// Why the contents are no data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentsFault {
    /// Less than two class folders.
    #[error(
        "found {}; a data set has at least two class folders with images in them, `CLASS/photo.jpg` or `train/CLASS/photo.jpg`{}",
        found(.classes), .archive.as_ref().map_or_else(String::new, |path| format!("; unpack `{}` and other archives in it first", shown(path)))
    )]
    TooFewClasses {
        /// Those that there are.
        classes: Vec<String>,
        /// An archive among the files.
        archive: Option<String>,
    },
    /// Folders that cannot be read in one way.
    #[error("{0}")]
    Layout(LayoutFault),
    /// Photos for validation or test alone.
    #[error(
        "all {images} images are set apart for validation or test, and none is to be trained on; if the folder above the classes is none of a split, say `layout=classes`"
    )]
    NoTraining {
        /// Images that can be used.
        images: usize,
    },
    /// A class that cannot be learnt.
    #[error("class `{}` has {usable} usable images to train on{}; each needs at least two, or remove its folder", excerpt(.name), among(*.skipped))]
    TooFewImages {
        /// The class.
        name: String,
        /// Images that can be used.
        usable: usize,
        /// Its files that were skipped.
        skipped: usize,
    },
}

/// Why a folder of the server, or something in it, is not read; reads on after its path.
#[derive(Debug, thiserror::Error)]
pub enum FolderFault {
    /// Outside `datasets.root`, directly or through a link.
    #[error("leads out of the folder that may be read (`datasets.root`)")]
    Outside,
    /// A file, or nothing at all.
    #[error("is not a folder that can be read; check its name and permissions, and unpack archives first")]
    NotAFolder,
    /// The system refused.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
}

impl Error {
    /// Whether a file or folder was not there.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}

/// Attaches what was tried on which path to an `io::Error`.
pub(super) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| {
            let source = source.into();
            match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull(source),
                _ => Error::Io { action, path: path.into(), source },
            }
        })
    }
}

fn found(classes: &[String]) -> String {
    match classes {
        [] => "no class folder".to_owned(),
        [one] => format!("one class folder, `{}`", excerpt(one)),
        more => format!("{} class folders", more.len()),
    }
}

fn among(files: usize) -> String {
    if files == 0 { String::new() } else { format!(" ({files} of its files were skipped)") }
}
