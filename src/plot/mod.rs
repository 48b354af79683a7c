//! Line plots of vectors as SVG or PNG, in the manner of matplotlib's `plot(values)`.
//!
//! Knows values, names and pictures; no model, no HTTP. The font is compiled in, so that no machine needs one.

mod chart;
mod font;
mod png;
mod scale;
mod scene;
mod svg;

use std::borrow::Cow;

/// Most lines of one plot: as many as there are colours that can be told apart.
pub const MAX_SERIES: usize = 10;

/// Width and height of an SVG in its own units. A PNG has [`PNG_SCALE`] pixels for each.
const SIZE: (u32, u32) = (800, 400);

const PNG_SCALE: u32 = 2;

/// Longest title or name, in characters.
const MAX_TEXT: usize = 90;

/// What is drawn.
#[derive(Debug, Clone)]
pub struct Plot<'a> {
    /// Above the axes.
    pub title: String,
    /// One to [`MAX_SERIES`] lines; several get a legend.
    pub series: Vec<Series<'a>>,
}

/// One line: the values over their positions.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Finite values, at least one.
    pub values: &'a [f32],
}

/// The form of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// `image/svg+xml`.
    Svg,
    /// `image/png`.
    Png,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing, or more lines than can be told apart.
    #[error("a plot shows 1 to {MAX_SERIES} lines of at least one value, not {0}")]
    Series(usize),
    /// The PNG cannot be written.
    #[error("cannot write the picture")]
    Encode(#[from] image::ImageError),
}

impl Plot<'_> {
    /// The picture's bytes. However long the vectors, each line is at most two points per column: the least and the greatest
    /// value there.
    ///
    /// # Errors
    /// [`Error::Series`]; [`Error::Encode`], which would be a defect.
    pub fn draw(&self, picture: Picture) -> Result<Vec<u8>, Error> {
        if !(1..=MAX_SERIES).contains(&self.series.len()) || self.series.iter().any(|series| series.values.is_empty()) {
            return Err(Error::Series(self.series.len()));
        }
        let scene = chart::scene(self, SIZE);
        match picture {
            Picture::Svg => Ok(svg::draw(&scene, SIZE).into_bytes()),
            Picture::Png => png::draw(&scene, SIZE, PNG_SCALE),
        }
    }
}

/// What a plot of a layer is called: model, layer and shape, and whether it means nothing.
pub fn title(model: &str, pretrained: bool, layer: &str, shape: &[usize]) -> String {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    let untrained = if pretrained { "" } else { ", untrained weights" };
    format!("{model}, {layer} ({}){untrained}", sides.join(", "))
}

/// `text` without what XML forbids, and not too long.
fn shown(text: &str) -> Cow<'_, str> {
    let is_plain = |letter: char| !letter.is_control() && !matches!(letter, '\u{fffe}' | '\u{ffff}');
    if text.chars().count() <= MAX_TEXT && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(MAX_TEXT).map(|letter| if is_plain(letter) { letter } else { '?' }).collect();
    if text.chars().count() > MAX_TEXT {
        short.pop();
        short.push('…');
    }
    Cow::Owned(short)
}

#[cfg(test)]
mod tests;
