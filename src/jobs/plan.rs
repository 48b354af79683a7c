//! From what a client asks to what a job is: the composition root supplies who knows.
//!
//! Knows nothing of recipes.

use serde::Serialize;
use serde_json::Value;

use super::job::NewJob;

/// A job that can be accepted, with everything resolved.
pub type Plan = NewJob;

/// Turns the JSON of a request into a job; blocking, called off the async threads.
pub trait Planner: Send + Sync {
    /// Resolves and checks `request`; nothing is looked up again later.
    ///
    /// # Errors
    /// Every problem at once, or that it could not be looked into.
    fn plan(&self, request: &Value) -> Result<Plan, PlanError>;
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The request asks for what cannot be done.
    #[error("the recipe has {} problems", .0.len())]
    Invalid(Vec<Problem>),
    /// A defect or a failing machine.
    #[error("cannot check the request")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Something in a request that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where in the JSON, such as `phases[1].trainable_from`.
    pub field: String,
    /// What is wrong and what would do.
    pub detail: String,
}
