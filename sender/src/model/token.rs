//! API tokens: who may call which part of the API.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, TokenId};

/// A token as it is kept: its hash, never itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiToken {
    /// Its id.
    pub id: TokenId,
    /// SHA-256 of the whole token, hexadecimal. The token has 256 random bits, so a plain hash is enough.
    pub sha256: String,
    /// Free text for people.
    pub label: Option<String>,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only consumer whose things it may see and change.
    pub consumer: Option<ConsumerId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// One thing that a token may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Admin,
    /// Publish events.
    Publish,
    /// See consumers, endpoints, events, deliveries.
    Read,
    /// Change consumers, groups, event types, endpoints; redeliver.
    Manage,
    /// Change where sealed content can be read: key sources, admission, URL and protection of an endpoint.
    ConsumerKeys,
    /// Rotate and revoke the sender's signing keys.
    Keys,
    /// Make and withdraw API tokens.
    Tokens,
    /// Read the metrics.
    Metrics,
    /// Read the audit trail.
    Audit,
}
