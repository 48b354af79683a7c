//! `{"images":[{"b64":"…","name":"…"}]}`: base64 of either alphabet, padded or not, or a `data:` URI.

use std::borrow::Cow;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use utoipa::ToSchema;

use super::NamedImage;
use crate::http::{body::Reservation, error::ApiError, problem::ImageProblem};

/// Entries that are kept in memory at all; the configured bound is checked against the count.
const MAX_ENTRIES: usize = 1 << 16;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads the images of a JSON body, away from the async threads.
///
/// # Errors
/// JSON of another form, too many images, base64 that cannot be read, no memory for the decoded bytes.
pub async fn read(body: Bytes, max_images: usize, reservation: &Reservation) -> Result<Vec<NamedImage>, ApiError> {
    // Base64 shrinks by a quarter, and both forms are in memory until the end of this function.
    reservation.raise_to(reservation.held().saturating_add(body.len() / 4 * 3))?;
    tokio::task::spawn_blocking(move || parse(&body, max_images)).await.map_err(ApiError::internal)?
}

/// Images in JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImagesRequest<'a> {
    /// At least one; the answer keeps their order.
    #[serde(borrow, deserialize_with = "bounded")]
    images: Vec<ImageEntry<'a>>,
}

/// An image in JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry<'a> {
    /// Base64, either alphabet, padding optional; or a `data:` URI.
    #[serde(borrow)]
    #[schema(value_type = String)]
    b64: Cow<'a, str>,
    /// What the answer calls it; its position without.
    name: Option<String>,
}

fn parse(body: &[u8], max_images: usize) -> Result<Vec<NamedImage>, ApiError> {
    let document: ImagesRequest = serde_json::from_slice(body).map_err(|error| {
        let hint = if error.to_string().starts_with("unknown field") { "; parameters go into the query string" } else { "" };
        ApiError::MalformedBody(format!("cannot read the JSON body: {error}{hint}"))
    })?;
    if document.images.len() > max_images {
        return Err(ApiError::TooManyImages { limit: max_images });
    }
    let mut images = Vec::with_capacity(document.images.len());
    let mut problems = Vec::new();
    for (position, entry) in document.images.into_iter().enumerate() {
        match decode(&entry.b64) {
            Ok(bytes) => images.push(NamedImage { name: entry.name, bytes: bytes.into() }),
            Err(detail) => {
                let image = entry.name.unwrap_or_else(|| position.to_string());
                problems.push(ImageProblem { image, code: "invalid_base64", detail });
            }
        }
    }
    if problems.is_empty() { Ok(images) } else { Err(ApiError::BadImages(problems)) }
}

/// Bytes of base64 in either alphabet, with or without padding and white space, or of a `data:` URI.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let text = match text.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => {
            let (kind, data) = text.split_once(',').ok_or("the `data:` URI has no comma")?;
            if !kind.to_ascii_lowercase().ends_with(";base64") {
                return Err("the `data:` URI is not base64; write `data:image/jpeg;base64,…`".to_owned());
            }
            data
        }
        _ => text,
    };
    let compact: Cow<'_, str> = if text.contains(|c: char| c.is_ascii_whitespace()) {
        Cow::Owned(text.chars().filter(|c| !c.is_ascii_whitespace()).collect())
    } else {
        Cow::Borrowed(text)
    };
    let engine = if compact.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    engine.decode(compact.as_bytes()).map_err(|error| format!("`b64` is not base64: {error}").to_lowercase())
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ImageEntry<'de>>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<ImageEntry<'de>>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a list of images")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = sequence.next_element()? {
                if entries.len() == MAX_ENTRIES {
                    return Err(serde::de::Error::custom(format!("more than {MAX_ENTRIES} images")));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_seq(Entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = Result<&'a [(Option<&'a str>, &'a [u8])], &'a str>;

    fn check(body: &str, expected: Expected<'_>) {
        match (parse(body.as_bytes(), 2), expected) {
            (Ok(images), Ok(expected)) => {
                let got: Vec<_> = images.iter().map(|image| (image.name.as_deref(), image.bytes.as_ref())).collect();
                assert_eq!(got, expected, "{body}");
            }
            (Err(ApiError::BadImages(problems)), Err(expected)) => {
                let text = format!("{problems:?}");
                assert!(text.contains(expected), "{body}: {text}");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{body}: {error}"),
            (got, expected) => panic!("{body}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn base64_is_read_as_clients_write_it() {
        let bytes: &[u8] = &[0xfb, 0xff, 0xfe, 0x01];
        for b64 in [
            "+//+AQ==",
            "+//+AQ",
            "-__-AQ",
            "-__-AQ==",
            "+//+\\nAQ==\\r\\n",
            "+\\/\\/+AQ==",
            "data:image/png;base64,+//+AQ==",
            "DATA:;base64,-__-AQ",
        ] {
            check(&format!(r#"{{"images":[{{"b64":"{b64}"}}]}}"#), Ok(&[(None, bytes)]));
        }
        check(r#"{"images":[{"b64":"","name":"a"},{"name":"b","b64":"AA"}]}"#, Ok(&[(Some("a"), &[]), (Some("b"), &[0])]));
        check(r#"{"images":[]}"#, Ok(&[]));
    }

    #[test]
    fn other_documents_are_refused_with_the_reason() {
        check("", Err("cannot read the JSON body"));
        check("{", Err("line 1 column 1"));
        check("[]", Err("cannot read the JSON body"));
        check("{}", Err("missing field `images`"));
        check(r#"{"images":[{}]}"#, Err("missing field `b64`"));
        check(r#"{"images":[],"top_k":3}"#, Err("unknown field `top_k`, expected `images`"));
        check(r#"{"images":[],"top_k":3}"#, Err("parameters go into the query string"));
        check(r#"{"images":[{"url":"http://x"}]}"#, Err("unknown field `url`"));
        check(r#"{"images":[{"b64":""},{"b64":""},{"b64":""}]}"#, Err("more than 2 images"));
        check(r#"{"images":[{"b64":"*"},{"b64":"+_","name":"x"}]}"#, Err(r#"image: "x", code: "invalid_base64""#));
        check(r#"{"images":[{"b64":"*"},{"b64":"AA"}]}"#, Err(r#"image: "0", code: "invalid_base64""#));
        check(r#"{"images":[{"b64":"data:image/png,abc"}]}"#, Err("not base64; write `data:image/jpeg;base64,…`"));
        check(r#"{"images":[{"b64":"data:image/png;base64"}]}"#, Err("no comma"));
    }

    #[test]
    fn a_flood_of_entries_is_cut_short() {
        let entries = vec![r#"{"b64":""}"#; MAX_ENTRIES + 1].join(",");
        check(&format!(r#"{{"images":[{entries}]}}"#), Err("more than 65536 images"));
    }
}
