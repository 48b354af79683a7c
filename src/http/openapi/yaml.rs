//! YAML that every reader takes for the same: in YAML 1.1, which Python reads, `on` is a boolean and a date is no string.

/// `yaml` with quotes around plain words that YAML 1.1 does not take for strings.
pub fn unambiguous(yaml: &str) -> String {
    yaml.lines().fold(String::with_capacity(yaml.len()), |mut text, line| {
        text.push_str(&quoted(line));
        text.push('\n');
        text
    })
}

/// A key, a value behind a key, or an item of a list, in quotes where it needs them.
fn quoted(line: &str) -> String {
    let rest = line.trim_start();
    let indent = &line[..line.len() - rest.len()];
    if let Some(item) = rest.strip_prefix("- ").filter(|item| is_ambiguous(item)) {
        return format!("{indent}- '{item}'");
    }
    if let Some(key) = rest.strip_suffix(':').filter(|key| is_ambiguous(key)) {
        return format!("{indent}'{key}':");
    }
    match rest.split_once(": ").filter(|(key, value)| !key.contains(' ') && is_ambiguous(value)) {
        Some((key, value)) => format!("{indent}{key}: '{value}'"),
        None => line.to_owned(),
    }
}

fn is_ambiguous(plain: &str) -> bool {
    let word = plain.to_ascii_lowercase();
    let is_boolean = ["y", "n", "yes", "no", "on", "off"].contains(&word.as_str());
    let is_date = plain.len() >= 10
        && plain.bytes().zip(*b"0000-00-00").all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            _ => byte == like,
        });
    is_boolean || is_date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_strings_elsewhere_are_quoted() {
        for (plain, expected) in [
            ("- on", "- 'on'"),
            ("          on:", "          'on':"),
            ("  default: No", "  default: 'No'"),
            ("  example: 2026-01-31T12:00:00Z", "  example: '2026-01-31T12:00:00Z'"),
            ("  description: Whether it is on.", "  description: Whether it is on."),
            ("  required: false", "  required: false"),
            ("- one", "- one"),
            ("  '200':", "  '200':"),
        ] {
            assert_eq!(unambiguous(plain), format!("{expected}\n"));
        }
    }
}
