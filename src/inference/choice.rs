//! Which model answers a request that names none, and what the answer says of it.
//!
//! One rule for HTTP, jobs and command line: the configured default if it is trained, else a trained model, else an untrained
//! one; a layer that the model so chosen does not have is looked for in the others.

use std::{collections::HashSet, fmt};

use super::Error;
use crate::{
    message::Listed,
    registry::{Metadata, Model, ModelVersion, Snapshot, starter},
};

/// The model that answers a request without one.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Its stable version.
    pub version: ModelVersion,
    /// Why it is not the configured default, if it is not.
    pub note: Option<Note>,
}

/// Something about the model that answers which whoever asks should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The configured default is not trained, not there, or cannot be used.
    NotTheDefault {
        /// The configured default.
        default: String,
        /// What is wrong with it.
        fault: DefaultFault,
        /// Who answers.
        model: String,
    },
    /// The model that would answer does not have the layer.
    LayerElsewhere {
        /// Who would answer.
        without: String,
        /// The layer.
        layer: String,
        /// Who answers.
        model: String,
    },
    /// The weights are untrained.
    Untrained {
        /// Who answers.
        model: String,
        /// A model that is trained.
        trained: Option<String>,
        /// Whether it could answer the same.
        alike: bool,
    },
    /// The version is read otherwise than an earlier graft published it.
    Corrected {
        /// Who answers.
        model: String,
        /// What is read otherwise, and what to do.
        correction: String,
    },
    /// More classes are asked for than there are.
    FewerClasses {
        /// Who answers.
        model: String,
        /// How many are asked for.
        top_k: usize,
        /// How many there are.
        classes: usize,
    },
}

/// Why the configured default does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultFault {
    /// The repository does not hold it.
    Absent,
    /// Its weights are untrained.
    Untrained,
    /// It cannot be loaded, or has no classes where classes are asked for.
    Unusable,
}

/// What a request without a model needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs<'a> {
    /// Whether it asks for classes.
    pub classes: bool,
    /// The layers that it asks for.
    pub layers: &'a [String],
}

impl Needs<'_> {
    /// What `/predict` needs, and with it whoever asks which model answers.
    pub const CLASSES: Self = Self { classes: true, layers: &[] };
}

/// Chooses among the stable versions of `snapshot`; what `broken` says cannot be loaded comes last.
///
/// # Errors
/// [`Error::UnknownModel`] for an empty repository, [`Error::UnknownLayer`] for a layer that several models have, or none.
pub fn choose(
    snapshot: &Snapshot,
    default: &str,
    needs: Needs<'_>,
    broken: impl Fn(&ModelVersion) -> bool,
) -> Result<Choice, Error> {
    let ranked = ranked(snapshot, default, needs, broken);
    let first = ranked.first().ok_or_else(|| super::find::unknown_model(snapshot, default))?;
    let found = first.metadata.find_layers(needs.layers);
    let Some((missing, _)) = needs.layers.iter().zip(found).find(|(_, found)| found.is_none()) else {
        return Ok(Choice { note: not_the_default(snapshot, default, first), version: (*first).clone() });
    };
    let names = names(needs.layers);
    let holders: Vec<&ModelVersion> = ranked.iter().filter(|version| has_layers(version, &names)).copied().collect();
    let alike = |version: &ModelVersion| {
        let Metadata { pretrained, lineage, output, .. } = &*version.metadata;
        (*pretrained, lineage.is_some(), output.is_some())
    };
    let version = match holders.as_slice() {
        [only] => Some(only),
        [best, next, ..] if best.metadata.name == default || alike(best) != alike(next) => Some(best),
        _ => None,
    };
    let Some(&version) = version else { return Err(unknown_layer(snapshot, &first.metadata, missing, needs.layers)) };
    let [without, model] = [first, version].map(|version| version.metadata.name.clone());
    Ok(Choice { version: version.clone(), note: Some(Note::LayerElsewhere { without, layer: missing.clone(), model }) })
}

/// The note for an answer of `metadata`, if its weights are untrained.
pub(super) fn untrained(snapshot: &Snapshot, default: &str, metadata: &Metadata, needs: Needs<'_>) -> Option<Note> {
    if metadata.pretrained {
        return None;
    }
    let ranked = ranked(snapshot, default, needs, |_| false);
    let trained = || ranked.iter().filter(|version| version.metadata.pretrained);
    let names = names(needs.layers);
    let alike = trained().find(|version| has_layers(version, &names));
    let named = alike.or_else(|| trained().next()).map(|version| version.metadata.name.clone());
    Some(Note::Untrained { model: metadata.name.clone(), trained: named, alike: alike.is_some() })
}

/// That `metadata`'s model has no layer `wanted`, with the models that have all `layers`, or at least that one.
pub(super) fn unknown_layer(snapshot: &Snapshot, metadata: &Metadata, wanted: &str, layers: &[String]) -> Error {
    let holders = |names: &HashSet<&str>| {
        let holds = |model: &&Model| stable(model).is_some_and(|version| has_layers(version, names));
        Listed::of(snapshot.models.iter().filter(holds).map(|model| &model.name))
    };
    let of_all = holders(&names(layers));
    Error::UnknownLayer {
        layer: wanted.to_owned(),
        model: metadata.name.clone(),
        holders: if of_all.count() > 0 { of_all } else { holders(&HashSet::from([wanted])) },
        nearest: crate::registry::nearest(wanted, metadata.layers.iter().map(|layer| layer.name.as_str())),
    }
}

/// Whether a model that was not asked for has layers of all `names`: an index means nothing in another network.
fn has_layers(version: &ModelVersion, names: &HashSet<&str>) -> bool {
    // No two of its layers have one name.
    version.metadata.layers.iter().filter(|layer| names.contains(layer.name.as_str())).count() == names.len()
}

fn names(layers: &[String]) -> HashSet<&str> {
    layers.iter().map(String::as_str).collect()
}

/// Stable versions that can answer, best first: the default, the starter, then what was brought before what jobs made, by name.
fn ranked<'a>(
    snapshot: &'a Snapshot,
    default: &str,
    needs: Needs<'_>,
    broken: impl Fn(&ModelVersion) -> bool,
) -> Vec<&'a ModelVersion> {
    let mut versions: Vec<&ModelVersion> = snapshot.models.iter().filter_map(stable).collect();
    let has_classes = |version: &ModelVersion| version.metadata.output.is_some();
    if needs.classes && versions.iter().any(|version| has_classes(version)) {
        versions.retain(|version| has_classes(version));
    }
    versions.sort_by_cached_key(|version| {
        let Metadata { name, pretrained, lineage, .. } = &*version.metadata;
        let is_starter = starter() == Some(name.as_str());
        let is_default = name == default;
        (broken(version), !pretrained, !is_default, !is_starter, lineage.is_some(), !has_classes(version), name.clone())
    });
    versions
}

fn stable(model: &Model) -> Option<&ModelVersion> {
    model.version(model.stable.version)
}

fn not_the_default(snapshot: &Snapshot, default: &str, chosen: &ModelVersion) -> Option<Note> {
    let fault = match snapshot.model(default).and_then(stable) {
        _ if chosen.metadata.name == default => return None,
        None if snapshot.model(default).is_none() => DefaultFault::Absent,
        None => DefaultFault::Unusable,
        Some(version) if !version.metadata.pretrained => DefaultFault::Untrained,
        Some(_) => DefaultFault::Unusable,
    };
    Some(Note::NotTheDefault { default: default.to_owned(), fault, model: chosen.metadata.name.clone() })
}

impl Note {
    /// The note for an answer of `metadata`, if it is read otherwise than it was published.
    pub(super) fn corrected(metadata: &Metadata) -> Option<Self> {
        let correction = metadata.correction.clone()?;
        Some(Self::Corrected { model: metadata.name.clone(), correction })
    }

    /// As a program reads it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotTheDefault { .. } => "not_the_default",
            Self::LayerElsewhere { .. } => "layer_elsewhere",
            Self::Untrained { .. } => "untrained",
            Self::Corrected { .. } => "corrected",
            Self::FewerClasses { .. } => "fewer_classes",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTheDefault { default, fault, model } => {
                let fault = match fault {
                    DefaultFault::Absent => "is not there",
                    DefaultFault::Untrained => "has untrained weights",
                    DefaultFault::Unusable => "cannot answer this",
                };
                write!(f, "no model is named and the default `{default}` {fault}, so `{model}` is used (`models.default`)")
            }
            Self::LayerElsewhere { without, layer, model } => {
                write!(f, "no model is named and `{without}` has no layer `{layer}`, so `{model}` is used")
            }
            Self::Corrected { model, correction } => write!(f, "`{model}`: {correction}"),
            Self::Untrained { model, trained, alike } => {
                write!(f, "the weights of `{model}` are untrained, so its answers mean nothing")?;
                match trained {
                    Some(trained) if *alike => write!(f, "; `{trained}` is trained (`model={trained}`)"),
                    Some(trained) => write!(f, "; `{trained}` is trained, with other layers"),
                    None => write!(f, "; `graft pull --list` shows trained ones"),
                }
            }
            Self::FewerClasses { model, top_k, classes } => {
                write!(f, "`top_k` is {top_k}, but `{model}` has {classes} classes; the answer has all of them")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Layer, Stable, testing};

    /// Models with marks (`-` untrained, `!` without classes, `+` fine-tuned) and layers.
    type Described<'a> = (&'a str, &'a str, &'a [&'a str]);

    fn snapshot(models: &[Described<'_>]) -> Snapshot {
        let model = |&(name, marks, layers): &Described<'_>| {
            let mut metadata = testing::metadata(name);
            metadata.pretrained = !marks.contains('-');
            metadata.lineage = marks.contains('+').then(testing::lineage);
            metadata.output = metadata.output.filter(|_| !marks.contains('!'));
            let layer = metadata.layers[0].clone();
            let named = |(index, name): (usize, &&str)| Layer { index, name: (*name).to_owned(), ..layer.clone() };
            metadata.layers = layers.iter().enumerate().map(named).collect();
            Model {
                name: name.to_owned(),
                stable: Stable { version: 1, pinned: false },
                versions: vec![testing::version(metadata)],
            }
        };
        Snapshot { models: models.iter().map(model).collect(), problems: Vec::new() }
    }

    #[track_caller]
    fn check(models: &[Described<'_>], needs: Needs<'_>, expected: &str) {
        let found = match choose(&snapshot(models), "vgg16", needs, |_| false) {
            Ok(Choice { version, note }) => {
                format!("{}{}", version.metadata.name, note.map_or_else(String::new, |note| format!(" {}", note.code())))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{models:?} {needs:?}");
    }

    #[test]
    fn the_default_answers_if_it_is_trained() {
        let any = Needs::default();
        let lite: Described<'_> = ("efficientnet_lite0", "", &["top_conv"]);
        check(&[lite, ("vgg16", "", &["fc2"])], any, "vgg16");
        check(&[lite, ("vgg16", "-", &["fc2"])], any, "efficientnet_lite0 not_the_default");
        check(&[("aaa", "", &["x"]), ("b", "", &["x"]), ("vgg16", "-", &["fc2"])], any, "aaa not_the_default");
        check(&[("aaa", "", &["x"]), lite], any, "efficientnet_lite0 not_the_default");
        check(&[("aaa", "+", &["x"]), ("b", "", &["x"])], any, "b not_the_default");
        check(&[("aaa", "-", &["x"]), ("vgg16", "-", &["fc2"])], any, "vgg16");
        check(&[("aaa", "-", &["x"])], any, "aaa not_the_default");
        check(&[], any, "unknown model `vgg16`; the repository has no model yet; add one with `graft pull` or `graft import`");
    }

    #[test]
    fn classes_come_from_a_model_that_has_some() {
        let models: [Described<'_>; 2] = [("inception_v3_notop", "!", &["mixed10"]), ("vgg16", "-", &["fc2"])];
        check(&models, Needs::CLASSES, "vgg16");
        check(&models, Needs::default(), "inception_v3_notop not_the_default");
    }

    #[test]
    fn a_layer_is_found_where_it_is() {
        let needs = |layers| Needs { classes: false, layers };
        let (fc2, both) = (["fc2".to_owned()], ["fc1".to_owned(), "fc2".to_owned()]);
        let lite: Described<'_> = ("efficientnet_lite0", "", &["top_conv"]);
        let vgg16: Described<'_> = ("vgg16", "-", &["fc1", "fc2"]);
        let lists = "`GET /models/efficientnet_lite0/layers` and `graft layers efficientnet_lite0` list its layers";
        check(&[lite, vgg16], needs(&fc2), "vgg16 layer_elsewhere");
        check(&[lite, vgg16], needs(&both), "vgg16 layer_elsewhere");
        check(&[lite, ("random", "-", &["fc1", "fc2"]), vgg16], needs(&fc2), "vgg16 layer_elsewhere");
        check(&[lite, ("mine", "", &["fc2"]), vgg16], needs(&fc2), "mine layer_elsewhere");
        check(&[lite, ("mine", "", &["fc2"]), ("job", "+", &["fc2"])], needs(&fc2), "mine layer_elsewhere");
        check(&[lite, ("mine", "", &["fc2"]), ("mine_notop", "!", &["fc2"])], needs(&fc2), "mine layer_elsewhere");
        check(&[lite, ("job", "+", &["fc2"]), ("mine_notop", "!", &["fc2"])], needs(&fc2), "mine_notop layer_elsewhere");
        check(
            &[lite, ("a", "", &["fc2"]), ("b", "", &["fc2"])],
            needs(&fc2),
            &format!("unknown layer `fc2` for efficientnet_lite0; `a`, `b` have it: name one (`model=a`); {lists}"),
        );
        check(&[lite], needs(&fc2), &format!("unknown layer `fc2` for efficientnet_lite0; {lists}"));
        let index = ["1".to_owned()];
        check(&[lite, vgg16], needs(&index), &format!("unknown layer `1` for efficientnet_lite0; {lists}"));
        check(&[vgg16], needs(&index), "vgg16");
        let last = ["-2".to_owned()];
        check(&[vgg16], needs(&last), "vgg16");
        let gone = ["fc2".to_owned(), "gone".to_owned()];
        let holder = "unknown layer `fc2` for efficientnet_lite0; `vgg16` has it (`model=vgg16`)";
        check(&[lite, vgg16], needs(&gone), &format!("{holder}; {lists}"));
    }

    #[test]
    fn what_cannot_be_loaded_comes_last() {
        let models = snapshot(&[("efficientnet_lite0", "", &["x"]), ("vgg16", "", &["x"])]);
        let broken = |version: &ModelVersion| version.metadata.name == "vgg16";
        let choice = choose(&models, "vgg16", Needs::default(), broken).expect("a model");
        assert_eq!(choice.version.metadata.name, "efficientnet_lite0");
        assert!(choice.note.expect("a note").to_string().contains("`vgg16` cannot answer this"));
    }
}
