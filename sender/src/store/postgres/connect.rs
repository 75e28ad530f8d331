//! Connections: how one is made, what is set on it, and what is noticed on it beside the answers.
//!
//! **A warning takes an acknowledgement back.** When somebody cancels a commit that waits for a standby, the server answers
//! with success and a warning before it: the transaction is on one machine only. So warnings are counted, and whoever
//! commits compares. No request to cancel is ever sent from here; a connection that does not answer is dropped.
//!
//! **Every statement is written for an index, and for the order in which that has its entries.** Plans that read a whole
//! table are switched off, because a table that was empty when a plan was made would be read as a whole when it has grown.
//! So are bitmaps, which have no order, and sorting, where there is another way: for a page of a backlog that the planner
//! takes for short, all of it would be read and sorted, once more for each page.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, Row, Statement};

use super::failure::Failure;
use super::timeline::ReadIn;
use crate::database::Database;

/// Makes connections to whichever host takes writes now.
#[derive(Debug)]
pub(super) struct Connector {
    database: Database,
    /// Counts the connections that were lost: whatever is older than that is not to be trusted.
    epoch: AtomicU64,
    /// Counts the connections to write on that were made.
    made: AtomicU64,
    read_in: Arc<ReadIn>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// Transactions that write.
    Write,
    /// Queries.
    Read,
    /// Words of other nodes, and to them: they are worth no disk.
    Hints,
    /// A lock that is lost if nothing is heard of its holder.
    Turn,
}

/// A connection, shared by those who use it one after the other.
#[derive(Clone)]
pub(super) struct Session(Arc<Inner>);

struct Inner {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    warnings: Arc<AtomicU64>,
    driver: JoinHandle<()>,
    epoch: u64,
    read_in: Arc<ReadIn>,
}

/// Hears a notification: the payload.
pub(super) type Hear = Box<dyn Fn(&str) + Send>;

impl Connector {
    pub(super) fn new(mut database: Database) -> Self {
        database.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Self { database, epoch: AtomicU64::new(0), made: AtomicU64::new(0), read_in: Arc::default() }
    }

    /// A new connection, which looks up the hosts anew.
    pub(super) async fn connect(&self, purpose: Purpose) -> Result<Session, Failure> {
        self.connect_hearing(purpose, Box::new(|_| {})).await
    }

    /// A new connection whose notifications are heard.
    pub(super) async fn connect_hearing(&self, purpose: Purpose, hear: Hear) -> Result<Session, Failure> {
        let session = async {
            let epoch = self.epoch.load(Ordering::Relaxed);
            let warnings = Arc::new(AtomicU64::new(0));
            let (client, connection) = self.database.config.connect(self.database.tls.clone()).await?;
            let driver = tokio::spawn(drive(connection, Arc::clone(&warnings), hear));
            let (statements, read_in) = (Mutex::new(HashMap::new()), Arc::clone(&self.read_in));
            let session = Session(Arc::new(Inner { client, statements, warnings, driver, epoch, read_in }));
            session.batch(COMMON).await?;
            session.batch(purpose.settings()).await?;
            if purpose == Purpose::Write {
                self.made.fetch_add(1, Ordering::Relaxed);
            }
            Ok(session)
        };
        timeout(PATIENCE, session)
            .await
            .unwrap_or_else(|_| Err(Failure::unavailable("no host of the database answered in time")))
    }

    /// How many connections to write on were made so far: nothing is written to a database before that counts it.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Where it was read what is configured.
    pub(super) fn read_in(&self) -> &ReadIn {
        &self.read_in
    }

    /// Hears that a connection was lost: all others of its time are given up before they are used again.
    pub(super) fn lost(&self, session: &Session) {
        // Only once for those that are lost together.
        let _ = self.epoch.compare_exchange(
            session.0.epoch,
            session.0.epoch + 1,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Whether a connection is to be used again.
    pub(super) fn trusts(&self, session: &Session) -> bool {
        !session.is_closed() && session.0.epoch == self.epoch.load(Ordering::Relaxed)
    }
}

impl Session {
    /// The rows of a statement, which is prepared once for the life of the connection.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.0.client.query(&statement, parameters).await?)
    }

    /// The row of a statement that finds one or none.
    pub(super) async fn query_opt(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Failure> {
        Ok(self.query(sql, parameters).await?.into_iter().next())
    }

    /// The row of a statement that finds one.
    pub(super) async fn query_one(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Failure> {
        self.query_opt(sql, parameters).await?.ok_or_else(|| Failure::corrupt("a row that is always there"))
    }

    /// Runs a statement; says how many rows it touched.
    pub(super) async fn execute(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Failure> {
        let statement = self.prepare(sql).await?;
        Ok(self.0.client.execute(&statement, parameters).await?)
    }

    /// The one row of a statement that is made for this moment.
    pub(super) async fn ask(&self, sql: &str) -> Result<Row, Failure> {
        Ok(self.0.client.query_one(sql, &[]).await?)
    }

    /// Runs statements that have no parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.0.client.batch_execute(sql).await?)
    }

    /// Prepares a statement, if it is not. What is prepared is sent at once when it is asked for.
    pub(super) async fn prepare(&self, sql: &'static str) -> Result<Statement, Failure> {
        let known = self.statements().get(sql).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let prepared = self.0.client.prepare(sql).await?;
        self.statements().insert(sql, prepared.clone());
        Ok(prepared)
    }

    /// How many warnings have come so far.
    pub(super) fn warnings(&self) -> u64 {
        self.0.warnings.load(Ordering::SeqCst)
    }

    /// Where it was read what is configured: the same for all connections.
    pub(super) fn read_in(&self) -> &ReadIn {
        &self.0.read_in
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.client.is_closed()
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Statement>> {
        self.0.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// The socket is closed at once: what the server still does for it nobody waits for.
impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Purpose {
    fn settings(self) -> &'static str {
        match self {
            // A commit is on disk, and on the standby if there is one that is to be waited for, before it is
            // acknowledged, whatever the database says otherwise. What is left open by a client that hangs is undone
            // while others can still wait for it: all renew their leases one after the other, and trust them for
            // `TRUSTED_FOR` only. What waits for a lock is given up a little after its caller has given it up: it would
            // keep a place that others need.
            Self::Write => {
                "SET statement_timeout = 0; SET lock_timeout = '15s'; SET idle_in_transaction_session_timeout = '5s';
                 SELECT set_config('synchronous_commit', 'on', false)
                     WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
            }
            Self::Read => "SET statement_timeout = '10s'; SET default_transaction_read_only = on",
            Self::Hints => "SET synchronous_commit = off; SET statement_timeout = 0",
            Self::Turn => {
                "SET statement_timeout = 0; SET lock_timeout = '8s'; SET idle_session_timeout = '5s'"
            }
        }
    }
}

/// Moves the bytes of a connection until it ends.
fn drive<S, T>(
    mut connection: Connection<S, T>,
    warnings: Arc<AtomicU64>,
    hear: Hear,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    // An undo of what had undone itself is none to speak of.
                    let counts = *notice.code() != SqlState::NO_ACTIVE_SQL_TRANSACTION;
                    if notice.parsed_severity() == Some(Severity::Warning) && counts {
                        // Before the answer behind it is looked at: it is read by this same task.
                        warnings.fetch_add(1, Ordering::SeqCst);
                        tracing::warn!(warning = notice.message(), "the database warns");
                    }
                }
                Some(Ok(AsyncMessage::Notification(notification))) => hear(notification.payload()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    })
}

const COMMON: &str = "SET client_min_messages = warning; SET jit = off; SET enable_seqscan = off;
    SET enable_bitmapscan = off; SET enable_sort = off; SET enable_incremental_sort = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off";

/// For all hosts together.
const PATIENCE: Duration = Duration::from_secs(10);
