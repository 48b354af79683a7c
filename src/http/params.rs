//! The parameters of `/predict` and `/features`, from path, query, body and `Accept`, as the engine's request.
//!
//! Every value is checked here or by the engine's plan.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::{HeaderMap, request::Parts},
};

use super::{accept::Format, error::ApiError, query::Query};
use crate::{
    inference::{DEFAULT_TOP_K, Features, Normalize, OnError, Plan, Pool, Request},
    preprocess::{ChannelOrder, Mode, Orientation, Resize},
    tensor::Dtype,
};

/// Parameters of `/predict`, in the query or the body.
pub const PREDICT: [&str; 9] =
    ["model", "version", "top_k", "calibration", "resize", "preprocess", "channel_order", "orientation", "on_error"];

/// Parameters of `/features`, in the query or the body.
pub const FEATURES: [&str; 15] = [
    "model",
    "version",
    "layer",
    "pool",
    "flatten",
    "normalize",
    "dtype",
    "encoding_format",
    "top_k",
    "calibration",
    "resize",
    "preprocess",
    "channel_order",
    "orientation",
    "on_error",
];

/// The value says that scores are not calibrated.
const CALIBRATION: [(&str, bool); 1] = [("none", true)];
const RESIZE: [(&str, Resize); 4] = [
    ("nearest", Resize::Nearest),
    ("bilinear", Resize::Bilinear),
    ("bicubic", Resize::Bicubic),
    ("opencv_bilinear", Resize::OpencvBilinear),
];
const PREPROCESS: [(&str, Mode); 4] = [("none", Mode::None), ("caffe", Mode::Caffe), ("tf", Mode::Tf), ("torch", Mode::Torch)];
const CHANNEL_ORDER: [(&str, ChannelOrder); 3] =
    [("rgb", ChannelOrder::Rgb), ("bgr", ChannelOrder::Bgr), ("grey", ChannelOrder::Grey)];
const ORIENTATION: [(&str, Orientation); 2] = [("ignore", Orientation::Ignore), ("exif", Orientation::Exif)];
const ON_ERROR: [(&str, OnError); 2] = [("fail", OnError::Fail), ("skip", OnError::Skip)];
const POOL: [(&str, Pool); 3] = [("none", Pool::None), ("avg", Pool::Avg), ("max", Pool::Max)];
const NORMALIZE: [(&str, Normalize); 2] = [("none", Normalize::None), ("l2", Normalize::L2)];
const FLAG: [(&str, bool); 2] = [("true", true), ("false", false)];
const DTYPE: [(&str, Dtype); 2] = [("float32", Dtype::F32), ("float16", Dtype::F16)];
const ENCODING: [(&str, bool); 2] = [("float", false), ("base64", true)];

/// What `/predict` is asked.
#[derive(Debug)]
pub struct PredictParams {
    /// For the engine; `top_k` is 1 when the client leaves it out, so that a model without classes is refused.
    pub request: Request,
    explicit_top_k: bool,
}

impl PredictParams {
    /// Reads what `query` holds of [`PREDICT`].
    ///
    /// # Errors
    /// [`ApiError::InvalidParameter`].
    pub fn read(query: &Query) -> Result<Self, ApiError> {
        let top_k = query.positive("top_k")?;
        let request = Request { top_k: Some(top_k.unwrap_or(1)), ..request(query)? };
        Ok(Self { request, explicit_top_k: top_k.is_some() })
    }

    /// Gives `plan` the default number of classes, or all of them when there are fewer.
    pub fn complete(&self, plan: &mut Plan) {
        if !self.explicit_top_k {
            plan.top_k = Some(DEFAULT_TOP_K.min(plan.version.metadata.labels.len()));
        }
    }
}

/// What `/features` is asked.
#[derive(Debug)]
pub struct FeatureParams {
    /// For the engine.
    pub request: Request,
    /// How the answer is written.
    pub form: Form,
}

/// How features are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The media type.
    pub format: Format,
    /// Width of a value.
    pub dtype: Dtype,
    /// Whether JSON carries base64 instead of numbers.
    pub base64: bool,
}

impl FeatureParams {
    /// Reads what `query` holds of [`FEATURES`], and `Accept`.
    ///
    /// # Errors
    /// [`ApiError::InvalidParameter`], or [`ApiError::NotAcceptable`].
    pub fn read(query: &Query, headers: &HeaderMap) -> Result<Self, ApiError> {
        let features = Features {
            layers: query.many("layer")?,
            pool: query.choice("pool", &POOL)?.unwrap_or_default(),
            flatten: query.choice("flatten", &FLAG)?.unwrap_or_default(),
            normalize: query.choice("normalize", &NORMALIZE)?.unwrap_or_default(),
        };
        let request = Request { top_k: query.positive("top_k")?, features: Some(features), ..request(query)? };
        let encoding = query.choice("encoding_format", &ENCODING)?;
        let form = Form {
            format: Format::negotiate(headers)?,
            dtype: query.choice("dtype", &DTYPE)?.unwrap_or_default(),
            base64: encoding.unwrap_or_default(),
        };
        check_form(form, &request, encoding.is_some())?;
        Ok(Self { request, form })
    }
}

/// Refuses what a format cannot carry; the number of layers is checked once the plan knows it.
fn check_form(form: Form, request: &Request, encoding_given: bool) -> Result<(), ApiError> {
    if form.format == Format::Json {
        return Ok(());
    }
    let media_type = form.format.media_type();
    let refused = |why: String| Err(ApiError::InvalidParameter(why));
    if request.on_error == OnError::Skip {
        return refused(format!(
            "`on_error=skip` needs `Accept: application/json`; `{media_type}` cannot say which image was skipped"
        ));
    }
    if encoding_given {
        return refused(format!("`encoding_format` is for `application/json`, not for `{media_type}`"));
    }
    if form.format.picture().is_some() && request.top_k.is_some() {
        return refused(format!("`top_k` does not go with `{media_type}`; ask for `application/json`"));
    }
    if form.format.picture().is_some() && form.dtype != Dtype::F32 {
        return refused(format!("`dtype` does not go with `{media_type}`; leave it out"));
    }
    if form.format == Format::Npy && request.top_k.is_some() {
        return refused("`top_k` does not fit into one array; ask for `application/x-npz` or `application/json`".to_owned());
    }
    Ok(())
}

/// What both routes take: the model, and how images are treated.
fn request(query: &Query) -> Result<Request, ApiError> {
    Ok(Request {
        model: query.one("model")?.map(str::to_owned),
        version: query.positive("version")?,
        uncalibrated: query.choice("calibration", &CALIBRATION)?.unwrap_or_default(),
        resize: query.choice("resize", &RESIZE)?,
        preprocess: query.choice("preprocess", &PREPROCESS)?,
        channel_order: query.choice("channel_order", &CHANNEL_ORDER)?,
        orientation: query.choice("orientation", &ORIENTATION)?,
        on_error: query.choice("on_error", &ON_ERROR)?.unwrap_or_default(),
        ..Request::default()
    })
}

/// The one parameter of a path.
///
/// # Errors
/// A path that is not UTF-8.
pub fn only(path: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(text) = path.map_err(|error| ApiError::InvalidParameter(format!("cannot read the path: {error}")))?;
    Ok(text)
}

/// The model that a path names, as `NAME` or `NAME@VERSION`, with what the query says of its version.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// `{model}`.
    pub model: String,
    /// `{version}`.
    pub version: Option<u32>,
}

impl Target {
    /// Reads path and query; of the query's parameters `allowed` are taken.
    ///
    /// # Errors
    /// A version that is no whole number from 1, versions that contradict each other, a path that is not UTF-8.
    pub async fn read(parts: &mut Parts, allowed: &[&str]) -> Result<Self, ApiError> {
        let query = Query::of(parts, allowed).await?;
        Ok(Self { model: query.one("model")?.unwrap_or_default().to_owned(), version: query.positive("version")? })
    }

    /// The model of a route that is about all of its versions.
    ///
    /// # Errors
    /// A version.
    pub fn every_version(self) -> Result<String, ApiError> {
        match self.version {
            None => Ok(self.model),
            Some(version) => {
                let model = self.model;
                let why = format!(
                    "`{model}@{version}` is one version, and this route is about all of `{model}`; leave `@{version}` out"
                );
                Err(ApiError::InvalidParameter(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, body::Body, http::header, routing::post};
    use tower::ServiceExt;

    use super::*;

    /// Reads parameters as a route does, so that the path's are there.
    async fn read(uri: &str, accept: &str) -> Result<FeatureParams, ApiError> {
        let found = Arc::new(Mutex::new(None));
        let handler = {
            let found = Arc::clone(&found);
            move |request: axum::extract::Request| async move {
                let (mut parts, _) = request.into_parts();
                let query = Query::of(&mut parts, &FEATURES).await;
                let params = query.and_then(|query| FeatureParams::read(&query, &parts.headers));
                *found.lock().expect("not poisoned") = Some(params);
            }
        };
        let router: Router = Router::new()
            .route("/features", post(handler.clone()))
            .route("/models/{model}/features", post(handler.clone()))
            .route("/models/{model}/versions/{version}/features", post(handler));
        let request = axum::extract::Request::post(uri).header(header::ACCEPT, accept).body(Body::empty()).expect("valid");
        let response = router.oneshot(request).await.expect("infallible");
        assert!(response.status().is_success(), "{uri} has a route");
        let mut found = found.lock().expect("not poisoned");
        found.take().expect("the handler ran")
    }

    async fn check_refused(uri: &str, accept: &str, expected: &str) {
        let error = read(uri, accept).await.expect_err(uri);
        assert!(error.to_string().contains(expected), "{uri}: {error}");
    }

    #[tokio::test]
    async fn every_parameter_reaches_the_engine() {
        let uri = "/models/vgg16/versions/3/features?layer=fc1,fc2&layer=block1_pool&pool=max&flatten=true&normalize=l2&dtype=float16\
                   &encoding_format=base64&top_k=7&calibration=none&resize=bicubic&preprocess=none&channel_order=bgr&orientation=exif&on_error=skip";
        let params = read(uri, "*/*").await.expect("every parameter is valid");
        let features = params.request.features.expect("features are asked for");
        assert_eq!(params.request.model.as_deref(), Some("vgg16"));
        assert_eq!((params.request.version, params.request.top_k), (Some(3), Some(7)));
        assert!(params.request.uncalibrated);
        assert_eq!(features.layers, ["fc1", "fc2", "block1_pool"]);
        assert_eq!((features.pool, features.flatten, features.normalize), (Pool::Max, true, Normalize::L2));
        assert_eq!(params.form, Form { format: Format::Json, dtype: Dtype::F16, base64: true });
        assert_eq!((params.request.resize, params.request.orientation), (Some(Resize::Bicubic), Some(Orientation::Exif)));
        assert_eq!((params.request.preprocess, params.request.channel_order), (Some(Mode::None), Some(ChannelOrder::Bgr)));
        assert_eq!(params.request.on_error, OnError::Skip);
    }

    #[tokio::test]
    async fn left_out_parameters_have_their_defaults() {
        let params = read("/features", "application/x-npy").await.expect("nothing is required");
        assert!(params.request.model.is_none() && params.request.top_k.is_none() && params.request.resize.is_none());
        assert_eq!(params.form, Form { format: Format::Npy, dtype: Dtype::F32, base64: false });
    }

    #[tokio::test]
    async fn what_contradicts_itself_is_refused() {
        check_refused("/models/a/features?model=b", "*/*", "`model` is `a` in the path but `b` in the query").await;
        check_refused("/models/a/versions/1/features?version=2", "*/*", "`version` is `1` in the path").await;
        check_refused("/models/a/versions/x/features", "*/*", "`version` is `x`; it must be a whole number").await;
        check_refused("/features?pool=mean", "*/*", "it may be `none`, `avg`, `max`").await;
        check_refused("/features?layers=fc2", "*/*", "did you mean `layer`?").await;
        check_refused("/features?on_error=skip", "application/x-npz", "cannot say which image was skipped").await;
        check_refused("/features?top_k=3", "application/x-npy", "ask for `application/x-npz`").await;
        check_refused("/features?encoding_format=base64", "application/x-npz", "is for `application/json`").await;
        check_refused("/features?top_k=3", "image/svg+xml", "`top_k` does not go with `image/svg+xml`").await;
        check_refused("/features?dtype=float16", "image/png", "`dtype` does not go with `image/png`").await;
        check_refused("/features?on_error=skip", "image/png", "cannot say which image was skipped").await;
        check_refused("/features", "text/csv", "allows none of").await;
    }
}
