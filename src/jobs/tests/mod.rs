//! The store alone, then the worker over it.

mod accept;
mod details;
mod keys;
mod sound;
mod store;
mod waiting;
mod worker;
