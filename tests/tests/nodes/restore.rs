//! The database is destroyed, and comes back from a backup and the archive of its log.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use waxseal_tests::postgres::Postgres;

use crate::fleet::{Fleet, Node, event, now, server, until, with_endpoints};
use crate::load::Load;
use crate::lost_primary::kept;
use crate::receiver::Receiver;

const CONSUMERS: usize = 4;

/// A database that archives its log, with a node under load.
struct World {
    server: Postgres,
    database: String,
    fleet: Fleet,
    node: Node,
    receiver: Receiver,
    load: Load,
}

/// Some events are in its backup, some came after that.
async fn backed_up(name: &str) -> World {
    let mut server = server(&[]);
    server.archive();
    let database = server.create_database(name);
    let fleet = Fleet::init(&server.dsn(&database), "");
    let node = fleet.start("a").await;
    let receiver = Receiver::start(Duration::from_millis(20)).await;
    receiver.trust(&fleet, &node.origin).await;
    with_endpoints(&node.api, &receiver, CONSUMERS).await;
    let load = Load::start(&fleet, &[node.origin.as_str(); 4], CONSUMERS, Duration::from_millis(20));
    load.more(40).await;
    tokio::task::block_in_place(|| server.back_up());
    load.more(60).await;
    World { server, database, fleet, node, receiver, load }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_acknowledged_before_the_archive_ends_is_there_after_a_restore() {
    let World { mut server, database, fleet: _fleet, node, receiver, mut load } = backed_up("restored").await;
    let archived = load.acknowledged();
    tokio::task::block_in_place(|| server.archive_all());
    load.more(60).await;

    let since = now();
    tokio::task::block_in_place(|| {
        server.destroy();
        server.restore();
    });
    let restored = since.elapsed();
    let acknowledged = load.acknowledged();
    load.more(1).await;
    println!("restored after {restored:.1?}, accepted again after {:.1?}", since.elapsed());
    let kept = kept(&server, &database);
    let lost = archived.difference(&kept).count();
    assert_eq!(lost, 0, "of {} that were acknowledged before the archive ended", archived.len());
    let after = acknowledged.difference(&kept).count();
    assert!(after > 0, "what came after the archive is there too: nothing was destroyed");
    println!(
        "{} were archived, {after} of {} after that are lost",
        archived.len(),
        acknowledged.len() - archived.len()
    );

    load.more(60).await;
    let fresh: BTreeSet<_> = load.stop().await.difference(&acknowledged).cloned().collect();
    until("what is accepted since then is delivered", async || receiver.events().is_superset(&fresh)).await;
    until("what was archived is delivered", async || receiver.events().is_superset(&archived)).await;
    let live = "SELECT count(*) FROM delivery_live";
    let left = || server.execute(&database, live);
    until("what came back as not settled is settled", async || left() == "0").await;
    assert!(node.process.stop().success());
}

/// Somebody has done what cannot be undone, and it is known when: all is brought back as it was before.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_to_a_moment_has_what_came_before_and_nothing_after_and_the_sender_works_on() {
    let World { mut server, database, fleet, node, receiver, mut load } = backed_up("as_of").await;
    let before = load.acknowledged();
    let moment = server.execute("postgres", "SELECT clock_timestamp()");
    let after = node.api.try_publish(&event("c0")).await.expect("it is acknowledged");
    node.api.post("/v1/consumers", json!({ "id": "late" })).await;
    load.more(60).await;
    let acknowledged = load.stop().await;
    tokio::task::block_in_place(|| {
        server.archive_all();
        server.destroy();
        server.restore_as_of(&moment);
    });

    let kept = kept(&server, &database);
    let lost = before.difference(&kept).count();
    assert_eq!(lost, 0, "of {} that were acknowledged before that moment", before.len());
    assert!(!kept.contains(&after), "what came after that moment is there");
    let mut load = Load::start(&fleet, &[node.origin.as_str(); 4], CONSUMERS, Duration::from_millis(20));
    load.more(60).await;
    until("the node knows no more than the database", async || {
        node.api.call(Method::GET, "/v1/consumers/late", None).await.0 == 404
    })
    .await;
    node.api.post("/v1/consumers", json!({ "id": "late" })).await;
    let fresh: BTreeSet<_> = load.stop().await.difference(&acknowledged).cloned().collect();
    until("what is accepted since then is delivered", async || receiver.events().is_superset(&fresh)).await;
    until("what was kept is delivered", async || receiver.events().is_superset(&kept)).await;
    let left = || server.execute(&database, "SELECT count(*) FROM delivery_live");
    until("what came back as not settled is settled", async || left() == "0").await;
    assert!(node.process.stop().success());
}
