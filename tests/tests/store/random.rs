//! Random commands: the stores and the model must give the same answers, reopening included.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use waxseal_sender::model::delivery::{DeliveryState, LiveDelivery};
use waxseal_sender::store::{
    AuditFilter, DataKeyRecord, DeliveryFilter, DuePosition, Kept, NewDelivery, NewEvent, Order, Outcome,
    Record, RecordChange, RecordKind, RewrappedKeys, RingRecord, Settlement, Shards, Store, StoreError,
};
use waxseal_tests::store_model::StoreModel;
use waxseal_tests::store_suite::Subject;
use waxseal_tests::store_suite::aging::prune_all;
use waxseal_tests::store_suite::fixture::{
    at, audit_id, audit_row, consumer, delivery_id, end_without_attempt, endpoint_id, event_id, idempotency,
    live, new_delivery, new_event, owner_of, settlement,
};

use crate::subject;

/// One step. Numbers are small, so that steps meet.
#[derive(Clone, Debug)]
pub enum Step {
    Accept { endpoints: Vec<u32>, due: i64, expiry: Option<i64>, key: Option<(u8, u8)> },
    Settle { pick: usize, attempts_off: bool, tried: bool, outcome: Outcome, with_change: bool },
    Redeliver { events: Vec<u32>, endpoint: u32, due: i64 },
    Cancel { endpoints: Vec<u32>, most: u32 },
    Change { id: u8, remove: bool },
    SaveRing { expected: u64, other: bool },
    KeepKey { owner: u32 },
    DestroyKey { owner: u32 },
    Rewrap { ring: Option<u64>, forget: bool },
    Due { endpoint: u32, until: i64, after: Option<(i64, u32)>, limit: u32 },
    Expired,
    Failures { from: i64, until: i64 },
    Audit { filter: AuditFilter },
    ForgetAudit { before: u32, limit: u32 },
    List { filter: DeliveryFilter },
    Redate { endpoint: u32, back: i64, limit: u32 },
    Prune { kept: Kept, until: i64, limit: u32 },
    Reopen,
}

impl Step {
    /// Whether it writes, once: it is done as a whole or not at all.
    pub fn is_one_write(&self) -> bool {
        match self {
            Self::Accept { .. }
            | Self::Settle { .. }
            | Self::Redeliver { .. }
            | Self::Cancel { .. }
            | Self::Change { .. }
            | Self::SaveRing { .. }
            | Self::KeepKey { .. }
            | Self::DestroyKey { .. }
            | Self::Rewrap { .. }
            | Self::Redate { .. }
            | Self::ForgetAudit { .. } => true,
            Self::Due { .. }
            | Self::Expired
            | Self::Failures { .. }
            | Self::Audit { .. }
            | Self::List { .. }
            | Self::Prune { .. }
            | Self::Reopen => false,
        }
    }
}

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

/// Any step.
pub fn step() -> impl Strategy<Value = Step> {
    let due = 0..60_i64;
    prop_oneof![
        6 => (vec(0..5_u32, 0..4), due.clone(), proptest::option::of(0..90_i64), proptest::option::of((0..3_u8, 0..2_u8)))
            .prop_map(|(endpoints, due, expiry, key)| Step::Accept { endpoints, due, expiry, key }),
        2 => Just(Step::Expired),
        2 => (0..120_i64, 0..120_i64).prop_map(|(from, until)| Step::Failures { from, until }),
        10 => (any::<usize>(), proptest::bool::weighted(0.1), any::<bool>(), outcome(), proptest::bool::weighted(0.2))
            .prop_map(|(pick, attempts_off, tried, outcome, with_change)| Step::Settle {
                pick, attempts_off, tried, outcome, with_change
            }),
        1 => (vec(0..9_u32, 0..3), 0..5_u32, due.clone())
            .prop_map(|(events, endpoint, due)| Step::Redeliver { events, endpoint, due }),
        1 => (vec(0..5_u32, 0..3), 0..4_u32).prop_map(|(endpoints, most)| Step::Cancel { endpoints, most }),
        1 => (0..3_u8, any::<bool>()).prop_map(|(id, remove)| Step::Change { id, remove }),
        1 => (0..4_u64, proptest::bool::weighted(0.2))
            .prop_map(|(expected, other)| Step::SaveRing { expected, other }),
        1 => (0..3_u32).prop_map(|owner| Step::KeepKey { owner }),
        1 => (1..3_u32).prop_map(|owner| Step::DestroyKey { owner }),
        1 => (proptest::option::of(1..4_u64), proptest::bool::weighted(0.2))
            .prop_map(|(ring, forget)| Step::Rewrap { ring, forget }),
        3 => (0..5_u32, due.clone(), proptest::option::of((due, 0..20_u32)), 0..6_u32)
            .prop_map(|(endpoint, until, after, limit)| Step::Due { endpoint, until, after, limit }),
        2 => audit_filter().prop_map(|filter| Step::Audit { filter }),
        1 => (0..120_u32, 0..9_u32).prop_map(|(before, limit)| Step::ForgetAudit { before, limit }),
        4 => filter().prop_map(|filter| Step::List { filter }),
        1 => (0..5_u32, 0..60_i64, 1..5_u32)
            .prop_map(|(endpoint, back, limit)| Step::Redate { endpoint, back, limit }),
        2 => (any::<bool>(), 0..120_i64, 1..5_u32).prop_map(|(content, until, limit)| Step::Prune {
            kept: if content { Kept::Contents } else { Kept::Records },
            until,
            limit,
        }),
        1 => Just(Step::Reopen),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (0..90_i64).prop_map(|due| Outcome::Again { due_at: at(due) }),
        proptest::sample::select(&FINAL[..]).prop_map(Outcome::Final),
    ]
}

fn filter() -> impl Strategy<Value = DeliveryFilter> {
    use proptest::option::of;
    let states = [&FINAL[..], &[DeliveryState::Pending, DeliveryState::Retrying]].concat();
    let who = (of(0..9_u32), of(0..6_u32), of(0..4_u32));
    let what = (vec(proptest::sample::select(states), 0..3), of(0..4_u32));
    let place = (of(0..30_u32), of(0..30_u32), any::<bool>(), 0..9_u32);
    (who, what, place).prop_map(|(who, what, (after, before, oldest, limit))| DeliveryFilter {
        event: who.0.map(event_id),
        endpoint: who.1.map(endpoint_id),
        consumer: who.2.map(consumer),
        states: what.0,
        event_types: what.1.map(|kind| format!("order.kind{kind}")).into_iter().collect(),
        after: after.map(delivery_id),
        before: before.map(delivery_id),
        order: if oldest { Order::OldestFirst } else { Order::NewestFirst },
        limit,
    })
}

fn audit_filter() -> impl Strategy<Value = AuditFilter> {
    use proptest::option::of;
    let who = (of(0..3_u32), of(0..7_u32), of(0..2_u32), any::<bool>());
    let place = (of(0..120_u32), of(0..120_u32), 0..9_u32);
    (who, place).prop_map(|((owner, object, actor, pauses), (after, before, limit))| AuditFilter {
        consumer: owner.map(consumer),
        object: object.map(|number| format!("object-{number}")),
        actor: actor.map(|number| format!("actor-{number}")),
        action: pauses.then(|| "endpoint.pause".to_owned()),
        after: after.map(audit_id),
        before: before.map(audit_id),
        limit,
    })
}

const FINAL: [DeliveryState; 5] = [
    DeliveryState::Delivered,
    DeliveryState::Exhausted,
    DeliveryState::Expired,
    DeliveryState::Refused,
    DeliveryState::Cancelled,
];
