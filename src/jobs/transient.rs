//! Which errors pass by themselves or can be mended while a job waits: those of the machine, not of what the job was given.
//!
//! Knows what the system says; knows nothing of who asked for what.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

/// Whether a fault of the machine is behind `error`: a disk that is full, read-only or failing, too many open files, too little memory,
/// a folder that cannot be written.
///
/// The system said so. What it says of files that are missing or are none is about what the job was given, and so is what readers of
/// formats say in the form of an [`io::Error`]: waiting changes nothing.
pub fn is_transient(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(is_of_the_machine) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn is_of_the_machine(error: &io::Error) -> bool {
    if let Some(inner) = error.get_ref() {
        // A library may hide what the system said, but no reader of a format says these.
        return is_of_the_disk(error.kind()) || is_transient(inner);
    }
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::InvalidData
        | ErrorKind::InvalidInput
        | ErrorKind::InvalidFilename
        | ErrorKind::UnexpectedEof
        | ErrorKind::Unsupported
        | ErrorKind::WriteZero => false,
        // Some errors keep nothing but their kind.
        kind if is_of_the_disk(kind) => true,
        ErrorKind::PermissionDenied
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::OutOfMemory
        | ErrorKind::ResourceBusy => true,
        _ => error.raw_os_error().is_some(),
    }
}

fn is_of_the_disk(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::registry::{
        TemporaryFile,
        hidden::{HiddenFolder, STAGING_PREFIX},
    };

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write a checkpoint")]
    struct Outer(#[source] io::Error);

    #[test]
    fn faults_of_the_machine_pass_and_damaged_inputs_do_not() {
        let machine = [
            Errno::NOSPC,
            Errno::ROFS,
            Errno::DQUOT,
            Errno::IO,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::FBIG,
            Errno::STALE,
            Errno::TIMEDOUT,
            Errno::ACCESS,
            Errno::NOTDIR,
            Errno::EXIST,
        ];
        for errno in machine {
            assert!(is_transient(&Outer(errno.into())), "{errno}");
            let wrapped = Outer(io::Error::other(Outer(errno.into())));
            assert!(is_transient(&wrapped), "{errno} within another error");
        }
        let kept = io::Error::from(ErrorKind::StorageFull);
        assert!(is_transient(&kept), "all that is left of it is its kind");
        for errno in [Errno::NOENT, Errno::INVAL, Errno::NAMETOOLONG, Errno::OPNOTSUPP] {
            assert!(!is_transient(&Outer(errno.into())), "{errno}");
        }
        for read in [io::Error::other("no header"), ErrorKind::InvalidData.into(), ErrorKind::UnexpectedEof.into()] {
            assert!(!is_transient(&Outer(read)));
        }
        let hidden = io::Error::new(ErrorKind::ReadOnlyFilesystem, "cannot write it");
        assert!(is_transient(&Outer(hidden)), "a library hides what the system said");
        assert!(!is_transient(&std::fmt::Error), "no system is behind it");
    }

    #[test]
    fn what_the_system_says_of_temporary_files_and_folders_is_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, circle) = (dir.path().join("file"), dir.path().join("circle"));
        std::fs::write(&file, "").expect("a file");
        std::os::unix::fs::symlink(&circle, &circle).expect("a link");
        // Standard kinds have no name for the second, which its number alone tells.
        for folder in [file, circle] {
            let unwritten = TemporaryFile::new(&folder, ".new-").expect_err("no folder");
            assert!(is_transient(&Outer(unwritten)), "{folder:?}");
            let unmade = HiddenFolder::new(&folder, STAGING_PREFIX).expect_err("no folder");
            assert!(is_transient(&Outer(unmade)), "{folder:?}");
        }
    }
}
