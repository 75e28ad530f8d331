//! A sender that may open no more files: what it cannot post counts against nobody, and is delivered when it can.

use std::fs;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;
use tokio::net::TcpListener;
use waxseal_tests::sender::{Sender, SenderFolder};

use crate::support::{publish, register, trusted_endpoint};

const ENDPOINTS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_descriptors_costs_no_attempt() {
    let folder = SenderFolder::init("[delivery]\nretry = [\"1h\"]\n", None);
    let Sender { process, api } = folder.start().await;
    let slow = slow_receiver().await;
    register(&api, "acme").await;
    for n in 0..ENDPOINTS {
        let url = format!("{slow}?{n}");
        trusted_endpoint(&api, "acme", &url, "signed", None).await;
    }
    leave_descriptors(process.id(), ENDPOINTS / 2);
    let event = publish(&api, "acme", json!({ "n": 1 })).await;
    let path = format!("/v1/deliveries?event={event}&limit=100");
    let delivered = |answer: &serde_json::Value| {
        let all = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
        all.len() == ENDPOINTS && all.iter().all(|one| one["state"] == "delivered")
    };
    let answer = api.until(&path, delivered).await;
    for one in answer["data"].as_array().unwrap() {
        assert_eq!(one["attempts_made"], 1, "{one}");
    }
    let metrics = api.text("/metrics").await;
    let times = metrics.lines().find_map(|line| line.strip_prefix("waxseal_out_of_descriptors_total "));
    assert!(times.is_some_and(|times| times.parse::<u64>().unwrap() > 0), "there were enough after all");
}

/// A receiver that keeps each connection busy for a while. Returns its URL.
async fn slow_receiver() -> String {
    let take = || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        StatusCode::ACCEPTED
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/hooks", post(take))).await });
    url
}

/// Lets a process open so many more files than it has open now.
fn leave_descriptors(pid: u32, more: usize) {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = format!("--nofile={0}:{0}", open + more);
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status();
    assert!(status.expect("prlimit is part of util-linux").success());
}
