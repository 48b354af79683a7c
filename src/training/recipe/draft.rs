//! What a request says by itself: defaults filled in, ranges and combinations checked; no base and no data set needed.
//!
//! Looks nothing up.

use super::{
    optimizer::{self, Rule},
    preset::{PhaseDefaults, Preset},
    problem::{Choice, Problem, Problems, quoted, shown},
    request::{EarlyStoppingRequest, HeadRequest, LayerRef, MapPool, PhaseRequest, Request},
    resolved::{BatchNorm, CalibrationMethod, ClassWeighting, EarlyStopping, Monitor, Publish, StartFrom},
};
use crate::{
    message::excerpt,
    registry::{NAME_RULE, valid_name},
};

/// Largest batch.
const MAX_BATCH: i64 = 1024;

/// Most epochs of a phase.
const MAX_EPOCHS: i64 = 10_000;

/// Most phases.
pub(super) const MAX_PHASES: usize = 16;

/// Most hidden layers, and most units of one.
pub(super) const MAX_HIDDEN: (usize, i64) = (8, 65_536);

/// A request whose own numbers are in order, as far as its problems do not say otherwise.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) dataset: String,
    pub(super) name: String,
    pub(super) replace: bool,
    pub(super) publish: Publish,
    pub(super) preset: Preset,
    pub(super) head: HeadDraft,
    /// `None` for the default phases.
    pub(super) phases: Option<Vec<PhaseDraft>>,
    pub(super) batch_size: usize,
    pub(super) seed: u64,
    pub(super) validation_split: Option<f64>,
    pub(super) class_weighting: ClassWeighting,
    pub(super) early_stopping: Option<EarlyStopping>,
    pub(super) horizontal_flip: bool,
    pub(super) batch_norm: BatchNorm,
    pub(super) calibration: CalibrationMethod,
}

#[derive(Debug)]
pub(super) struct HeadDraft {
    pub(super) pool: MapPool,
    pub(super) hidden: Vec<usize>,
    pub(super) dropout: f64,
    pub(super) keep_fc: bool,
}

#[derive(Debug)]
pub(super) struct PhaseDraft {
    /// The first layer that trains; `None` for the head alone.
    pub(super) from: Option<LayerRef>,
    pub(super) start_from: StartFrom,
    pub(super) epochs: u64,
    pub(super) rule: Rule,
}

impl PhaseDraft {
    /// A phase that says only what it trains.
    pub(super) fn of_defaults(from: Option<LayerRef>, preset: Preset) -> Self {
        let PhaseDefaults { epochs, rule, start_from } = if from.is_none() { preset.head() } else { preset.top() };
        Self { from, start_from, epochs, rule }
    }
}

impl Draft {
    pub(super) fn of(request: &Request, problems: &mut Problems) -> Self {
        let name = required(problems, "name", request.name.as_deref());
        if !name.is_empty() && !valid_name(&name) {
            problems.add("name", format!("is `{}`; {NAME_RULE}", excerpt(&name)));
        }
        problems.0.extend(request.base_model().err());
        let preset = problems.choice("recipe", request.recipe.as_ref(), Preset::Default);
        Self {
            dataset: required(problems, "dataset", request.dataset.as_deref()),
            name,
            replace: request.replace.unwrap_or(false),
            publish: problems.choice("publish", request.publish.as_ref(), Publish::default()),
            preset,
            head: head(request.head.as_ref(), preset, problems),
            phases: request.phases.as_ref().map(|phases| all_phases(phases, preset, problems)),
            batch_size: problems.within("batch_size", request.batch_size, 32, 1..=MAX_BATCH) as usize,
            seed: problems.within("seed", request.seed, 0, 0..).unsigned_abs(),
            validation_split: request
                .validation_split
                .map(|share| problems.within("validation_split", Some(share), 0.0, 0.0..1.0)),
            class_weighting: problems.choice("class_weights", request.class_weights.as_ref(), ClassWeighting::None),
            early_stopping: request.early_stopping.as_ref().map(|stopping| early_stopping(stopping, problems)),
            horizontal_flip: request.horizontal_flip.unwrap_or(false),
            batch_norm: problems.choice("batch_norm", request.batch_norm.as_ref(), BatchNorm::Frozen),
            calibration: problems.choice("calibration", request.calibration.as_ref(), CalibrationMethod::Temperature),
        }
    }
}

impl Request {
    /// What is wrong with the request by itself, for a caller that has no base or no data set to resolve it against.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        Draft::of(self, &mut problems);
        super::preprocessing(self, None, &mut problems);
        problems.0
    }
}

fn required(problems: &mut Problems, field: &str, value: Option<&str>) -> String {
    let value = value.unwrap_or_default();
    if value.is_empty() {
        problems.add(field, "is missing; it is required");
    }
    value.to_owned()
}

fn head(request: Option<&HeadRequest>, preset: Preset, problems: &mut Problems) -> HeadDraft {
    // A head that is described has what it says and no more; a named optimizer likewise.
    let dropout = if request.is_none() { preset.dropout() } else { 0.0 };
    let none = HeadRequest::default();
    let request = request.unwrap_or(&none);
    let keep_fc = request.keep_fc.unwrap_or(false);
    if keep_fc && request.pool.is_some() {
        problems
            .add("head.pool", "does not go with `keep_fc`, below which the base flattens its maps itself; leave one of them out");
    }
    let (layers, units) = MAX_HIDDEN;
    let default = if keep_fc { Vec::new() } else { vec![1024] };
    let hidden = request.hidden.as_ref().map_or(default, |hidden| {
        if hidden.len() > layers {
            problems.add("head.hidden", format!("has {} layers; at most {layers} can be added", hidden.len()));
        }
        let checked = |(index, &width): (usize, &i64)| {
            problems.within(&format!("head.hidden[{index}]"), Some(width), 1, 1..=units) as usize
        };
        hidden.iter().take(layers).enumerate().map(checked).collect()
    });
    HeadDraft {
        pool: problems.choice("head.pool", request.pool.as_ref(), MapPool::Avg),
        hidden,
        dropout: problems.within("head.dropout", request.dropout, dropout, 0.0..1.0),
        keep_fc,
    }
}

fn early_stopping(request: &EarlyStoppingRequest, problems: &mut Problems) -> EarlyStopping {
    if request.patience.is_none() {
        problems.add("early_stopping.patience", "is missing; say after how many epochs without improvement a phase ends");
    }
    EarlyStopping {
        monitor: problems.choice("early_stopping.monitor", request.monitor.as_ref(), Monitor::ValLoss),
        patience: problems.within("early_stopping.patience", request.patience, 1, 1..=MAX_EPOCHS).unsigned_abs(),
        min_delta: problems.within("early_stopping.min_delta", request.min_delta, 0.0, 0.0..),
    }
}

fn all_phases(requests: &[PhaseRequest], preset: Preset, problems: &mut Problems) -> Vec<PhaseDraft> {
    if requests.is_empty() {
        problems.add("phases", "is empty; leave it out for the default phases, or add one such as `{\"trainable\": \"head\"}`");
    }
    if requests.len() > MAX_PHASES {
        problems.add("phases", format!("has {} entries; at most {MAX_PHASES} are taken", requests.len()));
    }
    let phase = |(index, request): (usize, &PhaseRequest)| phase(&format!("phases[{index}]"), request, preset, problems);
    // What is beyond them is refused as a whole.
    requests.iter().take(MAX_PHASES).enumerate().map(phase).collect()
}

fn phase(field: &str, request: &PhaseRequest, preset: Preset, problems: &mut Problems) -> PhaseDraft {
    let both = "say either `\"trainable\": \"head\"` or `\"trainable_from\": LAYER` (a name or an index)";
    match (request.trainable.as_deref(), &request.trainable_from) {
        (Some(_), Some(_)) => problems.add(format!("{field}.trainable_from"), format!("does not go with `trainable`; {both}")),
        (None, None) => problems.add(format!("{field}.trainable"), format!("is missing; {both}")),
        (Some(word), None) if word != "head" => {
            problems.add(
                format!("{field}.trainable"),
                format!("is `{}`; use {}, or `trainable_from`", excerpt(word), quoted(&["head"])),
            );
        }
        _ => {}
    }
    let from = match &request.trainable_from {
        Some(Choice::Unknown(value)) => {
            problems.add(format!("{field}.trainable_from"), format!("is {}; use a layer's name or index", shown(value)));
            None
        }
        Some(Choice::Known(layer)) => Some(layer.clone()),
        None => None,
    };
    let default = PhaseDraft::of_defaults(from, preset);
    let start_from = problems.choice(&format!("{field}.start_from"), request.start_from.as_ref(), default.start_from);
    let epochs = default.epochs as i64;
    let epochs = problems.within(&format!("{field}.epochs"), request.epochs, epochs, 1..=MAX_EPOCHS).unsigned_abs();
    let mut rule = optimizer::rule(field, request, default.rule, problems);
    rule.l2 = problems.single(&format!("{field}.l2"), request.l2, 0.0, optimizer::NOT_NEGATIVE);
    PhaseDraft { from: default.from, start_from, epochs, rule }
}
