//! The parameters of `/predict` and `/features`, from path, query, body and `Accept`, as the engine's request.
//!
//! Every value is checked here or by the engine's plan.

use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    accept::Format,
    error::ApiError,
    parameters::{choices, parameters},
};
use crate::{
    inference::{DEFAULT_TOP_K, Features, Normalize, OnError, Plan, Pool, Request},
    preprocess::{ChannelOrder, Mode, Orientation, Resize},
    tensor::Dtype,
};

parameters! {
    /// Which model is asked.
    pub struct ModelQuery {
        /// Model name, or `NAME@VERSION`. Without one the default (`models.default`) answers if it is trained, else a trained model, else an untrained
        /// one; `warnings` says so. Refused when it is given elsewhere with another value.
        model: Option<String>,
        /// Version; the stable one without. Refused when it is given elsewhere with another value.
        version: Option<u32>,
    }
}

parameters! {
    /// How images become the model's input.
    pub struct InputQuery {
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
    }
}

parameters! {
    /// What `/predict` is asked.
    pub struct PredictQuery {
        /// Of which model.
        which: ModelQuery,
        /// Classes per image, best first; 5 without. All when the model has fewer; who asked for more is warned.
        top_k: Option<usize>,
        /// `none`: the scores of a calibrated model as it was trained; calibrated without.
        calibration: Option<CalibrationSwitch>,
        /// From which input.
        input: InputQuery,
        /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own.
        on_error: Option<OnError>,
    }
}

parameters! {
    /// What `/features` is asked.
    pub struct FeaturesQuery {
        /// Of which model.
        which: ModelQuery,
        /// Layer names or Keras indices, such as `fc2`, `block5_pool,fc1` or `-1` for the last; repeated or comma-separated; the model's
        /// `features_layer` without. Where no model is named and the one that would answer lacks the layer, the one model that has it
        /// answers; of several, name one.
        layer: Vec<String>,
        /// `none` (default), `avg` or `max`: pooling of maps over height and width, of tokens over all; what is neither is refused.
        pub pool: Option<Pool>,
        /// Whether each output becomes one vector; false without.
        flatten: Option<bool>,
        /// `none` (default) or `l2`: normalisation of the whole vector, after pooling.
        normalize: Option<Normalize>,
        /// `float32` (default) or `float16`; what float16 cannot hold is an error.
        dtype: Option<Dtype>,
        /// `float` (default) or `base64` of little-endian bytes; for `application/json`.
        encoding_format: Option<EncodingFormat>,
        /// Classes per image from the same pass, all when the model has fewer; none without. Not with `application/x-npy`.
        pub top_k: Option<usize>,
        /// `none`: the scores that `top_k` gives of a calibrated model, as it was trained; calibrated without.
        calibration: Option<CalibrationSwitch>,
        /// From which input.
        input: InputQuery,
        /// `fail` (default) or `skip`: whether a bad image fails the request or carries an `error` of its own; `skip` is for JSON.
        on_error: Option<OnError>,
    }
}

choices!(CalibrationSwitch, Resize, Mode, ChannelOrder, Orientation, OnError, Pool, Normalize, Dtype, EncodingFormat);

/// That scores are not calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationSwitch {
    /// As they were trained.
    None,
}

/// How JSON carries values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFormat {
    /// As numbers.
    Float,
    /// As their little-endian bytes.
    Base64,
}

impl PredictQuery {
    /// For the engine; `top_k` is 1 when the client leaves it out, so that a model without classes is refused.
    pub fn request(&self) -> Request {
        let uncalibrated = self.calibration.is_some();
        Request { top_k: Some(self.top_k.unwrap_or(1)), uncalibrated, ..request(&self.which, &self.input, self.on_error) }
    }

    /// Gives `plan` the default number of classes, or all of them when there are fewer.
    pub fn complete(&self, plan: &mut Plan) {
        if self.top_k.is_none() {
            plan.top_k = Some(DEFAULT_TOP_K.min(plan.version.metadata.labels.len()));
        }
    }
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

impl FeaturesQuery {
    /// For the engine, and how the answer is written, as `Accept` in `headers` says.
    ///
    /// # Errors
    /// [`ApiError::NotAcceptable`], or [`ApiError::InvalidParameter`] for what the form cannot carry.
    pub fn resolve(self, headers: &HeaderMap) -> Result<(Request, Form), ApiError> {
        let common = request(&self.which, &self.input, self.on_error);
        let features = Features {
            layers: self.layer,
            pool: self.pool.unwrap_or_default(),
            flatten: self.flatten.unwrap_or_default(),
            normalize: self.normalize.unwrap_or_default(),
        };
        let uncalibrated = self.calibration.is_some();
        let request = Request { top_k: self.top_k, uncalibrated, features: Some(features), ..common };
        let form = Form {
            format: Format::negotiate(headers)?,
            dtype: self.dtype.unwrap_or_default(),
            base64: self.encoding_format == Some(EncodingFormat::Base64),
        };
        check_form(form, &request, self.encoding_format.is_some())?;
        Ok((request, form))
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

/// What both routes ask: the model, and how images are treated.
fn request(which: &ModelQuery, input: &InputQuery, on_error: Option<OnError>) -> Request {
    Request {
        model: which.model.clone(),
        version: which.version,
        resize: input.resize,
        preprocess: input.preprocess,
        channel_order: input.channel_order,
        orientation: input.orientation,
        on_error: on_error.unwrap_or_default(),
        ..Request::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, body::Body, http::header, routing::post};
    use tower::ServiceExt;

    use super::*;
    use crate::http::{parameters::Parameters, query::Query};

    /// Reads parameters as a route does, so that the path's are there.
    async fn read(uri: &str, accept: &str) -> Result<(Request, Form), ApiError> {
        let found = Arc::new(Mutex::new(None));
        let handler = {
            let found = Arc::clone(&found);
            move |request: axum::extract::Request| async move {
                let (mut parts, _) = request.into_parts();
                let query = Query::of(&mut parts, FeaturesQuery::declared()).await;
                let params = query.and_then(|query| FeaturesQuery::read(&query)?.resolve(&parts.headers));
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
        let (request, form) = read(uri, "*/*").await.expect("every parameter is valid");
        let features = request.features.expect("features are asked for");
        assert_eq!(request.model.as_deref(), Some("vgg16"));
        assert_eq!((request.version, request.top_k), (Some(3), Some(7)));
        assert!(request.uncalibrated);
        assert_eq!(features.layers, ["fc1", "fc2", "block1_pool"]);
        assert_eq!((features.pool, features.flatten, features.normalize), (Pool::Max, true, Normalize::L2));
        assert_eq!(form, Form { format: Format::Json, dtype: Dtype::F16, base64: true });
        assert_eq!((request.resize, request.orientation), (Some(Resize::Bicubic), Some(Orientation::Exif)));
        assert_eq!((request.preprocess, request.channel_order), (Some(Mode::None), Some(ChannelOrder::Bgr)));
        assert_eq!(request.on_error, OnError::Skip);
    }

    #[tokio::test]
    async fn left_out_parameters_have_their_defaults() {
        let (request, form) = read("/features", "application/x-npy").await.expect("nothing is required");
        assert!(request.model.is_none() && request.top_k.is_none() && request.resize.is_none());
        assert_eq!(form, Form { format: Format::Npy, dtype: Dtype::F32, base64: false });
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
