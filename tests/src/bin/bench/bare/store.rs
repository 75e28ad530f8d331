//! The limit of a store: three tables, one writer, what waits together shares a commit, and a commit is on disk.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{postgres, sqlite};

/// The place of a delivery: its event, and its number there.
pub(crate) type Delivery = [u8; 16];

/// A handle to the writer, which ends with the last of them.
pub(crate) struct Store {
    writer: Writer,
    next: AtomicU64,
}

enum Writer {
    Sqlite(sqlite::Writer),
    Postgres(postgres::Writer),
}

/// What the writer does.
pub(super) enum Work {
    Accept { deliveries: Vec<Delivery>, body: Bytes },
    Settle(Delivery),
}

/// With whom to tell that it is done.
pub(super) type Job = (Work, oneshot::Sender<()>);

impl Store {
    /// A new one: in this folder, or in this database.
    pub(crate) async fn open(folder: &Path, database: Option<&str>) -> Self {
        let writer = match database {
            None => Writer::Sqlite(sqlite::start(folder)),
            Some(url) => Writer::Postgres(postgres::start(url).await),
        };
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
        match &self.writer {
            Writer::Sqlite(writer) => writer.send((work, done)).unwrap(),
            Writer::Postgres(writer) => writer.send((work, done)).unwrap(),
        }
        wait.await.unwrap();
    }
}

/// Jobs that share a commit, at most.
pub(super) const BATCH: usize = 256;
pub(super) const TIME: i64 = 1_800_000_000_000;
pub(super) const KID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
