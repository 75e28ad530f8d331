//! All that a store tells through its traits, to be compared with what another one tells.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::path::Path;

use waxseal_keys::Timestamp;
use waxseal_sender::id::{ConsumerId, EventId};
use waxseal_sender::store::{AuditFilter, DeliveryFilter, Idempotency, Order, Shards, Store};

/// What is not listed by any method: it is looked up in the source's own tables.
pub struct Names {
    events: Vec<EventId>,
    idempotency: Vec<Idempotency>,
}

impl Names {
    /// Of the store in this file, which nobody has open.
    pub fn of(path: &Path) -> Self {
        let source = rusqlite::Connection::open(path).unwrap();
        let mut events = source.prepare("SELECT id FROM events ORDER BY id").unwrap();
        let events = events.query_map([], |row| Ok(EventId::from_bytes(row.get(0)?))).unwrap();
        let mut keys =
            source.prepare("SELECT key, content, expires_at FROM idempotency ORDER BY key").unwrap();
        let keys = keys.query_map([], |row| {
            let expires_at = Timestamp::from_millis(row.get(2)?);
            Ok(Idempotency { key: row.get(0)?, content: row.get(1)?, expires_at })
        });
        Self {
            events: events.map(Result::unwrap).collect(),
            idempotency: keys.unwrap().map(Result::unwrap).collect(),
        }
    }
}

/// Everything, as lines of text that can be compared.
pub async fn everything(store: &dyn Store, names: &Names) -> Vec<String> {
    let mut all = Lines::default();
    all.sorted("record", store.records().await.unwrap(), |record| (record.kind.name(), record.id.clone()));
    all.one("ring", store.ring().await.unwrap());
    all.sorted("data key", store.data_keys().await.unwrap(), |key| key.consumer.clone());
    for event in &names.events {
        let summary = store.event(*event).await.unwrap().expect("every event is there");
        let wanted: Vec<(EventId, ConsumerId)> =
            summary.consumers.iter().map(|consumer| (*event, consumer.clone())).collect();
        all.one("event", &summary);
        all.sorted("payload", store.payloads(wanted).await.unwrap(), |payload| payload.consumer.clone());
    }
    deliveries(store, &mut all).await;
    live(store, &mut all).await;
    for key in &names.idempotency {
        all.one("repetition", store.accepted_earlier(key.clone(), Timestamp::from_millis(0)).await.unwrap());
    }
    let mut before = None;
    loop {
        let page = store.audit(AuditFilter { before, limit: 100, ..AuditFilter::default() }).await.unwrap();
        before = page.rows.last().map(|row| row.id);
        all.one("audit", page);
        if before.is_none() {
            break;
        }
    }
    let failures =
        store.failures(Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX / 2)).await.unwrap();
    all.one("failures", failures);
    all.0
}

async fn deliveries(store: &dyn Store, all: &mut Lines) {
    let mut filter = DeliveryFilter { order: Order::OldestFirst, limit: 200, ..DeliveryFilter::default() };
    loop {
        let page = store.deliveries(filter.clone()).await.unwrap();
        for delivery in &page.deliveries {
            all.one("delivery", delivery);
            all.one("attempts", store.attempts(delivery.id).await.unwrap());
        }
        let Some(last) = page.deliveries.last().map(|delivery| delivery.id).or(page.reached) else { return };
        filter = filter.behind(last);
    }
}

/// What is not over, in each order in which it is read.
async fn live(store: &dyn Store, all: &mut Lines) {
    let mut work = store.endpoints_with_work(Shards::ALL).await.unwrap();
    work.sort_by_key(|work| work.endpoint);
    let endpoints: BTreeSet<_> = work.iter().map(|work| work.endpoint).collect();
    all.one("work", work);
    for endpoint in endpoints {
        let until = Timestamp::from_millis(i64::MAX / 2);
        all.one("due", store.due(endpoint, None, until, 10_000).await.unwrap());
        all.one("in order", store.in_order(endpoint, None, 10_000).await.unwrap());
    }
    let later = Timestamp::from_millis(i64::MAX / 2);
    all.sorted("expired", store.expired(Shards::ALL, later, 10_000).await.unwrap(), |live| live.id);
    all.one("backlog", store.backlog().await.unwrap());
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn one(&mut self, what: &str, value: impl Debug) {
        let mut line = String::new();
        write!(line, "{what} {value:?}").unwrap();
        self.0.push(line);
    }

    fn sorted<T: Debug, K: Ord>(&mut self, what: &str, mut values: Vec<T>, key: impl Fn(&T) -> K) {
        values.sort_by_key(key);
        for value in values {
            self.one(what, value);
        }
    }
}
