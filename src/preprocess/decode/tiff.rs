//! TIFF, by `tiff`: the first page of what photographs and scans are stored as; the rest is refused by name.

use std::io::Cursor;

use ::tiff::{
    ColorType, TiffError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::Tag,
};

use super::{
    super::{Decoded, Format, Header, ImageError, orientation::View},
    broken, pixels, unsupported,
};

/// Width and height from the first directory, as Pillow shows it: its TIFF reader applies the orientation tag.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let mut tiff = open(bytes, 0)?;
    let (width, height) = tiff.dimensions().map_err(refuse)?;
    Ok(if orientation(&mut tiff)? > 4 { (height, width) } else { (width, height) })
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Decoded, ImageError> {
    let mut tiff = open(bytes, header.pixels())?;
    let orientation = orientation(&mut tiff)?;
    let color = tiff.colortype().map_err(refuse)?;
    check(&mut tiff, color)?;
    let samples = tiff.read_image().map_err(refuse)?;
    let (width, height) = tiff.dimensions().map_err(refuse)?;
    let rgb = rgb(&mut tiff, color, samples, (width, height))?;
    if rgb.len() != header.pixels() * 3 {
        return Err(broken(Format::Tiff, "it has too few samples"));
    }
    let stored = Decoded { width, height, rgb, orientation: 1 };
    if orientation == 1 {
        return Ok(stored);
    }
    let rgb = View::new(&stored, orientation).to_rgb();
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: 1 })
}

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

fn open(bytes: &[u8], pixels: usize) -> Result<Reader<'_>, ImageError> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = pixels.saturating_mul(8);
    limits.intermediate_buffer_size = pixels.saturating_mul(8).saturating_add(1 << 20);
    Ok(Decoder::new(Cursor::new(bytes)).map_err(refuse)?.with_limits(limits))
}

fn orientation(tiff: &mut Reader<'_>) -> Result<u8, ImageError> {
    let value = tiff.find_tag_unsigned::<u16>(Tag::Orientation).map_err(refuse)?;
    Ok(value.filter(|value| (1..=8).contains(value)).unwrap_or(1) as u8)
}

/// Refuses what Pillow reads differently from `tiff`, or only one of the two reads.
fn check(tiff: &mut Reader<'_>, color: ColorType) -> Result<(), ImageError> {
    let mut tag = |tag, default| Ok(tiff.find_tag_unsigned::<u16>(tag).map_err(refuse)?.unwrap_or(default));
    let compression = tag(Tag::Compression, 1)?;
    if !matches!(compression, 1 | 5 | 8 | 32773 | 32946) {
        return Err(unsupported(Format::Tiff, format!("compression {compression}")));
    }
    if tag(Tag::PlanarConfiguration, 1)? != 1 {
        return Err(unsupported(Format::Tiff, "separate colour planes"));
    }
    if tag(Tag::FillOrder, 1)? != 1 {
        return Err(unsupported(Format::Tiff, "reversed bits"));
    }
    if tag(Tag::PhotometricInterpretation, 0)? == 0 && color == ColorType::Gray(16) {
        return Err(unsupported(Format::Tiff, "16-bit grey where 0 is white"));
    }
    let list = tiff.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(refuse)?.unwrap_or_default();
    if list.contains(&1) {
        return Err(unsupported(Format::Tiff, "premultiplied alpha"));
    }
    let formats = tiff.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(refuse)?.unwrap_or_default();
    if formats.iter().any(|&format| format != 1) {
        return Err(unsupported(Format::Tiff, "signed or floating-point samples"));
    }
    Ok(())
}

fn rgb(
    tiff: &mut Reader<'_>,
    color: ColorType,
    samples: DecodingResult,
    (width, height): (u32, u32),
) -> Result<Vec<u8>, ImageError> {
    use pixels::{clip, cmyk, drop_alpha, grey, high};
    let pixels = width as usize * height as usize;
    Ok(match (color, samples) {
        (ColorType::RGB(8), DecodingResult::U8(samples)) => samples,
        (ColorType::RGB(16), DecodingResult::U16(samples)) => samples.into_iter().map(high).collect(),
        (ColorType::RGBA(8), DecodingResult::U8(samples)) => drop_alpha::<4>(samples),
        (ColorType::RGBA(16), DecodingResult::U16(samples)) => drop_alpha::<4>(samples.into_iter().map(high).collect()),
        (ColorType::CMYK(8), DecodingResult::U8(samples)) => cmyk(samples),
        (ColorType::GrayA(8), DecodingResult::U8(samples)) => grey(samples.into_iter().step_by(2), pixels),
        (ColorType::Gray(16), DecodingResult::U16(samples)) => grey(samples.into_iter().map(clip), pixels),
        (ColorType::Gray(8), DecodingResult::U8(samples)) => grey(samples.into_iter(), pixels),
        (ColorType::Gray(bits @ (1 | 2 | 4)), DecodingResult::U8(samples)) => {
            let white = u8::MAX / ((1 << bits) - 1);
            grey(unpack(&samples, bits, width).map(|value| value * white), pixels)
        }
        (ColorType::Palette(bits @ (1 | 2 | 4 | 8)), DecodingResult::U8(samples)) => {
            pixels::palette(unpack(&samples, bits, width), &color_map(tiff)?, pixels)
        }
        (color, _) => return Err(unsupported(Format::Tiff, format!("{color:?} samples"))),
    })
}

/// Samples of `bits` each, in rows of `width` that start on a byte.
fn unpack(packed: &[u8], bits: u8, width: u32) -> impl Iterator<Item = u8> {
    let bits = usize::from(bits);
    let (width, per_byte) = (width as usize, 8 / bits);
    let mask = (u16::MAX >> (16 - bits)) as u8;
    packed.chunks(width.div_ceil(per_byte)).flat_map(move |row| {
        let value = move |at: usize| row.get(at / per_byte).map(|byte| byte >> (8 - bits - at % per_byte * bits) & mask);
        (0..width).filter_map(value)
    })
}

/// The palette's RGB triples: the high bytes of a table that holds all reds first.
fn color_map(tiff: &mut Reader<'_>) -> Result<Vec<u8>, ImageError> {
    let map = tiff.get_tag_u16_vec(Tag::ColorMap).map_err(refuse)?;
    let colors = map.len() / 3;
    Ok((0..colors).flat_map(|color| [0, 1, 2].map(|channel| pixels::high(map[channel * colors + color]))).collect())
}

fn refuse(error: TiffError) -> ImageError {
    match error {
        TiffError::UnsupportedError(error) => unsupported(Format::Tiff, error),
        error => broken(Format::Tiff, error),
    }
}
