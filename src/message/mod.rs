//! What messages are made of: lists that end, excerpts of what was sent, and paths of this machine that no client reads.
//!
//! Knows nothing of what goes wrong.

mod excerpt;
mod listed;
mod server_path;

pub(crate) use excerpt::{excerpt, serde_message};
pub use listed::Listed;
pub use server_path::{Folders, Foreign, ServerPath};
