//! Hears what other nodes say, and looks for what they have accepted and cancelled whether they say it or not.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval};

use super::withdrawals::Withdrawals;
use crate::engine::shared::{Phase, Shared};
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
    let mut ticks = interval(ownership.policy.look_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut withdrawals = Withdrawals::default();
    loop {
        let all = tokio::select! {
            () = ownership.bell.notified() => false,
            _ = ticks.tick() => true,
            () = shared.wait_for(Phase::Stopping) => return,
        };
        let asked = ownership.take_asked();
        let owned = shared.with(|schedule, _| schedule.owned());
        let shards = if all { owned } else { asked.and(owned) };
        let began = shared.parts.clock.now();
        let back = if all { ownership.policy.slack } else { ownership.policy.slack.min(HINTED) };
        match notice(&shared, &*cluster, shards, back).await {
            Ok(()) if all => ownership.with_seen(|seen| seen.looked(began, ownership.policy.slack)),
            Ok(()) => {}
            Err(error) => tracing::warn!(code = error.code(), "arrivals cannot be looked for"),
        }
        if all {
            match withdrawals.look(&shared, &*cluster).await {
                Ok(()) => shared.pump(),
                Err(error) => tracing::warn!(code = error.code(), "what was cancelled cannot be looked for"),
            }
        }
    }
}

/// Tells the schedule of what it may not know.
async fn notice(
    shared: &Arc<Shared>,
    cluster: &dyn Cluster,
    shards: Shards,
    back: Duration,
) -> Result<(), StoreError> {
    let (ownership, now) = (&shared.ownership, shared.parts.clock.now());
    let start = ownership.with_seen(|seen| seen.start(now, back));
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

/// How far before the last look at everything one begins that a hint has asked for. There are many of these, and each walks
/// over all that was settled since then and cannot be removed yet; what is older than its hint the next look at everything
/// finds.
const HINTED: Duration = Duration::from_secs(1);

/// Of each shard at a time.
const PAGE: u32 = 512;
