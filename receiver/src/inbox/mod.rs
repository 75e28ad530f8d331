//! Acknowledge now, process later: a place on disk for events between their `202` and their handler.
//!
//! ```text
//!            keep (202)          claim                 Ok
//!   sender ────────────► waiting ───────► at work ───────────► deleted
//!                          ▲  ▲             │ Err, panic, too slow, lease out
//!                          │  └──(later)────┤
//!                        retry              └──(no attempt left)──► dead ──discard──► deleted
//!                          └───────────────────────────────────────┘
//! ```
//!
//! An [`Intake`] checks an event like any receiver, and stores it in the same transaction that makes it done for the
//! replay guard: so an event is answered `202` if and only if it is on disk, and stored once. A [`Worker`]
//! gives it to the handler, again and later if that fails, and as a [`DeadLetter`] to an operator in the end.
//!
//! Relies on one SQLite database on a local disk, which several processes of the machine may share. Guarantees that
//! each event is given to the handler **at least once**: a process that dies in the middle of an attempt leaves a
//! lease that runs out, and the attempt is made again. Handlers must bear that; `event.id` tells. Payloads
//! lie encrypted, and are deleted once they are processed. The order of events is kept for one at a time only.

use std::{fmt, marker::PhantomData, path::Path, sync::Arc, time::Duration};

use rusqlite::Transaction;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use waxseal_envelope::Event;
use waxseal_keys::{Clock, KeyEncryptionKey, SystemClock};

use crate::{
    Begin, BuildError, GuardError, ReceiverBuilder, ReplayKey, SqliteGuard,
    replay::RETENTION,
    sqlite::{Database, DatabaseError},
};

mod at_rest;
mod dead_letter;
mod intake;
mod store;
mod worker;

use at_rest::AtRest;
pub use dead_letter::{Backlog, DeadLetter};
pub use intake::Intake;
pub use worker::{RetryPolicy, Worker};

/// The events of one endpoint, with data of type `T`, that are acknowledged and not processed yet. Cheap to clone;
/// clones share everything. Dropping the last one closes the file, and blocks while it does.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
/// # #[tokio::main]
/// # async fn main() {
/// # use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("inbox.db");
/// # let sender = Sender::new("https://hooks.example.com");
/// # let issuer = TrustedIssuer::new(&sender.issuer, Protection::Signed).pinned(sender.jwk_set());
/// use waxseal_receiver::{KeyEncryptionKey, Received, inbox::Inbox};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     order: String,
/// }
///
/// let key = KeyEncryptionKey::generate(); // in earnest: KeyEncryptionKey::from_file(path)?
/// let inbox = Inbox::<Order>::open(path, "orders", &key).unwrap();
/// let intake = inbox.intake(Receiver::builder().audience("acme").trust(issuer)).unwrap();
/// let url = serve(axum::Router::new().route_service("/hooks/orders", intake)).await + "/hooks/orders";
/// assert_eq!(deliver(&url, sender.signed("acme", "evt_1")).await.status(), 202);
///
/// let (done, is_done) = tokio::sync::oneshot::channel::<()>();
/// let done = std::sync::Mutex::new(Some(done));
/// let worker = inbox.worker(move |Received { event, data, .. }: Received<Order>| {
///     println!("{} is order {}", event.id, data.order);
///     drop(done.lock().unwrap().take());
///     async { Ok::<_, std::io::Error>(()) }
/// });
/// worker.run(async { drop(is_done.await) }).await;
/// assert_eq!(inbox.backlog().await.unwrap().waiting, 0);
/// # }
/// ```
pub struct Inbox<T> {
    database: Arc<Database>,
    at_rest: Arc<AtRest>,
    scope: String,
    clock: Arc<dyn Clock>,
    retention: Duration,
    /// Tells the workers of this process that an event came.
    arrived: Arc<Notify>,
    data: PhantomData<fn() -> T>,
}

impl<T> Inbox<T> {
    /// Opens the database at `path`, or creates it, readable by its owner only. `scope` is the name of this endpoint
    /// among those that share the file. Events are encrypted under a key that lies there wrapped by `key`: without
    /// `key` they are lost. Blocks.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// use waxseal_receiver::{KeyEncryptionKey, inbox::Inbox};
    ///
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// let other = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate());
    /// assert_eq!(other.unwrap_err().code(), "inbox.key");
    /// ```
    pub fn open(
        path: impl AsRef<Path>,
        scope: impl Into<String>,
        key: &KeyEncryptionKey,
    ) -> Result<Self, InboxError> {
        Self::open_with(path.as_ref(), scope.into(), Some(key))
    }

    /// The same without encryption: whoever can read the file, or a copy of the disk, can read the events that were not
    /// processed yet, and traces of others. A database is made for one or the other.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// use waxseal_receiver::inbox::Inbox;
    ///
    /// let inbox = Inbox::<u64>::dangerous_open_readable(&path, "orders").unwrap();
    /// ```
    pub fn dangerous_open_readable(
        path: impl AsRef<Path>,
        scope: impl Into<String>,
    ) -> Result<Self, InboxError> {
        Self::open_with(path.as_ref(), scope.into(), None)
    }

    /// Remembers events for `retention`, 7 days by default: a repetition is answered `202` and not stored again.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// let inbox = inbox.retention(Duration::from_secs(14 * 86_400));
    /// ```
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    /// The clock; the system's if none is given.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, ManualClock, Timestamp, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// let inbox = inbox.clock(Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_293_600))));
    /// ```
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    fn open_with(path: &Path, scope: String, key: Option<&KeyEncryptionKey>) -> Result<Self, InboxError> {
        let (database, at_rest) = Database::open_and(path, |step| AtRest::agree(step, key))?;
        Ok(Self {
            database: Arc::new(database),
            at_rest: Arc::new(at_rest?),
            scope,
            clock: Arc::new(SystemClock),
            retention: RETENTION,
            arrived: Arc::default(),
            data: PhantomData,
        })
    }

    /// Stores an event, unless it is known: then it says so.
    async fn keep(&self, key: ReplayKey, event: &Event) -> Result<Option<Begin>, InboxError> {
        let plain = at_rest::encode(event)?;
        let (at_rest, now, retention) = (self.at_rest.clone(), self.clock.now(), self.retention);
        let kept = self.act(move |step| store::keep(step, &at_rest, &key, &plain, now, retention)).await?;
        if kept.is_none() {
            self.arrived.notify_one();
        }
        Ok(kept)
    }

    async fn act<R: Send + 'static>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, InboxError> {
        Ok(self.database.write(act).await?)
    }
}

impl<T: DeserializeOwned + Send + 'static> Inbox<T> {
    /// The service that senders talk to. The builder's scope and replay guard become the inbox's.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, Protection, Receiver, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// let builder = Receiver::builder().audience("acme");
    /// let intake = inbox.intake(builder.issuer("https://hooks.example.com", Protection::Signed)).unwrap();
    /// ```
    pub fn intake(&self, builder: ReceiverBuilder) -> Result<Intake<T>, BuildError> {
        let guard = SqliteGuard::of(self.database.clone(), self.retention);
        let receiver = builder.scope(self.scope.clone()).replay_guard(Arc::new(guard)).build()?;
        Ok(Intake::new(receiver, self.clone()))
    }
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self {
            database: self.database.clone(),
            at_rest: self.at_rest.clone(),
            scope: self.scope.clone(),
            clock: self.clock.clone(),
            retention: self.retention,
            arrived: self.arrived.clone(),
            data: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Why the inbox cannot be opened, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The database does not answer.
    #[error("the inbox's database did not answer")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key is not the one that the inbox was made with.
    #[error("the inbox was made with another key-encryption key")]
    Key,
    /// A key was given for an inbox without encryption, or none for one with it.
    #[error(
        "the inbox holds encrypted events or readable ones, as it was made; it was opened for the others"
    )]
    Protection,
}

impl InboxError {
    /// A stable name of the reason, for logs and metrics.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::inbox::InboxError::Key.code(), "inbox.key");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "inbox.store",
            Self::Key => "inbox.key",
            Self::Protection => "inbox.protection",
        }
    }
}

impl From<DatabaseError> for InboxError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<InboxError> for GuardError {
    fn from(error: InboxError) -> Self {
        Self::Store(Box::new(error))
    }
}
