//! `waxseal move`: all that was in the embedded store is in the database, whatever happened on the way, and nothing is
//! begun that cannot be finished.

mod everything;
mod refusals;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use waxseal_keys::{Clock, EncryptionKeyType, SystemClock, Timestamp};
use waxseal_sender::database::Database;
use waxseal_sender::id::{AuditId, ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState, LiveDelivery};
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{
    AuditRow, Catalog, DataKeyRecord, Idempotency, KeyRecords, NewDelivery, NewEvent, Outbox, Outcome,
    Record, RecordChange, RecordKind, Settlement,
};
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::{SenderFolder, free_port};

use crate::backup::all_taken;
use crate::support::{TYPE, endpoint, key, publish, register, trusted_endpoint};
use everything::{Names, everything};

/// Runs `waxseal move`; returns its status and everything that it said.
pub(crate) fn move_store(from: &Path, to: &str, more: &[&str]) -> (i32, String) {
    let output = command(from, to).args(more).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn command(from: &Path, to: &str) -> Command {
    let mut command = Command::new(program("waxseal"));
    command.args(["move", "--from", &format!("sqlite://{}", from.display()), "--to", to]);
    command
}

/// A database that nobody has used.
pub(crate) fn empty() -> (String, String) {
    let server = Postgres::shared();
    let name = server.create_database("moving");
    (server.dsn(&name), name)
}

pub(crate) async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(&Database::parse(url, Path::new(""), None).unwrap()).await.unwrap()
}

/// The file as it is, under another name: what was moved is not opened any more.
pub(crate) fn copy(store: &Path) -> PathBuf {
    let copy = store.with_extension("copy");
    std::fs::copy(store, &copy).unwrap();
    copy
}

/// Compares all that both stores tell.
async fn compare(copy: &Path, url: &str) {
    let names = Names::of(copy);
    let before = SqliteStore::open(copy).unwrap();
    let after = open(url).await;
    let (before_all, after_all) = (everything(&before, &names).await, everything(&after, &names).await);
    assert!(before_all.len() > 10, "{before_all:?}");
    for (before, after) in before_all.iter().zip(&after_all) {
        assert_eq!(before, after);
    }
    assert_eq!(before_all.len(), after_all.len());
    before.close().await;
    after.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_goes_on_in_the_database_where_it_was_on_one_machine() {
    let folder = SenderFolder::init("[delivery]\nretry = [\"300ms\", \"1h\", \"1h\"]", None);
    let mut sender = folder.start().await;
    let (own, public) = key(EncryptionKeyType::X25519);
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["signed", "sealed", "paused"],
        protection: "either",
        keys: &[own],
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    });
    let api = &sender.api;
    for name in ["acme", "sealing", "down", "unproven"] {
        register(api, name).await;
    }
    let paused = endpoint(api, "acme", &consumer.url("paused"), "signed", None).await;
    endpoint(api, "acme", &consumer.url("signed"), "signed", None).await;
    endpoint(api, "acme", &consumer.url("sealed"), "sealed", Some(json!({ "jwks": public }))).await;
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let down = trusted_endpoint(api, "down", &nobody, "signed", None).await;
    endpoint(api, "unproven", &nobody, "signed", None).await;
    api.post(&format!("/v1/endpoints/{paused}/pause"), Value::Null).await;

    let repeated = json!({ "type": TYPE, "data": { "n": "once" }, "to": { "consumer": "acme" } });
    let first = with_key(&folder, &repeated).await;
    let mut ids = vec![first.clone()];
    for n in 0..20 {
        ids.push(publish(api, "acme", json!({ "n": n })).await);
        publish(api, "unproven", json!({ "n": n })).await;
        publish(api, "down", json!({ "n": n })).await;
    }
    all_taken(&consumer, &ids).await;
    api.until(&format!("/v1/deliveries?endpoint={down}&state=retrying"), |page| {
        // The breaker lets no more of them be tried soon.
        page["data"].as_array().unwrap().len() >= 3
    })
    .await;
    let of_down = api.get(&format!("/v1/deliveries?endpoint={down}")).await;
    for delivery in of_down["data"].as_array().unwrap().iter().take(5) {
        api.post(&format!("/v1/deliveries/{}/cancel", delivery["id"].as_str().unwrap()), Value::Null).await;
    }
    consumer.until_taken(ids.len() * 2).await;
    let taken_before = consumer.taken().len();
    sender.process.end();

    let store = folder.file("waxseal.db");
    let copy = copy(&store);
    let (url, _) = empty();
    let (status, said) = move_store(&store, &url, &[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Moved ") && said.contains("key-encryption key is the same"), "{said}");
    compare(&copy, &url).await;

    let sender = folder.start_with(&["--store", &url]).await;
    assert_eq!(with_key(&folder, &repeated).await, first);
    let more = publish(&sender.api, "acme", json!({ "n": "after" })).await;
    // What was taken before is not made again: there are only the new one at both endpoints, and what was paused.
    sender.api.post(&format!("/v1/endpoints/{paused}/resume"), Value::Null).await;
    ids.push(more);
    let all = consumer.until_taken(taken_before + 2 + ids.len()).await;
    let of_paused: HashSet<_> =
        all.iter().filter(|taken| taken.scope == "paused").map(|taken| taken.id.clone()).collect();
    assert_eq!(of_paused, ids.iter().cloned().collect::<HashSet<_>>());
    assert_eq!(all.len(), ids.len() * 3);
    let of_down = sender.api.get(&format!("/v1/deliveries?endpoint={down}")).await;
    let of_down = of_down["data"].as_array().unwrap();
    let cancelled = of_down.iter().filter(|delivery| delivery["state"] == "cancelled").count();
    assert_eq!((of_down.len(), cancelled), (20, 5));
    assert!(sender.process.stop().success());
}

/// Publishes with an idempotency key; returns the event's id.
async fn with_key(folder: &SenderFolder, body: &Value) -> String {
    let answer = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = answer.post(format!("{}/v1/events", folder.origin)).bearer_auth(&folder.token);
    let answer = answer.header("Idempotency-Key", "the same").json(body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_killed_anywhere_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 4_200).await;
    let copy = copy(&store);
    let (url, database) = empty();
    for said in [
        "counting attempts",
        "moving routes",
        "moving events",
        "moving deliveries",
        "moving live deliveries",
        "moving idempotency",
        "comparing attempts",
    ] {
        let mut moving = Process::start("waxseal move", &mut command(&store, &url));
        while !moving.log().contains(said) && moving.ended().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        moving.kill();
    }
    // The last moment of all: everything is there, and nobody may use either yet.
    let (status, said) = move_store(&store, &url, &[]);
    assert_eq!(status, 0, "{said}");
    Postgres::shared().execute(&database, "UPDATE moving SET finished_at = NULL");
    let (status, said) = move_store(&store, &url, &[]);
    assert_eq!(status, 0, "{said}");
    compare(&copy, &url).await;
    let (status, said) = move_store(&store, &url, &[]);
    assert!(status == 0 && said.contains("nothing was done"), "{status} {said}");
}

/// A store with something of everything, and more than one page of most; returns its file.
pub(crate) async fn filled(folder: &Path, events: u32) -> PathBuf {
    let path = folder.join("waxseal.db");
    let store = SqliteStore::open(&path).unwrap();
    let now = SystemClock.now();
    let consumers: Vec<ConsumerId> =
        (0..7).map(|number| ConsumerId::parse(&format!("consumer-{number}")).unwrap()).collect();
    store.save_ring(None, vec![1; 900], Vec::new()).await.unwrap();
    let first = store.ring().await.unwrap();
    store.save_ring(first, vec![2; 900], Vec::new()).await.unwrap();
    for consumer in consumers.iter().map(Some).chain([None]) {
        let key =
            DataKeyRecord { consumer: consumer.cloned(), kek_id: "kek".to_owned(), wrapped: vec![3; 60] };
        store.keep_data_key(key).await.unwrap();
        let name = consumer.map_or("none", ConsumerId::as_str);
        for kind in [RecordKind::Consumer, RecordKind::EndpointHealth] {
            let record = Record {
                kind,
                id: name.to_owned(),
                consumer: consumer.cloned(),
                sealed: name.as_bytes().to_vec(),
            };
            let row = AuditRow {
                id: AuditId::generate(now),
                actor: "token".to_owned(),
                action: "consumer.create".to_owned(),
                object: format!("consumer {name}"),
                consumer: consumer.cloned(),
                sealed: vec![4; 30],
            };
            store.change(vec![RecordChange::Put(record), RecordChange::Audit(row)]).await.unwrap();
        }
    }
    let endpoints: Vec<_> = consumers.iter().map(|consumer| (consumer, EndpointId::generate(now))).collect();
    let ages = [Duration::ZERO, Duration::from_secs(3 * 86_400), Duration::from_secs(40 * 86_400)];
    let store = Arc::new(store);
    let mut accepting = tokio::task::JoinSet::new();
    for number in 0..events {
        let pick = usize::try_from(number).unwrap();
        let at = now.saturating_sub(ages[pick % ages.len()]);
        let (consumer, endpoint) = endpoints[pick % endpoints.len()];
        let (store, consumer) = (Arc::clone(&store), consumer.clone());
        accepting.spawn(async move { accept(&store, number, at, consumer, endpoint).await });
    }
    accepting.join_all().await;
    store.close().await;
    path
}

async fn accept(store: &SqliteStore, number: u32, at: Timestamp, consumer: ConsumerId, endpoint: EndpointId) {
    let (event, id) = (EventId::generate(at), DeliveryId::generate(at));
    let fill = u8::try_from(number % 251).unwrap();
    let mut key = [fill; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let expires_at = number.is_multiple_of(5).then(|| at.saturating_add(Duration::from_secs(90 * 86_400)));
    let due_at = at.saturating_add(Duration::from_secs(u64::from(number % 100)));
    let new = NewEvent {
        id: event,
        accepted_at: at,
        expires_at,
        event_type: "order.created".to_owned(),
        sealed: vec![fill; 1_500],
        wrapped_keys: vec![(consumer.clone(), vec![fill; 60])],
        deliveries: vec![NewDelivery { id, endpoint, consumer: consumer.clone(), due_at, expires_at }],
        idempotency: Some(Idempotency { key, content: [fill; 32], expires_at: due_at }),
        changes: Vec::new(),
    };
    store.accept(new).await.unwrap();
    let live = LiveDelivery { id, event, endpoint, consumer, due_at, attempts_made: 0, expires_at };
    let attempt = Attempt {
        number: 1,
        started_at: at,
        duration_ms: 12,
        status: Some(503),
        result: "refused".to_owned(),
        signing_kid: "kid".to_owned(),
        encryption_kid: None,
        excerpt: vec![fill; 40],
        next_at: Some(due_at),
        clock_skew_seconds: Some(-3),
    };
    let outcome = match number % 4 {
        0 => return,
        1 => (Some(attempt), Outcome::Again { due_at: due_at.saturating_add(Duration::from_secs(60)) }),
        2 => (Some(attempt), Outcome::Final(DeliveryState::Delivered)),
        _ => (None, Outcome::Final(DeliveryState::Cancelled)),
    };
    let settlement =
        Settlement { delivery: live, attempt: outcome.0, outcome: outcome.1, at, changes: Vec::new() };
    store.settle(settlement).await.unwrap();
}
