//! [`Told`]: what the operator knows already, so that a restart tells nothing twice and forgets no all-clear.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EndpointId};

/// One thing that the operator was told, and that still stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what", deny_unknown_fields)]
pub enum Told {
    /// An endpoint's deliveries are held.
    Held {
        /// Which endpoint.
        endpoint: EndpointId,
        /// Whose it is.
        consumer: ConsumerId,
        /// The hold's code.
        code: String,
        /// Since when.
        since: Timestamp,
    },
    /// A key or certificate is about to expire.
    Expiring {
        /// Which one.
        subject: String,
        /// When it ends.
        not_after: Timestamp,
        /// How many warnings of it were given; each comes closer to the end.
        warnings: usize,
    },
    /// How the signing keys stood.
    SigningKeys {
        /// Which key signs.
        active: Option<String>,
        /// Which were revoked.
        revoked: BTreeSet<String>,
    },
    /// Failures up to a moment.
    Failures {
        /// That moment.
        until: Timestamp,
    },
}

impl Told {
    /// Its name among its kind.
    pub fn id(&self) -> String {
        match self {
            Self::Held { endpoint, .. } => Self::held_id(*endpoint),
            Self::Expiring { subject, .. } => Self::expiring_id(subject),
            Self::SigningKeys { .. } => Self::SIGNING_KEYS.to_owned(),
            Self::Failures { .. } => Self::FAILURES.to_owned(),
        }
    }

    /// The name of what was told of an endpoint's hold.
    pub fn held_id(endpoint: EndpointId) -> String {
        format!("held/{endpoint}")
    }

    /// The name of what was told of something that expires.
    pub fn expiring_id(subject: &str) -> String {
        format!("expiring/{subject}")
    }

    /// The name of what was told of the signing keys.
    pub const SIGNING_KEYS: &str = "signing_keys";

    /// The name of what was told of failures.
    pub const FAILURES: &str = "failures";
}
