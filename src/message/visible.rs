//! Text as a terminal may have it: what it would act upon is written out.
//!
//! Knows neither where the text comes from nor where it goes.

use std::borrow::Cow;

/// `text` on one line, with what a terminal or a reader of lines would act upon written out, such as `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    visible_but(text, |_| false)
}

/// The same for text that has several lines.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    visible_but(text, |letter| letter == '\n')
}

/// The same, but for what `may_pass`.
pub(crate) fn visible_but(text: &str, may_pass: impl Fn(char) -> bool) -> Cow<'_, str> {
    let acts = |letter: char| is_active(letter) && !may_pass(letter);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match acts(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
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
    fn a_terminal_acts_on_nothing() {
        let check = |text: &str, line: &str, lines: &str| assert_eq!((&*visible(text), &*visible_lines(text)), (line, lines));
        check("größe 学 🐈 '\"\\", "größe 学 🐈 '\"\\", "größe 学 🐈 '\"\\");
        check("a\u{1b}[2Jb", "a\\u{1b}[2Jb", "a\\u{1b}[2Jb");
        check("a\nb\r\tc", "a\\nb\\r\\tc", "a\nb\\r\\tc");
        check("gpj.\u{202e}exe\u{9b}1m\u{7f}", "gpj.\\u{202e}exe\\u{9b}1m\\u{7f}", "gpj.\\u{202e}exe\\u{9b}1m\\u{7f}");
    }
}
