//! Another key-encryption key, with the program: killed at any point, with a wrong key, and without a pause.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use waxseal_keys::KeyEncryptionKey;
use waxseal_sender::data_keys::{DataKeyError, DataKeys};
use waxseal_sender::id::ConsumerId;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_tests::process::program;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use crate::support::{publish, register, trusted_endpoint};

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn rewrap(folder: &SenderFolder, old: &str, new: &str) -> Command {
    let mut command = Command::new(program("waxseal"));
    command.args(["keys", "rewrap", "--kek-file", old, "--new-key-file", new]).current_dir(folder.path());
    command
}

fn configure(folder: &SenderFolder, lines: &str) {
    let file = folder.file("waxseal.toml");
    let text = format!("{lines}{}", fs::read_to_string(&file).unwrap());
    fs::write(file, text).unwrap();
}

/// Whether this key opens every data key of the store.
async fn opens(folder: &SenderFolder, key: &str) -> bool {
    if !folder.file(key).exists() {
        return false;
    }
    let kek = KeyEncryptionKey::from_file(&folder.file(key)).unwrap();
    let store = Arc::new(SqliteStore::open(folder.file("waxseal.db")).unwrap());
    let opened = DataKeys::open(store.clone(), kek).await;
    store.close().await;
    match opened {
        Ok(_) => true,
        Err(DataKeyError::WrongKeyEncryptionKey { .. }) => false,
        Err(error) => panic!("half of it is under each key: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_survive_a_change_of_the_key_encryption_key() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let mut sink = Sink::start().await;
    sink.answer(503);
    register(&sender.api, "acme").await;
    trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    publish(&sender.api, "acme", json!({ "n": 1 })).await;
    sink.next().await;
    let busy = rewrap(&folder, "waxseal.key", "new.key").output().unwrap();
    assert!(said(&busy).contains("in use by another process"), "{}", said(&busy));
    assert!(!folder.file("new.key").exists(), "what was made for nothing is removed");
    let jwks = sender.api.get("/.well-known/jwks.json").await;
    assert!(sender.process.stop().success());

    let done = rewrap(&folder, "waxseal.key", "new.key").output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("key_encryption_key_file = \"new.key\""), "{}", said(&done));
    assert_eq!(fs::metadata(folder.file("new.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(opens(&folder, "new.key").await && !opens(&folder, "waxseal.key").await);
    let again = rewrap(&folder, "waxseal.key", "new.key").output().unwrap();
    assert!(again.status.success() && said(&again).contains("already"), "{}", said(&again));

    let refused = Command::new(program("waxseal"))
        .args(["serve", "--config"])
        .arg(folder.file("waxseal.toml"))
        .output()
        .unwrap();
    assert!(said(&refused).contains("last rewrapped under"), "{}", said(&refused));
    configure(&folder, "key_encryption_key_file = \"new.key\"\n");
    sink.answer(202);
    let sender = folder.start().await;
    assert_eq!(sender.api.get("/.well-known/jwks.json").await, jwks, "the same signing keys");
    sink.next().await;
    let delivered = |answer: &serde_json::Value| answer["data"][0]["state"] == "delivered";
    sender.api.until("/v1/deliveries", delivered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_changes_the_key_by_itself_where_both_are_configured() {
    let folder = SenderFolder::init("", None);
    KeyEncryptionKey::generate().write_new(&folder.file("new.key")).unwrap();
    configure(
        &folder,
        "key_encryption_key_file = \"new.key\"\nprevious_key_encryption_key_file = \"waxseal.key\"\n",
    );
    let sender = folder.start().await;
    assert!(sender.process.log().contains("wrapped anew"), "{}", sender.process.log());
    assert!(sender.process.stop().success());
    assert!(opens(&folder, "new.key").await && !opens(&folder, "waxseal.key").await);
    // Started again before anybody has cleaned up.
    let sender = folder.start().await;
    assert!(sender.process.log().contains("need not be configured any more"), "{}", sender.process.log());
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_both_names_and_leaves_nothing_behind() {
    let folder = SenderFolder::init("", None);
    let stored = KeyEncryptionKey::from_file(&folder.file("waxseal.key")).unwrap();
    let wrong = KeyEncryptionKey::generate();
    wrong.write_new(&folder.file("wrong.key")).unwrap();
    let refused = rewrap(&folder, "wrong.key", "new.key").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = said(&refused);
    assert!(said.contains(&stored.id()) && said.contains(&wrong.id()), "{said}");
    assert!(!folder.file("new.key").exists() && opens(&folder, "waxseal.key").await);
}

/// Many data keys, so that there is something to interrupt.
async fn fill(path: &Path, key: &Path) {
    let store = Arc::new(SqliteStore::open(path).unwrap());
    let keys = DataKeys::open(store.clone(), KeyEncryptionKey::from_file(key).unwrap()).await.unwrap();
    let keys = Arc::new(keys);
    let mut making = tokio::task::JoinSet::new();
    for n in 0..4_000 {
        let keys = Arc::clone(&keys);
        making.spawn(async move {
            keys.of_or_create(&ConsumerId::parse(&format!("consumer-{n}")).unwrap()).await.unwrap();
        });
    }
    making.join_all().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_one_of_the_two_keys_opens_all_of_it() {
    let folder = SenderFolder::init("", None);
    fill(&folder.file("waxseal.db"), &folder.file("waxseal.key")).await;
    let (mut old, mut kept, mut changed) = ("waxseal.key".to_owned(), 0, 0);
    let mut wait = Duration::from_millis(2);
    for round in 0..40 {
        let new = format!("new-{round}.key");
        let mut child =
            rewrap(&folder, &old, &new).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(wait).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let (by_old, by_new) = (opens(&folder, &old).await, opens(&folder, &new).await);
        assert_ne!(by_old, by_new, "round {round}, killed after {wait:?}");
        // Closing in on the moment of the commit, from both sides.
        if by_new {
            (changed, old) = (changed + 1, new);
            wait = wait * 4 / 5;
        } else {
            kept += 1;
            wait = wait * 13 / 10 + Duration::from_millis(1);
        }
    }
    assert!(kept >= 5 && changed >= 5, "killed before the commit {kept} times, after it {changed} times");
    let done = rewrap(&folder, &old, "last.key").output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(opens(&folder, "last.key").await && !opens(&folder, &old).await);
}
