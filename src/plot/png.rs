//! A scene as PNG, with smooth edges; letters are drawn from the font's outlines.

use std::io::Cursor;

use tiny_skia::{FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, Transform};

use super::{
    Error, font,
    scene::{Align, Colour, INK, MIDDLE, Shape},
};

/// A scene of `width` × `height` units as PNG, `scale` pixels for each unit.
pub(super) fn draw(shapes: &[Shape], (width, height): (u32, u32), scale: u32) -> Result<Vec<u8>, Error> {
    let mut pixels = Pixmap::new(width * scale, height * scale).expect("a picture's size is a constant above 0");
    pixels.fill(tiny_skia::Color::WHITE);
    let transform = Transform::from_scale(scale as f32, scale as f32);
    for shape in shapes {
        add(&mut pixels, shape, transform);
    }
    // Nothing is left of transparency on a white ground.
    let rgb = pixels.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
    let image = image::RgbImage::from_raw(width * scale, height * scale, rgb).expect("three bytes for each pixel");
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png)?;
    Ok(png.into_inner())
}

fn add(pixels: &mut Pixmap, shape: &Shape, transform: Transform) {
    match shape {
        Shape::Line { points, colour, width } => {
            let Some(path) = line(points) else { return };
            let stroke = Stroke { width: *width, line_join: LineJoin::Round, line_cap: LineCap::Butt, ..Stroke::default() };
            pixels.stroke_path(&path, &paint(*colour), &stroke, transform, None);
        }
        Shape::Dot { centre: (x, y), radius, colour } => {
            let Some(path) = PathBuilder::from_circle(*x, *y, *radius) else { return };
            pixels.fill_path(&path, &paint(*colour), FillRule::Winding, transform, None);
        }
        Shape::Text { text, at: (x, y), size, align } => {
            let width = font::width(text, *size);
            let left = match align {
                Align::Left => *x,
                Align::Centre => x - width / 2.0,
                Align::Right => x - width,
            };
            let Some(path) = font::outline(text, *size, (left, y + MIDDLE * size)) else { return };
            pixels.fill_path(&path, &paint(INK), FillRule::Winding, transform, None);
        }
    }
}

fn line(points: &[(f32, f32)]) -> Option<Path> {
    let mut path = PathBuilder::with_capacity(points.len(), points.len());
    for (number, &(x, y)) in points.iter().enumerate() {
        if number == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path.finish()
}

fn paint([red, green, blue]: Colour) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}
