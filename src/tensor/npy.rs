//! NumPy's `.npy` format: arrays of floats, integers and strings, in C order, little-endian.
//!
//! Written as version 1.0; versions 1 to 3 are read. Source: `numpy.lib.format`'s documentation (NEP 1).

use std::io::{self, Read, Write};

use half::f16;

use super::{Dtype, Tensor};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The data begins at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// Longest header that is read, in bytes.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// Everything before the data: for callers that stream the data themselves.
pub fn header(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    let descr = match dtype {
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
    };
    header_with(descr, shape)
}

/// Writes an array whose `data` is little-endian in C order.
///
/// # Errors
/// When `data` has not as many bytes as `shape` says, or `writer` fails.
pub fn write_npy(mut writer: impl Write, dtype: Dtype, shape: &[usize], data: &[u8]) -> io::Result<()> {
    check_size(dtype.name(), dtype.size(), shape, data.len())?;
    writer.write_all(&header(dtype, shape))?;
    writer.write_all(data)
}

/// Writes an array of int64, which NumPy takes as indices.
///
/// # Errors
/// When there are not as many `integers` as `shape` says, or `writer` fails.
pub fn write_npy_integers(mut writer: impl Write, shape: &[usize], integers: &[i64]) -> io::Result<()> {
    check_size("int64", size_of::<i64>(), shape, size_of_val(integers))?;
    writer.write_all(&header_with("<i8", shape))?;
    integers.iter().try_for_each(|integer| writer.write_all(&integer.to_le_bytes()))
}

fn check_size(dtype: &str, size: usize, shape: &[usize], bytes: usize) -> io::Result<()> {
    let expected = shape.iter().try_fold(size, |bytes, &side| bytes.checked_mul(side));
    if expected == Some(bytes) {
        return Ok(());
    }
    let message = format!("shape {shape:?} of {dtype} does not have {bytes} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// Writes a one-dimensional array of strings (`<U…`).
///
/// # Errors
/// When `writer` fails.
pub fn write_npy_strings<S: AsRef<str>>(mut writer: impl Write, strings: &[S]) -> io::Result<()> {
    let width = width(strings);
    writer.write_all(&header_with(&format!("<U{width}"), &[strings.len()]))?;
    for string in strings {
        let mut element: Vec<u8> = string.as_ref().chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
        element.resize(4 * width, 0);
        writer.write_all(&element)?;
    }
    Ok(())
}

/// Code points per element of an array of `strings`; NumPy has no width 0 here.
pub(super) fn width<S: AsRef<str>>(strings: &[S]) -> usize {
    strings.iter().map(|string| string.as_ref().chars().count()).max().unwrap_or(0).max(1)
}

fn header_with(descr: &str, shape: &[usize]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    let tuple = if let [side] = sides.as_slice() { format!("({side},)") } else { format!("({})", sides.join(", ")) };
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple}, }}");
    let prefix = MAGIC.len() + 4;
    let total = (prefix + dict.len() + 1).next_multiple_of(ALIGNMENT);
    dict.extend(std::iter::repeat_n(' ', total - prefix - dict.len() - 1));
    dict.push('\n');
    let length = u16::try_from(dict.len()).expect("a shape has few dimensions");
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend(length.to_le_bytes());
    header.extend(dict.bytes());
    header
}

/// Why an `.npy` cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// The reader failed or ended early.
    #[error("the .npy ends early or cannot be read")]
    Read(#[from] io::Error),
    /// Not an `.npy`, or one of an unknown version.
    #[error("not an .npy of version 1 to 3")]
    NotNpy,
    /// The header cannot be used.
    #[error("the header of the .npy is not one of a C-ordered `<f4` or `<f2` array: {0}")]
    Header(String),
    /// More data than the caller wants.
    #[error("the .npy of shape {shape:?} is larger than {max_bytes} bytes")]
    TooLarge {
        /// From its header.
        shape: Vec<usize>,
        /// The bound.
        max_bytes: usize,
    },
}

/// Reads an array of float32 or float16 whose float32 form has at most `max_bytes`.
///
/// # Errors
/// When it is no `.npy`, of another type or order, larger, or ends early.
pub fn read_npy(mut reader: impl Read, max_bytes: usize) -> Result<Tensor, NpyError> {
    let text = read_header(&mut reader)?;
    let unusable = || NpyError::Header(text.chars().take(200).collect());
    let dtype = match field(&text, "descr") {
        Some(rest) if rest.starts_with("'<f4'") => Dtype::F32,
        Some(rest) if rest.starts_with("'<f2'") => Dtype::F16,
        _ => return Err(unusable()),
    };
    if !field(&text, "fortran_order").is_some_and(|rest| rest.starts_with("False")) {
        return Err(unusable());
    }
    let shape = field(&text, "shape").and_then(tuple).ok_or_else(unusable)?;
    let count = shape.iter().try_fold(1_usize, |count, &side| count.checked_mul(side));
    let Some(count) = count.filter(|count| count.checked_mul(4).is_some_and(|bytes| bytes <= max_bytes)) else {
        return Err(NpyError::TooLarge { shape, max_bytes });
    };
    let mut bytes = vec![0; count * dtype.size()];
    reader.read_exact(&mut bytes)?;
    let data = match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
        Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|&value| f16::from_le_bytes(value).to_f32()).collect(),
    };
    Ok(Tensor::new(shape, data).expect("as many values were read as the shape says"))
}

fn read_header(reader: &mut impl Read) -> Result<String, NpyError> {
    let mut start = [0; 8];
    reader.read_exact(&mut start)?;
    let length = match start.strip_prefix(MAGIC) {
        Some([1, 0]) => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            u32::from(u16::from_le_bytes(length))
        }
        Some([2 | 3, 0]) => {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            u32::from_le_bytes(length)
        }
        _ => return Err(NpyError::NotNpy),
    };
    if length > MAX_HEADER_BYTES {
        return Err(NpyError::Header(format!("it has {length} bytes")));
    }
    let mut header = vec![0; length as usize];
    reader.read_exact(&mut header)?;
    String::from_utf8(header).map_err(|_| NpyError::Header("it is not text".into()))
}

/// What follows `'name':` in the header's dict.
fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{name}':"))?;
    Some(rest.trim_start())
}

/// A tuple of sides such as `(2, 3)`, `(4,)` or `()`.
fn tuple(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let sides = inside.strip_suffix(',').unwrap_or(inside);
    if sides.trim().is_empty() {
        return Some(Vec::new());
    }
    sides.split(',').map(|side| side.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(dtype: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_npy(&mut bytes, dtype, shape, data).unwrap();
        bytes
    }

    fn padded(dict: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend(format!("{dict:<117}\n").bytes());
        bytes.extend(data);
        bytes
    }

    /// The expected bytes were loaded with NumPy 2 and gave back these arrays.
    #[test]
    fn writes_what_numpy_reads() {
        let check = |written: Vec<u8>, dict: &str, data: &[u8]| {
            assert_eq!(written, padded(dict, data), "{dict}");
            assert_eq!((written.len() - data.len()) % 64, 0, "{dict}");
        };
        let one = 1.0_f32.to_le_bytes();
        check(npy(Dtype::F32, &[], &one), "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", &one);
        check(npy(Dtype::F32, &[1], &one), "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &one);
        check(npy(Dtype::F16, &[1, 2], &one), "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }", &one);
        check(npy(Dtype::F32, &[0, 3], &[]), "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }", &[]);
        let mut integers = Vec::new();
        write_npy_integers(&mut integers, &[2, 1], &[7, -1]).unwrap();
        let data = [7_i64, -1].map(i64::to_le_bytes).concat();
        check(integers, "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 1), }", &data);
        let mut names = Vec::new();
        write_npy_strings(&mut names, &["a", "é🐝"]).unwrap();
        let letters = [0x61, 0, 0xe9, 0x1f41d].map(u32::to_le_bytes).concat();
        check(names, "{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }", &letters);
        let mut none = Vec::new();
        write_npy_strings::<&str>(&mut none, &[]).unwrap();
        check(none, "{'descr': '<U1', 'fortran_order': False, 'shape': (0,), }", &[]);
    }

    #[test]
    fn reads_what_it_wrote() {
        let check = |dtype, shape: &[usize], values: &[f32]| {
            let bytes = npy(dtype, shape, &super::super::little_endian(dtype, values).unwrap());
            let tensor = read_npy(bytes.as_slice(), 1 << 20).unwrap();
            assert_eq!((tensor.shape(), tensor.data()), (shape, values));
        };
        check(Dtype::F32, &[], &[0.1]);
        check(Dtype::F32, &[2, 2], &[0.1, -1e30, 3.0, 0.0]);
        check(Dtype::F16, &[3], &[0.5, -2.0, 65504.0]);
        check(Dtype::F32, &[4, 0], &[]);
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let check = |bytes: &[u8], expected: &str| {
            let found = read_npy(bytes, 64).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}");
        };
        let good = npy(Dtype::F32, &[2], &[0; 8]);
        check(b"", "ends early");
        check(b"\x93NUMPX\x01\x00\x00\x00", "version 1 to 3");
        check(&good[..good.len() - 1], "ends early");
        check(&good[..20], "ends early");
        check(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "4294967295 bytes");
        check(&padded("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", &[0; 8]), "'<f8'");
        check(&padded("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", &[0; 8]), "True");
        check(&padded("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", &[0; 8]), "(-1,)");
        check(&padded("{'descr': '<f4', 'fortran_order': False, 'shape': (17,), }", &[0; 68]), "larger than 64");
        let huge = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({0}, {0}), }}", usize::MAX);
        check(&padded(&huge, &[]), "larger than 64");
    }

    #[test]
    fn refuses_data_of_another_size() {
        let error = write_npy(Vec::new(), Dtype::F16, &[2, 3], &[0; 11]).unwrap_err();
        assert_eq!(error.to_string(), "shape [2, 3] of float16 does not have 11 bytes");
        let error = write_npy_integers(Vec::new(), &[2], &[1]).unwrap_err();
        assert_eq!(error.to_string(), "shape [2] of int64 does not have 8 bytes");
    }
}
