//! The random commands: what can be done with a store and asked of it, and how often.

use proptest::collection::vec;
use proptest::prelude::*;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::{AuditFilter, DeliveryFilter, Kept, Order, Outcome};
use waxseal_tests::store_suite::fixture::{at, audit_id, consumer, delivery_id, endpoint_id, event_id};

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
