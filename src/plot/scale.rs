//! Numbers to positions: ticks at round numbers, their labels, and the extremes per pixel column.

/// Round numbers along an axis.
#[derive(Debug, PartialEq)]
pub(super) struct Ticks {
    /// Where they are, ascending.
    pub values: Vec<f64>,
    /// What is written there, one per value.
    pub labels: Vec<String>,
    /// Power of ten that the labels are in units of, such as −5 for 1e−5; 0 for none.
    pub exponent: i32,
}

/// Distances that ticks may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steps {
    /// 1, 2, 2.5 or 5 times a power of ten.
    Any,
    /// Those of them that are whole, for positions.
    Whole,
}

impl Ticks {
    /// At most about `most` ticks within `low..=high`.
    pub(super) fn new(low: f64, high: f64, most: u32, steps: Steps) -> Self {
        let step = round_step((high - low) / f64::from(most), steps);
        let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
        let values: Vec<f64> = (first..=last).map(|number| number as f64 * step).collect();
        let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let power = if largest > 0.0 { largest.log10().floor() as i32 } else { 0 };
        // As matplotlib: plain numbers from 1e−4 to under 1e6, others in units of a power of ten.
        let exponent = if (-4..6).contains(&power) { 0 } else { power };
        let unit = 10_f64.powi(exponent);
        // A step of far less than the values has no whole multiple at 0 decimals, though it is near 0.
        let is_shown = |step: f64| step.round() >= 1.0 && is_whole(step);
        let decimals = (0..17).find(|&decimals| is_shown(step / unit * 10_f64.powi(decimals))).unwrap_or(17) as usize;
        let labels = values.iter().map(|value| label(value / unit, decimals)).collect();
        Self { values, labels, exponent }
    }

    /// The power of ten as matplotlib writes it, if there is one.
    pub(super) fn power(&self) -> Option<String> {
        match self.exponent {
            0 => None,
            below @ ..0 => Some(format!("1e\u{2212}{}", -below)),
            above => Some(format!("1e{above}")),
        }
    }
}

/// The least of `steps` that is at least `step`.
fn round_step(step: f64, steps: Steps) -> f64 {
    let unit = 10_f64.powf(step.log10().floor());
    let is_allowed = |step: f64| steps == Steps::Any || is_whole(step);
    let mut larger =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * unit).into_iter().filter(|&larger| larger >= step * (1.0 - 1e-9));
    larger.find(|&larger| is_allowed(larger)).unwrap_or(1.0)
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6 * value.abs().max(1.0)
}

/// With a minus sign as wide as the digits.
fn label(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().any(|digit| matches!(digit, '1'..='9')) => format!("\u{2212}{digits}"),
        Some(digits) => digits.to_owned(),
        None => text,
    }
}

/// What is shown of `low..=high`: a twentieth more on both sides (matplotlib's margins), and never nothing.
pub(super) fn with_margins(low: f64, high: f64) -> (f64, f64) {
    let margin = if high > low { (high - low) * 0.05 } else { (low.abs() * 0.05).max(0.05) };
    (low - margin, high + margin)
}

/// Points of a line through `values`: all of them, or the least and the greatest of each of `columns` parts, in their order.
pub(super) fn extremes(values: &[f32], columns: usize) -> Vec<(f64, f64)> {
    let point = |at: usize| (at as f64, f64::from(values[at]));
    if values.len() <= 2 * columns {
        return (0..values.len()).map(point).collect();
    }
    let mut points = Vec::with_capacity(2 * columns);
    for column in 0..columns {
        let part = values.len() * column / columns..values.len() * (column + 1) / columns;
        let (mut least, mut greatest) = (part.start, part.start);
        for at in part {
            if values[at] < values[least] {
                least = at;
            }
            if values[at] > values[greatest] {
                greatest = at;
            }
        }
        points.push(point(least.min(greatest)));
        if least != greatest {
            points.push(point(least.max(greatest)));
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        #[track_caller]
        fn check((low, high): (f64, f64), steps: Steps, expected: &[&str], exponent: i32) {
            let ticks = Ticks::new(low, high, 8, steps);
            assert_eq!(
                (ticks.labels.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), ticks.exponent),
                (expected, exponent)
            );
        }
        check((-50.0, 1049.0), Steps::Whole, &["0", "200", "400", "600", "800", "1000"], 0);
        check((-0.049, 1.03), Steps::Any, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"], 0);
        check((-1.1, 1.1), Steps::Any, &["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5", "1.0"], 0);
        check((0.0, 0.000_02), Steps::Any, &["0.00", "0.25", "0.50", "0.75", "1.00", "1.25", "1.50", "1.75", "2.00"], -5);
        check((0.0, 6.6e6), Steps::Whole, &["0", "1", "2", "3", "4", "5", "6"], 6);
        check((-1.0, 20.0), Steps::Whole, &["0", "5", "10", "15", "20"], 0);
        check((-0.05, 1.05), Steps::Whole, &["0", "1"], 0);
        check((99.95, 100.05), Steps::Any, &["99.96", "99.98", "100.00", "100.02", "100.04"], 0);
    }

    #[test]
    fn a_flat_line_has_margins() {
        assert_eq!(with_margins(0.0, 0.0), (-0.05, 0.05));
        assert_eq!(with_margins(-100.0, -100.0), (-105.0, -95.0));
        assert_eq!(with_margins(0.0, 20.0), (-1.0, 21.0));
    }

    #[test]
    fn long_vectors_keep_their_extremes() {
        let mut values: Vec<f32> = (0..100_000).map(|at| (at % 7) as f32).collect();
        (values[12_345], values[54_321]) = (99.0, -99.0);
        let points = extremes(&values, 700);
        assert!(points.len() <= 1400);
        assert!(points.contains(&(12_345.0, 99.0)) && points.contains(&(54_321.0, -99.0)));
        assert!(points.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(extremes(&values[..5], 700), [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 4.0)]);
    }
}
