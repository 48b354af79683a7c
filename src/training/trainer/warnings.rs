//! What a user should know of how a run went: learning rates that do not train, and an accuracy that says nothing.
//!
//! Judges losses and counts of a run that did not fail; knows neither weights nor images.

use super::progress::best;
use crate::training::{
    event::EpochMetrics,
    recipe::{Phase, Recipe, StartFrom},
    report::ClassificationReport,
};

/// By what part of the loss of guessing a training loss must rise to count: less is noise.
const NOTICEABLE: f64 = 0.1;

/// All that is to say of a run of `recipe` with these epochs, whose best one `report` is on.
pub(super) fn of_run(recipe: &Recipe, history: &[EpochMetrics], report: &ClassificationReport) -> Vec<String> {
    let phases = (0..recipe.phases.len()).filter_map(|phase| of_phase(recipe, history, phase));
    recipe.validation.warning().into_iter().chain(phases).chain(of_report(report)).collect()
}

/// What is to say of the learning rate of the phase `number`, from 0, when all its epochs are in `history`.
pub(super) fn of_phase(recipe: &Recipe, history: &[EpochMetrics], number: usize) -> Option<String> {
    let phase = &recipe.phases[number];
    let first = history.iter().position(|epoch| epoch.phase == number)?;
    let losses: Vec<f64> = history[first..].iter().take_while(|epoch| epoch.phase == number).map(|epoch| epoch.loss).collect();
    let (from, to) = (*losses.first()?, *losses.last()?);
    let guessing = (recipe.classes.len().max(2) as f64).ln();
    let (rate, lower) = (phase.learning_rate.initial, phase.learning_rate.lower());
    let name = number + 1;
    if to - from > NOTICEABLE * guessing && losses.is_sorted() {
        return Some(format!(
            "phase {name}: the training loss only rises, from {from:.3} to {to:.3}: the learning rate of {rate} is too high; try {lower}"
        ));
    }
    // With a penalty the loss is more than the cross-entropy.
    if phase.l2 == 0.0 && losses.iter().all(|&loss| loss > guessing) {
        let falls = losses.len() > 1 && losses.is_sorted_by(|earlier, later| earlier >= later) && to < from;
        let way_out = match falls {
            true if from - to < NOTICEABLE * guessing => {
                format!("it hardly moves: try a learning rate that is higher than {rate}, or more epochs")
            }
            true => format!("it still falls: train for more epochs, or try a learning rate of {lower} instead of {rate}"),
            false => format!("try a learning rate of {lower} instead of {rate}, or more epochs"),
        };
        return Some(format!(
            "phase {name}: the training loss stays above that of guessing among {} classes, {guessing:.3}, and ends at {to:.3}; {way_out}",
            recipe.classes.len()
        ));
    }
    let start = start(phase, &history[..first])?;
    let is_worse = losses.iter().all(|loss| loss - history[start].loss > NOTICEABLE * guessing);
    (is_worse && best(&history[..first + losses.len()])? < first).then(|| {
        let EpochMetrics { phase, epoch, loss, .. } = history[start];
        format!(
            "phase {name}: none of its epochs is better than those before, and the training loss stays above the {loss:.3} of \
             epoch {} of phase {}, where it starts: the learning rate of {rate} is too high; try {lower}, or leave the phase out",
            epoch + 1,
            phase + 1
        )
    })
}

/// What is to say of the accuracy of the best epoch.
pub(super) fn of_report(report: &ClassificationReport) -> Option<String> {
    let (accuracy, commonest) = (report.accuracy?, report.classes.iter().max_by_key(|class| class.images)?);
    // Of one class alone nothing is better than its name.
    (report.correct <= commonest.images && commonest.images < report.images).then(|| {
        format!(
            "the accuracy on the validation images, {accuracy:.4}, is no better than always naming their commonest class, `{}`, \
             which gives {:.4}; look at the worst photos and their labels, or train longer or at another learning rate",
            commonest.name,
            commonest.images as f64 / report.images as f64
        )
    })
}

/// The position of the epoch whose weights `phase` starts from, of those before it; `None` in the first phase.
fn start(phase: &Phase, before: &[EpochMetrics]) -> Option<usize> {
    match phase.start_from {
        StartFrom::Best => best(before),
        StartFrom::Last => before.len().checked_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::training::{fixture::resolved_with, report::Tally};

    /// Epochs of phases with these training losses and validation accuracies.
    fn history(phases: &[&[(f64, f64)]]) -> Vec<EpochMetrics> {
        let epochs = phases.iter().enumerate().flat_map(|(phase, epochs)| (0..).zip(*epochs).map(move |epoch| (phase, epoch)));
        let metrics = |(phase, (epoch, &(loss, val_accuracy)))| EpochMetrics {
            phase,
            epoch,
            loss,
            accuracy: 0.5,
            val_loss: Some(0.5),
            val_accuracy: Some(val_accuracy),
            images_per_second: 1.0,
        };
        epochs.map(metrics).collect()
    }

    /// Checks what is said of the last of `epochs`' phases; `fields` are those of every phase.
    #[track_caller]
    fn check(fields: Value, epochs: &[&[(f64, f64)]], expected: Option<&str>) {
        let phase = |_| {
            let mut phase = json!({"trainable": "head", "optimizer": {"type": "sgd", "learning_rate": 0.05}});
            phase.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
            phase
        };
        let phases: Vec<Value> = epochs.iter().map(phase).collect();
        let recipe = resolved_with(json!({"phases": phases}));
        assert_eq!(of_phase(&recipe, &history(epochs), epochs.len() - 1).as_deref(), expected);
    }

    #[test]
    fn rates_that_only_diverge_are_told_with_one_to_try() {
        let good: &[(f64, f64)] = &[(0.6, 0.8), (0.3, 0.9), (0.5, 0.7)];
        check(json!({}), &[good], None);
        check(
            json!({}),
            &[&[(0.3, 0.6), (0.5, 0.5)]],
            Some("phase 1: the training loss only rises, from 0.300 to 0.500: the learning rate of 0.05 is too high; try 0.001"),
        );
        check(json!({}), &[&[(0.0006, 0.9), (0.0007, 0.9)]], None);
        check(
            json!({"optimizer": {"type": "adam", "learning_rate": 0.0005}}),
            &[&[(0.8, 0.6), (0.9, 0.5), (0.8, 0.5)]],
            Some(
                "phase 1: the training loss stays above that of guessing among 2 classes, 0.693, and ends at 0.800; try a learning \
                 rate of 0.00005 instead of 0.0005, or more epochs",
            ),
        );
        check(
            json!({}),
            &[&[(1.8, 0.6), (0.9, 0.5)]],
            Some(
                "phase 1: the training loss stays above that of guessing among 2 classes, 0.693, and ends at 0.900; it still \
                 falls: train for more epochs, or try a learning rate of 0.001 instead of 0.05",
            ),
        );
        let ends = |losses: &[(f64, f64)], way_out: &str| {
            let said = "phase 1: the training loss stays above that of guessing among 2 classes, 0.693, and ends at";
            check(json!({}), &[losses], Some(&format!("{said} {:.3}; {way_out}", losses[losses.len() - 1].0)));
        };
        ends(&[(9.0, 0.6), (0.7, 0.5), (0.8, 0.5)], "try a learning rate of 0.001 instead of 0.05, or more epochs");
        ends(&[(0.71, 0.6), (0.7, 0.5)], "it hardly moves: try a learning rate that is higher than 0.05, or more epochs");
        check(json!({"l2": 0.1}), &[&[(1.8, 0.6), (0.9, 0.5)]], None);
    }

    #[test]
    fn a_phase_that_only_does_damage_is_told() {
        let head: &[(f64, f64)] = &[(0.6, 0.8), (0.2, 0.9), (0.4, 0.7)];
        let damage = |start: &str| {
            format!(
                "phase 2: none of its epochs is better than those before, and the training loss stays above the {start} of phase 1, \
                 where it starts: the learning rate of 0.05 is too high; try 0.001, or leave the phase out"
            )
        };
        check(json!({}), &[head, &[(0.5, 0.8), (0.45, 0.8)]], Some(&damage("0.200 of epoch 2")));
        check(json!({"start_from": "last"}), &[head, &[(0.6, 0.8), (0.55, 0.8)]], Some(&damage("0.400 of epoch 3")));
        check(json!({}), &[head, &[(0.5, 0.8), (0.45, 0.95)]], None);
        check(json!({}), &[head, &[(0.5, 0.8), (0.1, 0.8)]], None);
    }

    #[test]
    fn an_accuracy_of_the_commonest_class_is_told() {
        let classes = ["ants".to_owned(), "bees".to_owned()];
        let said = |right: usize| {
            let mut tally = Tally::new(&classes, 0);
            for image in 0..10 {
                let probabilities = if image < right { [0.1, 0.9] } else { [0.9, 0.1] };
                tally.add("photo", usize::from(image < 6), &probabilities);
            }
            of_report(&tally.finish())
        };
        // The first six are bees; so many are taken for bees.
        assert_eq!(said(7), None, "nine of ten");
        assert_eq!(
            said(10).as_deref(),
            Some(
                "the accuracy on the validation images, 0.6000, is no better than always naming their commonest class, `bees`, which \
                 gives 0.6000; look at the worst photos and their labels, or train longer or at another learning rate"
            )
        );
        assert!(said(1).is_some(), "five of ten");
        let mut alone = Tally::new(&classes, 0);
        for _ in 0..3 {
            alone.add("photo", 1, &[0.1, 0.9]);
        }
        assert_eq!(of_report(&alone.finish()), None, "of one class nothing is better than its name");
        assert_eq!(of_report(&Tally::new(&classes, 0).finish()), None, "nothing was measured");
    }
}
