//! `POST /features` and its forms under `/models`: images in, layer outputs out, as JSON, `.npy`, `.npz` or a plot.

use axum::{
    extract::{self, Request},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    answer::{IMAGES, answer_headers, encoded, is_quick, plan_headers, run},
    asked::asked,
    models::ModelPath,
    versions::VersionPath,
};
use crate::{
    http::{
        accept::Format,
        code::{Codes, codes},
        dto::{FeaturesAnswer, TimingsDto},
        encode::Output,
        error::ApiError,
        image_parameters::{FeaturesQuery, Form},
        images::Images,
        openapi::Problems,
        size::Asked,
        state::State,
    },
    inference::Plan,
    plot::MAX_SERIES,
};

/// What may go wrong.
const FEATURES: Codes = IMAGES | codes! { UnknownLayer NotAcceptable NotFinite };

/// Outputs of any layer
///
/// Answers one or several layers of the default model, or the one that `model` names, for every image; `Accept` chooses the form:
/// JSON, arrays, or a line plot of one layer.
#[utoipa::path(post, path = "/features", operation_id = "features", tag = "images", params(FeaturesQuery), responses((status = 200, description = "One item per image, in order", body = FeaturesAnswer), Problems<FEATURES>))]
pub async fn features(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    respond(state, request).await
}

/// Outputs of any layer of a model
///
/// As `/features`, with the stable version of the model in the path.
#[utoipa::path(post, path = "/models/{model}/features", operation_id = "features_with_model", tag = "images", params(ModelPath, FeaturesQuery), responses((status = 200, description = "One item per image, in order", body = FeaturesAnswer), Problems<FEATURES>))]
pub async fn features_model(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    respond(state, request).await
}

/// Outputs of any layer of a version of a model
///
/// As `/features`, with the model and version in the path.
#[utoipa::path(post, path = "/models/{model}/versions/{version}/features", operation_id = "features_with_version", tag = "images", params(VersionPath, FeaturesQuery), responses((status = 200, description = "One item per image, in order", body = FeaturesAnswer), Problems<FEATURES>))]
pub async fn features_version(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    respond(state, request).await
}

async fn respond(state: State, request: Request) -> Result<Response, ApiError> {
    let ((plan, form), images) = asked(&state, request, |query: FeaturesQuery, headers| plan(&state, query, headers)).await?;
    Ok((plan_headers(&plan), answer(&state, plan, form, images).await).into_response())
}

async fn answer(state: &State, plan: Plan, form: Form, images: Images) -> Result<Response, ApiError> {
    if form.format.picture().is_some() && images.len() > MAX_SERIES {
        return Err(ApiError::NotAcceptable(format!(
            "`{}` shows at most {MAX_SERIES} images, a line each, but {} came; send fewer, or ask for `application/x-npy`",
            form.format.media_type(),
            images.len()
        )));
    }
    let bytes = Asked::new(&plan, form).named(images.names()).check(images.len(), state.server().max_response_bytes)?;
    let (model, captions, with_top_k) = (plan.model(), images.captions(), plan.top_k.is_some());
    let warnings = plan.notes.iter().map(Into::into).collect();
    let input = plan.other_preprocessing().cloned();
    let layers = plan.layers.iter().map(|spec| spec.layer.name.clone()).collect();
    let (answer, admission) = run(state, plan, images, bytes).await?;
    let mut headers = answer_headers(&model, TimingsDto::from(answer.timings));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.format.media_type()));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    let is_quick = is_quick(&answer, bytes);
    let output = Output { model, warnings, input, layers, captions, with_top_k, answer };
    encoded(state, headers, admission, is_quick, move || output.encode(form)).await
}

/// Resolves the request, down to whether its answer fits the form and, for one image, the bound.
fn plan(state: &State, query: FeaturesQuery, headers: &HeaderMap) -> Result<(Plan, Form), ApiError> {
    let (request, form) = query.resolve(headers)?;
    let plan = state.engine().plan(&request)?;
    let one_layer = match form.format {
        Format::Json | Format::Npz => None,
        Format::Npy => Some("holds one array"),
        Format::Svg | Format::Png => Some("shows one layer"),
    };
    if let Some(what) = one_layer.filter(|_| plan.layers.len() != 1) {
        return Err(ApiError::NotAcceptable(format!(
            "`{}` {what}, but {} layers are asked for; ask for one, or for `application/x-npz`",
            form.format.media_type(),
            plan.layers.len()
        )));
    }
    Asked::new(&plan, form).check(1, state.server().max_response_bytes)?;
    Ok((plan, form))
}
