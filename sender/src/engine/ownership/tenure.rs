//! Keeps the lease: renews it, takes what it brings, ends the trust when its time is over, gives back, leaves.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::holding::{Holding, Turnover};
use crate::clock_watch::this_instant;
use crate::directory::ChangeError;
use crate::engine::driver::discover;
use crate::engine::shared::{Phase, Shared};
use crate::model::health::EndpointHealth;
use crate::store::{Cluster, Shard, Shards};

/// Runs until nothing is in flight any more at a stop; then everything was given back.
pub(in crate::engine) async fn keep(shared: Arc<Shared>, cluster: Arc<dyn Cluster>) {
    let mut tenure =
        Keeper { shared, cluster, holding: Holding::default(), drain_since: None, overview_at: None };
    loop {
        let begun = this_instant();
        tenure.tend(begun).await;
        tenure.look_at_store().await;
        if tenure.rest(begun).await == Rested::ToLeave {
            break;
        }
    }
    let node = tenure.shared.ownership.node.id;
    match timeout(LEAVE_WITHIN, tenure.cluster.leave(node)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(code = error.code(), "the node cannot leave; its lease runs out"),
        Err(_) => tracing::warn!("the node could not leave in time; its lease runs out"),
    }
    tenure.end_trust();
}

struct Keeper {
    shared: Arc<Shared>,
    cluster: Arc<dyn Cluster>,
    holding: Holding,
    /// Since when something is drained.
    drain_since: Option<Instant>,
    /// When it is asked next how the store does.
    overview_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rested {
    Enough,
    ToLeave,
}

/// Why shards are not taken yet.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Directory(#[from] ChangeError),
    #[error("it has taken too long to read what is known of them")]
    Late,
}

impl Keeper {
    async fn tend(&mut self, begun: Instant) {
        let (shared, cluster) = (Arc::clone(&self.shared), Arc::clone(&self.cluster));
        let Some(until) = begun.checked_add(shared.ownership.policy.trusted_for) else { return };
        match self.minding_trust(cluster.tend(&shared.ownership.node)).await {
            Ok(tenure) if this_instant() < until => {
                let turnover = self.holding.turn_over(&tenure);
                self.part_with(&turnover);
                self.shared.ownership.set(self.holding.shards(), Some(until));
                self.take(turnover.gained, until).await;
            }
            Ok(_) => tracing::warn!("the lease was renewed too slowly to be trusted"),
            Err(error) => {
                metrics::counter!("waxseal_store_failures_total", "what" => "tend").increment(1);
                tracing::warn!(code = error.code(), "the lease cannot be renewed");
            }
        }
    }

    /// Stops to work on what is not ours any more, or not for long.
    fn part_with(&mut self, turnover: &Turnover) {
        let Turnover { lost, excess, .. } = turnover;
        if !lost.is_empty() {
            tracing::warn!(shards = lost.len(), "shards were taken by others");
            self.shared.with(|schedule, now| schedule.lose(*lost, now));
        }
        if !excess.is_empty() {
            tracing::info!(shards = excess.len(), "shards are given back, there are others to work on them");
            self.shared.with(|schedule, now| schedule.drain(*excess, now));
        }
        let drains = !self.holding.giving_back().is_empty();
        self.drain_since = drains.then(|| self.drain_since.unwrap_or_else(this_instant));
    }

    /// Begins to work on these. What cannot be begun now is said again by the next renewal.
    async fn take(&mut self, gained: Vec<(Shard, u64)>, until: Instant) {
        if !gained.is_empty() && self.shared.phase() == Phase::Running {
            let shards: Shards = gained.iter().map(|(shard, _)| *shard).collect();
            match self.health(shards).await {
                Ok(health) => {
                    self.holding.take(&gained);
                    self.shared.with(|schedule, now| {
                        schedule.gain(shards, now);
                        health.into_iter().for_each(|one| schedule.restore(one, now));
                    });
                    self.shared.ownership.set(self.holding.shards(), Some(until));
                    tracing::info!(
                        shards = shards.len(),
                        all = self.holding.shards().len(),
                        "shards are worked on"
                    );
                }
                Err(error) => tracing::warn!(%error, shards = shards.len(), "shards cannot be worked on yet"),
            }
        }
        // Asked again at each renewal: those who look would be more and more where that takes long.
        if self.shared.with(|schedule, _| schedule.wants_survey()) && !self.shared.is_surveying() {
            self.shared.spawn(discover(Arc::clone(&self.shared)));
        }
    }

    /// What is kept of the endpoints there, after everything that is configured is known here.
    async fn health(&mut self, shards: Shards) -> Result<Vec<EndpointHealth>, NotTaken> {
        let shared = Arc::clone(&self.shared);
        let directory = &shared.parts.directory;
        let read = async {
            directory.catch_up().await?;
            directory.failing_of(shards).await
        };
        // Renewing the lease of what is worked on does not wait for it: others may be changing what is configured.
        let read = timeout(self.patience(), read);
        let health = self.minding_trust(read).await.map_err(|_| NotTaken::Late)??;
        shared.ownership.is_trusted().then_some(health).ok_or(NotTaken::Late)
    }

    /// Asks now and then how the store does.
    async fn look_at_store(&mut self) {
        let now = this_instant();
        if self.overview_at.is_some_and(|at| now < at) {
            return;
        }
        self.overview_at = now.checked_add(OVERVIEW_EVERY);
        let cluster = Arc::clone(&self.cluster);
        let overview = timeout(self.patience(), cluster.overview());
        if let Ok(Ok(overview)) = self.minding_trust(overview).await {
            let standby = Some(overview.synchronous_standby);
            self.shared.ownership.synchronous_standby.send_replace(standby);
        }
    }

    /// How long anything but the lease itself may take: there is time for another renewal then.
    fn patience(&self) -> Duration {
        self.shared.ownership.policy.trusted_for / 4
    }

    /// Until the next renewal.
    async fn rest(&mut self, begun: Instant) -> Rested {
        let policy = self.shared.ownership.policy;
        // Who has nothing asks oftener: others may be giving it back just now.
        let idle = self.holding.shards().is_empty() && self.shared.ownership.node.role.takes_shards();
        let pause = if idle { policy.tend_every / OFTENER } else { policy.tend_every };
        let next = begun.checked_add(pause).unwrap_or(begun);
        let shared = Arc::clone(&self.shared);
        loop {
            self.give_back_what_is_drained().await;
            let draining = !self.holding.giving_back().is_empty();
            tokio::select! {
                () = sleep_until(next) => return Rested::Enough,
                () = trust_over(&shared) => self.end_trust(),
                () = sleep(LOOK_AT_DRAINED), if draining => {}
                () = shared.wait_for(Phase::Ended) => return Rested::ToLeave,
            }
        }
    }

    async fn give_back_what_is_drained(&mut self) {
        let shards = self.holding.giving_back();
        let Some(since) = self.drain_since.filter(|_| !shards.is_empty()) else { return };
        let left = self.shared.with(|schedule, _| schedule.in_flight_of(shards));
        let waited = this_instant().saturating_duration_since(since);
        if left > 0 && waited < self.shared.ownership.policy.drain_within {
            return;
        }
        self.shared.with(|schedule, now| schedule.lose(shards, now));
        let (cluster, node) = (Arc::clone(&self.cluster), self.shared.ownership.node.id);
        match self.minding_trust(cluster.give_back(node, shards)).await {
            Ok(()) => {
                self.holding.given_back(shards);
                self.drain_since = None;
            }
            Err(error) => tracing::warn!(code = error.code(), "shards cannot be given back yet"),
        }
    }

    /// Waits for the store, and ends the trust in the meantime if its time comes. What the store was asked is not
    /// called off.
    async fn minding_trust<T>(&mut self, call: impl Future<Output = T>) -> T {
        let (mut call, shared) = (pin!(call), Arc::clone(&self.shared));
        loop {
            tokio::select! {
                answer = &mut call => return answer,
                () = trust_over(&shared) => self.end_trust(),
            }
        }
    }

    /// Nothing is ours as far as is known here.
    fn end_trust(&mut self) {
        if self.shared.phase() < Phase::Ended {
            tracing::warn!("the lease could not be renewed in time; nothing is delivered until it is");
        }
        self.holding.forget();
        self.shared.ownership.set(Shards::NONE, None);
        self.shared.with(|schedule, now| schedule.lose(Shards::ALL, now));
    }
}

/// Completes when the trust is over, if there is any.
async fn trust_over(shared: &Shared) {
    let until = *shared.ownership.trusted_until.borrow();
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// How long a stop waits for the store to take back what it gave.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// How often it is asked how the store does.
const OVERVIEW_EVERY: Duration = Duration::from_secs(30);

/// By how much oftener who owns nothing asks.
const OFTENER: u32 = 6;

const LOOK_AT_DRAINED: Duration = Duration::from_millis(20);
