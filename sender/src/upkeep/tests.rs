use tempfile::TempDir;
use waxseal_keys::ManualClock;

use super::*;
use crate::id::{AuditId, EventId};
use crate::leadership::Leadership;
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditFilter, AuditRow, Catalog, NewEvent, Outbox, RecordChange};

fn days(n: u32) -> Age {
    Age::UpTo(n * DAY)
}

#[test]
fn a_retention_that_cannot_be_is_refused_with_the_field() {
    let retention = |payloads, attempts| Retention { payloads, attempts, ..Retention::default() };
    assert_eq!(Retention::default().check(), Ok(()));
    assert_eq!(retention(Age::Forever, Age::Forever).check(), Ok(()));
    assert_eq!(retention(Age::UpTo(Duration::from_secs(1)), days(1)).check(), Ok(()));
    for (payloads, attempts, expected) in [
        (days(31), days(30), "at least retention.payloads (31d)"),
        (Age::Forever, days(30), "at least retention.payloads (forever)"),
        (Age::UpTo(Duration::from_secs(1)), Age::UpTo(Duration::from_secs(9)), "at least 1d:"),
    ] {
        let said = retention(payloads, attempts).check().unwrap_err();
        assert!(said.starts_with("retention.attempts: ") && said.contains(expected), "{said}");
    }
}

#[test]
fn ages_are_read_and_shown() {
    let read = |text: &str| serde_json::from_value::<Age>(serde_json::json!(text));
    assert_eq!(read("30d").unwrap(), days(30));
    assert_eq!(read("forever").unwrap(), Age::Forever);
    for bad in ["", "30", "0s", "never", "-1d"] {
        assert!(read(bad).unwrap_err().to_string().contains("such as \"30d\""), "{bad}");
    }
}

#[test]
fn a_clock_that_jumps_ahead_is_distrusted_for_an_hour() {
    let origin = later(Duration::ZERO).unwrap();
    let mut trust = Trust::default();
    let mut at = |day_seconds: i64, passed: u64| {
        trust.trusts(Timestamp::from_seconds(day_seconds), origin + Duration::from_secs(passed))
    };
    assert!(at(1_000_000, 0));
    assert!(at(1_000_300, 300), "time passes");
    assert!(at(1_000_890, 600), "a small correction");
    assert!(!at(9_000_000, 900), "months ahead");
    assert!(!at(1_001_500, 1_200), "set right again");
    assert!(at(1_004_800, 4_500), "an hour later");
    assert!(at(500, 4_800), "back: nothing is old then");
    assert!(!at(1_005_400, 5_100), "ahead again");
}

#[test]
fn whose_an_endpoint_was_is_forgotten_well_after_what_was_removed() {
    let origin = later(Duration::ZERO).unwrap();
    let mut forgetting = Forgetting::default();
    let mut at = |seconds| forgetting.take(origin + Duration::from_secs(seconds));
    let both = |endpoints, changes| Turn { endpoints, changes };
    assert_eq!(at(0), both(false, true), "another node may have led until now");
    assert_eq!(at(1), both(false, false));
    assert_eq!(at(59), both(false, false));
    assert_eq!(at(60), both(true, true));
    assert_eq!(at(61), both(false, false));
    assert_eq!(at(400), both(true, true));
}

/// A store with one event that is two days old, kept for one.
async fn old_event() -> (Arc<SqliteStore>, Arc<ManualClock>, EventId, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("store.db")).unwrap());
    let start = Timestamp::from_seconds(1_800_000_000);
    let id = EventId::generate(start);
    let event = NewEvent {
        id,
        accepted_at: start,
        expires_at: None,
        event_type: "order.created".to_owned(),
        sealed: vec![1; 100],
        wrapped_keys: Vec::new(),
        deliveries: Vec::new(),
        idempotency: None,
        changes: Vec::new(),
    };
    store.accept(event).await.unwrap();
    let clock = Arc::new(ManualClock::new(start.saturating_add(2 * DAY)));
    (store, clock, id, folder)
}

#[tokio::test]
async fn one_pass_removes_contents_and_then_records() {
    let (store, clock, id, _folder) = old_event().await;
    let retention = Retention { payloads: days(1), attempts: days(3), ..Retention::default() };
    let upkeep = Upkeep::new(store.clone(), clock.clone(), retention);
    upkeep.pass().await.unwrap();
    assert!(!store.event(id).await.unwrap().unwrap().content_kept);
    clock.advance(DAY);
    upkeep.pass().await.unwrap();
    assert_eq!(store.event(id).await.unwrap(), None);
}

#[tokio::test]
async fn entries_of_the_audit_trail_go_by_their_own_age() {
    let (store, clock, _, _folder) = old_event().await;
    let row = |made_at| AuditRow {
        id: AuditId::generate(made_at),
        actor: "engine".to_owned(),
        action: "endpoint.update".to_owned(),
        object: "ep_1".to_owned(),
        consumer: None,
        sealed: vec![1],
    };
    let now = clock.now();
    // More than a slice of old ones, and one that is young.
    let old = (0..SLICE + 1).map(|n| row(now.saturating_sub(5 * DAY + Duration::from_secs(u64::from(n)))));
    let young = row(now.saturating_sub(DAY));
    let all = old.chain([young.clone()]).map(RecordChange::Audit).collect();
    store.change(all).await.unwrap();
    let retention = Retention { audit: days(2), ..Retention::default() };
    Upkeep::new(store.clone(), clock, retention).pass().await.unwrap();
    let left = store.audit(AuditFilter { limit: 1_000, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(left.rows, [young]);
}

#[tokio::test]
async fn what_is_kept_for_ever_stays() {
    let (store, clock, id, _folder) = old_event().await;
    let retention = Retention { payloads: Age::Forever, attempts: Age::Forever, ..Retention::default() };
    clock.advance(10_000 * DAY);
    Upkeep::new(store.clone(), clock, retention).pass().await.unwrap();
    assert!(store.event(id).await.unwrap().unwrap().content_kept);
}

#[tokio::test]
async fn it_runs_from_time_to_time_and_stops() {
    let (store, clock, id, _folder) = old_event().await;
    let check_every = Duration::from_millis(300);
    let retention = Retention { payloads: days(1), check_every, ..Retention::default() };
    let (stop, stopped) = watch::channel(false);
    let upkeep = tokio::spawn(Upkeep::new(store.clone(), clock, retention).run(stopped, Leadership::sole()));
    assert!(store.event(id).await.unwrap().unwrap().content_kept, "not at the start");
    while store.event(id).await.unwrap().unwrap().content_kept {
        sleep(Duration::from_millis(5)).await;
    }
    stop.send(true).unwrap();
    upkeep.await.unwrap();
}
