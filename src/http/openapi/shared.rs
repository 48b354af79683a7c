//! What the document says of every image route: bodies, headers, binary answers; and of every route: problems.
//!
//! Each is a component that operations refer to, so that it is written once and a generated client has one name for it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::openapi::{OpenApi, Ref, RefOr, Response, ResponseBuilder, path::Operation, schema::Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{
    bodies::{self, binary, reference_to},
    headers,
};
use crate::http::{
    accept::Format,
    code::Code,
    problem::{self, ImageProblem, MissingModel, Problem},
};
use crate::message::FieldProblem;

const BINARY: [(Format, &str); 4] = [
    (Format::Npy, "One layer as an array of shape `(images, *layer shape)`, C order"),
    (
        Format::Npz,
        "An array per layer, by name, of shape `(images, *layer shape)`; `images` holds the images' names; with `top_k` also \
         `top_k_index` (int64) and `top_k_score`, of shape `(images, top_k)`",
    ),
    (Format::Svg, "A line plot of one layer's values, a line for each of up to 10 images"),
    (Format::Png, "The same, 1600 × 800 pixels"),
];

/// Adds to `document` what its routes have in common.
pub fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    for (name, schema) in [
        (Problem::name(), Problem::schema()),
        (Code::name(), code_schema()),
        (ImageProblem::name(), ImageProblem::schema()),
        (MissingModel::name(), MissingModel::schema()),
        (FieldProblem::name(), FieldProblem::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    bodies::define(components);
    headers::define(components);
    for (path, item) in &mut document.paths.paths {
        let methods = [("get", &mut item.get), ("post", &mut item.post), ("put", &mut item.put), ("delete", &mut item.delete)];
        for (method, operation) in methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?))) {
            let images = operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "images"));
            let route = Route { method, path, images };
            if images {
                operation.request_body = Some(RefOr::Ref(bodies::images(route.features())));
            }
            if route.upload() {
                operation.request_body = Some(RefOr::Ref(bodies::dataset()));
            }
            answer(operation, route);
            for (status, codes) in problems(route) {
                components.responses.entry(component_name(status)).or_insert_with(|| RefOr::T(problem(status)));
                operation.responses.responses.insert(status.as_str().to_owned(), RefOr::Ref(reference(status, &codes)));
            }
        }
    }
}

/// What decides what a route has in common with others.
#[derive(Debug, Clone, Copy)]
struct Route<'a> {
    method: &'static str,
    path: &'a str,
    images: bool,
}

impl Route<'_> {
    fn features(self) -> bool {
        self.path.ends_with("/features")
    }

    fn upload(self) -> bool {
        (self.method, self.path) == ("post", "/datasets")
    }

    /// Whether it accepts jobs.
    fn submits(self) -> bool {
        self.method == "post" && self.path.starts_with("/jobs/") && !self.path.contains('{')
    }

    /// Whether its answer says which model gave it.
    fn of_model(self) -> bool {
        self.images || self.path.ends_with("/layers") || self.onnx()
    }

    fn onnx(self) -> bool {
        self.path.ends_with("/onnx")
    }

    /// Whether it takes a JSON body that is not about images.
    fn json(self) -> bool {
        self.submits() || self.method == "put"
    }
}

fn answer(operation: &mut Operation, route: Route) {
    for (status, response) in operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
        let RefOr::T(response) = response else { continue };
        headers::refer(response, headers::EVERY);
        if status == "201" || (status == "202" && route.submits()) {
            headers::refer(response, headers::CREATED);
        }
        if route.of_model() {
            headers::refer(response, headers::MODEL);
        }
        if route.images {
            headers::refer(response, headers::ANSWER);
        }
        if route.onnx() {
            response.content.insert("application/octet-stream".to_owned(), RefOr::T(binary("An ONNX model")));
        }
        if route.features() {
            for (format, description) in BINARY {
                response.content.insert(format.media_type().to_owned(), RefOr::T(binary(description)));
            }
        }
    }
}

/// The statuses that are problems, each with the codes that `route` may answer with.
fn problems(route: Route) -> BTreeMap<StatusCode, Vec<Code>> {
    let mut by_status: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.into_iter().filter(|code| may_answer(*code, route)) {
        by_status.entry(code.status()).or_default().push(code);
    }
    by_status
}

fn may_answer(code: Code, route: Route) -> bool {
    let Route { method, path, images } = route;
    match code {
        Code::NotFound | Code::MethodNotAllowed => false,
        Code::Internal => true,
        Code::NotReady => path == "/readyz",
        Code::UnknownModel => images || path.contains("{model}"),
        Code::UnknownVersion => {
            images || method == "put" || ["/layers", "/onnx", "{version}"].iter().any(|end| path.ends_with(end))
        }
        Code::InvalidParameter => images || ["/models", "/jobs", "/datasets"].iter().any(|start| path.starts_with(start)),
        Code::UnknownDataset => path == "/datasets/{id}",
        Code::DatasetInUse => method == "delete" && path.starts_with("/datasets"),
        Code::BadArchive | Code::ArchiveTooLarge | Code::BadDataset | Code::FolderRefused | Code::StorageFull => route.upload(),
        Code::UnknownLayer | Code::NotAcceptable | Code::NotFinite => route.features(),
        Code::ResponseTooLarge => route.features() || route.onnx(),
        Code::MalformedBody | Code::UnsupportedMediaType | Code::BodyTooLarge | Code::BodyTimeout | Code::Busy => {
            images || route.json() || route.upload()
        }
        Code::QueueFull => images || route.submits(),
        Code::InvalidRecipe | Code::IdempotencyKeyReused | Code::IdempotencyInProgress => route.submits(),
        Code::UnknownJob => path == "/jobs" || path.starts_with("/jobs/{id}"),
        Code::JobFinished => path.ends_with("/cancel"),
        Code::TooManyStreams => path.ends_with("/events"),
        Code::VersionInUse => method == "delete" && path.contains("{version}"),
        Code::NoClasses
        | Code::TooManyImages
        | Code::TooManyPixels
        | Code::NoImages
        | Code::BadImages
        | Code::UntrainedModel
        | Code::Timeout
        | Code::ModelTooLarge
        | Code::ShuttingDown => images,
    }
}

/// The response of every problem of one status.
fn problem(status: StatusCode) -> Response {
    let codes = Code::ALL.into_iter().filter(|code| code.status() == status);
    let lines: Vec<String> = codes.map(|code| format!("`{}`: {}", code.wire_name(), code.title())).collect();
    let mut response = ResponseBuilder::new()
        .description(lines.join("; "))
        .content(problem::CONTENT_TYPE, reference_to(&Problem::name()))
        .build();
    headers::refer(&mut response, headers::EVERY);
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers::refer(&mut response, headers::ENCODING);
    }
    if Code::ALL.iter().any(|code| code.status() == status && code.is_temporary()) {
        headers::refer(&mut response, headers::TEMPORARY);
    }
    response
}

/// A status's response, with the codes that it may carry here.
fn reference(status: StatusCode, codes: &[Code]) -> Ref {
    let codes: Vec<String> = codes.iter().map(|code| format!("`{}`", code.wire_name())).collect();
    let mut reference = Ref::from_response_name(component_name(status));
    reference.description = codes.join(", ");
    reference
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
