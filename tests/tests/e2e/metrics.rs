//! What is counted of deliveries, as `/metrics` shows it.

use serde_json::json;
use tokio::time::{Duration, sleep};
use waxseal_tests::sender::SenderFolder;

use crate::support::{consumer, endpoint, publish, register};

#[tokio::test(flavor = "multi_thread")]
async fn each_delivery_is_counted_by_what_it_came_to_from_none_on() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    let consumer = consumer(&folder.origin);
    register(api, "acme").await;
    endpoint(api, "acme", &consumer.url("a"), "signed", None).await;
    let measured = async |name: &str| {
        let text = api.text("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
        value.and_then(|value| value.parse::<u64>().ok())
    };
    let delivered = "waxseal_deliveries_total{result=\"delivered\"}";
    assert_eq!(measured(delivered).await, Some(0));

    for n in 0..3 {
        publish(api, "acme", json!({ "n": n })).await;
    }
    consumer.until_taken(3).await;
    // What was taken is settled a moment later.
    for _ in 0..400 {
        if measured(delivered).await >= Some(3) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    for name in [delivered, "waxseal_attempt_seconds_count", "waxseal_publish_to_delivered_seconds_count"] {
        assert_eq!(measured(name).await, Some(3), "{name}");
    }
}
