//! Identifiers, as newtypes that are valid by construction.
//!
//! What the sender makes itself is a UUIDv7: it sorts by time, so inserts stay local and pages follow creation
//! order. On the wire each carries a prefix (`evt_`, `ep_`, `dlv_`, `rcv_`, `tok_`, `aud_`, `node_`), so that a misplaced id is refused
//! where it is misplaced. Consumers and groups are named by the operator; copies of a name share its text.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{ClockSequence, ContextV7, NoContext, Uuid};
use waxseal_keys::Timestamp;

/// Why a text is not the identifier that was expected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// A generated id without its prefix, or whose rest is not 32 lower-case hexadecimal digits.
    #[error("expected `{prefix}` followed by 32 lower-case hexadecimal digits")]
    Generated {
        /// The prefix of the expected kind.
        prefix: &'static str,
    },
    /// A name chosen by the operator that breaks the rule for names.
    #[error("expected 1 to 64 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit")]
    Name,
}

macro_rules! generated_id {
    ($name:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Uuid);

        impl $name {
            /// What the text form starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id whose time part is `now`.
            pub fn generate(now: Timestamp) -> Self {
                Self(uuid_at(now))
            }

            /// Older than every id that was generated at `moment` or later, newer than every one from before.
            pub fn lower_bound(moment: Timestamp) -> Self {
                Self(Uuid::from_u128(u128::from(uuid_millis(moment)) << 80))
            }

            /// When it was generated, to the millisecond.
            pub fn made_at(&self) -> Timestamp {
                let millis = self.0.as_u128() >> 80;
                Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
            }

            /// Reads the prefixed text form.
            ///
            /// # Errors
            /// [`IdError::Generated`] names the prefix and the form that were expected.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                parse_uuid(text, $prefix).map(Self)
            }

            /// The 16 bytes that a store keeps.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id that a store kept.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

generated_id!(
    EventId,
    "evt_",
    "One published event; its text form is the `jti` of every token made from it."
);
generated_id!(EndpointId, "ep_", "One endpoint of a consumer.");
generated_id!(DeliveryId, "dlv_", "One event for one endpoint.");
generated_id!(RecoveryId, "rcv_", "One recovery of an endpoint: many redeliveries.");
generated_id!(TokenId, "tok_", "One API token (never the token itself).");
generated_id!(AuditId, "aud_", "One entry of the audit trail.");
generated_id!(NodeId, "node_", "One process of a sender, from its start to its end.");

/// Makes delivery ids that ascend, also within a millisecond and when the clock is set back: where an endpoint wants its
/// deliveries in order, the order is that of their ids.
#[derive(Debug, Default)]
pub struct Ascending(Mutex<Order>);

#[derive(Debug)]
struct Order {
    context: ContextV7,
    /// No id is of a time before this.
    floor: Timestamp,
}

impl Default for Order {
    fn default() -> Self {
        Self { context: ContextV7::new(), floor: Timestamp::MIN }
    }
}

impl Ascending {
    /// A new id, after all that this has made; its time part is `now` or, if that is later, the last one's.
    pub fn next(&self, now: Timestamp) -> DeliveryId {
        DeliveryId(self.order().next(now))
    }

    /// As [`Self::next`], for an entry of the audit trail.
    pub fn next_audit(&self, now: Timestamp) -> AuditId {
        AuditId(self.order().next(now))
    }

    /// Makes only ids from here on that are after this one.
    pub fn go_on_after(&self, last: DeliveryId) {
        let mut order = self.order();
        order.floor = order.floor.max(last.made_at().saturating_add(MILLISECOND));
    }

    /// After the time of every id that this has made: `now`, or later.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        self.order().floor.saturating_add(MILLISECOND).max(now)
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn next(&mut self, now: Timestamp) -> Uuid {
        self.floor = self.floor.max(now);
        uuid_in(&self.context, self.floor)
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

macro_rules! chosen_name {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts 1 to 64 characters of `A-Z a-z 0-9 . _ -` that start with a letter or digit.
            ///
            /// # Errors
            /// [`IdError::Name`].
            pub fn parse(text: &str) -> Result<Self, IdError> {
                is_name(text).then(|| Self(text.into())).ok_or(IdError::Name)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

chosen_name!(
    ConsumerId,
    "The party that receives; signed into each token as `aud` unless an endpoint has its own."
);
chosen_name!(GroupName, "A set of consumers that event types and publications can name.");

impl ConsumerId {
    /// A new id, `con_` and 32 hexadecimal digits, for a consumer that the operator did not name.
    pub fn generate(now: Timestamp) -> Self {
        Self(format!("con_{}", uuid_at(now).simple()).into())
    }
}

fn uuid_at(now: Timestamp) -> Uuid {
    uuid_in(NoContext, now)
}

fn uuid_in(context: impl ClockSequence<Output = impl Into<u128>>, now: Timestamp) -> Uuid {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1_000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(context, millis / 1_000, nanos))
}

/// The 48 bits in which a UUIDv7 has its time (RFC 9562 section 5.7).
fn uuid_millis(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(0).min((1 << 48) - 1)
}

fn parse_uuid(text: &str, prefix: &'static str) -> Result<Uuid, IdError> {
    let refused = IdError::Generated { prefix };
    let rest = text.strip_prefix(prefix).ok_or_else(|| refused.clone())?;
    let canonical = rest.len() == 32 && rest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !canonical {
        return Err(refused);
    }
    Uuid::try_parse(rest).map_err(|_| refused)
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_sort_by_time_and_survive_their_text_form() {
        let early = EventId::generate(Timestamp::from_seconds(1_000));
        let late = EventId::generate(Timestamp::from_seconds(2_000));
        assert!(early < late);
        assert_eq!(late.made_at(), Timestamp::from_seconds(2_000));
        assert_eq!(EventId::parse(&early.to_string()), Ok(early));
    }

    #[test]
    fn ascending_ids_go_on_after_those_of_a_process_before_whose_clock_was_ahead() {
        let (ids, now) = (Ascending::default(), Timestamp::from_millis(5_000));
        assert_eq!(ids.horizon(now), now);
        let before = Ascending::default().next(Timestamp::from_millis(9_000));
        ids.go_on_after(before);
        let next = ids.next(now);
        assert!(next > before);
        assert!(DeliveryId::lower_bound(ids.horizon(now)) > next, "what is made is before it");
        assert_eq!(ids.horizon(Timestamp::from_millis(10_000)), Timestamp::from_millis(10_000));
    }

    #[test]
    fn ascending_ids_ascend_within_a_millisecond_and_against_the_clock() {
        let (ids, other) = (Ascending::default(), Ascending::default());
        let made: Vec<_> = (0..1_000).map(|n| ids.next(Timestamp::from_millis(5_000 - n / 100))).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert_ne!(other.next(Timestamp::from_millis(5_000)), made[0]);
        assert!(ids.next(Timestamp::from_millis(5_001)) > made[999]);
    }

    #[test]
    fn a_moment_lies_between_the_ids_before_and_after_it() {
        let moment = Timestamp::from_millis(1_800_000_000_123);
        let bound = DeliveryId::lower_bound(moment);
        assert!(bound < DeliveryId::generate(moment));
        assert!(bound > DeliveryId::generate(Timestamp::from_millis(1_800_000_000_122)));
        assert!(DeliveryId::lower_bound(Timestamp::MIN) < DeliveryId::generate(Timestamp::from_millis(0)));
        assert!(DeliveryId::lower_bound(Timestamp::MAX) > DeliveryId::generate(moment));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let event = EventId::generate(Timestamp::from_seconds(1)).to_string();
        assert_eq!(DeliveryId::parse(&event), Err(IdError::Generated { prefix: "dlv_" }));
        assert!(EventId::parse("evt_0").is_err());
        assert!(EventId::parse(&event.to_uppercase()).is_err());
    }

    #[test]
    fn names_follow_one_rule() {
        for good in ["acme", "a", "A.b_c-9", &"x".repeat(64)] {
            assert!(ConsumerId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(ConsumerId::parse(bad), Err(IdError::Name), "{bad}");
        }
    }
}
