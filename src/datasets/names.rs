//! Names that are not UTF-8: how a sender says what they are, and what they may be.
//!
//! Knows bytes and encodings; knows neither archives nor what a path may hold.

use std::{fmt, str::FromStr};

use encoding_rs::{BIG5, EUC_KR, Encoding, GBK, IBM866, SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::{entry_path::shown, error::EntryFault};

/// How bytes become names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameEncoding(Known);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The Web's encodings.
    Web(&'static Encoding),
    /// Code pages of DOS that the Web has not.
    Dos(&'static CodePage),
}

/// A code page with ASCII in its lower half.
#[derive(Debug, PartialEq, Eq)]
struct CodePage {
    name: &'static str,
    labels: [&'static str; 3],
    /// Its upper half.
    upper: &'static str,
}

/// Code pages that zip archives are written in: that of the format itself, and those of western and central Europe's Windows.
static CODE_PAGES: [CodePage; 3] = [
    CodePage {
        name: "cp437",
        labels: ["cp437", "ibm437", "437"],
        upper: "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
     └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
    },
    CodePage {
        name: "cp850",
        labels: ["cp850", "ibm850", "850"],
        upper: "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
     └┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}",
    },
    CodePage {
        name: "cp852",
        labels: ["cp852", "ibm852", "852"],
        upper: "ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐\
     └┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}",
    },
];

/// What names are tried in when nobody says what they are.
fn likely() -> [NameEncoding; 9] {
    let web = [SHIFT_JIS, GBK, EUC_KR, BIG5, IBM866].map(|encoding| NameEncoding(Known::Web(encoding)));
    let [shift_jis, gbk, euc_kr, big5, ibm866] = web;
    let [cp437, cp850, cp852] = CODE_PAGES.each_ref().map(|page| NameEncoding(Known::Dos(page)));
    let windows = NameEncoding(Known::Web(WINDOWS_1252));
    [shift_jis, gbk, euc_kr, big5, ibm866, cp437, windows, cp850, cp852]
}

/// Most guesses that a message has.
const GUESSES: usize = 7;

/// No label of an encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it may be the label of an encoding, such as `shift_jis`, `gbk`, `big5`, `euc-kr`, `windows-1252`, `ibm866`, `cp437` or `cp850`"
)]
pub struct UnknownEncoding;

impl FromStr for NameEncoding {
    type Err = UnknownEncoding;

    fn from_str(label: &str) -> Result<Self, UnknownEncoding> {
        let lower = label.trim().to_ascii_lowercase();
        if let Some(page) = CODE_PAGES.iter().find(|page| page.labels.contains(&lower.as_str())) {
            return Ok(Self(Known::Dos(page)));
        }
        // As Windows and Python call them.
        let label = match lower.as_str() {
            "cp932" | "932" => "shift_jis",
            "cp936" | "936" => "gbk",
            "cp949" | "949" => "euc-kr",
            "cp950" | "950" => "big5",
            "cp866" => "ibm866",
            other => other,
        };
        // A file's name is never UTF-16: every second byte would be 0.
        let known = Encoding::for_label_no_replacement(label.as_bytes()).filter(|known| ![UTF_16BE, UTF_16LE].contains(known));
        known.map(|known| Self(Known::Web(known))).ok_or(UnknownEncoding)
    }
}

impl fmt::Display for NameEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Known::Web(encoding) => f.pad(&encoding.name().to_ascii_lowercase()),
            Known::Dos(page) => f.pad(page.name),
        }
    }
}

impl NameEncoding {
    /// The text that `bytes` are, if they are one.
    fn decode(self, bytes: &[u8]) -> Option<String> {
        match self.0 {
            Known::Web(encoding) => {
                encoding.decode_without_bom_handling_and_without_replacement(bytes).map(std::borrow::Cow::into_owned)
            }
            Known::Dos(page) => bytes.iter().map(|&byte| page.letter(byte)).collect(),
        }
    }
}

impl CodePage {
    fn letter(&self, byte: u8) -> Option<char> {
        if byte.is_ascii() { Some(byte.into()) } else { self.upper.chars().nth(usize::from(byte - 0x80)) }
    }
}

/// The name that `bytes` are: UTF-8, else as `encoding` says.
///
/// # Errors
/// Bytes that are neither.
pub(super) fn read_name(bytes: &[u8], encoding: Option<NameEncoding>) -> Result<String, EntryFault> {
    std::str::from_utf8(bytes).map(str::to_owned).or_else(|_| decode_name(bytes, encoding))
}

/// As [`read_name`], for bytes that are said not to be UTF-8: where both are possible, `encoding` is asked first.
///
/// # Errors
/// As [`read_name`].
pub(super) fn read_foreign_name(bytes: &[u8], encoding: Option<NameEncoding>) -> Result<String, EntryFault> {
    if encoding.is_none() { read_name(bytes, None) } else { decode_name(bytes, encoding).or_else(|_| read_name(bytes, encoding)) }
}

fn decode_name(bytes: &[u8], encoding: Option<NameEncoding>) -> Result<String, EntryFault> {
    let Some(encoding) = encoding else { return Err(EntryFault::NotUtf8 { guess: guess(bytes) }) };
    let fault = || EntryFault::NotEncoded { encoding: encoding.to_string(), guess: guess(bytes) };
    encoding.decode(bytes).ok_or_else(fault)
}

/// How `bytes` read in likely encodings, as the middle of a message; empty where they read in none.
fn guess(bytes: &[u8]) -> String {
    let is_usual = |letter: char| letter.is_ascii_graphic() || letter.is_alphanumeric() || matches!(letter, ' ' | '\u{a0}');
    let is_name = |text: &String| text.chars().all(is_usual);
    let reading = |encoding: NameEncoding| Some((encoding, encoding.decode(bytes).filter(is_name)?));
    let readings = likely().into_iter().filter_map(reading).take(GUESSES);
    let told: Vec<String> = readings.map(|(encoding, text)| format!("`{}` in {encoding}", shown(&text))).collect();
    if told.is_empty() { String::new() } else { format!(" (it reads {})", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(label: &str, bytes: &[u8], expected: Option<&str>) {
        let encoding: NameEncoding = label.parse().expect("a label");
        assert_eq!(read_name(bytes, Some(encoding)).ok().as_deref(), expected, "{label}");
    }

    #[test]
    fn names_are_read_as_is_said() {
        check("shift_jis", b"\x8c\xa2/0.jpg", Some("犬/0.jpg"));
        check("CP932", b"\x83\x5c/0.jpg", Some("ソ/0.jpg"));
        check("gbk", b"\xb9\xb7", Some("狗"));
        check("euc-kr", b"\xb0\xad", Some("강"));
        check("big5", b"\xaa\xaf", Some("狗"));
        check("cp866", b"\xaa\xae\xe2", Some("кот"));
        check("cp437", b"f\x81\x9b", Some("fü¢"));
        check("ibm850", b"f\x81\x9b", Some("füø"));
        check("cp852", b"\x88", Some("ł"));
        check("windows-1252", b"caf\xe9", Some("café"));
        check("shift_jis", "café".as_bytes(), Some("café"));
        check("shift_jis", b"\xff", None);
        for label in ["utf-16le", "klingon", "", "replacement"] {
            assert!(label.parse::<NameEncoding>().is_err(), "{label}");
        }
        let foreign = |bytes: &[u8], label: &str| read_foreign_name(bytes, label.parse().ok()).ok();
        assert_eq!(foreign("é".as_bytes(), "cp437").as_deref(), Some("├⌐"));
        assert_eq!(foreign("é".as_bytes(), "none").as_deref(), Some("é"));
    }

    #[test]
    fn what_names_may_be_is_told() {
        let error = read_name(b"\x8c\xa2/0.jpg", None).expect_err("it is not UTF-8").to_string();
        assert!(error.starts_with("has a name that is not UTF-8 (it reads `犬/0.jpg` in shift_jis, "), "{error}");
        let error = read_name(b"\xff\xff", "shift_jis".parse().ok()).expect_err("it is no Shift JIS").to_string();
        assert!(error.starts_with("has a name that is not shift_jis"), "{error}");
    }

    #[test]
    fn code_pages_are_whole() {
        for page in &CODE_PAGES {
            assert_eq!(page.upper.chars().count(), 128, "{}", page.name);
        }
    }
}
