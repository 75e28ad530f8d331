//! A backup of a running sender, and what a restore brings back.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};
use waxseal_tests::api::Api;
use waxseal_tests::consumer::Consumer;
use waxseal_tests::process::program;
use waxseal_tests::sender::SenderFolder;

use crate::support::{consumer, endpoint, publish, register};

/// Runs `waxseal` on this machine's files; returns its status and everything that it said.
pub(crate) fn on_files(folder: &SenderFolder, arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(program("waxseal")).args(arguments).current_dir(folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Publishes so many events; returns their ids.
pub(crate) async fn publish_many(api: &Api, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(publish(api, "acme", json!({ "n": n, "text": "x".repeat(3_000) })).await);
    }
    ids
}

/// Waits until the consumer has taken all of these.
pub(crate) async fn all_taken(consumer: &Consumer, ids: &[String]) {
    for _ in 0..600 {
        let taken: HashSet<_> = consumer.taken().into_iter().map(|taken| taken.id).collect();
        if ids.iter().all(|id| taken.contains(id)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not everything was delivered:\n{}", consumer.process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_sender_brings_back_all_from_before_it() {
    let folder = SenderFolder::init("", None);
    let mut sender = folder.start().await;
    let consumer = consumer(&folder.origin);
    register(&sender.api, "acme").await;
    let endpoint = endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
    let delivered = publish_many(&sender.api, 20).await;
    all_taken(&consumer, &delivered).await;
    sender.api.post(&format!("/v1/endpoints/{endpoint}/pause"), Value::Null).await;
    let waiting = publish_many(&sender.api, 50).await;

    // While others publish.
    let api = sender.api.clone();
    let busy = tokio::spawn(async move { publish_many(&api, 100).await });
    let (status, said) = on_files(&folder, &["backup", "backup.db"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("1 consumers, 1 endpoints") && said.contains("key-encryption key"), "{said}");
    let mode = std::fs::metadata(folder.file("backup.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(folder.file("backup.db")).unwrap();
    let (status, said) = on_files(&folder, &["backup", "backup.db"]);
    assert!(status == 1 && said.contains("exists; it is not overwritten"), "{status} {said}");
    assert_eq!(std::fs::read(folder.file("backup.db")).unwrap(), before);
    busy.await.unwrap();

    // While it runs nothing is replaced, nor without being asked to.
    let (status, said) = on_files(&folder, &["restore", "backup.db", "--replace"]);
    assert!(status == 1 && said.contains("in use by another process"), "{status} {said}");
    sender.process.kill();
    let (status, said) = on_files(&folder, &["restore", "backup.db"]);
    assert!(status == 1 && said.contains("--replace"), "{status} {said}");

    let (status, said) = on_files(&folder, &["restore", "backup.db", "--replace"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("Active") && said.contains("waxseal.db.replaced-"), "{said}");
    let kept = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
    let kept: Vec<_> = kept.map(|name| name.into_string().unwrap()).collect();
    assert!(kept.iter().any(|name| name.starts_with("waxseal.db.replaced-")), "{kept:?}");
    assert!(!kept.iter().any(|name| name.starts_with(".waxseal-")), "{kept:?}");

    let sender = folder.start().await;
    for id in delivered.iter().chain(&waiting) {
        sender.api.get(&format!("/v1/events/{id}?data=true")).await;
    }
    assert!(consumer.taken().len() == delivered.len(), "the pause was part of the backup");
    sender.api.post(&format!("/v1/endpoints/{endpoint}/resume"), Value::Null).await;
    all_taken(&consumer, &waiting).await;
    let mode = std::fs::metadata(folder.file("waxseal.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_after_a_backup_is_delivered_again_and_handled_once() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let consumer = consumer(&folder.origin);
    register(&sender.api, "acme").await;
    let endpoint = endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
    sender.api.post(&format!("/v1/endpoints/{endpoint}/pause"), Value::Null).await;
    let events = publish_many(&sender.api, 5).await;
    assert_eq!(on_files(&folder, &["backup", "backup.db"]).0, 0);
    sender.api.post(&format!("/v1/endpoints/{endpoint}/resume"), Value::Null).await;
    all_taken(&consumer, &events).await;
    assert!(sender.process.stop().success());

    assert_eq!(on_files(&folder, &["restore", "backup.db", "--replace"]).0, 0);
    let sender = folder.start().await;
    sender.api.post(&format!("/v1/endpoints/{endpoint}/resume"), Value::Null).await;
    let delivered = |page: &Value| page["data"].as_array().unwrap().len() == events.len();
    sender.api.until("/v1/deliveries?state=delivered", delivered).await;
    assert_eq!(consumer.taken().len(), events.len(), "the receiver knows them by their ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_revoked_after_the_backup_can_be_revoked_before_it_signs_again() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    assert_eq!(on_files(&folder, &["backup", "backup.db"]).0, 0);
    let keys = sender.api.get("/v1/signing-keys").await;
    let stolen = keys["data"].as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
    let stolen = stolen["kid"].as_str().unwrap().to_owned();
    sender.api.post(&format!("/v1/signing-keys/{stolen}/revoke"), Value::Null).await;
    assert!(sender.process.stop().success());

    let (status, said) = on_files(&folder, &["restore", "backup.db", "--replace", "--revoke", "unknown"]);
    assert!(status == 1 && said.contains("nothing was restored: --revoke unknown"), "{said}");
    let (status, said) = on_files(&folder, &["restore", "backup.db", "--replace", "--revoke", &stolen]);
    assert!(status == 0 && said.contains(&format!("{stolen} Revoked")), "{said}");
    let sender = folder.start().await;
    let keys = sender.api.get("/v1/signing-keys").await;
    let state = keys["data"].as_array().unwrap().iter().find(|key| key["kid"] == stolen.as_str()).unwrap();
    assert_eq!(state["state"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_works_without_a_sender_and_says_what_it_cannot_use() {
    let folder = SenderFolder::init("", None);
    let (status, said) = on_files(&folder, &["backup", "backup.db", "--json"]);
    assert_eq!(status, 0, "{said}");
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["contents"]["events"], &told["contents"]["live_deliveries"]), (&json!(0), &json!(0)));
    let (status, said) = on_files(&folder, &["backup", "no/such/folder/backup.db"]);
    assert!(status == 1 && said.contains("no/such/folder"), "{said}");

    let before = std::fs::read(folder.file("waxseal.db")).unwrap();
    let other = SenderFolder::init("", None);
    let other_key = other.file("waxseal.key").display().to_string();
    let refusals: [(&[&str], &str); 2] = [
        (&["restore", "backup.db", "--replace", "--kek-file", &other_key], "give the key that this store"),
        (&["restore", "waxseal.toml", "--replace"], "waxseal.toml"),
    ];
    for (arguments, expected) in refusals {
        let (status, said) = on_files(&folder, arguments);
        assert!(status == 1 && said.contains("nothing was restored") && said.contains(expected), "{said}");
        assert_eq!(std::fs::read(folder.file("waxseal.db")).unwrap(), before);
    }
    // Half of a backup is none, and neither is one with a page that is not one.
    let backup = std::fs::read(folder.file("backup.db")).unwrap();
    std::fs::write(folder.file("half.db"), &backup[..backup.len() / 2]).unwrap();
    let mut broken = backup.clone();
    broken[backup.len() / 2..].fill(0x5A);
    std::fs::write(folder.file("broken.db"), broken).unwrap();
    for name in ["half.db", "broken.db"] {
        let (status, said) = on_files(&folder, &["restore", name, "--replace"]);
        assert!(status == 1 && said.contains("nothing was restored"), "{name}: {said}");
        assert_eq!(std::fs::read(folder.file("waxseal.db")).unwrap(), before);
    }
}
