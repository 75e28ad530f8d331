//! The tables: made and brought up to date by one node, while the others wait.
//!
//! **Nodes are replaced one after the other.** A newer program's steps only add to the tables, so an older one goes on
//! beside it: it takes a schema that says that it is usable from the version that it knows. One that says otherwise it refuses.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;

use super::connect::{Connector, Purpose, Session};
use super::failure::Failure;
use super::partition::{self, Day};
use super::values::get;
use crate::store::StoreError;

/// Makes the tables, or brings older ones up to date, and makes the days that are next.
pub(super) async fn migrate(connector: &Connector) -> Result<Session, Failure> {
    let late = || Failure::Unknown("the tables were not made or brought up to date in time");
    timeout(PATIENCE, bring_up_to_date(connector)).await.unwrap_or_else(|_| Err(late()))
}

async fn bring_up_to_date(connector: &Connector) -> Result<Session, Failure> {
    let session = connector.connect(Purpose::Write).await?;
    check_server(&session).await?;
    // As long as the session lasts or until it is given back; whoever waits here finds it done.
    let lock = format!("BEGIN; SET LOCAL lock_timeout = 0; SELECT pg_advisory_lock({MIGRATING}); COMMIT");
    session.batch(&lock).await?;
    session.batch(&format!("BEGIN; {TABLE}; COMMIT")).await?;
    let found = usable(&session).await?;
    for (step, number) in SCHEMA.iter().zip(1_u32..).skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        // Each by itself: two that lock one table each would stop nodes that use both, and be stopped by them.
        take(&session, step, number).await?;
    }
    session.batch(&format!("SELECT pg_advisory_unlock({MIGRATING})")).await?;
    if let Err(failure) = make_days(&session).await {
        // What comes is kept all the same, and the upkeep goes on trying.
        let error = StoreError::from(failure);
        tracing::warn!(code = error.code(), %error, "partitions of days cannot be made yet");
    }
    Ok(session)
}

/// Takes a step, as soon as nobody is in its way. Whoever waits for a table that somebody reads keeps waiting all who come
/// after: so it waits for a moment only, lets them pass, and tries again. A dump may take hours.
async fn take(session: &Session, step: &str, number: u32) -> Result<(), Failure> {
    let whole = format!(
        "BEGIN; SET LOCAL lock_timeout = '{IN_THE_WAY_FOR}'; {step};
         UPDATE schema_version SET version = {number}; COMMIT"
    );
    let mut is_told = false;
    loop {
        match session.batch(&whole).await {
            Err(failure) if failure.is(&SqlState::LOCK_NOT_AVAILABLE) => session.batch("ROLLBACK").await?,
            taken => return taken,
        }
        if !is_told {
            tracing::warn!(
                step = number,
                "the tables are brought up to date as soon as nobody holds them: is there a dump, or an open transaction?"
            );
            is_told = true;
        }
        sleep(LET_PASS).await;
    }
}

/// The newest version of the tables that this program knows, as the database counts.
pub(super) fn known() -> i32 {
    i32::try_from(SCHEMA.len()).unwrap_or(i32::MAX)
}

/// The version of the tables, if this program can work with them.
pub(super) async fn usable(session: &Session) -> Result<u32, Failure> {
    let known = known().unsigned_abs();
    let (found, usable_from) = version(session).await?;
    if found > known && usable_from > known {
        return Err(Failure::Store(StoreError::NewerSchema { found, known }));
    }
    Ok(found)
}

/// Refuses a database into which another store is being moved: not all of it is here.
pub(super) async fn refuse_unfinished(session: &Session) -> Result<(), Failure> {
    match session.query_opt(UNFINISHED, &[]).await? {
        Some(row) => Err(Failure::Store(StoreError::Moving { from: get(&row, 0)? })),
        None => Ok(()),
    }
}

/// Makes the days that are next and have no partitions yet.
pub(super) async fn make_days(session: &Session) -> Result<(), Failure> {
    let mut failed = None;
    for day in partition::missing(session).await? {
        if let Err(failure) = make_day(session, &day).await {
            failed.get_or_insert(failure); // the others can be made all the same
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Makes the partitions of a day, those that can be made.
pub(super) async fn make_day(session: &Session, day: &Day) -> Result<(), Failure> {
    let mut failed = None;
    for table in partition::TABLES {
        session.batch("BEGIN").await?;
        let made = partition::make(session, table, day).await;
        session.batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        if let Err(failure) = made {
            failed.get_or_insert(failure);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn version(session: &Session) -> Result<(u32, u32), Failure> {
    let row = session.query_one("SELECT version, usable_from FROM schema_version", &[]).await?;
    let number =
        |column| u32::try_from(get::<i32>(&row, column)?).map_err(|_| Failure::corrupt("schema version"));
    Ok((number(0)?, number(1)?))
}

async fn check_server(session: &Session) -> Result<(), Failure> {
    let row = session.query_one("SELECT current_setting('server_version_num')::integer", &[]).await?;
    if get::<i32>(&row, 0)? < OLDEST_SERVER {
        return Err(Failure::unavailable("the database is older than PostgreSQL 14"));
    }
    Ok(())
}

/// `usable_from` is the oldest schema that a program may know and still use these tables.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (
         singleton   boolean PRIMARY KEY DEFAULT true CHECK (singleton),
         version     integer NOT NULL,
         usable_from integer NOT NULL);
     INSERT INTO schema_version (version, usable_from) VALUES (0, 1) ON CONFLICT (singleton) DO NOTHING";

/// Each step leads from the version before it.
const SCHEMA: [&str; 6] = [
    include_str!("schema/0001_init.sql"),
    include_str!("schema/0002_moving.sql"),
    include_str!("schema/0003_forgetting.sql"),
    include_str!("schema/0004_withdrawn.sql"),
    include_str!("schema/0005_young.sql"),
    include_str!("schema/0006_paths.sql"),
];

const UNFINISHED: &str = "SELECT source FROM moving WHERE finished_at IS NULL";

/// The lock of whoever migrates: any number that is no other's.
const MIGRATING: i64 = 0x7761_7873_6561_6c01;

/// For everything that a start waits for, the lock of another node that migrates included.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a step may wait for a table, and with it everybody who uses that; as PostgreSQL writes it.
const IN_THE_WAY_FOR: &str = "500ms";

/// How long others have the tables before it is tried again.
const LET_PASS: Duration = Duration::from_secs(1);

/// For `idle_session_timeout`.
const OLDEST_SERVER: i32 = 140_000;
