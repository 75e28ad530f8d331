//! What the stores cost: events accepted and settled, in events per second and CPU time per event; the embedded one beside
//! a bare loop that inserts as many bytes through the same library with the same durability, the shared one on a server
//! of its own on this machine, whose CPU time has a column of its own: it is another process. For that server also what a
//! transaction and what each row in it costs, accepted and settled apart.
//!
//! `cargo run --release -p waxseal-tests --bin store-bench [events] [endpoints] [callers]`

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use waxseal_keys::Timestamp;
use waxseal_sender::database::Database;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState, LiveDelivery};
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{
    Accepted, Idempotency, NewDelivery, NewEvent, Outbox, Outcome, Settled, Settlement,
};
use waxseal_tests::postgres::Postgres;

const PAYLOAD: usize = 1_024;
const START: i64 = 1_800_000_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let events = arguments.next().unwrap_or(60_000);
    let endpoints = arguments.next().unwrap_or(100);
    println!(
        "{events} events of {PAYLOAD} bytes, one delivery each, to {endpoints} endpoints; synchronous = FULL"
    );
    println!(
        "{:<34}{:>12}{:>16}{:>18}{:>18}",
        "", "events/s", "CPU us/event", "events/commit", "database us/event"
    );
    let raw = raw_loop(events);
    raw.print("bare inserts, 256 a commit");
    let cases = match arguments.next() {
        Some(callers) => vec![(callers, false), (callers, true)],
        None => vec![(1, false), (16, false), (256, false), (256, true), (1_024, false), (1_024, true)],
    };
    for (tasks, keyed) in &cases {
        let (tasks, keyed) = (*tasks, *keyed);
        let measured = embedded(if tasks == 1 { events / 20 } else { events }, endpoints, tasks, keyed);
        let keys = if keyed { ", keyed" } else { "" };
        measured.print(&format!("accept + settle, {tasks} callers{keys}"));
        if tasks >= 256 {
            println!(
                "{:<34}{:>12.2}{:>16.2}",
                "  against bare inserts",
                measured.rate / raw.rate,
                measured.cpu / raw.cpu
            );
        }
    }
    let server = Postgres::start();
    println!("PostgreSQL, at most three connections that write");
    for (tasks, keyed) in cases {
        let events = if tasks == 1 { events / 20 } else { events };
        let shares = shares(events, endpoints, tasks, keyed);
        let measured = shared(&server, async |store| run_all(store, shares).await, events);
        let keys = if keyed { ", keyed" } else { "" };
        measured.print(&format!("accept + settle, {tasks} callers{keys}"));
    }
    transactions(&server, events, endpoints);
}

/// What a transaction and a row cost the server, from small and large batches.
fn transactions(server: &Postgres, events: usize, endpoints: usize) {
    let phases = |events: usize, tasks: usize| {
        let shares = shares(events, endpoints, tasks, false);
        let (accepts, settles): (Vec<Vec<_>>, Vec<Vec<_>>) =
            shares.into_iter().map(|share| share.into_iter().unzip()).unzip();
        let url = server.dsn(&server.create_database("bench"));
        let accepted = shared_at(server, &url, async |store| accept_all(store, accepts).await, events);
        accepted.print(&format!("accept, {tasks} callers"));
        let settled = shared_at(server, &url, async |store| settle_all(store, settles).await, events);
        settled.print(&format!("settle, {tasks} callers"));
        [accepted, settled]
    };
    let [small, _, large] =
        [(events / 20, 1), (events, 32), (events, 256)].map(|(n, tasks)| phases(n, tasks));
    for (what, small, large) in [("accepts", &small[0], &large[0]), ("settles", &small[1], &large[1])] {
        let [a, b] = [small, large].map(|at| (at.database * at.per_commit, at.per_commit));
        let row = (b.0 - a.0) / (b.1 - a.1);
        println!("database: a transaction that {what} n: {:.0} us + n x {row:.1} us", a.0 - a.1 * row);
    }
}

struct Measured {
    rate: f64,
    cpu: f64,
    per_commit: f64,
    /// Of the server, if there is one.
    database: f64,
}

impl Measured {
    fn print(&self, what: &str) {
        let Self { rate, cpu, per_commit, database } = self;
        println!("{what:<34}{rate:>12.0}{cpu:>16.1}{per_commit:>18.1}{database:>18.1}");
    }
}

/// Time and CPU time since a start, of this whole process.
struct Meter {
    started: Instant,
    cpu: Duration,
}

impl Meter {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn start() -> Self {
        Self { started: Instant::now(), cpu: cpu_time() }
    }

    fn stop(self, events: usize, commits: u64) -> Measured {
        let (wall, cpu) = (self.started.elapsed(), cpu_time() - self.cpu);
        let events = events as f64;
        Measured {
            rate: events / wall.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / events,
            per_commit: events / commits as f64,
            database: 0.0,
        }
    }
}

fn embedded(events: usize, endpoints: usize, tasks: usize, keyed: bool) -> Measured {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(folder.path().join("store.db")).expect("a store"));
    let shares = shares(events, endpoints, tasks, keyed);
    let meter = Meter::start();
    runtime().block_on(async {
        run_all(&store, shares).await;
        store.close().await;
    });
    meter.stop(events, store.commits())
}

fn shared(server: &Postgres, work: impl AsyncFnOnce(&Arc<PostgresStore>), events: usize) -> Measured {
    let url = server.dsn(&server.create_database("bench"));
    shared_at(server, &url, work, events)
}

fn shared_at(
    server: &Postgres,
    url: &str,
    work: impl AsyncFnOnce(&Arc<PostgresStore>),
    events: usize,
) -> Measured {
    let settings = Database::parse(url, Path::new(""), None).expect("a URL");
    let runtime = runtime();
    let store = Arc::new(runtime.block_on(PostgresStore::open(&settings)).expect("a store"));
    let (meter, before) = (Meter::start(), server.cpu_seconds());
    runtime.block_on(work(&store));
    // While the connections are there: of a process that is just ending nobody knows what it has used.
    let database = (server.cpu_seconds() - before) * 1e6 / events as f64;
    runtime.block_on(store.close());
    Measured { database, ..meter.stop(events, store.commits()) }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

type Share = Vec<(NewEvent, Settlement)>;

fn shares(events: usize, endpoints: usize, tasks: usize, keyed: bool) -> Vec<Share> {
    let mut shares: Vec<Share> = (0..tasks).map(|_| Vec::new()).collect();
    for number in 0..events {
        shares[number % tasks].push(work(number, endpoints, keyed));
    }
    shares
}

async fn run_all<S: Outbox + 'static>(store: &Arc<S>, shares: Vec<Share>) {
    let running: Vec<_> =
        shares.into_iter().map(|share| tokio::spawn(run(Arc::clone(store), share))).collect();
    for task in running {
        task.await.expect("a task");
    }
}

async fn accept_all(store: &Arc<PostgresStore>, shares: Vec<Vec<NewEvent>>) {
    let accept = async |store: Arc<PostgresStore>, share: Vec<NewEvent>| {
        for event in share {
            assert_eq!(store.accept(event).await.expect("room"), Accepted::New);
        }
    };
    let running: Vec<_> =
        shares.into_iter().map(|share| tokio::spawn(accept(Arc::clone(store), share))).collect();
    for task in running {
        task.await.expect("a task");
    }
}

async fn settle_all(store: &Arc<PostgresStore>, shares: Vec<Vec<Settlement>>) {
    let settle = async |store: Arc<PostgresStore>, share: Vec<Settlement>| {
        for settlement in share {
            assert_eq!(store.settle(settlement).await.expect("room"), Settled::Recorded);
        }
    };
    let running: Vec<_> =
        shares.into_iter().map(|share| tokio::spawn(settle(Arc::clone(store), share))).collect();
    for task in running {
        task.await.expect("a task");
    }
}

async fn run<S: Outbox>(store: Arc<S>, share: Share) {
    for (event, settlement) in share {
        assert_eq!(store.accept(event).await.expect("room"), Accepted::New);
        assert_eq!(store.settle(settlement).await.expect("room"), Settled::Recorded);
    }
}

fn work(number: usize, endpoints: usize, keyed: bool) -> (NewEvent, Settlement) {
    let now = Timestamp::from_millis(START + number as i64 / 20);
    // Odd, so that neighbours in time are not neighbours in the index.
    let place = (number * 7_919) % endpoints;
    let consumer = ConsumerId::parse(&format!("consumer-{place}")).expect("a name");
    let mut endpoint = [0x0E; 16];
    endpoint[..8].copy_from_slice(&(place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let endpoint = EndpointId::from_bytes(endpoint);
    let (id, event) = (DeliveryId::generate(now), EventId::generate(now));
    let delivery = NewDelivery { id, endpoint, consumer: consumer.clone(), due_at: now, expires_at: None };
    let mut key = [0; 32];
    key[..16].copy_from_slice(DeliveryId::generate(now).as_bytes());
    key.rotate_left(8);
    let idempotency =
        Idempotency { key, content: [7; 32], expires_at: Timestamp::from_millis(START + 86_400_000) };
    let attempt = Attempt {
        number: 1,
        started_at: now,
        duration_ms: 23,
        status: Some(202),
        result: "delivered".to_owned(),
        signing_kid: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned(),
        encryption_kid: Some("cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s".to_owned()),
        excerpt: Vec::new(),
        next_at: None,
        clock_skew_seconds: None,
    };
    let settlement = Settlement {
        delivery: LiveDelivery {
            id,
            event,
            endpoint,
            consumer: consumer.clone(),
            due_at: now,
            attempts_made: 0,
            expires_at: None,
        },
        attempt: Some(attempt),
        outcome: Outcome::Final(DeliveryState::Delivered),
        at: now,
        changes: Vec::new(),
    };
    let event = NewEvent {
        id: event,
        accepted_at: now,
        expires_at: None,
        event_type: "order.created".to_owned(),
        sealed: vec![0x5A; PAYLOAD],
        wrapped_keys: vec![(consumer, vec![0xA5; 61])],
        deliveries: vec![delivery],
        idempotency: keyed.then_some(idempotency),
        changes: Vec::new(),
    };
    (event, settlement)
}

/// One table, one blob of all the bytes that the store's rows of one event hold.
fn raw_loop(events: usize) -> Measured {
    const ROWS: usize = 61 + 12 + 16 * 9 + 9 * 8 + 43 * 2;
    let folder = tempfile::tempdir().expect("a folder");
    let mut connection = raw_connection(&folder.path().join("raw.db"));
    let bytes = vec![0x5A_u8; PAYLOAD + ROWS];
    let meter = Meter::start();
    let mut commits = 0;
    let mut left = events;
    while left > 0 {
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO raw (bytes) VALUES (?1)").expect("a statement");
            for _ in 0..left.min(256) {
                insert.execute([&bytes]).expect("a row");
            }
        }
        transaction.commit().expect("a commit");
        commits += 1;
        left = left.saturating_sub(256);
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a checkpoint");
    meter.stop(events, commits)
}

fn raw_connection(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).expect("a database");
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).expect("a log");
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; CREATE TABLE raw (no INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
        )
        .expect("a table");
    connection
}

/// User and system time of this process, in steps of the kernel's clock (10 ms).
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u64 =
        [11, 12].into_iter().map(|field: usize| fields[field].parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}
