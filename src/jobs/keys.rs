//! API keys in the job store: what `graft keys` does, and what keeps a server's gate up to date while others do it.
//!
//! Knows neither SQL nor HTTP.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{error::Error, handle::Jobs, store::Store, time::Timestamp};
use crate::{
    access::{Gate, Key, KeyName, Limits, NewKey, Scope},
    config::Auth,
    telemetry::chain,
};

/// How often the store is asked for keys that others made, changed or revoked.
const RENEWAL: Duration = Duration::from_millis(500);

/// The API keys of a data folder; cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys {
    store: Store,
}

/// Why a key is not made, changed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A key in force has that name.
    #[error(
        "there is a key `{name}` already; choose another name, change it (`graft keys set {name}`; an expired one, too) or revoke it first"
    )]
    Exists {
        /// The name.
        name: KeyName,
    },
    /// No key in force has that name.
    #[error("no key in force is called `{name}`; `graft keys list` shows those that are")]
    Unknown {
        /// The name.
        name: KeyName,
    },
    /// As many keys as may be are in force.
    #[error("{limit} keys are in force, which is the most; revoke one first")]
    TooMany {
        /// The bound.
        limit: i64,
    },
    /// A burst of a key that has no rate.
    #[error("a burst needs images a second (`--images-per-second`) that it is a burst of")]
    Burst,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes to make a key of")]
    Random(#[source] getrandom::Error),
    /// The store's own.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Keys {
    /// Those of the store in the folder `dir`, which is made when it is missing.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self { store: Store::open(dir).await? })
    }

    /// Makes a key called `name`; only here its text is known.
    ///
    /// # Errors
    /// [`KeysError::Exists`], [`KeysError::TooMany`], [`KeysError::Burst`].
    pub async fn create(
        &self,
        name: &KeyName,
        scope: Scope,
        limits: Limits,
        expires: Option<SystemTime>,
    ) -> Result<(Key, NewKey), KeysError> {
        check(&limits)?;
        let new = NewKey::random().map_err(KeysError::Random)?;
        let key = Key {
            id: new.id.clone(),
            name: name.clone(),
            digest: new.digest,
            scope,
            limits,
            created: now(),
            expires,
            revoked: None,
        };
        self.store.add_key(&key).await?;
        Ok((key, new))
    }

    /// The keys in force, expired ones among them, in the order in which they were made.
    ///
    /// # Errors
    /// The store's own.
    pub async fn list(&self) -> Result<Vec<Key>, Error> {
        Ok(self.store.keys().await?.0)
    }

    /// Keys that were revoked, the latest first.
    ///
    /// # Errors
    /// The store's own.
    pub async fn revoked(&self) -> Result<Vec<Key>, Error> {
        self.store.revoked_keys().await
    }

    /// Changes scope, limits and end of a key.
    ///
    /// # Errors
    /// [`KeysError::Unknown`], [`KeysError::Burst`].
    pub async fn set(&self, name: &KeyName, change: impl FnOnce(&mut Key)) -> Result<Key, KeysError> {
        let change = |key: &mut Key| {
            change(key);
            check(&key.limits)
        };
        self.store.change_key(name, change).await
    }

    /// Ends a key for good; its name is free again.
    ///
    /// # Errors
    /// [`KeysError::Unknown`].
    pub async fn revoke(&self, name: &KeyName) -> Result<(), KeysError> {
        self.store.revoke_key(name, Timestamp::now()).await
    }

    /// A gate over the keys that there are now.
    ///
    /// # Errors
    /// The store's own.
    pub async fn gate(&self, auth: Auth) -> Result<Gate, Error> {
        let asked = Instant::now();
        let (keys, in_use) = self.store.keys().await?;
        Ok(Gate::new(auth, keys, in_use, asked))
    }

    /// Renews `gate` from the store, once.
    ///
    /// # Errors
    /// The store's own; [`Error::Gone`], since nobody can change keys in a file that was removed.
    pub async fn renew(&self, gate: &Gate) -> Result<(), Error> {
        let asked = Instant::now();
        self.store.in_place()?;
        let (keys, in_use) = self.store.keys().await?;
        gate.renew(keys, in_use, asked);
        Ok(())
    }

    /// Renews `gate` for ever: what another process does to the keys counts within a second. While the store cannot be read the
    /// gate's snapshot gets older, until it lets nobody in.
    pub async fn keep(&self, gate: &Gate) {
        let mut ticks = tokio::time::interval(RENEWAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let renewed = self.renew(gate).await;
            match (&renewed, failing) {
                (Err(error), false) => tracing::error!(error = chain(error), "cannot read the API keys; trying again"),
                (Ok(()), true) => tracing::info!("the API keys can be read again"),
                (Ok(()), false) | (Err(_), true) => {}
            }
            failing = renewed.is_err();
        }
    }
}

impl Jobs {
    /// The API keys in the same store.
    pub fn keys(&self) -> Keys {
        Keys { store: self.store().clone() }
    }
}

fn check(limits: &Limits) -> Result<(), KeysError> {
    match (limits.burst, limits.images_per_second) {
        (Some(_), None) => Err(KeysError::Burst),
        _ => Ok(()),
    }
}

/// To the millisecond, as the store keeps times.
fn now() -> SystemTime {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
