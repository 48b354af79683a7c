//! Names in a message: the first few, and how many more there are.
//!
//! Knows nothing of what is listed.

use std::fmt;

/// Most names that a message lists.
const MOST: usize = 10;

/// Names for a message, of which it lists the first ten and counts the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    first: Vec<String>,
    more: usize,
}

impl Listed {
    /// The first of `names`, in their order.
    pub fn of(names: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let mut names = names.into_iter();
        let first = names.by_ref().take(MOST).map(|name| name.to_string()).collect();
        Self { first, more: names.count() }
    }

    /// The names that are listed.
    pub fn first(&self) -> &[String] {
        &self.first
    }

    /// How many there are, those that are not listed included.
    pub fn count(&self) -> usize {
        self.first.len() + self.more
    }
}

/// `` `a`, `b` … and 23 more ``; without quotes for `{:#}`.
impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if f.alternate() { "" } else { "`" };
        for (position, name) in self.first.iter().enumerate() {
            write!(f, "{}{quote}{name}{quote}", if position == 0 { "" } else { ", " })?;
        }
        if self.more > 0 { write!(f, " … and {} more", self.more) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_stops_says_so() {
        let check = |count: usize, expected: &str| assert_eq!(Listed::of(1..=count).to_string(), expected);
        check(0, "");
        check(1, "`1`");
        check(3, "`1`, `2`, `3`");
        check(10, "`1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`, `9`, `10`");
        check(33, "`1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`, `9`, `10` … and 23 more");
        assert_eq!(Listed::of(1..=33).count(), 33);
        assert_eq!(format!("{:#}", Listed::of(1..=12)), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 … and 2 more");
    }
}
