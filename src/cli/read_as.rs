//! Flags that say how a folder of labelled photos is to be read.
//!
//! Reads words; what they change is decided in `datasets`.

use clap::Args;

use crate::datasets::{FolderLayout, NameEncoding, ReadAs};

/// How a folder is to be read.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ReadAsFlags {
    /// What folders called as splits (train, val, test and their like) are; needed where both can be meant
    #[arg(long, value_name = "splits|classes")]
    layout: Option<FolderLayout>,
    /// What names that are not UTF-8 are written in, such as shift_jis or cp437
    #[arg(long, value_name = "ENCODING")]
    names: Option<NameEncoding>,
}

impl From<ReadAsFlags> for ReadAs {
    fn from(ReadAsFlags { layout, names }: ReadAsFlags) -> Self {
        Self { layout, names }
    }
}
