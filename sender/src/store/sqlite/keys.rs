//! The signing ring and the data keys, both as ciphertext.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

use super::failure::Failure;
use super::session::Session;
use super::values::consumer_id;
use super::{SqliteStore, catalog};
use crate::id::ConsumerId;
use crate::store::{DataKeyRecord, KeyRecords, RecordChange, RingRecord, StoreError};

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
        expected: u64,
        sealed: Vec<u8>,
        changes: Vec<RecordChange>,
    ) -> Result<bool, StoreError> {
        self.writer.write(move |session| save_ring(session, expected, &sealed, &changes)).await
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

    async fn keep_data_key(&self, key: DataKeyRecord) -> Result<DataKeyRecord, StoreError> {
        self.writer.write(move |session| keep_data_key(session, &key)).await
    }

    async fn destroy_data_key(&self, consumer: ConsumerId) -> Result<(), StoreError> {
        self.writer.write(move |session| destroy_data_key(session, &consumer)).await
    }
}

fn save_ring(
    session: &Session,
    expected: u64,
    sealed: &[u8],
    changes: &[RecordChange],
) -> Result<bool, Failure> {
    // A version that no column can hold was never kept.
    let Ok(expected) = i64::try_from(expected) else { return Ok(false) };
    let saved = if expected == 0 {
        session
            .prepare("INSERT OR IGNORE INTO ring (singleton, version, sealed) VALUES (1, 1, ?1)")?
            .execute([sealed])?
    } else {
        session
            .prepare("UPDATE ring SET version = version + 1, sealed = ?2 WHERE version = ?1")?
            .execute(params![expected, sealed])?
    };
    if saved == 1 {
        catalog::change(session, changes)?;
    }
    Ok(saved == 1)
}

fn keep_data_key(session: &Session, key: &DataKeyRecord) -> Result<DataKeyRecord, Failure> {
    let consumer = key.consumer.as_ref().map_or("", ConsumerId::as_str);
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
/// (or, if a reader holds it just then, at the next checkpoint). What the file system or a backup still holds is
/// beyond this program.
fn destroy_data_key(session: &mut Session, consumer: &ConsumerId) -> Result<(), Failure> {
    session.scrub = true;
    overwriting(session, || {
        session.prepare("DELETE FROM data_keys WHERE consumer = ?1")?.execute([consumer.as_str()])?;
        Ok(())
    })
}

/// Does `work` with SQLite overwriting what it frees.
fn overwriting(session: &Session, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    session.connection().pragma_update(None, "secure_delete", "ON")?;
    let done = work();
    session.connection().pragma_update(None, "secure_delete", "OFF")?;
    done
}

fn data_key(row: &Row<'_>) -> Result<DataKeyRecord, Failure> {
    let consumer = match row.get_ref(0)?.as_str() {
        Ok("") => None,
        _ => Some(consumer_id(row, 0)?),
    };
    Ok(DataKeyRecord { consumer, kek_id: row.get(1)?, wrapped: row.get(2)? })
}
