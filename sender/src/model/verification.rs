//! [`Verification`]: whether an endpoint gets events, because it proved that its owner wants them or because somebody
//! trusts it.
//!
//! Plain data and pure functions of it. Guarantees that a proof, and a question that is on its way, count only for the
//! [`Binding`] that they were made for; and that what is shown of a verification that has not succeeded depends on when
//! questions were asked and on nothing that was answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;
use waxseal_keys::Timestamp;

use super::encryption_keys::{EncryptionKeySet, KeySource};
use super::endpoint::{Endpoint, Protection};
use crate::id::TokenId;

/// Why an endpoint gets events, or that it gets none yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Verification {
    /// An operator trusts that whatever answers at its URL is the receiver.
    Trusted {
        /// The API token that said so; `None`: it is from before endpoints were asked.
        by: Option<TokenId>,
        /// Since when; `None`: since it was created.
        since: Option<Timestamp>,
    },
    /// It has answered a question that only its server could read.
    Proven {
        /// When.
        at: Timestamp,
        /// What it was then.
        binding: Box<Binding>,
    },
    /// It has not proved anything yet.
    Awaited {
        /// How far asking has come; `None`: it is to be asked from the beginning.
        challenge: Option<Box<Challenge>>,
        /// When it last proved itself where it is and as it is protected, with other keys: that somebody there wants
        /// events is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agreed_at: Option<Timestamp>,
    },
}

/// What an endpoint is to whoever proves that it wants events: another one of these proves nothing.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Where it receives.
    pub url: Url,
    /// How its tokens are protected.
    pub protection: Protection,
    /// Whose keys they are sealed to, if they are.
    pub keys: Option<KeyBinding>,
}

/// Where encryption keys come from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyBinding {
    /// A pinned set: these thumbprints.
    Pinned(Vec<String>),
    /// A `jwks_uri`. Keys come and go there by admission, which is a control of its own.
    Uri(Url),
}

/// A question that was asked, and what is to come of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// SHA-256 of the state that was sent last, base64url.
    pub state_sha256: String,
    /// What it was sent to.
    pub binding: Binding,
    /// The thumbprint of the key that it was sealed to.
    pub sealed_to: Option<String>,
    /// How often it was asked since the beginning.
    pub attempts_made: u32,
    /// No answer to the last attempt counts from here on.
    pub answer_by: Timestamp,
    /// When it is asked again, unless it has answered.
    pub next_at: Option<Timestamp>,
    /// When asking ends.
    pub ends_at: Timestamp,
}

/// What is to be said of an endpoint's verification at some moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Trusted by an operator.
    Trusted,
    /// Proven, and it still is what it was.
    Proven,
    /// It is being asked, or will be.
    Pending,
    /// It was asked in vain, and is not asked any more.
    Failed,
}

impl Verification {
    /// It is to be asked from the beginning.
    pub const UNASKED: Self = Self::Awaited { challenge: None, agreed_at: None };

    /// How `endpoint`, whose verification this is, stands; `keys` is the set that is used for it.
    pub fn standing(&self, endpoint: &Endpoint, keys: Option<&EncryptionKeySet>, now: Timestamp) -> Standing {
        match self {
            Self::Trusted { .. } => Standing::Trusted,
            Self::Proven { binding, .. } if binding.is_of(endpoint, keys) => Standing::Proven,
            Self::Proven { .. } => Standing::Pending,
            Self::Awaited { .. } => match self.challenge(endpoint, keys) {
                Some(challenge) if challenge.has_failed(now) => Standing::Failed,
                Some(_) | None => Standing::Pending,
            },
        }
    }

    /// The challenge that is under way for `endpoint` as it is.
    pub fn challenge(&self, endpoint: &Endpoint, keys: Option<&EncryptionKeySet>) -> Option<&Challenge> {
        match self {
            Self::Awaited { challenge, .. } => {
                challenge.as_deref().filter(|challenge| challenge.binding.is_of(endpoint, keys))
            }
            Self::Trusted { .. } | Self::Proven { .. } => None,
        }
    }

    /// When `endpoint` last proved itself at its URL and under its protection, whatever its keys were.
    pub fn agreed_at(&self, endpoint: &Endpoint) -> Option<Timestamp> {
        match self {
            Self::Proven { at, binding } => {
                let same = binding.url == endpoint.url && binding.protection == endpoint.protection;
                same.then_some(*at)
            }
            Self::Awaited { agreed_at, .. } => *agreed_at,
            Self::Trusted { .. } => None,
        }
    }

    /// When `endpoint` is to be asked, if it is.
    pub fn due_at(
        &self,
        endpoint: &Endpoint,
        keys: Option<&EncryptionKeySet>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match self.standing(endpoint, keys, now) {
            Standing::Trusted | Standing::Proven | Standing::Failed => None,
            Standing::Pending => match self.challenge(endpoint, keys) {
                Some(challenge) => challenge.next_at,
                None => Some(now),
            },
        }
    }
}

impl Default for Verification {
    /// Records from before there was verification: somebody with the right to do so has created each of them.
    fn default() -> Self {
        Self::Trusted { by: None, since: None }
    }
}

impl Binding {
    /// What `endpoint` is now.
    pub fn of(endpoint: &Endpoint, keys: Option<&EncryptionKeySet>) -> Self {
        let keys = match endpoint.protection {
            Protection::Signed => None,
            Protection::Sealed => keys.map(KeyBinding::of),
        };
        Self { url: endpoint.url.clone(), protection: endpoint.protection, keys }
    }

    /// Whether `endpoint` is still that. Compares without making another one: it is asked before every delivery.
    pub fn is_of(&self, endpoint: &Endpoint, keys: Option<&EncryptionKeySet>) -> bool {
        let keys_are = match (endpoint.protection, &self.keys, keys) {
            (Protection::Signed, None, _) => true,
            (Protection::Sealed, Some(binding), Some(keys)) => binding.is_of(keys),
            _ => false,
        };
        keys_are && self.protection == endpoint.protection && self.url == endpoint.url
    }
}

impl KeyBinding {
    fn of(set: &EncryptionKeySet) -> Self {
        match &set.source {
            KeySource::Pinned => Self::Pinned(set.keys.iter().map(|key| key.thumbprint.clone()).collect()),
            KeySource::Uri { jwks_uri, .. } => Self::Uri(jwks_uri.clone()),
        }
    }

    fn is_of(&self, set: &EncryptionKeySet) -> bool {
        match (self, &set.source) {
            (Self::Pinned(thumbprints), KeySource::Pinned) => {
                thumbprints.len() == set.keys.len()
                    && set.keys.iter().all(|key| thumbprints.contains(&key.thumbprint))
            }
            (Self::Uri(uri), KeySource::Uri { jwks_uri, .. }) => uri == jwks_uri,
            _ => false,
        }
    }
}

impl Challenge {
    /// Whether an answer may still be on its way.
    pub fn is_under_way(&self, now: Timestamp) -> bool {
        now < self.answer_by && now < self.ends_at && !self.is_dated_ahead(now)
    }

    /// Whether it was made by a clock that was set back since: no asking lasts so long.
    fn is_dated_ahead(&self, now: Timestamp) -> bool {
        self.ends_at > now.saturating_add(LONGEST + APART)
    }

    /// Whether some attempt is over, in vain. It is a matter of time alone: how soon a server refuses, or whether
    /// there is one, is not to be seen.
    pub fn has_missed(&self, now: Timestamp) -> bool {
        self.attempts_made > 1 || !self.is_under_way(now)
    }

    fn has_failed(&self, now: Timestamp) -> bool {
        self.is_dated_ahead(now) || now >= self.ends_at || (self.next_at.is_none() && now >= self.answer_by)
    }
}

/// As long as one state is worth something, and with it all attempts of one asking.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How far the clocks of two nodes may be apart: a challenge that the other has made is not dated ahead for that.
const APART: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
