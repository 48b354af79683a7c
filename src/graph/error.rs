//! Why a graph cannot be read or transformed.

use std::io;

use crate::message::{Listed, ServerPath, excerpt};

/// Why a graph cannot be read or transformed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: ServerPath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// External data cannot be written.
    #[error("cannot write external data")]
    Write(#[source] io::Error),
    /// More than one protobuf message can hold.
    #[error("the model is {bytes} bytes, but one ONNX file holds at most 2 GiB; keep large tensors as external data")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// More nodes than graft takes.
    #[error(
        "the graph has more than {} nodes ({node} is the next); simplify it, for example with onnxslim",
        super::bounds::MAX_NODES
    )]
    TooManyNodes {
        /// The first that is too many.
        node: String,
    },
    /// Subgraphs within subgraphs.
    #[error("{node} holds a subgraph more than {depth} deep; simplify the graph, for example with onnxslim")]
    TooDeep {
        /// The node that holds the innermost.
        node: String,
        /// How many may be within each other.
        depth: usize,
    },
    /// Names, attributes, properties and documentation beyond their bound.
    #[error(
        "the model has {bytes} bytes besides its tensors{}; {} are the most: take properties and documentation out of the file",
        .property.as_ref().map(|key| format!(", most of it the property `{key}`")).unwrap_or_default(),
        super::bounds::MAX_STRUCTURE_BYTES
    )]
    TooMuchStructure {
        /// Bytes that are no tensor's data.
        bytes: usize,
        /// The property that is most of it.
        property: Option<String>,
    },
    /// A constant that the graph makes is too large.
    #[error(
        "{node} makes a constant of {values} values, and all constants of the graph together have {total}; {most} are the most for \
         a model of {stored} bytes of weights: store such tensors in the file"
    )]
    LargeConstants {
        /// The node that makes the largest.
        node: String,
        /// How many values that has.
        values: u64,
        /// Values of all constants.
        total: u64,
        /// The bound.
        most: u64,
        /// Bytes that are stored.
        stored: u64,
    },
    /// Bytes of something else, or damaged ones.
    #[error("not an ONNX model: {found}")]
    Foreign {
        /// What the bytes look like.
        found: &'static str,
        /// What the decoder said, if the bytes are no protobuf.
        #[source]
        source: Option<NoProtobuf>,
    },
    /// A node or an output reads a tensor that nothing makes.
    #[error("{reader} reads tensor `{tensor}`, which nothing defines")]
    Undefined {
        /// The node, or "the graph's output list".
        reader: String,
        /// The tensor.
        tensor: String,
    },
    /// Two things make one tensor.
    #[error("tensor `{tensor}` is defined twice, the second time by {by}")]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// The second to define it.
        by: String,
    },
    /// Nodes that depend on each other.
    #[error("{node} depends on its own output through tensor `{tensor}`")]
    Cycle {
        /// A node of the cycle.
        node: String,
        /// The tensor that it waits for.
        tensor: String,
    },
    /// A stored tensor is damaged.
    #[error("tensor `{tensor}` is damaged")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong with it.
        #[source]
        source: TensorProblem,
    },
    /// A tensor's data lie in another file, which cannot be used.
    #[error("the external data of tensor `{tensor}` at `{location}` cannot be used")]
    External {
        /// Its name.
        tensor: String,
        /// Where the model says they are.
        location: String,
        /// Why not.
        #[source]
        source: LocationProblem,
    },
    /// Every input is an initializer.
    #[error("the graph has no input besides its weights; graft needs exactly one, the image")]
    NoInput,
    /// More than an image is wanted.
    #[error("the graph has {} inputs ({}); graft needs exactly one, the image", .0.len(), Listed::of(.0))]
    SeveralInputs(Vec<String>),
    /// The input is no tensor of numbers.
    #[error(
        "input `{name}` is of ONNX type {found}; graft feeds images as floats (1, 10, 11, 16) or whole numbers (2 to 7, 12, 13)"
    )]
    InputType {
        /// The input.
        name: String,
        /// `TensorProto.DataType`, or 0 when it is no tensor.
        found: i32,
    },
    /// Asked for a tensor that no node makes.
    #[error("the graph computes no tensor `{0}`")]
    UnknownTensor(String),
    /// Asked for a stored tensor that does not exist, or that nothing of interest reads.
    #[error("the graph stores no tensor `{0}` that its output depends on")]
    UnknownInitializer(String),
    /// A stored tensor is no float32.
    #[error("stored tensor `{tensor}` is of ONNX type {found}, not float32 (1)")]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// `TensorProto.DataType`.
        found: i32,
    },
    /// Values of another shape than the stored tensor has.
    #[error("stored tensor `{tensor}` has shape {expected:?}, it was given {found:?}")]
    StoredShape {
        /// The tensor.
        tensor: String,
        /// What the graph has.
        expected: Vec<usize>,
        /// What was given.
        found: Vec<usize>,
    },
    /// The frontier does not separate the outputs from an input.
    #[error("the outputs depend on input `{input}` not only through the tensors named; name more of them")]
    NotBehind {
        /// The input that is still needed.
        input: String,
    },
    /// Nothing asked for.
    #[error("a cut needs at least one output")]
    NoOutputs,
}

/// What is wrong with a stored tensor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TensorProblem {
    /// A negative dimension, or more elements than can be counted.
    #[error("its dimensions {0:?} are negative or too large")]
    Dims(Vec<i64>),
    /// Type 0 or below.
    #[error("its element type {0} is not one of ONNX's")]
    Type(i32),
    /// Fewer or more data than the shape needs.
    #[error("its shape and type need {expected} {unit}, it has {found}")]
    Length {
        /// What the shape says.
        expected: u64,
        /// What is there.
        found: u64,
        /// "bytes" or "values".
        unit: &'static str,
    },
    /// An offset or a length that is no number.
    #[error("its external data's `{key}` is `{value}`, which is not a number")]
    Number {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// External data of a type whose size is unknown.
    #[error("its element type {0} cannot be stored as external data")]
    NotExternal(i32),
}

/// Why external data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationProblem {
    /// The model was read from bytes alone.
    #[error("the model has no folder; read it from its file")]
    NoFolder,
    /// Absolute, with `..`, or through a link to elsewhere.
    #[error("it leads out of the model's folder; put the file beside the model")]
    Outside,
    /// A folder, a pipe, a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file ends before the tensor does.
    #[error("the file has {found} bytes, the tensor ends at {expected}")]
    TooShort {
        /// Where the tensor ends.
        expected: u64,
        /// The file's size.
        found: u64,
    },
    /// The file cannot be opened or read.
    #[error("the file cannot be read")]
    Io(#[source] io::Error),
}

/// What the decoder said, without the path to where it was, which is as long as the graph is deep.
#[derive(Debug, thiserror::Error)]
#[error("{}", excerpt(.0.rsplit(": ").next().unwrap_or_default()))]
pub struct NoProtobuf(String);

impl Error {
    /// The error for bytes that are no model; names the formats that are often taken for one.
    pub(super) fn foreign(bytes: &[u8], source: Option<prost::DecodeError>) -> Self {
        let text = bytes.trim_ascii_start();
        let found = if bytes.is_empty() {
            "the file is empty"
        } else if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
            "it is an HDF5 file (Keras weights?); name the architecture to import those"
        } else if bytes.get(8) == Some(&b'{') {
            "it is a safetensors file (PyTorch weights?); name the architecture to import those"
        } else if bytes.starts_with(b"PK\x03\x04") {
            "it is a zip archive (.keras, .npz or a PyTorch checkpoint?); export the model to ONNX first"
        } else if bytes.starts_with(b"version https://git-lfs") {
            "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
        } else if bytes.starts_with(b"\x1f\x8b") {
            "it is a gzip file; unpack it first"
        } else if bytes.get(4..8) == Some(b"ORTM") {
            "it is in ONNX Runtime's own format (.ort); use the .onnx file it was made from"
        } else if bytes.get(4..8) == Some(b"TFL3") {
            "it is a TensorFlow Lite file; export the model to ONNX first"
        } else if text.starts_with(b"<") {
            "it is an HTML or XML page (an error page saved by a download?)"
        } else if text.starts_with(b"{") || text.starts_with(b"[") {
            "it is JSON text"
        } else if source.is_some() {
            "the bytes are damaged, cut short or of another format"
        } else {
            "the bytes hold no graph with outputs"
        };
        Self::Foreign { found, source: source.map(|source| NoProtobuf(source.to_string())) }
    }

    pub(super) fn tensor(tensor: &super::proto::TensorProto, source: TensorProblem) -> Self {
        Self::Tensor { tensor: tensor.name().to_owned(), source }
    }
}
