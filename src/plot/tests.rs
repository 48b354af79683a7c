//! Pictures are checked for what they show: sizes, names, and ink where the values are.

use super::*;

fn plot<'a>(title: &str, lines: &[(&'a str, &'a [f32])]) -> Plot<'a> {
    Plot { title: title.to_owned(), series: lines.iter().map(|&(name, values)| Series { name, values }).collect() }
}

fn svg(plot: &Plot<'_>) -> String {
    String::from_utf8(plot.draw(Picture::Svg).expect("it can be drawn")).expect("SVG is text")
}

#[test]
fn an_svg_names_what_it_shows() {
    let values: Vec<f32> = (0..1000).map(|at| if at == 281 { 0.97 } else { 0.0 }).collect();
    let text = svg(&plot("vgg16@1, predictions", &[("cat.jpg", &values)]));
    for expected in ["vgg16@1, predictions", "index", "1000", "0.8"] {
        assert!(text.contains(&format!(">{expected}</text>")), "{expected} in {text}");
    }
    assert!(!text.contains("cat.jpg"), "one line needs no legend");
    let both = svg(&plot("two", &[("cat.jpg", &values), ("dog.jpg", &values)]));
    assert!(both.contains("cat.jpg") && both.contains("dog.jpg"));
}

#[test]
fn names_cannot_break_the_markup() {
    let text = svg(&plot("<script>&\u{0}\u{1b}", &[("\"a\" <b>", &[1.0, 2.0]), (&"long ".repeat(100), &[2.0])]));
    assert!(!text.contains("<script") && !text.contains("<b>") && !text.contains('\u{0}') && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains("&lt;script&gt;&amp;"), "{text}");
}

#[test]
fn a_png_has_ink_where_the_values_are() {
    let values = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    let png = plot("peak", &[("a", &values)]).draw(Picture::Png).expect("it can be drawn");
    let image = image::load_from_memory(&png).expect("a PNG").to_rgb8();
    assert_eq!(image.dimensions(), (SIZE.0 * PNG_SCALE, SIZE.1 * PNG_SCALE));
    let is_blue = |x: u32, y: u32| {
        let [red, _, blue] = image.get_pixel(x, y).0;
        i32::from(blue) - i32::from(red) > 60
    };
    let columns: Vec<u32> = (0..image.width()).filter(|&x| (100..300).any(|y| is_blue(x, y))).collect();
    let (first, last) = (columns[0], columns[columns.len() - 1]);
    assert!(first > image.width() / 3 && last < image.width() * 2 / 3, "the peak is in the middle: {first} to {last}");
    assert!(
        (0..image.width()).filter(|&x| (image.height() / 2..image.height()).any(|y| is_blue(x, y))).count() > 1000,
        "a floor"
    );
}

#[test]
fn every_size_can_be_drawn_and_is_bounded() {
    let long: Vec<f32> = (0..1_000_000).map(|at| (at as f32 * 0.37).sin()).collect();
    for values in [&[3.0][..], &[0.0, 0.0], &[1e-12, 2e-12], &[-1e30, 1e30], &[f32::MAX, f32::MIN], &long] {
        let text = svg(&plot("sizes", &[("a", values)]));
        assert!(text.len() < 64 << 10, "{} bytes for {} values", text.len(), values.len());
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        plot("sizes", &[("a", values)]).draw(Picture::Png).expect("it can be drawn");
    }
    assert!(matches!(plot("none", &[]).draw(Picture::Svg), Err(Error::Series(0))));
    assert!(matches!(plot("empty", &[("a", &[])]).draw(Picture::Svg), Err(Error::Series(1))));
    assert!(matches!(plot("many", &[("a", &[1.0][..]); 11]).draw(Picture::Png), Err(Error::Series(11))));
}
