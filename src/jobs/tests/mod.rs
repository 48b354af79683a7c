//! The store alone, then the worker over it.

mod store;
mod waiting;
mod worker;
