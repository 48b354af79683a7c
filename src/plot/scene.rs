//! What a chart is made of, in the units of an SVG; each kind of picture draws these three shapes.

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// A place, right and down from the upper left corner.
pub(super) type Point = (f32, f32);

/// A shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// A line through points, at least two.
    Line { points: Vec<Point>, colour: Colour, width: f32 },
    /// A filled circle.
    Dot { centre: Point, radius: f32, colour: Colour },
    /// One line of text.
    Text { text: String, at: Point, size: f32, align: Align },
}

/// Where a text is relative to its place, along its line; across, its middle is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// Colour of text, frame and ticks.
pub(super) const INK: Colour = [38, 38, 38];

/// How far the base line is below a text's middle, in text sizes: half of a digit's height.
pub(super) const MIDDLE: f32 = 0.36;
