//! The store alone, then the worker over it.

mod accept;
mod keys;
mod sound;
mod store;
mod waiting;
mod worker;
