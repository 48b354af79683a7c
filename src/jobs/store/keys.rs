//! The table of API keys: made, listed, changed, revoked.
//!
//! Judges no request: that is `access`'s.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{Row, Sqlite, Transaction, sqlite::SqliteRow};
use tokio::task::spawn_blocking;

use super::Store;
use crate::{
    access::{Digest, Key, KeyId, KeyName, Limits},
    jobs::{error::Error, keys::KeysError, time::Timestamp},
};

/// What the table says of keys that were not revoked.
#[derive(Debug)]
pub(in crate::jobs) struct StoredKeys {
    /// Those that can be read, expired ones among them.
    pub keys: Vec<Key>,
    /// Those that cannot, and let nobody in.
    pub unreadable: Vec<UnreadableKey>,
    /// Whether there has ever been one.
    pub in_use: bool,
}

/// A key that cannot be read: it lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key {} lets nobody in: `{column}` in row {seq} of the table `keys` in `jobs.db` cannot be read; {}",
    named(.name.as_ref()),
    way_out(.name.as_ref())
)]
pub struct UnreadableKey {
    /// The row.
    pub seq: i64,
    /// What it is called, if that can be read.
    pub name: Option<KeyName>,
    /// Which of its columns cannot be read; the first of them.
    pub column: &'static str,
}

fn named(name: Option<&KeyName>) -> String {
    name.map_or_else(|| "without a name that can be read".to_owned(), |name| format!("`{name}`"))
}

fn way_out(name: Option<&KeyName>) -> String {
    match name {
        Some(name) => format!("`graft keys revoke {name}`, then make it anew"),
        None => "delete the row and make the key anew".to_owned(),
    }
}

/// Most keys in force at once, and most revoked ones that are remembered by name.
pub(in crate::jobs) const MAX_KEYS: i64 = 1000;

type Tx = Transaction<'static, Sqlite>;

impl Store {
    /// The keys that were not revoked.
    ///
    /// # Errors
    /// The store's own.
    pub(in crate::jobs) async fn keys(&self) -> Result<StoredKeys, Error> {
        let rows = sqlx::query("SELECT * FROM keys WHERE revoked IS NULL ORDER BY seq").fetch_all(&self.gate).await?;
        // Asked second: a key that is made in between closes the server a moment before it lets anybody in.
        let in_use = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM keys)").fetch_one(&self.gate).await?;
        let (keys, unreadable) = split(&rows);
        Ok(StoredKeys { keys, unreadable, in_use })
    }

    /// Keys that were revoked, the latest first; without those that cannot be read, which let nobody in anyway.
    ///
    /// # Errors
    /// The store's own.
    pub(in crate::jobs) async fn revoked_keys(&self) -> Result<Vec<Key>, Error> {
        let revoked = sqlx::query("SELECT * FROM keys WHERE revoked IS NOT NULL ORDER BY revoked DESC, seq DESC");
        Ok(split(&revoked.fetch_all(&self.pool).await?).0)
    }

    /// Stores a key whose name nobody has.
    ///
    /// # Errors
    /// [`KeysError::Exists`]; [`KeysError::TooMany`].
    pub(in crate::jobs) async fn add_key(&self, key: &Key) -> Result<(), KeysError> {
        let mut tx = self.begin().await?;
        let known = sqlx::query("SELECT 1 FROM keys WHERE name = ? AND revoked IS NULL").bind(key.name.as_str());
        if known.fetch_optional(&mut *tx).await.map_err(Error::from)?.is_some() {
            return Err(KeysError::Exists { name: key.name.clone() });
        }
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM keys WHERE revoked IS NULL").fetch_one(&mut *tx).await;
        let count: i64 = count.map_err(Error::from)?;
        if count >= MAX_KEYS {
            return Err(KeysError::TooMany { limit: MAX_KEYS });
        }
        let Key { id, name, digest, scope, limits, created, expires, revoked: _ } = key;
        let insert = sqlx::query(
            "INSERT INTO keys (id, name, digest, scope, images_per_second, burst, in_flight, created, expires) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        );
        let insert = insert.bind(&id.0).bind(name.as_str()).bind(digest.0.as_slice()).bind(scope.name());
        let insert = insert.bind(limits.images_per_second).bind(limits.burst).bind(limits.in_flight);
        let insert = insert.bind(millis(*created)).bind(expires.map(millis));
        insert.execute(&mut *tx).await.map_err(Error::from)?;
        // Before anybody can have the key: a store that is lost later must not open a server.
        self.mark_keys().await.map_err(|source| KeysError::Marker { path: self.marker.path().to_owned(), source })?;
        Ok(tx.commit().await.map_err(Error::from)?)
    }

    /// Changes scope, limits and end of the key in force that is called `name`.
    ///
    /// # Errors
    /// [`KeysError::Unknown`]; what `change` refuses, and nothing changes.
    pub(in crate::jobs) async fn change_key(
        &self,
        name: &KeyName,
        change: impl FnOnce(&mut Key) -> Result<(), KeysError>,
    ) -> Result<Key, KeysError> {
        let mut tx = self.begin().await?;
        let mut key = find(&mut tx, name).await?.ok_or_else(|| KeysError::Unknown { name: name.clone() })?;
        change(&mut key)?;
        let Limits { images_per_second, burst, in_flight } = key.limits;
        let update =
            sqlx::query("UPDATE keys SET scope = ?, images_per_second = ?, burst = ?, in_flight = ?, expires = ? WHERE id = ?");
        let update = update.bind(key.scope.name()).bind(images_per_second).bind(burst).bind(in_flight);
        update.bind(key.expires.map(millis)).bind(&key.id.0).execute(&mut *tx).await.map_err(Error::from)?;
        tx.commit().await.map_err(Error::from)?;
        Ok(key)
    }

    /// Keeps outside of the database that keys were made.
    ///
    /// # Errors
    /// What the system says of the file.
    pub(in crate::jobs) async fn mark_keys(&self) -> io::Result<()> {
        let marker = Arc::clone(&self.marker);
        spawn_blocking(move || marker.set()).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Whether keys were ever made, by what is kept outside of the database.
    pub(in crate::jobs) fn is_marked(&self) -> bool {
        self.marker.is_set()
    }

    /// Ends the key in force that is called `name`; what it hashes to is forgotten.
    ///
    /// # Errors
    /// [`KeysError::Unknown`].
    pub(in crate::jobs) async fn revoke_key(&self, name: &KeyName, now: Timestamp) -> Result<(), KeysError> {
        let mut tx = self.begin().await?;
        let revoke = sqlx::query("UPDATE keys SET revoked = ?, digest = NULL WHERE name = ? AND revoked IS NULL");
        let revoked = revoke.bind(now.0).bind(name.as_str()).execute(&mut *tx).await.map_err(Error::from)?;
        if revoked.rows_affected() == 0 {
            return Err(KeysError::Unknown { name: name.clone() });
        }
        let forget = "DELETE FROM keys WHERE seq IN \
                      (SELECT seq FROM keys WHERE revoked IS NOT NULL ORDER BY revoked DESC, seq DESC LIMIT -1 OFFSET ?)";
        sqlx::query(forget).bind(MAX_KEYS).execute(&mut *tx).await.map_err(Error::from)?;
        Ok(tx.commit().await.map_err(Error::from)?)
    }
}

async fn find(tx: &mut Tx, name: &KeyName) -> Result<Option<Key>, KeysError> {
    let found = sqlx::query("SELECT * FROM keys WHERE name = ? AND revoked IS NULL").bind(name.as_str());
    let found = found.fetch_optional(&mut **tx).await.map_err(Error::from)?;
    Ok(found.as_ref().map(key).transpose()?)
}

/// The keys of `rows`, and those that cannot be read.
fn split(rows: &[SqliteRow]) -> (Vec<Key>, Vec<UnreadableKey>) {
    let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        match key(row) {
            Ok(key) => keys.push(key),
            Err(error) => unreadable.push(error),
        }
    }
    (keys, unreadable)
}

fn key(row: &SqliteRow) -> Result<Key, UnreadableKey> {
    let name = row.try_get::<&str, _>("name").ok().and_then(|name| name.parse::<KeyName>().ok());
    let wrong = |column| UnreadableKey { seq: row.try_get("seq").unwrap_or_default(), name: name.clone(), column };
    let time = |column| match row.try_get::<Option<i64>, _>(column) {
        Ok(time) => Ok(time.map(system_time)),
        Err(_) => Err(wrong(column)),
    };
    let bound = |column| match row.try_get::<Option<u32>, _>(column) {
        Ok(Some(0)) | Err(_) => Err(wrong(column)),
        Ok(bound) => Ok(bound),
    };
    let revoked = time("revoked")?;
    let digest = match (row.try_get::<Option<&[u8]>, _>("digest"), revoked) {
        (Ok(Some(digest)), _) => Digest(digest.try_into().map_err(|_| wrong("digest"))?),
        (Ok(None), Some(_)) => Digest::NONE,
        (Ok(None), None) | (Err(_), _) => return Err(wrong("digest")),
    };
    let limits =
        Limits { images_per_second: bound("images_per_second")?, burst: bound("burst")?, in_flight: bound("in_flight")? };
    if limits.burst.is_some() && limits.images_per_second.is_none() {
        return Err(wrong("images_per_second"));
    }
    let scope = row.try_get::<&str, _>("scope").ok().and_then(|scope| scope.parse().ok());
    Ok(Key {
        id: KeyId(row.try_get("id").map_err(|_| wrong("id"))?),
        name: name.clone().ok_or_else(|| wrong("name"))?,
        digest,
        scope: scope.ok_or_else(|| wrong("scope"))?,
        limits,
        created: time("created")?.ok_or_else(|| wrong("created"))?,
        expires: time("expires")?,
        revoked,
    })
}

fn system_time(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn millis(time: SystemTime) -> i64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_read_whatever_others_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).await.expect("a new store");
        let mut others = Vec::new();
        while let Some(connection) = store.pool.try_acquire() {
            others.push(connection);
        }
        while others.len() < super::super::CONNECTIONS as usize {
            others.push(store.pool.acquire().await.expect("not all are taken"));
        }
        let StoredKeys { keys, in_use, .. } = store.keys().await.expect("it waits for nobody");
        assert_eq!((keys.len(), in_use), (0, false));
    }
}
