//! Class labels: ImageNet's, numbered ones for untrained models, and a user's own file.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
};

use serde::Deserialize;

use super::metadata::Label;
use crate::{config::open_regular, message::ServerPath};

/// The 1000 classes of ILSVRC 2012 in Keras's order: WordNet id, tab, name (Keras's `imagenet_class_index.json`).
const IMAGENET: &str = include_str!("imagenet_classes.tsv");

/// Largest file of labels in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Longest label in bytes.
const MAX_LABEL_BYTES: usize = 256;

/// The 1000 ImageNet classes in the order of Keras's models.
pub fn imagenet_labels() -> Vec<Label> {
    let pairs = IMAGENET.lines().map(|line| line.split_once('\t').expect("each line of the table has one tab"));
    pairs.map(|(wnid, label)| Label { label: label.to_owned(), wnid: Some(wnid.to_owned()) }).collect()
}

/// `class_0`, `class_1` … for a model that knows no names.
pub fn numbered_labels(count: usize) -> Vec<Label> {
    (0..count).map(|index| Label { label: format!("class_{index}"), wnid: None }).collect()
}

/// Why a file of labels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// The file cannot be read.
    #[error("cannot read the labels `{path}`")]
    Read {
        /// The file.
        path: ServerPath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It looks like JSON, but is none, or another.
    #[error(
        "the labels `{path}` are neither a JSON list of names nor Keras's class index ({{\"0\": [\"n01440764\", \"tench\"], …}})"
    )]
    Json {
        /// The file.
        path: ServerPath,
        /// Line and rule.
        #[source]
        source: serde_json::Error,
    },
    /// A rule is broken.
    #[error("the labels `{path}` {rule}")]
    Rule {
        /// The file.
        path: ServerPath,
        /// What is wrong, with the line or the class.
        rule: String,
    },
}

/// Reads a user's labels, one per class in index order.
///
/// Text has one label per line; JSON is a list of names, `{"0": "tench", …}` or Keras's `{"0": ["n01440764", "tench"], …}`.
///
/// # Errors
/// When the file cannot be read or is larger than 16 MiB, when a label is empty, longer than 256 bytes or holds control
/// characters, and when indices are not 0 to n−1.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<Label>, LabelsError> {
    let path = path.as_ref();
    let read = |source| LabelsError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    open_regular(path).map_err(read)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    let broken = |rule| LabelsError::Rule { path: path.into(), rule };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(broken(format!("are larger than {MAX_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        broken(format!("are not UTF-8 text (line {line})"))
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let json = |source| LabelsError::Json { path: path.into(), source };
    match text.trim_start().chars().next() {
        Some('[') => from_list(&serde_json::from_str::<Vec<String>>(text).map_err(json)?),
        Some('{') => from_index(serde_json::from_str(text).map_err(json)?),
        _ => from_lines(text),
    }
    .map_err(broken)
}

/// A class in a JSON object.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a name or [wnid, name]")]
enum IndexEntry {
    Name(String),
    WnidAndName(String, String),
}

fn from_lines(text: &str) -> Result<Vec<Label>, String> {
    let lines = text.trim_end().lines().enumerate();
    let labels: Vec<_> =
        lines.map(|(index, line)| label(line, None, || format!("line {}", index + 1))).collect::<Result<_, _>>()?;
    if labels.is_empty() { Err("are empty; give one label per line".into()) } else { Ok(labels) }
}

fn from_list(names: &[String]) -> Result<Vec<Label>, String> {
    if names.is_empty() {
        return Err("are an empty list".into());
    }
    names.iter().enumerate().map(|(index, name)| label(name, None, || format!("class {index}"))).collect()
}

fn from_index(entries: BTreeMap<String, IndexEntry>) -> Result<Vec<Label>, String> {
    let mut labels = vec![None; entries.len()];
    for (key, entry) in entries {
        let slot = key.parse::<usize>().ok().and_then(|index| labels.get_mut(index));
        let Some(slot) = slot else {
            return Err(format!("have the key `{key}`; {} classes have the keys `0` to `{}`", labels.len(), labels.len() - 1));
        };
        let (wnid, name) = match &entry {
            IndexEntry::Name(name) => (None, name),
            IndexEntry::WnidAndName(wnid, name) => (Some(wnid.as_str()), name),
        };
        *slot = Some(label(name, wnid, || format!("class {key}"))?);
    }
    let count = labels.len();
    let labels: Vec<Label> = labels.into_iter().flatten().collect();
    if labels.is_empty() || labels.len() < count {
        return Err("are empty or name a class twice; each class has one key, from `0` on".into());
    }
    Ok(labels)
}

fn label(text: &str, wnid: Option<&str>, place: impl Fn() -> String) -> Result<Label, String> {
    let text = text.trim();
    let rule = if text.is_empty() {
        "an empty label"
    } else if text.len() > MAX_LABEL_BYTES {
        "a label longer than 256 bytes"
    } else if text.chars().chain(wnid.unwrap_or("").chars()).any(char::is_control) {
        "a label with control characters"
    } else {
        return Ok(Label { label: text.to_owned(), wnid: wnid.map(str::to_owned) });
    };
    Err(format!("have {rule} ({})", place()))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn imagenet_is_keras_table() {
        let labels = imagenet_labels();
        assert_eq!(labels.len(), 1000);
        let at = |index: usize| (labels[index].wnid.as_deref().unwrap(), labels[index].label.as_str());
        assert_eq!((at(0), at(820)), (("n01440764", "tench"), ("n04310018", "steam_locomotive")));
        assert_eq!(at(999), ("n15075141", "toilet_tissue"));
        let line = |(index, label): (usize, &Label)| format!("{index} {} {}\n", label.wnid.as_deref().unwrap(), label.label);
        let digest = Sha256::digest(labels.iter().enumerate().map(line).collect::<String>());
        // Of the same lines, written from Keras's `imagenet_class_index.json`.
        assert_eq!(hex::encode(digest), "a4d329d6522458b6c896d6e672b1c76c03b7b7933ee7b3a8e0303cafa57e406d");
    }

    #[test]
    fn reads_every_form() {
        let check = |text: &str, expected: &[(&str, Option<&str>)]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let labels = read_labels(file.path()).unwrap();
            let found: Vec<_> = labels.iter().map(|label| (label.label.as_str(), label.wnid.as_deref())).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("ant\nbee\n", &[("ant", None), ("bee", None)]);
        check("\u{feff}ant\r\nhoney bee\r\n\r\n", &[("ant", None), ("honey bee", None)]);
        check("[\"ant\", \"bee\"]", &[("ant", None), ("bee", None)]);
        check("\n{\"1\": \"bee\", \"0\": \"ant\"}", &[("ant", None), ("bee", None)]);
        check("{\"0\": [\"n01440764\", \"tench\"]}", &[("tench", Some("n01440764"))]);
    }

    #[test]
    fn refuses_with_the_line_and_the_rule() {
        let check = |text: &[u8], expected: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let error = read_labels(file.path()).unwrap_err();
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            let message = format!("{error}{source}").replace(&format!(" `{}`", file.path().display()), "");
            assert!(message.starts_with("the labels") && message.contains(expected), "{message}");
        };
        check(b"", "the labels are empty");
        check(b"ant\n\nbee\n", "have an empty label (line 2)");
        check(b"ant\nbee\tx\n", "have a label with control characters (line 2)");
        check("x".repeat(257).as_bytes(), "a label longer than 256 bytes (line 1)");
        check(b"ant\n\xff\n", "are not UTF-8 text (line 2)");
        check(b"[]", "are an empty list");
        check(b"[\"ant\", \" \"]", "have an empty label (class 1)");
        check(b"[\"ant\", 3]", "line 1 column 9");
        check(b"{}", "the labels are empty");
        check(b"{\"1\": \"ant\"}", "have the key `1`; 1 classes have the keys `0` to `0`");
        check(b"{\"0\": \"ant\", \"00\": \"bee\"}", "name a class twice");
        check(b"{\"0\": 5}", "expected a name or [wnid, name]");
        check(b"{\"0\"", "line 1 column 4");
        let missing = read_labels("/nowhere/labels.txt").unwrap_err().to_string();
        assert_eq!(missing, "cannot read the labels `/nowhere/labels.txt`");
    }

    #[test]
    fn a_client_reads_the_name_that_it_knows_of_labels() {
        use crate::{message::Folders, registry::ImportError, telemetry::chain};
        let error = ImportError::from(read_labels("/srv/graft/imports/7/labels.json").expect_err("there are none"));
        let folders = Folders::default().and(Path::new("/srv/graft/imports/7/labels.json"), "the list");
        let shown = folders.for_client(|| chain(&error));
        assert!(shown.contains("`the list`") && !shown.contains("/srv"), "{shown}");
        assert!(chain(&error).contains("/srv"), "whoever runs graft reads it");
    }
}
