//! What one node alone does: telling the operator, removing what is old, recoveries.

use std::time::Duration;

use serde_json::json;
use waxseal_tests::postgres::Postgres;

use crate::fleet::{Fleet, Node, endpoint, event, now, owners, server, shared_out, until, with_endpoints};
use crate::receiver::Receiver;

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_does_what_one_alone_must_and_after_its_end_another() {
    let server = server(&[]);
    let database = server.create_database("leader");
    let fleet = Fleet::init(&server.dsn(&database), SETTINGS);
    let mut nodes = vec![fleet.start("a").await, fleet.start("b").await, fleet.start("c").await];
    let receiver = Receiver::start(Duration::ZERO).await;
    receiver.trust(&fleet, &nodes[0].origin).await;
    with_endpoints(&nodes[0].api, &receiver, 2).await;
    shared_out(&nodes.iter().collect::<Vec<_>>()).await;

    let first = leader(&server, &database);
    one_removes(&nodes, &first).await;
    one_recovers(&nodes, &first, &receiver, "c2").await;
    one_tells(&nodes, &first, &receiver, "c3").await;

    let place = nodes.iter().position(|node| node.name == first).unwrap();
    let since = now();
    nodes.remove(place).process.kill();
    until("another leads", async || leader(&server, &database) != first).await;
    let second = leader(&server, &database);
    println!("{first} led and was killed, {second} owned its shard after {:.1?}", since.elapsed());
    one_removes(&nodes, &second).await;
    one_recovers(&nodes, &second, &receiver, "c4").await;
    one_tells(&nodes, &second, &receiver, "c5").await;
}

/// The name of the node that owns the leading shard.
fn leader(server: &Postgres, database: &str) -> String {
    owners(server, database).remove(&0).unwrap_or_default()
}

/// Retention is looked after by this one, again and again, and by nobody else.
async fn one_removes(nodes: &[Node], leader: &str) {
    let looks = async || {
        let mut all = Vec::new();
        for node in nodes {
            all.push((node.name.clone(), node.metric("waxseal_retention_slice_seconds_count").await));
        }
        all
    };
    let mut before = looks().await;
    let more = |name: &str, before: &[(String, f64)], now: &[(String, f64)]| {
        let of = |all: &[(String, f64)]| all.iter().find(|(node, _)| node == name).unwrap().1;
        of(now) > of(before)
    };
    // It may not have begun yet.
    until("the leader looks", async || more(leader, &before, &looks().await)).await;
    before = looks().await;
    until("it looks again", async || more(leader, &before, &looks().await)).await;
    let now = looks().await;
    for node in nodes.iter().filter(|node| node.name != leader) {
        assert!(
            !more(&node.name, &before, &now),
            "{} removes, {leader} leads: {before:?} {now:?}",
            node.name
        );
    }
}

/// A recovery is carried out by this one, whoever was asked for it.
async fn one_recovers(nodes: &[Node], leader: &str, receiver: &Receiver, consumer: &str) {
    let asked = &nodes.iter().find(|node| node.name != leader).unwrap().api;
    asked.post("/v1/consumers", json!({ "id": consumer })).await;
    let made = endpoint(asked, receiver, consumer, "signed").await;
    asked.post(&format!("/v1/endpoints/{made}/pause"), serde_json::Value::Null).await;
    asked.try_publish(&event(consumer)).await.unwrap();
    asked.post(&format!("/v1/endpoints/{made}/cancel"), json!({})).await;
    asked.post(&format!("/v1/endpoints/{made}/resume"), serde_json::Value::Null).await;
    let request = json!({ "since": "2020-01-01T00:00:00Z", "states": ["cancelled"] });
    let begun = asked.post(&format!("/v1/endpoints/{made}/recover"), request).await;
    let path = format!("/v1/recoveries/{}", begun["id"].as_str().unwrap());
    let over = asked.until(&path, |answer| answer["state"] == "finished").await;
    assert_eq!(over["redelivered"], 1, "{over}");
    until("it is delivered", async || receiver.posts().iter().any(|post| post.consumer == consumer)).await;
    let finished = format!("recovery={}", begun["id"].as_str().unwrap());
    let by: Vec<_> =
        nodes.iter().filter(|node| node.process.log().contains(&finished)).map(|node| &*node.name).collect();
    assert_eq!(by, [leader], "who carried the recovery out");
}

/// The operator is told by this one.
async fn one_tells(nodes: &[Node], leader: &str, receiver: &Receiver, consumer: &str) {
    let asked = &nodes.iter().find(|node| node.name != leader).unwrap().api;
    let mut before = Vec::new();
    for node in nodes {
        before.push(told(node).await);
    }
    asked.post("/v1/consumers", json!({ "id": consumer })).await;
    // It can be sealed to nobody: what is published to it is held.
    let body = json!({
        "consumer": consumer, "url": receiver.url(consumer), "protection": "sealed", "trusted": true,
        "event_types": [crate::fleet::TYPE],
    });
    asked.post("/v1/endpoints", body).await;
    asked.try_publish(&event(consumer)).await.unwrap();
    let place = nodes.iter().position(|node| node.name == leader).unwrap();
    until("the leader tells", async || told(&nodes[place]).await > before[place]).await;
    for (node, before) in nodes.iter().zip(before) {
        assert_eq!(told(node).await > before, node.name == leader, "{} tells, {leader} leads", node.name);
    }
}

async fn told(node: &Node) -> f64 {
    let text = node.api.text("/metrics").await;
    let counters = text.lines().filter(|line| line.starts_with("waxseal_operational_events_total{"));
    counters.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

const SETTINGS: &str =
    "[retention]\ncheck_every = \"1s\"\n[operations]\nheld_after = \"1s\"\nsummary_every = \"1s\"";
