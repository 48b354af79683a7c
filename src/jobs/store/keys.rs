//! The table of API keys: made, listed, changed, revoked.
//!
//! Judges no request: that is `access`'s.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{Row, Sqlite, Transaction, sqlite::SqliteRow};

use super::Store;
use crate::{
    access::{Digest, Key, KeyId, KeyName, Limits},
    jobs::{error::Error, keys::KeysError, time::Timestamp},
};

/// Most keys in force at once, and most revoked ones that are remembered by name.
pub(in crate::jobs) const MAX_KEYS: i64 = 1000;

type Tx = Transaction<'static, Sqlite>;

impl Store {
    /// The keys in force, expired ones among them, and whether there has ever been one.
    ///
    /// # Errors
    /// The store's own.
    pub(in crate::jobs) async fn keys(&self) -> Result<(Vec<Key>, bool), Error> {
        let rows = sqlx::query("SELECT * FROM keys WHERE revoked IS NULL ORDER BY seq").fetch_all(&self.gate).await?;
        // Asked second: a key that is made in between closes the server a moment before it lets anybody in.
        let in_use = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM keys)").fetch_one(&self.gate).await?;
        Ok((rows.iter().map(key).collect::<Result<_, _>>()?, in_use))
    }

    /// Keys that were revoked, the latest first.
    ///
    /// # Errors
    /// The store's own.
    pub(in crate::jobs) async fn revoked_keys(&self) -> Result<Vec<Key>, Error> {
        let revoked = sqlx::query("SELECT * FROM keys WHERE revoked IS NOT NULL ORDER BY revoked DESC, seq DESC");
        revoked.fetch_all(&self.pool).await?.iter().map(key).collect()
    }

    /// Stores a key whose name nobody has.
    ///
    /// # Errors
    /// [`KeysError::Exists`]; [`KeysError::TooMany`].
    pub(in crate::jobs) async fn add_key(&self, key: &Key) -> Result<(), KeysError> {
        let mut tx = self.begin().await?;
        if find(&mut tx, &key.name).await?.is_some() {
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

async fn find(tx: &mut Tx, name: &KeyName) -> Result<Option<Key>, Error> {
    let found = sqlx::query("SELECT * FROM keys WHERE name = ? AND revoked IS NULL").bind(name.as_str());
    found.fetch_optional(&mut **tx).await?.as_ref().map(key).transpose()
}

fn key(row: &SqliteRow) -> Result<Key, Error> {
    let damaged = |column| Error::Damaged { column, source: None };
    let time = |column| Ok::<_, Error>(row.try_get::<Option<i64>, _>(column)?.map(system_time));
    let digest = match row.try_get::<Option<&[u8]>, _>("digest")? {
        Some(digest) => Digest(digest.try_into().map_err(|_| damaged("digest"))?),
        None => Digest::NONE,
    };
    let created: i64 = row.try_get("created")?;
    Ok(Key {
        id: KeyId(row.try_get("id")?),
        name: row.try_get::<&str, _>("name")?.parse().map_err(|_| damaged("name"))?,
        digest,
        scope: row.try_get::<&str, _>("scope")?.parse().map_err(|_| damaged("scope"))?,
        limits: Limits {
            images_per_second: row.try_get("images_per_second")?,
            burst: row.try_get("burst")?,
            in_flight: row.try_get("in_flight")?,
        },
        created: system_time(created),
        expires: time("expires")?,
        revoked: time("revoked")?,
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
        let (keys, in_use) = store.keys().await.expect("it waits for nobody");
        assert_eq!((keys.len(), in_use), (0, false));
    }
}
