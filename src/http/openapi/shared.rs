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
    problem::{self, FieldProblem, ImageProblem, MissingModel, Problem},
};

const BINARY: [(Format, &str); 4] = [
    (Format::Npy, "One layer as an array of shape `(images, *layer shape)`, C order"),
    (
        Format::Npz,
        "An array per layer, by name, of shape `(images, *layer shape)`; `images` holds the images' names; with `top_k` also \
         `top_k_index` and `top_k_score`, of shape `(images, top_k)`",
    ),
    (Format::Svg, "A line plot of one layer's values, a line for each of up to 10 images"),
    (Format::Png, "The same, 1600 × 800 pixels"),
];

/// Adds to `document` what its routes have in common.
pub fn complete(document: &mut OpenApi) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    for (name, schema) in [
        (Problem::name(), Problem::schema()),
        (Code::name(), code_schema()),
        (ImageProblem::name(), ImageProblem::schema()),
        (MissingModel::name(), MissingModel::schema()),
        (FieldProblem::name(), FieldProblem::schema()),
        (FolderRequest::name(), FolderRequest::schema()),
    ] {
        schemas.insert(name.into_owned(), schema);
    }
    for (path, item) in &mut document.paths.paths {
        let methods = [("get", &mut item.get), ("post", &mut item.post), ("put", &mut item.put), ("delete", &mut item.delete)];
        for (method, operation) in methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?))) {
            let images = operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "images"));
            let route = Route { method, path, images };
            if images {
                operation.request_body = Some(RefOr::T(images_body()));
            }
            if route.upload() {
                operation.request_body = Some(RefOr::T(dataset_body()));
            }
            answer(operation, route);
            for (status, response) in problems(route) {
                operation.responses.responses.insert(status, RefOr::T(response));
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

    fn finetune(self) -> bool {
        self.path == "/jobs/finetune"
    }

    /// Whether it takes a JSON body that is not about images.
    fn json(self) -> bool {
        self.finetune() || self.method == "put"
    }
}

fn answer(operation: &mut Operation, route: Route) {
    for (_, response) in operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
        let RefOr::T(response) = response else { continue };
        response.headers.insert("X-Request-Id".to_owned(), RefOr::T(request_id_header()));
    }
    if route.upload()
        && let Some(RefOr::T(response)) = operation.responses.responses.get_mut("201")
    {
        response.headers.insert("Location".to_owned(), RefOr::T(text_header("Where the data set is")));
    }
    let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200").filter(|_| route.images) else { return };
    for (name, description) in [
        ("Graft-Model", "Name of the model that answered"),
        ("Graft-Version", "Its version"),
        ("Graft-Pretrained", "`false` when its weights are untrained: the answer then means nothing"),
        ("Server-Timing", "Milliseconds of `decode`, `queue` and `inference`"),
    ] {
        response.headers.insert(name.to_owned(), RefOr::T(text_header(description)));
    }
    if route.features() {
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
fn problems(route: Route) -> BTreeMap<String, Response> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.into_iter().filter(|code| may_answer(*code, route)) {
        by_status.entry(code.status().as_u16().to_string()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status, problem(&codes))).collect()
}

fn may_answer(code: Code, route: Route) -> bool {
    let Route { method, path, images } = route;
    match code {
        Code::NotFound | Code::MethodNotAllowed => false,
        Code::Internal => true,
        Code::NotReady => path == "/readyz",
        Code::UnknownModel => images || path.contains("{model}"),
        Code::UnknownVersion => images || ["/layers", "/stable", "/onnx", "{version}"].iter().any(|end| path.ends_with(end)),
        Code::InvalidParameter => images || ["/models", "/jobs", "/datasets"].iter().any(|start| path.starts_with(start)),
        Code::UnknownDataset => path == "/datasets/{id}",
        Code::DatasetInUse => method == "delete" && path.starts_with("/datasets"),
        Code::BadArchive | Code::ArchiveTooLarge | Code::BadDataset | Code::FolderRefused | Code::StorageFull => route.upload(),
        Code::UnknownLayer | Code::NotAcceptable | Code::NotFinite => route.features(),
        Code::ResponseTooLarge => route.features() || path.ends_with("/onnx"),
        Code::MalformedBody | Code::UnsupportedMediaType | Code::BodyTooLarge | Code::BodyTimeout | Code::Busy => {
            images || route.json() || route.upload()
        }
        Code::QueueFull => images || route.finetune(),
        Code::InvalidRecipe | Code::IdempotencyKeyReused | Code::IdempotencyInProgress => route.finetune(),
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
