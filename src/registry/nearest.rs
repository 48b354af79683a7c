//! "Did you mean …?": the names that come near a mistyped one.

/// Up to three of `candidates` that come near `name`, best first; ties keep the candidates' order.
///
/// Upper and lower case and the separators `_`, `-`, `.` and `/` are ignored.
/// Near is: the same up to those, one containing the other, or a Damerau-Levenshtein distance of at most a third of the length.
pub fn nearest<I>(name: &str, candidates: I) -> Vec<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let wanted = folded(name);
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut near: Vec<(usize, String)> = candidates
        .into_iter()
        .filter_map(|candidate| distance(&wanted, &folded(candidate.as_ref())).map(|far| (far, candidate.as_ref().to_owned())))
        .collect();
    near.sort_by_key(|(far, _)| *far);
    near.dedup_by(|later, earlier| later.1 == earlier.1);
    near.into_iter().take(3).map(|(_, candidate)| candidate).collect()
}

/// How far `candidate` is from `wanted`, in tenths of an edit; `None` when it is not near.
fn distance(wanted: &str, candidate: &str) -> Option<usize> {
    if candidate.is_empty() {
        return None;
    }
    let (short, long) = if wanted.len() <= candidate.len() { (wanted, candidate) } else { (candidate, wanted) };
    let contained = (short.len() >= 2 && long.contains(short)).then(|| {
        let position = if long.starts_with(short) { 0 } else { 5 };
        5 + position + (long.len() - short.len())
    });
    let allowed = (wanted.chars().count() / 3).max(1);
    let length_difference = wanted.chars().count().abs_diff(candidate.chars().count());
    let edited = (length_difference <= allowed && candidate.len() <= MAX_COMPARED)
        .then(|| strsim::damerau_levenshtein(wanted, candidate))
        .filter(|&edits| edits <= allowed)
        .map(|edits| edits * 10);
    [contained, edited].into_iter().flatten().min()
}

/// Longer names are not compared letter by letter: that costs the product of both lengths.
const MAX_COMPARED: usize = 256;

fn folded(name: &str) -> String {
    let separator = |letter: &char| matches!(letter, '_' | '-' | '.' | '/' | ' ');
    name.chars().take(MAX_COMPARED).filter(|letter| !separator(letter)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let vgg = ["block1_conv1", "block1_conv2", "block1_pool", "block2_pool", "flatten", "fc1", "fc2", "predictions"];
        let inception = ["conv2d", "conv2d_1", "conv2d_10", "mixed1", "mixed10", "avg_pool", "predictions"];
        let models = ["vgg16", "inception_v3"];
        let check = |name: &str, candidates: &[&str], expected: &[&str]| {
            assert_eq!(nearest(name, candidates), expected, "{name}");
        };
        check("fc9", &vgg, &["fc1", "fc2"]);
        check("FC2", &vgg, &["fc2", "fc1"]);
        check("block1pool", &vgg, &["block1_pool", "block2_pool"]);
        check("pool", &vgg, &["block1_pool", "block2_pool"]);
        check("prediction", &vgg, &["predictions"]);
        check("predcitions", &vgg, &["predictions"]);
        check("mixed_10", &inception, &["mixed10", "mixed1"]);
        check("vgg", &models, &["vgg16"]);
        check("vgg19", &models, &["vgg16"]);
        check("inceptionv3", &models, &["inception_v3"]);
        check("resnet50", &models, &[]);
        check("", &models, &[]);
        check("___", &models, &[]);
        check(&"x".repeat(100_000), &models, &[]);
        check("fc", &["fc", "fc"], &["fc"]);
    }
}
