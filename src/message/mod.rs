//! What messages are made of: lists that end, and paths of this machine that no client reads.
//!
//! Knows nothing of what goes wrong.

mod listed;
mod server_path;

pub use listed::Listed;
pub use server_path::{Folders, Foreign, ServerPath};
