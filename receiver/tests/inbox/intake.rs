//! What is stored before it is acknowledged, and how it rests.

use axum::Router;
use http::StatusCode;
use http_body_util::BodyExt;
use waxseal_envelope::{Data, Event};
use waxseal_receiver::{KeyEncryptionKey, inbox::Inbox};

use crate::{
    setup::{Order, Script, Setup, post, retry},
    support::{self, deliver, serve},
};

#[tokio::test]
async fn an_event_is_on_disk_when_it_is_acknowledged_and_only_once() {
    let setup = Setup::new();
    setup.take(&["evt_1", "evt_1", "evt_2"]).await;
    assert_eq!(setup.backlog().await, (2, 0));
    let setup = setup.reopened();
    assert_eq!(setup.backlog().await, (2, 0));
    setup.take(&["evt_1", "evt_2"]).await;
    let script = Script::default();
    setup.work(&script, retry(3), async || setup.backlog().await == (0, 0)).await;
    assert_eq!(script.seen(), ["evt_1", "evt_2"]);
    setup.take(&["evt_1", "evt_2"]).await;
    assert_eq!(setup.backlog().await, (0, 0), "processed is not forgotten");
}

#[tokio::test]
async fn attempts_at_the_same_time_are_stored_once() {
    let setup = Setup::new();
    let (intake, body) = (setup.intake(), setup.sender.signed("acme", "evt_1"));
    let mut attempts = tokio::task::JoinSet::new();
    for _ in 0..20 {
        attempts.spawn(post(intake.clone(), body.clone()));
    }
    for response in attempts.join_all().await {
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(setup.backlog().await, (1, 0));
}

#[tokio::test]
async fn everything_else_is_answered_as_ever_and_not_stored() {
    let setup = Setup::new();
    let url = serve(Router::new().route_service("/hook", setup.intake())).await + "/hook";
    let sender = &setup.sender;
    let misfit = sender.token(&support::event(&sender.issuer, "acme", "evt_1", "[1]"), None);
    for (body, status) in [
        (b"not a token".to_vec(), StatusCode::BAD_REQUEST),
        (sender.signed("globex", "evt_1"), StatusCode::BAD_REQUEST),
        (misfit, StatusCode::BAD_REQUEST),
        (vec![b'a'; 256 * 1024 + 1], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(deliver(&url, body).await.status(), status);
    }
    let untyped = reqwest::Client::new().post(&url).body(sender.signed("acme", "evt_1"));
    assert_eq!(untyped.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(reqwest::get(&url).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let question = sender.token(&sender.verification("acme", "evt_1", "s-123"), None);
    assert_eq!(deliver(&url, question).await.text().await.unwrap(), r#"{"state":"s-123"}"#);
    assert_eq!(setup.backlog().await, (0, 0));
    assert_eq!(deliver(&url, sender.signed("acme", "evt_1")).await.status(), StatusCode::ACCEPTED);
    assert_eq!(setup.backlog().await, (1, 0));
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() {
    let setup = Setup::new();
    setup.take(&["evt_1"]).await;
    let breaker = rusqlite::Connection::open(setup.path()).unwrap();
    // The entry of the guard can be written, the event cannot: neither may stay.
    breaker.execute_batch("ALTER TABLE inbox RENAME TO away").unwrap();
    let response = post(setup.intake(), setup.sender.signed("acme", "evt_2")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    breaker.execute_batch("ALTER TABLE away RENAME TO inbox").unwrap();
    assert_eq!(setup.backlog().await, (1, 0));
    setup.take(&["evt_2"]).await;
    assert_eq!(setup.backlog().await, (2, 0));
}

#[tokio::test]
async fn events_rest_encrypted_and_come_back_whole() {
    let setup = Setup::new();
    let data = Data::binary("image/png", b"MARKER-in-the-clear".to_vec()).unwrap();
    let binary = Event { data, txn: Some("MARKER-txn".to_owned()), ..setup.sender.event("acme", "evt_2") };
    let inbox = Inbox::<serde::de::IgnoredAny>::open(setup.path(), "orders", &setup.key).unwrap();
    let inbox = inbox.clock(setup.clock.clone());
    let intake = inbox.intake(setup.builder()).unwrap();
    let app = serve(Router::new().route_service("/hook", intake)).await + "/hook";
    let json = support::event(&setup.sender.issuer, "acme", "evt_1", r#"{"MARKER": 1.50}"#);
    for event in [&json, &binary] {
        let token = setup.sender.token(event, None);
        assert_eq!(deliver(&app, token).await.status(), StatusCode::ACCEPTED);
    }
    let mut files = 0;
    for file in std::fs::read_dir(setup.directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"MARKER"));
        assert!(!bytes.windows(13).any(|window| window == b"order.created"));
        files += 1;
    }
    assert!(files >= 3, "with the write-ahead log");
    let (sent, mut came) = tokio::sync::mpsc::unbounded_channel();
    let worker = inbox.worker(move |received: waxseal_receiver::Received<serde::de::IgnoredAny>| {
        sent.send(received.event).unwrap();
        async { Ok::<_, std::io::Error>(()) }
    });
    let mut events = Vec::new();
    worker
        .run(async {
            while events.len() < 2 {
                events.push(came.recv().await.unwrap());
            }
        })
        .await;
    assert_eq!(events, [json, binary]);
}

#[tokio::test]
async fn a_database_opens_only_as_it_was_made() {
    let setup = Setup::new();
    let other = Inbox::<Order>::open(setup.path(), "orders", &KeyEncryptionKey::generate());
    assert_eq!(other.unwrap_err().code(), "inbox.key");
    let readable = Inbox::<Order>::dangerous_open_readable(setup.path(), "orders");
    assert_eq!(readable.unwrap_err().code(), "inbox.protection");
    let path = setup.directory.path().join("readable.db");
    drop(Inbox::<Order>::dangerous_open_readable(&path, "orders").unwrap());
    drop(Inbox::<Order>::dangerous_open_readable(&path, "orders").unwrap());
    assert_eq!(Inbox::<Order>::open(&path, "orders", &setup.key).unwrap_err().code(), "inbox.protection");
}

#[tokio::test]
async fn two_endpoints_share_a_file_and_nothing_else() {
    let setup = Setup::new();
    let invoices =
        Inbox::<Order>::open(setup.path(), "invoices", &setup.key).unwrap().clock(setup.clock.clone());
    setup.take(&["evt_1"]).await;
    let body = setup.sender.signed("acme", "evt_1");
    let response = post(invoices.intake(setup.builder()).unwrap(), body).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(invoices.backlog().await.unwrap().waiting, 1);
    let script = Script::default();
    setup.work(&script, retry(3), async || setup.backlog().await == (0, 0)).await;
    assert_eq!(script.seen(), ["evt_1"]);
    assert_eq!(invoices.backlog().await.unwrap().waiting, 1);
}
