//! The parameters of a header: `multipart/form-data; boundary=x`, `form-data; name="a"; filename*=UTF-8''%c3%a4.jpg`.
//!
//! Reads them as clients write them, quoted or not, and file names in every form that is in use. Knows no bodies.

use base64::{Engine, engine::general_purpose::STANDARD};
use encoding_rs::{Encoding, WINDOWS_1252};
use percent_encoding::percent_decode;

/// Most parameters of a header that are read.
const MAX_PARAMETERS: usize = 32;

/// A header's parameters, in order, their names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderParameters(Vec<(String, Vec<u8>)>);

impl HeaderParameters {
    /// The parameters behind the first `;` of `header`; what is none is skipped.
    pub fn of(header: &[u8]) -> Self {
        let mut parameters = Vec::new();
        let mut rest = header.iter().position(|byte| *byte == b';').map_or(&[][..], |at| &header[at..]);
        while let Some(after) = rest.strip_prefix(b";").filter(|_| parameters.len() < MAX_PARAMETERS) {
            let end = after.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(after.len());
            let name = String::from_utf8_lossy(after[..end].trim_ascii()).to_ascii_lowercase();
            rest = &after[end..];
            if let Some(text) = rest.strip_prefix(b"=") {
                let (value, behind) = value(text.trim_ascii_start());
                parameters.push((name, value));
                rest = behind;
            }
        }
        Self(parameters)
    }

    /// The value of the parameter `name`, its bytes as they came.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// The value of `name` as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(text)
    }

    /// The file's name: `filename*` (RFC 8187) if it can be read, else `filename`, with what clients put into it.
    ///
    /// That is UTF-8 or Latin-1 as it is, `%22` for quotes (WHATWG), or words as in mail (RFC 2047), as .NET writes them.
    pub fn file_name(&self) -> Option<String> {
        let extended = self.get("filename*").and_then(extended);
        extended.or_else(|| self.text("filename").map(|name| encoded_words(&name).unwrap_or_else(|| unquoted(&name))))
    }
}

/// The value that `text` begins with, and what follows it from the next `;` on.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let next = |from: &[u8]| from.iter().position(|byte| *byte == b';').unwrap_or(from.len());
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (value, rest) = text.split_at(next(text));
        return (value.trim_ascii_end().to_vec(), rest);
    };
    let (mut value, mut at) = (Vec::new(), 0);
    while let Some(byte) = quoted.get(at) {
        match (byte, quoted.get(at + 1)) {
            (b'"', _) => break,
            // Other backslashes are those of a path on Windows.
            (b'\\', Some(escaped @ (b'"' | b'\\'))) => {
                value.push(*escaped);
                at += 1;
            }
            _ => value.push(*byte),
        }
        at += 1;
    }
    let rest = &quoted[at.min(quoted.len())..];
    (value, &rest[next(rest)..])
}

/// UTF-8, or else Latin-1 as browsers mean it.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// `charset'language'percent-encoded` (RFC 8187 §3.2.1).
fn extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(encoded).collect();
    in_charset(charset, &bytes)
}

fn in_charset(charset: &[u8], bytes: &[u8]) -> Option<String> {
    let encoding = Encoding::for_label(charset)?;
    encoding.decode_without_bom_handling_and_without_replacement(bytes).map(|text| text.into_owned())
}

/// What browsers write for the three characters that would end a quoted name, and for no other.
fn unquoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        let letter = match rest.get(at..at + 3) {
            Some("%22") => Some('"'),
            Some("%0D" | "%0d") => Some('\r'),
            Some("%0A" | "%0a") => Some('\n'),
            _ => None,
        };
        text.push_str(&rest[..at]);
        text.push(letter.unwrap_or('%'));
        rest = &rest[at + if letter.is_some() { 3 } else { 1 }..];
    }
    text + rest
}

/// `=?charset?B?…?=` or `=?charset?Q?…?=`, one or several (RFC 2047); `None` for anything else.
fn encoded_words(name: &str) -> Option<String> {
    let word = |word: &str| {
        let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
        let (charset, kind, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = match kind {
            "B" | "b" => STANDARD.decode(encoded).ok()?,
            "Q" | "q" => percent_decode(encoded.replace('_', " ").replace('%', "%25").replace('=', "%").as_bytes()).collect(),
            _ => return None,
        };
        // RFC 2231 allows a language behind the charset.
        in_charset(charset.split('*').next()?.as_bytes(), &bytes)
    };
    let words: Vec<String> = name.split_ascii_whitespace().map(word).collect::<Option<_>>()?;
    (!words.is_empty()).then(|| words.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: impl AsRef<[u8]>, name: Option<&str>, file_name: Option<&str>) {
        let parameters = HeaderParameters::of(header.as_ref());
        let shown = String::from_utf8_lossy(header.as_ref());
        assert_eq!((parameters.text("name").as_deref(), parameters.file_name().as_deref()), (name, file_name), "{shown}");
    }

    #[test]
    fn parameters_are_quoted_or_not_in_any_order() {
        check("form-data", None, None);
        check("form-data;", None, None);
        check("form-data; name", None, None);
        check(r#"form-data; name="a""#, Some("a"), None);
        check("form-data; name=a", Some("a"), None);
        check("form-data;name=a;filename=b.jpg", Some("a"), Some("b.jpg"));
        check("form-data; filename = b c.jpg ; NAME = a", Some("a"), Some("b c.jpg"));
        check(r#"form-data; filename="b; name=x.jpg"; name="a""#, Some("a"), Some("b; name=x.jpg"));
        check(r#"form-data; name=""; filename="""#, Some(""), Some(""));
        check(r#"form-data; name="a"; filename="never closed.jpg"#, Some("a"), Some("never closed.jpg"));
        check(r#"form-data; xname="x"; name="a""#, Some("a"), None);
    }

    #[test]
    fn file_names_are_read_as_clients_write_them() {
        let file = |parameters: &str, expected: &str| check(format!("form-data; {parameters}"), None, Some(expected));
        file(r#"filename="ä.jpg""#, "ä.jpg");
        file(r#"filename="a \"b\" c.jpg""#, r#"a "b" c.jpg"#);
        file(r#"filename="C:\photos\a.jpg""#, r"C:\photos\a.jpg");
        file(r#"filename="a %22b%22 c.jpg""#, r#"a "b" c.jpg"#);
        file(r#"filename="100%.jpg""#, "100%.jpg");
        file(r#"filename="100%25 %2.jpg""#, "100%25 %2.jpg");
        file(r#"filename="two%0D%0Alines.jpg""#, "two\r\nlines.jpg");
        // RFC 8187's own example, and what is older than it.
        file("filename*=UTF-8''%e2%82%ac%20rates.jpg", "€ rates.jpg");
        file("filename=euro.jpg; filename*=utf-8'en'%e2%82%ac.jpg", "€.jpg");
        file("filename*=utf-8''%e2%82%ac.jpg; filename=euro.jpg", "€.jpg");
        file("filename*=iso-8859-1''na%EFve.jpg", "naïve.jpg");
        file(r#"filename*="UTF-8''quoted%20too.jpg""#, "quoted too.jpg");
        for unreadable in ["UTF-8''%ff.jpg", "no-charset''x.jpg", "x.jpg"] {
            file(&format!("filename=plain.jpg; filename*={unreadable}"), "plain.jpg");
        }
        // .NET, with and without the other of its pair.
        file(r#"filename="=?utf-8?B?w6QuanBn?="; filename*=utf-8''%C3%A4.jpg"#, "ä.jpg");
        file(r#"filename="=?utf-8?B?w6QuanBn?=""#, "ä.jpg");
        file("filename=\"=?utf-8?B?w6Q=?= =?utf-8?Q?_=C3=A4%.jpg?=\"", "ä ä%.jpg");
        file(r#"filename="=?utf-8?B?not base64?=""#, "=?utf-8?B?not base64?=");
        check(b"form-data; name=\"a\"; filename=\"caf\xe9.jpg\"", Some("a"), Some("café.jpg"));
        check(b"form-data; name=\"a\"; filename=caf\xe9.jpg", Some("a"), Some("café.jpg"));
    }

    #[test]
    fn boundaries_are_parameters_too() {
        for (header, expected) in [
            ("multipart/form-data; boundary=+++", "+++"),
            ("multipart/form-data; charset=utf-8; Boundary=\"a b\"", "a b"),
            ("multipart/form-data;boundary=a'b/c=d", "a'b/c=d"),
        ] {
            assert_eq!(HeaderParameters::of(header.as_bytes()).text("boundary").as_deref(), Some(expected));
        }
    }
}
