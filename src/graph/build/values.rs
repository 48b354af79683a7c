//! Weights on their way into a graph: little-endian bytes, convolution kernels in ONNX's layout.

use std::io::{self, Write};

/// The values of one stored tensor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values<'a> {
    /// In the order in which they are stored.
    AsIs(&'a [f32]),
    /// A convolution kernel as Keras has it: height, width, in, out. ONNX wants out, in, height, width.
    Kernel {
        /// Height × width.
        taps: usize,
        /// Input channels.
        channels: usize,
        /// Output channels.
        filters: usize,
        /// `taps × channels × filters` values.
        data: &'a [f32],
    },
}

impl Values<'_> {
    /// Size of the stored tensor.
    pub(super) fn byte_len(&self) -> usize {
        let (Self::AsIs(data) | Self::Kernel { data, .. }) = self;
        size_of_val(*data)
    }

    /// Writes the values, without a second copy of all of them.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match *self {
            Self::AsIs(data) => write_floats(data, out),
            Self::Kernel { taps, channels, filters, data } => {
                let mut filter = vec![0.0; taps * channels];
                for index in 0..filters {
                    for (tap, channels_of_tap) in data.chunks_exact(channels * filters).enumerate() {
                        for (channel, values) in channels_of_tap.chunks_exact(filters).enumerate() {
                            filter[channel * taps + tap] = values[index];
                        }
                    }
                    write_floats(&filter, out)?;
                }
                Ok(())
            }
        }
    }
}

fn write_floats(values: &[f32], out: &mut dyn Write) -> io::Result<()> {
    let mut bytes = [[0; size_of::<f32>()]; 4096];
    for chunk in values.chunks(bytes.len()) {
        for (bytes, value) in bytes.iter_mut().zip(chunk) {
            *bytes = value.to_le_bytes();
        }
        out.write_all(bytes[..chunk.len()].as_flattened())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Values;

    #[test]
    fn kernels_become_out_in_height_width() {
        let check = |taps: usize, channels: usize, filters: usize, expected: &[f32]| {
            let data: Vec<f32> = (0..taps * channels * filters).map(|value| value as f32).collect();
            let values = Values::Kernel { taps, channels, filters, data: &data };
            let mut bytes = Vec::new();
            values.write(&mut bytes).expect("a vector takes everything");
            let floats: Vec<f32> =
                bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
            assert_eq!(floats, expected, "{taps} taps, {channels} channels, {filters} filters");
            assert_eq!(bytes.len(), values.byte_len());
        };
        check(1, 1, 1, &[0.0]);
        check(2, 1, 1, &[0.0, 1.0]);
        check(1, 2, 2, &[0.0, 2.0, 1.0, 3.0]);
        check(2, 2, 2, &[0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0]);
    }
}
