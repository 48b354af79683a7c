//! `POST /predict` and its forms under `/models`: images in, top-k classes out.

use axum::{
    extract::{self, Request},
    http::{HeaderValue, header},
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
        dto::{PredictAnswer, Prediction, PredictionOutcome, TimingsDto},
        error::ApiError,
        image_parameters::{Form, PredictQuery},
        images::{Caption, Images},
        json,
        openapi::Problems,
        size::Asked,
        state::State,
    },
    inference::{Answer, Plan},
    tensor::Dtype,
};

const JSON: Form = Form { format: Format::Json, dtype: Dtype::F32, base64: false };

/// Classify images
///
/// Answers the `top_k` most probable classes of every image, with the default model or the one that `model` names.
#[utoipa::path(post, path = "/predict", operation_id = "predict", tag = "images", params(PredictQuery), responses((status = 200, description = "One prediction per image, in order", body = PredictAnswer), Problems<IMAGES>))]
pub async fn predict(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    respond(state, request).await
}

/// Classify images with a model
///
/// As `/predict`, with the stable version of the model in the path.
#[utoipa::path(post, path = "/models/{model}/predict", operation_id = "predict_with_model", tag = "images", params(ModelPath, PredictQuery), responses((status = 200, description = "One prediction per image, in order", body = PredictAnswer), Problems<IMAGES>))]
pub async fn predict_model(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    respond(state, request).await
}

/// Classify images with a version of a model
///
/// As `/predict`, with the model and version in the path.
#[utoipa::path(post, path = "/models/{model}/versions/{version}/predict", operation_id = "predict_with_version", tag = "images", params(VersionPath, PredictQuery), responses((status = 200, description = "One prediction per image, in order", body = PredictAnswer), Problems<IMAGES>))]
pub async fn predict_version(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    respond(state, request).await
}

async fn respond(state: State, request: Request) -> Result<Response, ApiError> {
    let (plan, images) = asked(&state, request, |query: PredictQuery, _| plan(&state, &query)).await?;
    Ok((plan_headers(&plan), answer(&state, plan, images).await).into_response())
}

async fn answer(state: &State, plan: Plan, images: Images) -> Result<Response, ApiError> {
    let bytes = Asked::new(&plan, JSON).named(images.names()).check(images.len(), state.server().max_response_bytes)?;
    let (model, captions) = (plan.model(), images.captions());
    let warnings = plan.notes.iter().map(Into::into).collect();
    let input = plan.other_preprocessing().cloned();
    let (answer, admission) = run(state, plan, images, bytes).await?;
    let (timings, held, max) = (TimingsDto::from(answer.timings), admission.clone(), state.server().max_response_bytes);
    let mut headers = answer_headers(&model, timings);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON.format.media_type()));
    let is_quick = is_quick(&answer, bytes);
    let make = move || {
        let body = PredictAnswer { model: (&model).into(), warnings, input, predictions: predictions(captions, answer), timings };
        json::written_within(&body, max, bytes, &held)
    };
    encoded(state, headers, admission, is_quick, make).await
}

fn plan(state: &State, query: &PredictQuery) -> Result<Plan, ApiError> {
    let mut plan = state.engine().plan(&query.request())?;
    query.complete(&mut plan);
    Ok(plan)
}

fn predictions(captions: Vec<Caption>, answer: Answer) -> Vec<PredictionOutcome> {
    let outcomes = answer.images.into_iter().zip(captions);
    let predictions = outcomes.map(|(outcome, caption)| match outcome {
        Ok(answer) => PredictionOutcome::Answered(Prediction {
            image: caption.into_name(),
            top_k: answer.top_k.into_iter().map(Into::into).collect(),
            novelty: answer.novelty.map(Into::into),
            warnings: answer.warnings.iter().map(Into::into).collect(),
        }),
        Err(error) => PredictionOutcome::Skipped(caption.problem(&error).into()),
    });
    predictions.collect()
}
