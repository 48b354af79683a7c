//! One event, one line: nothing that a client calls a thing ends a line of the log, or moves the cursor of whoever reads it.
//!
//! Knows no event.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use crate::message::visible_but;

/// Standard error, for a log in text; it is given one event at a time.
#[derive(Debug, Clone, Copy)]
pub struct Lines {
    /// Whether the colours of a terminal, which the log itself writes, may pass.
    pub colours: bool,
}

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        io::stderr().lock().write_all(line(&text, self.colours).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// `event` with what a terminal or a reader of lines would act upon written out, but for its own end.
fn line(event: &str, colours: bool) -> Cow<'_, str> {
    let (body, end) = event.strip_suffix('\n').map_or((event, ""), |body| (body, "\n"));
    match visible_but(body, |letter| colours && letter == '\u{1b}') {
        Cow::Borrowed(_) => Cow::Borrowed(event),
        Cow::Owned(shown) => Cow::Owned(shown + end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_forge_no_line() {
        let check = |event: &str, colours: bool, expected: &str| assert_eq!(line(event, colours), expected);
        check("INFO served\n", false, "INFO served\n");
        check("INFO größe 学 🐈\n", false, "INFO größe 学 🐈\n");
        check("path=a\nERROR all is lost\n", false, "path=a\\nERROR all is lost\n");
        check("a\r\nb\tc\u{b}\u{85}d\n", true, "a\\r\\nb\\tc\\u{b}\\u{85}d\n");
        check("\u{1b}[2J\n", false, "\\u{1b}[2J\n");
        check("\u{1b}[32mINFO\u{1b}[0m a\nb\n", true, "\u{1b}[32mINFO\u{1b}[0m a\\nb\n");
        check("gpj.\u{202e}exe \u{2028}x\u{0}\n", true, "gpj.\\u{202e}exe \\u{2028}x\\u{0}\n");
        check("a\n\n", false, "a\\n\n");
    }
}
