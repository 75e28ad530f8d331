//! What has to be done now and then, by whichever node comes to it first: days made ahead, and keys forgotten that no
//! repetition can have any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connect::{Connector, Purpose};
use super::failure::Failure;
use super::schema;

/// The task that does it.
#[derive(Debug)]
pub(super) struct Upkeep(JoinHandle<()>);

impl Upkeep {
    pub(super) fn start(connector: &Arc<Connector>) -> Self {
        let connector = Arc::clone(connector);
        Self(tokio::spawn(async move {
            loop {
                sleep(EVERY).await;
                let done = timeout(EVERY, pass(&connector)).await;
                if let Err(failure) = done.unwrap_or(Err(Failure::Unknown("it took too long"))) {
                    let error = crate::store::StoreError::from(failure);
                    tracing::warn!(
                        code = error.code(),
                        "the upkeep of the database failed; it is tried again"
                    );
                }
            }
        }))
    }

    pub(super) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn pass(connector: &Connector) -> Result<(), Failure> {
    let session = connector.connect(Purpose::Write).await?;
    let made = schema::make_days(&session).await;
    while session.execute(FORGET, &[&SOME]).await? >= u64::try_from(SOME).unwrap_or(u64::MAX) {
        sleep(REST).await;
    }
    made
}

/// A key counts until its end by the clocks of the nodes; an hour later it does by none of them.
const FORGET: &str = "DELETE FROM idempotency WHERE key IN (
         SELECT key FROM idempotency
             WHERE expires_at <= floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 3600000
             ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)";

const EVERY: Duration = Duration::from_secs(600);

/// Keys that are forgotten at once.
const SOME: i64 = 2_000;

const REST: Duration = Duration::from_millis(200);
