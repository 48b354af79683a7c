//! Placeholder while the module is under construction.

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {}
