//! Tells the operator of trouble: operational events, published to the operator's own consumer like any other event.
//!
//! **Nothing is told that is not on disk first.** What a change causes (an endpoint that is paused) is a notice in the
//! change's own transaction. What only time brings (a hold that lasts, a key that expires, failures of a window) is found
//! out by looking, and kept as a notice together with the note that it was told. A notice has the id of its event, so a
//! process that is killed between publishing it and forgetting it does not tell it twice.
//!
//! **An inbox is not flooded.** Holds, expiries and failures are told in lists and counts, one event for many endpoints,
//! and failures once a window. A hold is told when it has lasted for a while, its end when it has been over for a while.
//!
//! **No loops.** Whatever concerns the operator's own endpoints is logged and counted, and told to nobody.
//!
//! Relies on the [`Directory`] for what is kept and configured, on the [`Store`] for failures, on the engine for holds and
//! on the [`Publisher`] for the rest. Guarantees that an event holds ids, codes, counts and times: never content, a URL,
//! a token or a key.

mod expiry;
mod failures;
mod holds;
pub mod notices;
mod signing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};
use waxseal_keys::{Clock, Timestamp};

use self::holds::Holds;
use crate::api::Holds as Engine;
use crate::directory::{ChangeError, Directory, DirectoryEvent, News};
use crate::id::ConsumerId;
use crate::leadership::Leadership;
use crate::model::notice::Notice;
use crate::model::told::Told;
use crate::publish::{PublishError, Publisher};
use crate::signing_keys::SigningKeys;
use crate::store::{Store, StoreError};

/// What the operator is told, and when.
#[derive(Clone, Debug)]
pub struct OperationsPolicy {
    /// Whose endpoints operational events go to; nobody's: they are logged and counted only.
    pub consumer: Option<ConsumerId>,
    /// How long deliveries are held before that is told.
    pub held_after: Duration,
    /// How long the windows are in which failures are counted.
    pub summary_every: Duration,
    /// How long before the end of a key or certificate that is told, the longest first.
    pub warn_before: Vec<Duration>,
    /// The certificate of the sender's own server, PEM.
    pub server_certificate: Option<PathBuf>,
}

/// Looks for trouble, and tells it.
#[derive(Debug)]
pub struct Operations {
    parts: OperationsParts,
    policy: OperationsPolicy,
    holds: Holds,
}

/// What it looks at.
#[derive(Clone, Debug)]
pub struct OperationsParts {
    /// What is configured, and what is to be told.
    pub directory: Arc<Directory>,
    /// What went wrong.
    pub store: Arc<dyn Store>,
    /// Which endpoints are held.
    pub engine: Arc<dyn Engine>,
    /// The sender's own keys.
    pub signing_keys: Arc<SigningKeys>,
    /// What tells.
    pub publisher: Publisher,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Why it was not looked, or not told. It is tried again.
#[derive(Debug, thiserror::Error)]
enum OperationsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl OperationsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Change(error) => error.code(),
            Self::Publish(error) => error.code(),
        }
    }
}

impl Operations {
    /// Over these parts. From now on the operator's consumer may subscribe to operational events.
    pub fn new(parts: OperationsParts, policy: OperationsPolicy) -> Self {
        parts.directory.set_operator(policy.consumer.clone());
        if let Some(consumer) = &policy.consumer
            && parts.directory.consumer(consumer).is_none()
        {
            tracing::warn!(%consumer, "operations.consumer does not exist yet: operational events are only logged");
        }
        let holds = Holds::new(policy.held_after);
        Self { parts, policy, holds }
    }

    /// Runs until `stopped` says so, and looks and tells while this node leads.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>, mut leadership: Leadership) {
        let mut news = self.parts.directory.subscribe();
        let mut signing = self.parts.signing_keys.subscribe();
        let mut ticks =
            interval((self.policy.held_after / LOOKS_PER_HOLD).clamp(SHORTEST_LOOK, LONGEST_LOOK));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !leadership.leads() {
                tokio::select! {
                    () = leadership.taken() => {}
                    _ = stopped.wait_for(|stopped| *stopped) => return,
                }
                // What was seen when this node led last is old.
                self.holds = Holds::new(self.policy.held_after);
                ticks.reset_immediately();
            }
            let looks = tokio::select! {
                _ = ticks.tick() => true,
                Ok(()) = signing.changed() => true,
                () = until_notice(&mut news) => false,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            if looks {
                self.try_to_look().await;
            }
            if let Err(error) = self.tell().await {
                tracing::warn!(code = error.code(), %error, "operational events cannot be published now");
            }
        }
    }

    async fn try_to_look(&mut self) {
        if let Err(error) = self.look().await {
            tracing::warn!(code = error.code(), %error, "the state of operations cannot be looked at now");
        }
    }

    /// Finds out what is new, and keeps it.
    async fn look(&mut self) -> Result<(), OperationsError> {
        let now = self.parts.clock.now();
        let told = self.parts.directory.told();
        let (held, directory) = (self.held().await?, &self.parts.directory);
        let mut news = self.holds.look(held, &told, |id| directory.endpoint(id).is_some(), now);
        let expiring =
            expiry::collect(&self.parts.directory, self.policy.server_certificate.as_deref()).await;
        news.extend(expiry::look(expiring, &told, &self.policy.warn_before, now));
        news.extend(signing::look(&self.parts.signing_keys.entries(), &told, now));
        news.extend(self.failures(&told, now).await?);
        if !news.is_empty() {
            self.parts.directory.keep_news(news).await?;
        }
        Ok(())
    }

    /// Publishes what is kept, oldest first.
    async fn tell(&self) -> Result<(), OperationsError> {
        for notice in self.parts.directory.notices() {
            self.tell_one(&notice).await?;
            self.parts.directory.forget_notice(notice.event).await?;
        }
        Ok(())
    }

    async fn tell_one(&self, notice: &Notice) -> Result<(), OperationsError> {
        let endpoints = match (&notice.about, self.parts.directory.operator()) {
            // Told to an endpoint that is in trouble, trouble of that endpoint would make more of it.
            (Some(about), Some(operator)) if *about == operator => Vec::new(),
            _ => self.parts.directory.operator_endpoints(&notice.event_type),
        };
        let receivers = endpoints.len();
        let told =
            if endpoints.is_empty() { false } else { self.parts.publisher.tell(notice, endpoints).await? };
        let (event, event_type, data) = (notice.event, notice.event_type.as_str(), &notice.data);
        tracing::warn!(%event, event_type, %data, receivers, published = told, "operational event");
        metrics::counter!("waxseal_operational_events_total", "type" => event_type.to_owned()).increment(1);
        Ok(())
    }

    /// Every endpoint that is held, but the operator's own.
    async fn held(&self) -> Result<Vec<holds::Held>, StoreError> {
        let operator = self.parts.directory.operator();
        let held = self.parts.engine.holds().await?.into_iter().filter_map(|(endpoint, hold)| {
            let consumer = self.parts.directory.endpoint(endpoint)?.consumer.clone();
            Some(holds::Held { endpoint, consumer, hold })
        });
        Ok(held.filter(|held| operator.as_ref() != Some(&held.consumer)).collect())
    }

    /// What failed in the last window, if it is over.
    async fn failures(&self, told: &[Arc<Told>], now: Timestamp) -> Result<News, OperationsError> {
        let window = match failures::window(told, self.policy.summary_every, now) {
            failures::Window::Begins(told) => return Ok(News { told: vec![told], ..News::default() }),
            failures::Window::Open => return Ok(News::default()),
            failures::Window::Over { from, until } => (from, until),
        };
        let mut found = self.parts.store.failures(window.0, window.1).await?;
        let operator = self.parts.directory.operator();
        found.counts.retain(|count| operator.as_ref() != Some(&count.consumer));
        Ok(failures::news(found, window, now))
    }
}

/// Waits for word of a notice, or for having missed too many words to know.
async fn until_notice(news: &mut broadcast::Receiver<DirectoryEvent>) {
    loop {
        match news.recv().await {
            Ok(DirectoryEvent::NoticeKept) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // Nobody is left to keep one.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Default for OperationsPolicy {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            consumer: None,
            held_after: Duration::from_secs(5 * 60),
            summary_every: Duration::from_secs(15 * 60),
            warn_before: [30 * DAY, 7 * DAY, DAY].map(Duration::from_secs).to_vec(),
            server_certificate: None,
        }
    }
}

/// How often it is looked while a hold becomes worth telling.
const LOOKS_PER_HOLD: u32 = 10;
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(30);
