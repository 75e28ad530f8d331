//! An event and the names in it (claims of RFC 8417 section 2.2, types of this format's section 1).
//!
//! Relies on nothing. Guarantees that a value of one of these types is well-formed: parsing is the only way to one,
//! and what was parsed can be written into a token and read back unchanged. Copies share their text.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use waxseal_keys::Timestamp;

use crate::data::Data;

/// One immutable fact for one audience: what goes in, and what comes out after all checks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// `iss`: who says it.
    pub issuer: Issuer,
    /// `aud`: the one party that it is for.
    pub audience: Audience,
    /// `jti`: stable over every attempt, the idempotency key.
    pub id: EventId,
    /// The name of the one member of `events`.
    pub event_type: EventType,
    /// `toe`: when it happened; whole seconds travel.
    pub occurred_at: Option<Timestamp>,
    /// `txn`: the publisher's own id, at most [`MAX_TXN`](crate::MAX_TXN) bytes.
    pub txn: Option<String>,
    /// What it says.
    pub data: Data,
    /// The id under which the same event was sent before, if it was redelivered as new.
    pub redelivery_of: Option<EventId>,
}

/// The id of an event for its audience (`jti`): 1 to 128 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventId(Arc<str>);

impl EventId {
    /// ```
    /// use waxseal_envelope::EventId;
    ///
    /// assert_eq!(EventId::parse("evt_01JD9Z7Q2M")?.as_str(), "evt_01JD9Z7Q2M");
    /// assert!(EventId::parse("evt 1").is_err());
    /// # Ok::<(), waxseal_envelope::NameError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if (1..=128).contains(&text.len()) && text.bytes().all(is_word) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::EventId)
        }
    }
}

/// Who signs (`iss`): an `https` URL without query, fragment and trailing slash; `http` for loopback hosts only.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// ```
    /// use waxseal_envelope::Issuer;
    ///
    /// assert!(Issuer::parse("https://hooks.example.com").is_ok());
    /// assert!(Issuer::parse("http://127.0.0.1:8080").is_ok());
    /// assert!(Issuer::parse("http://hooks.example.com").is_err());
    /// assert!(Issuer::parse("https://hooks.example.com/").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(NameError::Issuer),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host_of(authority).ok_or(NameError::Issuer)?;
        let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if (secure || loopback) && is_path(path) && text.len() <= MAX_URI {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Issuer)
        }
    }

    /// The member name of `events` for a type: `<iss>/events/<type>`, or the type itself where it is a URI.
    ///
    /// ```
    /// use waxseal_envelope::{EventType, Issuer};
    ///
    /// let issuer = Issuer::parse("https://hooks.example.com")?;
    /// let uri = issuer.event_uri(&EventType::parse("order.created")?);
    /// assert_eq!(uri, "https://hooks.example.com/events/order.created");
    /// # Ok::<(), waxseal_envelope::NameError>(())
    /// ```
    #[must_use]
    pub fn event_uri(&self, event_type: &EventType) -> String {
        if event_type.is_uri() {
            event_type.0.to_string()
        } else {
            format!("{}/events/{}", self.0, event_type.0)
        }
    }

    /// The other way: only this issuer's own dotted names stand under `<iss>/events/`.
    pub(crate) fn event_type(&self, uri: &str) -> Result<EventType, NameError> {
        match uri.strip_prefix(self.as_str()).and_then(|rest| rest.strip_prefix("/events/")) {
            Some(name) if !name.contains(':') => EventType::parse(name),
            Some(_) => Err(NameError::EventType),
            None => {
                EventType::parse(uri).and_then(|t| if t.is_uri() { Ok(t) } else { Err(NameError::EventType) })
            }
        }
    }
}

/// Whom it is for (`aud`): 1 to 256 visible ASCII characters, compared exactly.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Audience(Arc<str>);

impl Audience {
    /// ```
    /// use waxseal_envelope::Audience;
    ///
    /// assert!(Audience::parse("acme").is_ok());
    /// assert!(Audience::parse("").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Audience)
        }
    }
}

/// What happened: a dotted name of `[A-Za-z0-9_-]+` parts of at most 128 characters, or an `https:` or `urn:` URI.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventType(Arc<str>);

impl EventType {
    /// ```
    /// use waxseal_envelope::EventType;
    ///
    /// assert!(EventType::parse("order.created").is_ok());
    /// assert!(EventType::parse("urn:example:order:created").is_ok());
    /// assert!(EventType::parse("order..created").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let dotted =
            text.len() <= 128 && text.split('.').all(|part| !part.is_empty() && part.bytes().all(is_word));
        if dotted || is_event_uri(text) { Ok(Self(text.into())) } else { Err(NameError::EventType) }
    }

    /// Whether it is a URI of its own instead of a dotted name under the issuer.
    #[must_use]
    pub fn is_uri(&self) -> bool {
        self.0.contains(':')
    }

    /// Whether it is one of the types that only the framework itself sends: `waxseal` and everything under it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        &*self.0 == "waxseal" || self.0.starts_with("waxseal.")
    }
}

/// Why a name was refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// Not an event id.
    #[error("an event id is 1 to 128 characters of [A-Za-z0-9_-]")]
    EventId,
    /// Not an issuer.
    #[error(
        "an issuer is an https URL without user, query, fragment and trailing slash (http only on localhost, 127.0.0.1 or [::1])"
    )]
    Issuer,
    /// Not an audience.
    #[error("an audience is 1 to 256 visible ASCII characters")]
    Audience,
    /// Not an event type.
    #[error(
        "an event type is a dotted name of [A-Za-z0-9_-] parts, at most 128 characters, or an https: or urn: URI"
    )]
    EventType,
}

impl NameError {
    /// Stable name of the reason, for problem details and documents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::EventId => "name.event_id",
            Self::Issuer => "name.issuer",
            Self::Audience => "name.audience",
            Self::EventType => "name.event_type",
        }
    }
}

/// What every such name can do.
macro_rules! name {
    ($($name:ident)*) => {$(
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        /// Through the same rules as `parse`.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

name!(EventId Issuer Audience EventType);

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The host of an authority without user information, its port checked.
fn host_of(authority: &str) -> Option<&str> {
    let port_at = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(port_at);
    let port_ok = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p > 0));
    let host_ok = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .split('.')
                    .all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        }
    };
    (port_ok && host_ok).then_some(host)
}

/// Empty, or segments that neither end in a slash nor could be normalised away.
fn is_path(path: &str) -> bool {
    path.split('/').skip(1).all(|part| {
        // URL parsers read `%2e` as a dot before they resolve dots.
        !matches!(part.replace("%2e", ".").replace("%2E", ".").as_str(), "" | "." | "..")
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&b))
    })
}

/// Characters of RFC 3986, a scheme of the two, and something behind it.
fn is_event_uri(text: &str) -> bool {
    let characters = text.len() <= MAX_URI
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b));
    let shape = match (text.strip_prefix("https://"), text.strip_prefix("urn:")) {
        (Some(rest), _) => host_of(&rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]).is_some(),
        (None, Some(rest)) => {
            rest.split_once(':').is_some_and(|(nid, nss)| nid.len() >= 2 && !nss.is_empty())
        }
        (None, None) => false,
    };
    characters && shape
}

/// Longest issuer or event type URI.
const MAX_URI: usize = 512;

#[cfg(test)]
mod tests;
