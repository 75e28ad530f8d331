//! How the API shows what there is. Never a secret: URLs to those who may read, tokens to nobody.

use serde_json::{Value, json};
use waxseal_keys::RingEntry;

use super::{endpoint_auth, pace, retry};
use crate::engine::condition::Condition;
use crate::engine::hold::Hold;
use crate::model::consumer::{Consumer, DeclaredType, Group, Visibility};
use crate::model::delivery::{Attempt, Delivery};
use crate::model::encryption_keys::{EncryptionKeySet, KeySource};
use crate::model::endpoint::{Endpoint, EndpointStatus, Subscription};
use crate::model::token::ApiToken;
pub(super) use crate::moment::rfc3339 as moment;
use crate::publish::Redelivered;

/// A page of a list, and where the next one begins, if there is one.
pub(super) fn page(data: Vec<Value>, next: Option<String>) -> Value {
    json!({ "data": data, "next": next })
}

/// Cuts a list that was read one longer than its page, and names the last item shown if there is more.
pub(super) fn cut<T, N: ToString>(
    items: &mut Vec<T>,
    limit: usize,
    name: impl Fn(&T) -> N,
) -> Option<String> {
    let more = items.len() > limit;
    items.truncate(limit);
    items.last().filter(|_| more).map(|item| name(item).to_string())
}

pub(super) fn consumer(consumer: &Consumer) -> Value {
    json!({
        "id": consumer.id,
        "description": consumer.description,
        "groups": consumer.groups,
        "created_at": moment(consumer.created_at),
    })
}

pub(super) fn group(group: &Group) -> Value {
    json!({
        "name": group.name,
        "description": group.description,
        "created_at": moment(group.created_at),
    })
}

pub(super) fn event_type(declared: &DeclaredType) -> Value {
    let groups = match &declared.visible_to {
        Visibility::All => Value::Null,
        Visibility::Groups(groups) => json!(groups),
    };
    json!({
        "name": declared.name,
        "description": declared.description,
        "groups": groups,
        "created_at": moment(declared.created_at),
    })
}

/// As [`event_type`], for a consumer: not through which group it sees the type.
pub(super) fn visible_event_type(declared: &DeclaredType) -> Value {
    json!({
        "name": declared.name,
        "description": declared.description,
        "created_at": moment(declared.created_at),
    })
}

/// `hold`: the code of the reason why nothing is sent at present although it is active.
pub(super) fn endpoint(endpoint: &Endpoint, hold: Option<Hold>, condition: &Condition) -> Value {
    let event_types = match &endpoint.event_types {
        Subscription::All => json!(["*"]),
        Subscription::Types(types) => json!(types),
    };
    let status = match &endpoint.status {
        EndpointStatus::Active => json!({ "state": "active" }),
        EndpointStatus::Paused { reason, since } => {
            json!({ "state": "paused", "reason": reason, "since": moment(*since) })
        }
    };
    let mut shown = json!({
        "id": endpoint.id,
        "consumer": endpoint.consumer,
        "url": endpoint.url,
        "event_types": event_types,
        "audience": endpoint.audience().as_str(),
        "protection": endpoint.protection,
        "authentication": endpoint.authentication.as_deref().map(endpoint_auth::authentication),
        "server_authentication": endpoint.server_authentication.as_deref().map(endpoint_auth::server),
        "retry": endpoint.retry.as_ref().map(retry::show),
        "description": endpoint.description,
        "status": status,
        "hold": hold.map(Hold::code),
        "created_at": moment(endpoint.created_at),
    });
    if let Value::Object(members) = &mut shown {
        members.extend(pace::show(&endpoint.pace, condition));
    }
    shown
}

pub(super) fn key_set(set: &EncryptionKeySet) -> Value {
    let keys = set.keys.iter().map(|key| {
        json!({
            "thumbprint": key.thumbprint,
            "jwk": key.jwk,
            "first_seen": moment(key.first_seen),
            "admitted_at": key.admitted_at.map(moment),
            "certificate_not_after": key.certificate_not_after.map(moment),
        })
    });
    let keys: Vec<_> = keys.collect();
    match &set.source {
        KeySource::Pinned => json!({ "source": "pinned", "keys": keys }),
        KeySource::Uri { jwks_uri, admission } => {
            json!({ "source": "uri", "jwks_uri": jwks_uri, "admission": admission, "keys": keys })
        }
    }
}

pub(super) fn delivery(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "event": delivery.event,
        "endpoint": delivery.endpoint,
        "consumer": delivery.consumer,
        "state": delivery.state,
        "attempts_made": delivery.attempts_made,
        "due_at": delivery.due_at.map(moment),
        "last_attempt_at": delivery.last_attempt_at.map(moment),
        "expires_at": delivery.expires_at.map(moment),
        "ended_at": delivery.ended_at.map(moment),
    })
}

/// A delivery that was added by hand.
pub(super) fn redelivered(made: &Redelivered) -> Value {
    json!({ "id": made.delivery, "event": made.event, "redelivery_of": made.redelivery_of })
}

/// `excerpt`: the beginning of what the receiver answered, decrypted, if it can be.
pub(super) fn attempt(attempt: &Attempt, excerpt: Option<&[u8]>) -> Value {
    json!({
        "number": attempt.number,
        "started_at": moment(attempt.started_at),
        "duration_ms": attempt.duration_ms,
        "status": attempt.status,
        "result": attempt.result,
        "signing_kid": attempt.signing_kid,
        "encryption_kid": attempt.encryption_kid,
        "response_excerpt": excerpt.map(String::from_utf8_lossy),
        "next_at": attempt.next_at.map(moment),
        "clock_skew_seconds": attempt.clock_skew_seconds,
    })
}

pub(super) fn token(token: &ApiToken) -> Value {
    json!({
        "id": token.id,
        "label": token.label,
        "scopes": token.scopes,
        "consumer": token.consumer,
        "created_at": moment(token.created_at),
        "expires_at": token.expires_at.map(moment),
    })
}

pub(super) fn signing_key(entry: &RingEntry) -> Value {
    json!({
        "kid": entry.kid(),
        "alg": entry.alg().name(),
        "state": entry.state(),
        "created_at": moment(entry.created()),
        "published_since": entry.published_since().map(moment),
        "activated_at": entry.activated().map(moment),
        "left_active_at": entry.left_active().map(moment),
        "retired_at": entry.retired().map(moment),
        "revoked_at": entry.revoked().map(moment),
        "certificate": entry.certificate().map(|certificate| json!({
            "not_before": moment(certificate.not_before()),
            "not_after": moment(certificate.not_after()),
            "x5t#S256": certificate.thumbprint(),
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_last_item_only_if_there_is_more() {
        let mut items = vec![1, 2, 3];
        assert_eq!(cut(&mut items, 2, |n| *n), Some("2".to_owned()));
        assert_eq!(items, [1, 2]);
        assert_eq!(cut(&mut items, 2, |n| *n), None);
        assert_eq!(cut(&mut Vec::<i32>::new(), 2, |n| *n), None);
    }
}
