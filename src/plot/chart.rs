//! A plot as a scene: title, frame, ticks, lines and legend, each in its place.

use super::{
    Plot, font,
    scale::{Steps, Ticks, extremes, with_margins},
    scene::{Align, Colour, INK, Point, Shape},
    shown,
};

/// Matplotlib's `tab10`.
const COLOURS: [Colour; super::MAX_SERIES] = [
    [31, 119, 180],
    [255, 127, 14],
    [44, 160, 44],
    [214, 39, 40],
    [148, 103, 189],
    [140, 86, 75],
    [227, 119, 194],
    [127, 127, 127],
    [188, 189, 34],
    [23, 190, 207],
];

const GRID: Colour = [232, 232, 232];

const MARGIN: f32 = 16.0;
const TITLE: f32 = 36.0;
const BELOW: f32 = 50.0;
const TICK: f32 = 4.0;
const TITLE_SIZE: f32 = 14.0;
const LABEL_SIZE: f32 = 11.0;
const LEGEND_LINE: f32 = 17.0;
/// Characters of a name in the legend.
const LEGEND_TEXT: usize = 24;

/// The frame, and the part of the numbers' plane that it shows.
struct Chart<'a> {
    plot: &'a Plot<'a>,
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
    x: (f64, f64),
    y: (f64, f64),
    shapes: Vec<Shape>,
}

/// `plot` on `width` × `height` units.
pub(super) fn scene(plot: &Plot<'_>, (width, height): (u32, u32)) -> Vec<Shape> {
    let longest = plot.series.iter().map(|series| series.values.len()).max().unwrap_or(1);
    let all = || plot.series.iter().flat_map(|series| series.values).map(|&value| f64::from(value));
    let x = with_margins(0.0, (longest - 1) as f64);
    let y = with_margins(all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let (x_ticks, y_ticks) = (Ticks::new(x.0, x.1, 9, Steps::Whole), Ticks::new(y.0, y.1, 7, Steps::Any));
    let widest = |texts: &[String]| texts.iter().map(|text| font::width(text, LABEL_SIZE)).fold(0.0, f32::max);
    let names: Vec<String> = plot.series.iter().map(|series| short(series.name)).collect();
    let legend = if names.len() > 1 { widest(&names) + 32.0 } else { 0.0 };
    let mut chart = Chart {
        plot,
        left: MARGIN + widest(&y_ticks.labels) + 2.0 * TICK,
        right: width as f32 - MARGIN - legend,
        top: TITLE,
        bottom: height as f32 - BELOW,
        x,
        y,
        shapes: Vec::new(),
    };
    chart.axes(&x_ticks, &y_ticks);
    chart.lines();
    chart.frame();
    if names.len() > 1 {
        chart.legend(names);
    }
    chart.shapes
}

impl Chart<'_> {
    fn axes(&mut self, x_ticks: &Ticks, y_ticks: &Ticks) {
        let (left, right, top, bottom) = (self.left, self.right, self.top, self.bottom);
        for (&value, label) in x_ticks.values.iter().zip(&x_ticks.labels) {
            let x = crisp(self.column(value));
            self.line(vec![(x, top), (x, bottom)], GRID, 1.0);
            self.line(vec![(x, bottom), (x, bottom + TICK)], INK, 1.0);
            self.text(label, (x, bottom + 14.0), LABEL_SIZE, Align::Centre);
        }
        for (&value, label) in y_ticks.values.iter().zip(&y_ticks.labels) {
            let y = crisp(self.row(value));
            self.line(vec![(left, y), (right, y)], GRID, 1.0);
            self.line(vec![(left - TICK, y), (left, y)], INK, 1.0);
            self.text(label, (left - 2.0 * TICK, y), LABEL_SIZE, Align::Right);
        }
        let middle = (left + right) / 2.0;
        if let Some(power) = y_ticks.power() {
            self.text(&power, (left, top - 9.0), LABEL_SIZE, Align::Left);
        }
        let index = x_ticks.power().map_or("index".to_owned(), |power| format!("index, {power}"));
        self.text(&index, (middle, bottom + 34.0), LABEL_SIZE, Align::Centre);
        self.text(&shown(&self.plot.title), (middle, TITLE / 2.0), TITLE_SIZE, Align::Centre);
    }

    fn lines(&mut self) {
        let columns = (self.right - self.left).max(1.0) as usize;
        for (series, colour) in self.plot.series.iter().zip(COLOURS) {
            let points: Vec<Point> =
                extremes(series.values, columns).into_iter().map(|(x, y)| (self.column(x), self.row(y))).collect();
            match points.as_slice() {
                &[centre] => self.shapes.push(Shape::Dot { centre, radius: 3.0, colour }),
                _ => self.line(points, colour, 1.25),
            }
        }
    }

    fn frame(&mut self) {
        let (left, right, top, bottom) = (crisp(self.left), crisp(self.right), crisp(self.top), crisp(self.bottom));
        self.line(vec![(left, top), (right, top), (right, bottom), (left, bottom), (left, top), (right, top)], INK, 1.0);
    }

    /// To the right of the frame, where it hides nothing.
    fn legend(&mut self, names: Vec<String>) {
        let left = self.right + 10.0;
        for (number, (name, colour)) in names.iter().zip(COLOURS).enumerate() {
            let y = self.top + LEGEND_LINE * (number as f32 + 0.5);
            self.line(vec![(left, y), (left + 16.0, y)], colour, 2.0);
            self.text(name, (left + 22.0, y), LABEL_SIZE, Align::Left);
        }
    }

    fn column(&self, x: f64) -> f32 {
        self.left + ((x - self.x.0) / (self.x.1 - self.x.0)) as f32 * (self.right - self.left)
    }

    fn row(&self, y: f64) -> f32 {
        self.bottom - ((y - self.y.0) / (self.y.1 - self.y.0)) as f32 * (self.bottom - self.top)
    }

    fn line(&mut self, points: Vec<Point>, colour: Colour, width: f32) {
        self.shapes.push(Shape::Line { points, colour, width });
    }

    fn text(&mut self, text: &str, at: Point, size: f32, align: Align) {
        self.shapes.push(Shape::Text { text: text.to_owned(), at, size, align });
    }
}

/// The middle of a pixel, so that a line of one pixel fills one.
fn crisp(value: f32) -> f32 {
    value.floor() + 0.5
}

/// A name as the legend has it: its end, where file names differ.
fn short(name: &str) -> String {
    let end = match name.char_indices().rev().nth(LEGEND_TEXT) {
        Some(_) => name.char_indices().rev().nth(LEGEND_TEXT - 2).map_or(name, |(at, _)| &name[at..]),
        None => name,
    };
    let cut = if end.len() < name.len() { "…" } else { "" };
    format!("{cut}{}", shown(end))
}
