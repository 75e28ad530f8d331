//! A full disk and a read-only one: nothing that was acknowledged is lost, the answer says what to do, and when that was
//! done the sender goes on by itself.

use std::fs;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use waxseal_tests::api::Api;
use waxseal_tests::preload::ReadOnly;
use waxseal_tests::process::program;
use waxseal_tests::sender::{Sender, SenderFolder};
use waxseal_tests::small_disk::SmallDisk;

use crate::backup::all_taken;
use crate::support::{TYPE, consumer, endpoint, register};

const CONFIG: &str = "store = \"disk/waxseal.db\"\n";

/// A sender's folder, whose store is on a disk of its own.
fn on_small_disk(size: &str) -> (SenderFolder, SmallDisk) {
    let folder = SenderFolder::init(CONFIG, None);
    let at = folder.file("disk");
    fs::create_dir(&at).unwrap();
    let disk = SmallDisk::mount(&at, size);
    disk.put(&folder.file("waxseal.db"), "waxseal.db");
    (folder, disk)
}

fn serve(folder: &SenderFolder, disk: &SmallDisk) -> Command {
    let mut command = disk.enter(program("waxseal"));
    command.args(["serve", "--config"]).arg(folder.file("waxseal.toml"));
    command
}

async fn try_publish(api: &Api) -> (u16, Value) {
    let data = json!({ "text": "x".repeat(20_000) });
    let body = json!({ "type": TYPE, "data": data, "to": { "consumer": "acme" } });
    api.call(Method::POST, "/v1/events", Some(body)).await
}

/// Publishes until the disk is full; returns what was accepted.
async fn publish_until_full(api: &Api) -> Vec<String> {
    let mut accepted = Vec::new();
    for _ in 0..5_000 {
        let (status, answer) = try_publish(api).await;
        if status != 202 {
            assert_eq!((status, &answer["code"]), (507, &json!("api.store_full")), "{answer}");
            let detail = answer["detail"].as_str().unwrap();
            assert!(detail.contains("disk") && detail.contains("make room"), "{detail}");
            return accepted;
        }
        accepted.push(answer["id"].as_str().unwrap().to_owned());
    }
    panic!("the disk is never full");
}

/// Waits until events are accepted again; returns the first one.
async fn accepts_again(api: &Api) -> String {
    for _ in 0..400 {
        let (status, answer) = try_publish(api).await;
        if status == 202 {
            return answer["id"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing is accepted any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_is_new_keeps_what_is_old_and_goes_on_when_there_is_room() {
    let (folder, disk) = on_small_disk("12m");
    let Sender { process, api } = folder.start_by(serve(&folder, &disk)).await;
    let consumer = consumer(&folder.origin);
    register(&api, "acme").await;
    let endpoint =
        format!("/v1/endpoints/{}", endpoint(&api, "acme", &consumer.url("a"), "signed", None).await);
    api.post(&format!("{endpoint}/pause"), Value::Null).await;
    let mut accepted = publish_until_full(&api).await;
    assert!(accepted.len() > 50, "{}", accepted.len());

    // Again and again the same answer, and what is there can be read.
    for _ in 0..20 {
        let (status, answer) = try_publish(&api).await;
        match status {
            202 => accepted.push(answer["id"].as_str().unwrap().to_owned()),
            _ => assert_eq!(status, 507, "{answer}"),
        }
    }
    for id in &accepted {
        api.get(&format!("/v1/events/{id}?data=true")).await;
    }
    let backup = disk
        .enter(program("waxseal"))
        .args(["backup", "--config"])
        .args([folder.file("waxseal.toml"), folder.file("disk").join("backup.db")])
        .output()
        .unwrap();
    let said = String::from_utf8(backup.stderr).unwrap();
    assert!(!backup.status.success() && said.contains("disk of the backup is full"), "{said}");
    let left: Vec<_> = fs::read_dir(disk.file("")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().starts_with("waxseal.db")), "{left:?}");

    disk.remount("size=64m");
    accepted.push(accepts_again(&api).await);
    // Full once more while deliveries are made: what is posted cannot be recorded until there is room.
    api.post(&format!("{endpoint}/resume"), Value::Null).await;
    let full = fs::write(disk.file("ballast"), vec![0_u8; 80 << 20]);
    assert!(full.is_err(), "the ballast fills the disk");
    accepted.extend(publish_until_full(&api).await);
    fs::remove_file(disk.file("ballast")).unwrap();
    accepted.push(accepts_again(&api).await);
    all_taken(&consumer, &accepted).await;
    api.until("/v1/deliveries?state=pending,retrying", |page| page["data"] == json!([])).await;
    let taken = consumer.taken();
    assert_eq!(taken.len(), accepted.len(), "each was handled once");
    assert!(process.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_a_full_disk_a_sender_has_what_it_acknowledged() {
    let (folder, disk) = on_small_disk("10m");
    let mut sender = folder.start_by(serve(&folder, &disk)).await;
    let consumer = consumer(&folder.origin);
    register(&sender.api, "acme").await;
    let endpoint = endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
    let endpoint = format!("/v1/endpoints/{endpoint}");
    sender.api.post(&format!("{endpoint}/pause"), Value::Null).await;
    let accepted = publish_until_full(&sender.api).await;
    sender.process.kill();
    disk.remount("size=64m");
    let sender = folder.start_by(serve(&folder, &disk)).await;
    sender.api.post(&format!("{endpoint}/resume"), Value::Null).await;
    all_taken(&consumer, &accepted).await;
    assert!(sender.process.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_read_only_disk_a_sender_says_so_and_does_not_start() {
    let (folder, disk) = on_small_disk("8m");
    let before = fs::read(disk.file("waxseal.db")).unwrap();
    disk.remount("ro");
    let refused = serve(&folder, &disk).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("read-only") && said.contains("make it writable"), "{said}");
    assert_eq!(fs::read(disk.file("waxseal.db")).unwrap(), before);
    disk.remount("rw");
    let sender = folder.start_by(serve(&folder, &disk)).await;
    register(&sender.api, "acme").await;
    assert!(sender.process.stop().success());
}

/// That of a journalling file system after an error of its own: every write fails from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_under_a_sender_is_named_and_loses_nothing() {
    let folder = SenderFolder::init("", None);
    let disk = ReadOnly::of(folder.path());
    let mut command = Command::new(program("waxseal"));
    command.args(["serve", "--config"]).arg(folder.file("waxseal.toml"));
    disk.preload(&mut command);
    let mut sender = folder.start_by(command).await;
    let api = &sender.api;
    let consumer = consumer(&folder.origin);
    register(api, "acme").await;
    endpoint(api, "acme", &consumer.url("a"), "signed", None).await;
    let mut accepted = vec![accepts_again(api).await];

    for _ in 0..2 {
        // Some of these are on their way when the disk is gone; that they arrived cannot be recorded until it is back.
        for _ in 0..20 {
            accepted.push(accepts_again(api).await);
        }
        disk.begin();
        for _ in 0..10 {
            let (status, answer) = try_publish(api).await;
            assert_eq!((status, &answer["code"]), (503, &json!("api.store_read_only")), "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains("must make it writable"), "{answer}");
        }
        for id in &accepted {
            api.get(&format!("/v1/events/{id}?data=true")).await;
        }
        disk.end();
        accepted.push(accepts_again(api).await);
        all_taken(&consumer, &accepted).await;
        api.until("/v1/deliveries?state=pending,retrying", |page| page["data"] == json!([])).await;
    }
    let log = sender.process.log();
    assert!(log.contains("read-only") && log.contains("make it writable again"), "{log}");

    // Where it cannot be made writable without a restart.
    for _ in 0..20 {
        accepted.push(accepts_again(api).await);
    }
    disk.begin();
    let (status, _) = try_publish(api).await;
    assert_eq!(status, 503);
    sender.process.kill();
    let sender = folder.start().await;
    all_taken(&consumer, &accepted).await;
    sender.api.until("/v1/deliveries?state=pending,retrying", |page| page["data"] == json!([])).await;
    assert!(sender.process.stop().success());
}
