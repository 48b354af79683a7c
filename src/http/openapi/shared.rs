//! What the document says of every image route: bodies, headers, binary answers; and of every route: problems.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::{
    Content, ContentBuilder, Header, HeaderBuilder, KnownFormat, Object, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response,
    ResponseBuilder, SchemaFormat,
    path::Operation,
    request_body::{RequestBody, RequestBodyBuilder},
    schema::{ArrayBuilder, Schema, Type},
};
use utoipa::{PartialSchema, ToSchema};

use crate::http::{
    accept::Format,
    code::Code,
    problem::{self, ImageProblem, MissingModel, Problem},
};

const BINARY: [(Format, &str); 2] = [
    (Format::Npy, "One layer as an array of shape `(images, *layer shape)`, C order"),
    (
        Format::Npz,
        "An array per layer, by name, of shape `(images, *layer shape)`; `images` holds the images' names; with `top_k` also \
         `top_k_index` and `top_k_score`, of shape `(images, top_k)`",
    ),
];

/// Adds to `document` what its routes have in common.
pub fn complete(document: &mut OpenApi) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    for (name, schema) in [
        (Problem::name(), Problem::schema()),
        (Code::name(), code_schema()),
        (ImageProblem::name(), ImageProblem::schema()),
        (MissingModel::name(), MissingModel::schema()),
    ] {
        schemas.insert(name.into_owned(), schema);
    }
    for (path, item) in &mut document.paths.paths {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            let images = operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "images"));
            let features = path.ends_with("/features");
            if images {
                operation.request_body = Some(RefOr::T(images_body()));
            }
            answer(operation, images, features);
            for (status, response) in problems(path, images, features) {
                operation.responses.responses.insert(status, RefOr::T(response));
            }
        }
    }
}

fn answer(operation: &mut Operation, images: bool, features: bool) {
    let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") else { return };
    response.headers.insert("X-Request-Id".to_owned(), RefOr::T(request_id_header()));
    if !images {
        return;
    }
    for (name, description) in [
        ("Graft-Model", "Name of the model that answered"),
        ("Graft-Version", "Its version"),
        ("Graft-Pretrained", "`false` when its weights are untrained: the answer then means nothing"),
        ("Server-Timing", "Milliseconds of `decode`, `queue` and `inference`"),
    ] {
        response.headers.insert(name.to_owned(), RefOr::T(text_header(description)));
    }
    if features {
        for (format, description) in BINARY {
            response.content.insert(format.media_type().to_owned(), RefOr::T(binary(description)));
        }
    }
}

fn images_body() -> RequestBody {
    let name = ObjectBuilder::new().schema_type(Type::String).description(Some("What the answer calls it; its position without"));
    let b64 = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Base64, either alphabet, padding optional; or a `data:` URI"));
    let image = ObjectBuilder::new().property("b64", b64).required("b64").property("name", name);
    let document = ObjectBuilder::new()
        .property("images", ArrayBuilder::new().items(image))
        .required("images")
        .examples([json!({"images": [{"b64": "/9j/4AAQSkZJRg…", "name": "train.jpg"}]})]);
    let files = ArrayBuilder::new()
        .items(bytes())
        .description(Some("Every part with a file name is an image, whatever the field is called; other parts are refused"));
    RequestBodyBuilder::new()
        .description(Some("One image as it is, several as form files, or base64 in JSON: JPEG, PNG, BMP, GIF, WebP, TIFF"))
        .required(Some(Required::True))
        .content("image/*", binary("One image"))
        .content("application/octet-stream", binary("One image"))
        .content("multipart/form-data", content(ObjectBuilder::new().property("image", files)))
        .content("application/json", content(document))
        .build()
}

/// A response per status, each naming the codes that it may carry.
fn problems(path: &str, images: bool, features: bool) -> BTreeMap<String, Response> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.into_iter().filter(|code| may_answer(*code, path, images, features)) {
        by_status.entry(code.status().as_u16().to_string()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status, problem(&codes))).collect()
}

fn may_answer(code: Code, path: &str, images: bool, features: bool) -> bool {
    match code {
        Code::NotFound | Code::MethodNotAllowed => false,
        Code::Internal => true,
        Code::NotReady => path == "/readyz",
        Code::UnknownModel => images || path.contains("{model}"),
        Code::UnknownVersion => images || path.ends_with("/layers"),
        Code::InvalidParameter => images || path.starts_with("/models"),
        Code::UnknownLayer | Code::NotAcceptable | Code::NotFinite | Code::ResponseTooLarge => features,
        Code::NoClasses
        | Code::MalformedBody
        | Code::UnsupportedMediaType
        | Code::BodyTooLarge
        | Code::TooManyImages
        | Code::TooManyPixels
        | Code::NoImages
        | Code::BadImages
        | Code::UntrainedModel
        | Code::BodyTimeout
        | Code::QueueFull
        | Code::Busy
        | Code::Timeout
        | Code::ModelTooLarge
        | Code::ShuttingDown => images,
    }
}

fn problem(codes: &[Code]) -> Response {
    let lines: Vec<String> = codes.iter().map(|code| format!("`{}`: {}", code.wire_name(), code.title())).collect();
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    let mut response = ResponseBuilder::new()
        .description(lines.join("; "))
        .content(problem::CONTENT_TYPE, body)
        .header("X-Request-Id", request_id_header());
    if codes.iter().any(|code| code.is_temporary()) {
        response = response.header("Retry-After", text_header("Seconds to wait"));
    }
    response.build()
}

/// The list of codes, each with its status and meaning.
fn code_schema() -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = Code::schema() else { return Code::schema() };
    let lines = Code::ALL.iter().map(|code| format!("- `{}` ({}): {}", code.wire_name(), code.status().as_u16(), code.title()));
    object.description = Some(format!("What went wrong, as a program reads it:\n{}", lines.collect::<Vec<_>>().join("\n")));
    RefOr::T(Schema::Object(object))
}

fn request_id_header() -> Header {
    text_header("The request's own, when it sent one of at most 128 visible ASCII characters; else a new UUIDv7")
}

fn text_header(description: &str) -> Header {
    HeaderBuilder::new().schema(Some(Object::with_type(Type::String))).description(Some(description)).build()
}

fn binary(description: &str) -> Content {
    let schema = ObjectBuilder::from(bytes()).description(Some(description));
    content(schema)
}

fn bytes() -> Object {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build()
}

fn content(schema: impl Into<Schema>) -> Content {
    ContentBuilder::new().schema(Some(schema.into())).build()
}
