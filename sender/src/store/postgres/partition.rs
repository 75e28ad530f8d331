//! Days: partitions of what only grows, made ahead and dropped as a whole.
//!
//! A day has a partition of each of [`TABLES`], by the time in the ids. What has an id of a day without one is in the rest.
//! Making one locks the rest for a moment, dropping one the whole table: whoever waits for such a lock makes all others
//! wait behind it, so the wait is short, and is tried again another time. Partitions are made one by one, each in a
//! transaction of its own: who waits for one of those locks holds no other that readers may want meanwhile.
//!
//! **Something of a day may come before the day is made**, by a clock that is far ahead or when none could be made for long.
//! Its partition is not made then: what belongs there is in the rest, and goes row by row.
//!
//! **A day of contents goes when no live delivery is of its events**, and **a day of records when nothing else is left of
//! it**: no content, no delivery of it that is of another day, no attempt that is too young. Otherwise what is old of it goes
//! row by row, until the day is empty.
//!
//! **A day may be very large, and is asked about again and again.** Each question is written out with the day's own bounds
//! and partitions, so that the planner has nothing to guess, and takes as many steps as there are shards and days.

use tokio_postgres::error::SqlState;
use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::get;
use crate::store::{Kept, Removed};

/// One day, in UTC.
#[derive(Clone, Debug)]
pub(super) struct Day {
    /// As `20261224`: the end of the names of its partitions.
    name: String,
    from: Uuid,
    until: Uuid,
}

impl Day {
    fn new(name: String, number: i64) -> Self {
        Self { name, from: first_id(number * DAY), until: first_id((number + 1) * DAY) }
    }
}

/// The days from today on that have no partitions yet, a few of them.
pub(super) async fn missing(session: &Session) -> Result<Vec<Day>, Failure> {
    let today: i64 = get(&session.query_one(TODAY, &[]).await?, 0)?;
    missing_of(session, &(today..=today + AHEAD).collect::<Vec<_>>()).await
}

/// Those of these days (since 1970, in UTC) that have no partitions.
pub(super) async fn missing_of(session: &Session, days: &[i64]) -> Result<Vec<Day>, Failure> {
    let rows = session.query(MISSING, &[&days]).await?;
    rows.iter().map(|row| Ok(Day::new(get(row, 0)?, get(row, 1)?))).collect()
}

/// Makes the partition of a day in one of the [`TABLES`], in a transaction of its own. If another node has made it there is
/// nothing to do.
pub(super) async fn make(session: &Session, table: &str, day: &Day) -> Result<(), Failure> {
    session.batch("SET LOCAL lock_timeout = '1s'").await?;
    session.query("SELECT pg_advisory_xact_lock($1)", &[&MAKING]).await?;
    let Day { name, from, until } = day;
    let is_made = session.query_one(IS_MADE, &[&format!("{table}_{name}")]).await?;
    if get(&is_made, 0)? {
        return Ok(());
    }
    let making = format!(
        "CREATE TABLE {table}_{name} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE);
         ALTER TABLE {table} ATTACH PARTITION {table}_{name} FOR VALUES FROM ('{from}') TO ('{until}')"
    );
    match session.batch(&making).await {
        Err(failure) if failure.is(&SqlState::CHECK_VIOLATION) => {
            tracing::warn!(
                table,
                day = name,
                "something came before its partition was made, which is not made now"
            );
            session.batch("ROLLBACK; BEGIN").await
        }
        made => made,
    }
}

/// The days that were over by then and still have a partition of this kind, the oldest first.
pub(super) async fn old(session: &Session, kept: Kept, until: Timestamp) -> Result<Vec<Day>, Failure> {
    let table = if kept == Kept::Contents { "contents" } else { "events" };
    let rows = session.query(OLD, &[&table, &until.as_millis()]).await?;
    rows.iter().map(|row| Ok(Day::new(get(row, 0)?, get(row, 1)?))).collect()
}

/// Whether nothing of a day is needed any more, as far as a query can say; in a transaction.
pub(super) async fn is_over(
    session: &Session,
    kept: Kept,
    day: &Day,
    until: Timestamp,
) -> Result<bool, Failure> {
    let question = match kept {
        Kept::Contents => live(day),
        Kept::Records => {
            // What tells of stretches of a table is read by nothing else, and no order is wanted here.
            session.batch("SET LOCAL enable_bitmapscan = on").await?;
            left(day, until)
        }
    };
    Ok(!get::<bool>(&session.ask(&question).await?, 0)?)
}

/// Whether a live delivery is of an event of the day. Most are of the same day as their events; whatever else was made of
/// those, later, is found among all deliveries by its event.
fn live(Day { from, until, .. }: &Day) -> String {
    format!(
        "SELECT EXISTS (
             SELECT FROM generate_series(0, 255) AS s (shard) CROSS JOIN LATERAL (
                 SELECT FROM delivery_live
                     WHERE shard::integer >= 0 AND shard::integer = s.shard AND id >= '{from}' AND id < '{until}'
                     AND event >= '{from}' AND event < '{until}' LIMIT 1) AS l)
         OR EXISTS (
             SELECT FROM deliveries d JOIN delivery_live l
                 ON l.shard = get_byte(uuid_send(d.endpoint), 15)::smallint AND l.endpoint = d.endpoint AND l.id = d.id
                 WHERE d.event >= '{from}' AND d.event < '{until}' AND (d.id < '{from}' OR d.id >= '{until}'))"
    )
}

/// Whether something of the records of a day is needed, or recorded after this time.
fn left(Day { name, from, until }: &Day, recorded: Timestamp) -> String {
    let recorded = recorded.as_millis();
    format!(
        "SELECT EXISTS (SELECT FROM contents WHERE event >= '{from}' AND event < '{until}')
         OR EXISTS (
             SELECT FROM deliveries WHERE event >= '{from}' AND event < '{until}' AND (id < '{from}' OR id >= '{until}'))
         OR EXISTS (SELECT FROM deliveries_{name} WHERE event < '{from}')
         OR EXISTS (SELECT FROM deliveries_{name} WHERE event >= '{until}')
         OR EXISTS (SELECT FROM attempts_{name} WHERE recorded_at > {recorded})"
    )
}

/// Drops a day, in a transaction of its own, unless somebody delivers something of it again since. The tables are locked in
/// the order in which batches and whoever reads contents lock them, so that nobody waits for a lock of somebody who waits.
pub(super) async fn remove(session: &Session, kept: Kept, day: &Day) -> Result<Removed, Failure> {
    session.batch("SET LOCAL lock_timeout = '250ms'").await?;
    let name = &day.name;
    let mut removed = Removed::default();
    let tables: &[&str] = match kept {
        Kept::Contents => {
            // It keeps redeliveries out, and lets everybody read.
            session.batch(&format!("LOCK TABLE contents_{name} IN EXCLUSIVE MODE")).await?;
            if !is_over(session, kept, day, Timestamp::MIN).await? {
                return Ok(removed);
            }
            removed.events = count(session, COUNT_CONTENTS, "contents", day).await?;
            &["contents", "event_keys"]
        }
        Kept::Records => {
            removed.events = count(session, COUNT_EVENTS, "events", day).await?;
            removed.deliveries = count(session, COUNT_DELIVERIES, "deliveries", day).await?;
            &["attempts", "events", "deliveries"]
        }
    };
    let locked: Vec<String> = tables.iter().map(|table| format!("ONLY {table}")).collect();
    session.batch(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", locked.join(", "))).await?;
    let dropped: Vec<String> = tables.iter().map(|table| format!("{table}_{name}")).collect();
    session.batch(&format!("DROP TABLE {}", dropped.join(", "))).await?;
    Ok(removed)
}

/// Counted as far as that is cheap, and then as many as the database thinks there are.
async fn count(session: &Session, sql: &'static str, table: &str, day: &Day) -> Result<u64, Failure> {
    let row = session.query_one(sql, &[&day.from, &day.until, &MOST_COUNTED]).await?;
    let mut counted: i64 = get(&row, 0)?;
    if counted >= MOST_COUNTED {
        let row = session.query_one(ESTIMATE, &[&format!("{table}_{}", day.name)]).await?;
        counted = counted.max(get(&row, 0)?);
    }
    Ok(u64::try_from(counted).unwrap_or(0))
}

/// Before every id that is made at this time or later.
fn first_id(millis: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(millis).unwrap_or(0) << 80)
}

/// What has partitions, all with the same bounds.
pub(super) const TABLES: [&str; 5] = ["events", "contents", "event_keys", "deliveries", "attempts"];

/// How many days are made ahead: so long may nobody be there to make more.
const AHEAD: i64 = 3;

const DAY: i64 = 86_400_000;

/// The lock of whoever makes partitions: any number that is no other's.
const MAKING: i64 = 0x7761_7873_6561_6c02;

const TODAY: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) / 86400)::bigint";

/// The catalogue is read as a table: what a session remembers of it may be older than the lock that it has waited for.
const MISSING: &str = "SELECT name, number FROM (
         SELECT to_char(to_timestamp(number * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD') AS name, number
             FROM unnest($1::bigint[]) AS number) AS d
         WHERE EXISTS (
             SELECT FROM unnest(ARRAY['events', 'contents', 'event_keys', 'deliveries', 'attempts']) AS t (name)
                 WHERE NOT EXISTS (
                     SELECT FROM pg_class
                         WHERE relname = t.name || '_' || d.name
                             AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())))
         ORDER BY number";

const IS_MADE: &str = "SELECT EXISTS (
         SELECT FROM pg_class WHERE relname = $1::text
             AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()))";

/// Whatever somebody's clock says, today is not over, nor was yesterday for long.
const OLD: &str = "SELECT name, number FROM (
         SELECT right(c.relname, 8) AS name,
                (to_date(right(c.relname, 8), 'YYYYMMDD') - '1970-01-01'::date)::bigint AS number
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = to_regclass($1::text) AND c.relname ~ '_[0-9]{8}$') AS d
         WHERE (number + 1) * 86400000 <= $2::bigint
             AND number + 1 < floor(extract(epoch FROM clock_timestamp()) / 86400)::bigint
         ORDER BY number";

const COUNT_CONTENTS: &str =
    "SELECT count(*) FROM (SELECT FROM contents WHERE event >= $1 AND event < $2 LIMIT $3) AS t";
const COUNT_EVENTS: &str =
    "SELECT count(*) FROM (SELECT FROM events WHERE id >= $1 AND id < $2 LIMIT $3) AS t";
const COUNT_DELIVERIES: &str =
    "SELECT count(*) FROM (SELECT FROM deliveries WHERE id >= $1 AND id < $2 LIMIT $3) AS t";

const ESTIMATE: &str =
    "SELECT coalesce((SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1::text)), 0)";

/// Some ten milliseconds, for which everybody else is kept waiting.
const MOST_COUNTED: i64 = 20_000;
