//! What messages are made of: lists that end, words of enumerations, excerpts of what was sent, problems with fields, and paths of
//! this machine that no client reads.
//!
//! Knows nothing of what goes wrong.

mod excerpt;
mod field_problem;
mod listed;
mod server_path;
mod visible;
mod words;

pub(crate) use excerpt::{excerpt, serde_message};
pub use field_problem::FieldProblem;
pub use listed::Listed;
pub use server_path::{Folders, Foreign, Relayed, ServerPath};
pub(crate) use visible::{visible, visible_but, visible_lines};
pub use words::UnknownWord;
pub(crate) use words::{quoted, spelled, word, words};
