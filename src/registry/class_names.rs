//! Which class of a model a name stands for: one that people gave a folder, say.
//!
//! Knows labels alone.

use std::{cell::Cell, collections::HashMap};

use super::{Label, nearest};
use crate::message::Listed;

/// Why a name stands for no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassNameError {
    /// No class is called like that.
    #[error("`{name}` names no class{}", hint(.nearest))]
    Unknown {
        /// The name.
        name: String,
        /// Labels that come near.
        nearest: Vec<String>,
    },
    /// Several classes are called like that.
    #[error("`{name}` names several classes: {}", several(.classes))]
    Ambiguous {
        /// The name.
        name: String,
        /// Index and label of each.
        classes: Vec<(usize, Label)>,
    },
}

/// What the classes of a model can be called.
#[derive(Debug)]
pub struct ClassNames<'a> {
    labels: &'a [Label],
    by_label: HashMap<&'a str, Vec<usize>>,
    by_wnid: HashMap<&'a str, Vec<usize>>,
    by_folded: HashMap<String, Vec<usize>>,
    /// Whether a label is a number itself: an index would be taken for it.
    has_numbers: bool,
    /// How often near labels may still be looked for, which takes a look at all of them.
    hints: Cell<usize>,
}

/// Unknown names that get near labels with them.
const MAX_HINTS: usize = 20;

impl<'a> ClassNames<'a> {
    /// Those of the classes with these `labels`.
    pub fn new(labels: &'a [Label]) -> Self {
        let (mut by_label, mut by_wnid, mut by_folded) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (index, label) in labels.iter().enumerate() {
            by_label.entry(label.label.as_str()).or_insert_with(Vec::new).push(index);
            by_folded.entry(folded(&label.label)).or_insert_with(Vec::new).push(index);
            label.wnid.iter().for_each(|wnid| by_wnid.entry(wnid.as_str()).or_insert_with(Vec::new).push(index));
        }
        let has_numbers = labels.iter().any(|label| is_number(&label.label));
        Self { labels, by_label, by_wnid, by_folded, has_numbers, hints: Cell::new(MAX_HINTS) }
    }

    /// Index of the class that `name` stands for: that of this label, else WordNet id, else index, else of this label but for upper
    /// and lower case and for `_`, `-` and space, which are alike.
    ///
    /// Where labels are numbers themselves, an index would be taken for one of them, so it stands for nothing.
    ///
    /// # Errors
    /// No class, or several, as ImageNet's two `crane`.
    pub fn find(&self, name: &str) -> Result<usize, ClassNameError> {
        let index = || name.parse().ok().filter(|&index| is_number(name) && index < self.labels.len() && !self.has_numbers);
        let named = self.by_label.get(name).or_else(|| self.by_wnid.get(name)).cloned();
        let named = named.or_else(|| index().map(|index| vec![index]));
        let classes = named.or_else(|| self.by_folded.get(&folded(name)).cloned()).unwrap_or_default();
        match classes[..] {
            [class] => Ok(class),
            [] => Err(ClassNameError::Unknown { name: name.to_owned(), nearest: self.nearest(name) }),
            _ => {
                let classes = classes.into_iter().map(|class| (class, self.labels[class].clone())).collect();
                Err(ClassNameError::Ambiguous { name: name.to_owned(), classes })
            }
        }
    }

    fn nearest(&self, name: &str) -> Vec<String> {
        let Some(left) = self.hints.get().checked_sub(1) else { return Vec::new() };
        self.hints.set(left);
        nearest(name, self.labels.iter().map(|label| &label.label))
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

fn folded(name: &str) -> String {
    name.chars().map(|letter| if matches!(letter, '_' | '-') { ' ' } else { letter }).flat_map(char::to_lowercase).collect()
}

fn hint(nearest: &[String]) -> String {
    let quoted: Vec<String> = nearest.iter().map(|label| format!("`{label}`")).collect();
    if quoted.is_empty() { String::new() } else { format!("; did you mean {}?", quoted.join(", ")) }
}

fn several(classes: &[(usize, Label)]) -> String {
    let shown = |(index, label): &(usize, Label)| match &label.wnid {
        Some(wnid) => format!("{index} ({wnid})"),
        None => format!("{index} (`{}`)", label.label),
    };
    let unique = if classes.iter().all(|(_, label)| label.wnid.is_some()) { "index or WordNet id" } else { "index" };
    format!("{:#}; use one's {unique}", Listed::of(classes.iter().map(shown)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::imagenet_labels;

    fn labels(names: &[&str]) -> Vec<Label> {
        names.iter().map(|&name| Label { label: name.to_owned(), wnid: None }).collect()
    }

    #[track_caller]
    fn check(labels: &[Label], name: &str, expected: Result<usize, &str>) {
        let found = ClassNames::new(labels).find(name).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{name}");
    }

    #[test]
    fn names_are_labels_wordnet_ids_indices_or_labels_written_otherwise() {
        let imagenet = imagenet_labels();
        check(&imagenet, "tench", Ok(0));
        check(&imagenet, "n04310018", Ok(820));
        check(&imagenet, "820", Ok(820));
        check(&imagenet, "007", Ok(7));
        check(&imagenet, "Steam Locomotive", Ok(820));
        check(&imagenet, "steam-locomotive", Ok(820));
        check(&imagenet, "steamlocomotive", Err("`steamlocomotive` names no class; did you mean `steam_locomotive`?"));
        check(&imagenet, "1000", Err("`1000` names no class"));
        check(&imagenet, "+7", Err("`+7` names no class"));
        check(&imagenet, "", Err("`` names no class"));
        check(
            &imagenet,
            "crane",
            Err("`crane` names several classes: 134 (n02012849), 517 (n03126707); use one's index or WordNet id"),
        );
        check(
            &imagenet,
            "Crane",
            Err("`Crane` names several classes: 134 (n02012849), 517 (n03126707); use one's index or WordNet id"),
        );
    }

    #[test]
    fn the_exact_label_wins() {
        let alike = labels(&["a b", "A_B", "a-c"]);
        check(&alike, "a b", Ok(0));
        check(&alike, "A_B", Ok(1));
        check(&alike, "a-b", Err("`a-b` names several classes: 0 (`a b`), 1 (`A_B`); use one's index"));
        check(&alike, "2", Ok(2));
        let mixed = [Label { label: "n1".to_owned(), wnid: Some("n2".to_owned()) }, Label { label: "n2".to_owned(), wnid: None }];
        check(&mixed, "n2", Ok(1));
    }

    #[test]
    fn a_hundred_thousand_names_are_found_in_a_moment() {
        let labels = crate::registry::numbered_labels(100_000);
        // Each with each, they would be 10^10 pairs.
        let names = ClassNames::new(&labels);
        for (index, label) in labels.iter().enumerate() {
            assert_eq!(names.find(&label.label), Ok(index));
            let unknown = names.find(&format!("other {index}"));
            assert!(matches!(unknown, Err(ClassNameError::Unknown { .. })), "{unknown:?}");
        }
    }

    #[test]
    fn labels_that_are_numbers_leave_no_room_for_indices() {
        let digits = labels(&["3", "7", "other"]);
        check(&digits, "7", Ok(1));
        check(&digits, "1", Err("`1` names no class; did you mean `3`, `7`?"));
    }
}
