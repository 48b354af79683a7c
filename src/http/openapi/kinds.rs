//! What the document says of jobs of every kind: made of what the kinds say of themselves.
//!
//! Knows no kind by name.

use std::{borrow::Cow, collections::BTreeMap, iter};

use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, Ref, RefOr, Required, ResponseBuilder, ResponsesBuilder,
        path::{self, HttpMethod, OperationBuilder, ParameterIn, PathItem, Paths, PathsBuilder},
        request_body::RequestBodyBuilder,
        schema::{AllOfBuilder, ObjectBuilder, OneOfBuilder, Schema, Type},
    },
};

use super::{
    bodies::{binary, bytes},
    headers,
};
use crate::{
    finetuning::kinds::{Described, Description, described},
    http::{
        dto::{AcceptedJob, PlannedJob},
        parameters::Parameter,
    },
};

type Schemas = Vec<(String, RefOr<Schema>)>;

/// Places in [`Description::types`].
const REQUEST: usize = 0;
const SUBJECT: usize = 1;
const PLAN: usize = 2;
const PROGRESS: usize = 3;
const RESULT: usize = 4;

/// The route that accepts jobs of a kind, with `parameters` and responses `R` besides, and the schemas that it refers to.
pub fn submission<R: IntoResponses>(kind: &Description, parameters: &[Parameter]) -> (Schemas, Paths) {
    let mut schemas: Schemas = kind.types.iter().flat_map(|described| described.schemas.clone()).collect();
    let named = |part: &str| format!("{}{part}", capitalized(kind.name));
    let own = |place: usize| RefOr::Ref(Ref::from_schema_name(&kind.types[place].name));
    for (part, common) in [("Planned", PlannedJob::name()), ("Accepted", AcceptedJob::name())] {
        let whole = AllOfBuilder::new().item(RefOr::Ref(Ref::from_schema_name(common))).item(own(SUBJECT)).item(own(PLAN));
        schemas.push((named(part), RefOr::T(whole.build().into())));
    }
    schemas.push((PlannedJob::name().into_owned(), PlannedJob::schema()));
    schemas.push((AcceptedJob::name().into_owned(), AcceptedJob::schema()));
    AcceptedJob::schemas(&mut schemas);
    let json = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
    let answer = |description: &str, part: &str| {
        let body = RefOr::Ref(Ref::from_schema_name(named(part)));
        ResponseBuilder::new().description(description).content("application/json", json(body)).build()
    };
    let body = RequestBodyBuilder::new().description(Some("What to do")).required(Some(Required::True));
    if !kind.fields.is_empty() {
        schemas.push((named("Form"), RefOr::T(form(kind))));
    }
    let body = match kind.fields.is_empty() {
        true => body.content("application/json", ContentBuilder::new().schema(Some(own(REQUEST))).example(example(kind)).build()),
        false => body
            .content("application/octet-stream", binary("The file; the fields are in the query"))
            .content("multipart/form-data", json(RefOr::Ref(Ref::from_schema_name(named("Form"))))),
    };
    let mut accepted = answer("Accepted", "Accepted");
    headers::refer(&mut accepted, headers::CREATED);
    let responses = ResponsesBuilder::new()
        .response("200", answer("With `dry_run=true`: what would be done", "Planned"))
        .response("202", accepted)
        .responses_from_into_responses::<R>()
        .build();
    let description = format!(
        "{}\n\nAccepts the job and answers at once; `Location` is where it can be watched. With `dry_run=true` nothing is accepted,\n\
         and the answer (200) is what would be done. Send an `Idempotency-Key` to make a retry safe: the same key and body always\n\
         answer with the same job.",
        kind.description
    );
    let operation = OperationBuilder::new()
        .operation_id(Some(kind.name))
        .tag("jobs")
        .summary(Some(kind.summary))
        .description(Some(description))
        .parameters(Some(parameters.iter().map(path::Parameter::from)))
        .request_body(Some(body.build()))
        .responses(responses);
    let item = PathItem::new(HttpMethod::Post, operation);
    (schemas, PathsBuilder::new().path(format!("/jobs/{}", kind.name), item).build())
}

/// The fields of a request that comes with a file, as parameters.
pub fn fields(kind: &Description) -> Vec<Parameter> {
    let mut schemas = request_fields(kind);
    let mut about = |field| match schemas.remove(field) {
        Some(RefOr::T(Schema::Object(object))) => object.description.unwrap_or_default(),
        Some(RefOr::T(Schema::Array(array))) => array.description.unwrap_or_default(),
        Some(RefOr::Ref(reference)) => reference.description,
        Some(RefOr::T(_)) | None => String::new(),
    };
    let place = " In the query or the form; lists and objects as JSON.";
    kind.fields.iter().map(|field| Parameter::new(field, ParameterIn::Query, &[&(about(*field) + place)])).collect()
}

/// A form with the file and the fields of the request.
fn form(kind: &Description) -> Schema {
    let file = ObjectBuilder::from(bytes()).description(Some("The file, whatever the field is called"));
    let file = ObjectBuilder::new().property("file", file).required("file");
    request_fields(kind).into_iter().fold(file, |form, (name, schema)| form.property(name, as_field(schema))).into()
}

/// A list is one field with JSON: as an array, generated clients would send a field for each of its entries.
fn as_field(schema: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(Schema::Array(array)) = schema else { return schema };
    let json = ObjectBuilder::new().schema_type(Type::String).content_media_type("application/json");
    RefOr::T(json.description(array.description.map(|about| about + " As JSON")).into())
}

fn request_fields(kind: &Description) -> BTreeMap<String, RefOr<Schema>> {
    let Described { name, schemas } = &kind.types[REQUEST];
    let own = schemas.iter().find(|(known, _)| known == name);
    match own {
        Some((_, RefOr::T(Schema::Object(object)))) => {
            object.properties.iter().map(|(name, schema)| (name.clone(), schema.clone())).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn example(kind: &Description) -> Option<serde_json::Value> {
    serde_json::from_str(kind.example).ok()
}

/// A schema that is made of one type of every kind.
macro_rules! of_every_kind {
    ($($(#[$about:meta])* $name:ident: $place:expr, $make:expr, $schema:literal;)+) => {$(
        $(#[$about])*
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let types: Vec<Described> = described().into_iter().map(|kind| at(kind, $place)).collect();
                RefOr::T($make(types))
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($schema)
            }

            fn schemas(schemas: &mut Schemas) {
                schemas.extend(described().into_iter().flat_map(|kind| at(kind, $place).schemas));
            }
        }
    )+};
}

of_every_kind! {
    /// What lists show of a job: by its kind.
    JobSubject: SUBJECT, any, "JobSubject";
    /// What a job is to do besides: by its kind.
    JobPlan: PLAN, any, "JobPlan";
    /// How far a job is: by its kind.
    JobProgress: PROGRESS, any, "JobProgress";
    /// What a job made: by its kind.
    JobResult: RESULT, one, "JobResult";
}

fn at(kind: Description, place: usize) -> Described {
    kind.types.into_iter().nth(place).expect("a kind describes each of its types")
}

/// The fields of all `types`, each of which may be left out.
fn any(types: Vec<Described>) -> Schema {
    let whole = ObjectBuilder::new().description(Some("By the job's `kind`; fields of other kinds are left out"));
    let mut properties = BTreeMap::new();
    for described in types {
        let own = described.schemas.into_iter().find(|(name, _)| *name == described.name);
        let Some((_, RefOr::T(Schema::Object(object)))) = own else { continue };
        for (name, schema) in object.properties {
            properties.entry(name).or_insert_with(Vec::new).push(schema);
        }
    }
    properties.into_iter().fold(whole, |whole, (name, schemas)| whole.property(name, of_kinds(schemas))).into()
}

/// The schema of a field that several kinds may have, described where they agree.
fn of_kinds(schemas: Vec<RefOr<Schema>>) -> RefOr<Schema> {
    let differ = schemas.iter().any(|schema| *schema != schemas[0]);
    match schemas.into_iter().next_back() {
        Some(RefOr::T(Schema::Object(object))) if differ => {
            RefOr::T(ObjectBuilder::from(object).description(None::<String>).into())
        }
        last => last.unwrap_or_default(),
    }
}

/// One of `types`.
fn one(types: Vec<Described>) -> Schema {
    let whole = OneOfBuilder::new().description(Some("By the job's `kind`"));
    types.iter().fold(whole, |whole, described| whole.item(Ref::from_schema_name(&described.name))).into()
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(iter::from_fn(|| letters.next())).collect()
}
