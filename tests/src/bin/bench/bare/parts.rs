//! What each part of the limit costs alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde::Serialize;

use super::{Bare, Shared};
use crate::case::Protection;
use crate::report::{Progress, median};
use crate::sink::Sink;
use crate::store::{Kind, Servers};

/// CPU microseconds of one of each.
#[derive(Serialize)]
pub(crate) struct Parts {
    /// A request in, answered with nothing (axum).
    pub(crate) request: f64,
    /// A request out, its answer read (reqwest).
    pub(crate) post: f64,
    /// An ES256 signature over 1 KiB.
    pub(crate) signature: f64,
    /// An ephemeral key, agreement and encryption: P-256, A256GCM.
    pub(crate) encryption: f64,
    /// An event into SQLite and out again, batched, flushed to disk.
    pub(crate) store: f64,
    /// An event into PostgreSQL and out again, likewise.
    pub(crate) postgres: Option<Apart>,
}

/// CPU microseconds of something that a server has a part in.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Apart {
    /// Of the program.
    pub(crate) program: f64,
    /// Of the server.
    pub(crate) database: f64,
}

impl Parts {
    /// Their sum, for a delivery of this protection by way of this store, if that was measured.
    pub(crate) fn sum(&self, protection: Protection, store: Kind) -> Option<f64> {
        let encryption = if protection == Protection::Sealed { self.encryption } else { 0.0 };
        let store = match store {
            Kind::Sqlite => self.store,
            Kind::Postgres => self.postgres.map(|apart| apart.program + apart.database)?,
        };
        Some(self.request + self.post + self.signature + encryption + store)
    }
}

/// Measures them, in turns.
pub(crate) async fn parts(stores: &[Kind], servers: &Servers, progress: &mut Progress) -> Parts {
    progress.step("parts of the limit");
    let sink = Sink::start();
    let [place, _] = servers.places(Kind::Sqlite);
    let bare = Bare::start(&sink.url(), Protection::Sealed, 1, &place);
    let body = Bytes::from(vec![b'x'; 1_024]);
    let nothing = bare.target_at("nothing", vec![body.clone()]);
    nothing.flood(TIMES).await;
    let mut costs: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        for (costs, part) in costs.iter_mut().zip(["", "posts", "signatures", "encryptions", "rows"]) {
            let before = bare.process.cpu_seconds();
            match part {
                "" => nothing.flood(TIMES).await,
                part => bare.target_at(&format!("{part}/{TIMES}"), Vec::new()).post(body.clone()).await,
            }
            costs.push((bare.process.cpu_seconds() - before) * 1e6 / TIMES as f64);
        }
    }
    let [request, post, signature, encryption, store] = costs.map(|costs| median(&costs));
    let postgres = if stores.contains(&Kind::Postgres) { Some(apart(servers, body).await) } else { None };
    Parts { request, post, signature, encryption, store, postgres }
}

/// The store's part where a server does it.
async fn apart(servers: &Servers, body: Bytes) -> Apart {
    let [_, place] = servers.places(Kind::Postgres);
    let bare = Bare::start("", Protection::Signed, 1, &place);
    let rows = bare.target_at(&format!("rows/{TIMES}"), Vec::new());
    rows.post(body.clone()).await;
    let (mut program, mut database) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = (bare.process.cpu_seconds(), place.cpu_seconds());
        rows.post(body.clone()).await;
        program.push((bare.process.cpu_seconds() - before.0) * 1e6 / TIMES as f64);
        database.push((place.cpu_seconds() - before.1) * 1e6 / TIMES as f64);
    }
    Apart { program: median(&program), database: median(&database) }
}

impl Shared {
    /// Does a part so many times, 64 at once where there is something to wait for.
    pub(super) async fn repeat(self: &Arc<Self>, part: &str, times: usize, body: Bytes) {
        let tasks = if matches!(part, "posts" | "rows") { 64 } else { 1 };
        let left = Arc::new(AtomicUsize::new(times));
        let run = || {
            let (shared, left) = (Arc::clone(self), Arc::clone(&left));
            let (part, body) = (part.to_owned(), body.clone());
            tokio::spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                    shared.once(&part, &body).await;
                }
            })
        };
        for task in (0..tasks).map(|_| run()).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }

    async fn once(&self, part: &str, body: &Bytes) {
        match part {
            "posts" => self.post("t".repeat(1_700)).await,
            "signatures" => drop(std::hint::black_box(self.raw.sign())),
            "encryptions" => drop(std::hint::black_box(self.raw.encrypt_other(body))),
            "rows" => {
                for delivery in self.store.accept(body.clone(), 1).await {
                    self.store.settle(delivery).await;
                }
            }
            other => panic!("{other} is no part"),
        }
    }
}

const TIMES: usize = 10_000;
const ROUNDS: usize = 3;
