//! Paths of this machine in messages: whoever runs graft reads them whole, a client reads the setting that they are below.
//!
//! What is shown is decided where a path is written into a message, so that no text is searched for paths afterwards.
//! An error's `Display` has no parameter for its reader: [`Folders::for_client`] says for the thread who reads.

use std::{
    cell::RefCell,
    fmt,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

thread_local! {
    /// The folders that a client may know by their settings, while a text for one is written on this thread.
    static READER: RefCell<Option<Folders>> = const { RefCell::new(None) };
}

/// A path of this machine in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPath(PathBuf);

/// What a library said, which may name files of this machine; a client that must not read those reads that there is a log.
#[derive(Debug)]
pub struct Foreign<T>(pub T);

/// What another process says: whole, and as a client may read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relayed {
    whole: String,
    shown: String,
}

/// The folders of a server, with the settings by which a client may know them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(PathBuf, String)>", into = "Vec<(PathBuf, String)>")]
pub struct Folders(Arc<[(PathBuf, String)]>);

impl Folders {
    /// `folders`, each with its setting; one may be within another.
    pub fn new<'a>(folders: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        let mut folders: Vec<_> = folders.into_iter().map(|(path, setting)| (absolute(path), setting.to_owned())).collect();
        // The innermost comes first: the repository is usually in the data folder.
        folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        Self(folders.into())
    }

    /// The same, with the file at `path` called `name`, as the client calls it.
    #[must_use]
    pub fn and(&self, path: &Path, name: &str) -> Self {
        let own = (absolute(path), name.to_owned());
        Self(std::iter::once(own).chain(self.0.iter().cloned()).collect())
    }

    /// Those of the reader for whom this thread writes at the moment, for another process that writes for the same; none where
    /// whoever runs graft reads.
    pub fn of_reader() -> Self {
        READER.with_borrow(Clone::clone).unwrap_or_default()
    }

    /// What `write` makes, with every [`ServerPath`] that it writes on this thread as a client may read it.
    pub fn for_client<T>(&self, write: impl FnOnce() -> T) -> T {
        let before = READER.replace(Some(self.clone()));
        // Put back when `write` panics, too: a pool's thread goes on to write for others.
        let _restore = Restore(before);
        write()
    }

    fn name(&self, path: &Path) -> Option<PathBuf> {
        let path = absolute(path);
        self.0.iter().find_map(|(folder, setting)| Some(Path::new(setting).join(path.strip_prefix(folder).ok()?)))
    }
}

impl Relayed {
    /// What `write` makes, for a client that knows `folders`.
    pub fn new(folders: &Folders, write: impl Fn() -> String) -> Self {
        Self { whole: write(), shown: folders.for_client(write) }
    }
}

impl From<Vec<(PathBuf, String)>> for Folders {
    fn from(folders: Vec<(PathBuf, String)>) -> Self {
        Self(folders.into())
    }
}

impl From<Folders> for Vec<(PathBuf, String)> {
    fn from(folders: Folders) -> Self {
        folders.0.to_vec()
    }
}

struct Restore(Option<Folders>);

impl Drop for Restore {
    fn drop(&mut self) {
        READER.set(self.0.take());
    }
}

impl fmt::Display for ServerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reader = READER.with_borrow(Clone::clone);
        match reader.map(|folders| folders.name(&self.0)) {
            None => write!(f, "{}", self.0.display()),
            // Joined to an empty rest, a path ends in a separator.
            Some(Some(named)) => f.write_str(named.to_string_lossy().trim_end_matches('/')),
            Some(None) => f.write_str("a file of the server"),
        }
    }
}

impl fmt::Display for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let for_client = READER.with_borrow(Option::is_some);
        f.write_str(if for_client { &self.shown } else { &self.whole })
    }
}

impl<T: fmt::Display> fmt::Display for Foreign<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let names_files = |folders: &Folders| folders.0.iter().any(|(path, _)| text.contains(&*path.to_string_lossy()));
        let is_told = !READER.with_borrow(|reader| reader.as_ref().is_some_and(names_files));
        f.write_str(if is_told { &text } else { "the server's log has what ONNX Runtime said of its files" })
    }
}

impl Deref for ServerPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl<T: Into<PathBuf>> From<T> for ServerPath {
    fn from(path: T) -> Self {
        Self(path.into())
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write {path}")]
    struct Failed {
        path: ServerPath,
    }

    #[track_caller]
    fn check(folders: &[(&str, &'static str)], path: &str, expected: &str) {
        let folders = Folders::new(folders.iter().map(|(path, setting)| (Path::new(*path), *setting)));
        let failed = Failed { path: path.into() };
        assert_eq!(failed.to_string(), format!("cannot write {path}"));
        assert_eq!(folders.for_client(|| failed.to_string()), format!("cannot write {expected}"));
        assert_eq!(failed.to_string(), format!("cannot write {path}"));
    }

    #[test]
    fn a_client_reads_settings_instead_of_folders() {
        let image = [("/data", "data.dir"), ("/models", "models.dir")];
        check(&image, "/data/cache/12/part", "data.dir/cache/12/part");
        check(&image, "/models/vgg16/1/weights.bin", "models.dir/vgg16/1/weights.bin");
        check(&image, "/data", "data.dir");
        check(&image, "/database/x", "a file of the server");
        check(&image, "/srv/data/x", "a file of the server");
        check(&[("/data", "data.dir"), ("/data/models", "models.dir")], "/data/models/vgg16", "models.dir/vgg16");
        check(&[("/", "data.dir")], "/cache/x", "data.dir/cache/x");
        let received = Folders::new([(Path::new("/data"), "data.dir")]).and(Path::new("/data/imports/7/file"), "vgg.h5");
        let failed = Failed { path: "/data/imports/7/file".into() };
        assert_eq!(received.for_client(|| failed.to_string()), "cannot write vgg.h5");
    }

    #[test]
    fn what_is_no_path_stays_as_it_is() {
        let folders = Folders::new([(Path::new("/data"), "data.dir"), (Path::new("/models"), "models.dir")]);
        let text = || "`GET /datasets` and `GET /models/vgg16/layers` list them".to_owned();
        assert_eq!(folders.for_client(text), text());
    }

    #[test]
    fn what_a_library_said_is_told_whole_or_not_at_all() {
        let folders = Folders::new([(Path::new("/data"), "data.dir")]);
        let check = |text: &str, expected: &str| {
            assert_eq!(folders.for_client(|| Foreign(text).to_string()), expected);
            assert_eq!(Foreign(text).to_string(), text);
        };
        check("no kernel for MaxUnpool(11)", "no kernel for MaxUnpool(11)");
        check("open file \"/data/models/1/weights.bin\" failed", "the server's log has what ONNX Runtime said of its files");
    }

    #[test]
    fn a_panic_ends_what_a_client_reads() {
        let folders = Folders::new([(Path::new("/data"), "data.dir")]);
        let panicked = std::panic::catch_unwind(|| folders.for_client(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(ServerPath::from("/data/x").to_string(), "/data/x");
    }

    #[test]
    fn what_another_process_says_is_for_the_reader_here() {
        let folders = Folders::new([(Path::new("/data/models"), "models.dir")]);
        // There and back again.
        let asked = serde_json::to_string(&folders.for_client(Folders::of_reader)).expect("JSON");
        let there: Folders = serde_json::from_str(&asked).expect("folders");
        let said = Relayed::new(&there, || format!("cannot read {}", ServerPath::from("/data/models/a")));
        let said: Relayed = serde_json::from_str(&serde_json::to_string(&said).expect("JSON")).expect("a text");
        assert_eq!(said.to_string(), "cannot read /data/models/a");
        assert_eq!(folders.for_client(|| said.to_string()), "cannot read models.dir/a");
    }
}
