//! Optimizers as JSON, and the schemas of that, made from what each kind declares: `{"type": "sgd", "momentum": 0.9, …}`.
//!
//! Knows no particular optimizer.

use std::{borrow::Cow, collections::BTreeMap, ops::Bound};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error, ser::SerializeMap};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat,
        schema::{Object, Type},
    },
};

use super::{KINDS, Kind, Optimizer, Parameter, Range, Values};

/// The key that holds the optimizer's name.
const TYPE: &str = "type";

impl Serialize for Optimizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.values.len()))?;
        map.serialize_entry(TYPE, self.kind.name)?;
        for (parameter, value) in self.parameters() {
            map.serialize_entry(parameter.name, &value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Optimizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Tagged {
            r#type: String,
            #[serde(flatten)]
            parameters: BTreeMap<String, Value>,
        }
        let Tagged { r#type, parameters } = Tagged::deserialize(deserializer)?;
        Self::new(&r#type, &parameters).map_err(D::Error::custom)
    }
}

impl ToSchema for Optimizer {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Optimizer")
    }
}

/// One of the optimizers, with all parameters that it has.
impl PartialSchema for Optimizer {
    fn schema() -> RefOr<Schema> {
        let all = |kind: &Kind| kind.parameters.iter().fold(kind.schema(), |object, parameter| object.required(parameter.name));
        one_of_kinds(
            "An optimizer with all its parameters. It starts anew with every phase, as Keras's does when a model is compiled \
             again.",
            all,
        )
    }
}

/// The schema of one of the optimizers, as `object` has it.
pub fn one_of_kinds(description: &str, object: impl Fn(&Kind) -> ObjectBuilder) -> RefOr<Schema> {
    let kinds = KINDS.into_iter().map(object);
    kinds.fold(OneOfBuilder::new(), OneOfBuilder::item).description(Some(description)).into()
}

impl Kind {
    /// An object with the name and, none of them required, the parameters.
    pub fn schema(&self) -> ObjectBuilder {
        let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([self.name]));
        let object = ObjectBuilder::new().description(Some(self.about)).property(TYPE, name).required(TYPE);
        self.parameters.iter().fold(object, |object, parameter| object.property(parameter.name, parameter.schema()))
    }
}

impl Parameter {
    fn schema(&self) -> Object {
        let object = ObjectBuilder::new().description(Some(self.about));
        match self.values {
            Values::Flag { default } => object.schema_type(Type::Boolean).default(Some(default.into())).build(),
            Values::Number { default, range } => number_schema(object, range).default(Some(default.into())).build(),
        }
    }
}

/// Completes the schema of a number in `range`.
pub fn number_schema(object: ObjectBuilder, (low, high): Range) -> ObjectBuilder {
    let object = object.schema_type(Type::Number).format(Some(SchemaFormat::KnownFormat(KnownFormat::Double)));
    let object = match low {
        Bound::Included(low) => object.minimum(Some(low)),
        Bound::Excluded(low) => object.exclusive_minimum(Some(low)),
        Bound::Unbounded => object,
    };
    match high {
        Bound::Included(high) => object.maximum(Some(high)),
        Bound::Excluded(high) => object.exclusive_maximum(Some(high)),
        Bound::Unbounded => object,
    }
}
