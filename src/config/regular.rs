//! Files that whoever runs graft names: opened without waiting, and only where they are files.
//!
//! Opening a pipe waits for whoever writes to it, and a device may have no end. Knows no contents.

use std::{
    fs::{self, File, FileType, Metadata},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// Opens the file at `path`, links followed, to read it.
///
/// # Errors
/// What the system says; a folder, a pipe, a socket or a device.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // Before it is opened, which does something to some devices; and what was opened, in case it was replaced in between.
    check(&fs::metadata(path)?)?;
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// All of the text file at `path`, as [`open_regular`] opens it.
///
/// # Errors
/// As [`open_regular`]; text that is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn check(found: &Metadata) -> io::Result<()> {
    let other = |what: &str| Err(io::Error::other(format!("it is {what}; give a regular file")));
    match found.file_type() {
        kind if kind.is_file() => Ok(()),
        kind => other(word(kind)),
    }
}

fn word(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").expect("written");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("linked");
        assert_eq!(read_text(&at("link")).expect("it is a file"), "text");
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        std::os::unix::fs::symlink(at("pipe"), at("linked")).expect("linked");
        for (path, what) in
            [(at("pipe"), "a pipe"), (at("linked"), "a pipe"), (at("."), "a folder"), ("/dev/zero".into(), "a device")]
        {
            let error = open_regular(&path).expect_err("it is no file").to_string();
            assert_eq!(error, format!("it is {what}; give a regular file"));
        }
        assert_eq!(open_regular(&at("none")).expect_err("there is none").kind(), io::ErrorKind::NotFound);
    }
}
