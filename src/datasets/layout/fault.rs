//! Why folders cannot be read in one way, and how a sender decides.
//!
//! Words alone; knows neither files nor status codes.

use crate::datasets::entry_path::shown;

/// How a sender decides between two readings.
const CHOOSE: &str = "`layout=splits` or `layout=classes` (`--layout` on the command line)";

/// Most folders that a message names.
const NAMED: usize = 8;

/// Why it cannot be told which folders are splits and which are classes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFault {
    /// Some folders are called as splits, others are not.
    #[error("the folders can be read in two ways. As splits: {splits}. As classes: {classes}. Say which with {CHOOSE}")]
    TwoReadings {
        /// The first reading, in words.
        splits: String,
        /// The second.
        classes: String,
    },
    /// Folders called as splits, with photos directly in them.
    #[error(
        "the folders can be read in two ways. As splits: no class, since {} {} photos directly, not in class folders. As classes: \
         {classes}. Put photos of splits into class folders (`train/CLASS/`), leave out what is neither, or say `layout=classes` \
         (`--layout classes` on the command line)",
        quoted(.folders), if .folders.len() == 1 { "holds" } else { "hold" }
    )]
    BareSplits {
        /// The folders.
        folders: Vec<String>,
        /// The other reading, in words.
        classes: String,
    },
    /// The same without another reading.
    #[error(
        "{} {} photos directly, and names of files say no class: put the photos into class folders (`train/CLASS/photo.jpg`)",
        quoted(.folders), if .folders.len() == 1 { "holds" } else { "hold" }
    )]
    NoClasses {
        /// The folders.
        folders: Vec<String>,
    },
    /// Folders that hold folders of the same names.
    #[error(
        "{} {}, so that each may be a data set of its own, or a copy. Send one of them, leave a copy out, or say `layout=classes` \
         (`--layout classes` on the command line) for {classes}",
        quoted(.folders),
        match .folders.len() { 1 => "holds folders that lie beside it too", _ => "hold the same folders" }
    )]
    SameFolders {
        /// The folders.
        folders: Vec<String>,
        /// The reading as classes, in words.
        classes: String,
    },
    /// Several folders with splits of their own.
    #[error(
        "{} have splits of their own, so that each may be a data set. Send one of them, or say `layout=classes` for {classes}{} \
         (`--layout` on the command line)",
        quoted(.folders), .splits.as_ref().map_or_else(String::new, |splits| format!("; or `layout=splits` for {splits}"))
    )]
    SeveralSets {
        /// The folders.
        folders: Vec<String>,
        /// What they are if each is a class with its own splits, in words; `None` where they cannot be.
        splits: Option<String>,
        /// The reading without splits, in words.
        classes: String,
    },
    /// Splits were asked for where there are none.
    #[error(
        "`layout=splits` was said, but no folder over or under the classes is called as a split is (`train`, `val`, `test`). As classes: {classes}"
    )]
    NoSplits {
        /// The reading that there is, in words.
        classes: String,
    },
}

fn quoted(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{}`", shown(name))).collect();
    if names.len() > NAMED {
        shown.push(format!("{} more", names.len() - NAMED));
    }
    shown.join(", ")
}
