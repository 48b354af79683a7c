//! PNG, BMP and WebP, by `image`, and where they keep their EXIF and XMP.

use std::io::Cursor;

use image::{
    ColorType, ImageDecoder,
    codecs::{bmp::BmpDecoder, png::PngDecoder, webp::WebPDecoder},
};

use super::{
    super::{Decoded, Format, Header, ImageError, MAX_IMAGE_SIDE, orientation},
    broken,
    pixels::{clip, drop_alpha, grey, high},
    unsupported,
};

/// Room for a decoder's tables and rows beside the pixels, in bytes.
const DECODER_BYTES: u64 = 16 << 20;

/// Width and height from the header.
pub(super) fn size(format: Format, bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    Ok(open(format, bytes)?.dimensions())
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Decoded, ImageError> {
    let format = header.format;
    let mut decoder = open(format, bytes)?;
    let color = decoder.color_type();
    let length = decoder.total_bytes();
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_IMAGE_SIDE);
    limits.max_image_height = Some(MAX_IMAGE_SIDE);
    limits.max_alloc = Some(2 * length + DECODER_BYTES);
    decoder.set_limits(limits).map_err(|error| refuse(format, error))?;
    let mut samples = vec![0; usize::try_from(length).map_err(|error| broken(format, error))?];
    decoder.read_image_boxed(&mut samples).map_err(|error| refuse(format, error))?;
    let rgb = rgb(format, color, bytes, samples)?;
    let (exif, xmp) = match format {
        Format::Png => png_metadata(bytes),
        Format::WebP => webp_metadata(bytes),
        _ => (None, None),
    };
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: orientation::read(exif, xmp) })
}

fn open(format: Format, bytes: &[u8]) -> Result<Box<dyn ImageDecoder + '_>, ImageError> {
    let reader = Cursor::new(bytes);
    let decoder: Result<Box<dyn ImageDecoder>, image::ImageError> = match format {
        Format::Png => PngDecoder::new(reader).map(|decoder| Box::new(decoder) as _),
        Format::Bmp => BmpDecoder::new(reader).map(|decoder| Box::new(decoder) as _),
        _ => WebPDecoder::new(reader).map(|decoder| Box::new(decoder) as _),
    };
    decoder.map_err(|error| refuse(format, error))
}

fn refuse(format: Format, error: image::ImageError) -> ImageError {
    match error {
        image::ImageError::Unsupported(error) => unsupported(format, error.kind_detail()),
        error => broken(format, error),
    }
}

trait KindDetail {
    fn kind_detail(&self) -> String;
}

impl KindDetail for image::error::UnsupportedError {
    fn kind_detail(&self) -> String {
        match self.kind() {
            image::error::UnsupportedErrorKind::GenericFeature(feature) => feature.clone(),
            _ => "this colour type".to_owned(),
        }
    }
}

fn rgb(format: Format, color: ColorType, bytes: &[u8], samples: Vec<u8>) -> Result<Vec<u8>, ImageError> {
    let pixels = samples.len() / usize::from(color.bytes_per_pixel());
    // A PNG of colour type 4 is grey with alpha; grey with a transparent value reads as the same colour type of `image`.
    let grey_alpha = bytes.get(25) == Some(&4);
    let (wide, _) = samples.as_chunks::<2>();
    let wide = wide.iter().map(|&value| u16::from_ne_bytes(value));
    Ok(match color {
        ColorType::Rgb8 => samples,
        ColorType::Rgba8 => drop_alpha::<4>(samples),
        ColorType::L8 => grey(samples.into_iter(), pixels),
        ColorType::La8 => grey(samples.into_iter().step_by(2), pixels),
        ColorType::L16 => grey(wide.map(clip), pixels),
        ColorType::La16 if grey_alpha => grey(wide.step_by(2).map(high), pixels),
        ColorType::La16 => grey(wide.step_by(2).map(clip), pixels),
        ColorType::Rgb16 => wide.map(high).collect(),
        ColorType::Rgba16 => drop_alpha::<4>(wide.map(high).collect()),
        _ => return Err(unsupported(format, "floating-point samples")),
    })
}

type Metadata<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn png_metadata(bytes: &[u8]) -> Metadata<'_> {
    const KEYWORD: &[u8] = b"XML:com.adobe.xmp\0";
    let (mut exif, mut xmp) = (None, None);
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (Some(kind), Some(data)) = (after.get(..4), after.get(4..).and_then(|after| after.get(..length))) else { break };
        match kind {
            b"eXIf" => exif = Some(data),
            b"iTXt" if data.starts_with(KEYWORD) => xmp = Some(data),
            _ => {}
        }
        rest = after.get(length + 8..).unwrap_or_default();
    }
    (exif, xmp)
}

fn webp_metadata(bytes: &[u8]) -> Metadata<'_> {
    let (mut exif, mut xmp) = (None, None);
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((kind, after)) = rest.split_first_chunk::<4>() {
        let Some((length, after)) = after.split_first_chunk() else { break };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(data) = after.get(..length) else { break };
        match kind {
            b"EXIF" => exif = Some(data),
            b"XMP " => xmp = Some(data),
            _ => {}
        }
        rest = after.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    (exif, xmp)
}
