//! Data sets: archives and folders of labelled photos in, an immutable list of images in classes and splits out.
//!
//! Knows files, archives and whether an image decodes; knows neither models nor HTTP.

mod archive;
mod arrange;
mod assemble;
mod bounds;
mod check;
mod entry_path;
mod error;
mod folder;
mod inbox;
mod labelled;
mod layout;
mod manifest;
mod names;
mod options;
mod staging;
mod store;
mod twins;
mod upload;

pub use archive::ArchiveKind;
pub use error::{ContentsFault, EntryFault, Error, Excess, FolderFault};
pub(crate) use inbox::never_an_image;
pub use labelled::{LabelledFolder, LabelledImage};
pub use layout::LayoutFault;
pub use manifest::{ClassCount, Dataset, ImageEntry, MAX_SKIPPED, Skipped, Split, Summary};
pub use names::{NameEncoding, UnknownEncoding};
pub use options::{FolderLayout, ReadAs, UnknownLayout};
pub use store::{Datasets, PrivateDataset};
pub use upload::Upload;

#[cfg(test)]
pub(crate) mod tests;
