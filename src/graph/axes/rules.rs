//! The axes that an operator makes of those it reads: one rule per kind of operator.
//!
//! A rule says what each axis means; sizes that it cannot know are filled in afterwards, from the tensor's shape.

use super::{
    Image,
    axis::{Axis, Meaning, Role, reshaped},
    operators::{Effect, effect},
};
use crate::graph::{
    op::{Op, position},
    proto::{NodeProto, TensorProto},
    tensors::{self, data_type},
};

impl<'a> Image<'a> {
    /// The axes of what `node` makes first; `None` when they cannot be followed.
    pub(super) fn after(&self, node: &'a NodeProto) -> Option<Vec<Axis>> {
        let op = Op { node };
        if !matches!(node.domain(), "" | "ai.onnx" | "com.microsoft") {
            return None;
        }
        let first = || self.axes(op.input(0)).cloned();
        match effect(node.op_type())? {
            Effect::Keep => first(),
            Effect::Join => self.joined(op),
            Effect::Spatial => self.spatial(op),
            Effect::Transpose => {
                let axes = first()?;
                let reversed = || (0..axes.len()).rev().collect();
                let order = op.sizes("perm").unwrap_or_else(reversed);
                order.into_iter().map(|axis| axes.get(axis).cloned()).collect()
            }
            Effect::Reshape => reshaped(self.axes(op.input(0))?, self.shape(op.output())?),
            Effect::Concat => self.concatenated(op),
            Effect::Gather => self.gathered(op),
            Effect::Reduce => self.reduced(op),
            Effect::MatMul => self.product(op),
            Effect::Gemm => {
                let axes = self.axes(op.input(0)).filter(|axes| axes.len() == 2)?;
                let rows = usize::from(op.int("transA", 0) != 0);
                Some(vec![axes[rows].clone(), contracted(&axes[1 - rows], Meaning::Channel)])
            }
            Effect::Attention => {
                let mut axes = first()?;
                *axes.last_mut()? = Axis::whole(Meaning::Channel, 0);
                Some(axes)
            }
        }
    }

    /// The `axes` of the output `part` of a Split, of which the sizes may be known from nothing else.
    pub(super) fn part(&self, node: &'a NodeProto, axes: Option<Vec<Axis>>, part: usize) -> Option<Vec<Axis>> {
        let op = Op { node };
        let mut axes = axes?;
        let along = op.axis("axis", 0, axes.len())?;
        let given = || op.optional(1).and_then(|name| integers(self.constants.get(name)?));
        let sizes = op.ints("split").map(<[i64]>::to_vec).or_else(given);
        let size = match sizes {
            Some(sizes) => usize::try_from(*sizes.get(part)?).ok()?,
            None => axes[along].size().div_ceil(node.output.len()),
        };
        axes[along] = axes[along].resized(size);
        Some(axes)
    }

    /// Right-aligned, as sizes are broadcast; constants have no say.
    fn joined(&self, op: Op<'a>) -> Option<Vec<Axis>> {
        let operands: Vec<&Vec<Axis>> = op.inputs().filter_map(|name| self.axes(name)).collect();
        let longest = operands.iter().map(|axes| axes.len()).max()?;
        let rank = self.shape(op.output()).map_or(longest, <[usize]>::len).max(longest);
        let mut joined = vec![Axis::default(); rank];
        for axes in operands {
            let aligned = &mut joined[rank - axes.len()..];
            aligned.iter_mut().zip(axes).for_each(|(known, axis)| *known = known.joined(axis));
        }
        Some(joined)
    }

    /// Batch, channel, positions: the operator defines what is not known better.
    fn spatial(&self, op: Op<'a>) -> Option<Vec<Axis>> {
        let shape = self.shape(op.output());
        let known = self.axes(op.input(0));
        if op.int("channels_last", 0) != 0 || op.node.op_type().starts_with("Nhwc") {
            let mut axes = known?.clone();
            *axes.last_mut()? = Axis::whole(Meaning::Channel, 0);
            return Some(axes);
        }
        let rank = known.map(Vec::len).or(shape.map(<[usize]>::len))?;
        let size = |axis: usize| shape.and_then(|shape| shape.get(axis)).copied().unwrap_or(0);
        let old = |axis: usize| known.and_then(|axes| axes.get(axis));
        let kept = |axis: usize| old(axis).filter(|old| old.is_known() && (old.size() == size(axis) || size(axis) == 0));
        let channel = || kept(1).filter(|old| old.role() == Role::Channel).cloned();
        let mut axes = vec![old(0).filter(|old| old.is_known()).cloned().unwrap_or_else(|| Axis::whole(Meaning::Batch, size(0)))];
        axes.push(channel().unwrap_or_else(|| Axis::whole(Meaning::Channel, size(1))));
        let role = |axis: usize| old(axis).map(Axis::role);
        let turned = role(2) == Some(Role::Width) || role(3) == Some(Role::Height);
        let demanded = match (rank, turned) {
            (4, false) => [Meaning::Height, Meaning::Width],
            (4, true) => [Meaning::Width, Meaning::Height],
            (3, _) => [Meaning::Token; 2],
            _ => [Meaning::Unknown; 2],
        };
        let position = |axis: usize| {
            let spatial = |old: &&Axis| matches!(old.role(), Role::Height | Role::Width);
            let resized = || old(axis).filter(spatial).map(|old| old.resized(size(axis)));
            let defined = || Axis::whole(demanded[axis % 2], size(axis));
            kept(axis).cloned().or_else(resized).unwrap_or_else(defined)
        };
        axes.extend((2..rank).map(position));
        axes.truncate(rank);
        Some(axes)
    }

    fn concatenated(&self, op: Op<'a>) -> Option<Vec<Axis>> {
        let parts: Vec<&Vec<Axis>> = op.inputs().filter_map(|name| self.axes(name)).collect();
        let rank = parts.first()?.len();
        let along = op.axis("axis", 1, rank)?;
        let mut axes = self.joined(op).filter(|axes| axes.len() == rank)?;
        let longest = parts.iter().filter_map(|axes| axes.get(along)).max_by_key(|axis| axis.size())?;
        let size = self.shape(op.output()).and_then(|shape| shape.get(along)).copied().unwrap_or(0);
        axes[along] = longest.renewed(size);
        Some(axes)
    }

    fn gathered(&self, op: Op<'a>) -> Option<Vec<Axis>> {
        let mut axes = self.axes(op.input(0))?.clone();
        if axes.len() == 1 && self.lists_all(op.input(1), axes[0].size()) {
            return reshaped(&axes, self.shape(op.output())?);
        }
        let along = op.axis("axis", 0, axes.len())?;
        let made = self.shape(op.output()).map(<[usize]>::len);
        let indices = self.constants.get(op.input(1)).map(|indices| axes.len() + indices.dims.len() - 1).or(made)?;
        match (indices + 1).checked_sub(axes.len())? {
            0 => drop(axes.remove(along)),
            1 => axes[along] = axes[along].renewed(0),
            more => drop(axes.splice(along..=along, vec![Axis::unknown(0); more])),
        }
        Some(axes)
    }

    /// Whether the constant `indices` counts from 0 up to `size`: PyTorch's exporter writes views so.
    fn lists_all(&self, indices: &str, size: usize) -> bool {
        let indices = self.constants.get(indices).and_then(|tensor| integers(tensor));
        indices.is_some_and(|indices| indices.into_iter().eq(0..size as i64))
    }

    fn reduced(&self, op: Op<'a>) -> Option<Vec<Axis>> {
        let axes = self.axes(op.input(0))?;
        let single = op.node.op_type().starts_with("Arg");
        let listed = match op.ints("axes") {
            Some(listed) => Some(listed.to_vec()),
            None if single => Some(vec![op.int("axis", 0)]),
            None => op.optional(1).map_or(Some(Vec::new()), |name| integers(self.constants.get(name)?))?.into(),
        };
        let listed = listed.unwrap_or_default();
        let all = listed.is_empty() && op.int("noop_with_empty_axes", 0) == 0;
        let gone: Vec<usize> = listed.into_iter().map(|axis| position(axis, axes.len())).collect::<Option<_>>()?;
        let keeps = op.int("keepdims", 1) != 0;
        let result = axes.iter().enumerate().filter_map(|(at, axis)| match all || gone.contains(&at) {
            true if keeps => Some(axis.resized(1)),
            true => None,
            false => Some(axis.clone()),
        });
        Some(result.collect())
    }

    fn product(&self, op: Op<'a>) -> Option<Vec<Axis>> {
        let second = if op.node.op_type() == "QLinearMatMul" { 3 } else { 1 };
        let operand = |at: usize, flag: &str| {
            let mut axes = self.axes(op.input(at)).cloned();
            if let Some(axes) = axes.as_mut().filter(|axes| op.int(flag, 0) != 0 && axes.len() > 1) {
                let last = axes.len() - 1;
                axes.swap(last - 1, last);
            }
            axes
        };
        let (left, right) = (operand(0, "transA"), operand(second, "transB"));
        let mut axes = match (left, right) {
            (Some(mut left), None) if !self.depends(op.input(second)) => {
                let last = left.last_mut()?;
                *last = contracted(last, Meaning::Channel);
                left
            }
            (None, Some(mut right)) if !self.depends(op.input(0)) && right.len() > 1 => {
                let rows = right.len() - 2;
                right[rows] = contracted(&right[rows], Meaning::Unknown);
                right
            }
            (Some(left), Some(right)) if left.len() == right.len() && left.len() > 1 => {
                let rank = left.len();
                let outer = left[..rank - 2].iter().zip(&right).map(|(one, other)| one.joined(other));
                outer.chain([left[rank - 2].clone(), right[rank - 1].clone()]).collect()
            }
            _ => return None,
        };
        // A constant with more axes than the image's tensor broadcasts it.
        let missing = self.shape(op.output()).map_or(0, <[usize]>::len).saturating_sub(axes.len());
        axes.splice(0..0, vec![Axis::default(); missing]);
        Some(axes)
    }
}

/// What a matrix makes of `axis`: channels of channels, something else of positions alone, `otherwise` of what is not known.
fn contracted(axis: &Axis, otherwise: Meaning) -> Axis {
    let meaning = match axis.role() {
        _ if axis.has_channels() => Meaning::Channel,
        Role::Height | Role::Width | Role::Positions => Meaning::Unknown,
        Role::Batch | Role::Channel | Role::One | Role::Other => otherwise,
    };
    Axis::whole(meaning, 0)
}

fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let raw = tensors::raw(tensor).filter(|_| tensor.data_type() == data_type::INT64)?;
    let (words, _) = raw.as_chunks::<8>();
    Some(words.iter().map(|&word| i64::from_le_bytes(word)).collect())
}
