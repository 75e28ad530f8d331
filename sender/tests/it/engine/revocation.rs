//! A signing key is revoked while deliveries are under way, scheduled and new.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::Value;
use waxseal_jwks::publish::PublishedKeys;
use waxseal_keys::{Clock, ManualClock, RingPolicy, SignatureAlgorithm, SystemClock};
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::Protection;
use waxseal_sender::signing_keys::SigningKeys;

use crate::engine::support::{PATIENCE, Receiver, Sender, err, until};

/// The `kid` in a token's protected header.
fn kid(token: &[u8]) -> String {
    let header = token.split(|octet| *octet == b'.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// A receiver that keeps the first request open until it is told to refuse it, and takes the others.
async fn receiver_with_a_gate() -> (Receiver, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let receiver = Receiver::answering(move |number| {
        if number > 0 {
            return StatusCode::ACCEPTED.into_response();
        }
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        err("invalid_key")
    });
    (receiver.await, open)
}

/// The sender with signing keys of this policy and clock.
async fn sender_with(policy: RingPolicy, clock: Arc<dyn Clock>) -> (Sender, Arc<SigningKeys>) {
    let mut sender = Sender::new().await;
    let (store, data_keys) = (sender.parts.store.clone(), sender.parts.data_keys.clone());
    let keys = SigningKeys::open(store, data_keys, policy, SignatureAlgorithm::Es256, clock).await.unwrap();
    sender.parts.signing_keys = Arc::clone(&keys);
    (sender, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_when_its_key_is_revoked_is_made_again_with_the_next_key() {
    let ready_at_once = RingPolicy { pending_for: Duration::ZERO, ..RingPolicy::default() };
    let (sender, keys) = sender_with(ready_at_once, Arc::new(SystemClock)).await;
    let (mut receiver, gate) = receiver_with_a_gate().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    let revoked = kid(&receiver.next().await);
    assert_eq!(keys.active().unwrap().kid(), revoked);

    keys.revoke(&revoked).await.unwrap();
    assert!(keys.published().find(&revoked).is_none(), "unpublished while its token is still under way");
    let next = keys.active().unwrap().kid().to_owned();
    gate.send(()).unwrap();

    assert_eq!(kid(&receiver.next().await), next);
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 2).await;
    let attempts = sender.parts.store.attempts(published.deliveries[0].id).await.unwrap();
    let kids: Vec<_> = attempts.iter().map(|attempt| attempt.signing_kid.as_str()).collect();
    assert_eq!(kids, [revoked.as_str(), &next], "the record tells which key each attempt was signed with");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_standby_that_is_ready_everything_waits_and_nothing_is_lost() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let (sender, keys) = sender_with(RingPolicy::default(), clock.clone()).await;
    let (mut receiver, gate) = receiver_with_a_gate().await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let in_flight = sender.publish(Some(&engine), "acme", "1").await;
    let revoked = kid(&receiver.next().await);

    keys.revoke(&revoked).await.unwrap();
    assert!(keys.active().is_none());
    gate.send(()).unwrap();
    sender.until(in_flight.deliveries[0].id, DeliveryState::Retrying, 1).await;
    let later = sender.publish(Some(&engine), "acme", "2").await;
    until(async || engine.holds().contains(&(endpoint, Hold::NoSigningKey)).then_some(())).await;
    assert!(receiver.is_idle(), "nothing is posted without a key");

    clock.advance(Duration::from_secs(25 * 60 * 60));
    keys.advance().await.unwrap();
    let next = keys.active().unwrap().kid().to_owned();
    assert_ne!(next, revoked);
    for _ in 0..2 {
        assert_eq!(kid(&receiver.next().await), next);
    }
    sender.until(in_flight.deliveries[0].id, DeliveryState::Delivered, 2).await;
    sender.until(later.deliveries[0].id, DeliveryState::Delivered, 1).await;
}
