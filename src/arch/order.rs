//! The order of `model.layers` in a Keras functional model: by depth, then by traversal from the output.
//!
//! The rule is that of `map_graph` in Keras 3's `ops/function.py`.

use std::cmp::Reverse;

/// Indices of the layers that `output` depends on, in Keras's order; `inputs[i]` are the layers that layer `i` reads.
///
/// A layer's depth is the length of the longest path from it to the output; the deepest come first.
/// Layers of one depth are in the order in which a depth-first walk from the output first meets them.
pub(super) fn keras_order(inputs: &[&[usize]], output: usize) -> Vec<usize> {
    let walk = Walk::from_output(inputs, output);
    let mut depth = vec![0_usize; inputs.len()];
    for &layer in walk.finished.iter().rev() {
        for &input in inputs[layer] {
            depth[input] = depth[input].max(depth[layer] + 1);
        }
    }
    let mut order = walk.met;
    order.sort_by_key(|&layer| Reverse(depth[layer]));
    order
}

/// A depth-first walk against the direction of data.
struct Walk {
    /// Layers as they were first met.
    met: Vec<usize>,
    /// Layers as they were left: after everything they read.
    finished: Vec<usize>,
}

impl Walk {
    fn from_output(inputs: &[&[usize]], output: usize) -> Self {
        let mut walk = Self { met: vec![output], finished: Vec::new() };
        let mut seen = vec![false; inputs.len()];
        seen[output] = true;
        let mut open = vec![(output, inputs[output].iter())];
        while let Some((layer, pending)) = open.last_mut() {
            let layer = *layer;
            match pending.find(|&&input| !seen[input]) {
                Some(&input) => {
                    seen[input] = true;
                    walk.met.push(input);
                    open.push((input, inputs[input].iter()));
                }
                None => {
                    walk.finished.push(layer);
                    open.pop();
                }
            }
        }
        walk
    }
}

#[cfg(test)]
mod tests {
    use super::keras_order;

    #[test]
    fn deeper_layers_come_first_and_ties_follow_the_walk() {
        let check = |inputs: &[&[usize]], output: usize, expected: &[usize]| {
            assert_eq!(keras_order(inputs, output), expected, "{inputs:?} from {output}");
        };
        check(&[&[]], 0, &[0]);
        check(&[&[], &[0], &[1]], 2, &[0, 1, 2]);
        // Two branches of one length: the first input of the join is walked first.
        check(&[&[], &[0], &[0], &[2, 1]], 3, &[0, 2, 1, 3]);
        // A long and a short branch: the long one's start is deeper.
        check(&[&[], &[0], &[0], &[2], &[1, 3]], 4, &[0, 2, 1, 3, 4]);
        // What the output does not depend on is left out.
        check(&[&[], &[0], &[0]], 1, &[0, 1]);
    }
}
