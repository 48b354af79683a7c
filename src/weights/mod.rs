//! TODO weights
