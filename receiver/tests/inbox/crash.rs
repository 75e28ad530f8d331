//! `kill -9` of a process that acknowledges and works: what it acknowledged is processed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use waxseal_keys::{Clock, KeyEncryptionKey, ManualClock, SystemClock};
use waxseal_receiver::{Protection, Received, Receiver, TrustedIssuer, inbox::Inbox};

use crate::{
    setup::{Order, post},
    support::Sender,
};

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_and_is_processed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inbox.db");
    let key = KeyEncryptionKey::generate();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["crash::a_process_of_its_own", "--exact", "--nocapture", "--test-threads=1"])
        .env(PATH, &path)
        .env(KEY, key.to_text().as_str())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut taken, mut handled) = (BTreeSet::new(), BTreeMap::<String, u32>::new());
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            taken.extend(line.rsplit_once("taken ").map(|(_, id)| id.to_owned()));
            if let Some((_, id)) = line.rsplit_once("handled ") {
                *handled.entry(id.to_owned()).or_default() += 1;
            }
            if taken.len() == 150 {
                // SIGKILL. What is in the pipe already is still read.
                child.start_kill().unwrap();
            }
        }
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap();
    assert!(!status.success());
    assert!(taken.len() >= 150 && !handled.is_empty() && handled.len() < taken.len(), "{}", handled.len());

    // An hour later, so that the lease of what was at work has run out.
    let clock = Arc::new(ManualClock::new(SystemClock.now().saturating_add(Duration::from_secs(3600))));
    let inbox = Inbox::<Order>::open(&path, "orders", &key).unwrap().clock(clock);
    let before = inbox.backlog().await.unwrap().waiting;
    assert!(before > 0);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let worker = {
        let seen = seen.clone();
        inbox.worker(move |received: Received<Order>| {
            seen.lock().unwrap().push(received.event.id.as_str().to_owned());
            async { Ok::<_, std::io::Error>(()) }
        })
    };
    let empty = async {
        while inbox.backlog().await.unwrap().waiting > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), worker.run(empty)).await.unwrap();
    for id in seen.lock().unwrap().iter() {
        *handled.entry(id.clone()).or_default() += 1;
    }
    let lost: Vec<_> = taken.iter().filter(|id| !handled.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let again = handled.values().filter(|runs| **runs > 1).count();
    assert!(
        again <= 1 && handled.values().all(|runs| *runs <= 2),
        "only what was at work is repeated: {again}"
    );
}

/// Nothing by itself; what is killed: acknowledges as fast as it can, and processes more slowly.
#[tokio::test]
async fn a_process_of_its_own() {
    let (Ok(path), Ok(key)) = (env::var(PATH), env::var(KEY)) else { return };
    let key = KeyEncryptionKey::from_text(&key).unwrap();
    let inbox = Inbox::<Order>::open(Path::new(&path), "orders", &key).unwrap();
    let sender = Sender::new("https://hooks.example.com");
    let issuer = TrustedIssuer::new(&sender.issuer, Protection::Signed).pinned(sender.jwk_set());
    let intake = inbox.intake(Receiver::builder().audience("acme").trust(issuer)).unwrap();
    let worker = inbox.worker(|received: Received<Order>| async move {
        println!("handled {}", received.event.id);
        tokio::time::sleep(Duration::from_millis(4)).await;
        Ok::<_, std::io::Error>(())
    });
    tokio::spawn(worker.run(std::future::pending()));
    for number in 0.. {
        let id = format!("evt_{number}");
        let response = post(intake.clone(), sender.signed("acme", &id)).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        println!("taken {id}");
    }
}

const PATH: &str = "WAXSEAL_TEST_INBOX";
const KEY: &str = "WAXSEAL_TEST_INBOX_KEY";
