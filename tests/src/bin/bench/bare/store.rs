//! The limit of a store: three tables, one writer, what waits together shares a commit, and a commit is on disk.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use rusqlite::{Connection, Transaction, params};
use tokio::sync::oneshot;

/// The place of a delivery: its event, and its number there.
pub(crate) type Delivery = [u8; 16];

/// A handle to the writer, which ends with the last of them.
pub(crate) struct Store {
    writer: mpsc::Sender<(Work, oneshot::Sender<()>)>,
    next: AtomicU64,
}

enum Work {
    Accept { deliveries: Vec<Delivery>, body: Bytes },
    Settle(Delivery),
}

impl Store {
    /// A new one in this folder.
    pub(crate) fn open(folder: &Path) -> Self {
        let connection = Connection::open(folder.join("bare.db")).unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let (writer, commands) = mpsc::channel();
        thread::Builder::new().name("bare-store".to_owned()).spawn(|| write(connection, commands)).unwrap();
        Self { writer, next: AtomicU64::new(0) }
    }

    /// Keeps an event with so many deliveries.
    pub(crate) async fn accept(&self, body: Bytes, fan_out: usize) -> Vec<Delivery> {
        let event = self.next.fetch_add(1, Ordering::Relaxed);
        let place = |number: u64| {
            let mut place = [0x5A; 16];
            place[..8].copy_from_slice(&event.to_be_bytes());
            place[8..].copy_from_slice(&number.to_be_bytes());
            place
        };
        let deliveries: Vec<_> = (0..fan_out as u64).map(place).collect();
        self.run(Work::Accept { deliveries: deliveries.clone(), body }).await;
        deliveries
    }

    /// Settles a delivery.
    pub(crate) async fn settle(&self, delivery: Delivery) {
        self.run(Work::Settle(delivery)).await;
    }

    async fn run(&self, work: Work) {
        let (done, wait) = oneshot::channel();
        self.writer.send((work, done)).unwrap();
        wait.await.unwrap();
    }
}

fn write(mut connection: Connection, commands: mpsc::Receiver<(Work, oneshot::Sender<()>)>) {
    while let Ok(first) = commands.recv() {
        let transaction = connection.transaction().unwrap();
        let mut done = Vec::new();
        for (work, caller) in [first].into_iter().chain(commands.try_iter()).take(256) {
            work.run(&transaction);
            done.push(caller);
        }
        transaction.commit().unwrap();
        for caller in done {
            let _ = caller.send(()); // it may have gone
        }
    }
}

impl Work {
    fn run(self, transaction: &Transaction<'_>) {
        let run = |sql, params: &[&dyn rusqlite::ToSql]| {
            assert_eq!(transaction.prepare_cached(sql).unwrap().execute(params).unwrap(), 1);
        };
        match self {
            Self::Accept { deliveries, body } => {
                run("INSERT INTO events (id, body) VALUES (?1, ?2)", params![&deliveries[0][..8], &body[..]]);
                for delivery in deliveries {
                    run("INSERT INTO live (id, due_at) VALUES (?1, ?2)", params![delivery, TIME]);
                }
            }
            Self::Settle(delivery) => {
                run("DELETE FROM live WHERE id = ?1", params![delivery]);
                let insert = "INSERT INTO attempts (delivery, at, status, kid) VALUES (?1, ?2, ?3, ?4)";
                run(insert, params![delivery, TIME, 202, KID]);
            }
        }
    }
}

const TIME: i64 = 1_800_000_000_000;
const KID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
const SCHEMA: &str = "PRAGMA synchronous = FULL;
    CREATE TABLE events (id BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
    CREATE TABLE live (id BLOB NOT NULL PRIMARY KEY, due_at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE attempts (delivery BLOB NOT NULL PRIMARY KEY, at INTEGER, status INTEGER, kid TEXT) WITHOUT ROWID;";
