//! The gate: which keys are in force, whether one is needed, and what its holder has asked lately.
//!
//! Looks at a snapshot in memory that its owner renews; one that is too old lets nobody in.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use super::{
    error::Refused,
    key::{Digest, Key, KeyId},
    limits::{Full, Limits, Place, Room, Usage},
    name::KeyName,
    scope::Scope,
};
use crate::{config::Auth, work::Client};

/// How old a snapshot of the keys may be: a key that was revoked longer ago is never let in, whatever the store does.
const MAX_AGE: Duration = Duration::from_secs(10);

/// Lets requests in, or not; cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    auth: Auth,
    /// Replaced as a whole and never held while anything waits.
    keys: RwLock<Arc<Snapshot>>,
}

/// Whether keys were ever made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// None.
    Never,
    /// There are some, or those that there were have ended.
    Ever,
    /// There were some, and the store, which keeps them for good, has none: it is another one.
    Lost,
}

/// The keys as they were in the store.
#[derive(Debug)]
struct Snapshot {
    keys: HashMap<KeyId, Arc<Held>>,
    made: Made,
    read: Instant,
}

/// A key, and what its holder has asked lately.
#[derive(Debug)]
struct Held {
    key: Key,
    usage: Arc<Usage>,
}

/// A request that was let in with a key. Whatever works for it holds a clone: the last one gives its place in flight back.
#[derive(Debug, Clone)]
pub struct Admitted {
    held: Arc<Held>,
    _place: Arc<Place>,
}

/// What a look at the store has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Whether requests need a key from now on.
    pub closed: bool,
    /// Keys that were not there before.
    pub begun: Vec<KeyName>,
    /// Keys that are there no longer.
    pub ended: Vec<KeyName>,
    /// Keys that may do something else than before, more or less of it, or for longer or not as long; with what that is.
    pub changed: Vec<(KeyName, Scope)>,
    /// How many there are.
    pub in_force: usize,
}

impl Snapshot {
    /// Names of the keys of `other` that are not here.
    fn missing_of(&self, other: &Self) -> Vec<KeyName> {
        let missing = other.keys.iter().filter(|(id, _)| !self.keys.contains_key(id));
        let mut names: Vec<_> = missing.map(|(_, held)| held.key.name.clone()).collect();
        names.sort();
        names
    }

    /// Keys that are in `other` and are others here.
    fn changed_since(&self, other: &Self) -> Vec<(KeyName, Scope)> {
        let terms = |held: &Held| (held.key.scope, held.key.limits, held.key.expires);
        let differs = |(id, held): &(&KeyId, &Arc<Held>)| other.keys.get(*id).is_some_and(|before| terms(before) != terms(held));
        let changed = self.keys.iter().filter(differs).map(|(_, held)| (held.key.name.clone(), held.key.scope));
        let mut changed: Vec<_> = changed.collect();
        changed.sort_by(|(one, _), (other, _)| one.cmp(other));
        changed
    }
}

impl Gate {
    /// A gate that `auth` rules, over the `keys` in force at `now`.
    pub fn new(auth: Auth, keys: Vec<Key>, made: impl Into<Made>, now: Instant) -> Self {
        let empty = Snapshot { keys: HashMap::new(), made: Made::Never, read: now };
        let gate = Self { inner: Arc::new(Inner { auth, keys: RwLock::new(Arc::new(empty)) }) };
        gate.renew(keys, made, now);
        gate
    }

    /// Replaces the snapshot by what the store held at `now`; what holders have asked lately stays. A gate that needed keys goes on
    /// needing them, whatever becomes of the store: who may be answered without was checked when the process began.
    pub fn renew(&self, keys: Vec<Key>, made: impl Into<Made>, now: Instant) -> Renewal {
        let before = self.snapshot();
        let made = match made.into() {
            Made::Never if before.made != Made::Never => Made::Lost,
            made => made,
        };
        let held = |key: Key| {
            let usage = before.keys.get(&key.id).map(|held| Arc::clone(&held.usage)).unwrap_or_default();
            (key.id.clone(), Arc::new(Held { key, usage }))
        };
        let snapshot = Snapshot { keys: keys.into_iter().map(held).collect(), made, read: now };
        let renewal = Renewal {
            closed: !self.closed(&before) && self.closed(&snapshot),
            begun: before.missing_of(&snapshot),
            ended: snapshot.missing_of(&before),
            changed: snapshot.changed_since(&before),
            in_force: snapshot.keys.len(),
        };
        self.replace(snapshot);
        renewal
    }

    /// Needs a key from now on, while the store that says which are in force cannot be read.
    pub fn close(&self) {
        let Snapshot { keys, made, read } = &*self.snapshot();
        if *made == Made::Never {
            let keys = keys.iter().map(|(id, held)| (id.clone(), Arc::clone(held))).collect();
            self.replace(Snapshot { keys, made: Made::Ever, read: *read });
        }
    }

    fn replace(&self, snapshot: Snapshot) {
        *self.inner.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// Whether requests need a key.
    pub fn is_closed(&self) -> bool {
        self.closed(&self.snapshot())
    }

    /// Whether requests need a key and nobody has one.
    pub fn admits_nobody(&self) -> bool {
        let snapshot = self.snapshot();
        self.closed(&snapshot) && snapshot.keys.is_empty()
    }

    /// Whether requests need a key, and those that were made are gone with the store that had them.
    pub fn has_lost_keys(&self) -> bool {
        let snapshot = self.snapshot();
        self.closed(&snapshot) && snapshot.made == Made::Lost
    }

    /// Whether the key that let somebody in is in force still, at `date`.
    pub fn is_in_force(&self, admitted: &Admitted, date: SystemTime) -> bool {
        let snapshot = self.snapshot();
        let held = snapshot.keys.get(&admitted.held.key.id);
        held.is_some_and(|held| held.key.expires.is_none_or(|expires| expires > date))
    }

    /// Lets a request in that `needs` a scope, with the key that `presented` finds in it; with `None` where no key is needed.
    ///
    /// # Errors
    /// No key, one that is not in force or may do less, or too many requests of its holder in flight.
    pub fn admit<'a>(
        &self,
        needs: Scope,
        presented: impl FnOnce() -> Result<&'a str, Refused>,
        (now, date): (Instant, SystemTime),
    ) -> Result<Option<Admitted>, Refused> {
        let snapshot = self.snapshot();
        if !self.closed(&snapshot) {
            return Ok(None);
        }
        if snapshot.made == Made::Lost {
            return Err(Refused::Lost);
        }
        let text = presented()?;
        if now.saturating_duration_since(snapshot.read) > MAX_AGE {
            return Err(Refused::Unreadable);
        }
        let id = KeyId::within(text).ok_or(Refused::Malformed("what was sent does not look like a key of graft"))?;
        let found = snapshot.keys.get(&id);
        // The same is done for an id that nobody has.
        let is_key = found.map_or(Digest::NONE, |held| held.key.digest).is_of(text);
        let held = found.filter(|_| is_key).ok_or(Refused::Unknown)?;
        let Key { name, scope, limits, expires, .. } = &held.key;
        if expires.is_some_and(|expires| expires <= date) {
            return Err(Refused::Expired { name: name.clone() });
        }
        if !scope.includes(needs) {
            return Err(Refused::Scope { name: name.clone(), has: *scope, needs });
        }
        let limit = limits.in_flight.unwrap_or(u32::MAX);
        let full = || Refused::InFlight { name: name.clone(), limit, room: held.usage.room(limits, now) };
        let place = held.usage.enter(limits).ok_or_else(full)?;
        Ok(Some(Admitted { held: Arc::clone(held), _place: Arc::new(place) }))
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn closed(&self, snapshot: &Snapshot) -> bool {
        match self.inner.auth {
            Auth::Off => false,
            Auth::Required => true,
            Auth::Auto => snapshot.made != Made::Never,
        }
    }
}

/// Whether there has ever been one.
impl From<bool> for Made {
    fn from(ever: bool) -> Self {
        if ever { Self::Ever } else { Self::Never }
    }
}

impl Admitted {
    /// Who asks.
    pub fn client(&self) -> Client {
        Client::key(self.held.key.name.as_str())
    }

    /// How much the holder may ask.
    pub fn limits(&self) -> &Limits {
        &self.held.key.limits
    }

    /// Counts `images` as asked at `now`, all or none.
    ///
    /// # Errors
    /// More than the holder has left, or may ever ask at once.
    pub fn take(&self, images: usize, now: Instant) -> Result<(), Refused> {
        let Held { key, usage } = &*self.held;
        usage.take(&key.limits, images, now).map_err(|full| self.refused(images, full))
    }

    /// Whether `images` would be let in at `now`; counts none.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn check(&self, images: usize, now: Instant) -> Result<(), Refused> {
        let Held { key, usage } = &*self.held;
        usage.check(&key.limits, images, now).map_err(|full| self.refused(images, full))
    }

    fn refused(&self, images: usize, full: Full) -> Refused {
        let Key { name, limits, .. } = &self.held.key;
        match full {
            Full::For(wait) => {
                let per_second = limits.images_per_second.unwrap_or_default();
                Refused::Images { name: name.clone(), per_second, images, wait }
            }
            Full::Always { burst } => Refused::TooManyImages { name: name.clone(), images, burst },
        }
    }

    /// What the holder may still ask at `now`; `None` without a limit on images.
    pub fn room(&self, now: Instant) -> Option<Room> {
        self.held.usage.room(&self.held.key.limits, now)
    }
}

#[cfg(test)]
mod tests;
