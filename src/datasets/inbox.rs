//! What arrives for a data set, file by file, before anyone knows which of it is an image.
//!
//! Contents are stored under their SHA-256, so that no name from outside ever becomes a file's name,
//! and the same photo twice takes its place once.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fs,
    io::{self, Read},
};

use sha2::{Digest, Sha256};

use super::{
    arrange::Arrived,
    bounds::{Cancel, Meter},
    entry_path::{clean, fault_at},
    error::{At, EntryFault, Error},
    staging::Staging,
};
use crate::preprocess::{Header, ImageError, Limits, header};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The file of macOS that holds a folder's icon, and nothing in what archives keep of it.
const FOLDER_ICON: &str = "Icon\r";

/// What a reader's error means.
pub(super) type Fault<'a> = &'a dyn Fn(io::Error) -> Error;

/// Takes in the files of one data set, within bounds.
pub(super) struct Inbox {
    staging: Staging,
    meter: Meter,
    limits: Limits,
    cancel: Cancel,
    /// Where in `files` each lies.
    paths: HashMap<String, usize>,
    files: Vec<Arrived<String>>,
    folders: BTreeSet<String>,
}

/// What an inbox held when the last file had arrived.
pub(super) struct Delivery {
    /// Where the contents lie.
    pub staging: Staging,
    /// Every file with the hash of its contents, in the order of arrival.
    pub files: Vec<Arrived<String>>,
    /// Every folder that was named as such.
    pub folders: BTreeSet<String>,
}

impl Inbox {
    pub fn new(staging: Staging, meter: Meter, limits: Limits, cancel: Cancel) -> Self {
        let (paths, files, folders) = Default::default();
        Self { staging, meter, limits, cancel, paths, files, folders }
    }

    /// What tells that nobody waits for the data set any more.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Counts `bytes` of the archive that are no contents: headers and padding.
    pub fn passed(&mut self, bytes: u64) -> Result<(), Error> {
        self.cancel.check()?;
        self.meter.unpacked(bytes)
    }

    /// Counts an entry that is neither file nor folder.
    pub fn remark(&mut self) -> Result<(), Error> {
        self.meter.entry()
    }

    /// Notes a folder, which may be empty.
    pub fn folder(&mut self, name: &str) -> Result<(), Error> {
        self.cancel.check()?;
        self.meter.entry()?;
        let path = clean(name)?;
        // Archivers name a folder again when they append; that is no contradiction.
        self.folders.insert(path);
        Ok(())
    }

    /// Stores a file, or notes why its contents are not kept. Reads `reader` to its end, and counts all of it.
    pub fn file(&mut self, name: &str, reader: &mut dyn Read, fault: Fault<'_>) -> Result<(), Error> {
        self.cancel.check()?;
        self.meter.entry()?;
        if name.rsplit(['/', '\\']).next() == Some(FOLDER_ICON) {
            return self.count(reader, fault).map(drop);
        }
        let path = clean(name)?;
        self.place(name, &path)?;
        let contents = match never_an_image(&path) {
            Some(reason) => self.count(reader, fault).map(|_| Err(reason.to_owned())),
            None => self.store(reader, fault),
        }?;
        self.files.push(Arrived { path, contents });
        Ok(())
    }

    /// Notes another name of a file that has arrived under `first`.
    pub fn link(&mut self, name: &str, first: &str) -> Result<(), Error> {
        self.cancel.check()?;
        self.meter.entry()?;
        let (path, first) = (clean(name)?, clean(first)?);
        let known = self.paths.get(&first).map(|&at| self.files[at].contents.clone());
        let known = known.ok_or_else(|| fault_at(name, EntryFault::Link))?;
        self.place(name, &path)?;
        let contents = never_an_image(&path).map_or(known, |reason| Err(reason.to_owned()));
        self.files.push(Arrived { path, contents });
        Ok(())
    }

    /// Takes the place of the next file for the entry `name` of that path.
    fn place(&mut self, name: &str, path: &str) -> Result<(), Error> {
        match self.paths.entry(path.to_owned()) {
            Entry::Vacant(place) if !path.is_empty() => {
                place.insert(self.files.len());
                Ok(())
            }
            _ => Err(fault_at(name, EntryFault::Duplicate)),
        }
    }

    /// Where the contents go.
    pub fn staging(&mut self) -> &mut Staging {
        &mut self.staging
    }

    pub fn finish(self) -> Delivery {
        Delivery { staging: self.staging, files: self.files, folders: self.folders }
    }

    /// Writes the contents under their hash; larger ones than an image may be are only counted.
    fn store(&mut self, reader: &mut dyn Read, fault: Fault<'_>) -> Result<Result<String, String>, Error> {
        let (mut contents, mut buffer) = (Vec::new(), vec![0; BUFFER_BYTES]);
        loop {
            let read = read(reader, &mut buffer, fault)?;
            if read == 0 {
                break;
            }
            self.meter.unpacked(read as u64)?;
            self.cancel.check()?;
            contents.extend_from_slice(&buffer[..read]);
            if contents.len() > self.limits.max_bytes {
                let bytes = contents.len() as u64 + self.count(reader, fault)?;
                let (bytes, limit) = (usize::try_from(bytes).unwrap_or(usize::MAX), self.limits.max_bytes);
                return Ok(Err(ImageError::TooManyBytes { bytes, limit }.to_string()));
            }
        }
        let sha256: String = hex::encode(Sha256::digest(&contents));
        let target = self.staging.image_path(&sha256);
        if !target.exists() {
            // What is no image is skipped with its reason later.
            if let Ok(Header { width, height, .. }) = header(&contents, &self.limits) {
                self.meter.pixels(u64::from(width) * u64::from(height))?;
            }
            self.staging.share.take(contents.len() as u64)?;
            fs::write(&target, &contents).at("write", &target)?;
        }
        Ok(Ok(sha256))
    }

    /// Reads to the end and returns how much that was.
    fn count(&mut self, reader: &mut dyn Read, fault: Fault<'_>) -> Result<u64, Error> {
        let (mut bytes, mut buffer) = (0, vec![0; BUFFER_BYTES]);
        loop {
            let read = read(reader, &mut buffer, fault)?;
            if read == 0 {
                return Ok(bytes);
            }
            self.cancel.check()?;
            self.meter.unpacked(read as u64)?;
            bytes += read as u64;
        }
    }
}

fn read(reader: &mut dyn Read, buffer: &mut [u8], fault: Fault<'_>) -> Result<usize, Error> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(fault),
        }
    }
}

/// Why the file at `path` is passed over whatever it holds.
pub(crate) fn never_an_image(path: &str) -> Option<&'static str> {
    path.split('/').find_map(|part| match part {
        "__MACOSX" => Some("what macOS adds to archives, no image of yours"),
        "@eaDir" | "#recycle" | "$RECYCLE.BIN" | "System Volume Information" | "lost+found" => {
            Some("what a file system or a storage device keeps for itself, no image of yours")
        }
        part if part.starts_with('.') => Some("hidden (its name or a folder's starts with a dot)"),
        _ => None,
    })
}
