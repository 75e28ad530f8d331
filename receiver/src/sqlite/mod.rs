//! The database of the durable replay guard and of the inbox: one connection, on a thread of its own.
//!
//! Relies on SQLite and on a local disk whose `fdatasync` means what it says. Guarantees that an act is one
//! transaction, which begins as a writer and so is decided atomically among all processes that have the file open;
//! that what is acknowledged was committed with `synchronous = FULL`; that no task of the async runtime is
//! blocked; and that an act which was begun ends, whether or not its caller still waits.

use std::{
    io,
    path::Path,
    sync::{Mutex, PoisonError, mpsc},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

mod open;

/// Dropping it finishes what was begun and closes the file; it blocks while it does.
#[derive(Debug)]
pub(crate) struct Database {
    /// None only while it is dropped.
    acts: Option<mpsc::Sender<Act>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

type Act = Box<dyn FnOnce(&mut Connection) + Send>;

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self::open_and(path, |_| Ok(()))?.0)
    }

    /// Opens it and runs the first act at once. Blocks.
    pub(crate) fn open_and<T>(
        path: &Path,
        first: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<(Self, T), DatabaseError> {
        let mut connection = open::open(path)?;
        let done = transact(&mut connection, first)?;
        let (acts, waiting) = mpsc::channel::<Act>();
        let thread = Builder::new().name("waxseal-receiver-sqlite".to_owned()).spawn(move || {
            while let Ok(act) = waiting.recv() {
                act(&mut connection);
                // Those that wait already, up to a number: then it is the turn of other processes.
                let more = waiting.try_iter().take(TURN).map(|act| act(&mut connection)).count();
                if more == TURN {
                    pause();
                }
            }
        })?;
        Ok((Self { acts: Some(acts), thread: Mutex::new(Some(thread)) }, done))
    }

    /// Runs `act` in a transaction, and commits it if it succeeds.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (reply, answer) = oneshot::channel();
        let act: Act = Box::new(move |connection| {
            // Nobody waits any more: the act is done nevertheless.
            let _ = reply.send(transact(connection, act));
        });
        self.acts.as_ref().ok_or(DatabaseError::Closed)?.send(act).map_err(|_| DatabaseError::Closed)?;
        Ok(answer.await.map_err(|_| DatabaseError::Closed)??)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        drop(self.acts.take());
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // It ends with the last act. If one panicked, its caller has been told.
        drop(thread.map(JoinHandle::join));
    }
}

/// Long enough for another process to see that nobody writes. It waits for a millisecond at a time.
#[expect(clippy::disallowed_methods, reason = "nothing tells whether another process waits")]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

fn transact<T>(
    connection: &mut Connection,
    act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = act(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// Why the database cannot be opened or does not answer. No text of it has a stored value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("the file cannot be opened")]
    Io(#[from] io::Error),
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("this file system cannot keep a write-ahead log")]
    NoLog,
    #[error("the file belongs to another program or to a newer version")]
    Foreign,
    #[error("the thread of the database has ended")]
    Closed,
}

/// Some tens of milliseconds of work: what the pause after it costs cannot be noticed.
const TURN: usize = 64;
