//! What a snapshot that somebody holds open costs the store in PostgreSQL: deliveries settled in a second while there is
//! one, against those while there is none, in turns within one run.
//!
//! `cargo run --release -p waxseal-tests --bin snapshot-bench -- [--seconds 600] [--stretches 8] [--endpoints 100]`

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_sender::database::Database;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState, LiveDelivery};
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{
    Catalog, DuePosition, NewDelivery, NewEvent, Outbox, Outcome, Settlement, Shard,
};
use waxseal_tests::postgres::Postgres;

/// Deliveries settled while a snapshot is held open, against those while none is
#[derive(Parser)]
struct Options {
    /// How long it takes in all
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// In how many stretches, every second of them with a snapshot
    #[arg(long, default_value_t = 8)]
    stretches: u64,
    /// To how many endpoints
    #[arg(long, default_value_t = 100)]
    endpoints: usize,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let server = Postgres::start();
    let dsn = server.dsn(&server.create_database("bench"));
    let settings = Database::parse(&dsn, Path::new(""), None).expect("a URL");
    let store = Arc::new(PostgresStore::open(&settings).await.expect("a store"));
    let work = Work::start(&store, options.endpoints);
    let stretch = Duration::from_secs(options.seconds) / u32::try_from(options.stretches).expect("a few");
    // What is made the first time is made.
    work.settled_within(stretch / 4).await;
    let (mut free, mut held) = (Vec::new(), Vec::new());
    for _ in 0..options.stretches / 2 {
        free.push(work.settled_within(stretch).await);
        let (holder, connection) = tokio_postgres::connect(&dsn, NoTls).await.expect("a connection");
        let connection = tokio::spawn(connection);
        let open = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM configuration";
        holder.batch_execute(open).await.expect("a snapshot");
        held.push(work.settled_within(stretch).await);
        drop(holder);
        let _ = connection.await;
    }
    work.stop().await;
    store.close().await;
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
    println!("settled a second without a snapshot: {free:.0?}");
    println!("settled a second while one is held:  {held:.0?}");
    println!("ratio of the means: {:.3}", mean(&held) / mean(&free));
}

/// Callers that accept events and, for each endpoint, whoever reads what is due and settles it.
struct Work {
    settled: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Work {
    fn start(store: &Arc<PostgresStore>, endpoints: usize) -> Self {
        let (settled, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let endpoints = (0..endpoints).map(|_| EndpointId::generate(SystemClock.now()));
        let mut tasks = Vec::new();
        for endpoint in endpoints {
            let (store, counted, over) = (Arc::clone(store), Arc::clone(&settled), Arc::clone(&stopped));
            tasks.push(tokio::spawn(deliver(store, endpoint, counted, over)));
        }
        let (store, over) = (Arc::clone(store), Arc::clone(&stopped));
        tasks.push(tokio::spawn(look(store, over)));
        Self { settled, stopped, tasks }
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    async fn settled_within(&self, stretch: Duration) -> f64 {
        let (begun, before) = (Instant::now(), self.settled.load(Ordering::Relaxed));
        tokio::time::sleep(stretch).await;
        (self.settled.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64()
    }

    async fn stop(self) {
        self.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("it ends by itself");
        }
    }
}

/// Accepts an event, reads on from the place it has come to, and settles what it finds, again and again.
async fn deliver(
    store: Arc<PostgresStore>,
    endpoint: EndpointId,
    settled: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
) {
    let mut after = None;
    while !stopped.load(Ordering::Relaxed) {
        let now = SystemClock.now();
        store.accept(event(endpoint, now)).await.expect("room");
        for delivery in store.due(endpoint, after, now, 64).await.expect("an answer") {
            after = Some(DuePosition { due_at: delivery.due_at, id: delivery.id });
            store.settle(settlement(delivery, now)).await.expect("room");
            settled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Looks for arrivals in all shards, as a node does that is told nothing.
async fn look(store: Arc<PostgresStore>, stopped: Arc<AtomicBool>) {
    while !stopped.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let from = DeliveryId::lower_bound(SystemClock.now().saturating_sub(Duration::from_secs(30)));
        let everywhere = (0..=u8::MAX).map(|number| (Shard::new(number), from)).collect();
        store.cluster().expect("it is shared").arrivals(everywhere, 512).await.expect("an answer");
    }
}

fn event(endpoint: EndpointId, now: Timestamp) -> NewEvent {
    let consumer = ConsumerId::parse("acme").expect("a name");
    let id = DeliveryId::generate(now);
    NewEvent {
        id: EventId::generate(now),
        accepted_at: now,
        expires_at: None,
        event_type: "order.created".to_owned(),
        sealed: vec![0x5A; 1_024],
        wrapped_keys: vec![(consumer.clone(), vec![0xA5; 61])],
        deliveries: vec![NewDelivery { id, endpoint, consumer, due_at: now, expires_at: None }],
        idempotency: None,
        changes: Vec::new(),
    }
}

fn settlement(delivery: LiveDelivery, now: Timestamp) -> Settlement {
    let attempt = Attempt {
        number: 1,
        started_at: now,
        duration_ms: 23,
        status: Some(202),
        result: "delivered".to_owned(),
        signing_kid: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned(),
        encryption_kid: None,
        excerpt: Vec::new(),
        next_at: None,
        clock_skew_seconds: None,
    };
    let outcome = Outcome::Final(DeliveryState::Delivered);
    Settlement { delivery, attempt: Some(attempt), outcome, at: now, changes: Vec::new() }
}
