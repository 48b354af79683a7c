//! One axis of a tensor as the parts of the image that it runs through.
//!
//! Knows how axes are split, merged, resized and joined; knows no operator.

/// What steps along a part lead through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Batch,
    Channel,
    Height,
    Width,
    /// Positions of the image in a row, such as the patches of a transformer with its class token.
    Token,
    Unknown,
}

/// A factor of an axis: `size` positions, `stride` apart, of the `whole` that there were before it was split.
///
/// Size 0 stands for one that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    meaning: Meaning,
    size: usize,
    stride: usize,
    whole: usize,
}

/// An axis: its parts, outermost first. One without parts has size 1, and may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Axis(Vec<Part>);

/// What an axis is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Batch,
    Channel,
    Height,
    Width,
    /// Only positions of the image, but not the rows or the columns alone.
    Positions,
    /// Size 1 and nothing else known.
    One,
    /// A mixture, or unknown.
    Other,
}

impl Axis {
    pub(super) fn whole(meaning: Meaning, size: usize) -> Self {
        Self(vec![Part { meaning, size, stride: 1, whole: size }])
    }

    pub(super) fn unknown(size: usize) -> Self {
        if size == 1 { Self::default() } else { Self::whole(Meaning::Unknown, size) }
    }

    /// Positions along it; 0 when that is not known.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|part| part.size).product()
    }

    /// Whether something is known of it.
    pub(super) fn is_known(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|part| part.meaning != Meaning::Unknown)
    }

    pub(super) fn has_channels(&self) -> bool {
        self.0.iter().any(|part| part.meaning == Meaning::Channel)
    }

    /// Whether it goes over places of the image, all of it known; channels made of what was inside places do not count.
    pub(super) fn runs_over_positions(&self) -> bool {
        let spatial = |part: &Part| matches!(part.meaning, Meaning::Height | Meaning::Width | Meaning::Token) && part.size > 1;
        self.is_known() && self.role() != Role::Channel && self.0.iter().any(spatial)
    }

    pub(super) fn role(&self) -> Role {
        let all = |meanings: &[Meaning]| self.0.iter().all(|part| meanings.contains(&part.meaning));
        match self.0.as_slice() {
            [] => Role::One,
            [part] if part.meaning == Meaning::Height && part.is_outermost() => Role::Height,
            [part] if part.meaning == Meaning::Width && part.is_outermost() => Role::Width,
            _ if all(&[Meaning::Batch]) => Role::Batch,
            _ if all(&[Meaning::Channel]) => Role::Channel,
            _ if all(&[Meaning::Height, Meaning::Width, Meaning::Token]) => Role::Positions,
            // Space to depth: what was inside a row or a column has become channels.
            parts if self.has_channels() && parts.iter().all(Part::is_channel_like) => Role::Channel,
            _ => Role::Other,
        }
    }

    /// The same kind of axis with another size: cut, padded, pooled or concatenated.
    pub(super) fn resized(&self, size: usize) -> Self {
        if self.size() == size { self.clone() } else { self.renewed(size) }
    }

    /// As [`Self::resized`], of which the positions are others even where there are as many.
    pub(super) fn renewed(&self, size: usize) -> Self {
        let meaning = match self.role() {
            Role::Batch => Meaning::Batch,
            Role::Channel => Meaning::Channel,
            Role::Height => Meaning::Height,
            Role::Width => Meaning::Width,
            Role::Positions => Meaning::Token,
            Role::One | Role::Other => return Self::unknown(size),
        };
        Self::whole(meaning, size)
    }

    /// What two tensors that are combined element by element have in common here; sizes of 1 are broadcast.
    pub(super) fn joined(&self, other: &Self) -> Self {
        match (self.size(), other.size()) {
            (1, size) if size != 1 => return other.clone(),
            (size, 1) if size != 1 => return self.clone(),
            _ => {}
        }
        let spatial = |role| matches!(role, Role::Height | Role::Width | Role::Positions);
        match (self.role(), other.role()) {
            _ if self == other => self.clone(),
            (Role::One | Role::Other, _) if !self.is_known() => other.clone(),
            (_, Role::One | Role::Other) if !other.is_known() => self.clone(),
            (one, another) if one == another => self.renewed(self.size()),
            (one, another) if spatial(one) && spatial(another) => Self::whole(Meaning::Token, self.size()),
            _ => Self::unknown(self.size()),
        }
    }

    fn merged(parts: Vec<Part>) -> Self {
        let mut merged: Vec<Part> = Vec::with_capacity(parts.len());
        for part in parts {
            match merged.last_mut() {
                Some(outer) if part.continues(outer) => {
                    *outer = Part { size: outer.size * part.size, stride: part.stride, ..part };
                }
                _ => merged.push(part),
            }
        }
        Self(merged)
    }
}

impl Part {
    /// Whether stepping along it goes through the whole from end to end.
    fn is_outermost(&self) -> bool {
        self.size.saturating_mul(self.stride) == self.whole
    }

    fn is_channel_like(&self) -> bool {
        match self.meaning {
            Meaning::Channel => true,
            Meaning::Height | Meaning::Width => !self.is_outermost(),
            Meaning::Batch | Meaning::Token | Meaning::Unknown => false,
        }
    }

    /// Whether this and `outer` before it were one axis.
    fn continues(&self, outer: &Self) -> bool {
        let same = (self.meaning, self.whole) == (outer.meaning, outer.whole);
        same && self.size > 0 && outer.stride == self.size.saturating_mul(self.stride)
    }
}

/// `axes` with the same elements in the same order as a tensor of `shape`; `None` when that cannot be followed.
///
/// Axes that are split remember of what they are parts, so that windows can be put together again. A batch of one image stays
/// in front, where it would be if there were more.
pub(super) fn reshaped(axes: &[Axis], shape: &[usize]) -> Option<Vec<Axis>> {
    let batch = axes.first().and_then(|axis| axis.0.first());
    let batch = batch.filter(|part| part.meaning == Meaning::Batch && part.size == 1).copied();
    let mut parts: Vec<Part> = axes.iter().flat_map(|axis| axis.0.iter().copied()).filter(|part| part.size != 1).collect();
    parts.reverse();
    let mut result = Vec::with_capacity(shape.len());
    for &side in shape {
        let (mut axis, mut left) = (Vec::new(), side);
        while left > 1 {
            let part = parts.pop().filter(|part| part.size > 0)?;
            if left.is_multiple_of(part.size) {
                left /= part.size;
                axis.push(part);
            } else if part.size.is_multiple_of(left) {
                let inner = part.size / left;
                axis.push(Part { size: left, stride: part.stride * inner, ..part });
                parts.push(Part { size: inner, ..part });
                left = 1;
            } else {
                return None;
            }
        }
        result.push(axis);
    }
    if let (Some(first), Some(batch)) = (result.first_mut(), batch) {
        first.insert(0, batch);
    }
    parts.is_empty().then(|| result.into_iter().map(Axis::merged).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<Axis> {
        let axes = [(Meaning::Batch, 1), (Meaning::Height, 56), (Meaning::Width, 28), (Meaning::Channel, 8)];
        axes.map(|(meaning, size)| Axis::whole(meaning, size)).to_vec()
    }

    fn roles(axes: &[Axis]) -> Vec<Role> {
        axes.iter().map(Axis::role).collect()
    }

    #[test]
    fn windows_are_put_together_again() {
        let split = reshaped(&image(), &[1, 8, 7, 4, 7, 8]).expect("seven divides both");
        let turned: Vec<Axis> = [0, 1, 3, 2, 4, 5].map(|axis: usize| split[axis].clone()).to_vec();
        let windows = reshaped(&turned, &[32, 49, 8]).expect("merging is always possible");
        assert_eq!(roles(&windows), [Role::Other, Role::Positions, Role::Channel]);
        let apart = reshaped(&windows, &[1, 8, 4, 7, 7, 8]).expect("as they were");
        let back: Vec<Axis> = [0, 1, 3, 2, 4, 5].map(|axis: usize| apart[axis].clone()).to_vec();
        assert_eq!(reshaped(&back, &[1, 56, 28, 8]).expect("as they were"), image());
    }

    #[test]
    fn tokens_are_rows_and_columns() {
        let tokens = reshaped(&image(), &[1, 1568, 8]).expect("merging is always possible");
        assert_eq!(roles(&tokens), [Role::Batch, Role::Positions, Role::Channel]);
        assert_eq!(reshaped(&tokens, &[1, 56, 28, 8]).expect("as they were"), image());
        assert_eq!(
            roles(&reshaped(&tokens, &[1, 28, 56, 8]).expect("divisible")),
            [Role::Batch, Role::Height, Role::Positions, Role::Channel]
        );
    }

    #[test]
    fn what_was_inside_rows_and_columns_becomes_channels() {
        let split = reshaped(&image(), &[1, 28, 2, 14, 2, 8]).expect("two divides both");
        let turned: Vec<Axis> = [0, 1, 3, 4, 2, 5].map(|axis: usize| split[axis].clone()).to_vec();
        let merged = reshaped(&turned, &[1, 28, 14, 32]).expect("merging is always possible");
        assert_eq!(roles(&merged), [Role::Batch, Role::Height, Role::Width, Role::Channel]);
    }

    #[test]
    fn what_does_not_divide_is_not_followed() {
        for shape in [&[1, 55, 28, 8][..], &[1, 3, 4181], &[1, 56, 28], &[1, 112, 14, 9]] {
            assert_eq!(reshaped(&image(), shape), None, "{shape:?}");
        }
    }
}
