//! A few threads that read, each with a connection of its own.
//!
//! A query is one short transaction on a snapshot: it sees every write that was acknowledged before it began and
//! never waits for the writer. A snapshot that lasts keeps the log from being emptied, so queries return pages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::damage::Damage;
use super::failure::{Failure, panicked};
use super::open;
use crate::store::StoreError;

/// The way to the reading threads.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Sender<Message>,
    room: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    damage: Arc<Damage>,
}

impl Readers {
    /// Starts the threads on the database at `path`, which must exist.
    pub(super) fn start(path: &Path, damage: &Arc<Damage>) -> Result<Self, StoreError> {
        let (queue, queries) = mpsc::channel();
        let queries = Arc::new(Mutex::new(queries));
        let readers = Self {
            queue,
            room: Arc::new(Semaphore::new(ROOM)),
            threads: Mutex::new(Vec::with_capacity(THREADS)),
            damage: Arc::clone(damage),
        };
        for _ in 0..THREADS {
            let connection = open::reader(path)?;
            let queries = Arc::clone(&queries);
            let thread = thread::Builder::new()
                .name("waxseal-store-reader".to_owned())
                .spawn(move || serve(&connection, &queries))
                .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
            readers.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(readers)
    }

    /// Runs a query in a read transaction.
    pub(super) async fn read<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let query = Box::new(move |connection: &Connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| snapshot(connection, run)));
            // Nobody may wait any more.
            let _ = answer.send(outcome.unwrap_or_else(|_| Err(panicked())));
        });
        self.queue.send(Message::Run(Query { run: query, _room: room })).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(Failure::Store(StoreError::Closed))).map_err(|failure| {
            self.damage.look_at(&failure);
            failure.into()
        })
    }

    /// Takes no more queries, finishes those that wait, and ends the threads. Blocks.
    pub(super) fn close(&self) {
        self.room.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in &threads {
            // An error means that the threads have ended already.
            let _ = self.queue.send(Message::Close);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }
}

enum Message {
    Run(Query),
    Close,
}

struct Query {
    run: Box<dyn FnOnce(&Connection) + Send>,
    _room: OwnedSemaphorePermit,
}

fn serve(connection: &Connection, queries: &Mutex<Receiver<Message>>) {
    loop {
        let message = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match message {
            Ok(Message::Run(query)) => (query.run)(connection),
            Ok(Message::Close) | Err(_) => return,
        }
    }
}

fn snapshot<T, F>(connection: &Connection, run: F) -> Result<T, Failure>
where
    F: FnOnce(&Connection) -> Result<T, Failure>,
{
    let transaction = connection.unchecked_transaction()?;
    let found = run(&transaction)?;
    transaction.commit()?;
    Ok(found)
}

/// The engine asks with one query at a time and the API with a few; more threads would only share the same disk.
const THREADS: usize = 3;

/// Queries that may wait.
const ROOM: usize = 1_024;
