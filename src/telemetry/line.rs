//! One event, one line: nothing that a client calls a thing ends a line of the log, or moves the cursor of whoever reads it.
//!
//! Knows no event.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

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
    let acts = |letter: char| is_active(letter) && !(colours && letter == '\u{1b}');
    if !body.contains(acts) {
        return Cow::Borrowed(event);
    }
    let mut text = String::with_capacity(event.len() + 16);
    for letter in body.chars() {
        match letter {
            letter if acts(letter) => write!(text, "{}", letter.escape_default()).expect("a string grows"),
            letter => text.push(letter),
        }
    }
    Cow::Owned(text + end)
}

/// Control characters, other ends of lines, and what turns the direction of text.
fn is_active(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}')
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
