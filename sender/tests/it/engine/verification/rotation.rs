//! A consumer with many endpoints at one host changes its key: their owner has agreed, and only the key is new.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use waxseal_keys::{Clock, ManualClock};
use waxseal_sender::engine::verification::VerificationPolicy;
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::endpoint::{Endpoint, Protection};
use waxseal_sender::model::verification::{Binding, Standing, Verification};

use super::super::support::{Sender, noon, until};
use super::server::Server;

const ENDPOINTS: usize = 300;

impl Sender {
    /// So many proven, sealed endpoints of `acme` at this host, with the consumer's present key.
    async fn proven(&self, server: &Server, count: usize) -> Vec<EndpointId> {
        let first = self.unverified("acme", &server.url, Protection::Sealed).await;
        self.new_key("acme").await;
        let directory = &self.parts.directory;
        let made = Endpoint::clone(&directory.endpoint(first).unwrap());
        directory.delete_endpoint(first).await.unwrap();
        let mut ids = Vec::new();
        for number in 0..count {
            let (id, url) = (EndpointId::generate(noon()), format!("{}/{number}", server.url));
            let mut endpoint = Endpoint { id, url: url.parse().unwrap(), ..made.clone() };
            let keys = directory.key_set_for(&endpoint);
            let binding = Box::new(Binding::of(&endpoint, keys.as_deref()));
            endpoint.verification = Verification::Proven { at: noon(), binding };
            ids.push(directory.create_endpoint(endpoint, None).await.unwrap().id);
        }
        ids
    }
}

#[tokio::test]
async fn a_changed_key_of_hundreds_of_proven_endpoints_does_not_wait_for_the_limits_of_their_host() {
    let (clock, mut server) = (Arc::new(ManualClock::new(noon())), Server::start().await);
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.verification = VerificationPolicy::default();
    let ids = sender.proven(&server, ENDPOINTS).await;
    let _engine = sender.start();
    let key = sender.new_key("acme").await;
    assert!(ids.iter().all(|id| sender.standing(*id) == Standing::Pending));
    // A neighbour at the same host has its turn as ever.
    let neighbour = format!("{}/neighbour", server.url);
    let neighbour = sender.unverified("beta", &neighbour, Protection::Signed).await;
    for _ in 0..=ENDPOINTS {
        let asked = server.next().await;
        clock.advance(Duration::from_millis(500));
        if asked.path.ends_with("/neighbour") {
            let state = sender.open(&asked.body, "beta", None).verification().unwrap().to_owned();
            asked.echo(&state);
        } else {
            let state = asked.state(&sender, Some(&key));
            asked.echo(&state);
        }
    }
    until(async || ids.iter().all(|id| sender.standing(*id) == Standing::Proven).then_some(())).await;
    sender.until_standing(neighbour, Standing::Proven).await;
    let took = clock.now().duration_since(noon());
    assert!(took < Duration::from_secs(5 * 60), "{took:?}");
    assert!(server.is_idle());
}

#[tokio::test]
async fn that_an_owner_has_agreed_is_known_at_further_attempts_after_a_restart_and_when_it_is_asked_again() {
    const SOME: usize = 30;
    let (clock, mut server) = (Arc::new(ManualClock::new(noon())), Server::start().await);
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.verification = VerificationPolicy::default();
    let ids = sender.proven(&server, SOME).await;
    sender.new_key("acme").await;
    for (attempt, pause) in [60, 300, 60].into_iter().enumerate() {
        let engine = sender.start();
        for _ in 0..SOME {
            let asked = server.next().await;
            clock.advance(Duration::from_millis(500));
            asked.answer(StatusCode::NOT_FOUND);
        }
        engine.stop().await;
        let asked = u32::try_from(attempt).unwrap() + 1;
        assert!(ids.iter().all(|id| sender.attempts_asked(*id) == asked));
        clock.advance(Duration::from_secs(pause));
    }
    assert!(ids.iter().all(|id| sender.standing(*id) == Standing::Failed));
    let key = sender.new_key("acme").await;
    for id in &ids {
        sender.parts.directory.ask_again(*id, clock.now()).await.unwrap();
    }
    let _engine = sender.start();
    for _ in 0..SOME {
        let asked = server.next().await;
        clock.advance(Duration::from_millis(500));
        let state = asked.state(&sender, Some(&key));
        asked.echo(&state);
    }
    until(async || ids.iter().all(|id| sender.standing(*id) == Standing::Proven).then_some(())).await;

    // Elsewhere nobody has agreed to anything.
    let url = format!("{}/elsewhere", server.url);
    let moved = |endpoint: &mut Endpoint| endpoint.move_to(url.parse().unwrap());
    sender.edit(ids[0], moved).await;
    let endpoint = sender.parts.directory.endpoint(ids[0]).unwrap();
    assert_eq!(endpoint.verification.agreed_at(&endpoint), None);
}
