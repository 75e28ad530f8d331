//! What a change of the configuration sets off, and what it leaves alone.

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_keys::{Clock, EncryptionKeyType, ManualClock, generate_decryption_key};
use waxseal_sender::consumer_keys::import::admissible;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::encryption_keys::{Admission, EncryptionKeySet, KeyOwner, KeySource};
use waxseal_sender::model::endpoint::{Endpoint, Protection};

use crate::engine::support::{Receiver, Sender, noon, until};

/// Another endpoint beside this one.
async fn sibling(sender: &Sender, of: EndpointId) -> EndpointId {
    let first = sender.parts.directory.endpoint(of).unwrap();
    let second = Endpoint { id: EndpointId::generate(noon()), ..Endpoint::clone(&first) };
    sender.parts.directory.create_endpoint(second, None).await.unwrap().id
}

#[tokio::test]
async fn a_key_change_of_one_endpoint_asks_for_no_other_endpoints_keys() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.limits.look_again = Duration::from_secs(24 * 60 * 60);
    let mut receiver = Receiver::accepting().await;
    let mut broken = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let changed = sender.endpoint("acme", &receiver.url, Protection::Sealed).await;
    let other = sibling(&sender, changed).await;
    let consumer = sender.parts.directory.endpoint(other).unwrap().consumer.clone();
    let source = KeySource::Uri { jwks_uri: broken.url.parse().unwrap(), admission: Admission::Automatic };
    let owner = KeyOwner::Endpoint(consumer.clone(), other);
    let set = EncryptionKeySet { owner, source, keys: Vec::new() };
    sender.parts.directory.put_key_set(set).await.unwrap();

    let engine = sender.start();
    sender.publish(Some(&engine), "acme", "1").await;
    broken.next().await;
    let held = async || {
        let holds = engine.holds();
        let both = [(changed, Hold::NoKeySet), (other, Hold::KeySetUnreachable)];
        both.iter().all(|hold| holds.contains(hold)).then_some(())
    };
    until(held).await;

    // The unreachable set may be asked for again by now, but not because of this.
    clock.advance(Duration::from_secs(120));
    let key = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    let known = admissible(&key.public_jwk().to_json(), clock.now()).unwrap();
    let owner = KeyOwner::Endpoint(consumer, changed);
    let set = EncryptionKeySet { owner, source: KeySource::Pinned, keys: vec![known] };
    sender.parts.directory.put_key_set(set).await.unwrap();
    sender.open(&receiver.next().await, "acme", Some(&key));
    assert!(broken.is_idle());
}
