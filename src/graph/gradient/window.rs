//! The geometry of convolutions and pools: kernel, strides, dilations and explicit padding of a sliding window.
//!
//! Arithmetic alone; knows neither nodes nor tensors.

use super::op::Op;

/// A sliding window over the spatial axes; one entry per axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    /// Padding before.
    pub(super) begin: Vec<usize>,
    /// Padding behind.
    pub(super) end: Vec<usize>,
    ceil: bool,
}

impl Window {
    /// The window that `op` slides over an input whose spatial sides are `input`; `None` when its attributes do not fit.
    pub(super) fn of(op: Op<'_>, kernel: Vec<usize>, input: &[usize]) -> Option<Self> {
        let axes = input.len();
        let ones = || vec![1; axes];
        let strides = if op.ints("strides").is_some() { op.sizes("strides")? } else { ones() };
        let dilations = if op.ints("dilations").is_some() { op.sizes("dilations")? } else { ones() };
        let pads = if op.ints("pads").is_some() { op.sizes("pads")? } else { vec![0; 2 * axes] };
        let fits = [&kernel, &strides, &dilations].iter().all(|list| list.len() == axes && !list.contains(&0));
        if !fits || pads.len() != 2 * axes {
            return None;
        }
        let (begin, end) = (pads[..axes].to_vec(), pads[axes..].to_vec());
        let mut window = Self { kernel, strides, dilations, begin, end, ceil: op.int("ceil_mode", 0) != 0 };
        match op.text("auto_pad") {
            None | Some(b"NOTSET" | b"") => {}
            Some(b"VALID") => window.pad(|_| (0, 0)),
            Some(b"SAME_UPPER") => window.pad_to_same(input, |total| (total / 2, total - total / 2)),
            Some(b"SAME_LOWER") => window.pad_to_same(input, |total| (total - total / 2, total / 2)),
            Some(_) => return None,
        }
        Some(window)
    }

    fn pad(&mut self, sides: impl Fn(usize) -> (usize, usize)) {
        for axis in 0..self.kernel.len() {
            (self.begin[axis], self.end[axis]) = sides(axis);
        }
    }

    fn pad_to_same(&mut self, input: &[usize], halves: impl Fn(usize) -> (usize, usize)) {
        let totals: Vec<usize> = (0..input.len())
            .map(|axis| {
                let steps = input[axis].div_ceil(self.strides[axis]).saturating_sub(1);
                (steps * self.strides[axis] + self.span(axis)).saturating_sub(input[axis])
            })
            .collect();
        self.pad(|axis| halves(totals[axis]));
    }

    /// Length that the dilated kernel covers.
    pub(super) fn span(&self, axis: usize) -> usize {
        self.dilations[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Number of positions per axis; `None` when the window is larger than the padded input.
    ///
    /// In ceil mode a last window that would start in the padding behind is left out, as in PyTorch.
    pub(super) fn output(&self, input: &[usize]) -> Option<Vec<usize>> {
        let side = |axis: usize| {
            let room = (input[axis] + self.begin[axis] + self.end[axis]).checked_sub(self.span(axis))?;
            let stride = self.strides[axis];
            let mut count = if self.ceil { room.div_ceil(stride) } else { room / stride } + 1;
            if self.ceil && (count - 1) * stride >= input[axis] + self.begin[axis] {
                count -= 1;
            }
            Some(count)
        };
        (0..input.len()).map(side).collect()
    }

    /// The padding behind with which plain counting gives the positions of ceil mode; `None` when ceil mode leaves no window out.
    pub(super) fn exact_end(&self, input: &[usize]) -> Option<Vec<usize>> {
        let output = self.output(input).filter(|output| !output.contains(&0))?;
        let without =
            |axis: usize| (input[axis] + self.begin[axis] + self.end[axis] - self.span(axis)).div_ceil(self.strides[axis]) + 1;
        let leaves_out = self.ceil && (0..input.len()).any(|axis| output[axis] < without(axis));
        leaves_out.then(|| self.reach(input, &output))
    }

    /// How far the windows reach over the input's end, beyond the padding that is declared too.
    pub(super) fn reach(&self, input: &[usize], output: &[usize]) -> Vec<usize> {
        let side = |axis: usize| {
            let last = (output[axis] - 1) * self.strides[axis] + self.span(axis);
            last.saturating_sub(input[axis] + self.begin[axis])
        };
        (0..input.len()).map(side).collect()
    }

    pub(super) fn has_unit_strides(&self) -> bool {
        self.strides.iter().all(|&stride| stride == 1)
    }

    /// No two windows share an input.
    pub(super) fn is_disjoint(&self) -> bool {
        (0..self.kernel.len()).all(|axis| self.strides[axis] >= self.span(axis))
    }

    /// Number of taps of the kernel.
    pub(super) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// How many taps of the window at each position lie on the input, row by row.
    pub(super) fn coverage(&self, input: &[usize], output: &[usize]) -> Vec<f32> {
        let along = |axis: usize| -> Vec<usize> {
            let hit = |position: usize, tap: usize| {
                let at = position * self.strides[axis] + tap * self.dilations[axis];
                at >= self.begin[axis] && at < input[axis] + self.begin[axis]
            };
            (0..output[axis]).map(|position| (0..self.kernel[axis]).filter(|&tap| hit(position, tap)).count()).collect()
        };
        (0..input.len()).map(along).fold(vec![1.0], |product, along| {
            product.iter().flat_map(|left| along.iter().map(move |&right| left * right as f32)).collect()
        })
    }
}
