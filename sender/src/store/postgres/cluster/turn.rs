//! The turn to change what is configured: a lock that lasts as long as a connection of its own.
//!
//! Who holds it says nothing on that connection, so the server ends it after a few seconds: a node that was stopped
//! keeps nobody waiting for long. A node that is killed gives it back at once.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::super::connect::{Connector, Purpose, Session};
use super::super::failure::Failure;
use crate::store::{StoreError, Turn};

/// Waits for the turn, for a while.
pub(super) async fn wait(connector: &Connector) -> Result<Turn, StoreError> {
    let session = connector.connect(Purpose::Turn).await?;
    let others = || Failure::unavailable("others are changing what is configured");
    let locked = timeout(PATIENCE, session.query("SELECT pg_advisory_lock($1)", &[&CHANGING])).await;
    locked
        .unwrap_or_else(|_| Err(others()))
        .map_err(|failure| if failure.is(&SqlState::LOCK_NOT_AVAILABLE) { others() } else { failure })?;
    Ok(Turn::new(Held(session)))
}

/// Closing the connection gives the lock back.
struct Held(#[expect(dead_code, reason = "it is there to be dropped")] Session);

/// The lock of whoever changes what is configured: any number that is no other's.
const CHANGING: i64 = 0x7761_7873_6561_6c04;

/// A little longer than the server lets anybody wait.
const PATIENCE: Duration = Duration::from_secs(10);
