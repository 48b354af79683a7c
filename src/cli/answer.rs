//! Answers on stdout and notes on stderr, in which no name of a file, a layer or a class moves the cursor.
//!
//! A reader that wanted the first lines alone, as `head` does, is no error. Knows no command.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _},
};

use crate::message::{visible, visible_lines};

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

/// Prints `text` as one line, whatever names of others it holds. Unlike `println!`, no panic where nobody reads.
pub(super) fn line(text: impl Display) -> Result<(), Unwritten> {
    exact(visible(&text.to_string()))
}

/// Prints `text`, which may have several lines.
pub(super) fn lines(text: impl Display) -> Result<(), Unwritten> {
    exact(visible_lines(&text.to_string()))
}

/// Prints `text` as it is, and a line's end: for programs, which read JSON.
pub(super) fn exact(text: impl Display) -> Result<(), Unwritten> {
    writeln!(io::stdout(), "{text}").map_err(Unwritten)
}

/// Tells whoever watches `text`, on one line of standard error.
pub(super) fn note(text: impl Display) {
    // Without a reader the answer still counts.
    let _ = writeln!(io::stderr(), "{}", visible(&text.to_string()));
}

/// The same for an error and its causes, of which some show lines of a file.
pub(super) fn failure(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", visible_lines(&text.to_string()));
}
