//! Rows of samples to rows of RGB, with Pillow's `convert("RGB")` arithmetic.
//!
//! Each function fills `out`, three bytes for each pixel, from as many samples; it knows no format.

/// Of each pixel of `size` bytes, the bytes at `offsets`: a copy, another order, fewer channels, or the high bytes of 16 bits.
pub(super) fn pick(row: &[u8], size: usize, offsets: [usize; 3], out: &mut [u8]) {
    for (rgb, pixel) in out.chunks_exact_mut(3).zip(row.chunks_exact(size)) {
        rgb.copy_from_slice(&offsets.map(|offset| pixel[offset]));
    }
}

/// Each of `values` three times.
pub(super) fn grey(values: impl Iterator<Item = u8>, out: &mut [u8]) {
    for (rgb, value) in out.chunks_exact_mut(3).zip(values) {
        rgb.fill(value);
    }
}

/// Grey from 16 bits: clipped at 255, not scaled, since that is what Pillow's mode `I;16` does.
pub(super) fn clip(value: u16) -> u8 {
    value.min(255) as u8
}

/// CMYK (0 is no ink) in pixels of `size` bytes: `255 - k - c * (255 - k) / 255`, rounded (Pillow's `cmyk2rgb`).
pub(super) fn cmyk(row: &[u8], size: usize, offsets: [usize; 4], out: &mut [u8]) {
    for (rgb, pixel) in out.chunks_exact_mut(3).zip(row.chunks_exact(size)) {
        let [c, m, y, k] = offsets.map(|offset| u32::from(pixel[offset]));
        let light = 255 - k;
        rgb.copy_from_slice(&[c, m, y].map(|ink| {
            let product = ink * light + 128;
            (light - (((product >> 8) + product) >> 8)) as u8
        }));
    }
}

/// Colours that were multiplied by their alpha, in pixels of `size` bytes (Pillow's `unpackRGBa`).
pub(super) fn unmultiply(row: &[u8], size: usize, offsets: [usize; 4], out: &mut [u8]) {
    for (rgb, pixel) in out.chunks_exact_mut(3).zip(row.chunks_exact(size)) {
        let [r, g, b, alpha] = offsets.map(|offset| u32::from(pixel[offset]));
        rgb.copy_from_slice(&[r, g, b].map(|color| (color * 255).checked_div(alpha).unwrap_or(0).min(255) as u8));
    }
}

/// A palette of up to 256 colours; an index beyond it is black.
#[derive(Clone)]
pub(super) struct Palette([[u8; 3]; 256]);

impl Palette {
    pub(super) fn new(colors: impl Iterator<Item = [u8; 3]>) -> Self {
        let mut all = [[0; 3]; 256];
        all.iter_mut().zip(colors).for_each(|(to, color)| *to = color);
        Self(all)
    }

    /// Indices as greys, as Pillow takes them without colours, or where these are no others.
    pub(super) fn grey_ramp() -> Self {
        Self::new((0..=255).map(|level| [level; 3]))
    }

    pub(super) fn colors(&self, indices: impl Iterator<Item = u8>, out: &mut [u8]) {
        for (rgb, index) in out.chunks_exact_mut(3).zip(indices) {
            rgb.copy_from_slice(&self.0[usize::from(index)]);
        }
    }
}

/// Samples of 1, 2, 4 or 8 bits each, from the high bits of `row`'s bytes on.
pub(super) fn unpack(row: &[u8], bits: u8) -> impl Iterator<Item = u8> {
    let mask = u8::MAX >> (8 - bits);
    row.iter().flat_map(move |&byte| (0..8 / bits).map(move |at| byte >> (8 - bits - at * bits) & mask))
}

/// What takes the largest sample of `bits` to 255.
pub(super) fn scale(bits: u8) -> u8 {
    u8::MAX / (u8::MAX >> (8 - bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_rgb() {
        fn check(expected: &[u8], fill: impl Fn(&mut [u8])) {
            let mut out = vec![7; expected.len()];
            fill(&mut out);
            assert_eq!(out, expected);
        }
        check(&[1, 2, 3, 4, 5, 6], |out| pick(&[1, 2, 3, 0, 4, 5, 6, 255], 4, [0, 1, 2], out));
        let inks = [0, 128, 255, 0, 0, 128, 255, 100, 9, 9, 9, 255];
        check(&[255, 127, 0, 155, 77, 0, 0, 0, 0], |out| cmyk(&inks, 4, [0, 1, 2, 3], out));
        let palette = Palette::new([[1, 2, 3], [4, 5, 6]].into_iter());
        check(&[4, 5, 6, 1, 2, 3, 0, 0, 0], |out| palette.colors([1, 0, 2].into_iter(), out));
        check(&[85, 85, 85, 170, 170, 170, 255, 255, 255], |out| {
            grey(unpack(&[0b0110_1100], 2).map(|value| value * scale(2)), out);
        });
        assert_eq!([1, 2, 4, 8].map(scale), [255, 85, 17, 1]);
    }
}
