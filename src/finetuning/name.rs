//! What already stands under the name that a job gives its model.
//!
//! Decides what is refused before the job is accepted; what becomes of its result is decided when there is one.

use super::{Finetuner, publication::FEW};
use crate::{
    inference::{Needs, choose},
    message::{FieldProblem, Listed},
    registry::{Model, known_model, starter},
    training::recipe::{Choice, Publish, Request},
};

/// The name that a request gives the model that it makes.
pub(super) struct Name;

impl Name {
    /// What to know of the name before the job starts, which validates with as many images as `validation` says.
    ///
    /// # Errors
    /// A name of the catalogue; a model of that name with other labels, unless the request says that it is to be replaced; one
    /// whose chosen version cannot be read.
    pub(super) fn look_up(
        finetuner: &Finetuner,
        request: &Request,
        classes: &[String],
        validation: usize,
    ) -> Result<Vec<String>, FieldProblem> {
        let Some(name) = request.name.as_deref() else { return Ok(Vec::new()) };
        check_reserved(name)?;
        let mut warnings = Vec::new();
        // A repository that cannot be read is found out by what reads it next.
        let snapshot = finetuner.repository.scan().unwrap_or_default();
        if let Some(model) = snapshot.model(name) {
            if model.version(model.stable.version).is_none() {
                return Err(FieldProblem::new("name", unreadable(model)));
            }
            let replace = request.replace.unwrap_or(false);
            if !replace && !has_labels(model, classes) {
                return Err(FieldProblem::new("name", taken(model)));
            }
            warnings.push(of_existing(model, classes, request, validation));
        }
        if snapshot.model(name).is_none() && publish(request) == Publish::Never {
            warnings.push(format!("name: no model is called `{name}`, so the new one answers under it, whatever `publish` says"));
        }
        let default = finetuner.engine.configured_default();
        if name == default || Some(name) == starter() {
            warnings.push(format!("name: `{name}` answers requests that name no model (`models.default`)"));
        } else if !choose(&snapshot, default, Needs::CLASSES, |_| false).is_ok_and(|choice| choice.version.metadata.pretrained) {
            warnings.push(format!(
                "name: no other model is trained: `{name}` will answer requests that name no model, until `models.default` is trained"
            ));
        }
        Ok(warnings)
    }
}

/// Refuses a name of the catalogue.
pub(super) fn check_reserved(name: &str) -> Result<(), FieldProblem> {
    let Some(known) = reserved(name) else { return Ok(()) };
    let detail =
        format!("is `{name}`, which is kept for weights of {known} as they are published; choose another, such as `my_{name}`");
    Err(FieldProblem::new("name", detail))
}

/// The known model whose weights, with or without a top, are called `name`.
fn reserved(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let own = name.strip_suffix("_notop").unwrap_or(&name);
    known_model(own).map(|known| known.name)
}

/// Whether the stable version of `model` has exactly the labels `classes`, in that order.
pub(super) fn has_labels(model: &Model, classes: &[String]) -> bool {
    let stable = model.version(model.stable.version);
    stable.is_some_and(|version| version.metadata.labels.iter().map(|label| &label.label).eq(classes))
}

/// What is chosen and not there has no labels to keep to.
fn unreadable(model: &Model) -> String {
    let (name, chosen) = (&model.name, model.stable.version);
    format!(
        "is `{name}`, for which version {chosen} was chosen, which is not there or not whole; choose another \
         (`PUT /models/{name}/stable`) or take the choice back (`DELETE /models/{name}/stable`) first"
    )
}

fn taken(model: &Model) -> String {
    let labels = model.version(model.stable.version).map(|version| &version.metadata.labels);
    let labels = Listed::of(labels.into_iter().flatten().map(|label| &label.label));
    format!(
        "is `{}`, a model with other labels ({labels:#}); choose another name, or say `\"replace\": true` (`--replace`) to let its users get the \
         new ones",
        model.name
    )
}

/// What happens to a name that exists.
fn of_existing(model: &Model, classes: &[String], request: &Request, validation: usize) -> String {
    let (name, stable) = (&model.name, model.stable.version);
    let then = match (publish(request), has_labels(model, classes)) {
        _ if model.stable.pinned => {
            format!("version {stable} is pinned and goes on answering; `DELETE /models/{name}/stable` ends that")
        }
        (Publish::Never, _) => format!("version {stable} goes on answering (`publish`)"),
        (Publish::Always, _) => "the new version will answer in its place (`publish`)".to_owned(),
        (Publish::IfBetter, true) if validation == 0 => {
            format!("version {stable} goes on answering, as no validation image tells which is better (`publish`)")
        }
        (Publish::IfBetter, true) => {
            format!(
                "the new version answers in its place unless it is worse on validation images than version {stable}, of which it takes \
                 {FEW} to tell (`publish`)"
            )
        }
        (Publish::IfBetter, false) => "the new version will answer in its place, with other labels (`replace`)".to_owned(),
    };
    format!("name: `{name}` exists; {then}")
}

fn publish(request: &Request) -> Publish {
    match &request.publish {
        Some(Choice::Known(publish)) => *publish,
        _ => Publish::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_catalogue_are_kept() {
        let check = |name: &str, expected| assert_eq!(reserved(name), expected, "{name}");
        check("vgg16", Some("vgg16"));
        check("inception_v3_notop", Some("inception_v3"));
        check("VGG16_NoTop", Some("vgg16"));
        check("my_vgg16", None);
        check("_notop", None);
    }
}
