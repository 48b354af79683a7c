//! What the document says of every image route: bodies, headers, binary answers.
//!
//! Each is a component that operations refer to, so that it is written once and a generated client has one name for it.

use utoipa::openapi::{OpenApi, RefOr, path::Operation};

use super::{
    bodies::{self, binary},
    headers, problems, security,
};
use crate::http::accept::Format;

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
    problems::define(components);
    bodies::define(components);
    headers::define(components);
    security::define(components);
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
        for operation in operations.into_iter().filter_map(Option::as_mut) {
            answer(path, operation);
            if is_about_images(operation) {
                operation.request_body = Some(RefOr::Ref(bodies::images(path.ends_with("/features"))));
            }
        }
    }
    let upload = document.paths.paths.get_mut("/datasets").and_then(|item| item.post.as_mut());
    upload.expect("data sets are uploaded").request_body = Some(RefOr::Ref(bodies::dataset()));
}

fn is_about_images(operation: &Operation) -> bool {
    operation.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag == "images"))
}

fn answer(path: &str, operation: &mut Operation) {
    let images = is_about_images(operation);
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        headers::refer(response, headers::EVERY);
        if status == "201" {
            headers::refer(response, headers::CREATED);
        }
        if images || path.ends_with("/layers") || path.ends_with("/onnx") {
            headers::refer(response, headers::MODEL);
        }
        if images {
            headers::refer(response, headers::ANSWER);
            headers::refer(response, headers::LIMITS);
        }
        if path.ends_with("/onnx") {
            response.content.insert("application/octet-stream".to_owned(), RefOr::T(binary("An ONNX model")));
        }
        if path.ends_with("/features") {
            for (format, description) in BINARY {
                response.content.insert(format.media_type().to_owned(), RefOr::T(binary(description)));
            }
        }
    }
}
