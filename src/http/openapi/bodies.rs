//! The bodies that are more than one JSON type: images in four forms, with parameters in two, data sets in six; as components.

use serde_json::json;
use utoipa::openapi::{
    Components, Content, ContentBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Required, SchemaFormat,
    request_body::RequestBodyBuilder,
    schema::{AdditionalProperties, ArrayBuilder, OneOfBuilder, Schema, SchemaType, Type},
};
use utoipa::{PartialSchema, ToSchema};

use super::parameters::{FeaturesQuery, PredictQuery};
use crate::http::dto::FolderRequest;

const IMAGE_ENTRY: &str = "ImageEntry";
const DATASET: &str = "Dataset";
const ARCHIVE_FILE: &str = "ArchiveFile";

/// What the bodies of a kind of route are called.
struct Names {
    body: &'static str,
    json: &'static str,
    form: &'static str,
}

const PREDICT: Names = Names { body: "PredictImages", json: "PredictRequest", form: "PredictForm" };
const FEATURES: Names = Names { body: "FeaturesImages", json: "FeaturesRequest", form: "FeaturesForm" };

/// An image that every model takes, so that what a browser of the document sends unasked is answered: 8 × 8 pixels of red.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mP4z8CAFTEMLQkAKP8/wc53yE8AAAAASUVORK5CYII=";

/// Adds the bodies and their schemas to `components`.
pub fn define(components: &mut Components) {
    components.schemas.insert(IMAGE_ENTRY.to_owned(), RefOr::T(entry()));
    components.schemas.insert(ARCHIVE_FILE.to_owned(), RefOr::T(archive_file()));
    components.schemas.insert(FolderRequest::name().into_owned(), FolderRequest::schema());
    for (names, parameters) in [(PREDICT, PredictQuery::schema()), (FEATURES, FeaturesQuery::schema())] {
        components.schemas.insert(names.json.to_owned(), RefOr::T(with_parameters(document(), &parameters, any_layers)));
        components.schemas.insert(names.form.to_owned(), RefOr::T(with_parameters(files(), &parameters, |layer| layer)));
        components.request_bodies.insert(names.body.to_owned(), RefOr::T(images_body(&names).build()));
    }
    components.request_bodies.insert(DATASET.to_owned(), RefOr::T(dataset_body().build()));
}

/// The body of image routes: of those for features, or of the others.
pub fn images(features: bool) -> Ref {
    reference(if features { FEATURES.body } else { PREDICT.body })
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

fn images_body(names: &Names) -> RequestBodyBuilder {
    let example = json!({"images": [{"b64": PNG, "name": "red.png"}]});
    let document = ContentBuilder::new().schema(Some(Ref::from_schema_name(names.json))).example(Some(example));
    RequestBodyBuilder::new()
        .description(Some(
            "One image as it is, several as form files, or base64 in JSON: JPEG, PNG, BMP, GIF, WebP, TIFF. In a form and in JSON the \
             parameters may stand beside the images. `Content-Encoding: gzip` and `deflate` are decoded.",
        ))
        .required(Some(Required::True))
        .content("image/*", binary("One image"))
        .content("application/octet-stream", binary("One image"))
        .content("multipart/form-data", reference_to(names.form))
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

/// `body` with the fields of `parameters` beside its own, none of them required; `layer` is what `layers` makes of it.
fn with_parameters(
    mut body: ObjectBuilder,
    parameters: &RefOr<Schema>,
    layers: impl Fn(RefOr<Schema>) -> RefOr<Schema>,
) -> Schema {
    let RefOr::T(Schema::Object(parameters)) = parameters else { return body.into() };
    for (name, schema) in &parameters.properties {
        let schema = not_null(schema.clone());
        body = body.property(name, if name == "layer" { layers(schema) } else { schema });
    }
    body.into()
}

/// In JSON layers may be a list, and indices numbers.
fn any_layers(layer: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(text)) = layer else { return layer };
    let description = text.description.clone();
    let list = ArrayBuilder::new().items(Object::with_type(Type::String));
    let integer = ObjectBuilder::new().schema_type(Type::Integer);
    let any = OneOfBuilder::new().item(Object::with_type(Type::String)).item(integer).item(list).description(description);
    RefOr::T(any.into())
}

/// `schema` without null: a parameter is left out instead.
fn not_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    let is_null = |schema: &RefOr<Schema>| matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null));
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Array(kinds) = &object.schema_type
                && let Some(kind) = kinds.iter().find(|kind| **kind != Type::Null)
            {
                object.schema_type = SchemaType::Type(kind.clone());
            }
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::OneOf(one_of)) => {
            let description = one_of.description.clone();
            match one_of.items.iter().find(|item| !is_null(item)).cloned() {
                Some(RefOr::Ref(mut reference)) => {
                    reference.description = description.unwrap_or_default();
                    RefOr::Ref(reference)
                }
                Some(other) => other,
                None => RefOr::T(Schema::OneOf(one_of)),
            }
        }
        other => other,
    }
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
        .content("application/json", reference_to(&FolderRequest::name()))
}

pub(super) fn bytes() -> Object {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build()
}
