//! The `graft` command.
fn main() {}
