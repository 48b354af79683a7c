//! From the axes of a tensor to how a layer of it is shown.
//!
//! Knows no operators: what the axes are has been followed before.

use super::{
    Layout,
    axis::{Axis, Role},
};

/// How a tensor of `shape` with these `axes` lies.
pub(super) fn layout(axes: Option<&Vec<Axis>>, shape: &[usize]) -> Layout {
    if shape.len() < 3 {
        return Layout::Vector;
    }
    let found = axes.filter(|axes| axes.len() == shape.len()).and_then(|axes| match axes.as_slice() {
        [batch, rest @ ..] if matches!(batch.role(), Role::Batch | Role::One) => of_image(rest),
        _ => None,
    });
    found.unwrap_or(Layout::NoMap)
}

/// Axes of size 1 of which nothing else is known stand for whatever is missing.
fn of_image(axes: &[Axis]) -> Option<Layout> {
    let mut roles: Vec<Option<Role>> = axes.iter().map(|axis| Some(axis.role())).collect();
    let mut take = |wanted: &[Role]| {
        let is = |role: Role| roles.iter().position(|found| *found == Some(role));
        let position = wanted.iter().find_map(|role| is(*role))?;
        roles[position].take().map(|_| position)
    };
    match axes.len() {
        2 => {
            let channel = take(&[Role::Channel]);
            let position = take(&[Role::Positions, Role::Height, Role::Width, Role::One])?;
            let channel = channel.or_else(|| take(&[Role::One]))?;
            Some(Layout::Tokens([position, channel]))
        }
        3 => {
            let [height, width, channel] = [Role::Height, Role::Width, Role::Channel].map(|role| take(&[role]));
            let known = [height, width, channel];
            // All three of size 1 with nothing known, or two positions without a channel, are no map.
            known.iter().any(Option::is_some).then_some(())?;
            let [height, width, channel] = known.map(|axis| axis.or_else(|| take(&[Role::One])));
            Some(Layout::Map([height?, width?, channel?]))
        }
        _ => None,
    }
}
