//! The bodies that are more than one JSON type: images in four forms, data sets in six; as components.

use serde_json::json;
use utoipa::openapi::{
    Components, Content, ContentBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Required, SchemaFormat,
    request_body::RequestBodyBuilder,
    schema::{ArrayBuilder, Schema, Type},
};
use utoipa::{PartialSchema, ToSchema};

use crate::http::{
    dto::FolderRequest,
    images::{ImageEntry, ImagesRequest},
};

const IMAGES: &str = "Images";
const IMAGE_FILES: &str = "ImageFiles";
const DATASET: &str = "Dataset";
const ARCHIVE_FILE: &str = "ArchiveFile";

/// An image that every model takes, so that what a browser of the document sends unasked is answered: 8 × 8 pixels of red.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mP4z8CAFTEMLQkAKP8/wc53yE8AAAAASUVORK5CYII=";

/// Adds the bodies and their schemas to `components`.
pub fn define(components: &mut Components) {
    for (name, schema) in [
        (ImagesRequest::name(), ImagesRequest::schema()),
        (ImageEntry::name(), ImageEntry::schema()),
        (IMAGE_FILES.into(), RefOr::T(files())),
        (ARCHIVE_FILE.into(), RefOr::T(archive_file())),
        (FolderRequest::name(), FolderRequest::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    components.request_bodies.insert(IMAGES.to_owned(), RefOr::T(images_body().build()));
    components.request_bodies.insert(DATASET.to_owned(), RefOr::T(dataset_body().build()));
}

/// The body of image routes.
pub fn images() -> Ref {
    reference(IMAGES)
}

/// The body of `POST /datasets`.
pub fn dataset() -> Ref {
    reference(DATASET)
}

/// Bytes as they are.
pub fn binary(description: &str) -> Content {
    let schema = ObjectBuilder::from(bytes()).description(Some(description));
    ContentBuilder::new().schema(Some(Schema::from(schema))).build()
}

/// What the schema called `name` describes.
pub fn reference_to(name: &str) -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build()
}

fn reference(name: &str) -> Ref {
    Ref::new(format!("#/components/requestBodies/{name}"))
}

fn images_body() -> RequestBodyBuilder {
    let example = json!({"images": [{"b64": PNG, "name": "red.png"}]});
    let document = ContentBuilder::new().schema(Some(Ref::from_schema_name(ImagesRequest::name()))).example(Some(example));
    RequestBodyBuilder::new()
        .description(Some("One image as it is, several as form files, or base64 in JSON: JPEG, PNG, BMP, GIF, WebP, TIFF"))
        .required(Some(Required::True))
        .content("image/*", binary("One image"))
        .content("application/octet-stream", binary("One image"))
        .content("multipart/form-data", reference_to(IMAGE_FILES))
        .content("application/json", document.build())
}

fn files() -> Schema {
    let files = ArrayBuilder::new()
        .items(bytes())
        .description(Some("Every part with a file name is an image, whatever the field is called; other parts are refused"));
    ObjectBuilder::new().description(Some("Images as form files")).property("image", files).required("image").into()
}

fn archive_file() -> Schema {
    let file = ObjectBuilder::from(bytes()).description(Some("The archive, whatever the field is called"));
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    ObjectBuilder::new()
        .description(Some("An archive as a form file"))
        .property("file", file)
        .required("file")
        .property("layout", text("As the query's `layout`"))
        .property("names", text("As the query's `names`"))
        .into()
}

fn dataset_body() -> RequestBodyBuilder {
    let archive =
        "Class folders of images, optionally under or over `train/`, `val/` and `test/`, optionally within outer folders";
    RequestBodyBuilder::new()
        .description(Some("An archive of class folders, of up to `datasets.max_upload_bytes`; or a folder of the server"))
        .required(Some(Required::True))
        .content("application/octet-stream", binary("One of the archives; its first bytes say which"))
        .content("application/zip", binary(archive))
        .content("application/x-tar", binary(archive))
        .content("application/gzip", binary("The same as a tar archive in gzip"))
        .content("multipart/form-data", reference_to(ARCHIVE_FILE))
        .content("application/json", reference_to(&FolderRequest::name()))
}

fn bytes() -> Object {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build()
}
