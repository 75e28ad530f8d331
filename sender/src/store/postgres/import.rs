//! A store of another backend, taken in.
//!
//! A page and how far it leads are one transaction, and what is there already is left as it is: whoever is interrupted
//! goes on where the last commit was. No sender works on the database meanwhile: the row in `moving` keeps out those that
//! open it, and it is written under the lock under which nodes renew their leases, when there is no node.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::cluster::TENDING;
use super::connect::{Connector, Purpose, Session};
use super::failure::Failure;
use super::pool::TAKEN_BACK;
use super::values::{counted, get};
use super::{import_sql, partition, schema};
use crate::database::Database;
use crate::store::StoreError;
use crate::store::transfer::{Column, Kind, Page, Position, Summary, Value};

/// A database that is to take in a store, or does.
#[derive(Debug)]
pub(crate) struct Import {
    connector: Connector,
    session: Session,
}

/// What is there.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// A move that was begun.
    pub(crate) begun: Option<Begun>,
    /// What there is of a store.
    pub(crate) occupied_by: Option<String>,
    /// The nodes that have a lease.
    pub(crate) nodes: Vec<String>,
}

/// A move that was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Where the store comes from.
    pub(crate) source: String,
    /// The state that it was in.
    pub(crate) state: String,
    /// Whether all of it is here.
    pub(crate) is_finished: bool,
}

/// How far one kind is.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Rows that were taken in.
    pub(crate) rows: u64,
    /// Where to go on; `None`: that was all.
    pub(crate) next: Option<Option<Position>>,
}

impl Import {
    /// Connects. Nothing is written.
    pub(crate) async fn connect(database: &Database) -> Result<Self, StoreError> {
        let connector = Connector::new(database.clone());
        let session = connector.connect(Purpose::Write).await?;
        Ok(Self { connector, session })
    }

    /// Keeps other moves out for as long as the connection lasts; says whether there is none. One that was killed may
    /// take a moment to be noticed.
    pub(crate) async fn take(&self) -> Result<bool, StoreError> {
        self.session.batch("SET lock_timeout = '10s'").await?;
        let taken = self.session.query("SELECT pg_advisory_lock($1)", &[&TAKING_IN]).await;
        self.session.batch("SET lock_timeout = 0").await?;
        match taken {
            Ok(_) => Ok(true),
            Err(failure) if failure.is(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// What is there. Nothing is written.
    pub(crate) async fn look(&self) -> Result<Target, StoreError> {
        Ok(look(&self.session).await?)
    }

    /// Makes the tables.
    pub(crate) async fn prepare(&self) -> Result<(), StoreError> {
        schema::migrate(&self.connector).await?;
        Ok(())
    }

    /// Keeps senders out from now on, unless one is there or the database is not as it has to be: then `judge` says so.
    pub(crate) async fn begin<E: From<StoreError>>(
        &self,
        source: &str,
        state: &str,
        judge: impl Fn(&Target) -> Result<(), E>,
    ) -> Result<(), E> {
        let session = &self.session;
        let mut judged = Ok(());
        self.transact(async {
            session.query("SELECT pg_advisory_xact_lock($1)", &[&TENDING]).await?;
            judged = judge(&look(session).await?);
            if judged.is_ok() {
                session.execute(BEGIN, &[&source, &state]).await?;
            }
            Ok(())
        })
        .await?;
        judged
    }

    /// Makes partitions for these days (since 1970, in UTC), as far as they have none.
    pub(crate) async fn make_days(&self, days: &[i64]) -> Result<(), StoreError> {
        for day in partition::missing_of(&self.session, days).await? {
            schema::make_day(&self.session, &day).await?;
        }
        Ok(())
    }

    /// How far one kind is.
    pub(crate) async fn reached(&self, kind: Kind) -> Result<Reached, StoreError> {
        let row = self.session.query_opt(REACHED, &[&kind.name()]).await?;
        let Some(row) = row else { return Ok(Reached { rows: 0, next: Some(None) }) };
        let position: Option<&str> = get(&row, 0)?;
        let position = position.map(serde_json::from_str).transpose();
        let position = position.map_err(|_| StoreError::Corrupt { what: "position of a move" })?;
        Ok(Reached { rows: counted(&row, 1)?, next: position.map(Some) })
    }

    /// Takes a page in.
    pub(crate) async fn write(&self, page: Page) -> Result<(), StoreError> {
        let position = page.next.as_ref().map(serde_json::to_string).transpose();
        let position = position.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let (kind, rows) = (page.kind, i64::try_from(page.rows.len()).unwrap_or(i64::MAX));
        let columns = Columns::of(page)?;
        self.transact(async {
            self.session.execute(import_sql::insert(kind), &columns.parameters()).await?;
            self.session.execute(REACH, &[&kind.name(), &position, &rows]).await?;
            Ok(())
        })
        .await
    }

    /// Counts one kind, and sums it up: by the database itself.
    pub(crate) async fn summary(&self, kind: Kind) -> Result<Summary, StoreError> {
        // A whole table is read.
        self.session.batch("SET enable_seqscan = on; SET enable_hashjoin = on").await?;
        let row = self.session.ask(&import_sql::summary(kind)).await?;
        let sum = get::<&str>(&row, 1)?.parse().map_err(|_| StoreError::Corrupt { what: "sum" })?;
        Ok(Summary { rows: counted(&row, 0)?, bytes: 0, sum })
    }

    /// Lets senders work. What the planner knows is of a database that was empty, so it is told anew first.
    pub(crate) async fn finish(&self) -> Result<(), StoreError> {
        self.session.batch("ANALYZE").await?;
        self.transact(async { self.session.batch(FINISH).await }).await
    }

    /// A transaction. A warning takes its acknowledgement back.
    async fn transact(&self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), StoreError> {
        let warnings = self.session.warnings();
        self.session.batch("BEGIN").await?;
        let done = work.await;
        self.session.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        done?;
        if self.session.warnings() == warnings { Ok(()) } else { Err(Failure::Unknown(TAKEN_BACK).into()) }
    }
}

async fn look(session: &Session) -> Result<Target, Failure> {
    let mut target = Target::default();
    let row = session.ask("SELECT to_regclass('schema_version') IS NOT NULL").await?;
    if !get::<bool>(&row, 0)? {
        return Ok(target);
    }
    let version = schema::usable(session).await?;
    if version == 0 {
        return Ok(target);
    }
    if version > 1 {
        let row = session.query_opt(BEGUN, &[]).await?;
        let begun = row.map(|row| {
            Ok::<_, Failure>(Begun {
                source: get(&row, 0)?,
                state: get(&row, 1)?,
                is_finished: get(&row, 2)?,
            })
        });
        target.begun = begun.transpose()?;
    }
    let found = session.query_opt(OCCUPIED, &[]).await?;
    target.occupied_by = found.map(|row| get(&row, 0)).transpose()?;
    let nodes = session.query(NODES, &[]).await?;
    target.nodes = nodes.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    Ok(target)
}

/// The rows of a page, column by column.
struct Columns(Vec<Values>);

enum Values {
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Ids(Vec<Option<Uuid>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Columns {
    fn of(page: Page) -> Result<Self, StoreError> {
        let mut columns: Vec<Values> =
            page.kind.columns().iter().map(|column| Values::new(*column)).collect();
        for row in page.rows {
            for (value, column) in row.into_iter().zip(&mut columns) {
                column.push(value)?;
            }
        }
        Ok(Self(columns))
    }

    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0.iter().map(Values::parameter).collect()
    }
}

impl Values {
    fn new(column: Column) -> Self {
        match column {
            Column::Integer => Self::Integers(Vec::new()),
            Column::Text => Self::Texts(Vec::new()),
            Column::Id => Self::Ids(Vec::new()),
            Column::Bytes | Column::Large => Self::Bytes(Vec::new()),
        }
    }

    fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integers(values) => values,
            Self::Texts(values) => values,
            Self::Ids(values) => values,
            Self::Bytes(values) => values,
        }
    }

    fn push(&mut self, value: Value) -> Result<(), StoreError> {
        match (self, value) {
            (Self::Integers(values), Value::Integer(value)) => values.push(Some(value)),
            (Self::Texts(values), Value::Text(value)) => values.push(Some(value)),
            (Self::Ids(values), Value::Id(value)) => values.push(Some(Uuid::from_bytes(value))),
            (Self::Bytes(values), Value::Bytes(value)) => values.push(Some(value)),
            (Self::Integers(values), Value::Null) => values.push(None),
            (Self::Texts(values), Value::Null) => values.push(None),
            (Self::Ids(values), Value::Null) => values.push(None),
            (Self::Bytes(values), Value::Null) => values.push(None),
            _ => return Err(StoreError::Corrupt { what: "row that is moved" }),
        }
        Ok(())
    }
}

/// The lock of whoever takes a store in: any number that is no other's.
const TAKING_IN: i64 = 0x7761_7873_6561_6c05;

const BEGIN: &str = "INSERT INTO moving (singleton, source, state) VALUES (true, $1, $2)
    ON CONFLICT (singleton) DO NOTHING";

const BEGUN: &str = "SELECT source, state, finished_at IS NOT NULL FROM moving";

const REACHED: &str = "SELECT position, rows FROM moving_positions WHERE kind = $1";

const REACH: &str = "INSERT INTO moving_positions AS p (kind, position, rows) VALUES ($1, $2, $3)
    ON CONFLICT (kind) DO UPDATE SET position = excluded.position, rows = p.rows + excluded.rows";

/// What was configured becomes the first version of it.
const FINISH: &str = "UPDATE configuration SET version = 1 WHERE version = 0;
    UPDATE moving SET finished_at = clock_timestamp();
    DELETE FROM moving_positions";

const OCCUPIED: &str = "SELECT what FROM (
        SELECT 'consumers, endpoints or tokens' AS what WHERE EXISTS (SELECT FROM records)
        UNION ALL SELECT 'signing keys' WHERE EXISTS (SELECT FROM ring)
        UNION ALL SELECT 'data keys' WHERE EXISTS (SELECT FROM data_keys)
        UNION ALL SELECT 'endpoints that were delivered to' WHERE EXISTS (SELECT FROM routes)
        UNION ALL SELECT 'events' WHERE EXISTS (SELECT FROM events)
        UNION ALL SELECT 'contents' WHERE EXISTS (SELECT FROM contents)
        UNION ALL SELECT 'deliveries' WHERE EXISTS (SELECT FROM deliveries)
        UNION ALL SELECT 'idempotency keys' WHERE EXISTS (SELECT FROM idempotency)
        UNION ALL SELECT 'audit entries' WHERE EXISTS (SELECT FROM audit)) AS found LIMIT 1";

const NODES: &str = "SELECT name FROM nodes WHERE lease_until > clock_timestamp() ORDER BY name";
