//! What is wrong with one field of a request that has several.
//!
//! Knows nothing of requests.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something in a request that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// Where in the JSON, such as `phases[1].trainable_from`; empty for the whole of it.
    #[schema(example = "phases[1].trainable_from")]
    pub field: String,
    /// What is wrong with it, and what would do.
    pub detail: String,
}

impl FieldProblem {
    /// That something is wrong with `field`.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}
