//! What nodes do by their role, at once on an empty database, and replaced one after the other.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::fleet::{Fleet, Start, event, now, server, shared_out, until, with_endpoints};
use crate::load::Load;
use crate::receiver::Receiver;

const CONSUMERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_begin_at_once_on_an_empty_database_make_one_store_of_it() {
    let server = server(&[]);
    let fleet = Fleet::init(&server.dsn(&server.create_database("initialised")), "");
    let empty = server.create_database("empty");
    let dsn = server.dsn(&empty);
    let nodes = ["a", "b", "c"].map(|name| fleet.launch(name, Start { dsn: Some(&dsn), ..Start::default() }));
    for node in &nodes {
        node.until_it_answers().await;
    }
    shared_out(&nodes.each_ref()).await;
    let one = |table: &str| {
        assert_eq!(server.execute(&empty, &format!("SELECT count(*) FROM {table}")), "1", "{table}")
    };
    ["schema_version", "configuration", "ring"].into_iter().for_each(one);
    let mut keys = Vec::new();
    for node in &nodes {
        keys.push(node.api.text("/.well-known/jwks.json").await);
    }
    assert!(keys.iter().all(|set| *set == keys[0] && set.contains("kid")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_role_serves_and_the_other_delivers() {
    let server = server(&[]);
    let fleet = Fleet::init(&server.dsn(&server.create_database("roles")), "");
    let api = fleet.start_with("api", Start { role: Some("api"), ..Start::default() }).await;
    let receiver = Receiver::start(Duration::ZERO).await;
    receiver.trust(&fleet, &api.origin).await;
    with_endpoints(&api.api, &receiver, 2).await;
    let waits = api.api.try_publish(&event("c0")).await.expect("it accepts what nobody delivers yet");
    let engine = fleet.start_with("engine", Start { role: Some("engine"), ..Start::default() }).await;
    until("it is delivered", async || receiver.events().contains(&waits)).await;
    for n in 0..20 {
        let accepted = api.api.try_publish(&event(&format!("c{}", n % 2))).await.unwrap();
        until("it is delivered", async || receiver.events().contains(&accepted)).await;
    }
    assert_eq!((api.shards().await, engine.shards().await), (0, 256));
    for (method, path) in
        [(Method::POST, "/v1/events"), (Method::GET, "/v1/consumers"), (Method::GET, "/v1/cluster")]
    {
        let (status, answer) = engine.api.call(method, path, Some(event("c0"))).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
    assert!(receiver.repeated().is_empty());
    assert!(engine.process.stop().success() && api.process.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_all_nodes_one_after_the_other_loses_nothing_and_repeats_nothing() {
    let server = server(&[]);
    let fleet = Fleet::init(&server.dsn(&server.create_database("rolling")), "");
    let mut nodes = [fleet.start("a").await, fleet.start("b").await, fleet.start("c").await];
    let receiver = Receiver::start(Duration::from_millis(80)).await;
    receiver.trust(&fleet, &nodes[0].origin).await;
    with_endpoints(&nodes[0].api, &receiver, CONSUMERS).await;
    shared_out(&nodes.each_ref()).await;
    let origins = nodes.each_ref().map(|node| node.origin.clone());
    let addresses: Vec<&str> = origins.iter().flat_map(|origin| [origin.as_str(); 2]).collect();
    let mut load = Load::start(&fleet, &addresses, CONSUMERS, Duration::from_millis(40));
    load.more(60).await;
    let mut down = Vec::new();
    for place in 0..nodes.len() {
        let since = now();
        tokio::task::block_in_place(|| {
            let status = nodes[place].process.end();
            assert!(status.success(), "{}", nodes[place].process.log());
        });
        let stopped = since.elapsed();
        nodes[place] = fleet
            .start_with(
                &format!("{}2", nodes[place].name),
                Start { origin: Some(&origins[place]), ..Start::default() },
            )
            .await;
        down.push((origins[place].clone(), since, now()));
        shared_out(&nodes.each_ref()).await;
        println!("stopped within {stopped:.1?}, shared out again {:.1?} after the signal", since.elapsed());
        load.more(60).await;
    }
    let acknowledged = load.stop().await;
    until("everything is delivered", async || receiver.events().is_superset(&acknowledged)).await;
    for node in nodes {
        assert!(node.process.stop().success());
    }
    let again = receiver.repeated();
    assert!(again.is_empty(), "came twice: {again:?} of {}", acknowledged.len());
    let elsewhere: Vec<_> = load
        .failures()
        .into_iter()
        .filter(|failure| {
            !down.iter().any(|(origin, since, until)| {
                *origin == failure.origin && failure.at + PATIENCE > *since && failure.at < *until
            })
        })
        .collect();
    assert!(elsewhere.is_empty(), "a node failed that was up: {elsewhere:?}");
    let refused = load.failures().into_iter().filter_map(|failure| Some((failure.status?, failure.said)));
    println!(
        "{} acknowledged, {} not by a node that was down; answered: {:?}",
        acknowledged.len(),
        load.failures().len(),
        refused.collect::<Vec<_>>()
    );
}

/// A newer program, whose steps only add, has been started and is not there yet; nodes of this one come and go meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_on_and_join_while_the_tables_are_those_of_a_newer_program() {
    let server = server(&[]);
    let database = server.create_database("newer");
    let fleet = Fleet::init(&server.dsn(&database), "");
    let a = fleet.start("a").await;
    let receiver = Receiver::start(Duration::from_millis(20)).await;
    receiver.trust(&fleet, &a.origin).await;
    with_endpoints(&a.api, &receiver, CONSUMERS).await;
    let mut load = Load::start(&fleet, &[a.origin.as_str(); 4], CONSUMERS, Duration::from_millis(20));
    load.more(60).await;
    let version = || server.execute(&database, "SELECT version FROM schema_version");
    let before: u32 = version().parse().unwrap();
    tokio::task::block_in_place(|| server.execute(&database, ADDED));
    assert_eq!(version(), (before + 1).to_string());
    load.more(60).await;
    let b = fleet.start("b").await;
    shared_out(&[&a, &b]).await;
    load.more(60).await;
    a.api.post("/v1/consumers", json!({ "id": "later" })).await;
    assert_eq!(b.api.get("/v1/consumers/later").await["id"], "later");
    let mut acknowledged = load.stop().await;
    assert!(load.failures().is_empty(), "{:?}", load.failures());
    assert!(a.process.stop().success());

    let mut load = Load::start(&fleet, &[b.origin.as_str(); 4], CONSUMERS, Duration::from_millis(20));
    load.more(60).await;
    shared_out(&[&b]).await;
    acknowledged.extend(load.stop().await);
    assert!(load.failures().is_empty(), "{:?}", load.failures());
    until("everything is delivered", async || receiver.events().is_superset(&acknowledged)).await;
    assert!(receiver.repeated().is_empty());
    assert!(b.process.stop().success());
    assert_eq!(version(), (before + 1).to_string(), "an older program changes nothing of it");
}

/// What a newer program may do to the tables while this one works: to each of them, one after the other.
const ADDED: &str = "SELECT format('ALTER TABLE %s ADD COLUMN added_later integer NOT NULL DEFAULT 7', c.oid::regclass)
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    \\gexec
    CREATE TABLE made_later (id uuid PRIMARY KEY);
    CREATE INDEX made_later_too ON records (added_later);
    UPDATE schema_version SET version = version + 1;";

/// A request that was under way when the node was told to stop counts as one while it was down.
const PATIENCE: Duration = Duration::from_secs(3);
