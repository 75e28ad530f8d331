//! A few connections for one purpose, and what is run on them.
//!
//! **A write is never cancelled.** It runs in a task of its own, so a caller who goes away takes nothing back, and when no
//! answer comes in time its connection is dropped: whether it was done nobody knows, and it is answered so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connect::{Connector, Purpose, Session};
use super::failure::Failure;
use crate::store::StoreError;

/// Connections for one purpose, made when they are needed and used again.
#[derive(Debug)]
pub(super) struct Pool {
    sessions: managed::Pool<Maker>,
    connector: Arc<Connector>,
    commits: Arc<AtomicU64>,
    /// Who runs something has one; who closes has all.
    running: Arc<Semaphore>,
}

#[derive(Debug)]
struct Maker {
    connector: Arc<Connector>,
    purpose: Purpose,
}

impl managed::Manager for Maker {
    type Type = Session;
    type Error = Failure;

    async fn create(&self) -> Result<Session, Failure> {
        self.connector.connect(self.purpose).await
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Failure> {
        if self.connector.trusts(session) { Ok(()) } else { Err(RecycleError::message("it is of before")) }
    }
}

impl Pool {
    /// At most `size` connections. None is made yet.
    pub(super) fn new(
        connector: &Arc<Connector>,
        purpose: Purpose,
        size: usize,
        commits: &Arc<AtomicU64>,
    ) -> Result<Arc<Self>, StoreError> {
        let maker = Maker { connector: Arc::clone(connector), purpose };
        let sessions = managed::Pool::builder(maker)
            .max_size(size)
            .build()
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let (connector, commits) = (Arc::clone(connector), Arc::clone(commits));
        Ok(Arc::new(Self { sessions, connector, commits, running: Arc::new(Semaphore::new(ROOM)) }))
    }

    /// Runs queries. Each statement is a transaction of its own.
    pub(super) async fn read<T, F>(&self, work: impl FnOnce(Session) -> F + Send) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let _room = self.running.acquire().await.map_err(|_| StoreError::Closed)?;
        let object = self.session().await?;
        let session = Session::clone(&object);
        let done = timeout(READ_DEADLINE, work(session)).await;
        let done = done.unwrap_or(Err(Failure::Unknown("the database did not answer in time")));
        self.look_at(object, &done);
        Ok(done?)
    }

    /// Runs commands in one transaction, to its end whoever waits for it, and answers after the commit.
    pub(super) async fn write<T, F, W>(self: &Arc<Self>, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Session) -> F + Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        self.run("BEGIN", work).await
    }

    /// Runs queries that see the same moment.
    pub(super) async fn snapshot<T, F, W>(self: &Arc<Self>, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Session) -> F + Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work).await
    }

    async fn run<T, F, W>(self: &Arc<Self>, begin: &'static str, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(Session) -> F + Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let room = Arc::clone(&self.running).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(self);
        let running = tokio::spawn(async move {
            let done = pool.transact(begin, work).await;
            drop(room);
            done
        });
        running.await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable("a command of the store panicked; it was undone".into()))
        })
    }

    async fn transact<T, F>(
        &self,
        begin: &'static str,
        work: impl FnOnce(Session) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let object = self.session().await?;
        let session = Session::clone(&object);
        let warnings = session.warnings();
        let run = async {
            session.batch(begin).await?;
            let done = work(session.clone()).await;
            session.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
            done
        };
        let done = timeout(WRITE_DEADLINE, run).await;
        let done = done.unwrap_or(Err(Failure::Unknown("the database did not answer in time")));
        let done = done.and_then(|done| {
            if session.warnings() == warnings { Ok(done) } else { Err(Failure::Unknown(TAKEN_BACK)) }
        });
        drop(session);
        self.look_at(object, &done);
        if done.is_ok() {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(done?)
    }

    async fn session(&self) -> Result<Object<Maker>, StoreError> {
        match timeout(WRITE_DEADLINE, self.sessions.get()).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(PoolError::Closed)) => Err(StoreError::Closed),
            Ok(Err(PoolError::Backend(failure))) => Err(failure.into()),
            Ok(Err(_)) | Err(_) => Err(StoreError::Unavailable("no connection became free in time".into())),
        }
    }

    /// Gives a connection up on which something went wrong that is not the command's fault.
    fn look_at<T>(&self, object: Object<Maker>, done: &Result<T, Failure>) {
        if object.is_closed() || done.as_ref().is_err_and(|failure| !failure.is_refusal()) {
            self.connector.lost(&object);
            drop(Object::take(object));
        }
    }

    /// Waits for what runs, takes no more and closes the connections.
    pub(super) async fn close(&self) {
        // It is closed already if there is none to be had.
        let all = u32::try_from(ROOM).unwrap_or(u32::MAX);
        let _all = self.running.acquire_many(all).await;
        self.running.close();
        self.sessions.close();
    }
}

/// What is said of a commit that a warning came with.
pub(super) const TAKEN_BACK: &str =
    "the database warned while it committed: whether it is on the standby is not known";

/// How long a write may take before nobody waits for it any more.
pub(super) const WRITE_DEADLINE: Duration = Duration::from_secs(12);

/// A little longer than the server takes to end a query by itself.
const READ_DEADLINE: Duration = Duration::from_secs(12);

/// What may run or wait.
const ROOM: usize = 4_096;
