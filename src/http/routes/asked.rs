//! What a request to `/predict` or `/features` asks, of which images: parameters of path, query and body, joined and planned.
//!
//! Computes nothing, and knows no form of an answer.

use axum::{extract::Request, http::HeaderMap};

use crate::http::{
    access,
    error::ApiError,
    images::{Images, Kind},
    parameters::Parameters,
    query::Query,
    state::State,
};

/// Reads `request`, and gives what `plan` makes of its parameters, with the images.
///
/// Where the body has no room for parameters, it is not read before the plan is made: a mistake is refused before the upload.
///
/// # Errors
/// Whatever is wrong with parameters or body, and what `plan` refuses.
pub async fn asked<Q: Parameters, P>(
    state: &State,
    request: Request,
    plan: impl Fn(Q, &HeaderMap) -> Result<P, ApiError>,
) -> Result<(P, Images), ApiError> {
    let (mut parts, body) = request.into_parts();
    let kind = Kind::of(&parts.headers, &body);
    let (query, kind) = (Query::of(&mut parts, Q::declared()).await?, kind?);
    access::may_ask(&parts.extensions)?;
    let (intake, admission) = (state.intake(), state.intake().admit(&parts.extensions));
    if let Some(place) = kind.place() {
        let (images, pairs) = Images::read(intake, kind, &parts.headers, body, admission, Q::declared()).await?;
        access::take(&parts.extensions, images.len())?;
        return Ok((plan(Q::read(&query.and(place, pairs)?)?, &parts.headers)?, images));
    }
    let planned = plan(Q::read(&query)?, &parts.headers)?;
    let (images, _) = Images::read(intake, kind, &parts.headers, body, admission, Q::declared()).await?;
    access::take(&parts.extensions, images.len())?;
    Ok((planned, images))
}
