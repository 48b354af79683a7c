//! The unfinished file beside the destination: locked, hashed as it grows, renamed when it is right.
//!
//! Knows files alone; what goes into it is `transfer`'s part.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use md5::{Digest, Md5};

use super::error::Error;

/// `NAME.part`, with the sum of what it holds.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Md5,
}

impl Part {
    /// Opens what an earlier attempt left at `path`, or a new file.
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
        let mut file = options.open(&path).map_err(|source| Error::write(&path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            Err(TryLockError::Error(source)) => return Err(Error::write(&path, source)),
        }
        // Whoever held the lock before may have renamed the file since it was opened here.
        let same = file.metadata().and_then(|own| Ok(fs::metadata(&path)?.ino() == own.ino()));
        if !same.unwrap_or(false) {
            return Err(Error::Busy { path });
        }
        let mut hasher = Md5::new();
        let length = hash(&mut file, &mut hasher).map_err(|source| Error::write(&path, source))?;
        Ok(Self { path, file, length, hasher })
    }

    /// Bytes it holds.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// MD5 of what it holds, hexadecimal.
    pub(super) fn md5(&self) -> String {
        hex::encode(self.hasher.clone().finalize())
    }

    /// Appends `bytes`.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // After a failed write the position is unknown, and so it is set each time.
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(bytes));
        written.map_err(|source| Error::write(&self.path, source))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Empties it.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(|source| Error::write(&self.path, source))?;
        self.length = 0;
        self.hasher = Md5::new();
        Ok(())
    }

    /// Makes it `target`, durably.
    pub(super) fn publish(self, target: &Path) -> Result<(), Error> {
        let sync = || {
            self.file.set_len(self.length)?;
            self.file.sync_all()
        };
        sync().map_err(|source| Error::write(&self.path, source))?;
        fs::rename(&self.path, target).map_err(|source| Error::write(target, source))?;
        let folder = target.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| Error::write(folder, source))
    }

    /// Deletes it.
    pub(super) fn discard(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(|source| Error::write(&self.path, source))
    }
}

/// MD5 of the file at `path`, hexadecimal; `None` when there is none.
pub(super) fn md5_of(path: &Path) -> Result<Option<String>, Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::write(path, source)),
    };
    let mut hasher = Md5::new();
    hash(&mut file, &mut hasher).map_err(|source| Error::write(path, source))?;
    Ok(Some(hex::encode(hasher.finalize())))
}

fn hash(file: &mut File, hasher: &mut Md5) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(length),
            read => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}
