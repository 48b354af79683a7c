//! The parameters as the document shows them; what reads them is `params`, and a test holds the two together.

#![expect(dead_code, reason = "the types are read by utoipa's derives alone")]

use utoipa::{IntoParams, ToSchema};

/// The model in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ModelPath {
    /// Model name.
    #[param(example = "vgg16")]
    model: String,
}

/// The model and version in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// Model name.
    #[param(example = "vgg16")]
    model: String,
    /// Version.
    #[param(example = 1, minimum = 1)]
    version: u32,
}

/// The data set in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DatasetPath {
    /// What `POST /datasets` called it.
    #[param(example = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10")]
    id: String,
}

/// The query of `/models/{model}/layers`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LayersQuery {
    /// Version; the stable one without.
    #[param(minimum = 1)]
    version: Option<u32>,
}

/// The job in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct JobPath {
    /// Job id.
    #[param(example = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10")]
    id: String,
}

/// The query of `/jobs/finetune`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FinetuneQuery {
    /// Whether to answer with what would be done, and do nothing; false without.
    dry_run: Option<bool>,
}

/// The query of `/jobs`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only jobs in this state.
    #[param(inline, example = "running")]
    state: Option<JobState>,
    /// Jobs in the answer; 20 without.
    #[param(minimum = 1, maximum = 100, example = 20)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// The query of `/jobs/{id}/events`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Id of the event to start behind; a `Last-Event-ID` header overrides it.
    #[param(minimum = 0, example = 0)]
    after: Option<u64>,
}

/// The query of `/predict`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PredictQuery {
    /// Model name; the default model without. Refused when it contradicts the path.
    model: Option<String>,
    /// Version; the stable one without. Refused when it contradicts the path.
    #[param(minimum = 1)]
    version: Option<u32>,
    /// Classes per image, best first; 5 without, or all when the model has fewer.
    #[param(minimum = 1, example = 5)]
    top_k: Option<u32>,
    /// Resampling filter: `nearest`, `bilinear` and `bicubic` bit-exact with Pillow's, `opencv_bilinear` with `cv2.resize`; the
    /// model's own without.
    #[param(inline)]
    resize: Option<Resize>,
    /// Channel order, mean and scale: `none` for RGB values from 0 to 255, or those of a mode of Keras's `preprocess_input`;
    /// the model's own without.
    #[param(inline)]
    preprocess: Option<Preprocess>,
    /// Order of the channels; mean and scale move with their colour. The model's, or that of `preprocess`, without.
    #[param(inline)]
    channel_order: Option<ChannelOrder>,
    /// Whether EXIF orientation is applied; the model's own rule without.
    #[param(inline, example = "exif")]
    orientation: Option<Orientation>,
    /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own.
    #[param(inline, example = "fail")]
    on_error: Option<OnError>,
}

/// The query of `/features`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FeaturesQuery {
    /// Model name; the default model without. Refused when it contradicts the path.
    model: Option<String>,
    /// Version; the stable one without. Refused when it contradicts the path.
    #[param(minimum = 1)]
    version: Option<u32>,
    /// Layer names or Keras indices; repeated or comma-separated; the model's `features_layer` without.
    #[param(example = "fc2")]
    layer: Option<String>,
    /// `none` (default), `avg` or `max`: pooling of maps over height and width.
    #[param(inline, example = "avg")]
    pool: Option<Pool>,
    /// Whether each output becomes one vector; false without.
    flatten: Option<bool>,
    /// `none` (default) or `l2`: normalisation of the whole vector, after pooling.
    #[param(inline, example = "l2")]
    normalize: Option<Normalize>,
    /// `float32` (default) or `float16`; what float16 cannot hold is an error.
    #[param(inline, example = "float32")]
    dtype: Option<Dtype>,
    /// `float` (default) or `base64` of little-endian bytes; for `application/json`.
    #[param(inline, example = "float")]
    encoding_format: Option<Encoding>,
    /// Classes per image from the same pass; none without. Not with `application/x-npy`.
    #[param(minimum = 1)]
    top_k: Option<u32>,
    /// Resampling filter: `nearest`, `bilinear` and `bicubic` bit-exact with Pillow's, `opencv_bilinear` with `cv2.resize`; the
    /// model's own without.
    #[param(inline)]
    resize: Option<Resize>,
    /// Channel order, mean and scale: `none` for RGB values from 0 to 255, or those of a mode of Keras's `preprocess_input`;
    /// the model's own without.
    #[param(inline)]
    preprocess: Option<Preprocess>,
    /// Order of the channels; mean and scale move with their colour. The model's, or that of `preprocess`, without.
    #[param(inline)]
    channel_order: Option<ChannelOrder>,
    /// Whether EXIF orientation is applied; the model's own rule without.
    #[param(inline, example = "exif")]
    orientation: Option<Orientation>,
    /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own; `skip` is for JSON.
    #[param(inline, example = "fail")]
    on_error: Option<OnError>,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
enum Resize {
    Nearest,
    Bilinear,
    Bicubic,
    OpencvBilinear,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Preprocess {
    None,
    Caffe,
    Tf,
    Torch,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum ChannelOrder {
    Rgb,
    Bgr,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Orientation {
    Ignore,
    Exif,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum OnError {
    Fail,
    Skip,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Pool {
    None,
    Avg,
    Max,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Normalize {
    None,
    L2,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Dtype {
    Float32,
    Float16,
}

/// Values of a parameter.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Encoding {
    Float,
    Base64,
}
