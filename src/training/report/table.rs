//! A report as text, for terminals and logs.
//!
//! Computes nothing.

use std::fmt;

use super::{ClassReport, ClassificationReport};

/// Classes up to which all are shown, and the confusion matrix.
const SHOWN_CLASSES: usize = 20;

impl fmt::Display for ClassificationReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, correct, accuracy_interval: [low, high], .. } = self;
        let (Some(accuracy), Some(loss)) = (self.accuracy, self.loss) else {
            return writeln!(out, "no images to measure on");
        };
        write!(out, "accuracy {accuracy:.4} (95% {low:.4} to {high:.4}), {correct} of {images} images")?;
        if let Some(top_5) = self.top_5_accuracy {
            write!(out, "; top-5 accuracy {top_5:.4}")?;
        }
        write!(out, "; loss {loss:.4}")?;
        if let Some(error) = self.calibration_error {
            write!(out, "; calibration error {error:.4}")?;
        }
        writeln!(out)?;
        if let Some(novel) = self.novel {
            let share = 100.0 * novel as f64 / (*images).max(1) as f64;
            writeln!(out, "{novel} of {images} images ({share:.1} %) are novel: unlike those that the model was trained on")?;
        }
        let shown = self.shown();
        self.write_classes(out, &shown)?;
        if shown.len() <= SHOWN_CLASSES {
            self.write_confusion(out, &shown)?;
        } else {
            let place = if self.confusion.is_empty() { "" } else { "; it is in the report as JSON" };
            writeln!(out, "\nthe confusion matrix of {} classes is too large to show{place}", shown.len())?;
        }
        self.write_worst(out)
    }
}

impl ClassificationReport {
    /// Indices of the classes that are shown: all when they are few, otherwise those that have images or were taken for one's.
    fn shown(&self) -> Vec<usize> {
        let few = self.classes.len() <= SHOWN_CLASSES;
        let matters = |class: &ClassReport| few || class.images > 0 || class.precision.is_some();
        self.classes.iter().enumerate().filter(|(_, class)| matters(class)).map(|(index, _)| index).collect()
    }

    fn width(&self, shown: &[usize]) -> usize {
        let names = shown.iter().map(|&class| self.classes[class].name.chars().count());
        names.max().unwrap_or(0).max("class".len())
    }

    fn write_classes(&self, out: &mut fmt::Formatter<'_>, shown: &[usize]) -> fmt::Result {
        let width = self.width(shown);
        writeln!(out, "\n{:width$}  {:>7}  {:>9}  {:>6}", "class", "images", "precision", "recall")?;
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.4}"));
        for &class in shown {
            let ClassReport { name, images, precision, recall } = &self.classes[class];
            writeln!(out, "{name:width$}  {images:>7}  {:>9}  {:>6}", rate(*precision), rate(*recall))?;
        }
        Ok(())
    }

    /// Rows are true classes, columns the most probable ones, in the same order.
    fn write_confusion(&self, out: &mut fmt::Formatter<'_>, shown: &[usize]) -> fmt::Result {
        let (width, cells) = (self.width(shown), self.confusion.iter().flatten());
        let cell = cells.map(|count| count.to_string().len()).max().unwrap_or(1).max(3);
        write!(out, "\n{:width$}", "true")?;
        for column in 0..shown.len() {
            write!(out, "  {column:>cell$}")?;
        }
        writeln!(out, "   (columns: predicted class by row)")?;
        for &class in shown {
            write!(out, "{:width$}", self.classes[class].name)?;
            for &predicted in shown {
                write!(out, "  {:>cell$}", self.confusion[class][predicted])?;
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
accuracy 0.5000 (95% 0.0945 to 0.9055), 1 of 2 images; loss 0.8370; calibration error 0.3750

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

    #[test]
    fn of_many_classes_those_that_matter_are_shown() {
        let names: Vec<String> = (0..30).map(|class| format!("class_{class}")).collect();
        let mut tally = Tally::new(&names, 0);
        let probabilities = |best: usize| (0..30).map(|class| if class == best { 0.5 } else { 0.0 }).collect::<Vec<f32>>();
        tally.add("a", 7, &probabilities(7));
        tally.add("b", 7, &probabilities(25));
        let expected = "\
accuracy 0.5000 (95% 0.0945 to 0.9055), 1 of 2 images; top-5 accuracy 0.5000; loss 8.4056; calibration error 0.0000

class      images  precision  recall
class_7         2     1.0000  0.5000
class_25        0     0.0000       -

true        0    1   (columns: predicted class by row)
class_7     1    1
class_25    0    0
";
        assert_eq!(tally.clone().finish().to_string(), expected);
        for class in 0..21 {
            tally.add("c", class, &probabilities(class));
        }
        let text = tally.finish().to_string();
        assert!(
            text.ends_with("\n\nthe confusion matrix of 22 classes is too large to show; it is in the report as JSON\n"),
            "{text}"
        );
    }
}
