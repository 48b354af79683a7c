//! Paths of entries, made harmless: relative, forward, bounded, without empty parts.
//!
//! A backslash separates folders as a slash does: names that have one were packed on Windows.
//! Nothing on disk is ever called by such a path; it is what answers and class names are made of.

use super::error::{EntryFault, Error};

/// Longest path in bytes; that of Linux less its end.
const MAX_BYTES: usize = 1024;

/// Most folders of a path.
const MAX_DEPTH: usize = 16;

/// What separates folders.
const SEPARATORS: [char; 2] = ['/', '\\'];

/// `raw` with `/` between its parts and none of them empty or `.`; empty for the folder of the archive itself.
pub(super) fn clean(raw: &str) -> Result<String, Error> {
    check(raw).map_err(|fault| fault_at(raw, fault))?;
    Ok(raw.split(SEPARATORS).filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/"))
}

/// Whether `raw` is called as folders are in archives.
pub(super) fn is_folder(raw: &str) -> bool {
    raw.ends_with(SEPARATORS)
}

/// An error about the entry `raw`.
pub(super) fn fault_at(raw: &str, fault: EntryFault) -> Error {
    Error::Entry { path: shown(raw), fault }
}

/// A path for a message: at most 200 characters, control characters escaped.
pub(super) fn shown(path: &str) -> String {
    path.chars()
        .take(200)
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}

fn check(raw: &str) -> Result<(), EntryFault> {
    let drive = matches!(raw.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if raw.starts_with(SEPARATORS) {
        return Err(EntryFault::Absolute);
    }
    if drive {
        return Err(EntryFault::Drive);
    }
    if raw.split(SEPARATORS).any(|part| part == "..") {
        return Err(EntryFault::Traversal);
    }
    if raw.chars().any(char::is_control) {
        return Err(EntryFault::ControlCharacter);
    }
    if raw.len() > MAX_BYTES {
        return Err(EntryFault::TooLong { limit: MAX_BYTES });
    }
    if raw.split(SEPARATORS).filter(|part| !matches!(*part, "" | ".")).count() > MAX_DEPTH + 1 {
        return Err(EntryFault::TooDeep { limit: MAX_DEPTH });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Result<&str, EntryFault>) {
        match (clean(raw), expected) {
            (Ok(path), Ok(expected)) => assert_eq!(path, expected),
            (Err(Error::Entry { fault, .. }), Err(expected)) => assert_eq!(fault, expected, "{raw}"),
            (got, expected) => panic!("{raw}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn paths_have_one_spelling() {
        check("ants/a.jpg", Ok("ants/a.jpg"));
        check("./ants//a.jpg", Ok("ants/a.jpg"));
        check("ants/", Ok("ants"));
        check("./", Ok(""));
        check("", Ok(""));
        check("ants\\big\\.\\a.jpg", Ok("ants/big/a.jpg"));
        check("ants\\", Ok("ants"));
        check("ants/..a", Ok("ants/..a"));
        check("füße/蟻.jpg", Ok("füße/蟻.jpg"));
    }

    #[test]
    fn hostile_paths_are_refused() {
        check("/etc/passwd", Err(EntryFault::Absolute));
        check("C:/x", Err(EntryFault::Drive));
        check("c:x", Err(EntryFault::Drive));
        check("\\\\server\\x", Err(EntryFault::Absolute));
        check("../x", Err(EntryFault::Traversal));
        check("a/../b", Err(EntryFault::Traversal));
        check("a/..", Err(EntryFault::Traversal));
        check("a\\..\\b", Err(EntryFault::Traversal));
        check("a/..\\b", Err(EntryFault::Traversal));
        check("\\x", Err(EntryFault::Absolute));
        check("C:\\x", Err(EntryFault::Drive));
        check("a\0b", Err(EntryFault::ControlCharacter));
        check("a\nb", Err(EntryFault::ControlCharacter));
        check(&"a".repeat(1025), Err(EntryFault::TooLong { limit: 1024 }));
        check(&"a/".repeat(18), Err(EntryFault::TooDeep { limit: 16 }));
        check(&"a\\".repeat(18), Err(EntryFault::TooDeep { limit: 16 }));
    }

    #[test]
    fn messages_stay_short_and_on_one_line() {
        assert_eq!(shown(&"a".repeat(500)).len(), 200);
        assert_eq!(shown("a\nb"), "a\\nb");
    }
}
