//! Configuration records: read as a whole, changed together, and the audit trail of that.

use async_trait::async_trait;
use rusqlite::params;
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::session::Session;
use super::values::present;
use super::{SqliteStore, audit};
use crate::id::ConsumerId;
use crate::store::{AuditFilter, AuditPage, Catalog, Record, RecordChange, RecordKind, StoreError};

#[async_trait]
impl Catalog for SqliteStore {
    async fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.readers
            .read(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT kind, id, consumer, sealed FROM records")?;
                let mut rows = statement.query([])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    let kind = row.get_ref(0)?.as_str().ok().and_then(RecordKind::from_name);
                    let consumer: Option<String> = row.get(2)?;
                    let consumer = consumer.map(|name| ConsumerId::parse(&name)).transpose();
                    found.push(Record {
                        kind: present(kind, "record: its kind")?,
                        id: row.get(1)?,
                        consumer: consumer.map_err(|_| Failure::corrupt("record: its consumer"))?,
                        sealed: row.get(3)?,
                    });
                }
                Ok(found)
            })
            .await
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Result<(), StoreError> {
        self.writer.write(move |session| change(session, &changes)).await
    }

    async fn audit(&self, filter: AuditFilter) -> Result<AuditPage, StoreError> {
        self.readers.read(move |connection| audit::audit(connection, &filter)).await
    }

    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.writer.write(move |session| audit::forget(session, before, limit)).await
    }
}

/// Writes these changes, as part of whatever transaction this is.
pub(super) fn change(session: &Session, changes: &[RecordChange]) -> Result<(), Failure> {
    for change in changes {
        match change {
            RecordChange::Put(record) => put(session, record)?,
            RecordChange::Remove { kind, id } => {
                session
                    .prepare("DELETE FROM records WHERE kind = ?1 AND id = ?2")?
                    .execute(params![kind.name(), id])?;
            }
            RecordChange::Audit(row) => audit::append(session, row)?,
            RecordChange::OnlyAt(_) => {} // nobody else writes
        }
    }
    Ok(())
}

fn put(session: &Session, record: &Record) -> Result<(), Failure> {
    session
        .prepare("INSERT OR REPLACE INTO records (kind, id, consumer, sealed) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
        record.kind.name(),
        record.id,
        record.consumer.as_ref().map(ConsumerId::as_str),
        record.sealed
    ])?;
    Ok(())
}
