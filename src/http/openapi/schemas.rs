//! What the derives leave to say of schemas: the width of integers, and nothing of null.

use utoipa::openapi::{
    KnownFormat, OpenApi, RefOr, SchemaFormat,
    schema::{AdditionalProperties, ArrayItems, Object, Schema, SchemaType, Type},
};

/// Completes every schema.
pub fn complete(document: &mut OpenApi) {
    document.components.get_or_insert_default().schemas.values_mut().for_each(within);
}

/// Completes `schema` and what is in it.
fn within(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            integer(object);
            object.properties.values_mut().for_each(within);
            if let Some(AdditionalProperties::RefOr(values)) = object.additional_properties.as_deref_mut() {
                within(values);
            }
        }
        Schema::Array(array) => {
            array.default = array.default.take().filter(|default| !default.is_null());
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                within(items);
            }
        }
        Schema::OneOf(one_of) => {
            one_of.default = one_of.default.take().filter(|default| !default.is_null());
            one_of.items.iter_mut().for_each(within);
        }
        Schema::AllOf(all_of) => all_of.items.iter_mut().for_each(within),
        _ => {}
    }
}

/// Gives an integer without a format that of `usize`, and takes out a default of null: it says only that a field may be left out.
fn integer(object: &mut Object) {
    object.default = object.default.take().filter(|default| !default.is_null());
    let is_integer = match &object.schema_type {
        SchemaType::Type(kind) => *kind == Type::Integer,
        SchemaType::Array(kinds) => kinds.contains(&Type::Integer),
        SchemaType::AnyValue => false,
    };
    if is_integer && object.format.is_none() {
        object.format = Some(SchemaFormat::KnownFormat(KnownFormat::Int64));
    }
}
