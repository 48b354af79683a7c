//! The bodies that are more than one JSON type: images in four forms, with parameters in two, data sets in six; as components.

use serde_json::json;
use utoipa::openapi::{
    Components, Content, ContentBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Required, SchemaFormat,
    request_body::RequestBodyBuilder,
    schema::{AdditionalProperties, ArrayBuilder, OneOfBuilder, Schema, Type},
};

use crate::http::{
    image_parameters::{FeaturesQuery, PredictQuery},
    parameters::{Parameter, Parameters},
    upload::DatasetsQuery,
};

const IMAGE_ENTRY: &str = "ImageEntry";
const DATASET: &str = "Dataset";
const ARCHIVE_FILE: &str = "ArchiveFile";
const FOLDER: &str = "FolderRequest";

/// An image that every model takes, so that what a browser of the document sends unasked is answered: 8 × 8 pixels of red.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mP4z8CAFTEMLQkAKP8/wc53yE8AAAAASUVORK5CYII=";

/// Adds the bodies and their schemas to `components`.
pub fn define(components: &mut Components) {
    components.schemas.insert(IMAGE_ENTRY.to_owned(), RefOr::T(entry()));
    for (route, parameters) in [("Predict", PredictQuery::declared()), ("Features", FeaturesQuery::declared())] {
        let (json, form) = (format!("{route}Request"), format!("{route}Form"));
        components.request_bodies.insert(format!("{route}Images"), RefOr::T(images_body(&json, &form).build()));
        insert(components, &json, document(), parameters, Parameter::json_field);
        insert(components, &form, files(), parameters, Parameter::form_field);
    }
    insert(components, FOLDER, folder(), DatasetsQuery::declared(), Parameter::json_field);
    insert(components, ARCHIVE_FILE, archive_file(), DatasetsQuery::declared(), Parameter::form_field);
    components.request_bodies.insert(DATASET.to_owned(), RefOr::T(dataset_body().build()));
}

/// Adds a body called `name`: its own fields, and a `field` for each of `parameters`, with what they refer to.
fn insert(
    components: &mut Components,
    name: &str,
    own: ObjectBuilder,
    parameters: &[Parameter],
    field: impl Fn(&Parameter) -> RefOr<Schema>,
) {
    let body = parameters.iter().fold(own, |body, parameter| body.property(parameter.name, field(parameter)));
    components.schemas.insert(name.to_owned(), RefOr::T(body.into()));
    components.schemas.extend(parameters.iter().filter_map(|parameter| parameter.component.clone()));
}

/// The body of image routes: of those for features, or of the others.
pub fn images(features: bool) -> Ref {
    reference(if features { "FeaturesImages" } else { "PredictImages" })
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

fn images_body(json: &str, form: &str) -> RequestBodyBuilder {
    let example = json!({"images": [{"b64": PNG, "name": "red.png"}]});
    let document = ContentBuilder::new().schema(Some(Ref::from_schema_name(json))).example(Some(example));
    RequestBodyBuilder::new()
        .description(Some(
            "One image as it is, several as form files, or base64 in JSON: JPEG, PNG, BMP, GIF, WebP, TIFF. In a form and in JSON the \
             parameters may stand beside the images. `Content-Encoding: gzip` and `deflate` are decoded.",
        ))
        .required(Some(Required::True))
        .content("image/*", binary("One image"))
        .content("application/octet-stream", binary("One image"))
        .content("multipart/form-data", reference_to(form))
        .content("application/json", document.build())
}

/// An image in JSON, with its name.
fn entry() -> Schema {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    ObjectBuilder::new()
        .description(Some("An image in JSON, with its name."))
        .property("b64", text("Base64, either alphabet, padding optional; or a `data:` URI."))
        .property("name", text("What the answer calls it; its position without."))
        .required("b64")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .into()
}

fn document() -> ObjectBuilder {
    let base64 = ObjectBuilder::new().schema_type(Type::String).description(Some("Base64, or a `data:` URI"));
    let image = OneOfBuilder::new().item(base64).item(Ref::from_schema_name(IMAGE_ENTRY));
    let images = ArrayBuilder::new().items(image).description(Some("At least one; the answer keeps their order."));
    ObjectBuilder::new()
        .description(Some("Images in JSON, and parameters."))
        .property("images", images)
        .required("images")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn files() -> ObjectBuilder {
    let files = ArrayBuilder::new()
        .items(bytes())
        .description(Some("Every part with a file name or an image type is an image, whatever the field is called"));
    ObjectBuilder::new().description(Some("Images as form files, and parameters")).property("image", files).required("image")
}

fn archive_file() -> ObjectBuilder {
    let file = ObjectBuilder::from(bytes()).description(Some("The archive, whatever the field is called"));
    ObjectBuilder::new().description(Some("An archive as a form file, and parameters")).property("file", file).required("file")
}

fn folder() -> ObjectBuilder {
    let path = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("A folder of the server, below `datasets.root`; its files are copied."));
    ObjectBuilder::new()
        .description(Some("A folder of the server, and parameters"))
        .property("path", path)
        .required("path")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn dataset_body() -> RequestBodyBuilder {
    let archive =
        "Class folders of images, optionally under or over `train/`, `val/` and `test/`, optionally within outer folders";
    let folder = ContentBuilder::new().schema(Some(Ref::from_schema_name(FOLDER))).example(Some(json!({"path": "hymenoptera"})));
    RequestBodyBuilder::new()
        .description(Some(
            "An archive of class folders, of up to `datasets.max_upload_bytes`; or a folder of the server. The first bytes of an \
             archive say what it is, under other content types too, save that `image/…`, `video/…`, `audio/…` and `text/…` carry \
             none (`unsupported_media_type`). `Content-Encoding: gzip` and `deflate` are decoded.",
        ))
        .required(Some(Required::True))
        .content("application/octet-stream", binary("One of the archives; its first bytes say which"))
        .content("application/zip", binary(archive))
        .content("application/x-tar", binary(archive))
        .content("application/gzip", binary("The same as a tar archive in gzip"))
        .content("multipart/form-data", reference_to(ARCHIVE_FILE))
        .content("application/json", folder.build())
}

pub(super) fn bytes() -> Object {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build()
}
