//! What the tests share: a server over a temporary repository, tiny models, images, and answers that check themselves.
//!
//! Knows graft's public interface and HTTP; expectations about single routes are the test modules'.

mod answer;
mod app;
mod arrays;
mod close;
mod images;
mod jobs;
mod models;
mod process;
mod volume;

pub use answer::Answer;
pub use app::{Setup, TestApp, eventually, runtime, threads};
pub use arrays::{Npz, npy};
pub use close::Close;
pub use images::{base64, encoded_fixture, fixture, large_jpeg, patched, plain, png, png_of_size};
pub use jobs::{Plans, finetune, run_one};
pub use models::{Tiny, patch_graph, publish};
pub use process::{Graft, Ran};
pub use volume::Volume;
