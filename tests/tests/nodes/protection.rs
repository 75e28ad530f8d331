//! Promise 4 on several nodes: what asks for encryption through one of them gets nothing readable from any other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::fleet::{Fleet, now, server, shared_out, until, with_endpoints};
use crate::load::Load;
use crate::receiver::Receiver;

const CONSUMERS: usize = 6;

/// How many POSTs to one endpoint there may be at once.
const AT_ONCE: usize = 2;

const ROUNDS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_readable_comes_once_any_node_has_answered_that_an_endpoint_is_sealed() {
    let server = server(&[]);
    let settings = format!("[delivery]\nmax_in_flight_per_endpoint = {AT_ONCE}");
    let fleet = Fleet::init(&server.dsn(&server.create_database("sealed")), &settings);
    let nodes = [fleet.start("a").await, fleet.start("b").await, fleet.start("c").await];
    // Slow enough that something is in flight all the time.
    let receiver = Receiver::start(Duration::from_millis(100)).await;
    receiver.trust(&fleet, &nodes[0].origin).await;
    let endpoints = with_endpoints(&nodes[0].api, &receiver, CONSUMERS).await;
    shared_out(&nodes.each_ref()).await;
    let origins: Vec<&str> = nodes.iter().map(|node| node.origin.as_str()).collect();
    let mut load = Load::start(&fleet, &origins, CONSUMERS, Duration::from_millis(25));
    load.more(40).await;
    let (mut in_flight, mut rounds, mut answered) = (0, 0, Duration::ZERO);
    for round in 0..ROUNDS {
        for (n, endpoint) in endpoints.iter().enumerate() {
            let (consumer, path) = (format!("c{n}"), format!("/v1/endpoints/{endpoint}"));
            let (one, other) = (&nodes[(round + n) % 3].api, &nodes[(round + n + 1) % 3].api);
            set(one, &path, &receiver.url(&consumer), "signed").await;
            let readable = |after: Instant| {
                let posts = receiver.posts();
                posts
                    .into_iter()
                    .filter(|post| post.consumer == consumer && post.at > after && post.readable)
                    .collect::<Vec<_>>()
            };
            let signed = now();
            until("something readable comes", async || !readable(signed).is_empty()).await;
            let asked = now();
            set(other, &path, &receiver.url(&consumer), "sealed").await;
            let (sealed, before) = (now(), load.acknowledged());
            answered += sealed - asked;
            let sent = receiver.count();
            until("more comes", async || {
                let posts = receiver.posts();
                posts.iter().skip(sent).filter(|post| post.consumer == consumer).count() > 2 * AT_ONCE
            })
            .await;
            let late = readable(sealed);
            // What was on its way already is on its way.
            assert!(late.len() <= AT_ONCE, "round {round}: {} readable tokens after the answer", late.len());
            let fresh: BTreeSet<_> =
                late.iter().map(|post| &post.event).filter(|event| !before.contains(*event)).collect();
            assert!(fresh.is_empty(), "round {round}: published after the answer, and readable: {fresh:?}");
            (in_flight, rounds) = (in_flight + late.len(), rounds + 1);
        }
    }
    println!(
        "{rounds} times, answered after {:.0?} each; {in_flight} readable tokens were on their way then",
        answered / rounds
    );
    load.stop().await;
}

async fn set(api: &waxseal_tests::api::Api, path: &str, url: &str, protection: &str) {
    let change: Value = json!({ "url": url, "protection": protection, "trusted": true });
    api.expect(Method::PATCH, path, Some(change)).await;
}
