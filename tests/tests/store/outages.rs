//! The shared store while its database is killed, replaced by its standby, or says more than it has done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use waxseal_keys::{Clock, SystemClock};
use waxseal_sender::id::{DeliveryId, EventId};
use waxseal_sender::model::delivery::{DeliveryState, LiveDelivery};
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{
    Catalog, Hint, NewDelivery, NewEvent, Outbox, Outcome, Record, RecordChange, RecordKind, Shards,
    StoreError,
};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::store_suite::fixture::{
    at, endpoint_id, event_id, new_delivery, new_event, owner_of, settlement,
};

use crate::subject;

const PATIENCE: Duration = Duration::from_secs(120);

/// Writes without end through whatever happens, and notes what was acknowledged.
struct Traffic {
    accepted: Mutex<Vec<EventId>>,
    delivered: Mutex<Vec<DeliveryId>>,
    stopped: AtomicBool,
}

impl Traffic {
    fn start(store: &Arc<PostgresStore>) -> (Arc<Self>, Vec<tokio::task::JoinHandle<()>>) {
        let traffic = Arc::new(Self {
            accepted: Mutex::default(),
            delivered: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let callers = (0..24)
            .map(|caller| {
                let (traffic, store) = (Arc::clone(&traffic), Arc::clone(store));
                tokio::spawn(async move {
                    while !traffic.stopped.load(Ordering::Relaxed) {
                        traffic.one(&store, caller).await;
                    }
                })
            })
            .collect();
        (traffic, callers)
    }

    /// One event from its beginning to its end. Of what was not acknowledged nothing is expected.
    async fn one(&self, store: &PostgresStore, endpoint: u32) {
        let now = SystemClock.now();
        let (event, id) = (EventId::generate(now), DeliveryId::generate(now));
        let (endpoint, consumer) = (endpoint_id(endpoint), owner_of(endpoint));
        let delivery =
            NewDelivery { id, endpoint, consumer: consumer.clone(), due_at: now, expires_at: None };
        let new = NewEvent { id: event, ..new_event(1, now, vec![delivery]) };
        if let Err(error) = store.accept(new).await {
            assert_eq!(error.code(), "store.unavailable", "{error:?}");
            return sleep(Duration::from_millis(20)).await;
        }
        self.accepted.lock().unwrap().push(event);
        let live =
            LiveDelivery { id, event, endpoint, consumer, due_at: now, attempts_made: 0, expires_at: None };
        let settlement = settlement(live, Outcome::Final(DeliveryState::Delivered), now);
        // An outcome that is not known is asked for again: it is recorded once, whichever of them did it.
        while store.settle(settlement.clone()).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        self.delivered.lock().unwrap().push(id);
    }

    async fn more(&self, wanted: usize) {
        let wanted = self.delivered.lock().unwrap().len() + wanted;
        let more = async {
            while self.delivered.lock().unwrap().len() < wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, more).await.expect("the store goes on by itself");
    }

    async fn all_is_there(&self, store: &PostgresStore, callers: Vec<tokio::task::JoinHandle<()>>) {
        self.stopped.store(true, Ordering::Relaxed);
        for caller in callers {
            timeout(PATIENCE, caller).await.expect("it ends").unwrap();
        }
        let (accepted, delivered) =
            (self.accepted.lock().unwrap().clone(), self.delivered.lock().unwrap().clone());
        for event in accepted {
            assert!(store.event(event).await.unwrap().is_some(), "{event} was acknowledged");
        }
        for id in delivered {
            let delivery = store.delivery(id).await.unwrap().expect("it was acknowledged");
            assert_eq!(delivery.state, DeliveryState::Delivered);
            assert_eq!(store.attempts(id).await.unwrap().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_of_the_database() {
    let mut server = Postgres::start();
    let settings = subject::settings(&server.dsn(&server.create_database("killed")));
    let store = Arc::new(PostgresStore::open(&settings).await.unwrap());
    let (traffic, callers) = Traffic::start(&store);
    for wanted in [1, 60, 400, 150] {
        traffic.more(wanted).await;
        tokio::task::block_in_place(|| {
            server.kill();
            server.restart();
        });
    }
    traffic.more(50).await;
    traffic.all_is_there(&store, callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_on_the_standby_that_takes_over() {
    let mut primary = Postgres::start();
    let database = primary.create_database("replaced");
    let standby = primary.standby("s1");
    primary.acknowledge_with("s1");
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let store = Arc::new(PostgresStore::open(&subject::settings(&url)).await.unwrap());
    assert!(store.cluster().unwrap().overview().await.unwrap().synchronous_standby);
    let (traffic, callers) = Traffic::start(&store);
    traffic.more(300).await;
    tokio::task::block_in_place(|| {
        primary.kill();
        standby.promote();
    });
    traffic.more(300).await;
    traffic.all_is_there(&store, callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_no_standby_has_is_not_acknowledged() {
    let server = Postgres::start();
    let database = server.create_database("alone");
    let store = Arc::new(PostgresStore::open(&subject::settings(&server.dsn(&database))).await.unwrap());
    store.accept(new_event(1, at(0), vec![])).await.unwrap();
    tokio::task::block_in_place(|| server.configure("synchronous_standby_names", "nobody"));
    let accept = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.accept(new_event(2, at(0), vec![])).await.map(drop) })
    };
    let record = Record { kind: RecordKind::Group, id: "a".to_owned(), consumer: None, sealed: vec![1] };
    let change = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.change(vec![RecordChange::Put(record)]).await })
    };
    tokio::task::block_in_place(|| {
        let waiting =
            "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'";
        assert_eq!(server.wait_for("postgres", &format!("SELECT count(*) {waiting}"), "2"), "2");
        server.execute("postgres", &format!("SELECT pg_cancel_backend(pid) {waiting}"));
    });
    for answer in [accept.await.unwrap(), change.await.unwrap()] {
        assert_eq!(answer.unwrap_err().code(), "store.unavailable");
    }
    tokio::task::block_in_place(|| server.configure("synchronous_standby_names", ""));
    store.accept(new_event(3, at(0), vec![])).await.unwrap();
    assert!(store.event(event_id(3)).await.unwrap().is_some());
}

/// A node works by what it was shown. That must not be mistaken for something else that has the same number since.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_the_standby_never_had_are_not_mistaken_for_what_came_in_their_place() {
    let mut primary = Postgres::start();
    let database = primary.create_database("behind");
    let mut standby = primary.standby("s1");
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let store = PostgresStore::open(&subject::settings(&url)).await.unwrap();
    let cluster = store.cluster().unwrap();
    let put = |id: &str| {
        let (kind, id) = (RecordKind::Group, id.to_owned());
        vec![RecordChange::Put(Record { kind, id, consumer: None, sealed: vec![1] })]
    };
    store.change(put("kept")).await.unwrap();
    let kept = tokio::task::block_in_place(|| standby.wait_for(&database, "SELECT id FROM records", "kept"));
    assert_eq!(kept, "kept");
    tokio::task::block_in_place(|| standby.stop());
    store.change(put("lost")).await.unwrap();
    assert_eq!(cluster.configured_after(0).await.unwrap().version, 2);
    tokio::task::block_in_place(|| {
        primary.kill();
        standby.restart();
        standby.promote();
    });
    let change = async { while store.change(put("other")).await.is_err() {} };
    timeout(PATIENCE, change).await.expect("the store goes on by itself");
    let late = [vec![RecordChange::OnlyAt(2)], put("on top of what is lost")].concat();
    let superseded = store.change(late.clone()).await;
    assert!(matches!(superseded, Err(StoreError::Superseded)), "{superseded:?}");
    assert!(cluster.configured_after(2).await.unwrap().version < 2, "who was shown version 2 reads anew");
    let all = cluster.configured_after(0).await.unwrap();
    assert_eq!((all.version, all.put.len()), (2, 2));
    assert_eq!(cluster.configured_after(2).await.unwrap().version, 2);
    store.change(late).await.unwrap();
}

/// Without its route nobody finds the deliveries of an endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_the_standby_never_heard_of_is_made_known_again() {
    let subject = subject::postgres().await;
    let (store, server) = (&subject.store, Postgres::shared());
    let database = subject.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    // What happened last is lost with the primary, and all connections with it.
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    tokio::task::block_in_place(|| {
        server.execute(&database, "TRUNCATE routes, events, contents, event_keys, deliveries, delivery_live");
        server.execute("postgres", &cut);
    });
    let accept =
        async { while store.accept(new_event(2, at(0), vec![new_delivery(2, 1, at(0))])).await.is_err() {} };
    timeout(PATIENCE, accept).await.expect("the store goes on by itself");
    let work = store.endpoints_with_work(Shards::ALL).await.unwrap();
    assert_eq!(work.iter().map(|work| work.endpoint).collect::<Vec<_>>(), [endpoint_id(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_have_missed_words_is_told_so() {
    let subject = subject::postgres().await;
    let database = subject.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    let mut heard = subject.store.cluster().unwrap().hints();
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    let lost = async {
        loop {
            // Its connection may not have been there yet.
            tokio::task::block_in_place(|| Postgres::shared().execute("postgres", &cut));
            match timeout(Duration::from_secs(3), heard.recv()).await {
                Ok(Ok(Hint::Lost)) => return,
                Ok(Ok(other)) => panic!("{other:?}"),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    };
    timeout(PATIENCE, lost).await.expect("it listens again and says that words were lost");
    // Everything else goes on, too.
    let works = async { while subject.store.accept(new_event(1, at(0), vec![])).await.is_err() {} };
    timeout(PATIENCE, works).await.expect("it connects again");
}

#[tokio::test]
async fn a_holder_of_the_turn_who_says_nothing_loses_it() {
    let shared = subject::shared_postgres().await;
    let [one, two] = shared.stores.each_ref().map(|store| store.cluster().unwrap());
    // As a process that is stopped: it neither gives it back nor closes its connection.
    std::mem::forget(one.turn().await.unwrap());
    timeout(PATIENCE, two.turn()).await.expect("it is taken from it").unwrap();
}
