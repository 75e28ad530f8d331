//! The signing ring and the data keys, both as ciphertext.
//!
//! What is destroyed here is gone from what the database shows. Its pages, its log and its standbys have it until they are
//! written over, which is beyond this program: see the chapter on erasure for operators.

use std::collections::HashSet;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connect::Session;
use super::failure::Failure;
use super::values::{bigint, consumer_id, counted, get};
use super::{PostgresStore, catalog};
use crate::id::ConsumerId;
use crate::store::{DataKeyRecord, KeyRecords, RecordChange, RewrappedKeys, RingRecord, StoreError};

#[async_trait]
impl KeyRecords for PostgresStore {
    async fn ring(&self) -> Result<Option<RingRecord>, StoreError> {
        self.readers
            .read(|session| async move {
                let found = session.query_opt("SELECT version, sealed FROM ring", &[]).await?;
                found
                    .map(|row| Ok(RingRecord { version: counted(&row, 0)?, sealed: get(&row, 1)? }))
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
        self.singles
            .write(move |session| async move { save_ring(&session, before, &sealed, &changes).await })
            .await
    }

    async fn data_keys(&self) -> Result<Vec<DataKeyRecord>, StoreError> {
        self.readers
            .read(|session| async move {
                let rows = session.query("SELECT consumer, kek_id, wrapped FROM data_keys", &[]).await?;
                rows.iter().map(data_key).collect()
            })
            .await
    }

    async fn data_keys_of(&self, consumers: Vec<ConsumerId>) -> Result<Vec<DataKeyRecord>, StoreError> {
        self.readers
            .read(|session| async move {
                let names: Vec<&str> = consumers.iter().map(ConsumerId::as_str).collect();
                let rows = session.query(OF_CONSUMERS, &[&names]).await?;
                rows.iter().map(data_key).collect()
            })
            .await
    }

    async fn keep_data_key(&self, key: DataKeyRecord) -> Result<DataKeyRecord, StoreError> {
        self.singles.write(move |session| async move { keep_data_key(&session, &key).await }).await
    }

    async fn destroy_data_key(&self, consumer: ConsumerId) -> Result<(), StoreError> {
        self.singles
            .write(move |session| async move {
                session.execute("DELETE FROM data_keys WHERE consumer = $1", &[&consumer.as_str()]).await?;
                Ok(())
            })
            .await
    }

    async fn destroy_this_data_key(&self, key: DataKeyRecord) -> Result<(), StoreError> {
        self.singles
            .write(move |session| async move {
                session.execute(DESTROY_THIS, &[&owner(&key), &key.kek_id, &key.wrapped]).await?;
                Ok(())
            })
            .await
    }

    async fn rewrap(&self, rewrapped: RewrappedKeys) -> Result<bool, StoreError> {
        self.singles.write(move |session| async move { rewrap(&session, &rewrapped).await }).await
    }
}

async fn save_ring(
    session: &Session,
    before: Option<RingRecord>,
    sealed: &[u8],
    changes: &[RecordChange],
) -> Result<bool, Failure> {
    let saved = match before {
        None => session.execute(FIRST_RING, &[&sealed]).await?,
        Some(before) => {
            // A version that no column can hold was never kept.
            let Ok(version) = i64::try_from(before.version) else { return Ok(false) };
            session.execute(NEXT_RING, &[&version, &sealed, &before.sealed]).await?
        }
    };
    if saved == 1 {
        catalog::change(session, changes).await?;
    }
    Ok(saved == 1)
}

/// Two who keep one at the same moment wait for each other here; the second finds the first one's.
async fn keep_data_key(session: &Session, key: &DataKeyRecord) -> Result<DataKeyRecord, Failure> {
    session.execute(KEEP, &[&owner(key), &key.kek_id, &key.wrapped]).await?;
    let kept = session.query_opt(OF_CONSUMER, &[&owner(key)]).await?;
    kept.map_or_else(
        || {
            let why = "the data key was destroyed just now, or the store is under another key-encryption key";
            Err(Failure::unavailable(why))
        },
        |row| data_key(&row),
    )
}

/// Nobody keeps or destroys a data key until the commit.
async fn rewrap(session: &Session, rewrapped: &RewrappedKeys) -> Result<bool, Failure> {
    session.batch("LOCK TABLE data_keys IN SHARE ROW EXCLUSIVE MODE").await?;
    let found = session.query_opt("SELECT version FROM ring FOR UPDATE", &[]).await?;
    let version = found.map(|row| counted(&row, 0)).transpose()?;
    if version != rewrapped.ring.as_ref().map(|ring| ring.version) {
        return Ok(false);
    }
    let rows = session.query("SELECT consumer FROM data_keys", &[]).await?;
    let owners: HashSet<&str> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let given: HashSet<&str> = rewrapped.data_keys.iter().map(owner).collect();
    if owners != given {
        return Ok(false);
    }
    if let Some(ring) = &rewrapped.ring {
        session.execute(REWRAPPED_RING, &[&bigint(ring.version), &ring.sealed]).await?;
    }
    let consumers: Vec<&str> = rewrapped.data_keys.iter().map(owner).collect();
    let kek_ids: Vec<&str> = rewrapped.data_keys.iter().map(|key| &*key.kek_id).collect();
    let wrapped: Vec<&[u8]> = rewrapped.data_keys.iter().map(|key| &*key.wrapped).collect();
    session.execute(REWRAP, &[&consumers, &kek_ids, &wrapped]).await?;
    catalog::change(session, &rewrapped.changes).await?;
    Ok(true)
}

/// As the column has it.
fn owner(key: &DataKeyRecord) -> &str {
    key.consumer.as_ref().map_or("", ConsumerId::as_str)
}

fn data_key(row: &Row) -> Result<DataKeyRecord, Failure> {
    let consumer = match get::<&str>(row, 0)? {
        "" => None,
        _ => Some(consumer_id(row, 0)?),
    };
    Ok(DataKeyRecord { consumer, kek_id: get(row, 1)?, wrapped: get(row, 2)? })
}

const OF_CONSUMERS: &str = "SELECT consumer, kek_id, wrapped FROM data_keys WHERE consumer = ANY($1::text[])";

const OF_CONSUMER: &str = "SELECT consumer, kek_id, wrapped FROM data_keys WHERE consumer = $1";

const FIRST_RING: &str =
    "INSERT INTO ring (singleton, version, sealed) VALUES (true, 1, $1) ON CONFLICT (singleton) DO NOTHING";

const NEXT_RING: &str =
    "UPDATE ring SET version = version + 1, sealed = $2 WHERE version = $1 AND sealed = $3";

const REWRAPPED_RING: &str = "UPDATE ring SET version = version + 1, sealed = $2 WHERE version = $1";

/// Nothing is kept under a key-encryption key that the store's own data key is not under any more. Whoever changes that
/// holds the table until the commit, and this looks when it has waited.
const KEEP: &str = "INSERT INTO data_keys (consumer, kek_id, wrapped)
         SELECT $1, $2, $3
             WHERE NOT EXISTS (SELECT FROM data_keys WHERE consumer = '' AND kek_id <> $2)
     ON CONFLICT (consumer) DO NOTHING";

const DESTROY_THIS: &str =
    "DELETE FROM data_keys WHERE consumer = $1 AND consumer <> '' AND kek_id = $2 AND wrapped = $3";

const REWRAP: &str = "UPDATE data_keys k SET kek_id = n.kek_id, wrapped = n.wrapped
         FROM unnest($1::text[], $2::text[], $3::bytea[]) AS n (consumer, kek_id, wrapped)
         WHERE k.consumer = n.consumer";
