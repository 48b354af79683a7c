//! Samples of other colour types to RGB bytes, with Pillow's `convert("RGB")` arithmetic.

/// Each of `values` three times.
pub(super) fn grey(values: impl Iterator<Item = u8>, pixels: usize) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(pixels * 3);
    values.take(pixels).for_each(|value| rgb.extend_from_slice(&[value; 3]));
    rgb
}

/// Grey from 16 bits: clipped at 255, not scaled, since that is what Pillow's mode `I;16` does.
pub(super) fn clip(value: u16) -> u8 {
    value.min(255) as u8
}

/// A 16-bit channel's high byte, as Pillow reads 16-bit colour.
pub(super) fn high(value: u16) -> u8 {
    (value >> 8) as u8
}

/// The first three of every `CHANNELS` samples, in place.
pub(super) fn drop_alpha<const CHANNELS: usize>(mut samples: Vec<u8>) -> Vec<u8> {
    let pixels = samples.len() / CHANNELS;
    for pixel in 0..pixels {
        samples.copy_within(pixel * CHANNELS..pixel * CHANNELS + 3, pixel * 3);
    }
    samples.truncate(pixels * 3);
    samples
}

/// CMYK (0 is no ink), in place: `255 - k - c * (255 - k) / 255`, rounded (Pillow's `cmyk2rgb`).
pub(super) fn cmyk(mut samples: Vec<u8>) -> Vec<u8> {
    let pixels = samples.len() / 4;
    for pixel in 0..pixels {
        let at = pixel * 4;
        let light = u32::from(255 - samples[at + 3]);
        for channel in 0..3 {
            let product = u32::from(samples[at + channel]) * light + 128;
            samples[pixel * 3 + channel] = (light - ((product >> 8) + product >> 8)) as u8;
        }
    }
    samples.truncate(pixels * 3);
    samples
}

/// Indices through a palette of RGB triples; an index beyond it is black.
pub(super) fn palette(indices: impl Iterator<Item = u8>, palette: &[u8], pixels: usize) -> Vec<u8> {
    let (colors, _) = palette.as_chunks::<3>();
    let mut rgb = Vec::with_capacity(pixels * 3);
    for index in indices.take(pixels) {
        rgb.extend_from_slice(colors.get(usize::from(index)).unwrap_or(&[0; 3]));
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_and_ink_go() {
        assert_eq!(drop_alpha::<4>(vec![1, 2, 3, 0, 4, 5, 6, 255]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(cmyk(vec![0, 128, 255, 0, 0, 128, 255, 100, 9, 9, 9, 255]), [255, 127, 0, 155, 77, 0, 0, 0, 0]);
        assert_eq!(palette([1, 0, 2].into_iter(), &[1, 2, 3, 4, 5, 6], 3), [4, 5, 6, 1, 2, 3, 0, 0, 0]);
    }
}
