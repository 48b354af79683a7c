//! Keys: how they look, how they are made, and what of them is stored.
//!
//! A key is `graft_ID_SECRET`: the id is public and finds the stored digest, the secret is compared with it in constant time.
//! The digest is one SHA-256. A slow hash protects passwords, which people choose and others guess; 192 random bits cannot be
//! guessed however fast a guess is, and a slow hash would cost every request that time.

use std::{fmt, time::SystemTime};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use super::{limits::Limits, name::KeyName, scope::Scope};

/// What every key begins with, so that people and scanners of repositories know one when they see it.
pub(super) const PREFIX: &str = "graft_";

/// Random bytes of an id and of a secret; in a key they are hexadecimal.
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 24;

/// Characters of a key: prefix, id, `_`, secret.
const LENGTH: usize = PREFIX.len() + 2 * ID_BYTES + 1 + 2 * SECRET_BYTES;

/// The public part of a key, which finds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId(pub String);

/// The SHA-256 of a whole key.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 32]);

/// A key as it is stored: everything but the secret.
#[derive(Debug, Clone)]
pub struct Key {
    /// The public part.
    pub id: KeyId,
    /// What people call it.
    pub name: KeyName,
    /// What the whole key hashes to.
    pub digest: Digest,
    /// What its holder may do.
    pub scope: Scope,
    /// How much of it.
    pub limits: Limits,
    /// Since when it is there.
    pub created: SystemTime,
    /// From when on it is refused.
    pub expires: Option<SystemTime>,
    /// Since when it is refused for good.
    pub revoked: Option<SystemTime>,
}

/// A key that was just made: the only moment at which its text is known.
pub struct NewKey {
    /// The public part.
    pub id: KeyId,
    /// What is stored of it.
    pub digest: Digest,
    text: String,
}

impl NewKey {
    /// A key of the system's randomness.
    ///
    /// # Errors
    /// A system that has none.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        let id = hex::encode(id);
        let text = format!("{PREFIX}{id}_{}", hex::encode(secret));
        Ok(Self { id: KeyId(id), digest: Digest::of(&text), text })
    }

    /// The key itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

/// Without the secret.
impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl KeyId {
    /// The id in `text`, if it looks like a key.
    pub(super) fn within(text: &str) -> Option<Self> {
        if text.len() != LENGTH {
            return None;
        }
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_hex = |part: &str, bytes: usize| {
            part.len() == 2 * bytes && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        (is_hex(id, ID_BYTES) && is_hex(secret, SECRET_BYTES)).then(|| Self(id.to_owned()))
    }
}

impl Digest {
    /// The digest of a key that does not exist: nothing is known that hashes to it.
    pub(crate) const NONE: Self = Self([0; 32]);

    /// That of a whole key.
    pub(super) fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether `text` is the key, in a time that does not depend on how much of it is right.
    pub(super) fn is_of(&self, text: &str) -> bool {
        self.0.ct_eq(&Self::of(text).0).into()
    }
}

/// Not even the digest belongs in a log.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_by_itself_alone() {
        let [one, other] = [NewKey::random(), NewKey::random()].map(|key| key.expect("the system has randomness"));
        assert_eq!(one.reveal().len(), LENGTH);
        assert!(one.digest.is_of(one.reveal()) && !one.digest.is_of(other.reveal()));
        assert_eq!(KeyId::within(one.reveal()).as_ref(), Some(&one.id));
        assert_ne!(one.id, other.id);
        // The digest is the whole key's: a secret does not serve under another id.
        let mixed = format!("{PREFIX}{}{}", one.id.0, &other.reveal()[PREFIX.len() + 2 * ID_BYTES..]);
        assert!(!one.digest.is_of(&mixed) && !other.digest.is_of(&mixed));
        assert_eq!(hex::encode(Digest::of("abc").0), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_looks_like_no_key_is_none() {
        let key = format!("{PREFIX}{}_{}", "0a".repeat(ID_BYTES), "b1".repeat(SECRET_BYTES));
        assert_eq!(KeyId::within(&key), Some(KeyId("0a".repeat(ID_BYTES))));
        let upper = format!("{PREFIX}{}_{}", "0A".repeat(ID_BYTES), "b1".repeat(SECRET_BYTES));
        let slanted = key.replace("_b", "/b");
        for wrong in
            ["", "graft_", &key[1..], &key[..LENGTH - 1], &format!("{key}0"), &format!(" {}", &key[1..]), &upper, &slanted]
        {
            assert_eq!(KeyId::within(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn debugging_shows_no_secret() {
        let key = NewKey::random().expect("the system has randomness");
        let secret = &key.reveal()[LENGTH - 2 * SECRET_BYTES..];
        assert!(!format!("{key:?} {:?}", key.digest).contains(secret));
    }
}
