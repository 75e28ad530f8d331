//! Promise 9: a full life of the program, with its logs at their most talkative, and then a search of every file, log
//! and metric for everything that is nobody else's business.

mod confidential;
mod evidence;
mod key;
mod service;
mod setup;
mod upkeep;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use waxseal_tests::api::Api;
use waxseal_tests::leak::Secrets;
use waxseal_tests::sender::{Sender, SenderFolder};

use self::confidential::{CONTENTS, CREDENTIALS, content};
use self::evidence::Evidence;
use self::setup::{Outside, configure, refused, refused_a_token};
use self::upkeep::Elsewhere;
use crate::program::waxseal;
use crate::support::{SHORT_KEYS, TYPE};

/// Everything is logged; what fails is tried again soon, and often.
const TALKATIVE: &str = "[log]\nfilter = \"trace\"\n[delivery]\nretry = [\"200ms\", \"200ms\", \"1s\", \"2s\", \"2s\", \"2s\", \"2s\", \"2s\"]\n[delivery.breaker]\nfailures = 10000\n";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_confidential_is_in_files_logs_or_metrics() {
    let folder = SenderFolder::init(&format!("{SHORT_KEYS}{TALKATIVE}"), None);
    let mut sender = folder.start().await;
    let outside = Outside::start(&folder).await;
    // Credentials are kept from whoever may read lists, too.
    let (mut contents, mut credentials) = (Secrets::default(), Secrets::default());
    let (mut evidence, mut lists) = (Evidence::default(), Evidence::default());
    let elsewhere = Elsewhere::new();

    configure(&sender.api, &folder, &outside, &mut credentials).await;
    refused(&sender.api, &folder, &mut credentials).await;
    refused_a_token(&sender.api, &outside).await;
    let stranger = upkeep::ask_a_stranger(&sender.api, &outside).await;
    let event = publish(&sender.api, &folder, &outside).await;
    operate(&sender.api, &folder, &outside, &mut credentials, &mut lists, &event).await;
    upkeep::until_not_confirmed(&sender.api, &stranger).await;
    evidence.add("metrics", sender.api.text("/metrics").await);
    evidence.add_files("while it runs", folder.path());
    upkeep::back_up(&folder, &elsewhere, "while it runs", &mut evidence);

    outside.failing.answer(500);
    for number in 0..50 {
        let data = json!({ "number": number, "card": content("a payload beside the kill") });
        publish_to(&sender.api, "hooli", data).await;
    }
    sender.process.kill();
    evidence.add_files("after the kill", folder.path());
    evidence.add("first log", sender.process.last_words());
    key::add_those_of_sender(folder.path(), &folder.file("waxseal.key"), &mut credentials).await;
    upkeep::rewrap(&folder, &elsewhere, &mut evidence);
    evidence.add_files("after the rewrap", folder.path());

    let config = std::fs::read_to_string(folder.file("waxseal.toml")).unwrap();
    let config = config.replace("filter = \"trace\"", "filter = \"trace\"\nformat = \"json\"");
    std::fs::write(folder.file("waxseal.toml"), config).unwrap();
    let mut sender = folder.start().await;
    end_of_life(&sender, &folder, &outside, &mut lists).await;
    evidence.add("metrics after the restart", sender.api.text("/metrics").await);
    assert!(sender.process.end().success());
    evidence.add("second log", sender.process.last_words());
    evidence.add_files("after the stop", folder.path());
    upkeep::back_up(&folder, &elsewhere, "after the stop", &mut evidence);
    key::add_those_of_sender(folder.path(), &elsewhere.second_key(), &mut credentials).await;
    upkeep::add_states(&outside, &mut credentials);

    credentials.add("the first API token", &folder.token);
    outside.tokens.add_to(&mut credentials);
    for (what, text) in CREDENTIALS {
        credentials.add(what, text);
    }
    for (what, text) in CONTENTS {
        contents.add(what, text);
    }
    let delivered =
        [outside.sound.received(), outside.failing.received(), outside.stranger.received()].concat();
    assert!(delivered.len() > 20);
    for (headers, token) in &delivered {
        contents.add_token("a delivered token", token);
        if let Some(authorization) = headers.get("authorization") {
            credentials
                .add("an Authorization field", authorization.to_str().unwrap().split_once(' ').unwrap().1);
        }
    }
    println!("{} and {} secrets in {} bytes", credentials.len(), contents.len(), evidence.len());
    it_would_be_found(&evidence, &lists, &event, &credentials);
    let search = credentials.search();
    let found = [evidence.find(&search), evidence.find(&contents.search()), lists.find(&search)].concat();
    let some: Vec<_> = found.iter().take(50).map(String::as_str).collect();
    assert!(found.is_empty(), "{} places:\n{}", found.len(), some.join("\n"));
}

/// Publishes to everybody, in every form; returns the id of the event for whom nothing works.
async fn publish(api: &Api, folder: &SenderFolder, outside: &Outside) -> String {
    let data = json!({ "card": content("a payload") }).to_string();
    let ids = ["--id", content("a publisher's id"), "--idempotency-key", content("an idempotency key")];
    waxseal(folder, &data, &[&["publish", "--type", TYPE, "--consumer", "acme"][..], &ids].concat());
    publish_to(api, "globex", json!({ "card": content("a payload that was sealed") })).await;
    let data = STANDARD.encode(content("a payload that is not JSON"));
    for consumer in ["initech", "umbrella", "vandelay"] {
        let body = json!({
            "type": TYPE, "to": { "consumer": consumer }, "data_base64": data, "datacontenttype": "text/plain",
        });
        api.post("/v1/events", body).await;
    }
    let failing =
        publish_to(api, "hooli", json!({ "card": content("a payload for somebody who fails") })).await;
    // One for acme and globex each, three by OAuth, two by certificate.
    outside.sound.until_received(7).await;
    outside.failing.until_received(3).await;
    assert!(outside.tokens.given() >= 3);
    failing
}

async fn publish_to(api: &Api, consumer: &str, data: Value) -> String {
    let body = json!({ "type": TYPE, "to": { "consumer": consumer }, "data": data });
    api.post("/v1/events", body).await["id"].as_str().unwrap().to_owned()
}

/// What operators do on an ordinary day.
async fn operate(
    api: &Api,
    folder: &SenderFolder,
    outside: &Outside,
    secrets: &mut Secrets,
    lists: &mut Evidence,
    event: &str,
) {
    let made = waxseal(folder, "", &["token", "create", "--scope", "publish", "--label", "shop", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    secrets.add("an API token", made["token"].as_str().unwrap());
    let shop = Api::new(&folder.origin, made["token"].as_str().unwrap(), None);
    publish_to(&shop, "acme", json!({ "card": content("a payload") })).await;
    let (status, _) = shop.call(Method::GET, "/v1/endpoints", None).await;
    assert_eq!(status, 403);

    outside.failing.answer(202);
    let delivered = |answer: &Value| {
        answer["data"].as_array().is_some_and(|all| all.iter().any(|one| one["state"] == "delivered"))
    };
    let deliveries = api.until(&format!("/v1/deliveries?event={event}"), delivered).await;
    let all = deliveries["data"].as_array().unwrap();
    let delivery = all.iter().find(|one| one["state"] == "delivered").unwrap()["id"].as_str().unwrap();
    waxseal(folder, "", &["deliveries", "redeliver", delivery]);
    let attempts = api.get(&format!("/v1/deliveries/{delivery}/attempts")).await;
    let excerpt = attempts["data"][0]["response_excerpt"].as_str().unwrap();
    assert!(excerpt.contains("secevent+jwt"), "what the endpoint repeated is kept: {excerpt}");

    let before = api.get("/v1/signing-keys").await;
    for _ in 0..200 {
        if api.call(Method::POST, "/v1/signing-keys/rotate", None).await.0 == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_ne!(api.get("/v1/signing-keys").await, before);
    publish_to(api, "globex", json!({ "card": content("a payload that was sealed") })).await;
    list(api, folder, lists).await;
}

/// Everything that lists things.
async fn list(api: &Api, folder: &SenderFolder, lists: &mut Evidence) {
    for what in ["endpoint", "consumer", "event-type", "group", "token", "keys", "deliveries", "recovery"] {
        lists.add(format!("waxseal {what} list"), waxseal(folder, "", &[what, "list"]));
        lists.add(format!("waxseal {what} list --json"), waxseal(folder, "", &[what, "list", "--json"]));
    }
    for path in [
        "endpoints",
        "consumers",
        "event-types",
        "groups",
        "tokens",
        "signing-keys",
        "deliveries",
        "recoveries",
        "audit?limit=100",
    ] {
        lists.add(format!("/v1/{path}"), api.text(&format!("/v1/{path}")).await);
    }
    lists.add("waxseal audit", waxseal(folder, "", &["audit"]));
    for path in ["/health", "/.well-known/jwks.json", "/v1/client-ca", "/v1/consumers/globex/encryption-keys"]
    {
        lists.add(path, api.text(path).await);
    }
}

/// After the restart: what was in flight is delivered, what went nowhere is recovered, two consumers are erased.
async fn end_of_life(sender: &Sender, folder: &SenderFolder, outside: &Outside, lists: &mut Evidence) {
    let before = outside.failing.received().len();
    outside.failing.answer(202);
    outside.failing.until_received(before + 50).await;
    publish_to(&sender.api, "initech", json!({ "card": content("a payload") })).await;
    let dead = upkeep::dead_endpoint(&sender.api).await;
    upkeep::recover(&sender.api, folder, &dead).await;
    list(&sender.api, folder, lists).await;
    waxseal(folder, "", &["consumer", "delete", "acme"]);
    waxseal(folder, "", &["consumer", "delete", "globex"]);
}

/// The search finds what is there: ids are in files and logs, names in metrics, and a secret where one is put.
fn it_would_be_found(evidence: &Evidence, lists: &Evidence, event: &str, credentials: &Secrets) {
    let places = |text: &str| evidence.places_with(text.as_bytes());
    assert!(
        places("umbrella").iter().any(|place| place.starts_with("waxseal.db")),
        "{:?}",
        places("umbrella")
    );
    for backup in ["backup while it runs", "backup after the stop"] {
        assert!(places("umbrella").contains(&backup), "{:?}", places("umbrella"));
    }
    for (there, list) in [("endpoint.create", "/v1/audit?limit=100"), ("redelivered", "/v1/recoveries")] {
        assert!(lists.places_with(there.as_bytes()).contains(&list), "{there}");
    }
    assert!(places(event).contains(&"first log"), "{:?}", places(event));
    assert_eq!(places("waxseal_deliveries_total"), ["metrics", "metrics after the restart"]);
    let mut known = Secrets::default();
    known.add("an id", event);
    assert!(!evidence.find(&known.search()).is_empty());
    let search = credentials.search();
    for (what, text) in CREDENTIALS {
        let mut planted = Evidence::default();
        planted.add("planted", format!("{{\"a\":{}}}", STANDARD.encode(format!("x{text}"))));
        assert!(!planted.find(&search).is_empty(), "{what}");
    }
}
