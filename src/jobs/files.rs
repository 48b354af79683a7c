//! Files that come with requests for jobs: received whole before a job is accepted, kept until it has ended.
//!
//! Knows bytes; what they mean is the kind's business.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use tokio::{
    io::AsyncWriteExt,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};
use uuid::Uuid;

use super::error::Error;
use crate::registry::{
    flush,
    hidden::{self, HiddenFolder, STAGING_PREFIX},
    make_folder,
};

/// Files that are received and kept at once.
const MOST: usize = 4;

/// Name of the file in its folder.
const FILE: &str = "file";

/// Where files are kept: a folder per job, called as the job.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
    max_bytes: u64,
    /// Where that is configured.
    setting: &'static str,
    receiving: Arc<Semaphore>,
}

/// A file that is being received; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Receiving {
    files: Files,
    folder: HiddenFolder,
    file: tokio::fs::File,
    bytes: u64,
    hasher: Sha256,
    _permit: OwnedSemaphorePermit,
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
    is_kept: bool,
}

impl Files {
    /// Files of up to `max_bytes`, which `setting` configures, in `dir`, which is made with the first one; what dead processes left
    /// half-received there goes.
    pub fn new(dir: PathBuf, max_bytes: u64, setting: &'static str) -> Self {
        // What cannot be removed does no harm.
        let _ = hidden::clean(&dir);
        Self { dir, max_bytes, setting, receiving: Arc::new(Semaphore::new(MOST)) }
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

    /// Starts to receive a file.
    ///
    /// # Errors
    /// [`Error::TooManyFiles`]; when the file system refuses.
    pub async fn receive(&self) -> Result<Receiving, Error> {
        let full = || Error::TooManyFiles { limit: MOST };
        let permit = Arc::clone(&self.receiving).try_acquire_owned().map_err(|_| full())?;
        let dir = self.dir.clone();
        let begun = spawn_blocking(move || {
            make_folder(&dir)?;
            let folder = HiddenFolder::new(&dir, STAGING_PREFIX)?;
            let file = fs::File::create(folder.path().join(FILE))?;
            Ok((folder, file, ids(&dir).count()))
        });
        let (folder, file, kept) = begun.await.map_err(|_| full())?.map_err(|source| self.refused(source))?;
        // This one is among those that are being received.
        if kept + MOST - self.receiving.available_permits() > MOST {
            return Err(full());
        }
        Ok(Receiving {
            files: self.clone(),
            folder,
            file: tokio::fs::File::from_std(file),
            bytes: 0,
            hasher: Sha256::new(),
            _permit: permit,
        })
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
    }

    fn refused(&self, source: io::Error) -> Error {
        Error::Folder { path: self.dir.clone(), source }
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
        let Self { files, folder, file, bytes, hasher, _permit } = self;
        file.sync_all().await.map_err(|source| files.refused(source))?;
        let id = Uuid::now_v7().to_string();
        let (dir, target) = (files.dir.clone(), files.dir.join(&id));
        let kept = spawn_blocking(move || {
            fs::rename(folder.path(), &target)?;
            folder.keep();
            flush(&dir)
        });
        kept.await.map_err(io::Error::other).and_then(|kept| kept).map_err(|source| files.refused(source))?;
        let sha256 = hex::encode(hasher.finalize());
        Ok(Attachment { path: files.path(&id), id, name, bytes, sha256, is_kept: false })
    }
}

impl Attachment {
    /// Says that its job is accepted.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now is when the next worker tidies up.
            let _ = self.path.parent().map(fs::remove_dir_all);
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

    #[tokio::test]
    async fn a_file_is_kept_only_for_an_accepted_job() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = Files::new(dir.path().join("files"), 10, "models.max_import_bytes");
        let received = async |bytes: &[u8]| {
            let mut receiving = files.receive().await.expect("there is room");
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
        assert_eq!(files.kept(), std::slice::from_ref(&id), "the others are gone");
        files.remove(&id);
        files.remove(&id);
        assert_eq!(fs::read_dir(dir.path().join("files")).expect("a folder").count(), 0);
    }

    #[tokio::test]
    async fn few_files_are_received_and_kept_at_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = Files::new(dir.path().to_owned(), 10, "models.max_import_bytes");
        let mut receiving = Vec::new();
        for _ in 0..MOST {
            receiving.push(files.receive().await.expect("there is room"));
        }
        assert!(matches!(files.receive().await, Err(Error::TooManyFiles { limit: MOST })));
        for (done, receiving) in receiving.into_iter().enumerate() {
            receiving.finish("a".to_owned()).await.expect("it is received").keep();
            assert!(matches!(files.receive().await, Err(Error::TooManyFiles { .. })), "{done} are kept, the others received");
        }
        assert!(matches!(files.receive().await, Err(Error::TooManyFiles { .. })), "jobs have as many");
        files.remove(&files.kept()[0]);
        files.receive().await.expect("one has ended");
    }
}
