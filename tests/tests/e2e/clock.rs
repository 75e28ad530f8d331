//! A sender whose machine's clock is set while it runs: ahead by months and back again.

use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use waxseal_tests::preload::Clock;
use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::{Sender, SenderFolder};

use crate::backup::{all_taken, publish_many};
use crate::support::{consumer, endpoint, register};

/// Keys as in production, and a look every second at what is old.
const CONFIG: &str = "[retention]\ncheck_every = \"1s\"\n";

const DAY: i64 = 24 * 60 * 60;

async fn says(process: &Process, what: &str) {
    for _ in 0..1_200 {
        if process.log().contains(what) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never said `{what}`:\n{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_ahead_and_back_loses_nothing_and_is_told_of() {
    let folder = SenderFolder::init(CONFIG, None);
    let clock = Clock::right();
    let mut command = Command::new(program("waxseal"));
    command.args(["serve", "--config"]).arg(folder.file("waxseal.toml"));
    clock.preload(&mut command);
    let Sender { process, api } = folder.start_by(command).await;
    let consumer = consumer(&folder.origin);
    register(&api, "acme").await;
    let endpoint =
        format!("/v1/endpoints/{}", endpoint(&api, "acme", &consumer.url("a"), "signed", None).await);
    let mut accepted = publish_many(&api, 10).await;
    all_taken(&consumer, &accepted).await;

    // Contents are kept for 30 days. By this clock all of them are older, and nobody can say that it is wrong but that it
    // jumped.
    clock.set(100 * DAY);
    says(&process, "nothing is removed by age for an hour, so that it can be set right").await;
    for id in &accepted {
        let event = api.get(&format!("/v1/events/{id}?data=true")).await;
        assert_eq!(event["data_kept"], json!(true), "{event}");
    }
    // So long that the engine has seen this time, too: it looks every half minute.
    tokio::time::sleep(Duration::from_secs(32)).await;
    // What is accepted now is dated a hundred days from now.
    api.post(&format!("{endpoint}/pause"), Value::Null).await;
    accepted.extend(publish_many(&api, 10).await);

    clock.set(0);
    api.post(&format!("{endpoint}/resume"), Value::Null).await;
    says(&process, "the clock was set back; what waits is dated anew").await;
    all_taken(&consumer, &accepted).await;
    api.until("/v1/deliveries?state=pending,retrying", |page| page["data"] == json!([])).await;
    assert_eq!(consumer.taken().len(), accepted.len(), "each was handled once");
    accepted.extend(publish_many(&api, 10).await);
    all_taken(&consumer, &accepted).await;
    assert!(process.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_starts_after_its_clock_was_set_back_waits_for_nothing() {
    let folder = SenderFolder::init("", None);
    let clock = Clock::right();
    let start = || {
        let mut command = Command::new(program("waxseal"));
        command.args(["serve", "--config"]).arg(folder.file("waxseal.toml"));
        clock.preload(&mut command);
        command
    };
    clock.set(2 * DAY);
    let mut sender = folder.start_by(start()).await;
    let consumer = consumer(&folder.origin);
    register(&sender.api, "acme").await;
    let body = json!({
        "consumer": "acme", "url": consumer.url("a"), "protection": "signed", "event_types": [crate::support::TYPE],
        "trusted": true
    });
    let (status, answer) = sender.api.call(Method::POST, "/v1/endpoints", Some(body)).await;
    assert_eq!(status, 201, "{answer}");
    // The receiver takes no token from the day after tomorrow; these are to be tried again two days from now and later.
    let accepted = publish_many(&sender.api, 10).await;
    sender
        .api
        .until("/v1/deliveries?state=retrying", |page| {
            page["data"].as_array().unwrap().len() == accepted.len()
        })
        .await;
    let attempts = sender.api.get("/v1/deliveries?state=retrying").await["data"][0]["id"].clone();
    let path = format!("/v1/deliveries/{}/attempts", attempts.as_str().unwrap());
    let attempt = sender.api.get(&path).await["data"][0].clone();
    assert_eq!(attempt["result"], json!("answer.invalid_request"), "{attempt}");
    sender.process.kill();
    clock.set(0);
    let sender = folder.start_by(start()).await;
    all_taken(&consumer, &accepted).await;
    assert!(sender.process.stop().success());
}
