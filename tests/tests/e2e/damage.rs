//! A damaged store: the sender stops, says what to do, and after it was done nothing from before the backup is missing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use waxseal_tests::consumer::Consumer;
use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::SenderFolder;

use crate::backup::{all_taken, on_files, publish_many};
use crate::support::{consumer, endpoint, register};

/// The exit status of a sender whose store is damaged.
const DAMAGED: i32 = 65;

/// A sender with a backup, of which everything is still to be delivered.
struct World {
    folder: SenderFolder,
    consumer: Consumer,
    endpoint: String,
    waiting: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let folder = SenderFolder::init("", None);
        let sender = folder.start().await;
        let consumer = consumer(&folder.origin);
        register(&sender.api, "acme").await;
        let endpoint = endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
        sender.api.post(&format!("/v1/endpoints/{endpoint}/pause"), Value::Null).await;
        let waiting = publish_many(&sender.api, 200).await;
        let (status, said) = on_files(&folder, &["backup", "backup.db"]);
        assert_eq!(status, 0, "{said}");
        assert!(sender.process.stop().success());
        Self { folder, consumer, endpoint, waiting }
    }

    fn store(&self) -> std::path::PathBuf {
        self.folder.file("waxseal.db")
    }

    fn serve(&self) -> Process {
        let mut command = Command::new(program("waxseal"));
        command.args(["serve", "--config"]).arg(self.folder.file("waxseal.toml"));
        Process::start("waxseal serve", &mut command)
    }

    /// The sender ends by itself, says what to do, and doing that brings everything back.
    async fn stops_and_can_be_restored(self, mut process: Process) {
        let status = until_ended(&mut process).await;
        assert_eq!(status, Some(DAMAGED), "{}", process.log());
        let said = process.log();
        assert!(said.contains("is damaged") && said.contains("waxseal restore --replace BACKUP"), "{said}");
        let (status, said) = on_files(&self.folder, &["restore", "--replace", "backup.db"]);
        assert_eq!(status, 0, "{said}");
        let sender = self.folder.start().await;
        sender.api.post(&format!("/v1/endpoints/{}/resume", self.endpoint), Value::Null).await;
        all_taken(&self.consumer, &self.waiting).await;
        assert!(sender.process.stop().success());
    }
}

async fn until_ended(process: &mut Process) -> Option<i32> {
    for _ in 0..1_200 {
        if let Some(status) = process.ended() {
            return status.code();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the sender goes on:\n{}", process.log());
}

/// Writes over some bytes in the middle of each of these pages, as a disk that fails would.
fn spoil(store: &Path, pages: impl Iterator<Item = u64>) {
    let file = OpenOptions::new().write(true).open(store).unwrap();
    for page in pages {
        file.write_all_at(&[0xA5; 900], page * 4_096).unwrap();
    }
    file.sync_all().unwrap();
}

fn pages(store: &Path) -> u64 {
    std::fs::metadata(store).unwrap().len() / 4_096
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_spoilt_while_the_sender_was_stopped_is_found_at_the_start() {
    let world = World::new().await;
    let store = world.store();
    // One of the many pages of events: nothing asks for it for a long time.
    spoil(&store, std::iter::once(pages(&store) / 2));
    let (status, said) = on_files(&world.folder, &["backup", "later.db"]);
    assert!(status == DAMAGED && said.contains("is damaged"), "{status} {said}");
    assert!(!world.folder.file("later.db").exists(), "no backup is made of damage");
    let process = world.serve();
    world.stops_and_can_be_restored(process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_spoilt_under_a_running_sender_stop_it_when_they_are_read() {
    let world = World::new().await;
    let store = world.store();
    let sender = world.folder.start().await;
    spoil(&store, 20..pages(&store));
    let mut answers = Vec::new();
    for id in &world.waiting {
        // It may have stopped by then.
        let path = format!("/v1/events/{id}");
        let asked = tokio::spawn({
            let api = sender.api.clone();
            async move { api.call(Method::GET, &path, None).await }
        });
        match asked.await {
            Ok((status, _)) => answers.push(status),
            Err(_) => break,
        }
    }
    assert!(answers.contains(&500), "{answers:?}");
    world.stops_and_can_be_restored(sender.process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_was_changed_in_a_content_stops_the_sender_when_it_is_to_be_delivered() {
    let world = World::new().await;
    let database = rusqlite::Connection::open(world.store()).unwrap();
    // In the ciphertext every page still makes sense.
    let changed = database
        .execute(
            "UPDATE events SET sealed = CAST(substr(sealed, 1, 99) || x'00' || substr(sealed, 101) AS BLOB) WHERE no = 77",
            [],
        )
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    let sender = world.folder.start().await;
    sender.api.post(&format!("/v1/endpoints/{}/resume", world.endpoint), Value::Null).await;
    world.stops_and_can_be_restored(sender.process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_insists_is_served_on_as_far_as_it_goes() {
    let world = World::new().await;
    let database = rusqlite::Connection::open(world.store()).unwrap();
    database.execute("UPDATE events SET sealed = randomblob(500) WHERE no = 77", []).unwrap();
    let damaged: [u8; 16] =
        database.query_row("SELECT id FROM events WHERE no = 77", [], |row| row.get(0)).unwrap();
    drop(database);
    let sender = world.folder.start_with(&["--despite-damage"]).await;
    let endpoint = format!("/v1/endpoints/{}", world.endpoint);
    sender.api.post(&format!("{endpoint}/resume"), Value::Null).await;
    sender.api.until(&endpoint, |endpoint| endpoint["hold"] == "hold.content_damaged").await;
    // The one delivery is cancelled; the others follow.
    let event = waxseal_sender::id::EventId::from_bytes(damaged).to_string();
    let page = sender.api.get(&format!("/v1/deliveries?event={event}")).await;
    let delivery = page["data"][0]["id"].as_str().unwrap();
    sender.api.post(&format!("/v1/deliveries/{delivery}/cancel"), Value::Null).await;
    let others: Vec<_> = world.waiting.iter().filter(|id| **id != event).cloned().collect();
    all_taken(&world.consumer, &others).await;
    assert!(sender.process.stop().success());
}
