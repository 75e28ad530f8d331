//! The operational events: their types, and what each of them says.
//!
//! This is their one description in code; `docs/operational-events.md` is the one for people.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use waxseal_envelope::EventType;
use waxseal_keys::Timestamp;

use crate::engine::hold::Hold;
use crate::id::{ConsumerId, EndpointId, EventId};
use crate::model::endpoint::{Endpoint, PauseReason};
use crate::model::notice::Notice;
use crate::moment::rfc3339;
use crate::store::FailureCount;

/// The engine has paused an endpoint.
pub const ENDPOINT_DISABLED: &str = "waxseal.endpoint.disabled";
/// An endpoint that the engine had paused goes on.
pub const ENDPOINT_RESUMED: &str = "waxseal.endpoint.resumed";
/// A consumer's change of its keys has ended the trust in endpoints.
pub const ENDPOINT_TRUST_ENDED: &str = "waxseal.endpoint.trust_ended";
/// Deliveries have been held for a while.
pub const DELIVERIES_HELD: &str = "waxseal.deliveries.held";
/// Deliveries that were held go on.
pub const DELIVERIES_RELEASED: &str = "waxseal.deliveries.released";
/// Deliveries have ended without being delivered, in a window of time.
pub const DELIVERIES_ENDED: &str = "waxseal.deliveries.ended";
/// Receivers have refused attempts, in a window of time.
pub const ATTEMPTS_REFUSED: &str = "waxseal.attempts.refused";
/// Keys or certificates expire soon, or have expired.
pub const KEY_EXPIRING: &str = "waxseal.key.expiring";
/// Another key of the sender signs.
pub const SIGNING_KEY_ROTATED: &str = "waxseal.signing_key.rotated";
/// A signing key of the sender was revoked.
pub const SIGNING_KEY_REVOKED: &str = "waxseal.signing_key.revoked";

/// Every type: what the operator's endpoints can name, and nobody else's.
pub const TYPES: [&str; 10] = [
    ENDPOINT_DISABLED,
    ENDPOINT_RESUMED,
    ENDPOINT_TRUST_ENDED,
    DELIVERIES_HELD,
    DELIVERIES_RELEASED,
    DELIVERIES_ENDED,
    ATTEMPTS_REFUSED,
    KEY_EXPIRING,
    SIGNING_KEY_ROTATED,
    SIGNING_KEY_REVOKED,
];

/// How many things one event lists; it says of how many.
pub const LISTED: usize = 100;

/// An endpoint whose deliveries are, or were, held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldEndpoint {
    /// Which one.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// Since when it is or was held.
    pub since: Timestamp,
}

/// Something that expires.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expiring {
    /// `encryption_key`, `encryption_certificate`, `client_certificate`, `trusted_certificate` or `server_certificate`.
    pub kind: &'static str,
    /// Whose it is; nobody's: the sender's.
    pub consumer: Option<ConsumerId>,
    /// Whose it is alone, or where it is used.
    pub endpoint: Option<EndpointId>,
    /// A key's thumbprint (RFC 7638), also of one that was given in a certificate; or a certificate's SHA-256.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// The engine has paused an endpoint.
pub fn disabled(endpoint: &Endpoint, reason: PauseReason, now: Timestamp) -> Notice {
    let data = json!({
        "consumer": endpoint.consumer,
        "endpoint": endpoint.id,
        "reason": reason,
        "since": rfc3339(now),
    });
    notice(ENDPOINT_DISABLED, Some(endpoint.consumer.clone()), now, data)
}

/// Somebody has resumed an endpoint that the engine had paused.
pub fn resumed(endpoint: &Endpoint, reason: PauseReason, since: Timestamp, now: Timestamp) -> Notice {
    let data = json!({
        "consumer": endpoint.consumer,
        "endpoint": endpoint.id,
        "reason": reason,
        "paused_since": rfc3339(since),
    });
    notice(ENDPOINT_RESUMED, Some(endpoint.consumer.clone()), now, data)
}

/// These endpoints of one consumer are not trusted any more, because it has changed where their keys come from.
pub fn trust_ended(consumer: &ConsumerId, endpoints: &[Endpoint], now: Timestamp) -> Notice {
    let listed = endpoints.iter().take(LISTED).map(|endpoint| endpoint.id);
    let data = json!({
        "consumer": consumer,
        "code": Hold::EndpointUnverified.code(),
        "because": "encryption_keys",
        "endpoints": listed.collect::<Vec<_>>(),
        "total": endpoints.len(),
    });
    notice(ENDPOINT_TRUST_ENDED, Some(consumer.clone()), now, data)
}

/// Deliveries to these endpoints have been held for a while, all for one reason.
pub fn held(hold: Hold, endpoints: &[HeldEndpoint], now: Timestamp) -> Notice {
    let mut data = of_endpoints(hold.code(), endpoints);
    data["explanation"] = json!(hold.to_string());
    notice(DELIVERIES_HELD, only_consumer(endpoints), now, data)
}

/// Deliveries to these endpoints go on, or there are none any more.
pub fn released(code: &str, endpoints: &[HeldEndpoint], now: Timestamp) -> Notice {
    notice(DELIVERIES_RELEASED, only_consumer(endpoints), now, of_endpoints(code, endpoints))
}

/// These keys and certificates come closer to their end.
pub fn expiring(keys: &[Expiring], now: Timestamp) -> Notice {
    let listed = keys.iter().take(LISTED).map(|key| {
        json!({
            "kind": key.kind,
            "consumer": key.consumer,
            "endpoint": key.endpoint,
            "fingerprint": key.fingerprint,
            "not_after": rfc3339(key.not_after),
            "expired": key.not_after <= now,
        })
    });
    let data = json!({ "keys": listed.collect::<Vec<_>>(), "total": keys.len() });
    notice(KEY_EXPIRING, None, now, data)
}

/// Another key signs, or none does.
pub fn rotated(before: Option<&str>, active: Option<&str>, now: Timestamp) -> Notice {
    notice(SIGNING_KEY_ROTATED, None, now, json!({ "before": before, "active": active }))
}

/// A signing key was revoked. `active`: the one that signs since, if one does.
pub fn revoked(kid: &str, active: Option<&str>, now: Timestamp) -> Notice {
    notice(SIGNING_KEY_REVOKED, None, now, json!({ "revoked": kid, "active": active }))
}

/// Deliveries that ended badly in a window, or attempts that were refused in it; the most frequent first.
pub fn failures(
    event_type: &'static str,
    counts: &[FailureCount],
    window: (Timestamp, Timestamp),
    is_cut: bool,
    now: Timestamp,
) -> Notice {
    let mut by_code: BTreeMap<&str, u64> = BTreeMap::new();
    for count in counts {
        *by_code.entry(code(count)).or_default() += count.count;
    }
    let listed = counts.iter().take(LISTED).map(|count| {
        let mut shown = json!({
            "consumer": count.consumer,
            "endpoint": count.endpoint,
            "type": count.event_type,
            "code": code(count),
            "count": count.count,
        });
        if let Some(state) = count.state {
            shown["state"] = json!(state);
        }
        if let Some(skew) = count.clock_skew_seconds {
            shown["clock_skew_seconds"] = json!(skew);
        }
        shown
    });
    let data = json!({
        "from": rfc3339(window.0),
        "until": rfc3339(window.1),
        "count": counts.iter().map(|count| count.count).sum::<u64>(),
        "is_exact": !is_cut,
        "by_code": by_code,
        "groups": listed.collect::<Vec<_>>(),
        "total": counts.len(),
    });
    notice(event_type, None, now, data)
}

/// Why: the attempt's code, or the state where there was no attempt.
fn code(count: &FailureCount) -> &str {
    let state = count.state.map_or("refused", crate::model::delivery::DeliveryState::name);
    count.result.as_deref().unwrap_or(state)
}

fn of_endpoints(code: &str, endpoints: &[HeldEndpoint]) -> Value {
    let listed = endpoints.iter().take(LISTED).map(
        |held| json!({ "consumer": held.consumer, "endpoint": held.endpoint, "since": rfc3339(held.since) }),
    );
    json!({ "code": code, "endpoints": listed.collect::<Vec<_>>(), "total": endpoints.len() })
}

fn only_consumer(endpoints: &[HeldEndpoint]) -> Option<ConsumerId> {
    let (first, others) = endpoints.split_first()?;
    others.iter().all(|other| other.consumer == first.consumer).then(|| first.consumer.clone())
}

fn notice(event_type: &'static str, about: Option<ConsumerId>, now: Timestamp, data: Value) -> Notice {
    Notice {
        event: EventId::generate(now),
        event_type: EventType::parse(event_type).expect("a dotted name"),
        about,
        occurred_at: now,
        data,
    }
}
