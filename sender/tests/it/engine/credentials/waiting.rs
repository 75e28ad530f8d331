//! What changes while a delivery waits for the token of an authorization server.

use std::time::Duration;

use waxseal_envelope::{Data, EventType};
use waxseal_sender::directory::To;
use waxseal_sender::id::ConsumerId;
use waxseal_sender::model::authentication::ClientAuthentication;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::Protection;
use waxseal_sender::publish::{Expiry, Publication};

use super::world::{TokenServer, World, add_endpoint, show};
use crate::engine::support::{Receiver, Sender, noon, until};

#[tokio::test]
async fn what_has_run_out_by_the_time_the_token_comes_is_not_posted() {
    let (receiver, tokens) = (Receiver::accepting().await, TokenServer::start().await);
    let mut receiver = receiver;
    let closed = tokens.state.gate.write().await;
    let world = World::new(&receiver.url, tokens.client()).await;
    let publication = Publication {
        event_type: EventType::parse("order.created").unwrap(),
        data: Data::json(b"1").unwrap(),
        to: To::Consumers(vec![ConsumerId::parse("acme").unwrap()]),
        id: None,
        occurred_at: None,
        idempotency_key: None,
        publisher: None,
        expiry: Some(Expiry::After(Duration::from_secs(60))),
    };
    let publisher = world.sender.publisher(Some(&world.engine));
    let id = publisher.publish(publication).await.unwrap().deliveries[0].id;
    until(async || (tokens.asked() == 1).then_some(())).await;
    world.pass(Duration::from_secs(60));
    drop(closed);
    world.sender.until(id, DeliveryState::Expired, 0).await;
    assert!(receiver.is_idle());
}

/// Of one consumer's new settings five are tried at a time.
#[tokio::test]
async fn whoever_waits_for_the_questions_of_others_proves_itself_as_of_then() {
    let (receiver, tokens) = (Receiver::accepting().await, TokenServer::start().await);
    let closed = tokens.state.gate.write().await;
    let client = || tokens.client_by(ClientAuthentication::PrivateKeyJwt { audience: None });
    let world = World::new(&receiver.url, client()).await;
    for _ in 1..6 {
        let id = add_endpoint(&world.sender, &receiver.url).await;
        show(&world.sender, id, client()).await;
    }
    world.publish().await;
    until(async || (tokens.asked() == 5).then_some(())).await;
    world.pass(Duration::from_secs(90));
    drop(closed);
    until(async || (tokens.asked() == 6).then_some(())).await;
    let form = tokens.state.seen.lock().unwrap()[5].1.clone();
    let assertion = form.split("client_assertion=").nth(1).unwrap();
    let key = world.sender.parts.signing_keys.active().unwrap().verifying_key();
    let claims = waxseal_envelope::jws::verify(assertion.as_bytes(), &key).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert!(claims["exp"].as_i64().unwrap() > noon().as_millis() / 1_000 + 90, "{claims}");
}

#[tokio::test]
async fn a_key_that_was_taken_back_meanwhile_is_not_sealed_to() {
    let (mut receiver, tokens) = (Receiver::accepting().await, TokenServer::start().await);
    let sender = Sender::new().await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Sealed).await;
    show(&sender, endpoint, tokens.client()).await;
    let old = sender.new_key("acme").await;
    let closed = tokens.state.gate.write().await;
    let engine = sender.start();
    sender.publish(Some(&engine), "acme", "1").await;
    until(async || (tokens.asked() == 1).then_some(())).await;
    let new = sender.new_key("acme").await;
    drop(closed);
    let body = receiver.next().await;
    let waxseal_envelope::Token::Sealed(sealed) =
        waxseal_envelope::Token::parse(&body, &Default::default()).unwrap()
    else {
        panic!("not sealed")
    };
    assert!(sealed.decrypt(&old).is_err());
    sender.open(&body, "acme", Some(&new));
}
