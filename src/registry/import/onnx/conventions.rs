//! What model files of others say of themselves in their properties, where a convention is common.
//!
//! Ultralytics' exports (`names`, `task`), lists of classes under the usual keys, and ONNX's own image properties
//! (`docs/MetadataProps.md` of its sources). Graft's own properties are `registry::portable`'s.

use std::collections::BTreeMap;

use crate::{
    graph::Graph,
    message::excerpt,
    preprocess::{ChannelOrder, Fit, Mode, Orientation, Preprocessing, Resize},
    registry::{Assumption, Label, import::ImportError},
};

/// Keys under which class names are found.
const LABEL_KEYS: [&str; 5] = ["names", "classes", "class_names", "labels", "id2label"];

/// Most classes that are read.
const MAX_LABELS: usize = 1_000_000;

/// Refuses what its exporter calls something else than a classifier.
///
/// # Errors
/// [`ImportError::NotAClassifier`].
pub(super) fn check_task(graph: &Graph) -> Result<(), ImportError> {
    match graph.property("task") {
        Some(task) if is_ultralytics(graph) && task != "classify" => {
            let reason = format!("its exporter (Ultralytics) says that its task is `{task}`; graft serves the task `classify`");
            Err(ImportError::NotAClassifier { reason })
        }
        _ => Ok(()),
    }
}

/// That `output` is taken for scores of classes, where a file whose exporter is not known calls its task something else.
pub(super) fn other_task(graph: &Graph, output: &str) -> Option<Assumption> {
    let task = graph.property("task").filter(|task| !task.to_lowercase().contains("classif"))?;
    let assumed = format!("`{output}`, as scores of classes, though the file's property `task` says `{}`", excerpt(task));
    Some(Assumption::new("output_tensor", assumed))
}

/// Names of the classes, in index order, and the key under which they are.
pub(super) fn labels(graph: &Graph) -> Option<(&'static str, Vec<Label>)> {
    LABEL_KEYS.into_iter().find_map(|key| {
        let names = names(graph.property(key)?)?;
        Some((key, names.into_iter().map(|label| Label { label, wnid: None }).collect()))
    })
}

/// How images become input, as far as the file says.
pub(super) fn preprocessing(graph: &Graph, height: u32, width: u32) -> Option<Preprocessing> {
    let plain = Preprocessing { resize: Resize::Bilinear, ..Preprocessing::keras(Mode::None, height, width) };
    if is_ultralytics(graph) {
        let fit = Fit::CenterCrop { shorter_side: height.max(width) };
        return Some(Preprocessing { fit, scale: [1.0 / 255.0; 3], ..plain });
    }
    let order = graph.property("Image.BitmapPixelFormat");
    let range = graph.property("Image.NominalPixelRange");
    let channel_order = match order {
        Some("Bgr8" | "Bgra8") => ChannelOrder::Bgr,
        Some("Rgb8" | "Rgba8") => ChannelOrder::Rgb,
        None if range.is_some() => ChannelOrder::Rgb,
        _ => return None,
    };
    let (mean, scale) = match range {
        Some("Normalized_0_1") => ([0.0; 3], [1.0 / 255.0; 3]),
        Some("Normalized_1_1") => ([127.5; 3], [1.0 / 127.5; 3]),
        Some("NominalRange_0_255") | None => ([0.0; 3], [1.0; 3]),
        Some(_) => return None,
    };
    Some(Preprocessing { channel_order, mean, scale, orientation: Orientation::Ignore, ..plain })
}

fn is_ultralytics(graph: &Graph) -> bool {
    graph.property("author") == Some("Ultralytics")
}

/// The names in a JSON list or object, or in a list or dictionary as Python prints it.
fn names(text: &str) -> Option<Vec<String>> {
    if let Ok(list) = serde_json::from_str::<Vec<String>>(text) {
        return Some(list).filter(|list| !list.is_empty());
    }
    let numbered: BTreeMap<usize, String> = match serde_json::from_str::<BTreeMap<String, String>>(text) {
        Ok(object) => object.into_iter().map(|(key, name)| Some((key.parse().ok()?, name))).collect::<Option<_>>()?,
        Err(_) => python(text)?,
    };
    let in_order = numbered.keys().copied().eq(0..numbered.len());
    (in_order && !numbered.is_empty()).then(|| numbered.into_values().collect())
}

/// `{0: 'a', 1: "b"}` or `['a', "b"]`, by index.
fn python(text: &str) -> Option<BTreeMap<usize, String>> {
    let text = text.trim();
    let is_dictionary = text.starts_with('{') && text.ends_with('}');
    let is_list = text.starts_with('[') && text.ends_with(']');
    if !is_dictionary && !is_list {
        return None;
    }
    let mut rest = text[1..text.len() - 1].trim_start();
    let mut found = BTreeMap::new();
    while !rest.is_empty() {
        let mut index = found.len();
        if is_dictionary {
            let (key, value) = rest.split_once(':')?;
            index = key.trim().parse().ok()?;
            rest = value.trim_start();
        }
        let (name, behind) = quoted(rest)?;
        let fits = index < MAX_LABELS && found.insert(index, name).is_none();
        rest = behind.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        if !fits {
            return None;
        }
    }
    Some(found)
}

/// The text in quotation marks that `rest` begins with, and what follows.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let quote = rest.chars().next().filter(|mark| matches!(mark, '\'' | '"'))?;
    let (mut name, mut rest) = (String::new(), &rest[1..]);
    loop {
        let character = rest.chars().next()?;
        rest = &rest[character.len_utf8()..];
        match character {
            '\\' => {
                let (meant, after) = escaped(rest)?;
                name.push(meant);
                rest = after;
            }
            _ if character == quote => return Some((name, rest)),
            _ => name.push(character),
        }
    }
}

/// What the escape means whose backslash stands before `rest`, as Python's `repr` and JSON write it, and what follows.
fn escaped(rest: &str) -> Option<(char, &str)> {
    let kind = rest.chars().next()?;
    let after = &rest[kind.len_utf8()..];
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        'n' => return Some(('\n', after)),
        'r' => return Some(('\r', after)),
        't' => return Some(('\t', after)),
        other => return Some((other, after)),
    };
    let meant = u32::from_str_radix(after.get(..digits)?, 16).ok().and_then(char::from_u32)?;
    Some((meant, &after[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_the_usual_forms() {
        let check = |text: &str, expected: &[&str]| {
            let found = names(text).unwrap_or_default();
            assert_eq!(found, expected, "{text}");
        };
        check(r#"["cat", "dog"]"#, &["cat", "dog"]);
        check(r#"{"0": "cat", "1": "dog"}"#, &["cat", "dog"]);
        check(r#"{0: 'tench', 1: "jack-o'-lantern", 2: 'it\'s'}"#, &["tench", "jack-o'-lantern", "it's"]);
        check("{1: 'b', 0: 'a, or {x: y}'}", &["a, or {x: y}", "b"]);
        check("['a', 'b',]", &["a", "b"]);
        check(
            r"{0: 'a\xa0b', 1: 'b\nc', 2: 'e\u200b', 3: '\U0001f41d', 4: 'c:\\d'}",
            &["a\u{a0}b", "b\nc", "e\u{200b}", "🐝", "c:\\d"],
        );
        for bad in [
            "",
            "{}",
            "[]",
            "{0: 'a', 2: 'c'}",
            "{0: 'a', 0: 'b'}",
            "{0: a}",
            "{0: 'a",
            "[1, 2]",
            "cat",
            "{",
            "{-1: 'a'}",
            r"['\x4']",
        ] {
            check(bad, &[]);
        }
    }
}
