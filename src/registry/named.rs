//! Models as people name them: `NAME`, or `NAME@VERSION`.
//!
//! The one parser of that form, for command line, HTTP and recipes. Knows not which models there are.

use crate::message::excerpt;

/// A version that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is `{}`; write `NAME`, or `NAME@VERSION` with a version such as `{}@1`", excerpt(.0), excerpt(.0.split('@').next().filter(|name| !name.is_empty()).unwrap_or("vgg16")))]
pub struct NamedModelError(String);

/// The name in `text`, and the version behind its `@`, if there is one.
///
/// # Errors
/// An `@` without a name before it or a whole number from 1 behind it.
pub fn named_model(text: &str) -> Result<(&str, Option<u32>), NamedModelError> {
    let Some((name, version)) = text.split_once('@') else { return Ok((text, None)) };
    let version = version.bytes().all(|digit| digit.is_ascii_digit()).then(|| version.parse().ok()).flatten();
    match version.filter(|version| *version > 0 && !name.is_empty()) {
        Some(version) => Ok((name, Some(version))),
        None => Err(NamedModelError(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_an_at_sign() {
        let check = |text: &str, expected: Option<(&str, Option<u32>)>| assert_eq!(named_model(text).ok(), expected, "{text}");
        check("vgg16", Some(("vgg16", None)));
        check("vgg16@3", Some(("vgg16", Some(3))));
        for wrong in ["vgg16@", "vgg16@0", "vgg16@-1", "vgg16@+1", "vgg16@latest", "vgg16@1@2", "@1", "@", "vgg16@4294967296"] {
            check(wrong, None);
        }
        let error = named_model("vgg16@latest").unwrap_err().to_string();
        assert_eq!(error, "is `vgg16@latest`; write `NAME`, or `NAME@VERSION` with a version such as `vgg16@1`");
    }
}
