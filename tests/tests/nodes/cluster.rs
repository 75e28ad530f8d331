//! What `waxseal cluster` says of the nodes, of standbys and of snapshots that are held open, as it comes to be.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use waxseal_tests::process::program;

use crate::fleet::{Fleet, Node, Start, event, hold_snapshot, server, shared_out, until, with_endpoints};
use crate::receiver::Receiver;

/// What people are shown.
fn told(fleet: &Fleet, node: &Node) -> String {
    let output = Command::new(program("waxseal"))
        .arg("cluster")
        .env("WAXSEAL_URL", &node.origin)
        .env("WAXSEAL_TOKEN", &fleet.token)
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

async fn seen(node: &Node) -> Value {
    node.api.get("/v1/cluster").await
}

/// Waits until what is shown to programs is so.
async fn until_seen(node: &Node, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    until(what, async || {
        last = seen(node).await;
        holds(&last)
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_without_an_owner_are_counted_until_somebody_delivers() {
    let server = server(&[]);
    let fleet = Fleet::init(&server.dsn(&server.create_database("unowned")), "");
    let api = fleet.start_with("one", Start { role: Some("api"), ..Start::default() }).await;
    assert_eq!(seen(&api).await["unowned_shards"], 256);
    let said = told(&fleet, &api);
    assert!(said.contains("256 shards have no owner: nothing of them is delivered"), "{said}");
    let two = fleet.start_with("two", Start { role: Some("engine"), ..Start::default() }).await;
    shared_out(&[&two]).await;
    let shown = until_seen(&api, "all shards have an owner", |shown| shown["unowned_shards"] == 0).await;
    let of = |name: &str| {
        let nodes = shown["data"].as_array().unwrap();
        nodes
            .iter()
            .find(|node| node["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {shown:#}"))
            .clone()
    };
    assert_eq!(
        (of("one")["shards"].clone(), of("one")["role"].clone()),
        (0.into(), "api".into()),
        "{shown:#}"
    );
    assert_eq!(
        (of("two")["shards"].clone(), of("two")["role"].clone()),
        (256.into(), "engine".into()),
        "{shown:#}"
    );
    assert_eq!((&of("one")["answers"], &of("two")["answers"]), (&true.into(), &false.into()), "{shown:#}");
    assert!(!told(&fleet, &api).contains("no owner"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_told_of_how_far_it_is_behind_and_whether_anybody_waits_for_it() {
    let server = server(&[]);
    let fleet = Fleet::init(&server.dsn(&server.create_database("standby")), "");
    let node = fleet.start("one").await;
    let receiver = Receiver::start(Duration::ZERO).await;
    receiver.trust(&fleet, &node.origin).await;
    with_endpoints(&node.api, &receiver, 1).await;
    let shown = seen(&node).await;
    assert_eq!((&shown["synchronous_standby"], &shown["standby_lag_bytes"]), (&false.into(), &Value::Null));
    let alone = "No synchronous standby: what is acknowledged is on one machine only";
    let said = told(&fleet, &node);
    assert!(said.contains(alone) && !said.contains("bytes behind"), "{said}");

    let standby = tokio::task::block_in_place(|| server.standby("s1"));
    let caught_up = |shown: &Value| shown["standby_lag_bytes"] == 0;
    let shown = until_seen(&node, "the standby has all of it", caught_up).await;
    assert_eq!(shown["synchronous_standby"], false, "nobody waits for it yet");
    let paused = standby.pause_walreceiver();
    for _ in 0..20 {
        node.api.try_publish(&event("c0")).await.expect("nobody waits for the standby");
    }
    let behind = |shown: &Value| shown["standby_lag_bytes"].as_u64().is_some_and(|bytes| bytes > 1_000);
    until_seen(&node, "the standby is behind", behind).await;
    let said = told(&fleet, &node);
    let line = said.lines().find_map(|line| line.strip_prefix("The furthest standby is "));
    let bytes = line.and_then(|line| line.strip_suffix(" bytes behind")).unwrap_or_else(|| panic!("{said}"));
    assert!(bytes.parse::<u64>().unwrap() > 1_000 && said.contains(alone), "{said}");
    standby.resume_walreceiver(paused);
    until_seen(&node, "the standby has caught up", caught_up).await;

    tokio::task::block_in_place(|| server.acknowledge_with("s1"));
    until_seen(&node, "commits wait for it", |shown| shown["synchronous_standby"] == true).await;
    let said = told(&fleet, &node);
    assert!(said.contains("What is acknowledged is on two machines") && !said.contains(alone), "{said}");
    // So that it can end: nobody may wait for a standby that is gone first.
    tokio::task::block_in_place(|| server.acknowledge_with(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_the_oldest_snapshot_is_told() {
    let server = server(&[]);
    let database = server.create_database("held");
    let fleet = Fleet::init(&server.dsn(&database), "");
    let node = fleet.start("one").await;
    let holder = hold_snapshot(&server.dsn(&database)).await;
    let seconds = |shown: &Value| shown["oldest_snapshot_seconds"].as_u64().unwrap();
    until_seen(&node, "it is three seconds old", |shown| seconds(shown) >= 3).await;
    let said = told(&fleet, &node);
    let line = said.lines().find_map(|line| line.strip_prefix("The oldest snapshot is "));
    let told = line.and_then(|line| line.strip_suffix(" s old")).unwrap_or_else(|| panic!("{said}"));
    assert!(told.parse::<u64>().unwrap() >= 3, "{said}");
    holder.batch_execute("COMMIT").await.unwrap();
    until_seen(&node, "it is gone", |shown| seconds(shown) < 3).await;
}
