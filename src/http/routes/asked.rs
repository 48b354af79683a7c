//! What a request to `/predict` or `/features` asks, of which images: parameters of path, query and body, joined and planned.
//!
//! Computes nothing, and knows no form of an answer.

use axum::{extract::Request, http::HeaderMap};

use crate::http::{
    error::ApiError,
    images::{Images, Kind},
    query::Query,
    state::State,
};

/// Reads `request`, whose parameters must be among `allowed`, and gives what `plan` makes of them, with the images.
///
/// Where the body has no room for parameters, it is not read before the plan is made: a mistake is refused before the upload.
///
/// # Errors
/// Whatever is wrong with parameters or body, and what `plan` refuses.
pub async fn asked<P>(
    state: &State,
    request: Request,
    allowed: &'static [&'static str],
    plan: impl Fn(&Query, &HeaderMap) -> Result<P, ApiError>,
) -> Result<(P, Images), ApiError> {
    let (mut parts, body) = request.into_parts();
    let kind = Kind::of(&parts.headers, &body);
    let (query, kind) = (Query::of(&mut parts, allowed).await?, kind?);
    let intake = state.intake();
    if let Some(place) = kind.place() {
        let (images, pairs) = Images::read(intake, kind, &parts.headers, body, allowed).await?;
        return Ok((plan(&query.and(place, pairs, allowed)?, &parts.headers)?, images));
    }
    let planned = plan(&query, &parts.headers)?;
    let (images, _) = Images::read(intake, kind, &parts.headers, body, allowed).await?;
    Ok((planned, images))
}
