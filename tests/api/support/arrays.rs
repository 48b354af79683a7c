//! `.npy` and `.npz` bodies: their arrays, and the raw files for tests that compare bytes.

use std::io::{Cursor, Read};

use graft::tensor::{Tensor, npy::read_npy};
use zip::ZipArchive;

/// Larger than any array of a test.
const MAX_BYTES: usize = 1 << 30;

/// The array in an `.npy`.
#[track_caller]
pub fn npy(bytes: &[u8]) -> Tensor {
    read_npy(bytes, MAX_BYTES).expect("the body is an .npy")
}

/// An `.npz`: a zip of `.npy` files.
pub struct Npz(ZipArchive<Cursor<Vec<u8>>>);

impl Npz {
    /// Opens a body.
    #[track_caller]
    pub fn new(body: Vec<u8>) -> Self {
        Self(ZipArchive::new(Cursor::new(body)).expect("the body is a zip"))
    }

    /// Names of the arrays, in the file's order.
    pub fn names(&self) -> Vec<String> {
        let name = |index| self.0.name_for_index(index).expect("the index is in range").expect("names are UTF-8").to_string();
        (0..self.0.len()).map(name).map(|name| name.trim_end_matches(".npy").to_owned()).collect()
    }

    /// The `.npy` called `name`.
    #[track_caller]
    pub fn file(&mut self, name: &str) -> Vec<u8> {
        let mut file = self.0.by_name(&format!("{name}.npy")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("the zip is whole");
        bytes
    }

    /// The array called `name`.
    #[track_caller]
    pub fn array(&mut self, name: &str) -> Tensor {
        npy(&self.file(name))
    }
}
