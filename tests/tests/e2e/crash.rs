//! `kill -9` of the sender with deliveries in flight, while old contents are removed and backups are made: what was
//! accepted is delivered all the same.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use waxseal_sender::store::sqlite::backup::inspect;
use waxseal_tests::api::Api;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::process::program;
use waxseal_tests::sender::SenderFolder;

use crate::support::{TYPE, endpoint, register};

const ROUNDS: usize = 20;
const PUBLISHERS: usize = 4;

/// With 16 POSTs under way to each, at least 100 are in flight while there is a backlog.
const SCOPES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Publishes until the sender is gone; returns what it accepted.
async fn publish_until_killed(api: Api) -> Vec<String> {
    let body = json!({ "type": TYPE, "data": { "order": "991" }, "to": { "consumer": "acme" } });
    let mut accepted = Vec::new();
    while let Some(id) = api.try_publish(&body).await {
        accepted.push(id);
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_event_survives_twenty_kills_with_a_hundred_deliveries_in_flight() {
    let config = "[delivery]\nretry = [\"100ms\", \"1s\", \"1s\", \"1s\"]\n\
                  [retention]\npayloads = \"500ms\"\ncheck_every = \"200ms\"\n";
    let folder = SenderFolder::init(config, None);
    let mut sender = folder.start().await;
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &SCOPES,
        protection: "signed",
        keys: &[],
        fail_first: 0,
        delay_ms: 60,
        tls: None,
    });
    register(&sender.api, "acme").await;
    for scope in SCOPES {
        endpoint(&sender.api, "acme", &consumer.url(scope), "signed", None).await;
    }
    let mut accepted = Vec::new();
    for round in 0..ROUNDS {
        let publishers: Vec<_> =
            (0..PUBLISHERS).map(|_| tokio::spawn(publish_until_killed(sender.api.clone()))).collect();
        let backup = folder.file(&format!("backup-{round}.db"));
        let mut backing_up = Command::new(program("waxseal"))
            .args(["backup", "--config"])
            .args([&folder.file("waxseal.toml"), &backup])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        in_flight(&sender.api, 100).await;
        // Differs from round to round, so that the kill meets other moments.
        sleep(Duration::from_millis(7 * u64::try_from(round).unwrap())).await;
        sender.process.kill();
        for publisher in publishers {
            accepted.extend(publisher.await.unwrap());
        }
        // Every other time the backup is killed as well.
        if round % 2 == 0 {
            let _ = backing_up.kill();
        }
        let finished = backing_up.wait().unwrap().success();
        assert!(finished || round % 2 == 0, "a backup is made whatever becomes of the sender");
        assert!(backup.exists() || !finished);
        if backup.exists() {
            inspect(&backup).expect("a backup is whole, or it is not there");
        }
        sender = folder.start().await;
    }
    let expected: HashSet<_> =
        accepted.iter().flat_map(|id| SCOPES.map(|scope| (scope.to_owned(), id.clone()))).collect();
    let mut missing = expected.len();
    for _ in 0..1_800 {
        let taken: HashSet<_> = consumer.taken().into_iter().map(|taken| (taken.scope, taken.id)).collect();
        missing = expected.difference(&taken).count();
        if missing == 0 {
            return contents_are_removed(&sender.api).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("{missing} of {} deliveries of accepted events were lost", expected.len());
}

/// Waits until upkeep has removed contents of what was delivered.
async fn contents_are_removed(api: &Api) {
    for _ in 0..400 {
        if api.text("/metrics").await.contains("waxseal_retention_removed_total{what=\"content\"}") {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing was ever removed");
}

/// Waits until so many POSTs are under way.
async fn in_flight(api: &Api, wanted: u64) {
    for _ in 0..1_000 {
        let metrics = api.text("/metrics").await;
        let gauge = metrics.lines().find_map(|line| line.strip_prefix("waxseal_in_flight "));
        if gauge.and_then(|value| value.parse::<f64>().ok()).is_some_and(|value| value >= wanted as f64) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("there were never {wanted} deliveries in flight");
}
