//! gzip, undone by `flate2`, as long as somebody waits for it and it has something in it.
//!
//! A member may be empty and take twenty bytes; the decoder passes over as many as there are before it gives a byte. Knows nothing
//! of tar.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;

use crate::datasets::bounds::Cancel;

/// Most bytes that may be read without any that come out: stored blocks have 64 KiB.
const MAX_QUIET_BYTES: u64 = 1 << 20;

/// What gzip holds.
pub(super) struct Gunzip<R> {
    decoder: MultiGzDecoder<Packed<R>>,
    quiet: Rc<Cell<u64>>,
}

impl<R: BufRead> Gunzip<R> {
    pub fn new(reader: R, cancel: Cancel) -> Self {
        let quiet = Rc::new(Cell::new(0));
        Self { decoder: MultiGzDecoder::new(Packed { reader, cancel, quiet: Rc::clone(&quiet) }), quiet }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        if read > 0 {
            self.quiet.set(0);
        }
        Ok(read)
    }
}

/// The bytes below the decoder.
struct Packed<R> {
    reader: R,
    cancel: Cancel,
    /// How many were read since the last came out.
    quiet: Rc<Cell<u64>>,
}

impl<R: BufRead> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.cancel.check().map_err(io::Error::other)?;
        if self.quiet.get() > MAX_QUIET_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a MiB and more of its gzip holds nothing"));
        }
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.quiet.set(self.quiet.get() + amount as u64);
        self.reader.consume(amount);
    }
}

impl<R: BufRead> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::datasets::bounds::CancelOnDrop;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(bytes).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn unpacked(bytes: &[u8], cancel: Cancel) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Gunzip::new(bytes, cancel).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn what_holds_something_is_read_and_what_holds_nothing_is_not() {
        let noise: Vec<u8> = (0..5_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(unpacked(&gzip(&noise), Cancel::default()).expect("it is whole"), noise);
        let empty = gzip(b"");
        let few = [gzip(b"a"), empty.repeat(1000), gzip(b"b")].concat();
        assert_eq!(unpacked(&few, Cancel::default()).expect("it is whole"), b"ab");
        let many = [gzip(b"a"), empty.repeat((2 << 20) / empty.len())].concat();
        let error = unpacked(&many, Cancel::default()).expect_err("nobody would wait for it");
        assert!(error.to_string().contains("holds nothing"), "{error}");
    }

    #[test]
    fn nothing_is_read_that_nobody_waits_for() {
        let cancel = Cancel::default();
        drop(CancelOnDrop(cancel.clone()));
        assert!(unpacked(&gzip(b"a"), cancel).is_err());
    }
}
