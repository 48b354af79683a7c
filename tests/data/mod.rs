//! Photos and weights that the repository does not hold: in a folder that a developer names, or loudly skipped.
//!
//! The library's own tests and `tests/api` share this file. `tests/README.md` has the folder's layout, `tests/run.sh` counts
//! what is skipped.

use std::{env, ffi::OsString, fs::OpenOptions, io::Write, panic::Location, path::PathBuf};

/// Where `name` is in the folder that `GRAFT_TEST_DATA` names; `None` without that variable, and the test returns.
///
/// A test returns at the first `None`, so that it counts once.
///
/// # Panics
///
/// When there is a folder, but it lacks `name`: whoever names one wants the tests run.
#[track_caller]
pub fn real(name: &str) -> Option<PathBuf> {
    let Some(folder) = variable("GRAFT_TEST_DATA") else {
        skip(&format!("{} needs {name}", Location::caller()));
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    assert!(path.exists(), "{} is missing: GRAFT_TEST_DATA names a folder without it", path.display());
    Some(path)
}

/// Runners hide the output of tests that pass; the file that `GRAFT_TEST_SKIPS` names keeps what they said.
fn skip(what: &str) {
    println!("skipped: {what}");
    if let Some(file) = variable("GRAFT_TEST_SKIPS") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).expect("GRAFT_TEST_SKIPS can be written");
        file.write_all(format!("{what}\n").as_bytes()).expect("GRAFT_TEST_SKIPS can be written");
    }
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
