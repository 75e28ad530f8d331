//! What is counted: reasons and results, each once, and nothing of what came.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use axum::Router;
use metrics_exporter_prometheus::PrometheusBuilder;
use waxseal_receiver::{Received, axum::webhook};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{Sender, deliver, serve};

/// One thread, so that the recorder of this thread hears everything.
#[tokio::test(flavor = "current_thread")]
async fn refusals_are_counted_by_reason_and_nothing_else_is_told() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let told = recorder.handle();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let sender = Sender::new("https://hooks.example.com");
    let hook = webhook(sender.receiver(), |received: Received<serde_json::Value>| async move {
        if received.data["order"] == "991" { Ok(()) } else { Err("out of stock") }
    });
    let url = serve(Router::new().route("/hook", hook)).await + "/hook";

    for _ in 0..3 {
        deliver(&url, sender.signed("acme", "evt_secret")).await;
    }
    deliver(&url, sender.token(&sender.verification("acme", "evt_v", "s-123"), None)).await;
    deliver(&url, sender.token(&support::event(&sender.issuer, "acme", "evt_2", r#"{"order":"7"}"#), None))
        .await;
    for _ in 0..2 {
        deliver(&url, Sender::new("https://hooks.example.com").signed("acme", "evt_1")).await;
    }
    deliver(&url, sender.signed("globex", "evt_1")).await;
    deliver(&url, vec![b'a'; 256 * 1024 + 1]).await;
    let untyped = reqwest::Client::new().post(&url).body("x").timeout(Duration::from_secs(20));
    untyped.send().await.unwrap();

    let told = told.render();
    let mut counted: Vec<_> = told.lines().filter(|line| line.starts_with("waxseal_receiver")).collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"waxseal_receiver_events_total{result="repeated"} 2"#,
            r#"waxseal_receiver_events_total{result="taken"} 1"#,
            r#"waxseal_receiver_events_total{result="verified"} 1"#,
            r#"waxseal_receiver_refusals_total{reason="jwks.no_matching_key"} 2"#,
            r#"waxseal_receiver_refusals_total{reason="open.audience"} 1"#,
            r#"waxseal_receiver_refusals_total{reason="receive.handler_failed"} 1"#,
            r#"waxseal_receiver_refusals_total{reason="receive.media_type"} 1"#,
            r#"waxseal_receiver_refusals_total{reason="receive.too_large"} 1"#,
        ]
    );
    for content in ["evt_", "acme", "globex", "991", "hooks.example.com", "out of stock"] {
        assert!(!told.contains(content), "{content} is in {told}");
    }
}
