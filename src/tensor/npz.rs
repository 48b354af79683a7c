//! NumPy's `.npz`: several `.npy` in a zip, stored without compression.
//!
//! Names may hold `/`: `numpy.load` gives them back as they are.

use std::io::{self, Read, Seek, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    Dtype,
    npy::{header, width, write_npy, write_npy_integers, write_npy_strings},
};

/// Writes an `.npz` array by array; it is whole after [`Self::finish`].
pub struct NpzWriter<W: Write + Seek> {
    zip: ZipWriter<W>,
}

impl<W: Write + Seek> NpzWriter<W> {
    /// An archive without arrays.
    pub fn new(writer: W) -> Self {
        Self { zip: ZipWriter::new(writer) }
    }

    /// Adds an array under `name` (without `.npy`); `data` is little-endian in C order.
    ///
    /// # Errors
    /// When the name is taken, `data` has not as many bytes as `shape` says, or the writer fails.
    pub fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> io::Result<()> {
        self.start(name, data.len())?;
        write_npy(&mut self.zip, dtype, shape, data)
    }

    /// Adds an array like [`Self::add`], copying its data from `reader`.
    ///
    /// # Errors
    /// When the name is taken, `reader` does not give as many bytes as `shape` says, or either side fails.
    pub fn add_from(&mut self, name: &str, dtype: Dtype, shape: &[usize], reader: &mut impl Read) -> io::Result<()> {
        let bytes = shape.iter().product::<usize>() * dtype.size();
        self.start(name, bytes)?;
        self.zip.write_all(&header(dtype, shape))?;
        let copied = io::copy(reader, &mut self.zip)?;
        if copied != bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{name}` needs {bytes} bytes, got {copied}")));
        }
        Ok(())
    }

    /// Adds an array of int64 under `name`, NumPy's type of an index.
    ///
    /// # Errors
    /// When the name is taken, there are not as many `integers` as `shape` says, or the writer fails.
    pub fn add_integers(&mut self, name: &str, shape: &[usize], integers: &[i64]) -> io::Result<()> {
        self.start(name, size_of_val(integers))?;
        write_npy_integers(&mut self.zip, shape, integers)
    }

    /// Adds a one-dimensional array of strings under `name`.
    ///
    /// # Errors
    /// When the name is taken, or the writer fails.
    pub fn add_strings<S: AsRef<str>>(&mut self, name: &str, strings: &[S]) -> io::Result<()> {
        self.start(name, width(strings).saturating_mul(4).saturating_mul(strings.len()))?;
        write_npy_strings(&mut self.zip, strings)
    }

    /// Writes the archive's directory and gives back the writer.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(self) -> io::Result<W> {
        Ok(self.zip.finish()?)
    }

    fn start(&mut self, name: &str, bytes: usize) -> io::Result<()> {
        // Leaves room for the header below the 4 GiB where zip needs its 64-bit fields.
        let large = bytes as u64 >= u64::from(u32::MAX) - (1 << 16);
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        Ok(self.zip.start_file(format!("{name}.npy"), options)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use zip::ZipArchive;

    use super::*;
    use crate::tensor::npy::read_npy;

    #[test]
    fn holds_every_array_under_its_name() {
        let names = ["fc2", "Mixed_7c/Branch_3/Conv2d", "/leading", "../up", "é"];
        let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
        for (index, name) in names.iter().enumerate() {
            writer.add(name, Dtype::F32, &[1], &(index as f32).to_le_bytes()).unwrap();
        }
        writer.add_strings("images", &["a.jpg", "b.jpg"]).unwrap();
        let mut archive = ZipArchive::new(writer.finish().unwrap()).unwrap();
        for (index, name) in names.iter().enumerate() {
            let entry = archive.by_name(&format!("{name}.npy")).unwrap();
            assert_eq!(entry.compression(), CompressionMethod::Stored);
            assert_eq!(read_npy(entry, 64).unwrap().data(), [index as f32], "{name}");
        }
        let mut strings = Vec::new();
        archive.by_name("images.npy").unwrap().read_to_end(&mut strings).unwrap();
        assert_eq!(strings.len(), 128 + 2 * 5 * 4);
    }

    #[test]
    fn refuses_a_name_twice() {
        let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
        writer.add("fc2", Dtype::F16, &[0], &[]).unwrap();
        assert!(writer.add("fc2", Dtype::F16, &[0], &[]).is_err());
    }
}
