//! Whether an endpoint that is not known here is gone.
//!
//! Another node may just have created it. So whoever finds an endpoint missing catches up with the other nodes first, and
//! believes it then: what belongs to an endpoint that is gone is cancelled, and that cannot be taken back.

use std::time::Duration;

use super::shared::Shared;
use crate::id::EndpointId;

/// What is known of an endpoint that was missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gone {
    /// It is no more.
    Yes,
    /// It is there by now.
    No,
    /// The store cannot say. What belongs to it waits.
    Unknown,
}

/// Looks again, by what is configured now. Takes a while when the store cannot say, lest those who ask keep asking.
pub(super) async fn is_gone(shared: &Shared, endpoint: EndpointId) -> Gone {
    match shared.parts.directory.catch_up().await {
        Ok(()) if shared.parts.directory.endpoint(endpoint).is_some() => Gone::No,
        Ok(()) => Gone::Yes,
        Err(error) => {
            tracing::warn!(%endpoint, code = error.code(), "it is not known whether the endpoint is gone");
            tokio::time::sleep(AFTER_FAILURE).await;
            Gone::Unknown
        }
    }
}

const AFTER_FAILURE: Duration = Duration::from_secs(1);
