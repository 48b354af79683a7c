//! A report as text, for terminals and logs.
//!
//! Computes nothing.

use std::fmt;

use super::{ClassReport, Report};

/// Classes up to which the confusion matrix is shown whole.
const SHOWN_CLASSES: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, correct, accuracy, accuracy_interval: [low, high], loss, .. } = self;
        writeln!(out, "accuracy {accuracy:.4} (95% {low:.4} to {high:.4}), {correct} of {images} images; loss {loss:.4}")?;
        self.write_classes(out)?;
        if self.classes.len() <= SHOWN_CLASSES {
            self.write_confusion(out)?;
        }
        self.write_worst(out)
    }
}

impl Report {
    fn width(&self) -> usize {
        self.classes.iter().map(|class| class.name.chars().count()).max().unwrap_or(0).max("class".len())
    }

    fn write_classes(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.width();
        writeln!(out, "\n{:width$}  {:>7}  {:>9}  {:>6}", "class", "images", "precision", "recall")?;
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.4}"));
        for ClassReport { name, images, precision, recall } in &self.classes {
            writeln!(out, "{name:width$}  {images:>7}  {:>9}  {:>6}", rate(*precision), rate(*recall))?;
        }
        Ok(())
    }

    /// Rows are true classes, columns the most probable ones, by index.
    fn write_confusion(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, cells) = (self.width(), self.confusion.iter().flatten());
        let cell = cells.map(|count| count.to_string().len()).max().unwrap_or(1).max(3);
        write!(out, "\n{:width$}", "true")?;
        for column in 0..self.classes.len() {
            write!(out, "  {column:>cell$}")?;
        }
        writeln!(out, "   (columns: predicted class by row)")?;
        for (class, row) in self.classes.iter().zip(&self.confusion) {
            write!(out, "{:width$}", class.name)?;
            for count in row {
                write!(out, "  {count:>cell$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_worst(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.worst.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nleast sure of the right class:")?;
        for worst in &self.worst {
            let (truth, predicted) = (&worst.truth, &worst.predicted);
            writeln!(
                out,
                "  {}: {truth} {:.4}, predicted {predicted} {:.4}",
                worst.path, worst.truth_probability, worst.probability
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::training::report::Tally;

    #[test]
    fn the_table_has_every_part() {
        let names = ["ants".to_owned(), "bees".to_owned(), "wasps".to_owned()];
        let mut tally = Tally::new(&names, 1);
        tally.add("val/ants/1.jpg", 0, &[0.75, 0.25, 0.0]);
        tally.add("val/bees/2.jpg", 1, &[0.5, 0.25, 0.25]);
        let expected = "\
accuracy 0.5000 (95% 0.0945 to 0.9055), 1 of 2 images; loss 0.8370

class   images  precision  recall
ants         1     0.5000  1.0000
bees         1          -  0.0000
wasps        0          -       -

true     0    1    2   (columns: predicted class by row)
ants     1    0    0
bees     1    0    0
wasps    0    0    0

least sure of the right class:
  val/bees/2.jpg: bees 0.2500, predicted ants 0.5000
";
        assert_eq!(tally.finish().to_string(), expected);
    }
}
