//! `{"images": ["…", {"b64": "…", "name": "…"}], "top_k": 3}`: base64 of either alphabet, padded or not, or a `data:` URI, and parameters.
//!
//! Reads strings where they stand: nothing of a body that is refused is kept, and no message repeats more than an excerpt of it.

use std::{
    fmt,
    io::{self, Read as _},
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    read::DecoderReader,
};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    NamedImage, Read,
    value::{Name, Short, Value},
};
use crate::{
    http::{body::BodyFault, error::ApiError, intake::Intake, json::text, parameters::Parameter, query::unknown},
    inference::Admission,
    message::{excerpt, serde_message},
};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads the images of a JSON body, and what else it holds of `allowed`, away from the async threads. What is read takes no more
/// memory than the body did, which is given back.
///
/// # Errors
/// JSON of another form, too many images, no memory for reading, or never enough of it.
pub async fn read(body: Bytes, intake: &Intake, allowed: &'static [Parameter], admission: &Admission) -> Result<Read, ApiError> {
    let (held, max_images) = (admission.clone(), intake.max_images);
    let read = move || {
        let (length, more) = (body.len(), copies(&body));
        let (needed, limit) = (length.saturating_add(more) as u64, held.memory().most());
        if needed > limit {
            return Err(ApiError::JsonNeverFits { needed, limit });
        }
        held.take(more).map_err(BodyFault::from)?;
        let read = parse(&body, max_images, allowed)?;
        drop(body);
        held.memory().lower_to(length as u64);
        Ok(read)
    };
    intake.encoding.run(admission.origin(), read).await.expect("any number may wait")
}

/// Bytes that reading holds beside the body: what base64 decodes to, and the longest text that has escapes once more without them,
/// in a buffer that doubles as it grows.
fn copies(body: &[u8]) -> usize {
    let (mut longest, mut length, mut escaped, mut escapes) = (0, 0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => (escaped, escapes) = (true, true),
            b'"' => (length, escapes) = (0, false),
            _ => {}
        }
        length += 1;
        if escapes {
            longest = longest.max(length);
        }
    }
    (body.len() / 4 * 3).saturating_add(longest * 2)
}

fn parse(body: &[u8], max_images: usize, allowed: &[Parameter]) -> Result<Read, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(text(body)?);
    let read = Body { max_images, allowed }.deserialize(&mut reader).and_then(|document| reader.end().map(|()| document));
    let document = read.map_err(|error| malformed(&serde_message(&error)))?;
    let parameters = parameters(document.others, allowed)?;
    let Some(entries) = document.images else { return Err(malformed("missing field `images`")) };
    if entries.count > max_images {
        return Err(ApiError::TooManyImages { limit: max_images });
    }
    let image = |Entry { name, bytes }| match bytes {
        Ok(bytes) => NamedImage::new(name, bytes.into()),
        Err(detail) => NamedImage { name, bytes: Bytes::new(), fault: Some(detail) },
    };
    Ok(Read { images: entries.kept.into_iter().map(image).collect(), parameters })
}

fn malformed(what: &str) -> ApiError {
    ApiError::MalformedBody(format!("cannot read the JSON body: {what}"))
}

/// The fields besides `images` as parameters, null ones left out.
fn parameters(others: Vec<(Short, Value)>, allowed: &[Parameter]) -> Result<Vec<(String, String)>, ApiError> {
    let mut parameters = Vec::new();
    for (Short(name), value) in others {
        let Some(parameter) = Parameter::find(allowed, &name) else {
            let fields = [vec!["images"], Parameter::names(allowed)].concat();
            return Err(ApiError::InvalidParameter(unknown(&name, &fields)));
        };
        match value {
            Value::Null => {}
            Value::One(value) => parameters.push((name, value)),
            Value::Many(values) if parameter.repeats => parameters.extend(values.into_iter().map(|value| (name.clone(), value))),
            Value::Many(_) => return Err(ApiError::InvalidParameter(format!("`{name}` is a list; give one value"))),
            Value::Other(what) => return Err(ApiError::InvalidParameter(format!("`{name}` is {what}; give one value"))),
        }
    }
    Ok(parameters)
}

/// What a body holds.
#[derive(Default)]
struct Document {
    images: Option<Entries>,
    others: Vec<(Short, Value)>,
}

/// Images, as many as may be, and how many there were.
struct Entries {
    kept: Vec<Entry>,
    count: usize,
}

/// An image, or why its base64 cannot be read.
struct Entry {
    name: Option<String>,
    bytes: Result<Vec<u8>, String>,
}

/// Reads a body.
#[derive(Clone, Copy)]
struct Body<'a> {
    max_images: usize,
    allowed: &'a [Parameter],
}

/// Reads the list of images.
#[derive(Clone, Copy)]
struct List {
    max_images: usize,
}

/// Reads an image.
struct EntryVisitor;

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `images`")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Document, E> {
        Err(E::custom("it is a string; send `{\"images\":[\"…\"]}`"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut document = Document::default();
        while let Some(Short(name)) = map.next_key::<Short>()? {
            match name.as_str() {
                "images" if document.images.is_some() => return Err(A::Error::duplicate_field("images")),
                "images" => document.images = Some(map.next_value_seed(List { max_images: self.max_images })?),
                _ if document.others.len() == MAX_OTHERS => {
                    return Err(A::Error::custom("more fields than there are parameters"));
                }
                // Whatever is in it, the name is what is wrong.
                other if Parameter::find(self.allowed, other).is_none() => {
                    map.next_value::<IgnoredAny>()?;
                    document.others.push((Short(name), Value::Null));
                }
                _ => document.others.push((Short(name), map.next_value()?)),
            }
        }
        Ok(document)
    }
}

/// Fields besides `images` that are read at all.
const MAX_OTHERS: usize = 64;

impl<'de> DeserializeSeed<'de> for List {
    type Value = Entries;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entries, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of images")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Entries, E> {
        Err(E::custom("`images` is a string; put it into a list, `{\"images\":[\"…\"]}`"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Entries, A::Error> {
        let mut entries = Entries { kept: Vec::new(), count: 0 };
        loop {
            // Images beyond the bound are counted, and not decoded.
            let more = if entries.count < self.max_images {
                sequence.next_element()?.map(|entry| entries.kept.push(entry))
            } else {
                sequence.next_element::<IgnoredAny>()?.map(drop)
            };
            match more {
                Some(()) => entries.count += 1,
                None => return Ok(entries),
            }
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an image: base64, or an object with `b64`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
        Ok(Entry { name: None, bytes: decode(text) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let (mut name, mut bytes) = (None, None);
        while let Some(Short(field)) = map.next_key::<Short>()? {
            match field.as_str() {
                "b64" if bytes.is_some() => return Err(A::Error::duplicate_field("b64")),
                "name" if name.is_some() => return Err(A::Error::duplicate_field("name")),
                "b64" => bytes = Some(map.next_value::<Base64>()?.0),
                "name" => name = Some(map.next_value::<Option<Name>>()?),
                other => {
                    return Err(A::Error::custom(format!(
                        "unknown field `{}` of an image, expected `b64` or `name`",
                        excerpt(other)
                    )));
                }
            }
        }
        let bytes = bytes.ok_or_else(|| A::Error::missing_field("b64"))?;
        Ok(Entry { name: name.flatten().map(|Name(name)| name), bytes })
    }
}

/// A decoded string.
struct Base64(Result<Vec<u8>, String>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Base64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 as a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Base64, E> {
                Ok(Base64(decode(text)))
            }
        }

        deserializer.deserialize_any(Text)
    }
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
        _ if ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) => {
            return Err("it is an address, and graft fetches nothing; send the image's bytes as base64".to_owned());
        }
        _ => text,
    };
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let refused = |error: &dyn fmt::Display| format!("it is not base64: {error}").to_lowercase();
    if !text.contains(|c: char| c.is_ascii_whitespace()) {
        return engine.decode(text).map_err(|error| refused(&error));
    }
    let mut bytes = Vec::with_capacity(text.len().div_ceil(4) * 3);
    DecoderReader::new(Compact(text.as_bytes()), &engine).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// The bytes of a text without its white space, of which no copy is made.
struct Compact<'a>(&'a [u8]);

impl io::Read for Compact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len()
            && let Some((byte, rest)) = self.0.split_first()
        {
            if !byte.is_ascii_whitespace() {
                buffer[read] = *byte;
                read += 1;
            }
            self.0 = rest;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
