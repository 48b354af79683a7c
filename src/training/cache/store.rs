//! Records on disk: one file per tensor, fixed size, read by position; a checksum per record tells whether it is whole.
//!
//! A record whose checksum is missing or wrong counts as absent, so that a kill, a power cut or a short file costs that
//! record and nothing else. Knows neither models nor images.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{
    content::Content,
    room::{self, Room},
};
use crate::training::error::{At, Error};

/// Held (shared) while a cache is in use; its modification time is the last use.
pub(super) const LOCK: &str = "lock";

const CHECKSUMS: &str = "checksums.u32";
const CONTENT: &str = "content.json";

/// The records of one cache; shared by the threads that fill it.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    tensors: Vec<TensorFile>,
    checksums: File,
    /// 0 for absent records.
    known: Vec<AtomicU32>,
    /// Records from this one on are not stored.
    limit: usize,
    hold: Hold,
}

/// Keeps a cache, and the room that is reserved for it, from being given to others; the system takes it from the dead.
pub(in crate::training) type Hold = Arc<File>;

#[derive(Debug)]
struct TensorFile {
    path: PathBuf,
    file: File,
    /// Values per record.
    length: usize,
}

impl Store {
    /// Opens or makes the caches of `contents` below `root`; older caches go when all together exceed `bound` bytes.
    ///
    /// Room is given in the order of `contents`; what does not fit then is not stored: see [`Self::limit`]. It is theirs as long as
    /// one of their [`Hold`]s lasts.
    pub(super) fn open(root: &Path, contents: &[Content], bound: u64) -> Result<Vec<Self>, Error> {
        let keys: Vec<String> = contents.iter().map(Content::key).collect();
        let room = Room::lock(root, bound)?;
        let shared: Vec<bool> = keys.iter().map(|key| room::is_used(&root.join(key))).collect();
        let holds = keys.iter().map(|key| lock(&root.join(key))).collect::<Result<Vec<_>, Error>>()?;
        let needed = contents.iter().map(Content::bytes).fold(0, u64::saturating_add);
        let mut available = room.make(&keys, needed)?;
        let mut stores = Vec::new();
        for (((content, key), hold), is_shared) in contents.iter().zip(&keys).zip(holds).zip(shared) {
            let store = Self::open_locked(root.join(key), hold, content, available)?;
            let bytes = content.record_bytes().saturating_mul(store.limit as u64);
            room.reserve(key, bytes, is_shared)?;
            available = available.saturating_sub(bytes);
            stores.push((store, bytes));
        }
        room.check(&keys, stores.iter().map(|(_, bytes)| bytes).sum())?;
        Ok(stores.into_iter().map(|(store, _)| store).collect())
    }

    /// Holds the cache and its room beyond this value.
    pub(super) fn hold(&self) -> Hold {
        Arc::clone(&self.hold)
    }

    fn open_locked(dir: PathBuf, hold: Hold, content: &Content, available: u64) -> Result<Self, Error> {
        let limit = usize::try_from(available / content.record_bytes().max(1)).unwrap_or(usize::MAX).min(content.records());
        let description = dir.join(CONTENT);
        fs::write(&description, content.to_json()).at("write", &description)?;
        let tensor = |(index, length): (usize, usize)| {
            let path = dir.join(format!("{index}.f32"));
            Ok(TensorFile { file: open(&path)?, path, length })
        };
        let tensors = content.lengths().into_iter().enumerate().map(tensor).collect::<Result<Vec<_>, Error>>()?;
        let path = dir.join(CHECKSUMS);
        let known = fs::read(&path).or_else(absent).at("read", &path)?;
        let mut known: Vec<AtomicU32> =
            known.chunks_exact(4).map(|word| AtomicU32::new(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))).collect();
        known.resize_with(content.records(), AtomicU32::default);
        Ok(Self { checksums: open(&path)?, dir, tensors, known, limit, hold })
    }

    /// How many records are stored at most.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether `record` is to be stored and is not.
    pub(super) fn lacks(&self, record: usize) -> bool {
        record < self.limit && self.known[record].load(Ordering::Relaxed) == 0
    }

    /// Writes a record, one slice per tensor; nothing happens when it is not to be stored.
    pub(super) fn write(&self, record: usize, values: &[&[f32]]) -> Result<(), Error> {
        if record >= self.limit {
            return Ok(());
        }
        for (tensor, values) in self.tensors.iter().zip(values) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensor.file.write_all_at(&bytes, tensor.offset(record)).at("write", &tensor.path)?;
        }
        let checksum = values.iter().fold(SEED, |sum, values| add(sum, values));
        let checksum = folded(checksum);
        self.checksums.write_all_at(&checksum.to_le_bytes(), 4 * record as u64).at("write the checksums in", &self.dir)?;
        self.known[record].store(checksum, Ordering::Relaxed);
        Ok(())
    }

    /// Reads a record into `values`, one slice per tensor; false, and absent from now on, when it is not whole.
    pub(super) fn read(&self, record: usize, values: &mut [&mut [f32]]) -> Result<bool, Error> {
        let Some(known) = self.known.get(record).filter(|known| known.load(Ordering::Relaxed) != 0) else { return Ok(false) };
        let mut sum = SEED;
        for (tensor, values) in self.tensors.iter().zip(values) {
            if !tensor.read(record, values)? {
                known.store(0, Ordering::Relaxed);
                return Ok(false);
            }
            sum = add(sum, values);
        }
        let whole = folded(sum) == known.load(Ordering::Relaxed);
        if !whole {
            known.store(0, Ordering::Relaxed);
        }
        Ok(whole)
    }

    /// Forgets all records and gives their bytes back, so that others can write to a disk that is full.
    pub(super) fn empty(&self) -> Result<(), Error> {
        self.known.iter().for_each(|known| known.store(0, Ordering::Relaxed));
        for tensor in &self.tensors {
            tensor.file.set_len(0).at("empty", &tensor.path)?;
        }
        self.checksums.set_len(0).at("empty the checksums in", &self.dir)
    }

    /// Waits until everything is on disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        for tensor in &self.tensors {
            tensor.file.sync_data().at("sync", &tensor.path)?;
        }
        self.checksums.sync_data().at("sync the checksums in", &self.dir)
    }
}

impl TensorFile {
    fn offset(&self, record: usize) -> u64 {
        (record * self.length * 4) as u64
    }

    /// False when the file is too short.
    fn read(&self, record: usize, values: &mut [f32]) -> Result<bool, Error> {
        let mut bytes = vec![0; values.len() * 4];
        match self.file.read_exact_at(&mut bytes, self.offset(record)) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read.at("read", &self.path)?,
        }
        for (value, word) in values.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = f32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        }
        Ok(true)
    }
}

/// Makes the folder and holds it, so that nobody removes it; whoever removes one holds it alone.
fn lock(dir: &Path) -> Result<Hold, Error> {
    loop {
        fs::create_dir_all(dir).at("make the folder", dir)?;
        let path = dir.join(LOCK);
        let lock = match OpenOptions::new().create(true).append(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.at("open", &path)?,
        };
        lock.lock_shared().at("lock", &path)?;
        lock.set_modified(std::time::SystemTime::now()).at("touch", &path)?;
        // It may have been removed between making it and locking it.
        if path.exists() {
            return Ok(Arc::new(lock));
        }
    }
}

fn open(path: &Path) -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).at("open", path)
}

fn absent(error: std::io::Error) -> std::io::Result<Vec<u8>> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) }
}

/// FNV-1a's offset basis and prime for 64 bits, over whole words.
const SEED: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01B3;

fn add(sum: u64, values: &[f32]) -> u64 {
    values.iter().fold(sum, |sum, value| (sum ^ u64::from(value.to_bits())).wrapping_mul(PRIME))
}

/// Never 0, which stands for an absent record.
fn folded(sum: u64) -> u32 {
    ((sum >> 32) as u32 ^ sum as u32).max(1)
}
