//! GIF, by `gif`: the first frame on the canvas, as Pillow shows it.

use ::gif::{ColorOutput, DecodeOptions, Decoder, MemoryLimit};

use super::{
    super::{Decoded, Format, Header, ImageError},
    broken, pixels,
};

/// Width and height of the canvas, which grows to hold the first frame.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let mut decoder = open(bytes)?;
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(|error| broken(Format::Gif, error))?;
    let frame = frame.ok_or_else(|| broken(Format::Gif, "it has no frame"))?;
    let (right, bottom) = (u32::from(frame.left) + u32::from(frame.width), u32::from(frame.top) + u32::from(frame.height));
    Ok((width.max(right), height.max(bottom)))
}

/// Decodes to RGB. Outside of the frame is the transparent colour, or colour 0.
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Decoded, ImageError> {
    let mut decoder = open(bytes)?;
    let frame = decoder.next_frame_info().map_err(|error| broken(Format::Gif, error))?;
    let frame = frame.ok_or_else(|| broken(Format::Gif, "it has no frame"))?.clone();
    let mut indices = vec![0; usize::from(frame.width) * usize::from(frame.height)];
    decoder.read_into_buffer(&mut indices).map_err(|error| broken(Format::Gif, error))?;
    let palette = decoder.palette().map_err(|error| broken(Format::Gif, error))?;
    let width = header.width as usize;
    let mut canvas = vec![frame.transparent.unwrap_or(0); header.pixels()];
    for (row, source) in indices.chunks_exact(usize::from(frame.width).max(1)).enumerate() {
        let start = (usize::from(frame.top) + row) * width + usize::from(frame.left);
        canvas[start..start + source.len()].copy_from_slice(source);
    }
    let rgb = pixels::palette(canvas.into_iter(), palette, header.pixels());
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: 1 })
}

fn open(bytes: &[u8]) -> Result<Decoder<&[u8]>, ImageError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // The caller has checked the size of the frame, which is all that grows.
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.read_info(bytes).map_err(|error| broken(Format::Gif, error))
}
