//! `/healthz`, `/readyz` and `/metrics`: what an orchestrator and Prometheus ask.

use axum::{
    Json, extract,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{body, code::codes, error::ApiError, openapi::Problems, problem::MissingModel, state::State},
    inference::Admission,
};

/// A state in one word.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    /// `ok` or `ready`.
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", operation_id = "get_health", tag = "health", responses((status = 200, description = "It does", body = Status), Problems<0>))]
pub async fn healthz() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// Whether the configured models are loaded and warm, and jobs can be kept
#[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", tag = "health", responses((status = 200, description = "They are", body = Status), Problems<{ codes! { NotReady JobsUnavailable } }>))]
pub async fn readyz(extract::State(state): extract::State<State>) -> Result<Json<Status>, ApiError> {
    let missing = state.engine().readiness().missing;
    if missing.is_empty() {
        if let Ok(jobs) = state.service().jobs() {
            jobs.check().await?;
        }
        return Ok(Json(Status { status: "ready" }));
    }
    Err(ApiError::NotReady(missing.into_iter().map(|(model, reason)| MissingModel { model, reason }).collect()))
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "health", responses((status = 200, description = "Prometheus's text format", body = String, content_type = "text/plain"), Problems<0>))]
pub async fn metrics(extract::State(state): extract::State<State>, admission: Admission) -> Response {
    // A store that is out of order is not what keeps the other metrics from whoever looks for its cause.
    if let Ok(jobs) = state.service().jobs()
        && let Ok(counts) = jobs.counts().await
    {
        for (state, count) in counts {
            metrics::gauge!("graft_jobs", "state" => state.name()).set(count as f64);
        }
    }
    let (intake, origin) = (state.intake().clone(), admission.origin());
    // Long where many models are served; the process's own are read from files.
    let render = move || {
        let text = state.metrics_text().into_bytes();
        // It counts where it can: whoever looks for what takes the memory needs it most where none is left.
        admission.take(text.len()).ok();
        {
            let length = text.len();
            body::outgoing(text, admission.into_memory(length))
        }
    };
    let body = intake.encoding.run(origin, render).await.expect("any number may wait");
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}
