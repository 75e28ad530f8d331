//! The store as rows, for another backend to take.
//!
//! The store's own lock is held throughout, so nothing changes between two pages, and no sender starts meanwhile. A page
//! is one read transaction. Nothing is written but the mark, at the end, that says where the store went.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::failure::Failure;
use super::{check, open};
use crate::store::StoreError;
use crate::store::transfer::{Column, Kind, Page, Position, Summary, Value};

/// A store that nobody else uses, to be read as a whole.
#[derive(Debug)]
pub(crate) struct Export {
    path: PathBuf,
    connection: Connection,
    _lock: open::Lock,
}

/// What to do with a store whose schema is older than this program's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outdated {
    /// Bring it up to date.
    Update,
    /// Leave it, and say so.
    Refuse,
}

/// Where the rows of one kind are.
struct Source {
    /// As [`Kind::columns`] says.
    columns: &'static [&'static str],
    from: &'static str,
    /// Unique, and in an index in this order.
    key: &'static [&'static str],
}

impl Export {
    /// Takes the store. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if a sender runs on it, [`StoreError::NotFound`] if there is none,
    /// [`StoreError::OlderSchema`], [`StoreError::NewerSchema`], [`StoreError::Corrupt`].
    pub(crate) fn open(path: &Path, outdated: Outdated) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::NotFound { what: "store" });
        }
        let lock = open::lock(path)?;
        if outdated == Outdated::Update {
            drop(open::writer(path)?);
        }
        let connection = open::reader(path)?;
        match open::schema_version(&connection)? {
            0 => return Err(StoreError::Corrupt { what: "database file: it is not a store" }),
            found if found < open::KNOWN => {
                return Err(StoreError::OlderSchema { found, known: open::KNOWN });
            }
            _ => check::quickly(&connection)?,
        }
        Ok(Self { path: path.to_owned(), connection, _lock: lock })
    }

    /// Where the store went, if it was moved.
    pub(crate) fn moved_to(&self) -> Result<Option<String>, StoreError> {
        Ok(open::moved_to(&self.connection)?)
    }

    /// Rows of one kind, from a place on. A page ends at [`ROWS`] or soon after [`BYTES`].
    pub(crate) fn page(&self, kind: Kind, after: Option<&Position>) -> Result<Page, StoreError> {
        Ok(self.read(kind, after)?)
    }

    fn read(&self, kind: Kind, after: Option<&Position>) -> Result<Page, Failure> {
        let source = source(kind);
        let sql = sql(kind, &source, after.is_some(), "{}");
        let mut statement = self.connection.prepare_cached(&format!("{sql} LIMIT {ROWS}"))?;
        let parameters = after.into_iter().flatten().map(parameter);
        let mut found = statement.query(params_from_iter(parameters))?;
        let (mut page, mut bytes) = (Page { kind, rows: Vec::new(), next: None }, 0);
        let mut last = None;
        while let Some(row) = found.next()? {
            let values = values(row, kind.columns())?;
            bytes += values.iter().map(size).sum::<usize>();
            page.rows.push(values);
            last = Some(position(row, kind.columns().len(), source.key.len())?);
            if bytes >= BYTES {
                break;
            }
        }
        page.next = last.filter(|_| bytes >= BYTES || page.rows.len() >= ROWS);
        Ok(page)
    }

    /// Counts one kind, and sums it up. Large values are not read.
    pub(crate) fn summary(&self, kind: Kind) -> Result<Summary, StoreError> {
        Ok(self.sum_up(kind)?)
    }

    fn sum_up(&self, kind: Kind) -> Result<Summary, Failure> {
        let sql = sql(kind, &source(kind), false, "length({})");
        let mut statement = self.connection.prepare(&sql)?;
        let mut found = statement.query([])?;
        let columns: Vec<Column> = kind.columns().to_vec();
        let lengths: Vec<Column> =
            columns.iter().map(|is| if *is == Column::Large { Column::Integer } else { *is }).collect();
        let mut summary = Summary::default();
        while let Some(row) = found.next()? {
            summary.add(&values(row, &lengths)?, &columns);
        }
        Ok(summary)
    }

    /// The days (since 1970, in UTC) of which there are events or deliveries, by their ids.
    pub(crate) fn days(&self) -> Result<Vec<i64>, StoreError> {
        let mut days = self.days_of("SELECT min(id) FROM events WHERE id >= ?1")?;
        days.extend(self.days_of("SELECT min(id) FROM deliveries WHERE id >= ?1")?);
        days.sort_unstable();
        days.dedup();
        Ok(days)
    }

    /// A step for each day, however much there is of it.
    fn days_of(&self, first_from: &str) -> Result<Vec<i64>, Failure> {
        let (mut days, mut from) = (Vec::new(), [0_u8; 16]);
        let mut statement = self.connection.prepare(first_from)?;
        while let Some(id) = statement.query_row([from], |row| row.get::<_, Option<[u8; 16]>>(0))? {
            let day = i64::try_from((u128::from_be_bytes(id) >> 80) / DAY).unwrap_or(i64::MAX);
            days.push(day);
            let next = (u128::try_from(day).unwrap_or(0) + 1) * DAY;
            if next >> 48 > 0 {
                break;
            }
            from = (next << 80).to_be_bytes();
        }
        Ok(days)
    }

    /// Says in the store where it went: no sender opens it any more, and none opens a copy of it.
    pub(crate) fn mark_moved(&self, to: &str) -> Result<(), StoreError> {
        Ok(self.mark(to)?)
    }

    fn mark(&self, to: &str) -> Result<(), Failure> {
        let mut writer = open::writer(&self.path)?;
        let transaction = writer.transaction()?;
        transaction.execute_batch("CREATE TABLE IF NOT EXISTS moved (destination TEXT NOT NULL) STRICT")?;
        let known: Option<String> =
            transaction.query_row("SELECT destination FROM moved", [], |row| row.get(0)).optional()?;
        if known.is_none() {
            transaction.execute("INSERT INTO moved (destination) VALUES (?1)", [to])?;
        }
        transaction.commit()?;
        // Into the file itself: it may be copied without its log.
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }
}

/// The columns, then the key. What is large is selected as the template says.
fn sql(kind: Kind, source: &Source, from_a_place: bool, large: &str) -> String {
    let columns = source.columns.iter().zip(kind.columns()).map(|(column, is)| match is {
        Column::Large => large.replace("{}", column),
        _ => (*column).to_owned(),
    });
    let columns: Vec<String> = columns.collect();
    let key = source.key.join(", ");
    let mut sql = format!("SELECT {}, {key} FROM {}", columns.join(", "), source.from);
    if from_a_place {
        let places: Vec<String> = (1..=source.key.len()).map(|number| format!("?{number}")).collect();
        let joint = if source.from.contains(" WHERE ") { "AND" } else { "WHERE" };
        sql.push_str(&format!(" {joint} ({key}) > ({})", places.join(", ")));
    }
    format!("{sql} ORDER BY {key}")
}

fn source(kind: Kind) -> Source {
    let (columns, from, key): (&[_], _, &[_]) = match kind {
        Kind::Records => (&["kind", "id", "consumer", "sealed"], "records", &["kind", "id"]),
        Kind::Ring => (&["version", "sealed"], "ring", &["singleton"]),
        Kind::DataKeys => (&["consumer", "kek_id", "wrapped"], "data_keys", &["consumer"]),
        Kind::Routes => (&["endpoint", "consumer"], "routes", &["no"]),
        Kind::Events => (
            &[
                "id",
                "accepted_at",
                "expires_at",
                "event_type",
                CONSUMERS,
                "CASE WHEN content = 1 THEN sealed END",
            ],
            "events",
            &["no"],
        ),
        Kind::EventKeys => (
            &["k.event", "k.consumer", "k.wrapped"],
            "event_keys k CROSS JOIN events e WHERE e.id = k.event AND e.content = 1",
            &["k.event", "k.consumer"],
        ),
        Kind::Deliveries => (
            &["d.id", "d.event", "r.endpoint"],
            "deliveries d CROSS JOIN routes r WHERE r.no = d.route",
            &["d.id"],
        ),
        Kind::Live => (
            &["r.endpoint", "l.id", "l.event", "l.due_at", "l.attempts_made", "l.expires_at"],
            "delivery_live l CROSS JOIN routes r WHERE r.no = l.route",
            &["l.route", "l.due_at", "l.id"],
        ),
        Kind::Attempts => (
            &[
                "a.delivery",
                "a.number",
                "r.endpoint",
                "a.state",
                "a.recorded_at",
                "a.started_at",
                "a.duration_ms",
                "a.status",
                "a.result",
                "a.signing_kid",
                "a.encryption_kid",
                "a.excerpt",
                "a.next_at",
                "a.clock_skew",
            ],
            "attempts a CROSS JOIN routes r WHERE r.no = a.route",
            &["a.delivery", "a.number"],
        ),
        Kind::Idempotency => (&["key", "content", "event", "expires_at"], "idempotency", &["key"]),
        Kind::Audit => (&["id", "actor", "action", "object", "consumer", "sealed"], "audit", &["id"]),
    };
    Source { columns, from, key }
}

fn values(row: &Row<'_>, columns: &[Column]) -> Result<Vec<Value>, Failure> {
    let value = |(place, is): (usize, &Column)| match (row.get_ref(place)?, is) {
        (ValueRef::Null, _) => Ok(Value::Null),
        (ValueRef::Integer(number), Column::Integer) => Ok(Value::Integer(number)),
        (ValueRef::Text(_), Column::Text) => Ok(Value::Text(row.get(place)?)),
        (ValueRef::Blob(bytes), Column::Id) => {
            bytes.try_into().map(Value::Id).map_err(|_| Failure::corrupt("id"))
        }
        (ValueRef::Blob(bytes), Column::Bytes | Column::Large) => Ok(Value::Bytes(bytes.to_vec())),
        _ => Err(Failure::corrupt("stored value")),
    };
    columns.iter().enumerate().map(value).collect()
}

/// The key of a row, which stands behind its columns.
fn position(row: &Row<'_>, columns: usize, key: usize) -> Result<Position, Failure> {
    let part = |place| match row.get_ref(place)? {
        ValueRef::Integer(number) => Ok(Value::Integer(number)),
        ValueRef::Text(_) => Ok(Value::Text(row.get(place)?)),
        ValueRef::Blob(bytes) => Ok(Value::Bytes(bytes.to_vec())),
        ValueRef::Null | ValueRef::Real(_) => Err(Failure::corrupt("stored value")),
    };
    (columns..columns + key).map(part).collect()
}

fn parameter(value: &Value) -> rusqlite::types::Value {
    use rusqlite::types::Value as Sql;
    match value {
        Value::Null => Sql::Null,
        Value::Integer(number) => Sql::Integer(*number),
        Value::Text(text) => Sql::Text(text.clone()),
        Value::Id(id) => Sql::Blob(id.to_vec()),
        Value::Bytes(bytes) => Sql::Blob(bytes.clone()),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Id(_) => 16,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    }
}

/// The index of the table has them in this order.
const CONSUMERS: &str = "(SELECT coalesce(group_concat(consumer, ' '), '')
    FROM (SELECT consumer FROM event_keys WHERE event = events.id ORDER BY consumer))";

/// Rows of one page: one transaction of whoever takes them.
const ROWS: usize = 2_000;

/// Bytes after which a page ends.
const BYTES: usize = 4 << 20;

const DAY: u128 = 86_400_000;
