//! What becomes of deliveries that do not go straight through: paused, expired, cancelled, repeated, tried out.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use waxseal_keys::DecryptionKey;
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use crate::program::{run, waxseal};
use crate::support::{TYPE, endpoint, key, publish, register, trusted_endpoint};

/// One POST at a time to each endpoint: what arrives first was due first.
const ONE_AT_A_TIME: &str =
    "[delivery]\nmax_in_flight_per_endpoint = 1\nretry = [\"100ms\", \"200ms\", \"1h\"]\n";

fn consumer(folder: &SenderFolder, protection: &str, keys: &[DecryptionKey]) -> Consumer {
    Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["a"],
        protection,
        keys,
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_loses_nothing_not_even_when_the_sender_is_killed_and_resumes_in_due_order() {
    let folder = SenderFolder::init(ONE_AT_A_TIME, None);
    let mut sender = folder.start().await;
    let consumer = consumer(&folder, "signed", &[]);
    register(&sender.api, "acme").await;
    let endpoint = endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
    sender.api.post(&format!("/v1/endpoints/{endpoint}/pause"), Value::Null).await;
    let mut published = Vec::new();
    for round in 0..3 {
        for n in 0..10 {
            published.push(publish(&sender.api, "acme", json!({ "round": round, "n": n })).await);
        }
        sender.process.kill();
        sender = folder.start().await;
    }
    published.push(publish(&sender.api, "acme", json!("last")).await);
    let health = sender.api.get(&format!("/v1/endpoints/{endpoint}")).await;
    assert_eq!(health["status"]["state"], "paused", "the pause survives as well");
    let pending = sender.api.get("/v1/deliveries?state=pending&limit=200").await;
    let mut pending: Vec<_> = pending["data"].as_array().unwrap().iter().collect();
    assert_eq!(pending.len(), published.len());
    pending.sort_by_key(|delivery| (text(&delivery["due_at"]), text(&delivery["id"])));
    let due: Vec<_> = pending.into_iter().map(|delivery| text(&delivery["event"])).collect();
    assert!(consumer.taken().is_empty());

    sender.api.post(&format!("/v1/endpoints/{endpoint}/resume"), Value::Null).await;
    let taken: Vec<_> =
        consumer.until_taken(published.len()).await.into_iter().map(|taken| taken.id).collect();
    assert_eq!(taken, due);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_behind_a_pause_is_never_posted() {
    let folder = SenderFolder::init("", None);
    let mut sender = folder.start().await;
    let mut sink = Sink::start().await;
    register(&sender.api, "acme").await;
    let endpoint = trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    sender.api.post(&format!("/v1/endpoints/{endpoint}/pause"), Value::Null).await;
    let body = json!({ "type": TYPE, "data": "soon stale", "ttl_seconds": 1 });
    let stale = text(&sender.api.post("/v1/events", body).await["deliveries"][0]["id"]);
    let kept = publish(&sender.api, "acme", json!("lasting")).await;
    sender.process.kill();
    // Its time passes while nobody runs.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    sender = folder.start().await;
    let path = format!("/v1/deliveries/{stale}");
    let ended = sender.api.until(&path, |delivery| delivery["state"] == "expired").await;
    assert_eq!(ended["attempts_made"], 0);
    sender.api.post(&format!("/v1/endpoints/{endpoint}/resume"), Value::Null).await;
    sink.next().await;
    sender
        .api
        .until(&format!("/v1/deliveries?event={kept}"), |found| found["data"][0]["state"] == "delivered")
        .await;
    assert!(sink.waiting().is_none());
    let found =
        sender.api.get(&format!("/v1/deliveries?state=expired&endpoint={endpoint}&type={TYPE}")).await;
    assert_eq!(found["data"].as_array().unwrap().len(), 1, "kept, and found");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_new_the_receiver_handles_again_what_it_had_taken() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let (secret, set) = key(EncryptionKeyType::P256);
    let consumer = consumer(&folder, "sealed", &[secret]);
    register(&sender.api, "acme").await;
    endpoint(&sender.api, "acme", &consumer.url("a"), "sealed", Some(json!({ "jwks": set }))).await;
    let event = publish(&sender.api, "acme", json!({ "order": "991" })).await;
    consumer.until_taken(1).await;
    let found = format!("/v1/deliveries?event={event}");
    let first = sender.api.until(&found, |found| found["data"][0]["state"] == "delivered").await;
    let first = text(&first["data"][0]["id"]);

    let same: Value =
        serde_json::from_str(&waxseal(&folder, "", &["deliveries", "redeliver", &first, "--json"])).unwrap();
    let path = format!("/v1/deliveries/{}", text(&same["id"]));
    sender.api.until(&path, |delivery| delivery["state"] == "delivered").await;
    assert_eq!(consumer.taken().len(), 1, "under the same id it is known");

    let again: Value = serde_json::from_str(&waxseal(
        &folder,
        "",
        &["deliveries", "redeliver", &first, "--as-new", "--json"],
    ))
    .unwrap();
    let taken = consumer.until_taken(2).await;
    assert_eq!((&taken[0].id, &taken[1].id), (&event, &text(&again["event"])));
    assert_eq!(taken[0].data, taken[1].data);
    assert_eq!(again["redelivery_of"], json!(event));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_event_tells_an_operator_whether_an_endpoint_works() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let mut sink = Sink::start().await;
    register(&sender.api, "acme").await;
    let endpoint = trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;

    let shown = waxseal(&folder, "", &["endpoint", "test", &endpoint]);
    assert!(shown.contains("delivered") && shown.contains("202"), "{shown}");
    let token = String::from_utf8(sink.next().await.1.to_vec()).unwrap();
    let open = ["open", "--issuer", &folder.origin, "--audience", "acme", "--json"];
    let opened: Value = serde_json::from_str(&waxseal(&folder, &token, &open)).unwrap();
    assert_eq!(opened["opened"]["type"], "waxseal.test", "{opened}");
    assert_eq!(
        (&opened["opened"]["data"]["test"], &opened["opened"]["data"]["endpoint"]),
        (&json!(true), &json!(endpoint))
    );

    sink.answer(500);
    let (status, shown, said) = run(&folder, "", &["endpoint", "test", &endpoint]);
    assert_eq!(status, 1, "{shown}{said}");
    assert!(
        shown.contains("answer.server_error") && said.contains("not taken: it is retrying"),
        "{shown}{said}"
    );

    waxseal(&folder, "", &["endpoint", "pause", &endpoint]);
    let (status, _, said) = run(&folder, "", &["endpoint", "test", &endpoint, "--wait", "500ms"]);
    assert_eq!(status, 1);
    assert!(said.contains("the endpoint is paused"), "{said}");
    assert!(sender.process.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_and_takes_back_what_waits() {
    let folder = SenderFolder::init("[delivery]\nretry = [\"1h\"]\n", None);
    let sender = folder.start().await;
    let mut sink = Sink::start().await;
    sink.answer(503);
    register(&sender.api, "acme").await;
    let endpoint = trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    let mut events = Vec::new();
    for n in 0..3 {
        events.push(publish(&sender.api, "acme", json!(n)).await);
        sink.next().await;
    }
    let retrying = "/v1/deliveries?state=retrying";
    let found = sender.api.until(retrying, |found| found["data"].as_array().unwrap().len() == 3).await;
    let first = text(&found["data"][2]["id"]);
    waxseal(&folder, "", &["deliveries", "cancel", &first]);
    let (status, _, said) = run(&folder, "", &["deliveries", "cancel", &first]);
    assert!(status == 1 && said.contains("409") && said.contains("ended as cancelled"), "{said}");
    let listed =
        waxseal(&folder, "", &["deliveries", "list", "--state", "cancelled,refused", "--type", TYPE]);
    assert!(listed.contains(&events[0]) && !listed.contains(&events[1]), "{listed}");
    let summed = waxseal(&folder, "", &["endpoint", "cancel", &endpoint, "--type", TYPE, "--json"]);
    let summed: Value = serde_json::from_str(&summed).unwrap();
    assert_eq!(summed, json!({ "cancelled": 2, "in_flight": 0 }));
    let none = waxseal(&folder, "", &["deliveries", "list", "--state", "pending,retrying"]);
    assert!(none.contains("(none)"), "{none}");
    let later = waxseal(&folder, "", &["deliveries", "list", "--since", "2100-01-01T00:00:00Z"]);
    assert!(later.contains("(none)"), "{later}");
}

/// The `jti` of a signed token.
fn jti(token: &[u8]) -> String {
    let token = std::str::from_utf8(token).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    text(&serde_json::from_slice::<Value>(&payload).unwrap()["jti"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_survives_kills_and_delivers_each_event_again_once_oldest_first() {
    let config = "[delivery]\nmax_in_flight_per_endpoint = 1\nretry = []\nbreaker = { failures = 1_000 }\n";
    let folder = SenderFolder::init(config, None);
    let mut sender = folder.start().await;
    let mut sink = Sink::start().await;
    sink.answer(500);
    register(&sender.api, "acme").await;
    let endpoint = trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    let mut published = Vec::new();
    for n in 0..120 {
        published.push(publish(&sender.api, "acme", json!(n)).await);
        sink.next().await;
    }
    let failed = "/v1/deliveries?state=exhausted&limit=200";
    let failed = sender.api.until(failed, |found| found["data"].as_array().unwrap().len() == 120).await;
    let oldest_first =
        failed["data"].as_array().unwrap().iter().rev().map(|delivery| text(&delivery["event"]));
    sink.answer(202);
    let since = "2020-01-01T00:00:00Z";
    let begin = ["endpoint", "recover", &endpoint, "--since", since, "--rate", "40", "--detach", "--json"];
    let begun: Value = serde_json::from_str(&waxseal(&folder, "", &begin)).unwrap();
    assert_eq!((&begun["state"], &begun["remaining"]), (&json!("running"), &json!(120)));
    let path = format!("/v1/recoveries/{}", text(&begun["id"]));
    for reached in [20, 60] {
        sender.api.until(&path, |recovery| recovery["redelivered"].as_u64().unwrap() >= reached).await;
        sender.process.kill();
        sender = folder.start().await;
    }
    let ended = sender.api.until(&path, |recovery| recovery["state"] == "finished").await;
    assert_eq!((&ended["redelivered"], &ended["skipped"]), (&json!(120), &json!(0)));
    sender
        .api
        .until("/v1/deliveries?state=pending,retrying", |found| found["data"].as_array().unwrap().is_empty())
        .await;
    for event in &published {
        let deliveries = sender.api.get(&format!("/v1/deliveries?event={event}")).await;
        let states: Vec<_> =
            deliveries["data"].as_array().unwrap().iter().map(|one| text(&one["state"])).collect();
        assert_eq!(states, ["delivered", "exhausted"], "one redelivery and no more");
    }
    let mut order = Vec::new();
    while let Some((_, token)) = sink.waiting() {
        let id = jti(&token);
        // A kill can make the delivery that was in flight arrive twice.
        if !order.contains(&id) {
            order.push(id);
        }
    }
    assert!(order.iter().eq(&oldest_first.collect::<Vec<_>>()), "{order:?}");

    // Followed on the command line, another one says that there was nothing left to do.
    let (status, shown, said) = run(&folder, "", &["endpoint", "recover", &endpoint, "--since", since]);
    assert_eq!(status, 0, "{shown}{said}");
    assert!(shown.contains("finished") && said.contains("to go"), "{shown}{said}");
    let listed = waxseal(&folder, "", &["recovery", "list", "--endpoint", &endpoint]);
    assert_eq!(listed.matches("finished").count(), 2, "{listed}");
}
