//! Hears what other nodes say, and looks for what they have accepted and cancelled whether they say it or not.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::arrivals::Reach;
use super::withdrawals::Withdrawals;
use crate::clock_watch::this_instant;
use crate::engine::shared::{Phase, Shared};
use crate::id::DeliveryId;
use crate::store::{Cluster, Hint, Shard, Shards, StoreError};

/// Hears hints until the engine stops.
pub(in crate::engine) async fn hear(shared: Arc<Shared>, mut hints: broadcast::Receiver<Hint>) {
    loop {
        let heard = tokio::select! {
            heard = hints.recv() => heard,
            () = shared.wait_for(Phase::Stopping) => return,
        };
        match heard {
            Ok(Hint::Arrived(shards)) => shared.ownership.ask_to_look(shards),
            Ok(Hint::Withdrawn(endpoint)) => {
                shared.with(|schedule, now| schedule.distrust(endpoint, now));
                shared.pump();
            }
            Ok(Hint::Lost) | Err(broadcast::error::RecvError::Lagged(_)) => {
                shared.with(|schedule, now| schedule.distrust_all(now));
                shared.ownership.lost.store(true, Ordering::Relaxed);
                shared.ownership.ask_to_look(Shards::ALL);
                shared.pump();
            }
            // Others hear these.
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Looks for arrivals until the engine stops: where a hint says so at once, and everywhere from time to time; then for what
/// was cancelled, too.
pub(in crate::engine) async fn look(shared: Arc<Shared>, cluster: Arc<dyn Cluster>) {
    let ownership = &shared.ownership;
    let policy = &ownership.policy;
    let mut ticks = interval(policy.look_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut far: Option<Instant> = None;
    let mut withdrawals = Withdrawals::default();
    loop {
        tokio::select! {
            () = ownership.bell.notified() => {
                let asked = ownership.take_asked().and(shared.with(|schedule, _| schedule.owned()));
                let start = shared.parts.clock.now().saturating_sub(policy.usual_slack.min(HINTED));
                told(notice(&shared, &*cluster, asked, DeliveryId::lower_bound(start)).await);
            }
            _ = ticks.tick() => {
                if ownership.lost.swap(false, Ordering::Relaxed) {
                    far = None;
                }
                let begun = this_instant();
                let is_recent = |far: Instant| begun.saturating_duration_since(far) < policy.look_far_every;
                let reach = if far.is_some_and(is_recent) { Reach::Near } else { Reach::Far };
                let looked = look_everywhere(&shared, &*cluster, reach).await;
                if looked.is_ok() && reach == Reach::Far {
                    far = Some(begun);
                }
                told(looked);
                match withdrawals.look(&shared, &*cluster).await {
                    Ok(()) => shared.pump(),
                    Err(error) => tracing::warn!(code = error.code(), "what was cancelled cannot be looked for"),
                }
            }
            () = shared.wait_for(Phase::Stopping) => return,
        }
    }
}

async fn look_everywhere(
    shared: &Arc<Shared>,
    cluster: &dyn Cluster,
    reach: Reach,
) -> Result<(), StoreError> {
    let (ownership, began) = (&shared.ownership, shared.parts.clock.now());
    let policy = &ownership.policy;
    ownership.take_asked(); // it is looked there, too
    let owned = shared.with(|schedule, _| schedule.owned());
    let slack = match reach {
        Reach::Near => policy.usual_slack,
        Reach::Far => policy.slack,
    };
    let start = ownership.with_seen(|seen| seen.start(began, reach, slack));
    notice(shared, cluster, owned, start).await?;
    ownership.with_seen(|seen| match reach {
        Reach::Near => seen.looked(began),
        Reach::Far => seen.looked_far(began, slack),
    });
    Ok(())
}

fn told(looked: Result<(), StoreError>) {
    if let Err(error) = looked {
        tracing::warn!(code = error.code(), "arrivals cannot be looked for");
    }
}

/// Tells the schedule of what it may not know, with an id behind `start`.
async fn notice(
    shared: &Arc<Shared>,
    cluster: &dyn Cluster,
    shards: Shards,
    start: DeliveryId,
) -> Result<(), StoreError> {
    let ownership = &shared.ownership;
    let mut after: Vec<_> = shards.iter().map(|shard| (shard, start)).collect();
    while !after.is_empty() {
        let found = cluster.arrivals(after.clone(), PAGE).await?;
        let of = |shard: Shard| found.iter().filter(move |one| Shard::of(one.work.endpoint) == shard);
        let full = |shard: &Shard| u32::try_from(of(*shard).count()).is_ok_and(|count| count >= PAGE);
        let full: Vec<_> = after.iter().map(|(shard, _)| *shard).filter(full).collect();
        after =
            full.into_iter().filter_map(|shard| Some((shard, of(shard).map(|one| one.id).max()?))).collect();
        let new = ownership.with_seen(|seen| {
            let new: Vec<_> = found.into_iter().filter(|one| !seen.contains(one.id)).collect();
            new.iter().for_each(|one| seen.insert(one.id));
            new
        });
        if !new.is_empty() {
            shared.with(|schedule, now| new.into_iter().for_each(|one| schedule.noticed(one, now)));
            shared.pump();
        }
    }
    Ok(())
}

impl super::Ownership {
    /// Has somebody look there soon.
    fn ask_to_look(&self, shards: Shards) {
        let mut asked = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = asked.or(shards);
        drop(asked);
        self.bell.notify_one();
    }

    fn take_asked(&self) -> Shards {
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far a look goes back that a hint has asked for, of what has just been accepted. There are many of these, and each walks
/// over all that was settled since then and cannot be removed yet; what is older than its hint the next look at everything
/// finds.
const HINTED: Duration = Duration::from_millis(500);

/// Of each shard at a time.
const PAGE: u32 = 512;
