//! What every guard must do: every sequence of begin, renew, commit and abort that matters.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use waxseal_envelope::{Audience, EventId, Issuer};
use waxseal_keys::Timestamp;
use waxseal_receiver::{Begin, Fence, ReplayGuard, ReplayKey, Settled};

pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// For guards that are made with a retention.
pub(crate) const RETENTION: Duration = Duration::from_secs(86_400);

/// A guard to judge, and the clock that it goes by.
pub(crate) trait Subject {
    fn guard(&self) -> Arc<dyn ReplayGuard>;
    fn now(&self) -> Timestamp;
    /// Lets time pass for the guard.
    async fn advance(&self, by: Duration);
}

/// Makes one test of each case, for the subject that `$start` makes.
macro_rules! conformance {
    ($start:expr) => {
        $crate::suite::conformance!($start,
            an_event_is_new_then_in_progress_then_done
            an_aborted_event_is_new_again
            a_lease_that_runs_out_frees_the_event
            who_lost_the_lease_changes_nothing_any_more
            a_foreign_fence_changes_nothing
            a_renewed_lease_lasts
            a_lease_that_ran_out_but_was_not_taken_over_still_commits
            what_differs_in_any_part_is_another_event
            done_is_remembered_for_the_retention_and_then_forgotten
            of_many_that_begin_at_once_one_gets_the_event
            fences_differ_however_an_event_comes_back
        );
    };
    ($start:expr, $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let subject = $start.await;
                $crate::suite::$case(&subject).await;
            }
        )*
    };
}
pub(crate) use conformance;

pub(crate) fn key(id: &str) -> ReplayKey {
    ReplayKey {
        issuer: Issuer::parse("https://hooks.example.com").unwrap(),
        audience: Audience::parse("acme").unwrap(),
        scope: "orders".to_owned(),
        id: EventId::parse(id).unwrap(),
    }
}

pub(crate) async fn begin(subject: &impl Subject, id: &str) -> Begin {
    subject.guard().begin(&key(id), subject.now(), LEASE).await.unwrap()
}

pub(crate) async fn new(subject: &impl Subject, id: &str) -> Fence {
    match begin(subject, id).await {
        Begin::New(fence) => fence,
        other => panic!("{id}: {other:?}"),
    }
}

pub(crate) async fn commit(subject: &impl Subject, id: &str, fence: Fence) -> Settled {
    subject.guard().commit(&key(id), fence, subject.now()).await.unwrap()
}

pub(crate) async fn abort(subject: &impl Subject, id: &str, fence: Fence) -> Settled {
    subject.guard().abort(&key(id), fence).await.unwrap()
}

async fn renew(subject: &impl Subject, id: &str, fence: Fence) -> Settled {
    subject.guard().renew(&key(id), fence, subject.now(), LEASE).await.unwrap()
}

pub(crate) async fn done(subject: &impl Subject, id: &str) {
    let fence = new(subject, id).await;
    assert_eq!(commit(subject, id, fence).await, Settled::Applied);
}

pub(crate) async fn in_progress(subject: &impl Subject, id: &str) -> Duration {
    match begin(subject, id).await {
        Begin::InProgress { retry_after } => retry_after,
        other => panic!("{id}: {other:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) async fn an_event_is_new_then_in_progress_then_done(subject: &impl Subject) {
    let fence = new(subject, "a").await;
    subject.advance(seconds(1)).await;
    assert_eq!(in_progress(subject, "a").await, seconds(10), "a handler is usually done before its lease is");
    subject.advance(seconds(56)).await;
    let late = in_progress(subject, "a").await;
    assert!(late > seconds(1) && late <= seconds(3), "{late:?}");
    assert_eq!(commit(subject, "a", fence).await, Settled::Applied);
    assert_eq!(begin(subject, "a").await, Begin::Done);
    assert_eq!(commit(subject, "a", fence).await, Settled::Stale);
    assert_eq!(abort(subject, "a", fence).await, Settled::Stale);
    assert_eq!(renew(subject, "a", fence).await, Settled::Stale);
    assert_eq!(begin(subject, "a").await, Begin::Done);
}

pub(crate) async fn an_aborted_event_is_new_again(subject: &impl Subject) {
    let first = new(subject, "a").await;
    assert_eq!(abort(subject, "a", first).await, Settled::Applied);
    assert_eq!(abort(subject, "a", first).await, Settled::Stale);
    let second = new(subject, "a").await;
    assert_eq!(commit(subject, "a", first).await, Settled::Stale);
    assert_eq!(commit(subject, "a", second).await, Settled::Applied);
}

pub(crate) async fn a_lease_that_runs_out_frees_the_event(subject: &impl Subject) {
    new(subject, "a").await;
    subject.advance(LEASE - seconds(5)).await;
    in_progress(subject, "a").await;
    subject.advance(seconds(5)).await;
    new(subject, "a").await;
}

pub(crate) async fn who_lost_the_lease_changes_nothing_any_more(subject: &impl Subject) {
    let slow = new(subject, "a").await;
    subject.advance(LEASE).await;
    let fast = new(subject, "a").await;
    assert_eq!(renew(subject, "a", slow).await, Settled::Stale);
    assert_eq!(abort(subject, "a", slow).await, Settled::Stale);
    assert_eq!(commit(subject, "a", slow).await, Settled::Stale);
    in_progress(subject, "a").await;
    assert_eq!(commit(subject, "a", fast).await, Settled::Applied);
    assert_eq!(commit(subject, "a", slow).await, Settled::Stale);
    assert_eq!(abort(subject, "a", slow).await, Settled::Stale);
    assert_eq!(begin(subject, "a").await, Begin::Done);
}

pub(crate) async fn a_foreign_fence_changes_nothing(subject: &impl Subject) {
    let other = new(subject, "other").await;
    let fence = new(subject, "a").await;
    for wrong in [other, Fence::new(fence.get().wrapping_add(1)), Fence::new(0), Fence::new(u64::MAX)] {
        assert_eq!(renew(subject, "a", wrong).await, Settled::Stale, "{wrong:?}");
        assert_eq!(commit(subject, "a", wrong).await, Settled::Stale, "{wrong:?}");
        assert_eq!(abort(subject, "a", wrong).await, Settled::Stale, "{wrong:?}");
        assert_eq!(commit(subject, "never-begun", wrong).await, Settled::Stale, "{wrong:?}");
    }
    in_progress(subject, "a").await;
    assert_eq!(commit(subject, "a", fence).await, Settled::Applied);
}

pub(crate) async fn a_renewed_lease_lasts(subject: &impl Subject) {
    let fence = new(subject, "a").await;
    subject.advance(seconds(50)).await;
    assert_eq!(renew(subject, "a", fence).await, Settled::Applied);
    subject.advance(seconds(55)).await;
    in_progress(subject, "a").await;
    subject.advance(seconds(5)).await;
    new(subject, "a").await;
}

pub(crate) async fn a_lease_that_ran_out_but_was_not_taken_over_still_commits(subject: &impl Subject) {
    let fence = new(subject, "a").await;
    subject.advance(5 * LEASE).await;
    assert_eq!(commit(subject, "a", fence).await, Settled::Applied);
    assert_eq!(begin(subject, "a").await, Begin::Done);
}

pub(crate) async fn what_differs_in_any_part_is_another_event(subject: &impl Subject) {
    done(subject, "a").await;
    let others = [
        ReplayKey { issuer: Issuer::parse("https://other.example").unwrap(), ..key("a") },
        ReplayKey { audience: Audience::parse("globex").unwrap(), ..key("a") },
        ReplayKey { scope: "invoices".to_owned(), ..key("a") },
        // What would look alike if the parts were only put side by side.
        ReplayKey { scope: "orders\",\"https://hooks.example.com".to_owned(), ..key("a") },
        ReplayKey { scope: "}:{".to_owned(), ..key("a") },
        key("b"),
    ];
    for other in others {
        let begun = subject.guard().begin(&other, subject.now(), LEASE).await.unwrap();
        let Begin::New(fence) = begun else { panic!("{other:?}: {begun:?}") };
        let committed = subject.guard().commit(&other, fence, subject.now()).await.unwrap();
        assert_eq!(committed, Settled::Applied, "{other:?}");
        assert_eq!(subject.guard().begin(&other, subject.now(), LEASE).await.unwrap(), Begin::Done);
    }
}

pub(crate) async fn done_is_remembered_for_the_retention_and_then_forgotten(subject: &impl Subject) {
    done(subject, "a").await;
    subject.advance(RETENTION - seconds(5)).await;
    // Being asked for does not make an event younger.
    assert_eq!(begin(subject, "a").await, Begin::Done);
    subject.advance(seconds(5)).await;
    done(subject, "a").await;
    subject.advance(RETENTION - seconds(5)).await;
    assert_eq!(begin(subject, "a").await, Begin::Done);
}

pub(crate) async fn of_many_that_begin_at_once_one_gets_the_event(subject: &impl Subject) {
    for round in 0..5 {
        let mut begun = JoinSet::new();
        for _ in 0..20 {
            let (guard, now) = (subject.guard(), subject.now());
            begun.spawn(async move { guard.begin(&key("a"), now, LEASE).await.unwrap() });
        }
        let begun = begun.join_all().await;
        let new = begun.iter().filter(|begun| matches!(begun, Begin::New(_))).count();
        let waiting = begun.iter().filter(|begun| matches!(begun, Begin::InProgress { .. })).count();
        assert_eq!((new, waiting), (1, 19), "round {round}");
        subject.advance(LEASE).await;
    }
}

pub(crate) async fn fences_differ_however_an_event_comes_back(subject: &impl Subject) {
    let mut seen = vec![new(subject, "a").await];
    assert_eq!(abort(subject, "a", seen[0]).await, Settled::Applied);
    seen.push(new(subject, "a").await);
    subject.advance(LEASE).await;
    seen.push(new(subject, "a").await);
    assert_eq!(commit(subject, "a", seen[2]).await, Settled::Applied);
    subject.advance(RETENTION).await;
    seen.push(new(subject, "a").await);
    let mut distinct = seen.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
}
