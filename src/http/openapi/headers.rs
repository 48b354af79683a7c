//! The headers of answers, as components.

use utoipa::openapi::{
    Components, Header, HeaderBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Response, SchemaFormat, schema::Type,
};

/// On every answer.
pub const EVERY: &[&str] = &["X-Request-Id"];

/// On the answer to what makes something.
pub const CREATED: &[&str] = &["Location"];

/// On the answer of a model, or about one version of it.
pub const MODEL: &[&str] = &["Graft-Model", "Graft-Version", "Graft-Pretrained"];

/// On answers to images.
pub const ANSWER: &[&str] = &["Server-Timing", "Graft-Warning"];

/// On the refusal of a body's type or encoding.
pub const ENCODING: &[&str] = &["Accept-Encoding"];

/// On the refusal of whoever has no key that reaches so far.
pub const CHALLENGE: &[&str] = &["WWW-Authenticate"];

/// On answers to whoever has a key with limits.
pub const LIMITS: &[&str] = &["RateLimit-Policy", "RateLimit"];

/// On problems that pass.
pub const TEMPORARY: &[&str] = &["Retry-After"];

/// Adds every header to `components`.
pub fn define(components: &mut Components) {
    let text = || Object::with_type(Type::String);
    let number = || {
        let format = SchemaFormat::KnownFormat(KnownFormat::Int32);
        ObjectBuilder::new().schema_type(Type::Integer).format(Some(format)).minimum(Some(1)).build()
    };
    for (name, schema, description) in [
        (
            "X-Request-Id",
            text(),
            "The request's own, when it sent one of at most 128 visible ASCII characters; else a new UUIDv7",
        ),
        ("Location", text(), "Path of what was made"),
        ("Graft-Model", text(), "Name of the model that answered"),
        ("Graft-Version", number(), "Its version"),
        (
            "Graft-Pretrained",
            Object::with_type(Type::Boolean),
            "`false` when its weights are untrained: the answer then means nothing",
        ),
        (
            "Graft-Warning",
            text(),
            "`CODE; in words`, one per warning about the model: untrained, or chosen because none was named",
        ),
        ("Server-Timing", text(), "Milliseconds of `decode`, `queue` and `inference`"),
        ("Accept-Encoding", text(), "What a body's `Content-Encoding` may be; only where it is what was refused"),
        (
            "WWW-Authenticate",
            text(),
            "What is wrong with the key, and the scope that is needed (RFC 6750); not where a key does not matter",
        ),
        (
            "RateLimit-Policy",
            text(),
            "The limits of the key, if it has any: `images` at once (`q`), which come back within so many seconds (`w`), and requests \
             `in-flight`",
        ),
        ("RateLimit", text(), "What is left: `images` now (`r`), and the seconds until all are there again (`t`)"),
        ("Retry-After", number(), "Seconds to wait; not with `model_too_large`, which waiting does not mend"),
    ] {
        components.headers.insert(name.to_owned(), RefOr::T(header(schema, description)));
    }
}

/// Gives `response` the headers of `names`.
pub fn refer(response: &mut Response, names: &[&str]) {
    for name in names {
        let reference = Ref::new(format!("#/components/headers/{name}"));
        response.headers.insert((*name).to_owned(), RefOr::Ref(reference));
    }
}

fn header(schema: Object, description: &str) -> Header {
    HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
}
