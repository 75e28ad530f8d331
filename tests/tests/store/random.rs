//! Random commands: the stores and the model must give the same answers, reopening included.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use waxseal_sender::model::delivery::LiveDelivery;
use waxseal_sender::store::{
    AuditFilter, DataKeyRecord, DeliveryFilter, DuePosition, NewDelivery, NewEvent, Outcome, Record,
    RecordChange, RecordKind, RewrappedKeys, RingRecord, Settlement, Shards, Store, StoreError,
};
use waxseal_tests::store_model::StoreModel;
use waxseal_tests::store_suite::Subject;
use waxseal_tests::store_suite::aging::prune_all;
use waxseal_tests::store_suite::fixture::{
    at, audit_id, audit_row, consumer, delivery_id, end_without_attempt, endpoint_id, event_id, idempotency,
    live, new_delivery, new_event, owner_of, settlement,
};

use crate::steps::{Step, step};
use crate::subject;

#[test]
fn the_embedded_store_and_the_model_agree() {
    agree(48, subject::sqlite);
}

#[test]
fn the_shared_store_and_the_model_agree() {
    agree(12, subject::postgres);
}

/// Two nodes take turns, whatever each of them remembers of what it did itself.
#[test]
fn two_nodes_of_the_shared_store_and_the_model_agree() {
    let walks = vec((step(), any::<bool>()), 1..100);
    run(6, &walks, async |steps| {
        let shared = subject::shared_postgres().await;
        let (model, mut walker) = (StoreModel::default(), Walker::default());
        for (now, (step, second)) in (0..).zip(&steps) {
            let before = walker.clone();
            let expected = walker.take(&model, step, now).await.unwrap();
            walker = before;
            let store = &shared.stores[usize::from(*second)];
            let answer = walker.take(store, step, now).await.unwrap();
            assert_eq!(answer, expected, "{step:?}");
        }
        for store in &shared.stores {
            assert_eq!(image(store, &walker).await, image(&model, &walker).await);
            store.close().await;
        }
    });
}

fn agree<S: Subject, F: Future<Output = S>>(cases: u32, subject: impl Fn() -> F) {
    run(cases, &vec(step(), 1..120), async |steps| walk(subject().await, &steps).await);
}

/// Judges so many random walks.
pub fn run<W: Strategy>(cases: u32, walks: &W, judge: impl AsyncFn(W::Value)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(walks, |steps| {
            runtime.block_on(judge(steps));
            Ok(())
        })
        .unwrap();
}

async fn walk(mut subject: impl Subject, steps: &[Step]) {
    let model = StoreModel::default();
    let mut walker = Walker::default();
    for (now, step) in (0..).zip(steps) {
        if matches!(step, Step::Reopen) {
            subject.reopen().await;
        }
        let before = walker.clone();
        let expected = walker.take(&model, step, now).await.unwrap();
        // The second takes the same step with the same names.
        walker = before;
        assert_eq!(walker.take(subject.store(), step, now).await.unwrap(), expected, "{step:?}");
    }
    assert_eq!(image(subject.store(), &walker).await, image(&model, &walker).await);
}

/// What has been named so far, and what is known of each delivery: enough to settle it rightly or wrongly.
#[derive(Clone, Debug, Default)]
pub struct Walker {
    events: u32,
    deliveries: Vec<LiveDelivery>,
}

impl Walker {
    /// Takes a step; says what was answered.
    pub async fn take(&mut self, store: &dyn Store, step: &Step, now: i64) -> Result<String, StoreError> {
        Ok(match step.clone() {
            Step::Accept { endpoints, due, expiry, key } => {
                let event = NewEvent {
                    idempotency: key.map(|(key, content)| idempotency(key, content, at(now + 20))),
                    ..self.event(&endpoints, due, expiry, now)
                };
                format!("{:?}", store.accept(event).await?)
            }
            Step::Settle { pick, attempts_off, tried, outcome, with_change } => {
                if self.deliveries.is_empty() {
                    return Ok(String::new());
                }
                let pick = pick % self.deliveries.len();
                let settlement = self.settlement(pick, attempts_off, tried, outcome, with_change, now);
                let settled = store.settle(settlement).await?;
                if format!("{settled:?}") == "Recorded" && tried {
                    self.deliveries[pick].attempts_made += 1;
                }
                format!("{settled:?}")
            }
            Step::Redeliver { events, endpoint, due } => {
                let deliveries = events.into_iter().map(|event| {
                    let delivery = new_delivery(self.name_delivery(event, endpoint, due), endpoint, at(due));
                    (delivery, event_id(event))
                });
                let deliveries = deliveries.collect();
                let made = store.redeliver(deliveries, vec![change(2, false, now)]).await;
                match made {
                    // It does not say whether anything was done.
                    Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                    made => format!("{:?}", made.map_err(|error| error.code())),
                }
            }
            Step::Cancel { endpoints, most } => {
                let endpoints = endpoints.into_iter().map(endpoint_id).collect();
                format!("{:?}", store.cancel(endpoints, most, at(now)).await?)
            }
            Step::Change { id, remove } => {
                let entry = RecordChange::Audit(audit_row(u32::try_from(now).unwrap()));
                format!("{:?}", store.change(vec![change(id, remove, now), entry]).await?)
            }
            Step::SaveRing { expected, other } => {
                let entry = RecordChange::Audit(audit_row(u32::try_from(1_000 + now).unwrap()));
                let sealed = now.to_be_bytes().to_vec();
                let mut content = store.ring().await?.map_or(Vec::new(), |ring| ring.sealed);
                content.extend(other.then_some(7));
                let before = (expected > 0).then_some(RingRecord { version: expected, sealed: content });
                format!("{:?}", store.save_ring(before, sealed, vec![entry]).await?)
            }
            Step::KeepKey { owner } => {
                let consumer = (owner > 0).then(|| consumer(owner));
                let key =
                    DataKeyRecord { consumer, kek_id: "kek".to_owned(), wrapped: now.to_be_bytes().to_vec() };
                format!("{:?}", store.keep_data_key(key).await?)
            }
            Step::DestroyKey { owner } => {
                format!("{:?}", store.destroy_data_key(consumer(owner)).await?)
            }
            Step::Rewrap { ring, forget } => {
                let mut data_keys = store.data_keys().await?;
                data_keys.sort_by(|a, b| a.consumer.cmp(&b.consumer));
                data_keys.truncate(data_keys.len().saturating_sub(usize::from(forget)));
                for key in &mut data_keys {
                    key.wrapped.push(7);
                }
                let ring = ring.map(|version| RingRecord { version, sealed: now.to_be_bytes().to_vec() });
                format!("{:?}", store.rewrap(RewrappedKeys { ring, data_keys, changes: Vec::new() }).await?)
            }
            Step::Due { endpoint, until, after, limit } => {
                let after =
                    after.map(|(due, number)| DuePosition { due_at: at(due), id: delivery_id(number) });
                let (endpoint, after_id) = (endpoint_id(endpoint), after.map(|after| after.id));
                let due = store.due(endpoint, after, at(until), limit).await?;
                format!("{due:?} {:?}", store.in_order(endpoint, after_id, limit).await?)
            }
            Step::List { filter } => format!("{:?}", store.deliveries(filter).await?),
            Step::Expired => {
                // Those that run out at the same time have no order among each other.
                let mut expired = store.expired(Shards::ALL, at(now), 1_000).await?;
                expired.sort_by_key(|live| (live.expires_at, live.id));
                format!("{expired:?}")
            }
            Step::Redate { endpoint, back, limit } => {
                let (set, latest) = (at(now - back), at(now - back / 2));
                let redated = store.redate(endpoint_id(endpoint), set, latest, None, limit).await;
                format!("{:?}", redated?)
            }
            Step::Prune { kept, until, limit } => {
                format!("{:?}", prune_all(store, kept, at(until), limit).await)
            }
            Step::Failures { from, until } => failures(store, from, until).await,
            Step::Audit { filter } => format!("{:?}", store.audit(filter).await?),
            Step::ForgetAudit { before, limit } => {
                format!("{:?}", store.forget_audit(audit_id(before).made_at(), limit).await?)
            }
            Step::Reopen => image(store, self).await,
        })
    }

    fn event(&mut self, endpoints: &[u32], due: i64, expiry: Option<i64>, now: i64) -> NewEvent {
        let event = self.events;
        self.events += 1;
        let deliveries = endpoints
            .iter()
            .map(|endpoint| NewDelivery {
                expires_at: expiry.map(at),
                ..new_delivery(self.name_delivery(event, *endpoint, due), *endpoint, at(due))
            })
            .collect();
        NewEvent { expires_at: expiry.map(at), ..new_event(event, at(now), deliveries) }
    }

    fn name_delivery(&mut self, event: u32, endpoint: u32, due: i64) -> u32 {
        let number = u32::try_from(self.deliveries.len()).unwrap();
        self.deliveries.push(live(number, event, endpoint, at(due), 0));
        number
    }

    fn settlement(
        &self,
        pick: usize,
        attempts_off: bool,
        tried: bool,
        outcome: Outcome,
        with_change: bool,
        now: i64,
    ) -> Settlement {
        let mut known = self.deliveries[pick].clone();
        known.attempts_made += u32::from(attempts_off);
        let settled = if tried {
            settlement(known, outcome, at(now))
        } else {
            end_without_attempt(known, outcome, at(now))
        };
        Settlement { changes: with_change.then(|| change(1, false, now)).into_iter().collect(), ..settled }
    }
}

/// Everything that can be asked.
pub async fn image(store: &dyn Store, walker: &Walker) -> String {
    let mut records = store.records().await.unwrap();
    records.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
    let mut work = store.endpoints_with_work(Shards::ALL).await.unwrap();
    work.sort_by_key(|work| work.endpoint);
    let mut keys = store.data_keys().await.unwrap();
    keys.sort_by(|a, b| a.consumer.cmp(&b.consumer));
    let everything = DeliveryFilter { limit: 10_000, ..DeliveryFilter::default() };
    let deliveries = store.deliveries(everything).await.unwrap().deliveries;
    let mut text = format!("{records:#?}{work:#?}{keys:#?}{deliveries:#?}");
    text += &format!("{:?}{:?}", store.ring().await.unwrap(), store.backlog().await.unwrap());
    let trail = AuditFilter { limit: 10_000, ..AuditFilter::default() };
    text += &format!("{:?}", store.audit(trail).await.unwrap());
    for delivery in &deliveries {
        text += &format!("{:?}", store.attempts(delivery.id).await.unwrap());
    }
    let owners = (0..3).map(owner_of);
    let wanted =
        owners.flat_map(|owner| (0..walker.events).map(move |event| (event_id(event), owner.clone())));
    text += &format!("{:?}", store.payloads(wanted.collect()).await.unwrap());
    for event in 0..walker.events {
        text += &format!("{:?}", store.event(event_id(event)).await.unwrap());
    }
    text
}

fn change(id: u8, remove: bool, now: i64) -> RecordChange {
    let (kind, id) = (RecordKind::Endpoint, format!("ep{id}"));
    match remove {
        true => RecordChange::Remove { kind, id },
        false => RecordChange::Put(Record { kind, id, consumer: None, sealed: now.to_be_bytes().to_vec() }),
    }
}

/// They come in no particular order.
async fn failures(store: &dyn Store, from: i64, until: i64) -> String {
    let mut found = store.failures(at(from), at(until)).await.unwrap();
    found.counts.sort_by_key(|count| format!("{count:?}"));
    format!("{found:?}")
}
