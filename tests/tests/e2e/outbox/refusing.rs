//! Events that the sender refuses wait apart with the reason, and hold up no others.

use serde_json::json;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use super::Shop;
use crate::support::{TYPE, register, trusted_endpoint};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sender_refuses_waits_apart_and_can_be_queued_again() {
    let shop = Shop::open("refusing");
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let mut sink = Sink::start().await;
    register(&sender.api, "acme").await;
    trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let refused = [
        "publish('order.unknown', '{}', consumer => 'acme')".to_owned(),
        format!("publish('{TYPE}', '{{}}', consumer => 'nobody')"),
        format!("publish_text('{TYPE}', '{{\"a\":1,\"a\":2}}', consumer => 'acme')"),
        format!("publish_text('{TYPE}', '\"\\ud800\"', consumer => 'acme')"),
        format!("publish_text('{TYPE}', '{deep}', consumer => 'acme')"),
        // The same id as another event's, for other content.
        format!("publish('{TYPE}', '\"other\"', consumer => 'acme', id => 'order-1')"),
    ];
    let good = [
        format!("publish('{TYPE}', '\"first\"', consumer => 'acme', id => 'order-1')"),
        // A repetition: accepted, and no second event.
        format!("publish('{TYPE}', '\"first\"', consumer => 'acme', id => 'order-1')"),
        format!(
            "publish_text('{TYPE}', '{{\"b\": 1.0,  \"a\":\"ü\\u0000\"}}', consumers => '{{acme}}', ttl => '1 hour')"
        ),
        format!("publish_bytes('{TYPE}', '\\x00ff', 'image/png', everybody => true, occurred_at => now())"),
    ];
    // Good and bad in turns.
    for (at, call) in good.iter().enumerate() {
        shop.sql(&format!("SELECT waxseal_outbox.{call}"));
        shop.sql(&format!("SELECT waxseal_outbox.{}", refused[at]));
    }
    for call in &refused[good.len()..] {
        shop.sql(&format!("SELECT waxseal_outbox.{call}"));
    }
    let (status, said) = shop.relay_once(&folder);
    assert_eq!(status, 0, "{said}");
    let told = json!({ "published": good.len(), "refused": refused.len(), "put_off": 0 });
    let shown: String = said.lines().filter(|line| !line.contains("WARN")).collect();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), told, "{said}");
    assert_eq!((shop.rows("outbox"), shop.rows("refused")), (0, refused.len()));
    // One of them is the event that was published twice.
    for _ in 1..good.len() {
        sink.next().await;
    }
    assert!(sink.waiting().is_none());

    let reasons = shop.sql("SELECT status, code, reason FROM waxseal_outbox.refused ORDER BY seq");
    for part in ["order.unknown", "nobody", "appears twice", "not valid JSON", "64 levels", "used before"] {
        assert!(reasons.contains(part), "{part}: {reasons}");
    }
    assert_eq!(reasons.matches("400|api.validation|").count(), refused.len() - 1, "{reasons}");
    assert_eq!(reasons.matches("409|api.idempotency_conflict|").count(), 1, "{reasons}");

    // What was wrong is mended.
    sender.api.post("/v1/consumers", json!({ "id": "nobody" })).await;
    assert_eq!(shop.sql("SELECT waxseal_outbox.requeue(1000000)"), "f");
    let whose = "(SELECT seq FROM waxseal_outbox.refused WHERE consumers = '{nobody}')";
    assert_eq!(shop.sql(&format!("SELECT waxseal_outbox.requeue({whose})")), "t");
    assert_eq!((shop.rows("outbox"), shop.rows("refused")), (1, refused.len() - 1));
    assert_eq!(shop.relay_once(&folder).0, 0);
    assert_eq!((shop.rows("outbox"), shop.rows("refused")), (0, refused.len() - 1));
    // Those that are still wrong are refused again.
    let count = shop.sql("SELECT waxseal_outbox.requeue_all('api.validation')");
    assert_eq!(count, (refused.len() - 2).to_string());
    assert_eq!(shop.relay_once(&folder).0, 0);
    assert_eq!((shop.rows("outbox"), shop.rows("refused")), (0, refused.len() - 1));
}
