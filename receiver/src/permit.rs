//! [`Permit`]: the right to process one event, and the duty to say how it ended.
//!
//! Relies on the replay guard and the clock. Guarantees that a permit is settled at most once, that one which
//! is dropped frees the event, and that a commit which was interrupted does not.

use std::{fmt, sync::Arc, time::Duration};

use waxseal_keys::Clock;

use crate::{Fence, GuardError, ReplayGuard, ReplayKey, Settled, metric};

/// The right to process one event, for the length of a lease.
///
/// Say how it ended with [`commit`](Self::commit) or [`abort`](Self::abort). Dropping it aborts, inside a tokio
/// runtime; elsewhere the event is free again when the lease runs out.
#[must_use = "an event that is not committed is processed again"]
pub struct Permit {
    held: Option<Held>,
}

impl Permit {
    pub(crate) fn new(
        guard: Arc<dyn ReplayGuard>,
        clock: Arc<dyn Clock>,
        key: ReplayKey,
        fence: Fence,
        lease: Duration,
    ) -> Self {
        Self { held: Some(Held { guard, clock, key, fence, lease }) }
    }

    /// The event is processed: it never will be again. [`Settled::Stale`] says that the lease had gone to another
    /// attempt, which decides instead: then the sender must not be told that the event is taken.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # #[tokio::main]
    /// # async fn main() {
    /// use waxseal_receiver::{Outcome, Settled};
    /// # let sender = Sender::new("https://hooks.example.com");
    /// # let (receiver, body) = (sender.receiver(), sender.signed("acme", "evt_1"));
    ///
    /// let Outcome::New { permit, .. } = receiver.receive(&body).await.unwrap() else { unreachable!() };
    /// assert_eq!(permit.commit().await.unwrap(), Settled::Applied);
    /// assert!(matches!(receiver.receive(&body).await, Ok(Outcome::Done)));
    /// # }
    /// ```
    pub async fn commit(mut self) -> Result<Settled, GuardError> {
        // Taken before the wait: if the wait is interrupted, the lease runs out by time. To abort would
        // invite another run of a handler that succeeded.
        let Some(held) = self.held.take() else { return Ok(Settled::Stale) };
        let settled = held.guard.commit(&held.key, held.fence, held.clock.now()).await?;
        if settled == Settled::Applied {
            metric::event("taken");
        }
        Ok(settled)
    }

    /// The event was not processed: the next attempt may.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # #[tokio::main]
    /// # async fn main() {
    /// use waxseal_receiver::{Outcome, Settled};
    /// # let sender = Sender::new("https://hooks.example.com");
    /// # let (receiver, body) = (sender.receiver(), sender.signed("acme", "evt_1"));
    ///
    /// let Outcome::New { permit, .. } = receiver.receive(&body).await.unwrap() else { unreachable!() };
    /// assert_eq!(permit.abort().await.unwrap(), Settled::Applied);
    /// assert!(matches!(receiver.receive(&body).await, Ok(Outcome::New { .. })));
    /// # }
    /// ```
    pub async fn abort(mut self) -> Result<Settled, GuardError> {
        match self.held.take() {
            Some(held) => held.guard.abort(&held.key, held.fence).await,
            None => Ok(Settled::Stale),
        }
    }

    /// Prolongs the lease: for work that takes longer than [`lease`](Self::lease).
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # #[tokio::main]
    /// # async fn main() {
    /// use waxseal_receiver::{Outcome, Settled};
    /// # let sender = Sender::new("https://hooks.example.com");
    /// # let (receiver, body) = (sender.receiver(), sender.signed("acme", "evt_1"));
    ///
    /// let Outcome::New { permit, .. } = receiver.receive(&body).await.unwrap() else { unreachable!() };
    /// assert_eq!(permit.renew().await.unwrap(), Settled::Applied);
    /// # }
    /// ```
    pub async fn renew(&self) -> Result<Settled, GuardError> {
        match &self.held {
            Some(held) => held.guard.renew(&held.key, held.fence, held.clock.now(), held.lease).await,
            None => Ok(Settled::Stale),
        }
    }

    /// How long the event is the holder's, from the beginning or the last renewal.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # #[tokio::main]
    /// # async fn main() {
    /// # use waxseal_receiver::Outcome;
    /// # let sender = Sender::new("https://hooks.example.com");
    /// # let (receiver, body) = (sender.receiver(), sender.signed("acme", "evt_1"));
    /// let Outcome::New { permit, .. } = receiver.receive(&body).await.unwrap() else { unreachable!() };
    /// assert_eq!(permit.lease().as_secs(), 60);
    /// # }
    /// ```
    pub fn lease(&self) -> Duration {
        self.held.as_ref().map(|held| held.lease).unwrap_or_default()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = held.guard.abort(&held.key, held.fence).await {
                tracing::warn!(code = error.code(), "lease not given back: {error}");
            }
        });
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held.as_ref();
        f.debug_struct("Permit")
            .field("key", &held.map(|held| &held.key))
            .field("fence", &held.map(|held| held.fence))
            .finish_non_exhaustive()
    }
}

struct Held {
    guard: Arc<dyn ReplayGuard>,
    clock: Arc<dyn Clock>,
    key: ReplayKey,
    fence: Fence,
    lease: Duration,
}
