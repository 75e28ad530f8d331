//! The guard in memory: every sequence of begin, renew, commit and abort that matters.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use waxseal_envelope::{Audience, EventId, Issuer};
use waxseal_keys::Timestamp;
use waxseal_receiver::{Begin, Fence, GuardError, MemoryGuard, ReplayGuard, ReplayKey, Settled};

const LEASE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn key(id: &str) -> ReplayKey {
    ReplayKey {
        issuer: Issuer::parse("https://hooks.example.com").unwrap(),
        audience: Audience::parse("acme").unwrap(),
        scope: "orders".to_owned(),
        id: EventId::parse(id).unwrap(),
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000).saturating_add(Duration::from_secs(seconds))
}

async fn new(guard: &MemoryGuard, id: &str, second: u64) -> Fence {
    match guard.begin(&key(id), at(second), LEASE).await.unwrap() {
        Begin::New(fence) => fence,
        other => panic!("{id} at {second} s: {other:?}"),
    }
}

async fn done(guard: &MemoryGuard, id: &str, second: u64) {
    let fence = new(guard, id, second).await;
    assert_eq!(guard.commit(&key(id), fence, at(second)).await.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn an_event_is_new_then_in_progress_then_done() {
    let guard = MemoryGuard::default();
    let fence = new(&guard, "a", 0).await;
    let progress = guard.begin(&key("a"), at(1), LEASE).await.unwrap();
    assert_eq!(progress, Begin::InProgress { retry_after: Duration::from_secs(10) });
    let late = guard.begin(&key("a"), at(57), LEASE).await.unwrap();
    assert_eq!(late, Begin::InProgress { retry_after: Duration::from_secs(3) });
    assert_eq!(guard.commit(&key("a"), fence, at(58)).await.unwrap(), Settled::Applied);
    assert_eq!(guard.begin(&key("a"), at(59), LEASE).await.unwrap(), Begin::Done);
    assert_eq!(guard.commit(&key("a"), fence, at(60)).await.unwrap(), Settled::Stale);
    assert_eq!(guard.abort(&key("a"), fence).await.unwrap(), Settled::Stale);
    assert_eq!(guard.begin(&key("a"), at(61), LEASE).await.unwrap(), Begin::Done);
}

#[tokio::test]
async fn an_aborted_event_is_new_again() {
    let guard = MemoryGuard::default();
    let first = new(&guard, "a", 0).await;
    assert_eq!(guard.abort(&key("a"), first).await.unwrap(), Settled::Applied);
    let second = new(&guard, "a", 1).await;
    assert_ne!(first, second);
    assert_eq!(guard.commit(&key("a"), first, at(2)).await.unwrap(), Settled::Stale);
    assert_eq!(guard.commit(&key("a"), second, at(2)).await.unwrap(), Settled::Applied);
}

#[tokio::test]
async fn who_lost_the_lease_changes_nothing_any_more() {
    let guard = MemoryGuard::default();
    let slow = new(&guard, "a", 0).await;
    let fast = new(&guard, "a", 60).await;
    assert_eq!(guard.renew(&key("a"), slow, at(61), LEASE).await.unwrap(), Settled::Stale);
    assert_eq!(guard.abort(&key("a"), slow).await.unwrap(), Settled::Stale);
    assert_eq!(guard.commit(&key("a"), slow, at(61)).await.unwrap(), Settled::Stale);
    assert!(matches!(guard.begin(&key("a"), at(62), LEASE).await.unwrap(), Begin::InProgress { .. }));
    assert_eq!(guard.commit(&key("a"), fast, at(63)).await.unwrap(), Settled::Applied);
    assert_eq!(guard.begin(&key("a"), at(64), LEASE).await.unwrap(), Begin::Done);
}

#[tokio::test]
async fn a_renewed_lease_lasts() {
    let guard = MemoryGuard::default();
    let fence = new(&guard, "a", 0).await;
    assert_eq!(guard.renew(&key("a"), fence, at(50), LEASE).await.unwrap(), Settled::Applied);
    assert!(matches!(guard.begin(&key("a"), at(109), LEASE).await.unwrap(), Begin::InProgress { .. }));
    assert_ne!(new(&guard, "a", 110).await, fence);
}

#[tokio::test]
async fn a_lease_that_ran_out_but_was_not_taken_over_still_commits() {
    let guard = MemoryGuard::default();
    let fence = new(&guard, "a", 0).await;
    assert_eq!(guard.commit(&key("a"), fence, at(300)).await.unwrap(), Settled::Applied);
    assert_eq!(guard.begin(&key("a"), at(301), LEASE).await.unwrap(), Begin::Done);
}

#[tokio::test]
async fn what_differs_in_any_part_is_another_event() {
    let guard = MemoryGuard::default();
    done(&guard, "a", 0).await;
    let others = [
        ReplayKey { issuer: Issuer::parse("https://other.example").unwrap(), ..key("a") },
        ReplayKey { audience: Audience::parse("globex").unwrap(), ..key("a") },
        ReplayKey { scope: "invoices".to_owned(), ..key("a") },
        key("b"),
    ];
    for other in others {
        assert!(matches!(guard.begin(&other, at(1), LEASE).await.unwrap(), Begin::New(_)), "{other:?}");
    }
}

#[tokio::test]
async fn done_is_remembered_for_the_retention() {
    let guard = MemoryGuard::new(10, DAY);
    done(&guard, "a", 0).await;
    assert_eq!(guard.begin(&key("a"), at(86_399), LEASE).await.unwrap(), Begin::Done);
    new(&guard, "a", 86_400).await;
    assert_eq!(guard.forgotten_early(), 0);
}

#[tokio::test]
async fn a_full_guard_forgets_the_oldest_beyond_the_window_and_counts_it() {
    let guard = MemoryGuard::new(3, DAY);
    for (second, id) in (0..).zip(["a", "b", "c"]) {
        done(&guard, id, second).await;
    }
    // Being asked for does not make an event younger.
    assert_eq!(guard.begin(&key("a"), at(300), LEASE).await.unwrap(), Begin::Done);
    assert!(matches!(guard.begin(&key("d"), at(360), LEASE).await, Err(GuardError::Full)));
    assert_eq!(guard.begin(&key("b"), at(360), LEASE).await.unwrap(), Begin::Done, "known ones are answered");
    done(&guard, "d", 361).await;
    assert_eq!(guard.forgotten_early(), 1);
    for id in ["b", "c", "d"] {
        assert_eq!(guard.begin(&key(id), at(361), LEASE).await.unwrap(), Begin::Done, "{id}");
    }
    done(&guard, "e", 86_401).await;
    assert_eq!(guard.forgotten_early(), 1, "b was past its retention");
}

#[tokio::test]
async fn a_guard_full_of_leases_has_room_again_when_they_run_out() {
    let guard = MemoryGuard::new(2, DAY);
    new(&guard, "a", 0).await;
    let abandoned = new(&guard, "b", 0).await;
    assert!(matches!(guard.begin(&key("c"), at(59), LEASE).await, Err(GuardError::Full)));
    new(&guard, "c", 60).await;
    assert_eq!(guard.commit(&key("b"), abandoned, at(61)).await.unwrap(), Settled::Stale);
}

#[tokio::test]
async fn an_event_dated_by_a_clock_that_was_ahead_does_not_keep_the_others_from_being_forgotten() {
    let guard = MemoryGuard::new(3, DAY);
    done(&guard, "ahead", 7 * 86_400).await;
    done(&guard, "b", 0).await;
    done(&guard, "c", 1).await;
    assert!(matches!(guard.begin(&key("d"), at(360), LEASE).await, Err(GuardError::Full)));
    done(&guard, "d", 361).await;
    // Its token may come back when its time comes, so it is the one that stays.
    for id in ["ahead", "c", "d"] {
        assert_eq!(guard.begin(&key(id), at(361), LEASE).await.unwrap(), Begin::Done, "{id}");
    }
}
