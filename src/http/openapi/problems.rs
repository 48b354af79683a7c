//! What the document says of problems: the codes that each route may answer with, by status, and the shape of them all.
//!
//! Knows no route.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::openapi::{Components, Ref, RefOr, Response, ResponseBuilder, schema::Schema};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::{bodies::reference_to, headers};
use crate::http::{
    code::{Code, Codes, codes},
    problem::{self, ImageProblem, MissingModel, Problem},
};
use crate::message::FieldProblem;

/// The problems of a route that may answer with `CODES`, and, as every route, with [`Code::Internal`].
pub struct Problems<const CODES: Codes>;

impl<const CODES: Codes> IntoResponses for Problems<CODES> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<String, RefOr<Response>> = BTreeMap::new();
        for code in Code::ALL.iter().filter(|code| code.is_in(CODES | codes!(Internal))) {
            let entry = by_status.entry(code.status().as_str().to_owned());
            let of_status = entry.or_insert_with(|| RefOr::Ref(Ref::from_response_name(component_name(code.status()))));
            let RefOr::Ref(reference) = of_status else { continue };
            let before = if reference.description.is_empty() { "" } else { ", " };
            reference.description = format!("{}{before}`{}`", reference.description, code.wire_name());
        }
        by_status
    }
}

/// Adds `more` problems to those of an operation.
pub fn add(responses: &mut BTreeMap<String, RefOr<Response>>, more: BTreeMap<String, RefOr<Response>>) {
    for (status, problem) in more {
        match (responses.get_mut(&status), problem) {
            (Some(RefOr::Ref(known)), RefOr::Ref(more)) => {
                let new = more.description.split(", ").filter(|code| !known.description.split(", ").any(|known| known == *code));
                let all: Vec<&str> = known.description.split(", ").chain(new).collect();
                known.description = all.join(", ");
            }
            (Some(RefOr::T(_)), _) | (Some(RefOr::Ref(_)), RefOr::T(_)) => {}
            (None, problem) => {
                responses.insert(status, problem);
            }
        }
    }
}

/// Adds to `components` what problems refer to.
pub fn define(components: &mut Components) {
    for (name, schema) in [
        (Problem::name(), Problem::schema()),
        (Code::name(), code_schema()),
        (ImageProblem::name(), ImageProblem::schema()),
        (MissingModel::name(), MissingModel::schema()),
        (FieldProblem::name(), FieldProblem::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    for status in Code::ALL.iter().map(|code| code.status()).filter(|status| *status != StatusCode::METHOD_NOT_ALLOWED) {
        components.responses.entry(component_name(status)).or_insert_with(|| RefOr::T(problem(status)));
    }
}

/// The response of every problem of one status.
fn problem(status: StatusCode) -> Response {
    let codes = Code::ALL.iter().filter(|code| code.status() == status);
    let lines: Vec<String> = codes.map(|code| format!("`{}`: {}", code.wire_name(), code.title())).collect();
    let mut response = ResponseBuilder::new()
        .description(lines.join("; "))
        .content(problem::CONTENT_TYPE, reference_to(&Problem::name()))
        .build();
    headers::refer(&mut response, headers::EVERY);
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers::refer(&mut response, headers::ENCODING);
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        headers::refer(&mut response, headers::CHALLENGE);
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers::refer(&mut response, headers::LIMITS);
        headers::refer(&mut response, headers::TEMPORARY);
    }
    if Code::ALL.iter().any(|code| code.status() == status && code.is_temporary()) {
        headers::refer(&mut response, headers::TEMPORARY);
    }
    response
}

/// The status's name in HTTP, without spaces.
fn component_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_else(|| status.as_str()).replace(' ', "")
}

/// The list of codes, each with its status and meaning.
fn code_schema() -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = Code::schema() else { return Code::schema() };
    let lines = Code::ALL.iter().map(|code| format!("- `{}` ({}): {}", code.wire_name(), code.status().as_u16(), code.title()));
    object.description = Some(format!("What went wrong, as a program reads it:\n{}", lines.collect::<Vec<_>>().join("\n")));
    RefOr::T(Schema::Object(object))
}
