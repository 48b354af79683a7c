//! Which photos a version was trained on, by the SHA-256 of their files: `trained_on.txt` in its folder, a hash per line.
//!
//! What was trained on its base counts too. Knows nothing of classes.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader},
    path::Path,
};

use super::{
    error::Error,
    files::{TRAINED_ON, write_synced},
    repository::ModelVersion,
};
use crate::config::open_regular;

/// The photos that a version was trained on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrainedOn(BTreeSet<[u8; 32]>);

impl TrainedOn {
    /// Adds the photo whose file has this SHA-256, hexadecimal; what is no such hash is no photo.
    pub fn insert(&mut self, sha256: &str) {
        self.0.extend(hash(sha256));
    }

    /// Whether the photo whose file has this SHA-256 is among them.
    pub fn contains(&self, sha256: &str) -> bool {
        hash(sha256).is_some_and(|hash| self.0.contains(&hash))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The photos of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Writes the list into `folder`, in ascending order.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let mut text = String::with_capacity(self.0.len() * 65);
        for hash in &self.0 {
            text.push_str(&hex::encode(hash));
            text.push('\n');
        }
        write_synced(&folder.join(TRAINED_ON), text.as_bytes())
    }
}

impl ModelVersion {
    /// The photos that it was trained on; `None` when that is not known.
    ///
    /// # Errors
    /// A list that cannot be read.
    pub fn trained_on(&self) -> io::Result<Option<TrainedOn>> {
        let file = match open_regular(&self.dir().join(TRAINED_ON)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut photos = TrainedOn::default();
        for line in BufReader::new(file).lines() {
            photos.insert(&line?);
        }
        Ok(Some(photos))
    }
}

/// 64 hexadecimal digits as bytes.
fn hash(sha256: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(sha256, &mut hash).ok().map(|()| hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let version = ModelVersion { dir: folder.path().to_owned(), ..testing::version(testing::metadata("m")) };
        assert_eq!(version.trained_on().expect("nothing is read"), None);
        let mut photos = TrainedOn::default();
        let [first, second, other] = ["0a", "ff", "1c"].map(|pair| pair.repeat(32));
        [&second, &first, &"no hash".to_owned(), &"é".repeat(32)].into_iter().for_each(|hash| photos.insert(hash));
        photos.write(folder.path()).expect("it is written");
        let read = version.trained_on().expect("it is read").expect("it is there");
        assert_eq!((read.len(), &read), (2, &photos));
        assert!(read.contains(&first) && read.contains(&second.to_uppercase()) && !read.contains(&other));
        let text = std::fs::read_to_string(folder.path().join(TRAINED_ON)).expect("a file");
        assert_eq!(text, format!("{first}\n{second}\n"));
    }
}
