//! What goes wrong again and again, and is logged once.
//!
//! Knows neither what goes wrong nor how often it is looked at.

use std::error::Error;

use super::chain;

/// Texts of one trouble that are remembered: one that has more of them has said enough.
const MOST: usize = 8;

/// What goes wrong again and again: it is news when it begins, when it becomes what it was not before, and when it is over.
#[derive(Debug, Default)]
pub struct Trouble {
    said: Vec<String>,
}

/// What is to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something is wrong, by this text.
    Wrong(String),
    /// Nothing is wrong any more.
    Over,
}

impl Trouble {
    /// What is new, where `wrong` says what is wrong now.
    pub fn news(&mut self, wrong: Option<String>) -> Option<News> {
        match wrong {
            None if self.said.is_empty() => None,
            None => {
                self.said.clear();
                Some(News::Over)
            }
            Some(text) if self.said.contains(&text) || self.said.len() >= MOST => None,
            Some(text) => {
                self.said.push(text.clone());
                Some(News::Wrong(text))
            }
        }
    }

    /// The same of a result.
    pub fn of<T, E: Error>(&mut self, result: &Result<T, E>) -> Option<News> {
        self.news(result.as_ref().err().map(|error| chain(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_is_news_once() {
        let mut trouble = Trouble::default();
        let mut check = |wrong: Option<&str>, expected: Option<News>| {
            assert_eq!(trouble.news(wrong.map(str::to_owned)), expected, "{wrong:?}");
        };
        let wrong = |text: &str| Some(News::Wrong(text.to_owned()));
        check(None, None);
        check(Some("full"), wrong("full"));
        check(Some("full"), None);
        check(Some("damaged"), wrong("damaged"));
        // Two that take turns are no news either.
        check(Some("full"), None);
        check(Some("damaged"), None);
        check(None, Some(News::Over));
        check(None, None);
        check(Some("full"), wrong("full"));
    }

    #[test]
    fn a_text_that_is_never_the_same_ends() {
        let mut trouble = Trouble::default();
        let said = (0..1000).filter(|number| trouble.news(Some(format!("attempt {number}"))).is_some()).count();
        assert_eq!((said, trouble.news(None)), (MOST, Some(News::Over)));
    }
}
