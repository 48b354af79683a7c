//! API keys in the job store: what `graft keys` does, and what keeps a server's gate up to date while others do it.
//!
//! Knows neither SQL nor HTTP.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    error::Error,
    handle::Jobs,
    store::{MARKER, Store, StoredKeys, UnreadableKey},
    time::Timestamp,
};
use crate::{
    access::{Gate, Key, KeyName, Limits, Made, NewKey, Refused, Renewal, Scope},
    config::Auth,
    message::Listed,
    telemetry::{News, Trouble},
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
    /// The key that was asked for cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableKey),
    /// That there are keys cannot be kept outside of the store.
    #[error("cannot write `{}`, which keeps servers closed if `jobs.db` is lost; no key was made", .path.display())]
    Marker {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
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
        Ok(self.store.keys().await?.keys)
    }

    /// Keys that were not revoked and cannot be read; they let nobody in.
    ///
    /// # Errors
    /// The store's own.
    pub async fn unreadable(&self) -> Result<Vec<UnreadableKey>, Error> {
        Ok(self.store.keys().await?.unreadable)
    }

    /// The file in `dir` that says that keys were made there, if it is there: without it, a store without keys opens servers.
    pub fn marker(dir: &Path) -> Option<PathBuf> {
        Some(dir.join(MARKER)).filter(|path| path.symlink_metadata().is_ok())
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
        let StoredKeys { keys, in_use, .. } = self.store.keys().await?;
        Ok(Gate::new(auth, keys, self.made(in_use), asked))
    }

    /// Renews `gate` from the store, once.
    ///
    /// # Errors
    /// The store's own; [`Error::Gone`], since nobody can change keys in a file that was removed.
    pub async fn renew(&self, gate: &Gate) -> Result<(), Error> {
        self.renewed(gate).await.map(drop)
    }

    /// Renews `gate` and gives what was read.
    async fn renewed(&self, gate: &Gate) -> Result<Found, Error> {
        let asked = Instant::now();
        let stored = match self.store.in_place().await {
            Ok(()) => self.store.keys().await,
            Err(error) => Err(error),
        };
        if stored.is_err() && self.store.is_marked() {
            // Another process made keys, in this store or in the one that replaced it.
            gate.close();
        }
        let StoredKeys { keys, unreadable, in_use } = stored?;
        let renewal = gate.renew(keys, self.made(in_use), asked);
        let marked = if in_use { self.store.mark_keys().await } else { Ok(()) };
        Ok(Found { renewal, unreadable, marked })
    }

    fn made(&self, in_use: bool) -> Made {
        match in_use {
            true => Made::Ever,
            false if self.store.is_marked() => Made::Lost,
            false => Made::Never,
        }
    }

    /// Renews `gate` for ever: what another process does to the keys counts within a second. While the store cannot be read the
    /// gate's snapshot gets older, until it lets nobody in.
    pub async fn keep(&self, gate: &Gate) {
        let mut ticks = tokio::time::interval(RENEWAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let [mut store, mut rows, mut marker, mut lost] = std::array::from_fn(|_| Trouble::default());
        let mut were_lost = false;
        loop {
            ticks.tick().await;
            let renewed = self.renewed(gate).await;
            match store.of(&renewed) {
                Some(News::Wrong(error)) => tracing::error!(error, "cannot read the API keys; trying again"),
                Some(News::Over) => tracing::info!("the API keys can be read again"),
                None => {}
            }
            let Ok(Found { renewal, unreadable, marked }) = renewed else { continue };
            report(&renewal);
            let unreadable = (!unreadable.is_empty()).then(|| format!("{:#}", Listed::of(unreadable)));
            match rows.news(unreadable) {
                Some(News::Wrong(keys)) => tracing::warn!(keys, "some API keys cannot be read; the others count"),
                Some(News::Over) => tracing::info!("every API key can be read again"),
                None => {}
            }
            if let Some(News::Wrong(error)) = marker.of(&marked) {
                tracing::warn!(error, file = MARKER, "cannot keep beside `jobs.db` that there are API keys; trying again");
            }
            // Seen twice: the first key is marked a moment before it is there.
            let are_lost = gate.has_lost_keys();
            let is_certain = std::mem::replace(&mut were_lost, are_lost) && are_lost;
            match lost.news(is_certain.then(|| Refused::Lost.to_string())) {
                Some(News::Wrong(why)) => tracing::error!("{why}"),
                Some(News::Over) => tracing::info!("API keys are no longer missed"),
                None => {}
            }
        }
    }
}

/// What a look at the keys found besides them.
struct Found {
    renewal: Renewal,
    unreadable: Vec<UnreadableKey>,
    /// Whether it is kept outside of the store that there are keys.
    marked: io::Result<()>,
}

/// Logs what has changed about who is let in.
fn report(renewal: &Renewal) {
    let Renewal { closed, begun, ended, changed, in_force } = renewal;
    // As strings, which stand in quotes as they do in the lines of requests.
    for key in begun {
        tracing::info!(key = key.as_str(), in_force, "an API key was made");
    }
    for (key, scope) in changed {
        tracing::info!(key = key.as_str(), %scope, in_force, "scope, limits or end of an API key were changed");
    }
    for key in ended {
        tracing::info!(key = key.as_str(), in_force, "an API key was revoked, and lets nobody in any more");
    }
    if *closed {
        tracing::info!(in_force, "every request needs an API key from now on");
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
