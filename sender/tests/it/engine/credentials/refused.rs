//! Endpoints that refuse every token of a server that works: what that server hears of it.

use std::sync::Arc;
use std::time::Duration;

use waxseal_sender::credentials::Credentials;
use waxseal_sender::credentials::authority::ClientAuthority;
use waxseal_sender::engine::EngineParts;
use waxseal_sender::engine::verification::HostLimits;
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::Protection;
use waxseal_sender::publish::Published;

use super::world::{Hearing, TokenServer, World, add_endpoint, show};
use crate::engine::support::until;

/// Moves the clock on, in steps that are short beside a minute, until every delivery has used up its schedule.
async fn until_exhausted(world: &World, endpoints: &[EndpointId], published: &Published) {
    for delivery in &published.deliveries {
        until(async || {
            world.clock.advance(Duration::from_millis(1));
            for endpoint in endpoints {
                world.engine.wake(*endpoint);
            }
            (world.sender.delivery(delivery.id).await.state == DeliveryState::Exhausted).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_endpoints_of_one_consumer_renew_one_token_a_minute() {
    let (hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    hearing.like("nothing");
    let world = World::new(&hearing.url, tokens.client()).await;
    let mut endpoints = vec![world.endpoint];
    for _ in 1..20 {
        let id = add_endpoint(&world.sender, &hearing.url).await;
        show(&world.sender, id, tokens.client()).await;
        endpoints.push(id);
    }
    for renewals in 1..=2 {
        let published = world.publish().await;
        assert_eq!(published.deliveries.len(), 20);
        let begun = world.sender.parts.clock.now();
        until_exhausted(&world, &endpoints, &published).await;
        let took = world.sender.parts.clock.now().duration_since(begun);
        assert!(took < Duration::from_secs(60), "all of it is within one minute, it took {took:?}");
        assert_eq!(tokens.asked(), 20 + renewals, "a token for each, and the renewals of {renewals} minutes");
        world.pass(Duration::from_secs(61));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_consumers_there_are_one_host_hears_of_a_bounded_number_of_refusals() {
    const CONSUMERS: usize = 6;
    const BOUND: usize = 4;
    let (hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    hearing.like("nothing");
    let mut world = World::new(&hearing.url, tokens.client()).await;
    world.engine.stop().await;
    let EngineParts { egress, signing_keys, clock, directory, issuer, .. } = world.sender.parts.clone();
    let authority = Arc::new(ClientAuthority::new(directory, issuer, clock.clone()));
    let limits = HostLimits { apart: Duration::ZERO, an_hour: BOUND, ..HostLimits::default() };
    let credentials = Credentials::new(egress, signing_keys, authority, clock);
    let credentials = credentials.failing_after(Duration::ZERO).renewing_within(limits);
    world.sender.parts.credentials = Arc::new(credentials);
    world.engine = world.sender.start();

    let mut endpoints = vec![world.endpoint];
    for number in 1..CONSUMERS {
        let id = world.sender.endpoint(&format!("c{number}"), &hearing.url, Protection::Signed).await;
        show(&world.sender, id, tokens.client()).await;
        endpoints.push(id);
    }
    let mut published = vec![world.publish().await];
    for number in 1..CONSUMERS {
        let consumer = format!("c{number}");
        published.push(world.sender.publish(Some(&world.engine), &consumer, "1").await);
    }
    for one in &published {
        until_exhausted(&world, &endpoints, one).await;
    }
    assert_eq!(tokens.asked(), CONSUMERS + BOUND, "a token for each, and as many renewals as there may be");
}
