//! Configuration records: read as a whole, changed together, and the audit trail of that.
//!
//! **Versions are seen in order.** A transaction that changes what is versioned counts the one row of `configuration` up
//! and so holds it until its commit: whoever reads a version has all before it. How endpoints do is no configuration: it
//! has no version, and nobody waits for it. What is to be written at one version only is so in the life of the database in
//! which that version was read: in another one it stands for something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{bigint, get};
use super::{PostgresStore, audit};
use crate::id::ConsumerId;
use crate::store::{
    AuditFilter, AuditPage, AuditRow, Catalog, Cluster, Record, RecordChange, RecordKind, StoreError,
};

#[async_trait]
impl Catalog for PostgresStore {
    async fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.readers
            .read(|session| async move {
                let rows = session.query("SELECT kind, id, consumer, sealed FROM records", &[]).await?;
                rows.iter().map(record).collect()
            })
            .await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Result<(), StoreError> {
        self.singles.write(move |session| async move { change(&session, &changes).await }).await
    }

    fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        let cluster: Arc<dyn Cluster> = self.cluster.clone();
        Some(cluster)
    }

    async fn audit(&self, filter: AuditFilter) -> Result<AuditPage, StoreError> {
        self.readers.read(|session| async move { audit::audit(&session, &filter).await }).await
    }

    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.singles.write(move |session| async move { audit::forget(&session, before, limit).await }).await
    }
}

/// Whether these changes need a transaction of their own.
pub(super) fn are_versioned(changes: &[RecordChange]) -> bool {
    changes.iter().any(|change| match change {
        RecordChange::Put(record) => is_versioned(record.kind),
        RecordChange::Remove { kind, .. } => is_versioned(*kind),
        RecordChange::Audit(_) => false,
        RecordChange::OnlyAt(_) => true,
    })
}

fn is_versioned(kind: RecordKind) -> bool {
    kind != RecordKind::EndpointHealth
}

/// Writes these changes, as part of a transaction that nobody else has a command in.
pub(super) async fn change(session: &Session, changes: &[RecordChange]) -> Result<(), Failure> {
    let version = count_up(session, changes).await?;
    for change in changes {
        match change {
            RecordChange::Put(record) => put(session, record, version).await?,
            RecordChange::Remove { kind, id } => remove(session, *kind, id, version).await?,
            RecordChange::Audit(row) => audit::append(session, &[row]).await?,
            RecordChange::OnlyAt(_) => {} // counted already
        }
    }
    Ok(())
}

/// Writes what has no version, with one statement for each kind of it. Of several changes of one record the last counts.
pub(super) async fn change_many(session: &Session, changes: &[RecordChange]) -> Result<(), Failure> {
    let mut last: BTreeMap<(&str, &str), Option<&Record>> = BTreeMap::new();
    let mut trail: Vec<&AuditRow> = Vec::new();
    for change in changes {
        match change {
            RecordChange::Put(record) => {
                last.insert((record.kind.name(), &record.id), Some(record));
            }
            RecordChange::Remove { kind, id } => {
                last.insert((kind.name(), id), None);
            }
            RecordChange::Audit(row) => trail.push(row),
            RecordChange::OnlyAt(_) => {}
        }
    }
    let put: Vec<&Record> = last.values().copied().flatten().collect();
    if !put.is_empty() {
        put_many(session, &put, 0).await?;
    }
    for ((kind, id), _) in last.iter().filter(|(_, record)| record.is_none()) {
        session.execute(REMOVE, &[kind, id]).await?;
    }
    if trail.is_empty() { Ok(()) } else { audit::append(session, &trail).await }
}

/// The version that these changes make; 0 if they are not versioned.
async fn count_up(session: &Session, changes: &[RecordChange]) -> Result<i64, Failure> {
    if !are_versioned(changes) {
        return Ok(0);
    }
    let only_at = changes.iter().find_map(|change| match change {
        RecordChange::OnlyAt(version) => Some(bigint(*version)),
        _ => None,
    });
    let read_in = only_at.and_then(|_| session.read_in().get());
    let row = session.query_opt(COUNT_UP, &[&only_at, &read_in]).await?;
    let row = row.ok_or(Failure::Store(StoreError::Superseded))?;
    get(&row, 0)
}

async fn put(session: &Session, record: &Record, version: i64) -> Result<(), Failure> {
    let version = if is_versioned(record.kind) { version } else { 0 };
    put_many(session, &[record], version).await?;
    if version > 0 {
        session.execute(COME_BACK, &[&record.kind.name(), &record.id]).await?;
    }
    Ok(())
}

async fn put_many(session: &Session, records: &[&Record], version: i64) -> Result<(), Failure> {
    let kinds: Vec<&str> = records.iter().map(|record| record.kind.name()).collect();
    let ids: Vec<&str> = records.iter().map(|record| &*record.id).collect();
    let consumers: Vec<Option<&str>> =
        records.iter().map(|record| record.consumer.as_ref().map(ConsumerId::as_str)).collect();
    let sealed: Vec<&[u8]> = records.iter().map(|record| &*record.sealed).collect();
    session.execute(PUT_MANY, &[&kinds, &ids, &consumers, &sealed, &version]).await?;
    Ok(())
}

async fn remove(session: &Session, kind: RecordKind, id: &str, version: i64) -> Result<(), Failure> {
    let removed = session.execute(REMOVE, &[&kind.name(), &id]).await?;
    if removed > 0 && is_versioned(kind) {
        session.execute(GONE, &[&kind.name(), &id, &version]).await?;
    }
    Ok(())
}

/// A record, from the columns kind, id, consumer, sealed.
pub(super) fn record(row: &Row) -> Result<Record, Failure> {
    let consumer: Option<&str> = get(row, 2)?;
    let consumer = consumer.map(ConsumerId::parse).transpose();
    Ok(Record {
        kind: kind(row, 0)?,
        id: get(row, 1)?,
        consumer: consumer.map_err(|_| Failure::corrupt("record: its consumer"))?,
        sealed: get(row, 3)?,
    })
}

/// The kind in this column.
pub(super) fn kind(row: &Row, column: usize) -> Result<RecordKind, Failure> {
    RecordKind::from_name(get(row, column)?).ok_or_else(|| Failure::corrupt("record: its kind"))
}

const COUNT_UP: &str = "UPDATE configuration SET version = version + 1
    WHERE singleton AND ($1::bigint IS NULL OR version = $1)
        AND ($2::text IS NULL OR $2 = left(pg_walfile_name(pg_current_wal_lsn()), 8)) RETURNING version";

/// In the order in which they are given: the same for all, so that two who write the same ones wait for each other and
/// not both.
pub(super) const PUT_MANY: &str = "INSERT INTO records (kind, id, consumer, sealed, version)
         SELECT kind, id, consumer, sealed, $5::bigint
             FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS r (kind, id, consumer, sealed)
     ON CONFLICT (kind, id) DO UPDATE
         SET consumer = excluded.consumer, sealed = excluded.sealed, version = excluded.version";

const REMOVE: &str = "DELETE FROM records WHERE kind = $1 AND id = $2";

const COME_BACK: &str = "DELETE FROM records_gone WHERE kind = $1 AND id = $2";

const GONE: &str = "INSERT INTO records_gone (kind, id, version) VALUES ($1, $2, $3)
    ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version";
