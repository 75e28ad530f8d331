//! The limit in SQLite: a thread with the connection.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rusqlite::{Connection, Transaction, params};

use super::store::{BATCH, Job, KID, TIME, Work};

/// The way to the thread.
pub(super) type Writer = mpsc::Sender<Job>;

/// Makes the file and starts the thread.
pub(super) fn start(folder: &Path) -> Writer {
    let connection = Connection::open(folder.join("bare.db")).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    let (writer, jobs) = mpsc::channel();
    thread::Builder::new().name("bare-store".to_owned()).spawn(|| write(connection, jobs)).unwrap();
    writer
}

fn write(mut connection: Connection, jobs: mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let transaction = connection.transaction().unwrap();
        let mut done = Vec::new();
        for (work, caller) in [first].into_iter().chain(jobs.try_iter()).take(BATCH) {
            run(work, &transaction);
            done.push(caller);
        }
        transaction.commit().unwrap();
        for caller in done {
            let _ = caller.send(()); // it may have gone
        }
    }
}

fn run(work: Work, transaction: &Transaction<'_>) {
    let run = |sql, params: &[&dyn rusqlite::ToSql]| {
        assert_eq!(transaction.prepare_cached(sql).unwrap().execute(params).unwrap(), 1);
    };
    match work {
        Work::Accept { deliveries, body } => {
            run("INSERT INTO events (id, body) VALUES (?1, ?2)", params![&deliveries[0][..8], &body[..]]);
            for delivery in deliveries {
                run("INSERT INTO live (id, due_at) VALUES (?1, ?2)", params![delivery, TIME]);
            }
        }
        Work::Settle(delivery) => {
            run("DELETE FROM live WHERE id = ?1", params![delivery]);
            let insert = "INSERT INTO attempts (delivery, at, status, kid) VALUES (?1, ?2, ?3, ?4)";
            run(insert, params![delivery, TIME, 202, KID]);
        }
    }
}

const SCHEMA: &str = "PRAGMA synchronous = FULL;
    CREATE TABLE events (id BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
    CREATE TABLE live (id BLOB NOT NULL PRIMARY KEY, due_at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE attempts (delivery BLOB NOT NULL PRIMARY KEY, at INTEGER, status INTEGER, kid TEXT) WITHOUT ROWID;";
