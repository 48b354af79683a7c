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
    dto::FolderRequest,
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
        (FolderRequest::name(), FolderRequest::schema()),
    ] {
        schemas.insert(name.into_owned(), schema);
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in [("GET", &mut item.get), ("POST", &mut item.post), ("DELETE", &mut item.delete)] {
            let Some(operation) = operation else { continue };
            let images = operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "images"));
            let upload = (method, path.as_str()) == ("POST", "/datasets");
            let deletes = method == "DELETE";
            let asked = Asked { path, images, features: path.ends_with("/features"), upload, deletes };
            if asked.images {
                operation.request_body = Some(RefOr::T(images_body()));
            }
            if asked.upload {
                operation.request_body = Some(RefOr::T(dataset_body()));
            }
            answer(operation, &asked);
            for (status, response) in problems(&asked) {
                operation.responses.responses.insert(status, RefOr::T(response));
            }
        }
    }
}

/// What decides what is said of a route.
struct Asked<'a> {
    path: &'a str,
    images: bool,
    features: bool,
    upload: bool,
    deletes: bool,
}

fn answer(operation: &mut Operation, asked: &Asked<'_>) {
    let success = operation.responses.responses.iter_mut().find(|(status, _)| status.starts_with('2'));
    let Some((_, RefOr::T(response))) = success else { return };
    response.headers.insert("X-Request-Id".to_owned(), RefOr::T(request_id_header()));
    if asked.upload {
        response.headers.insert("Location".to_owned(), RefOr::T(text_header("Where the data set is")));
    }
    if !asked.images {
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
    if asked.features {
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

fn dataset_body() -> RequestBody {
    let archive = "Class folders of images, optionally under `train/` and `val/`, optionally within one outer folder";
    let folder = ContentBuilder::new().schema(Some(Ref::from_schema_name(FolderRequest::name()))).build();
    RequestBodyBuilder::new()
        .description(Some("An archive of class folders, of up to `datasets.max_upload_bytes`; or a folder of the server"))
        .required(Some(Required::True))
        .content("application/zip", binary(archive))
        .content("application/x-tar", binary(archive))
        .content("application/gzip", binary("The same as a tar archive in gzip"))
        .content("application/json", folder)
        .build()
}

/// A response per status, each naming the codes that it may carry.
fn problems(asked: &Asked<'_>) -> BTreeMap<String, Response> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.into_iter().filter(|code| may_answer(*code, asked)) {
        by_status.entry(code.status().as_u16().to_string()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status, problem(&codes))).collect()
}

fn may_answer(code: Code, asked: &Asked<'_>) -> bool {
    let Asked { path, images, features, upload, deletes } = *asked;
    match code {
        Code::NotFound | Code::MethodNotAllowed => false,
        Code::Internal => true,
        Code::NotReady => path == "/readyz",
        Code::UnknownModel => images || path.contains("{model}"),
        Code::UnknownVersion => images || path.ends_with("/layers"),
        Code::InvalidParameter => images || path.starts_with("/models") || path.starts_with("/datasets"),
        Code::UnknownDataset => path == "/datasets/{id}",
        Code::DatasetInUse => deletes && path.starts_with("/datasets"),
        Code::BadArchive | Code::ArchiveTooLarge | Code::BadDataset | Code::FolderRefused | Code::StorageFull => upload,
        Code::MalformedBody | Code::UnsupportedMediaType | Code::BodyTooLarge | Code::BodyTimeout | Code::Busy => {
            images || upload
        }
        Code::UnknownLayer | Code::NotAcceptable | Code::NotFinite | Code::ResponseTooLarge => features,
        Code::NoClasses
        | Code::TooManyImages
        | Code::TooManyPixels
        | Code::NoImages
        | Code::BadImages
        | Code::UntrainedModel
        | Code::QueueFull
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
