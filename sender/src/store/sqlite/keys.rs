//! The signing ring and the data keys, both as ciphertext.

use std::collections::HashSet;

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

use super::failure::Failure;
use super::session::{Scrub, Session, overwriting};
use super::values::consumer_id;
use super::{SqliteStore, catalog};
use crate::id::ConsumerId;
use crate::store::{DataKeyRecord, KeyRecords, RecordChange, RewrappedKeys, RingRecord, StoreError};

#[async_trait]
impl KeyRecords for SqliteStore {
    async fn ring(&self) -> Result<Option<RingRecord>, StoreError> {
        self.readers
            .read(|connection| {
                let mut statement = connection.prepare_cached("SELECT version, sealed FROM ring")?;
                let found =
                    statement.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional()?;
                found
                    .map(|(version, sealed)| {
                        let version = u64::try_from(version).map_err(|_| Failure::corrupt("signing ring"))?;
                        Ok(RingRecord { version, sealed })
                    })
                    .transpose()
            })
            .await
    }

    async fn save_ring(
        &self,
        before: Option<RingRecord>,
        sealed: Vec<u8>,
        changes: Vec<RecordChange>,
    ) -> Result<bool, StoreError> {
        self.writer.write(move |session| save_ring(session, before.as_ref(), &sealed, &changes)).await
    }

    async fn data_keys(&self) -> Result<Vec<DataKeyRecord>, StoreError> {
        self.readers
            .read(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT consumer, kek_id, wrapped FROM data_keys")?;
                let mut rows = statement.query([])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(data_key(row)?);
                }
                Ok(found)
            })
            .await
    }

    async fn data_keys_of(&self, consumers: Vec<ConsumerId>) -> Result<Vec<DataKeyRecord>, StoreError> {
        self.readers
            .read(move |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT consumer, kek_id, wrapped FROM data_keys WHERE consumer = ?1")?;
                let mut found = Vec::new();
                for consumer in consumers {
                    let mut rows = statement.query([consumer.as_str()])?;
                    if let Some(row) = rows.next()? {
                        found.push(data_key(row)?);
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn keep_data_key(&self, key: DataKeyRecord) -> Result<DataKeyRecord, StoreError> {
        self.writer.write(move |session| keep_data_key(session, &key)).await
    }

    async fn destroy_data_key(&self, consumer: ConsumerId) -> Result<(), StoreError> {
        self.writer.write(move |session| destroy_data_key(session, &consumer)).await
    }

    async fn rewrap(&self, rewrapped: RewrappedKeys) -> Result<bool, StoreError> {
        self.writer.write(move |session| rewrap(session, &rewrapped)).await
    }
}

fn save_ring(
    session: &mut Session,
    before: Option<&RingRecord>,
    sealed: &[u8],
    changes: &[RecordChange],
) -> Result<bool, Failure> {
    // A version that no column can hold was never kept.
    let Ok(version) = before.map_or(Ok(0), |before| i64::try_from(before.version)) else { return Ok(false) };
    // The form before may have private keys that this one has no more: they are to be in no file.
    session.scrub = Scrub::Now;
    let saved = overwriting(session, || {
        let saved = match before {
            None => session
                .prepare("INSERT OR IGNORE INTO ring (singleton, version, sealed) VALUES (1, 1, ?1)")?
                .execute([sealed])?,
            Some(before) => session
                .prepare(
                    "UPDATE ring SET version = version + 1, sealed = ?2 WHERE version = ?1 AND sealed = ?3",
                )?
                .execute(params![version, sealed, before.sealed])?,
        };
        Ok(saved)
    })?;
    if saved == 1 {
        catalog::change(session, changes)?;
    }
    Ok(saved == 1)
}

fn keep_data_key(session: &Session, key: &DataKeyRecord) -> Result<DataKeyRecord, Failure> {
    let consumer = owner(key);
    // An insertion that splits a page moves rows, and would leave copies of them where they were.
    overwriting(session, || {
        session
            .prepare("INSERT OR IGNORE INTO data_keys (consumer, kek_id, wrapped) VALUES (?1, ?2, ?3)")?
            .execute(params![consumer, key.kek_id, key.wrapped])?;
        Ok(())
    })?;
    let mut statement =
        session.prepare("SELECT consumer, kek_id, wrapped FROM data_keys WHERE consumer = ?1")?;
    let mut rows = statement.query([consumer])?;
    rows.next()?.map_or_else(|| Err(Failure::corrupt("data key")), data_key)
}

/// The row's bytes are overwritten, not only forgotten, and `scrub` has the log emptied before this is acknowledged
/// (or, if a reader holds it just then, as soon as it has let go). What the file system or a backup still holds is
/// beyond this program.
fn destroy_data_key(session: &mut Session, consumer: &ConsumerId) -> Result<(), Failure> {
    session.scrub = Scrub::Now;
    overwriting(session, || {
        session.prepare("DELETE FROM data_keys WHERE consumer = ?1")?.execute([consumer.as_str()])?;
        Ok(())
    })
}

/// All in the one transaction of its command, and the log is emptied afterwards: what the old key-encryption key opens
/// is in no file of the store any more.
fn rewrap(session: &mut Session, rewrapped: &RewrappedKeys) -> Result<bool, Failure> {
    let version: Option<i64> =
        session.prepare("SELECT version FROM ring")?.query_row([], |row| row.get(0)).optional()?;
    let read = rewrapped.ring.as_ref().map(|ring| ring.version);
    if version.map(u64::try_from).transpose().ok().flatten() != read {
        return Ok(false);
    }
    let mut owners = HashSet::new();
    {
        let mut statement = session.prepare("SELECT consumer FROM data_keys")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            owners.insert(row.get::<_, String>(0)?);
        }
    }
    let given: HashSet<_> = rewrapped.data_keys.iter().map(|key| owner(key).to_owned()).collect();
    if owners != given {
        return Ok(false);
    }
    session.scrub = Scrub::Now;
    overwriting(session, || {
        if let Some(ring) = &rewrapped.ring {
            session.prepare("UPDATE ring SET version = version + 1, sealed = ?1")?.execute([&ring.sealed])?;
        }
        let mut update =
            session.prepare("UPDATE data_keys SET kek_id = ?2, wrapped = ?3 WHERE consumer = ?1")?;
        for key in &rewrapped.data_keys {
            update.execute(params![owner(key), key.kek_id, key.wrapped])?;
        }
        Ok(())
    })?;
    catalog::change(session, &rewrapped.changes)?;
    Ok(true)
}

/// As the column has it.
fn owner(key: &DataKeyRecord) -> &str {
    key.consumer.as_ref().map_or("", ConsumerId::as_str)
}

fn data_key(row: &Row<'_>) -> Result<DataKeyRecord, Failure> {
    let consumer = match row.get_ref(0)?.as_str() {
        Ok("") => None,
        _ => Some(consumer_id(row, 0)?),
    };
    Ok(DataKeyRecord { consumer, kek_id: row.get(1)?, wrapped: row.get(2)? })
}
