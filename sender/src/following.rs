//! Follows what other nodes change: the configuration and the signing ring.
//!
//! Relies on hints to do it early, and on a look every second to do it at all. Guarantees that this node says it works by
//! a version only when it has read that, and the ring after it; and that it goes on after every failure. What it depends
//! on that something was read lately says so itself: [`Directory::is_up_to_date`], [`SigningKeys::are_trusted`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::directory::{ChangeError, Directory};
use crate::id::NodeId;
use crate::signing_keys::{SigningKeys, SigningKeysError};
use crate::store::{Cluster, Hint, StoreError};

/// Follows the other nodes.
pub struct Following {
    cluster: Arc<dyn Cluster>,
    directory: Arc<Directory>,
    signing_keys: Arc<SigningKeys>,
    node: NodeId,
    hints: broadcast::Receiver<Hint>,
}

/// Why it could not be followed.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    SigningKeys(#[from] SigningKeysError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Following {
    /// For this node, which hears hints from now on.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        directory: Arc<Directory>,
        signing_keys: Arc<SigningKeys>,
        node: NodeId,
    ) -> Self {
        let hints = cluster.hints();
        Self { cluster, directory, signing_keys, node, hints }
    }

    /// Runs until `stopped` says so.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fails = false;
        loop {
            tokio::select! {
                () = until_changed(&mut self.hints) => {}
                _ = ticks.tick() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            // What was said before the reading begins is found by it.
            self.hints = self.cluster.hints();
            let followed = self.follow().await;
            match &followed {
                Ok(()) if fails => tracing::info!("the other nodes can be followed again"),
                Err(error) if !fails => {
                    tracing::warn!(code = error.code(), %error, "the other nodes cannot be followed now");
                }
                Ok(()) | Err(_) => {}
            }
            fails = followed.is_err();
        }
    }

    /// Reads what others have changed, and says so.
    async fn follow(&self) -> Result<(), FollowError> {
        self.directory.catch_up().await?;
        let version = self.directory.version();
        self.signing_keys.reload().await?;
        Ok(self.directory.report_as(self.node, version).await?)
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("node", &self.node).finish_non_exhaustive()
    }
}

impl FollowError {
    fn code(&self) -> &'static str {
        match self {
            Self::Change(error) => error.code(),
            Self::SigningKeys(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

/// Waits for word of a change, or for having missed words.
async fn until_changed(hints: &mut broadcast::Receiver<Hint>) {
    loop {
        match hints.recv().await {
            Ok(Hint::Configured | Hint::RingChanged | Hint::Lost)
            | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(Hint::Arrived(_) | Hint::Withdrawn(_)) => {}
            // The store has none to give any more: looking every second has to do.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// How often it is looked without a hint.
const EVERY: Duration = Duration::from_secs(1);
