//! Files that come with requests for jobs: received whole before a job is accepted, kept until it has ended.
//!
//! Knows bytes; what they mean is the kind's business.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncWriteExt, BufWriter},
    task::spawn_blocking,
};
use uuid::Uuid;

use super::error::Error;
use crate::{
    registry::{
        flush,
        hidden::{self, HiddenFolder, STAGING_PREFIX},
        make_folder,
    },
    work::{Budget, Client, EndsElsewhere, Exceeded, Share},
};

/// Files that are received and kept at once.
const MOST: u64 = 4;

/// Bytes that are gathered before they are written.
const WRITTEN_AT_ONCE: usize = 4 << 10;

/// Name of the file in its folder.
const FILE: &str = "file";

/// Where files are kept: a folder per job, called as the job.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
    max_bytes: u64,
    /// Where that is configured.
    setting: &'static str,
    places: Budget,
    /// Places of files that were received here and are there, by their jobs' ids. A plain mutex: held while one is renamed and for
    /// looks, and never on an async thread.
    received: Arc<Mutex<HashMap<String, Share>>>,
}

/// A file that is being received; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Receiving {
    files: Files,
    held: EndsElsewhere<Held>,
    /// Chunks may be of a byte each; every write to a file has its thread.
    file: BufWriter<tokio::fs::File>,
    bytes: u64,
    hasher: Sha256,
}

/// What a file holds that is being received.
#[derive(Debug)]
struct Held {
    folder: HiddenFolder,
    place: Share,
}

/// A file that was received; dropping it removes it, unless a job has it.
#[derive(Debug)]
pub struct Attachment {
    /// The id that its job will have.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// What its sender calls it.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its contents, hexadecimal.
    pub sha256: String,
    kept: EndsElsewhere<Kept>,
}

/// A file's folder among those that are kept.
#[derive(Debug)]
struct Kept {
    files: Files,
    id: String,
    /// Whether a job has it.
    has_job: bool,
}

impl Files {
    /// Files of up to `max_bytes`, which `setting` configures, in `dir`, which is made with the first one; what dead processes
    /// left half-received there goes. One client has at most `max_client_percent` of their places.
    pub fn new(dir: PathBuf, (max_bytes, setting): (u64, &'static str), max_client_percent: u8) -> Self {
        // What cannot be removed does no harm.
        let _ = hidden::clean(&dir);
        Self { dir, max_bytes, setting, places: Budget::shared(MOST, max_client_percent, 1), received: Arc::default() }
    }

    /// Size of the largest file that is taken; 0 when none is.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Where that is configured.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// That a file is larger than those that are taken.
    pub fn too_large(&self) -> Error {
        Error::FileTooLarge { limit: self.max_bytes, setting: self.setting }
    }

    /// Starts to receive a file of `client`.
    ///
    /// # Errors
    /// [`Error::TooManyFiles`]; when the file system refuses.
    pub async fn receive(&self, client: &Client) -> Result<Receiving, Error> {
        let full = || Error::TooManyFiles { limit: MOST, of_client: false };
        let (files, client) = (self.clone(), client.clone());
        let begun = spawn_blocking(move || {
            let elsewhere = files.received_elsewhere();
            let place = files.places.take(&client, 1).map_err(|exceeded| match exceeded {
                Exceeded::Bound => full(),
                Exceeded::Client => Error::TooManyFiles { limit: files.places.per_client(), of_client: true },
            })?;
            if files.places.used() + elsewhere > MOST {
                return Err(full());
            }
            let begin = || {
                make_folder(&files.dir)?;
                let folder = HiddenFolder::new(&files.dir, STAGING_PREFIX)?;
                let file = fs::File::create(folder.path().join(FILE))?;
                Ok((folder, file))
            };
            let (folder, file) = begin().map_err(|source| files.refused(source))?;
            let (held, file) = (
                EndsElsewhere::new(Held { folder, place }),
                BufWriter::with_capacity(WRITTEN_AT_ONCE, tokio::fs::File::from_std(file)),
            );
            Ok(Receiving { files, held, file, bytes: 0, hasher: Sha256::new() })
        });
        begun.await.map_err(|_| full())?
    }

    /// How many files are kept that another process received, or one before this. The places of those that are gone are free.
    fn received_elsewhere(&self) -> u64 {
        let mut received = self.received();
        let there = self.kept();
        received.retain(|id, _| there.contains(id));
        there.iter().filter(|id| !received.contains_key(*id)).count() as u64
    }

    fn received(&self) -> MutexGuard<'_, HashMap<String, Share>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of the job `id`.
    pub fn path(&self, id: &str) -> PathBuf {
        self.dir.join(id).join(FILE)
    }

    /// Ids of the jobs whose files are kept.
    pub fn kept(&self) -> Vec<String> {
        ids(&self.dir).collect()
    }

    /// Removes the file of the job `id`.
    pub fn remove(&self, id: &str) {
        let folder = self.dir.join(id);
        if let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove the file of a job that has ended");
        }
        self.received().remove(id);
    }

    fn refused(&self, source: io::Error) -> Error {
        Error::Folder { path: self.dir.as_path().into(), source }
    }
}

impl Receiving {
    /// Writes the next bytes.
    ///
    /// # Errors
    /// [`Error::FileTooLarge`]; when the file system refuses.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        if self.bytes > self.files.max_bytes {
            return Err(self.files.too_large());
        }
        self.hasher.update(chunk);
        self.file.write_all(chunk).await.map_err(|source| self.files.refused(source))
    }

    /// The whole file, durable.
    ///
    /// # Errors
    /// When the file system refuses.
    pub async fn finish(self, name: String) -> Result<Attachment, Error> {
        let Self { files, held, mut file, bytes, hasher } = self;
        let written = async {
            file.flush().await?;
            file.get_ref().sync_all().await
        };
        written.await.map_err(|source| files.refused(source))?;
        let id = Uuid::now_v7().to_string();
        let sha256 = hex::encode(hasher.finalize());
        let kept = EndsElsewhere::new(Kept { files: files.clone(), id: id.clone(), has_job: false });
        let attachment = Attachment { path: files.path(&id), id, name, bytes, sha256, kept };
        let dir = files.dir.clone();
        let renamed = spawn_blocking(move || {
            let Held { folder, place } = held.into_inner();
            let Kept { files, id, .. } = &*attachment.kept;
            {
                let mut received = files.received();
                fs::rename(folder.path(), dir.join(id))?;
                received.insert(id.clone(), place);
            }
            folder.keep();
            flush(&dir)?;
            Ok(attachment)
        });
        renamed.await.map_err(io::Error::other).and_then(|kept| kept).map_err(|source| files.refused(source))
    }
}

impl Attachment {
    /// Says that its job is accepted.
    pub fn keep(mut self) {
        self.kept.has_job = true;
    }

    /// Removes it and gives its place back, before this returns. Blocks.
    pub fn discard(self) {
        drop(self.kept.into_inner());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.has_job {
            // What cannot be removed now is when the next worker tidies up.
            self.files.remove(&self.id);
        }
    }
}

/// The folders of `dir` that are called as jobs are.
fn ids(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let folders = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = folders.filter_map(|folder| folder.file_name().into_string().ok());
    // Whatever else somebody put there is not graft's to remove.
    names.filter(|name| Uuid::try_parse(name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given up is removed on another thread.
    async fn eventually(is_so: impl Fn() -> bool) {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_file_is_kept_only_for_an_accepted_job() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = Files::new(dir.path().join("files"), (10, "models.max_import_bytes"), 100);
        let received = async |bytes: &[u8]| {
            let mut receiving = files.receive(&Client::local()).await.expect("there is room");
            receiving.write(bytes).await?;
            receiving.finish("a.onnx".to_owned()).await
        };
        let kept = received(b"0123456789").await.expect("it is received");
        assert_eq!((kept.bytes, fs::read(&kept.path).expect("a file")), (10, b"0123456789".to_vec()));
        let (id, path) = (kept.id.clone(), kept.path.clone());
        assert_eq!((files.kept(), files.path(&id)), (vec![id.clone()], path));
        kept.keep();
        drop(received(b"refused").await.expect("it is received"));
        let large = received(b"0123456789x").await.expect_err("one byte too many");
        assert!(matches!(large, Error::FileTooLarge { limit: 10, .. }), "{large}");
        eventually(|| files.kept() == std::slice::from_ref(&id)).await;
        eventually(|| files.places.used() == 1).await;
        files.remove(&id);
        files.remove(&id);
        eventually(|| fs::read_dir(dir.path().join("files")).expect("a folder").count() == 0).await;
    }

    #[tokio::test]
    async fn few_files_are_received_and_kept_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = Files::new(dir.path().to_owned(), (10, "models.max_import_bytes"), 100);
        let receive = async || files.receive(&Client::local()).await;
        let mut receiving = Vec::new();
        for _ in 0..MOST {
            receiving.push(receive().await.expect("there is room"));
        }
        assert!(matches!(receive().await, Err(Error::TooManyFiles { limit: MOST, of_client: false })));
        for (done, receiving) in receiving.into_iter().enumerate() {
            receiving.finish("a".to_owned()).await.expect("it is received").keep();
            assert!(matches!(receive().await, Err(Error::TooManyFiles { .. })), "{done} are kept, the others received");
        }
        // As after a restart, or in another process.
        let other = Files::new(dir.path().to_owned(), (10, "models.max_import_bytes"), 100);
        for files in [&files, &other] {
            let full = files.receive(&Client::local()).await;
            assert!(matches!(full, Err(Error::TooManyFiles { of_client: false, .. })), "jobs have as many");
        }
        eventually(|| files.places.used() == MOST).await;
        other.remove(&files.kept()[0]);
        files.receive(&Client::local()).await.expect("one has ended, whoever ran it");
    }

    #[tokio::test]
    async fn one_client_has_a_share_of_files_until_their_jobs_have_ended() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = Files::new(dir.path().to_owned(), (10, "models.max_import_bytes"), 50);
        let [one, other] = ["one", "other"].map(Client::key);
        let is_full = async || matches!(files.receive(&one).await, Err(Error::TooManyFiles { limit: 2, of_client: true }));
        let received = async || files.receive(&one).await.expect("there is room").finish("a".to_owned()).await.expect("it is");
        let kept = received().await;
        let id = kept.id.clone();
        kept.keep();
        let waiting = received().await;
        assert!(is_full().await, "one waits with its job, one for it");
        files.receive(&other).await.expect("there is room for others");
        drop(waiting);
        eventually(|| files.kept().len() == 1 && files.places.used() == 1).await;
        let receiving = files.receive(&one).await.expect("it was refused");
        assert!(is_full().await);
        files.remove(&id);
        files.receive(&one).await.expect("its job has ended");
        drop(receiving);
    }
}
