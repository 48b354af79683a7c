//! A scene as SVG text.

use std::fmt::Write as _;

use super::scene::{Align, Colour, INK, MIDDLE, Shape};

/// A scene as SVG, without anything from outside: no script, no style sheet, no font.
pub(super) fn draw(shapes: &[Shape], (width, height): (u32, u32)) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans, Verdana, sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for shape in shapes {
        add(&mut svg, shape).expect("text grows");
    }
    svg.push_str("</svg>\n");
    svg
}

fn add(svg: &mut String, shape: &Shape) -> std::fmt::Result {
    match shape {
        Shape::Line { points, colour, width } => {
            write!(
                svg,
                "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\" points=\"",
                hex(*colour)
            )?;
            for (x, y) in points {
                write!(svg, "{} {} ", short(*x), short(*y))?;
            }
            svg.truncate(svg.trim_end().len());
            writeln!(svg, "\"/>")
        }
        Shape::Dot { centre: (x, y), radius, colour } => {
            writeln!(svg, "<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\" fill=\"{}\"/>", short(*x), short(*y), hex(*colour))
        }
        Shape::Text { text, at: (x, y), size, align } => {
            let anchor = match align {
                Align::Left => "start",
                Align::Centre => "middle",
                Align::Right => "end",
            };
            let (x, y) = (short(*x), short(y + MIDDLE * size));
            writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{}\">{}</text>",
                hex(INK),
                escaped(text)
            )
        }
    }
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Two decimals are more than an eye sees.
fn short(value: f32) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `text` between two tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
