//! Answers on stdout; a reader that wanted the first lines alone, as `head` does, is no error.
//!
//! Knows no command.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _},
};

/// Stdout took no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(super) struct Unwritten(#[source] io::Error);

impl Unwritten {
    /// Whether the reader has left, and with it whoever wanted to know more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Prints `text` and a line's end. Unlike `println!`, no panic where nobody reads.
pub(super) fn line(text: impl Display) -> Result<(), Unwritten> {
    writeln!(io::stdout(), "{text}").map_err(Unwritten)
}
