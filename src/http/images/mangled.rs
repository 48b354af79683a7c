//! Images that were damaged on their way, told by what the way does to bytes: what to say of one that cannot be decoded.
//!
//! Decides nothing: an image that decodes is answered, whatever it looks like.

/// Shorter bodies may lack a byte by chance.
const MIN_BYTES: usize = 256;

/// U+FFFD as UTF-8: what takes the place of bytes that are no text.
const REPLACED: &[u8] = "\u{fffd}".as_bytes();

/// What has happened to `bytes`, and the way out; reads on after what is wrong with them. `None` where nothing shows.
pub fn mangled(bytes: &[u8]) -> Option<&'static str> {
    let begins = |starts: &[&[u8]]| starts.iter().any(|start| bytes.starts_with(start));
    if is_base64(bytes) {
        return Some("they are base64 text: send the bytes themselves, or `{\"images\":[\"…\"]}` as `application/json`");
    }
    if begins(&[REPLACED, "\u{fffd}PNG".as_bytes()])
        || (begins(&[b"GIF8", b"RIFF", b"BM", b"II*", b"MM"]) && replacements(bytes) > 8)
    {
        return Some(
            "it has been read as text (`EF BF BD` stands for bytes that were no UTF-8): send a `Blob`, an `ArrayBuffer` or a `Buffer`, \
             not the file's `text()`",
        );
    }
    // ÿØÿ and ‰PNG, byte by byte from Latin-1 or Windows-1252 to UTF-8.
    if begins(&[b"\xc3\xbf\xc3\x98\xc3\xbf", b"\xc2\x89PNG", b"\xe2\x80\xb0PNG"]) {
        return Some("it has been written as text in UTF-8: send the bytes as they are (open the file in binary mode)");
    }
    if is_stripped(bytes) {
        return Some("it holds no line break at all, as curl's `-d` sends files: use `--data-binary @FILE`, or `-F image=@FILE`");
    }
    // PNG's signature is made so that each of these shows (RFC 2083 §12.11).
    let ends_changed: [&[u8]; 4] = [b"\x89PNG\n\x1a\n", b"\x89PNG\r\x1a\r", b"\x89PNG\r\r\n\x1a\r\n", b"\x89PNG\r\n\x1a\r\n"];
    if begins(&ends_changed) {
        return Some("its line ends have been changed, as a transfer in text mode does: send the file as binary");
    }
    begins(&[b"\x09PNG"]).then_some("its eighth bits are gone: send the file as binary")
}

/// A JPEG or PNG without line feeds and carriage returns.
///
/// Of a PNG the signature alone says so; of a JPEG its length does, too.
fn is_stripped(bytes: &[u8]) -> bool {
    let jpeg = bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.len() >= MIN_BYTES;
    bytes.starts_with(b"\x89PNG\x1a") || (jpeg && !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')))
}

/// A JPEG, PNG or GIF in base64, or a `data:` URI.
fn is_base64(bytes: &[u8]) -> bool {
    let start = bytes.get(..16).unwrap_or(bytes);
    let text = start.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\n'));
    let known: [&[u8]; 4] = [b"/9j/", b"_9j_", b"iVBORw0KGgo", b"R0lGOD"];
    bytes.starts_with(b"data:image/") || (text && known.iter().any(|known| start.starts_with(known)))
}

fn replacements(bytes: &[u8]) -> usize {
    bytes.windows(REPLACED.len()).filter(|window| *window == REPLACED).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = include_bytes!("../../../tests/fixtures/espresso.jpg");
    const PNG: &[u8] = include_bytes!("../../../tests/fixtures/images/rgb_8.png");

    fn check(bytes: &[u8], expected: Option<&str>) {
        let found = mangled(bytes);
        match expected {
            Some(expected) => assert!(found.is_some_and(|found| found.contains(expected)), "{found:?} is not {expected}"),
            None => assert_eq!(found, None),
        }
    }

    fn without(bytes: &[u8], gone: &[u8]) -> Vec<u8> {
        bytes.iter().copied().filter(|byte| !gone.contains(byte)).collect()
    }

    fn replaced(bytes: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let latin = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        text.replace(&latin(what), &latin(by)).chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
    }

    #[test]
    fn whole_images_show_nothing() {
        for bytes in [JPEG, PNG, b"", b"junk", b"data", &JPEG[..20], &PNG[..20]] {
            check(bytes, None);
        }
    }

    #[test]
    fn each_way_leaves_its_mark() {
        for photo in [JPEG, PNG] {
            check(&without(photo, b"\r\n\0"), Some("`--data-binary @FILE`"));
            check(&without(photo, b"\r\n"), Some("`--data-binary @FILE`"));
            check(String::from_utf8_lossy(photo).as_bytes(), Some("not the file's `text()`"));
            let latin: String = photo.iter().map(|byte| char::from(*byte)).collect();
            check(latin.as_bytes(), Some("binary mode"));
        }
        check(&replaced(PNG, b"\r\n", b"\n"), Some("text mode"));
        check(&replaced(PNG, b"\n", b"\r\n"), Some("text mode"));
        check(&replaced(&replaced(PNG, b"\r\n", b"\n"), b"\n", b"\r\n"), Some("text mode"));
        let seven: Vec<u8> = PNG.iter().map(|byte| byte & 0x7f).collect();
        check(&seven, Some("eighth bits"));
        check(b"/9j/4AAQSkZJRgABAQAAAQ", Some("base64 text"));
        check(b"iVBORw0KGgoAAAANSUhEUg==", Some("base64 text"));
        check(b"data:image/png;base64,iVBORw0KGgo", Some("base64 text"));
    }
}
