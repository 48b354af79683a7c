//! Formats told apart by their first bytes, those that are only recognised included.

use super::super::{Format, ImageError};

/// Signatures of formats that are recognised in order to be refused by name.
const REFUSED: [(&[u8], &str); 19] = [
    (b"\0\0\x01\0", "ICO"),
    // Ahead of CUR, which begins alike and goes on with the number of its images.
    (b"\0\0\x02\0\0\0\0\0", "TGA"),
    (b"\0\0\x0a\0\0\0\0\0", "TGA"),
    (b"\0\0\x02\0", "CUR"),
    (b"8BPS", "PSD"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"II\xbc", "JPEG XR"),
    (b"%PDF", "PDF"),
    (b"qoif", "QOI"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS"),
    (b"farbfeld", "farbfeld"),
    (b"\x8aMNG", "MNG"),
    (b"BPG\xfb", "BPG"),
    (b"icns", "ICNS"),
];

/// The format of `bytes`.
pub(super) fn format(bytes: &[u8]) -> Result<Format, ImageError> {
    let known: [(&[u8], Format); 9] = [
        (b"\xff\xd8\xff", Format::Jpeg),
        (b"\x89PNG\r\n\x1a\n", Format::Png),
        (b"BM", Format::Bmp),
        (b"GIF87a", Format::Gif),
        (b"GIF89a", Format::Gif),
        (b"II*\0", Format::Tiff),
        (b"MM\0*", Format::Tiff),
        (b"II+\0", Format::Tiff),
        (b"MM\0+", Format::Tiff),
    ];
    if let Some((_, format)) = known.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        return Ok(*format);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Ok(Format::WebP);
    }
    Err(refused(bytes).map_or(ImageError::NotAnImage, ImageError::UnsupportedFormat))
}

fn refused(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, name)) = REFUSED.iter().find(|(signature, _)| bytes.starts_with(signature)) {
        return Some(name);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        let length = bytes.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        let brands = bytes.get(8..length.min(bytes.len())).or(bytes.get(8..12))?;
        return match bytes.get(8..12)? {
            _ if brands.chunks(4).any(|brand| matches!(brand, b"avif" | b"avis")) => Some("AVIF"),
            b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => Some("HEIC"),
            _ => Some("video (ISO media)"),
        };
    }
    if let [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..] = bytes {
        return Some("PNM");
    }
    let start = &bytes[..bytes.len().min(1024)];
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let svg = text.starts_with(b"<svg") || text.starts_with(b"<?xml") && text.windows(4).any(|window| window == b"<svg");
    svg.then_some("SVG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_name_the_format() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Result<Format, ImageError>) {
            assert_eq!(format(bytes), expected);
        }
        check(b"\xff\xd8\xff\xe0", Ok(Format::Jpeg));
        check(b"RIFF\0\0\0\0WEBPVP8 ", Ok(Format::WebP));
        check(b"RIFF\0\0\0\0WAVE", Err(ImageError::NotAnImage));
        check(b"MM\0*", Ok(Format::Tiff));
        check(b"MM\0+", Ok(Format::Tiff));
        check(b"\0\0\0\x1cftypavif", Err(ImageError::UnsupportedFormat("AVIF")));
        check(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Err(ImageError::UnsupportedFormat("AVIF")));
        check(b"\0\0\0\x1cftypheic", Err(ImageError::UnsupportedFormat("HEIC")));
        check(b"\0\0\x01\0\x01\0", Err(ImageError::UnsupportedFormat("ICO")));
        check(b"\0\0\x02\0\x01\0\x20\x20", Err(ImageError::UnsupportedFormat("CUR")));
        check(b"\0\0\x02\0\0\0\0\0\0\0\0\0\x40\0\x40\0\x18\0", Err(ImageError::UnsupportedFormat("TGA")));
        check(b"<?xml version=\"1.0\"?>\n<svg/>", Err(ImageError::UnsupportedFormat("SVG")));
        check(b"  <svg xmlns=\"\"/>", Err(ImageError::UnsupportedFormat("SVG")));
        check(b"P6\n1 1\n", Err(ImageError::UnsupportedFormat("PNM")));
        check(b"<?xml version=\"1.0\"?><html/>", Err(ImageError::NotAnImage));
        check(b"hello", Err(ImageError::NotAnImage));
        check(b"\0", Err(ImageError::NotAnImage));
    }
}
