//! Pages of lists: how many at once, behind which one, and whether there are more.

use std::ops::Range;

use utoipa::openapi::{KnownFormat, RefOr, schema::Schema};

use super::parameters::{Value, refused, whole_number};

/// How many entries a page has: `USUAL` unless told otherwise, and `MOST` at most.
#[derive(Debug, Clone, Copy)]
pub struct Limit<const USUAL: u32, const MOST: u32>(u32);

impl<const USUAL: u32, const MOST: u32> Limit<USUAL, MOST> {
    /// What was asked for, or the usual.
    pub fn of(asked: Option<Self>) -> usize {
        asked.map_or(USUAL, |Self(limit)| limit) as usize
    }
}

impl<const USUAL: u32, const MOST: u32> Value for Limit<USUAL, MOST> {
    fn parse(text: &str) -> Result<Self, String> {
        match u32::parse(text)? {
            limit if limit <= MOST => Ok(Self(limit)),
            limit => Err(format!("is {limit}; {MOST} is the most, `after` gives the next page")),
        }
    }

    fn schema() -> RefOr<Schema> {
        whole_number(KnownFormat::Int32).minimum(Some(1)).maximum(Some(MOST)).into()
    }
}

/// The position of an entry in its list, from 0.
#[derive(Debug, Clone, Copy)]
pub struct Index(usize);

impl Index {
    /// How many entries come before the page behind `after`.
    pub fn skipped(after: Option<Self>) -> usize {
        after.map_or(0, |Self(after)| after.saturating_add(1))
    }
}

impl Value for Index {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| refused(text, "it must be an index from 0, such as `next` of the page before"))
    }

    fn schema() -> RefOr<Schema> {
        whole_number(KnownFormat::Int64).minimum(Some(0)).into()
    }
}

/// The `limit` of `entries` behind the index `after`, each with its index, and the index of the last if there are more.
pub fn indexed<T>(entries: impl IntoIterator<Item = T>, after: Option<Index>, limit: usize) -> (Vec<(usize, T)>, Option<usize>) {
    page(entries.into_iter().enumerate().skip(Index::skipped(after)), limit, |(index, _)| *index)
}

/// The positions from `from` on of at most `limit` of `count` entries, and the last of them if there are more.
pub fn positions(count: usize, from: usize, limit: usize) -> (Range<usize>, Option<usize>) {
    let from = from.min(count);
    let end = from.saturating_add(limit).min(count);
    (from..end, (end < count).then(|| end.checked_sub(1)).flatten())
}

/// The first `limit` of `entries`, and what the last of them is called by `name` if there are more.
pub fn page<T, N>(entries: impl IntoIterator<Item = T>, limit: usize, name: impl Fn(&T) -> N) -> (Vec<T>, Option<N>) {
    let mut entries = entries.into_iter();
    let page: Vec<T> = entries.by_ref().take(limit).collect();
    let next = entries.next().and_then(|_| page.last()).map(name);
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_whether_there_are_more() {
        assert_eq!(page(1..=5, 2, |entry| *entry), (vec![1, 2], Some(2)));
        assert_eq!(page(4..=5, 2, |entry| *entry), (vec![4, 5], None));
        assert_eq!(page(1..1, 2, |entry: &i32| *entry), (vec![], None));
    }

    #[test]
    fn a_page_is_a_range_of_positions() {
        assert_eq!(positions(5, 0, 2), (0..2, Some(1)));
        assert_eq!(positions(5, 3, 2), (3..5, None));
        assert_eq!(positions(5, usize::MAX, usize::MAX), (5..5, None));
        assert_eq!(positions(0, 0, 1), (0..0, None));
    }

    #[test]
    fn a_page_begins_behind_an_index() {
        let from = |after: &str| indexed("abc".chars(), Index::parse(after).ok(), 2);
        assert_eq!(from("none"), (vec![(0, 'a'), (1, 'b')], Some(1)));
        assert_eq!(from("0"), (vec![(1, 'b'), (2, 'c')], None));
        assert_eq!(from("1"), (vec![(2, 'c')], None));
        assert_eq!(from(&usize::MAX.to_string()), (vec![], None));
        assert!(Index::parse("-1").is_err_and(|error| error.contains("must be an index from 0")));
    }

    #[test]
    fn a_page_has_a_usual_and_a_largest_size() {
        type Sample = Limit<20, 100>;
        assert_eq!((Sample::of(None), Sample::of(Sample::parse("100").ok())), (20, 100));
        assert_eq!(Sample::parse("101").err().as_deref(), Some("is 101; 100 is the most, `after` gives the next page"));
        assert!(Sample::parse("0").is_err());
    }
}
