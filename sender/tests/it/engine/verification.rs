//! Endpoints that have to prove that their owners want events, over real HTTP: each answer is given by the test, so that
//! things can change while it is on its way.

mod rotation;
mod server;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use serde_json::json;
use waxseal_keys::{Clock, DecryptionKey, EncryptionKeyType, ManualClock, generate_decryption_key};
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::engine::verification::{HostLimits, VerificationPolicy};
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::encryption_keys::{EncryptionKeySet, KeyOwner, KeySource, KnownKey};
use waxseal_sender::model::endpoint::{Endpoint, Protection};
use waxseal_sender::model::verification::{Standing, Verification};

use self::server::Server;
use super::support::{Sender, err, noon, until};

fn quick() -> VerificationPolicy {
    VerificationPolicy {
        answer_within: Duration::from_secs(60),
        pauses: vec![Duration::ZERO; 2],
        hosts: HostLimits { apart: Duration::ZERO, ..HostLimits::default() },
        ..VerificationPolicy::default()
    }
}

async fn sender() -> Sender {
    let mut sender = Sender::new().await;
    sender.parts.policy.verification = quick();
    sender
}

impl Sender {
    /// A consumer with an endpoint that nobody trusts.
    async fn unverified(&self, consumer: &str, url: &str, protection: Protection) -> EndpointId {
        let id = self.endpoint(consumer, url, protection).await;
        self.edit(id, |endpoint| endpoint.verification = Verification::UNASKED).await;
        id
    }

    async fn edit(&self, id: EndpointId, edit: impl FnOnce(&mut Endpoint) + Send) {
        let edit = |endpoint: &mut Endpoint| {
            edit(endpoint);
            Ok(())
        };
        self.parts.directory.update_endpoint(id, edit).await.unwrap();
    }

    fn standing(&self, id: EndpointId) -> Standing {
        let endpoint = self.parts.directory.endpoint(id).unwrap();
        self.parts.directory.standing(&endpoint, self.parts.clock.now())
    }

    async fn until_standing(&self, id: EndpointId, wanted: Standing) {
        until(async || (self.standing(id) == wanted).then_some(())).await;
    }

    fn attempts_asked(&self, id: EndpointId) -> u32 {
        match &self.parts.directory.endpoint(id).unwrap().verification {
            Verification::Awaited { challenge: Some(challenge), .. } => challenge.attempts_made,
            _ => 0,
        }
    }
}

#[tokio::test]
async fn events_wait_until_the_endpoint_has_proved_itself_and_then_only_202_takes_them() {
    let (sender, mut server) = (sender().await, Server::start().await);
    let id = sender.unverified("acme", &server.url, Protection::Signed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", r#"{"secret":1}"#).await;
    let asked = server.next().await;
    let state = asked.state(&sender, None);
    until(async || (engine.holds() == [(id, Hold::EndpointUnverified)]).then_some(())).await;
    assert_eq!(sender.delivery(published.deliveries[0].id).await.state, DeliveryState::Pending);
    asked.echo(&state);

    let parked = server.next().await;
    assert_eq!(sender.open(&parked.body, "acme", None).event.id.as_str(), published.event.to_string());
    assert_eq!(sender.standing(id), Standing::Proven);
    parked.answer((StatusCode::OK, "this domain is for sale"));
    server.next().await.answer(StatusCode::ACCEPTED);
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 2).await;
    let attempts = sender.parts.store.attempts(published.deliveries[0].id).await.unwrap();
    assert_eq!((attempts[0].result.as_str(), attempts[1].result.as_str()), ("answer.not_taken", "delivered"));
    assert!(server.is_idle());
}

#[tokio::test]
async fn nothing_but_the_echo_of_the_last_question_is_a_proof() {
    let (clock, mut server) = (Arc::new(ManualClock::new(noon())), Server::start().await);
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.verification = quick();
    let id = sender.unverified("acme", &server.url, Protection::Signed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    let mut before = String::new();
    for round in 0..4 {
        if round > 0 {
            assert_eq!(sender.standing(id), Standing::Failed);
            sender.parts.directory.ask_again(id, sender.parts.clock.now()).await.unwrap();
        }
        for attempt in 0..3 {
            let asked = server.next().await;
            let state = asked.state(&sender, None);
            assert_ne!(state, before, "every attempt has a state of its own");
            let echo = json!({ "state": state }).to_string();
            match (round, attempt) {
                (0, 0) => asked.answer(StatusCode::ACCEPTED),
                (0, 1) => asked.echo(&before),
                (0, _) => {
                    let body = asked.body.clone();
                    asked.answer(body);
                }
                (1, 0) => asked.answer(([(CONTENT_TYPE, "text/html")], format!("<p>{echo}</p>"))),
                (1, 1) => asked.answer((StatusCode::FOUND, [(LOCATION, "/other")], echo)),
                (1, _) => asked.answer((StatusCode::ACCEPTED, echo)),
                (2, 0) => asked.answer(json!({ "state": state, "more": 1 }).to_string()),
                (2, 1) => asked.answer(format!("{echo}{}", " ".repeat(4_096))),
                (2, _) => asked.answer(format!("\"{state}\"")),
                (_, 0) => asked.answer(err("invalid_audience")),
                (_, 1) => asked.answer(StatusCode::GONE),
                (_, _) => asked.echo(&state[1..]),
            }
            before = state;
        }
        // The time in which an answer could come has to be over before it is said to have failed.
        assert_eq!(sender.standing(id), Standing::Pending);
        clock.advance(quick().answer_within);
    }
    assert_eq!((sender.standing(id), sender.attempts_asked(id)), (Standing::Failed, 3));
    let delivery = sender.delivery(published.deliveries[0].id).await;
    assert_eq!((delivery.state, delivery.attempts_made), (DeliveryState::Pending, 0));
    assert!(sender.parts.directory.endpoint(id).unwrap().is_active(), "a 410 of a stranger pauses nothing");
    assert!(server.is_idle());
}

#[tokio::test]
async fn sealing_proves_that_the_consumer_holds_the_key() {
    let (sender, mut server) = (sender().await, Server::start().await);
    let id = sender.unverified("acme", &server.url, Protection::Sealed).await;
    let engine = sender.start();
    sender.publish(Some(&engine), "acme", "1").await;
    until(async || (engine.verification_waits_for(id) == Some("hold.no_key_set")).then_some(())).await;
    until(async || (engine.holds() == [(id, Hold::NoKeySet)]).then_some(())).await;
    assert_eq!(sender.attempts_asked(id), 0);

    let (key, other) =
        (sender.new_key("acme").await, generate_decryption_key(EncryptionKeyType::P256).unwrap());
    let asked = server.next().await;
    assert_eq!(engine.verification_waits_for(id), None);
    let token = waxseal_envelope::Token::parse(&asked.body, &Default::default()).unwrap();
    let waxseal_envelope::Token::Sealed(sealed) = token else { panic!("not sealed") };
    assert!(sealed.decrypt(&other).is_err());
    asked.answer(err("invalid_key"));
    let asked = server.next().await;
    let state = asked.state(&sender, Some(&key));
    asked.echo(&state);
    server.next().await.answer(StatusCode::ACCEPTED);
    assert_eq!(sender.standing(id), Standing::Proven);

    // Another key: its holder has to show itself before anything is sealed to it.
    let next = sender.new_key("acme").await;
    let published = sender.publish(Some(&engine), "acme", "2").await;
    let asked = server.next().await;
    let state = asked.state(&sender, Some(&next));
    assert_eq!(sender.delivery(published.deliveries[0].id).await.attempts_made, 0);
    asked.echo(&state);
    let delivered = server.next().await;
    assert_eq!(
        sender.open(&delivered.body, "acme", Some(&next)).event.id.as_str(),
        published.event.to_string()
    );
}

#[tokio::test]
async fn a_further_attempt_tries_the_other_key_whatever_was_answered() {
    let (sender, mut server) = (sender().await, Server::start().await);
    let id = sender.unverified("acme", &server.url, Protection::Sealed).await;
    let keys = [(); 2].map(|()| generate_decryption_key(EncryptionKeyType::P256).unwrap());
    let known = keys.iter().map(|key| KnownKey {
        thumbprint: key.public_jwk().thumbprint().as_str().to_owned(),
        jwk: key.public_jwk().to_json(),
        first_seen: noon(),
        admitted_at: Some(noon()),
        certificate_not_after: None,
    });
    let owner = KeyOwner::Consumer(ConsumerId::parse("acme").unwrap());
    let set = EncryptionKeySet { owner, source: KeySource::Pinned, keys: known.collect() };
    sender.parts.directory.put_key_set(set).await.unwrap();
    let _engine = sender.start();
    let asked = server.next().await;
    asked.state(&sender, Some(&keys[0]));
    asked.answer(StatusCode::NOT_FOUND);
    let asked = server.next().await;
    let state = asked.state(&sender, Some(&keys[1]));
    asked.echo(&state);
    sender.until_standing(id, Standing::Proven).await;
}

#[tokio::test]
async fn what_changes_while_the_answer_is_on_its_way_is_asked_anew() {
    let (sender, mut old, mut new) = (sender().await, Server::start().await, Server::start().await);
    let first = sender.new_key_of("acme", &old.url).await;
    let (id, key) = first;
    let _engine = sender.start();

    let asked = old.next().await;
    let state = asked.state(&sender, Some(&key));
    let next = sender.new_key("acme").await;
    asked.echo(&state);
    let asked = old.next().await;
    assert_ne!(sender.standing(id), Standing::Proven, "the key has changed");
    let state = asked.state(&sender, Some(&next));

    let url = new.url.parse().unwrap();
    sender.edit(id, |endpoint| endpoint.move_to(url)).await;
    asked.echo(&state);
    let asked = new.next().await;
    assert_ne!(sender.standing(id), Standing::Proven, "the URL has changed");
    assert_eq!(sender.attempts_asked(id), 1, "it is another endpoint, with attempts of its own");
    let state = asked.state(&sender, Some(&next));

    sender.edit(id, |endpoint| endpoint.protect_as(Protection::Signed)).await;
    asked.echo(&state);
    let asked = new.next().await;
    assert_ne!(sender.standing(id), Standing::Proven, "the protection has changed");
    let state = asked.state(&sender, None);

    sender.parts.directory.ask_again(id, sender.parts.clock.now()).await.unwrap();
    asked.echo(&state);
    sender.until_standing(id, Standing::Proven).await;
    assert!(old.is_idle() && new.is_idle());

    // And a proven one that moves proves itself where it is now.
    let url = old.url.parse().unwrap();
    sender.edit(id, |endpoint| endpoint.move_to(url)).await;
    assert_eq!(sender.standing(id), Standing::Pending);
    let asked = old.next().await;
    let state = asked.state(&sender, None);
    asked.echo(&state);
    sender.until_standing(id, Standing::Proven).await;
}

impl Sender {
    /// An unverified endpoint that is sealed to, and the key.
    async fn new_key_of(&self, consumer: &str, url: &str) -> (EndpointId, DecryptionKey) {
        let id = self.unverified(consumer, url, Protection::Sealed).await;
        (id, self.new_key(consumer).await)
    }
}

#[tokio::test]
async fn a_state_is_worth_nothing_after_an_hour() {
    let (clock, mut server) = (Arc::new(ManualClock::new(noon())), Server::start().await);
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.verification =
        VerificationPolicy { answer_within: Duration::from_secs(7_200), ..quick() };
    let id = sender.unverified("acme", &server.url, Protection::Signed).await;
    let engine = sender.start();
    let asked = server.next().await;
    let state = asked.state(&sender, None);
    clock.advance(Duration::from_secs(3_600));
    asked.echo(&state);
    sender.until_standing(id, Standing::Failed).await;
    engine.wake(id);
    // Asked again, it has an hour again.
    sender.parts.directory.ask_again(id, clock.now()).await.unwrap();
    let asked = server.next().await;
    let state = asked.state(&sender, None);
    clock.advance(Duration::from_secs(3_599));
    asked.echo(&state);
    sender.until_standing(id, Standing::Proven).await;
}

#[tokio::test]
async fn a_restart_goes_on_with_another_question_and_no_more_of_them() {
    let (sender, mut server) = (sender().await, Server::start().await);
    let id = sender.unverified("acme", &server.url, Protection::Signed).await;
    let engine = sender.start();
    let first = server.next().await;
    let state = first.state(&sender, None);
    engine.stop().await;
    assert_eq!(sender.attempts_asked(id), 1, "it was noted before it was asked");

    let engine = sender.start();
    let second = server.next().await;
    let other = second.state(&sender, None);
    assert_ne!(state, other);
    second.echo(&state);
    let third = server.next().await;
    assert_eq!(sender.attempts_asked(id), 3);
    engine.stop().await;
    drop(third);
    let engine = sender.start();
    engine.wake(id);
    let published = sender.publish(Some(&engine), "acme", "1").await;
    until(async || (engine.holds() == [(id, Hold::EndpointUnverified)]).then_some(())).await;
    assert!(server.is_idle(), "three attempts, however many processes make them");

    let mut later = sender.parts.clock.now();
    later = later.saturating_add(Duration::from_secs(61));
    sender.parts.directory.ask_again(id, later).await.unwrap();
    let asked = server.next().await;
    let state = asked.state(&sender, None);
    asked.echo(&state);
    server.next().await.answer(StatusCode::ACCEPTED);
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;
    engine.stop().await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "2").await;
    let delivered = server.next().await;
    assert_eq!(sender.open(&delivered.body, "acme", None).event.id.as_str(), published.event.to_string());
}

#[tokio::test]
async fn nobody_can_have_us_flood_a_host() {
    let (clock, mut server) = (Arc::new(ManualClock::new(noon())), Server::start().await);
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.verification = VerificationPolicy { hosts: HostLimits::default(), ..quick() };
    let mut ids = Vec::new();
    for consumer in 0..5 {
        let name = format!("c{consumer}");
        let url = format!("{}/{name}/0", server.url);
        let first = sender.unverified(&name, &url, Protection::Signed).await;
        ids.push(first);
        for path in 1..6 {
            let endpoint = Endpoint::clone(&sender.parts.directory.endpoint(first).unwrap());
            let url = format!("{}/{name}/{path}", server.url).parse().unwrap();
            let endpoint = Endpoint { id: EndpointId::generate(noon()), url, ..endpoint };
            ids.push(sender.parts.directory.create_endpoint(endpoint, None).await.unwrap().id);
        }
    }
    let engine = sender.start();
    let mut asked = Vec::new();
    for _ in 0..4 {
        let request = server.next().await;
        asked.push(request.path.clone());
        request.answer(StatusCode::OK);
        // Every other one has tried; those of one consumer stand behind each other.
        until(async || {
            let idle = |id: &&EndpointId| engine.verification_waits_for(**id).is_none();
            ids.iter().filter(idle).for_each(|id| engine.wake(*id));
            (ids.iter().filter(idle).count() <= 1).then_some(())
        })
        .await;
        assert!(server.is_idle(), "one in ten seconds, of thirty endpoints of five consumers");
        clock.advance(Duration::from_secs(10));
        ids.iter().for_each(|id| engine.wake(*id));
    }
    let waiting = ids.iter().filter_map(|id| engine.verification_waits_for(*id));
    assert!(waiting.into_iter().all(|code| code == "verification.host_limit"));
    assert_eq!(asked.len(), 4);
}
