//! The parameters as the document shows them; what reads them is `params`, and a test holds the two together.

use utoipa::IntoParams;

/// The model in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ModelPath {
    /// Model name.
    #[param(example = "vgg16")]
    pub model: String,
}

/// The model and version in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// Model name.
    #[param(example = "vgg16")]
    pub model: String,
    /// Version.
    #[param(example = 1, minimum = 1)]
    pub version: u32,
}

/// The query of `/models/{model}/layers`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LayersQuery {
    /// Version; the stable one without.
    #[param(minimum = 1)]
    pub version: Option<u32>,
}

/// The query of `/predict`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PredictQuery {
    /// Model name; the default model without. Refused when it contradicts the path.
    pub model: Option<String>,
    /// Version; the stable one without. Refused when it contradicts the path.
    #[param(minimum = 1)]
    pub version: Option<u32>,
    /// Classes per image, best first; 5 without, or all when the model has fewer.
    #[param(minimum = 1, example = 5)]
    pub top_k: Option<u32>,
    /// `nearest`, `bilinear` or `bicubic`, bit-exact with Pillow; the model's own without.
    #[param(example = "nearest")]
    pub resize: Option<String>,
    /// `ignore` or `exif`: whether EXIF orientation is applied; the model's own without.
    #[param(example = "exif")]
    pub orientation: Option<String>,
    /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own.
    #[param(example = "fail")]
    pub on_error: Option<String>,
}

/// The query of `/features`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FeaturesQuery {
    /// Model name; the default model without. Refused when it contradicts the path.
    pub model: Option<String>,
    /// Version; the stable one without. Refused when it contradicts the path.
    #[param(minimum = 1)]
    pub version: Option<u32>,
    /// Layer names or Keras indices; repeated or comma-separated; the model's `features_layer` without.
    #[param(example = "fc2")]
    pub layer: Option<String>,
    /// `none` (default), `avg` or `max`: pooling of maps over height and width.
    #[param(example = "avg")]
    pub pool: Option<String>,
    /// Whether each output becomes one vector; false without.
    pub flatten: Option<bool>,
    /// `none` (default) or `l2`: normalisation of the whole vector, after pooling.
    #[param(example = "l2")]
    pub normalize: Option<String>,
    /// `float32` (default) or `float16`; what float16 cannot hold is an error.
    #[param(example = "float32")]
    pub dtype: Option<String>,
    /// `float` (default) or `base64` of little-endian bytes; for `application/json`.
    #[param(example = "float")]
    pub encoding_format: Option<String>,
    /// Classes per image from the same pass; none without. Not with `application/x-npy`.
    #[param(minimum = 1)]
    pub top_k: Option<u32>,
    /// `nearest`, `bilinear` or `bicubic`, bit-exact with Pillow; the model's own without.
    #[param(example = "nearest")]
    pub resize: Option<String>,
    /// `ignore` or `exif`: whether EXIF orientation is applied; the model's own without.
    #[param(example = "exif")]
    pub orientation: Option<String>,
    /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own; `skip` is for JSON.
    #[param(example = "fail")]
    pub on_error: Option<String>,
}
