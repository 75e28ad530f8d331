//! Random commands, some of which are cut off at a random moment: each is done as a whole or not at all, and one that was
//! acknowledged is done.
//!
//! The embedded store's files are copied while it writes, as a power cut would leave them; connections of the shared store
//! are ended by its server.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::{Connection, OpenFlags};
use tokio::task::yield_now;
use tokio_postgres::{Client, NoTls};
use waxseal_sender::store::Store;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_tests::postgres::Postgres as Server;
use waxseal_tests::store_model::StoreModel;
use waxseal_tests::store_suite::Subject;

use crate::random::{Walker, image, run};
use crate::steps::{Step, step};
use crate::subject::{self, Postgres, Sqlite};

/// A step, and when it is cut off, if it is: after so many turns of others.
type Cut = (Step, Option<u32>);

#[test]
fn what_the_embedded_store_leaves_when_it_is_cut_off_is_whole() {
    walk_all(24, 400, subject::sqlite);
}

#[test]
fn what_the_shared_store_leaves_when_its_connections_are_cut_is_whole() {
    walk_all(6, 60, Severed::new);
}

fn walk_all<S: Mortal, F: Future<Output = S>>(cases: u32, turns: u32, subject: impl Fn() -> F) {
    let cut = prop_oneof![3 => Just(None), 1 => (0..turns).prop_map(Some)];
    let (done, undone) = (AtomicU32::new(0), AtomicU32::new(0));
    run(cases, &vec((step(), cut), 1..100), async |steps: Vec<Cut>| {
        let mut walk =
            Walk { model: StoreModel::default(), walker: Walker::default(), subject: subject().await };
        for (now, (step, cut)) in (0..).zip(&steps) {
            match cut.filter(|_| step.is_one_write()) {
                None => walk.step(step, now).await,
                Some(turns) => {
                    let count = if walk.cut_off(step, turns, now).await { &done } else { &undone };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        assert_eq!(walk.image().await, image(&walk.model, &walk.walker).await);
    });
    let (done, undone) = (done.into_inner(), undone.into_inner());
    println!("cut off: {done} were done, {undone} were not");
    // A cut that always comes too early, or too late, would show nothing.
    assert!(done > 0 && undone > 0, "cut off: {done} were done, {undone} were not");
}

/// A store and the model of it, on their way.
struct Walk<S> {
    model: StoreModel,
    walker: Walker,
    subject: S,
}

impl<S: Mortal> Walk<S> {
    async fn step(&mut self, step: &Step, now: i64) {
        if matches!(step, Step::Reopen) {
            self.subject.reopen().await;
        }
        let mut named = self.walker.clone();
        let expected = self.walker.take(&self.model, step, now).await.unwrap();
        assert_eq!(named.take(self.subject.store(), step, now).await.unwrap(), expected, "{step:?}");
    }

    /// Begins a step, and cuts it off; says whether it is done.
    async fn cut_off(&mut self, step: &Step, turns: u32, now: i64) -> bool {
        let (mut named, answered) = (self.walker.clone(), Cell::new(false));
        let subject = &self.subject;
        let write = async {
            let answer = named.take(subject.store(), step, now).await;
            answered.set(true);
            answer
        };
        let cut = async {
            for _ in 0..turns {
                yield_now().await;
            }
            (answered.get(), subject.cut().await)
        };
        let (answer, (before, remains)) = tokio::join!(write, cut);
        let acknowledged = before || (S::OUTLIVES && answer.is_ok());
        self.subject.recover(remains).await;
        let left = image(self.subject.store(), &named).await;
        if !acknowledged && left == image(&self.model, &named).await {
            return false;
        }
        let expected = self.walker.take(&self.model, step, now).await.unwrap();
        if let Ok(answer) = answer {
            assert_eq!(answer, expected, "{step:?}");
        }
        let whole = image(&self.model, &self.walker).await;
        assert_eq!(left, whole, "{step:?} is done in part, or not although it was acknowledged");
        true
    }

    async fn image(&self) -> String {
        image(self.subject.store(), &self.walker).await
    }
}

/// A store that can be taken away from under a write.
#[async_trait]
trait Mortal: Subject {
    /// What is left of it.
    type Remains: Send;

    /// Whether what it answers after it was cut off holds.
    const OUTLIVES: bool;

    /// Cuts off whatever is under way.
    async fn cut(&self) -> Self::Remains;

    /// Opens what is left.
    async fn recover(&mut self, remains: Self::Remains);
}

#[async_trait]
impl Mortal for Sqlite {
    type Remains = PathBuf;

    const OUTLIVES: bool = false;

    async fn cut(&self) -> PathBuf {
        let remains = self.path.parent().unwrap().join("left");
        std::fs::create_dir(&remains).unwrap();
        // While somebody reads, the log that the file needs is not begun anew between the two copies.
        let reader = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
        // By another process: closing a file here would release the locks that the store has on it.
        let log = self.path.with_extension("db-wal");
        let copied = Command::new("cp").args([&self.path, &log, &remains]).status().unwrap();
        assert!(copied.success());
        remains.join("store.db")
    }

    async fn recover(&mut self, remains: PathBuf) {
        self.store.close().await;
        self.store = SqliteStore::open(&remains).unwrap();
        self.path = remains;
    }
}

/// A shared store, and somebody who ends its connections.
struct Severed {
    subject: Postgres,
    database: String,
    by: Client,
}

impl Severed {
    async fn new() -> Self {
        let subject = subject::postgres().await;
        let (by, connection) =
            tokio_postgres::connect(&Server::shared().dsn("postgres"), NoTls).await.unwrap();
        tokio::spawn(connection);
        let database = subject.settings.to_string().rsplit_once('/').unwrap().1.to_owned();
        Self { subject, database, by }
    }
}

#[async_trait]
impl Subject for Severed {
    fn store(&self) -> &dyn Store {
        &self.subject.store
    }

    async fn reopen(&mut self) {
        self.subject.reopen().await;
    }
}

#[async_trait]
impl Mortal for Severed {
    type Remains = ();

    const OUTLIVES: bool = true;

    async fn cut(&self) {
        let cut = self.by.query(CUT, &[&self.database]).await.unwrap();
        let cut: Vec<i32> = cut.iter().map(|row| row.get(0)).collect();
        // What each was at is done then, or never will be.
        while self.by.query_one(LEFT, &[&cut]).await.unwrap().get::<_, i64>(0) > 0 {
            yield_now().await;
        }
    }

    async fn recover(&mut self, (): ()) {
        self.subject.store.close().await;
        self.subject.store = PostgresStore::open(&self.subject.settings).await.unwrap();
    }
}

const CUT: &str = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
const LEFT: &str = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)";
