//! A writer that knows the hash and the size of what went through it.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::metadata::WeightsOrigin;

/// Passes bytes on to `W` while it takes their SHA-256 and counts them.
///
/// Put it outside any buffer whose `flush` may fail: a byte counts once `W` has taken it.
#[derive(Debug)]
pub struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Starts with nothing written.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Flushes, then gives back the writer and the origin of what was written.
    ///
    /// # Errors
    /// When flushing fails.
    pub fn finish(mut self, source: impl Into<String>) -> io::Result<(W, WeightsOrigin)> {
        self.inner.flush()?;
        let sha256 = hex::encode(self.hash.finalize());
        Ok((self.inner, WeightsOrigin { source: source.into(), sha256, bytes: self.bytes }))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(buffer)?;
        self.hash.update(&buffer[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes at most three bytes at a time.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let taken = buffer.len().min(3);
            self.0.extend_from_slice(&buffer[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn hashes_what_the_writer_took() {
        let mut writer = HashingWriter::new(Slow(Vec::new()));
        writer.write_all(b"abc").unwrap();
        writer.write_all(b"dbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").unwrap();
        assert_eq!(writer.bytes(), 56);
        let (inner, origin) = writer.finish("seed:1").unwrap();
        assert_eq!(inner.0.len(), 56);
        // FIPS 180-4's example of a two-block message.
        assert_eq!(origin.sha256, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        assert_eq!((origin.source.as_str(), origin.bytes), ("seed:1", 56));
    }
}
