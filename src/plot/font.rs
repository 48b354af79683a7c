//! The font that is compiled in, so that no machine needs one: DejaVu Sans, which matplotlib has as well.
//!
//! A part of it: Latin letters, digits and signs. What it lacks is drawn as a box.

use skrifa::{
    FontRef, MetadataProvider,
    instance::{LocationRef, Size},
    outline::{DrawSettings, OutlinePen},
};
use tiny_skia::{Path, PathBuilder};

fn font() -> FontRef<'static> {
    FontRef::new(include_bytes!("DejaVuSans.ttf")).expect("the font that is compiled in can be read")
}

/// Length of `text`.
pub(super) fn width(text: &str, size: f32) -> f32 {
    let font = font();
    let (letters, metrics) = (font.charmap(), font.glyph_metrics(Size::new(size), LocationRef::default()));
    text.chars().filter_map(|letter| metrics.advance_width(letters.map(letter).unwrap_or_default())).sum()
}

/// The letters of `text` from the left end of their base line; nothing where there is no ink.
pub(super) fn outline(text: &str, size: f32, (left, base): (f32, f32)) -> Option<Path> {
    let font = font();
    let (letters, outlines) = (font.charmap(), font.outline_glyphs());
    let metrics = font.glyph_metrics(Size::new(size), LocationRef::default());
    let mut pen = Pen { path: PathBuilder::new(), left, base };
    for letter in text.chars() {
        let glyph = letters.map(letter).unwrap_or_default();
        if let Some(outline) = outlines.get(glyph) {
            let drawn = outline.draw(DrawSettings::unhinted(Size::new(size), LocationRef::default()), &mut pen);
            drawn.expect("the font that is compiled in can be drawn");
        }
        pen.left += metrics.advance_width(glyph).unwrap_or_default();
    }
    pen.path.finish()
}

/// Takes outlines, whose y goes up, to a place in a picture, whose y goes down.
struct Pen {
    path: PathBuilder,
    left: f32,
    base: f32,
}

impl OutlinePen for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.left + x, self.base - y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.left + x, self.base - y);
    }

    fn quad_to(&mut self, cx0: f32, cy0: f32, x: f32, y: f32) {
        self.path.quad_to(self.left + cx0, self.base - cy0, self.left + x, self.base - y);
    }

    fn curve_to(&mut self, cx0: f32, cy0: f32, cx1: f32, cy1: f32, x: f32, y: f32) {
        let (left, base) = (self.left, self.base);
        self.path.cubic_to(left + cx0, base - cy0, left + cx1, base - cy1, left + x, base - y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
