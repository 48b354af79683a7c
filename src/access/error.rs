//! Why a request is not let in. No message holds any of a key.

use std::time::Duration;

use super::{limits::Room, name::KeyName, scope::Scope};

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Keys are in use, and it has none.
    #[error(
        "this needs a key: send `Authorization: Bearer KEY` or `X-API-Key: KEY` (`graft keys create` makes one; a key in the address is not read)"
    )]
    Missing,
    /// What it has instead of a key in a header.
    #[error("{0}; a key is sent as `Authorization: Bearer KEY` or as `X-API-Key: KEY`")]
    Malformed(&'static str),
    /// No key that is in force.
    #[error("the key is not known here, or was revoked (`graft keys list` shows the names of those that were not)")]
    Unknown,
    /// A key whose time is over.
    #[error("the key `{name}` has expired; `graft keys set {name} --expires WHEN` gives it more time")]
    Expired {
        /// The key.
        name: KeyName,
    },
    /// A key that may do less.
    #[error(
        "the key `{name}` has the scope `{has}`, and this needs `{needs}`; use a key that has it (`graft keys create NAME --scope {needs}`)"
    )]
    Scope {
        /// The key.
        name: KeyName,
        /// What it may do.
        has: Scope,
        /// What it would have to.
        needs: Scope,
    },
    /// More images than the key has left.
    #[error("the key `{name}` may ask {per_second} images a second; {} let in after {} s", if *.images == 1 { "one is".to_owned() } else { format!("{images} are") }, seconds(*.wait))]
    Images {
        /// The key.
        name: KeyName,
        /// Its limit.
        per_second: u32,
        /// Images of the request.
        images: usize,
        /// When it has that many again.
        wait: Duration,
    },
    /// More images than the key may ever ask at once.
    #[error("the request holds {images} images, and the key `{name}` may ask {burst} at once; split it")]
    TooManyImages {
        /// The key.
        name: KeyName,
        /// Images of the request.
        images: usize,
        /// Its limit.
        burst: u32,
    },
    /// As many requests as the key may have are in flight.
    #[error("the key `{name}` may have {limit} request{} in flight; wait for one to end", if *.limit == 1 { "" } else { "s" })]
    InFlight {
        /// The key.
        name: KeyName,
        /// Its limit.
        limit: u32,
        /// What it may ask besides; `None` without a limit on images.
        room: Option<Room>,
    },
    /// Many keys that are not in force came from one address.
    #[error(
        "many requests from this address came with a key that is not known here; try again in {} s, with one of those that \
         `graft keys list` shows, which lets in at once",
        seconds(*.wait)
    )]
    Guesses {
        /// When the next may.
        wait: Duration,
    },
    /// The keys are gone with the store that had them.
    #[error(
        "API keys were made on this server's data folder, and its `jobs.db` holds none: the file was removed or replaced, so nobody is \
         let in. Whoever runs graft puts it back, or makes new keys (`graft keys create`); to answer without keys, whoever does removes the file \
         `keys-were-made` in the folder of `data.dir`, or sets `server.auth` to `off`. Either way graft is then restarted"
    )]
    Lost,
    /// Nobody can tell whether the key is in force.
    #[error("graft cannot read its keys, and lets nobody in on a guess; its log says why, and whether it has to be restarted")]
    Unreadable,
}

impl Refused {
    /// The key that the request came with, where that is certain.
    pub fn key(&self) -> Option<&KeyName> {
        match self {
            Self::Expired { name }
            | Self::Scope { name, .. }
            | Self::Images { name, .. }
            | Self::TooManyImages { name, .. }
            | Self::InFlight { name, .. } => Some(name),
            Self::Missing | Self::Malformed(_) | Self::Unknown | Self::Guesses { .. } | Self::Lost | Self::Unreadable => None,
        }
    }

    /// After how many seconds the same request may be let in.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Images { wait, .. } | Self::Guesses { wait } => Some(seconds(*wait)),
            Self::InFlight { .. } | Self::Unreadable => Some(1),
            Self::Missing
            | Self::Malformed(_)
            | Self::Unknown
            | Self::Lost
            | Self::Expired { .. }
            | Self::Scope { .. }
            | Self::TooManyImages { .. } => None,
        }
    }
}

/// Whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
