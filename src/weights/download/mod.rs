//! Brings a weight file: resumed after a cut, checked before use, put in place in one step.
//!
//! Blocking; knows HTTP as a client, nothing of what the file holds.

mod error;
mod part;
mod transfer;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

pub use error::Error;

use self::{
    part::Part,
    transfer::{Failure, Outcome, Transfer},
};

/// Bytes that count as getting on: after them the attempts are counted afresh.
const HEADWAY_BYTES: u64 = 1 << 20;

/// A file to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its address, `https` or `http`; the last segment names the file.
    pub url: String,
    /// MD5, hexadecimal.
    pub md5: String,
    /// Bound on its size in bytes.
    pub max_bytes: u64,
    /// What `graft import` calls its contents; for messages.
    pub architecture: String,
}

impl Download {
    /// The file's name: the last segment of the address.
    fn file_name(&self) -> Option<&str> {
        let path = self.url.split(['?', '#']).next()?;
        let (_, path) = path.split_once("://")?;
        let (_, name) = path.rsplit_once('/')?;
        let safe = !name.is_empty() && !name.starts_with('.') && !name.contains(['\\', '\0', '%']);
        safe.then_some(name)
    }
}

/// How patient a download is.
#[derive(Debug, Clone)]
pub struct Options {
    /// For making a connection; default 10 s.
    pub connect_timeout: Duration,
    /// For an answer to begin, and for every next piece of it; default 30 s.
    pub read_timeout: Duration,
    /// Attempts without getting on before giving up; default 5.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each further one; default 1 s.
    pub backoff: Duration,
    /// Redirections followed; default 5.
    pub max_redirects: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            attempts: 5,
            backoff: Duration::from_secs(1),
            max_redirects: 5,
        }
    }
}

/// Told how far a download is.
pub trait Progress {
    /// `done` bytes of `total`, where known, are on disk. Goes back when a transfer has to begin again.
    fn update(&mut self, done: u64, total: Option<u64>);
}

impl<F: FnMut(u64, Option<u64>)> Progress for F {
    fn update(&mut self, done: u64, total: Option<u64>) {
        self(done, total);
    }
}

/// Brings `download` into `folder`, which is made if need be, and returns where it lies.
///
/// A file that is already there with the right sum is left alone. The unfinished file is `NAME.part`; what an earlier
/// call left in it is used.
///
/// # Errors
/// When the host cannot be reached or has no such file, the sum is wrong, the file is too large or the disk full.
pub fn fetch(download: &Download, folder: &Path, options: &Options, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
    let name = download.file_name().ok_or_else(|| Error::BadUrl { url: download.url.clone() })?;
    let target = folder.join(name);
    if part::md5_of(&target)?.is_some_and(|md5| md5.eq_ignore_ascii_case(&download.md5)) {
        return Ok(target);
    }
    fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
    let mut part = Part::open(folder.join(format!("{name}.part")))?;
    let mut transfer = Transfer::new(download, options);
    // What an earlier call left may be of another file; then the sum is wrong and all is fetched again, once.
    let mut inherited = part.length() > 0;
    loop {
        if let Err(error) = receive(&mut transfer, &mut part, options, progress, &target) {
            let useless = part.length() == 0 || matches!(error, Error::TooLarge { .. });
            return if useless { part.discard().and(Err(error)) } else { Err(error) };
        }
        let found = part.md5();
        if found.eq_ignore_ascii_case(&download.md5) {
            part.publish(&target)?;
            return Ok(target);
        }
        if !inherited {
            part.discard()?;
            return Err(Error::Checksum { url: download.url.clone(), expected: download.md5.clone(), found });
        }
        inherited = false;
        part.restart()?;
    }
}

/// Repeats requests until the server has no more to send.
fn receive(
    transfer: &mut Transfer<'_>,
    part: &mut Part,
    options: &Options,
    progress: &mut dyn Progress,
    target: &Path,
) -> Result<(), Error> {
    let mut attempts = 0;
    let mut reached = false;
    loop {
        let before = part.length();
        let failure = match transfer.run(part, progress)? {
            Outcome::Complete => return Ok(()),
            Outcome::Failed(failure) => failure,
        };
        if part.length() >= before.saturating_add(HEADWAY_BYTES) {
            attempts = 0;
        }
        attempts += 1;
        // A host that never answered is rather not there than shaky: say so at once.
        let hopeless = matches!(failure, Failure::Connection(_)) && !reached;
        reached |= !matches!(failure, Failure::Connection(_));
        if hopeless || attempts >= options.attempts {
            return Err(give_up(transfer, part, failure, attempts, target));
        }
        std::thread::sleep(options.backoff.saturating_mul(1 << (attempts - 1).min(16)));
    }
}

fn give_up(transfer: &Transfer<'_>, part: &Part, failure: Failure, attempts: u32, target: &Path) -> Error {
    let download = transfer.download;
    match failure {
        Failure::Connection(source) => Error::Unreachable {
            url: download.url.clone(),
            target: target.to_owned(),
            architecture: download.architecture.clone(),
            source: Box::new(source),
        },
        Failure::Cut(source) => Error::Interrupted { url: download.url.clone(), done: part.length(), attempts, source },
        Failure::Status(status) => transfer.status(status),
    }
}

#[cfg(test)]
mod tests;
