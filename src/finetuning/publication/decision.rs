//! What a comparison means: whether a version is published, and why, in words.
//!
//! Pure; measures nothing.

use super::{Comparison, FEW, Publication, Reason};
use crate::{registry::Stable, training::recipe::Publish};

pub(super) fn decided(served: bool, reason: Reason, detail: &str, comparison: Option<Comparison>) -> (bool, Publication) {
    (served, Publication { served, reason, detail: detail.to_owned(), comparison })
}

/// What the comparison, if there is one, means to a request that says `publish`.
pub(super) fn judged(publish: Publish, no_validation: bool, comparison: Option<Comparison>) -> (bool, Publication) {
    let right = comparison.as_ref().and_then(|comparison| Some((comparison.accuracy?, comparison.other_accuracy?)));
    let images = comparison.as_ref().map_or(0, |comparison| comparison.images);
    let (published, reason, detail) = match publish {
        Publish::Always => (true, Reason::Always, "the request says so (`publish`)".to_owned()),
        Publish::Never => (false, Reason::Never, "the request says so (`publish`)".to_owned()),
        Publish::IfBetter if no_validation => {
            let detail = "no validation image tells whether it is better than the version that answers; make it stable if it is";
            (false, Reason::NoValidation, detail.to_owned())
        }
        Publish::IfBetter if comparison.is_none() => {
            let detail = "the version that answers could not be measured; the log says why, and this one can be made stable";
            (false, Reason::NotMeasured, detail.to_owned())
        }
        Publish::IfBetter if images < FEW as u64 => {
            let known = right.map(|(own, other)| format!(" ({own:.4}, the other {other:.4})")).unwrap_or_default();
            let detail = format!("{images} images that neither version was trained on say too little of which is better{known}");
            (true, Reason::FewImages, detail)
        }
        Publish::IfBetter => {
            let (own, other) = right.unwrap_or_default();
            let (published, reason, word) = match own.total_cmp(&other) {
                std::cmp::Ordering::Greater => (true, Reason::Better, "more than"),
                std::cmp::Ordering::Equal => (true, Reason::Equal, "as many as"),
                std::cmp::Ordering::Less => (false, Reason::Worse, "fewer than"),
            };
            let count = |share: f64| (share * images as f64).round();
            let (own_count, other_count) = (count(own), count(other));
            let detail = format!(
                "it has {own_count} of {images} images right ({own:.4}), {word} the version that answered: {other_count} ({other:.4})"
            );
            (published, reason, detail)
        }
    };
    (published, Publication { served: published, reason, detail, comparison })
}

/// The same where `stable` may be pinned: then that goes on answering, whatever is published.
pub(super) fn pinned(stable: Stable, (published, publication): (bool, Publication)) -> (bool, Publication) {
    if !(stable.pinned && published) {
        return (published, publication);
    }
    let detail = format!("version {} is pinned and goes on answering; {}", stable.version, publication.detail);
    (published, Publication { served: false, reason: Reason::Pinned, detail, ..publication })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::report::wilson;

    fn comparison(images: u64, own: u64, other: u64) -> Comparison {
        let share = |right: u64| (images > 0).then(|| right as f64 / images as f64);
        Comparison {
            with: "m@1".to_owned(),
            images,
            accuracy: share(own),
            accuracy_interval: wilson(own, images),
            other_accuracy: share(other),
            other_accuracy_interval: wilson(other, images),
        }
    }

    #[test]
    fn a_version_is_published_unless_it_is_worse_or_nothing_says() {
        #[track_caller]
        fn check(publish: Publish, comparison: Option<Comparison>, expected: (bool, Reason)) {
            let (published, publication) = judged(publish, false, comparison);
            assert_eq!((published, publication.reason), expected);
            assert_eq!(publication.served, published);
        }
        check(Publish::IfBetter, Some(comparison(20, 11, 10)), (true, Reason::Better));
        check(Publish::IfBetter, Some(comparison(20, 10, 10)), (true, Reason::Equal));
        check(Publish::IfBetter, Some(comparison(20, 9, 10)), (false, Reason::Worse));
        check(Publish::IfBetter, Some(comparison(19, 0, 19)), (true, Reason::FewImages));
        check(Publish::IfBetter, Some(comparison(0, 0, 0)), (true, Reason::FewImages));
        check(Publish::IfBetter, None, (false, Reason::NotMeasured));
        check(Publish::Always, Some(comparison(20, 9, 10)), (true, Reason::Always));
        check(Publish::Never, Some(comparison(20, 11, 10)), (false, Reason::Never));
        let (published, publication) = judged(Publish::IfBetter, true, Some(comparison(0, 0, 0)));
        assert_eq!((published, publication.reason), (false, Reason::NoValidation));
    }

    #[test]
    fn a_pinned_version_goes_on_answering() {
        let better = || judged(Publish::IfBetter, false, Some(comparison(20, 11, 10)));
        let (published, publication) = pinned(Stable { version: 1, pinned: true }, better());
        assert_eq!((published, publication.served, publication.reason), (true, false, Reason::Pinned));
        assert!(
            publication.detail.starts_with("version 1 is pinned and goes on answering; it has 11 of 20 images right (0.5500)"),
            "{publication:?}"
        );
        assert_eq!(pinned(Stable { version: 1, pinned: false }, better()), better());
    }
}
