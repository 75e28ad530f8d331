//! Properties of the audit trail.

use waxseal_sender::id::AuditId;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::{
    Accepted, AuditFilter, AuditRow, NewEvent, Outcome, RecordChange, Settled, Settlement, Store, StoreError,
};

use super::Subject;
use super::fixture::{
    at, audit_id, audit_row, consumer, event_id, idempotency, live, new_delivery, new_event, ring, settlement,
};

/// The latest first; each filter finds what matches it and nothing else, in pages too.
pub async fn entries_are_found_by_what_they_say(subject: impl Subject) {
    let store = subject.store();
    let rows: Vec<AuditRow> = (0..40).map(audit_row).collect();
    // Not in the order of their ids: two that act at once commit as they come.
    let (even, odd): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(|row| row.sealed[0] % 2 == 0);
    for part in [odd, even] {
        store.change(part.into_iter().map(RecordChange::Audit).collect()).await.unwrap();
    }
    let filters = [
        AuditFilter::default(),
        AuditFilter { consumer: Some(consumer(1)), ..AuditFilter::default() },
        AuditFilter { object: Some("object-2".to_owned()), ..AuditFilter::default() },
        AuditFilter { actor: Some("actor-1".to_owned()), ..AuditFilter::default() },
        AuditFilter { action: Some("endpoint.pause".to_owned()), ..AuditFilter::default() },
        AuditFilter { after: Some(audit_id(7)), before: Some(audit_id(31)), ..AuditFilter::default() },
        AuditFilter {
            consumer: Some(consumer(2)),
            actor: Some("actor-0".to_owned()),
            before: Some(audit_id(30)),
            ..AuditFilter::default()
        },
        AuditFilter { object: Some("nothing".to_owned()), ..AuditFilter::default() },
    ];
    for filter in filters {
        let expected: Vec<_> = rows.iter().rev().filter(|row| filter.matches(row)).cloned().collect();
        for limit in [1, 3, 100] {
            let (mut found, mut rest) = (Vec::new(), AuditFilter { limit, ..filter.clone() });
            loop {
                let page = store.audit(rest.clone()).await.unwrap();
                let full = page.rows.len() == usize::try_from(limit).unwrap();
                assert_eq!(page.reached, None, "so few are searched at once");
                found.extend(page.rows);
                if !full {
                    break;
                }
                rest.before = found.last().map(|row: &AuditRow| row.id);
            }
            assert_eq!(found, expected, "{filter:?} by {limit}");
        }
    }
    assert_eq!(trail(store).await.len(), 40);
    let none = AuditFilter { limit: 0, ..AuditFilter::default() };
    assert_eq!(store.audit(none).await.unwrap().rows, []);
}

/// Whatever way it takes: there is no change without its entry, and no entry of what did not happen.
pub async fn an_entry_is_written_with_its_change_or_not_at_all(subject: impl Subject) {
    let store = subject.store();
    let entry = |number| vec![RecordChange::Audit(audit_row(number))];
    let event = |number, entry_number| NewEvent {
        idempotency: Some(idempotency(1, u8::try_from(number).unwrap(), at(1_000))),
        changes: entry(entry_number),
        ..new_event(number, at(0), vec![new_delivery(number, 1, at(0))])
    };
    assert_eq!(store.accept(event(1, 1)).await.unwrap(), Accepted::New);
    assert_eq!(store.accept(event(2, 2)).await.unwrap(), Accepted::Conflict(event_id(1)));
    assert_eq!(store.accept(event(1, 2)).await.unwrap(), Accepted::Replayed(event_id(1)));

    let missing = store.redeliver(vec![(new_delivery(8, 1, at(0)), event_id(9))], entry(3)).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
    store.redeliver(vec![(new_delivery(9, 1, at(0)), event_id(1))], entry(4)).await.unwrap();

    let cancelled = |attempts, number| {
        let delivery = live(1, 1, 1, at(0), attempts);
        let outcome = Outcome::Final(DeliveryState::Cancelled);
        Settlement { changes: entry(number), ..settlement(delivery, outcome, at(1)) }
    };
    assert_eq!(store.settle(cancelled(1, 5)).await.unwrap(), Settled::Stale);
    assert_eq!(store.settle(cancelled(0, 6)).await.unwrap(), Settled::Recorded);

    assert!(!store.save_ring(ring(1, "none"), b"early".to_vec(), entry(7)).await.unwrap());
    assert!(store.save_ring(None, b"one".to_vec(), entry(8)).await.unwrap());
    assert_eq!(trail(store).await, [8, 6, 4, 1].map(audit_row));
}

/// From the old end, as many as was said, and nothing that is younger.
pub async fn the_oldest_entries_are_forgotten(mut subject: impl Subject) {
    let store = subject.store();
    store.change((0..10).map(audit_row).map(RecordChange::Audit).collect()).await.unwrap();
    let moment = audit_id(6).made_at();
    assert_eq!(store.forget_audit(moment, 4).await.unwrap(), 4);
    assert_eq!(trail(store).await, [9, 8, 7, 6, 5, 4].map(audit_row));
    assert_eq!(store.forget_audit(moment, 4).await.unwrap(), 2);
    assert_eq!(store.forget_audit(moment, 4).await.unwrap(), 0);
    subject.reopen().await;
    assert_eq!(trail(subject.store()).await, [9, 8, 7, 6].map(audit_row));
    let found = AuditFilter { object: Some(audit_row(1).object), limit: 99, ..AuditFilter::default() };
    let of_object = subject.store().audit(found).await.unwrap().rows;
    assert!(of_object.iter().all(|row: &AuditRow| row.id >= AuditId::lower_bound(moment)), "{of_object:?}");
}

async fn trail(store: &dyn Store) -> Vec<AuditRow> {
    store.audit(AuditFilter { limit: 100, ..AuditFilter::default() }).await.unwrap().rows
}
