//! Who may do what: API keys, their scopes and limits, and the gate that every request passes.
//!
//! Knows neither HTTP nor where keys are stored: `jobs` stores them, `http` reads them out of headers.

mod error;
mod gate;
mod guesses;
mod key;
mod limits;
mod name;
mod scope;

pub use error::Refused;
pub use gate::{Admitted, Gate, Made, Renewal};
pub use guesses::Guesses;
pub use key::{Digest, Key, KeyId, NewKey};
pub use limits::{Limits, Room};
pub use name::{InvalidName, KeyName};
pub use scope::{Scope, UnknownScope};
