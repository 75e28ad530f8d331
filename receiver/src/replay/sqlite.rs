//! [`SqliteGuard`]: the replay guard of one machine, which outlives its processes.
//!
//! Relies on the [database](crate::sqlite), whose every act is a transaction of its own. Guarantees that what was
//! committed is done after a crash or a loss of power, that processes which share the file decide each
//! event once, and that the file does not grow beyond the events of the retention: each new event takes
//! a few forgotten ones away. A lease survives its process too, until it runs out.

use std::{path::Path, sync::Arc, time::Duration};

use rusqlite::{OptionalExtension, Transaction, params};
use waxseal_keys::Timestamp;

use super::{Begin, Fence, GuardError, GuardFuture, RETENTION, ReplayGuard, ReplayKey, Settled, retry_after};
use crate::sqlite::{Database, DatabaseError};

/// A durable [`ReplayGuard`] in an SQLite database.
///
/// Dropping the last of those that share it closes the file, and blocks while it does.
#[derive(Clone, Debug)]
pub struct SqliteGuard {
    database: Arc<Database>,
    retention: Duration,
}

impl SqliteGuard {
    /// Opens the database at `path`, or creates it, readable by its owner only. What is done is remembered for 7
    /// days. Several processes of one machine may open the same file; a network file system will not do. Blocks.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # fn main() {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("replay.db");
    /// use waxseal_receiver::{Protection, Receiver, SqliteGuard};
    ///
    /// let guard = SqliteGuard::open(path).unwrap();
    /// let builder = Receiver::builder().audience("acme").scope("orders").replay_guard(Arc::new(guard));
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// # }
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GuardError> {
        Ok(Self { database: Arc::new(Database::open(path.as_ref())?), retention: RETENTION })
    }

    #[cfg(feature = "inbox")]
    pub(crate) fn of(database: Arc<Database>, retention: Duration) -> Self {
        Self { database, retention }
    }

    /// Remembers what is done for `retention`: at least as long as the sender repeats an event, and a day more.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("replay.db");
    /// use waxseal_receiver::SqliteGuard;
    ///
    /// let guard = SqliteGuard::open(path).unwrap().retention(Duration::from_secs(3 * 86_400));
    /// ```
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// Forgets everything that is past its retention at once, and says how much that was. There is no need to call
    /// it: new events make room by themselves.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("replay.db");
    /// use waxseal_receiver::{Clock, SqliteGuard, SystemClock};
    ///
    /// let guard = SqliteGuard::open(path).unwrap();
    /// assert_eq!(guard.sweep(SystemClock.now()).await.unwrap(), 0);
    /// # }
    /// ```
    pub async fn sweep(&self, now: Timestamp) -> Result<u64, GuardError> {
        let limit = now.saturating_sub(self.retention);
        let swept = self.database.write(move |step| sweep(step, limit, i64::MAX)).await?;
        Ok(u64::try_from(swept).unwrap_or(u64::MAX))
    }
}

impl ReplayGuard for SqliteGuard {
    fn begin<'a>(&'a self, key: &'a ReplayKey, now: Timestamp, lease: Duration) -> GuardFuture<'a, Begin> {
        let (key, retention) = (key.clone(), self.retention);
        Box::pin(async move {
            let begun = self.database.write(move |step| begin(step, &key, now, lease, retention));
            Ok(begun.await?)
        })
    }

    fn renew<'a>(
        &'a self,
        key: &'a ReplayKey,
        fence: Fence,
        now: Timestamp,
        lease: Duration,
    ) -> GuardFuture<'a, Settled> {
        let key = key.clone();
        Box::pin(async move {
            let until = now.saturating_add(lease);
            Ok(self.database.write(move |step| settle(step, RENEW, &key, fence, until)).await?)
        })
    }

    fn commit<'a>(&'a self, key: &'a ReplayKey, fence: Fence, now: Timestamp) -> GuardFuture<'a, Settled> {
        let key = key.clone();
        Box::pin(
            async move { Ok(self.database.write(move |step| settle(step, COMMIT, &key, fence, now)).await?) },
        )
    }

    fn abort<'a>(&'a self, key: &'a ReplayKey, fence: Fence) -> GuardFuture<'a, Settled> {
        let key = key.clone();
        Box::pin(async move { Ok(self.database.write(move |step| abort(step, &key, fence)).await?) })
    }
}

impl From<DatabaseError> for GuardError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// What is known of an event: as [`ReplayGuard::begin`] would answer, but nothing for one that is free.
pub(crate) fn entry(
    step: &Transaction<'_>,
    key: &ReplayKey,
    now: Timestamp,
    retention: Duration,
) -> rusqlite::Result<Option<Begin>> {
    let mut known = step.prepare_cached(
        "SELECT done, at FROM replay WHERE scope = ?1 AND issuer = ?2 AND audience = ?3 AND event = ?4",
    )?;
    let parts = params![key.scope, key.issuer.as_str(), key.audience.as_str(), key.id.as_str()];
    let row =
        known.query_row(parts, |row| Ok((row.get(0)?, Timestamp::from_millis(row.get(1)?)))).optional()?;
    Ok(match row {
        Some((true, done_at)) if now.duration_since(done_at) < retention => Some(Begin::Done),
        Some((false, until)) if now < until => {
            Some(Begin::InProgress { retry_after: retry_after(until.duration_since(now)) })
        }
        Some(_) | None => None,
    })
}

/// Makes a free event done, without a lease before it. Takes a few forgotten ones away.
#[cfg(feature = "inbox")]
pub(crate) fn finish(
    step: &Transaction<'_>,
    key: &ReplayKey,
    now: Timestamp,
    retention: Duration,
) -> rusqlite::Result<()> {
    sweep(step, now.saturating_sub(retention), SWEEP_STEP)?;
    put(step, key, true, now).map(drop)
}

fn begin(
    step: &Transaction<'_>,
    key: &ReplayKey,
    now: Timestamp,
    lease: Duration,
    retention: Duration,
) -> rusqlite::Result<Begin> {
    if let Some(known) = entry(step, key, now, retention)? {
        return Ok(known);
    }
    sweep(step, now.saturating_sub(retention), SWEEP_STEP)?;
    put(step, key, false, now.saturating_add(lease)).map(Begin::New)
}

/// Writes an entry under a fence that no other has had.
fn put(step: &Transaction<'_>, key: &ReplayKey, done: bool, at: Timestamp) -> rusqlite::Result<Fence> {
    let mut next = step.prepare_cached("UPDATE replay_fence SET last = last + 1 RETURNING last")?;
    let fence: i64 = next.query_row([], |row| row.get(0))?;
    step.prepare_cached(
        "INSERT INTO replay (scope, issuer, audience, event, done, at, fence)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET done = excluded.done, at = excluded.at, fence = excluded.fence",
    )?
    .execute(params![
        key.scope,
        key.issuer.as_str(),
        key.audience.as_str(),
        key.id.as_str(),
        done,
        at.as_millis(),
        fence
    ])?;
    Ok(Fence::new(fence.unsigned_abs()))
}

/// [`RENEW`] or [`COMMIT`]: each changes the entry only under the fence of its current lease.
fn settle(
    step: &Transaction<'_>,
    statement: &str,
    key: &ReplayKey,
    fence: Fence,
    at: Timestamp,
) -> rusqlite::Result<Settled> {
    let parts = params![
        key.scope,
        key.issuer.as_str(),
        key.audience.as_str(),
        key.id.as_str(),
        column(fence),
        at.as_millis()
    ];
    step.prepare_cached(statement)?.execute(parts).map(settled)
}

fn abort(step: &Transaction<'_>, key: &ReplayKey, fence: Fence) -> rusqlite::Result<Settled> {
    let parts =
        params![key.scope, key.issuer.as_str(), key.audience.as_str(), key.id.as_str(), column(fence)];
    step.prepare_cached(
        "DELETE FROM replay WHERE scope = ?1 AND issuer = ?2 AND audience = ?3 AND event = ?4
            AND fence = ?5 AND NOT done",
    )?
    .execute(parts)
    .map(settled)
}

fn settled(rows: usize) -> Settled {
    if rows > 0 { Settled::Applied } else { Settled::Stale }
}

/// A number that SQLite could not keep is no fence of ours: it becomes one that no lease has.
fn column(fence: Fence) -> i64 {
    i64::try_from(fence.get()).unwrap_or(-1)
}

/// Forgets at most `most` entries that ended before `limit`, the oldest first: those done, and abandoned leases.
fn sweep(step: &Transaction<'_>, limit: Timestamp, most: i64) -> rusqlite::Result<usize> {
    step.prepare_cached(
        "DELETE FROM replay WHERE rowid IN (SELECT rowid FROM replay WHERE at <= ?1 ORDER BY at LIMIT ?2)",
    )?
    .execute(params![limit.as_millis(), most])
}

const RENEW: &str = "UPDATE replay SET at = ?6
    WHERE scope = ?1 AND issuer = ?2 AND audience = ?3 AND event = ?4 AND fence = ?5 AND NOT done";

const COMMIT: &str = "UPDATE replay SET done = 1, at = ?6
    WHERE scope = ?1 AND issuer = ?2 AND audience = ?3 AND event = ?4 AND fence = ?5 AND NOT done";

/// More than the one entry that comes, so that the file shrinks after a flood.
const SWEEP_STEP: i64 = 8;
