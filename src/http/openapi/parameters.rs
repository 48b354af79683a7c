//! The parameters as the document shows them; what reads them is `params`, and a test holds the two together.

#![expect(dead_code, reason = "the types are read by utoipa's derives alone")]

use utoipa::{IntoParams, ToSchema};

use crate::{
    jobs::State,
    preprocess::{ChannelOrder, Mode, Orientation, Resize},
};

/// The model in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ModelPath {
    /// Model name, such as `vgg16`; where one version is asked, `vgg16@1` too.
    model: String,
}

/// The model and version in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// Model name, such as `vgg16`.
    model: String,
    /// Version, from 1.
    #[param(minimum = 1)]
    version: u32,
}

/// The data set in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DatasetPath {
    /// What `POST /datasets` called it, such as `019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10`.
    id: String,
}

/// The query of `POST /datasets`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DatasetsQuery {
    /// What folders are that are called as splits (`train`, `val`, `test` and their like): `splits` or `classes`. Needed where
    /// both can be meant; the answer to a request without it shows both readings.
    layout: Option<Layout>,
    /// What names that are not UTF-8 are written in: a label of an encoding, such as `shift_jis`, `gbk`, `big5`, `euc-kr`,
    /// `windows-1252`, `ibm866`, `cp437` or `cp850`.
    names: Option<String>,
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
    /// What the answer that accepted it called it, such as `019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10`.
    id: String,
}

/// The query of `/jobs`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Only jobs in this state, such as `running`.
    state: Option<State>,
    /// Jobs in the answer; 20 without.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// The query of `/jobs/{id}/events`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Id of the event to start after; a `Last-Event-ID` header overrides it.
    #[param(minimum = 0)]
    after: Option<u64>,
}

/// The parameters of `/predict`, in the query or the body.
#[derive(Debug, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct PredictQuery {
    /// Model name, or `NAME@VERSION`. Without one the default (`models.default`) answers if it is trained, else a trained model, else an untrained
    /// one; `warnings` says so. Refused when it is given elsewhere with another value.
    model: Option<String>,
    /// Version; the stable one without. Refused when it is given elsewhere with another value.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    version: Option<u32>,
    /// Classes per image, best first; 5 without. All when the model has fewer; who asked for more is warned.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    top_k: Option<u32>,
    /// `none`: scores as they were trained, of a model that calibrates them; without, and of any other, as the model gives them.
    calibration: Option<Calibration>,
    /// Resampling filter: `nearest`, `bilinear` and `bicubic` bit-exact with Pillow's, `opencv_bilinear` with `cv2.resize`; the
    /// model's own without.
    resize: Option<Resize>,
    /// Channel order, mean and scale: `none` for RGB values from 0 to 255, or those of a mode of Keras's `preprocess_input`;
    /// the model's own without.
    preprocess: Option<Mode>,
    /// Order of the channels; mean and scale move with their colour. The model's, or that of `preprocess`, without.
    channel_order: Option<ChannelOrder>,
    /// Whether EXIF orientation is applied; the model's own rule without.
    orientation: Option<Orientation>,
    /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own.
    on_error: Option<OnError>,
}

/// The parameters of `/features`, in the query or the body.
#[derive(Debug, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct FeaturesQuery {
    /// Model name, or `NAME@VERSION`. Without one the default (`models.default`) answers if it is trained, else a trained model, else an untrained
    /// one; `warnings` says so. Refused when it is given elsewhere with another value.
    model: Option<String>,
    /// Version; the stable one without. Refused when it is given elsewhere with another value.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    version: Option<u32>,
    /// Layer names or Keras indices, such as `fc2`, `block5_pool,fc1` or `-1` for the last; repeated or comma-separated; the model's
    /// `features_layer` without. Where no model is named and the one that would answer lacks the layer, the one model that has it
    /// answers; of several, name one.
    layer: Option<String>,
    /// `none` (default), `avg` or `max`: pooling of maps over height and width, of tokens over all; what is neither is refused.
    pool: Option<Pool>,
    /// Whether each output becomes one vector; false without.
    flatten: Option<bool>,
    /// `none` (default) or `l2`: normalisation of the whole vector, after pooling.
    normalize: Option<Normalize>,
    /// `float32` (default) or `float16`; what float16 cannot hold is an error.
    dtype: Option<Dtype>,
    /// `float` (default) or `base64` of little-endian bytes; for `application/json`.
    encoding_format: Option<Encoding>,
    /// Classes per image from the same pass, all when the model has fewer; none without. Not with `application/x-npy`.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    top_k: Option<u32>,
    /// `none`: scores as they were trained, of a model that calibrates them; without, and of any other, as the model gives them.
    calibration: Option<Calibration>,
    /// Resampling filter: `nearest`, `bilinear` and `bicubic` bit-exact with Pillow's, `opencv_bilinear` with `cv2.resize`; the
    /// model's own without.
    resize: Option<Resize>,
    /// Channel order, mean and scale: `none` for RGB values from 0 to 255, or those of a mode of Keras's `preprocess_input`;
    /// the model's own without.
    preprocess: Option<Mode>,
    /// Order of the channels; mean and scale move with their colour. The model's, or that of `preprocess`, without.
    channel_order: Option<ChannelOrder>,
    /// Whether EXIF orientation is applied; the model's own rule without.
    orientation: Option<Orientation>,
    /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own; `skip` is for JSON.
    on_error: Option<OnError>,
}

/// What folders are that are called as splits.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase", as = FolderLayout)]
pub enum Layout {
    Splits,
    Classes,
}

/// That scores are not calibrated.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase", as = CalibrationSwitch)]
pub enum Calibration {
    None,
}

/// Whether a bad image fails the request, or is skipped and says why.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum OnError {
    Fail,
    Skip,
}

/// How maps are pooled over height and width.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase", as = FeaturePool)]
pub enum Pool {
    None,
    Avg,
    Max,
}

/// How vectors are normalised.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Normalize {
    None,
    L2,
}

/// Width of a value.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Dtype {
    Float32,
    Float16,
}

/// How JSON carries values.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase", as = EncodingFormat)]
pub enum Encoding {
    Float,
    Base64,
}
