//! ONNX's operators by what they do to axes.
//!
//! A table of names; what a rule does with axes is in `rules`.

/// What an operator does to the axes of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) enum Effect {
    /// Keeps those of its first input; sizes may change along them.
    Keep,
    /// Combines its inputs element by element, broadcast to the longest.
    Join,
    /// Demands batch, channel and positions, and makes new channels.
    Spatial,
    /// Permutes.
    Transpose,
    /// Same elements in the same order under another shape.
    Reshape,
    /// Puts its inputs behind each other along an axis.
    Concat,
    /// Picks along an axis, which goes when one index is picked.
    Gather,
    /// Reduces axes to one value each.
    Reduce,
    /// Multiplies the last axis of its first input with the last but one of its second.
    MatMul,
    /// As [`Self::MatMul`], of matrices that may be transposed.
    Gemm,
    /// Keeps all but the last axis, which becomes other channels.
    Attention,
}

/// Operators that keep meaning along every axis, of ONNX and of `com.microsoft`.
const KEEP: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BiasGelu",
    "BiasSoftmax",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "DynamicQuantizeLinear",
    "Elu",
    "Erf",
    "Exp",
    "FastGelu",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
    "Pad",
    "QLinearLeakyRelu",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QuantizeLinear",
    "QuickGelu",
    "RMSNormalization",
    "Reciprocal",
    "Relu",
    "Resize",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "SimplifiedLayerNormalization",
    "Sin",
    "Sinh",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Trilu",
    "Upsample",
    "BitwiseNot",
];

const JOIN: &[&str] = &[
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Expand",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "QLinearAdd",
    "QLinearMul",
    "Sub",
    "Sum",
    "Where",
];

const SPATIAL: &[&str] = &[
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DepthToSpace",
    "FusedConv",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "LpPool",
    "MaxPool",
    "MaxUnpool",
    "NhwcConv",
    "NhwcFusedConv",
    "NhwcMaxPool",
    "QLinearAveragePool",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "SpaceToDepth",
    "DeformConv",
    "GridSample",
];

/// What `op_type` does; `None` when that is not known.
pub(in crate::graph) fn effect(op_type: &str) -> Option<Effect> {
    Some(match op_type {
        "Transpose" => Effect::Transpose,
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => Effect::Reshape,
        "Concat" | "QLinearConcat" => Effect::Concat,
        "Gather" => Effect::Gather,
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" | "ArgMax" | "ArgMin" => Effect::Reduce,
        "MatMul" | "MatMulInteger" | "MatMulNBits" | "QLinearMatMul" | "FusedMatMul" | "MatMulIntegerToFloat" => Effect::MatMul,
        "Gemm" | "QGemm" | "FusedGemm" => Effect::Gemm,
        "Attention" | "MultiHeadAttention" | "QAttention" => Effect::Attention,
        _ if KEEP.contains(&op_type) => Effect::Keep,
        _ if JOIN.contains(&op_type) => Effect::Join,
        _ if SPATIAL.contains(&op_type) => Effect::Spatial,
        _ => return None,
    })
}

/// Whether what `op_type` makes are sizes: no image any more.
pub(super) fn tells_sizes(op_type: &str) -> bool {
    matches!(op_type, "Shape" | "Size" | "ConstantOfShape" | "EyeLike")
}

/// Whether all outputs of `op_type` are parts of its input.
pub(super) fn splits(op_type: &str) -> bool {
    op_type == "Split"
}
