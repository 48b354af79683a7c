//! Everything that can go wrong between a request and its answer.

use crate::{
    message::{Listed, excerpt},
    preprocess::{ChannelOrder, ImageError, PreprocessingError},
    registry::known_model,
};

/// Why a request or a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model of that name.
    #[error("unknown model `{}`{}", excerpt(.name), models_hint(.name, .nearest, .known))]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// Names that come near.
        nearest: Vec<String>,
        /// Names there are.
        known: Listed,
    },
    /// The model has no such version.
    #[error("model `{name}` has no version {version}; it has {:#}", Listed::of(.available))]
    UnknownVersion {
        /// The model.
        name: String,
        /// What was asked for.
        version: u32,
        /// Versions there are, ascending.
        available: Vec<u32>,
    },
    /// The version that was chosen to answer is not there.
    #[error(
        "version {version} was chosen for model `{name}`, and is not there or not whole; it has {:#}: choose one \
         (`PUT /models/{name}/stable`), or take the choice back (`DELETE /models/{name}/stable`)",
        Listed::of(.available)
    )]
    ChoiceGone {
        /// The model.
        name: String,
        /// What was chosen.
        version: u32,
        /// Versions there are, ascending.
        available: Vec<u32>,
    },
    /// The model has no such layer.
    #[error("unknown layer `{}` for {model}{}", excerpt(.layer), layer_hint(.model, .holders, .nearest))]
    UnknownLayer {
        /// What was asked for.
        layer: String,
        /// The model.
        model: String,
        /// Models that have it.
        holders: Listed,
        /// Names that come near.
        nearest: Vec<String>,
    },
    /// Pooling of a layer that has no positions to pool over.
    #[error(
        "layer `{layer}` of {model} has shape {shape:?} and is no map, so `pool` cannot be applied; ask for it without `pool`, or \
         for a map or tokens (`GET /models/{model}/layers` says which layers are)"
    )]
    NotPoolable {
        /// The layer.
        layer: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The model.
        model: String,
    },
    /// An order of channels that the model's input does not have.
    #[error("{model} takes images of {channels} channel{}, which `channel_order={order}` does not give; leave it out", if *.channels == 1 { " (grey)" } else { "s" })]
    Channels {
        /// The model.
        model: String,
        /// Channels of its input.
        channels: usize,
        /// What was asked for.
        order: ChannelOrder,
    },
    /// Overrides that the model's input does not take.
    #[error("{model} cannot be asked so: {problem}")]
    Preprocessing {
        /// The model.
        model: String,
        /// Why not.
        problem: PreprocessingError,
    },
    /// No class asked for.
    #[error("`top_k` is 0; ask for 1 to {classes} classes of {model}, or leave it out")]
    TopK {
        /// The model.
        model: String,
        /// How many classes it has.
        classes: usize,
    },
    /// Classes asked of a model without a top.
    #[error("{model} has no classes (it was imported without its top); ask for features instead")]
    NoClasses {
        /// The model.
        model: String,
    },
    /// Images that cannot be used, by position.
    #[error("{} of the images cannot be used", .0.len())]
    BadImages(Vec<(usize, ImageError)>),
    /// A layer's output holds NaN or infinity.
    #[error("layer `{layer}` of image `{image}` holds NaN or infinity{}", if *.float16 { " in float16; ask for `dtype=float32`" } else { "" })]
    NotFinite {
        /// The layer.
        layer: String,
        /// The image's position.
        image: usize,
        /// Whether the value was finite before it became float16.
        float16: bool,
    },
    /// Untrained weights, which this configuration does not serve.
    #[error(
        "{model} has untrained weights (`pretrained: false`) and `models.allow_untrained` is false; import trained weights with `graft pull` or `graft import`"
    )]
    Untrained {
        /// The model.
        model: String,
    },
    /// More images wait than the queue holds, of all clients or of one.
    #[error(
        "the queue of {model} is full ({capacity} images{} wait); try again shortly",
        if *.of_client { " of this client, its share (`server.max_client_percent`)," } else { "" }
    )]
    QueueFull {
        /// The model.
        model: String,
        /// Images that may wait.
        capacity: usize,
        /// Whether it is one client's share that is full.
        of_client: bool,
    },
    /// More pixels than one request may have.
    #[error("the images have {pixels} pixels together, more than {limit} (`server.max_request_pixels`); split the request")]
    TooManyPixels {
        /// Sum over the images' headers.
        pixels: u64,
        /// The bound.
        limit: u64,
    },
    /// No memory for the images as the model takes them.
    #[error(
        "graft is holding as many bytes of requests, images and answers as it may{}; try again shortly",
        if *.of_client { " of one client (`server.max_client_percent`)" } else { " (`server.max_buffered_bytes`)" }
    )]
    Busy {
        /// Whether it is one client's share that is full.
        of_client: bool,
    },
    /// Images that take more memory together, as the model takes them, than one client may have.
    #[error(
        "the images take {bytes} bytes as {model} takes them, more than the {limit} that one client may have of `server.max_buffered_bytes`; send \
         fewer at once"
    )]
    LargeInput {
        /// The model.
        model: String,
        /// Bytes of all of them.
        bytes: u64,
        /// The bound.
        limit: u64,
    },
    /// Images that take long to decode wait for as long a time as may.
    #[error(
        "as many images that take long to decode as may wait{} are at hand; try again shortly, or send smaller ones",
        if *.of_client { ", of one client (`server.max_client_percent`)," } else { "" }
    )]
    HeavyImages {
        /// Whether it is one client's share that is full.
        of_client: bool,
    },
    /// Images that take longer to decode than those of one request may together.
    #[error("decoding the request's images visits {samples} samples, and {limit} are allowed for large ones; send fewer at once")]
    HeavyRequest {
        /// Sum over those that are large.
        samples: u64,
        /// The bound.
        limit: u64,
    },
    /// No answer in time.
    #[error("no answer within {ms} ms (`server.request_timeout_ms`); send fewer images or try again")]
    Late {
        /// The bound in milliseconds.
        ms: u128,
    },
    /// The model alone is larger than the bound on loaded weights.
    #[error("{model} needs {bytes} bytes, but `models.max_loaded_bytes` leaves {bound} beside the models that must stay")]
    TooLargeToLoad {
        /// The model.
        model: String,
        /// Size of its weights.
        bytes: u64,
        /// What the bound leaves beside those that must stay.
        bound: u64,
    },
    /// The engine is shutting down.
    #[error("graft is shutting down")]
    ShuttingDown,
    /// Reading the repository failed, or a version in it is damaged.
    #[error("{}", repository(.0))]
    Registry(#[from] crate::registry::Error),
    /// The graph cannot be read or cut.
    #[error("the graph of {model} cannot be used")]
    Graph {
        /// The model.
        model: String,
        /// What is wrong.
        #[source]
        source: std::sync::Arc<crate::graph::Error>,
    },
    /// ONNX Runtime failed.
    #[error("ONNX Runtime failed on {model}")]
    Runtime {
        /// The model.
        model: String,
        /// What it said.
        #[source]
        source: std::sync::Arc<crate::runtime::Error>,
    },
    /// A worker thread cannot be started.
    #[error("cannot start a thread for {model}")]
    Thread {
        /// The model.
        model: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A failure that every image of a batch got.
    #[error(transparent)]
    Shared(std::sync::Arc<Error>),
    /// A worker thread died.
    #[error("the worker of {model} stopped unexpectedly")]
    WorkerGone {
        /// The model.
        model: String,
    },
}

fn hint(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", Listed::of(nearest)) }
}

fn layer_hint(model: &str, holders: &Listed, nearest: &[String]) -> String {
    let others = match holders.first() {
        [] => hint(nearest),
        [only] => format!("; `{only}` has it (`model={only}`)"),
        [first, ..] => format!("; {holders} have it: name one (`model={first}`)"),
    };
    format!("{others}; `GET /models/{model}/layers` and `graft layers {model}` list its layers")
}

fn models_hint(name: &str, nearest: &[String], known: &Listed) -> String {
    match (nearest, known.count()) {
        ([], 0) => "; the repository has no model yet; add one with `graft pull` or `graft import`".to_owned(),
        _ if known_model(name).is_some() => format!("; `graft pull {name}` downloads it"),
        ([], _) => format!("; there are {known}"),
        (nearest, _) => hint(nearest),
    }
}

/// What is said of the repository's `error`: damage in full, the rest to the log.
fn repository(error: &crate::registry::Error) -> String {
    match error {
        crate::registry::Error::Damaged { .. } => error.to_string(),
        _ => "cannot read the model repository".to_owned(),
    }
}
