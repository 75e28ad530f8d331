//! Senders that share a database: one configuration, one key, and a port for each.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use waxseal_sender::id::EndpointId;
use waxseal_sender::store::Shard;
use waxseal_tests::api::Api;
use waxseal_tests::postgres::{Postgres, PostgresSetup};
use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::free_port;

use crate::receiver::Receiver;

/// What all nodes have: the database, the configuration, the key.
pub struct Fleet {
    folder: TempDir,
    /// Who the tokens come from.
    pub issuer: String,
    /// The admin token.
    pub token: String,
    dsn: String,
}

/// One node. Killed when it is dropped.
pub struct Node {
    pub name: String,
    pub process: Process,
    pub api: Api,
    pub origin: String,
}

/// How a node is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start<'a> {
    /// `all`, unless it is said.
    pub role: Option<&'a str>,
    /// The database, unless it is that of the fleet: by another way.
    pub dsn: Option<&'a str>,
    /// The address of a node before it, which it takes over.
    pub origin: Option<&'a str>,
}

/// A server for so many nodes.
pub fn server(settings: &[(&str, &str)]) -> Postgres {
    let enough = ("max_connections", "200");
    let settings: Vec<_> = settings.iter().copied().chain([enough]).collect();
    Postgres::start_with(&PostgresSetup { settings: &settings, ..PostgresSetup::default() })
}

impl Fleet {
    /// Initialises the database; `extra` is appended to the configuration.
    pub fn init(dsn: &str, extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = format!("http://127.0.0.1:{}", free_port());
        let output = Command::new(program("waxseal"))
            .args(["init", "--issuer", &issuer, "--store", dsn, "--dir"])
            .arg(folder.path())
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
        let (_, after) = stdout.split_once("WAXSEAL_TOKEN=").unwrap();
        let token = after.split_whitespace().next().unwrap().to_owned();
        let config = format!(
            "issuer = \"{issuer}\"\nstore = \"{dsn}\"\n{extra}\n[egress]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n"
        );
        fs::write(folder.path().join("waxseal.toml"), config).unwrap();
        Self { folder, issuer, token, dsn: dsn.to_owned() }
    }

    /// Starts a node, and waits until it answers.
    pub async fn start(&self, name: &str) -> Node {
        self.start_with(name, Start::default()).await
    }

    /// As [`Fleet::start`], like this.
    pub async fn start_with(&self, name: &str, start: Start<'_>) -> Node {
        let node = self.launch(name, start);
        node.until_it_answers().await;
        node
    }

    /// Starts a node, and waits for nothing.
    pub fn launch(&self, name: &str, start: Start<'_>) -> Node {
        let port =
            start.origin.map_or_else(free_port, |origin| origin.rsplit_once(':').unwrap().1.parse().unwrap());
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(program("waxseal"));
        command
            .args(["serve", "--config"])
            .arg(self.folder.path().join("waxseal.toml"))
            .args(["--listen", &listen, "--node-name", name, "--role", start.role.unwrap_or("all")])
            .args(["--store", start.dsn.unwrap_or(&self.dsn)]);
        let process = Process::start("waxseal serve", &mut command);
        let origin = format!("http://{listen}");
        Node { name: name.to_owned(), process, api: Api::new(&origin, &self.token, None), origin }
    }
}

impl Node {
    /// Waits until it answers.
    pub async fn until_it_answers(&self) {
        until(&format!("{} answers", self.name), async || self.health().await.is_some()).await;
    }

    /// What it says of itself, if it answers.
    pub async fn health(&self) -> Option<Value> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build().unwrap();
        let answer = client.get(format!("{}/health", self.origin)).send().await.ok()?;
        answer.json().await.ok()
    }

    /// How many shards it works on; none if it does not answer.
    pub async fn shards(&self) -> u64 {
        let health = self.health().await;
        health.and_then(|health| health["shards"].as_u64()).unwrap_or(0)
    }

    /// One of its metrics, by its whole name; 0 if it has none of that name.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.api.text("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// Waits until these share all shards out among them, each having about as many.
pub async fn shared_out(nodes: &[&Node]) {
    until("the shards are shared out", async || {
        let mut all = 0;
        for node in nodes {
            let shards = node.shards().await;
            let fair = Shard::COUNT as u64 / nodes.len() as u64;
            if shards < fair - nodes.len() as u64 {
                return false;
            }
            all += shards;
        }
        all == Shard::COUNT as u64
    })
    .await;
}

/// By which name the owner of each shard goes, as the database has it.
pub fn owners(server: &Postgres, database: &str) -> BTreeMap<u8, String> {
    let rows =
        server.execute(database, "SELECT s.shard, n.name FROM shards s JOIN nodes n ON n.id = s.owner");
    let row = |line: &str| {
        let (shard, name) = line.split_once('|').unwrap();
        (shard.parse().unwrap(), name.to_owned())
    };
    rows.lines().map(row).collect()
}

/// The shard of an endpoint.
pub fn shard_of(endpoint: &str) -> u8 {
    Shard::of(EndpointId::parse(endpoint).unwrap()).number()
}

/// Consumers with an endpoint each, signed and sealed in turn: `c0`, `c1`, and so on. Returns the endpoints' ids.
pub async fn with_endpoints(api: &Api, receiver: &Receiver, count: usize) -> Vec<String> {
    api.post("/v1/event-types", json!({ "name": TYPE })).await;
    let mut made = Vec::new();
    for n in 0..count {
        let consumer = format!("c{n}");
        api.post("/v1/consumers", json!({ "id": consumer })).await;
        let protection = if n % 2 == 0 { "signed" } else { "sealed" };
        made.push(endpoint(api, receiver, &consumer, protection).await);
    }
    made
}

/// A trusted endpoint of a consumer, at the path that is the consumer's name.
pub async fn endpoint(api: &Api, receiver: &Receiver, consumer: &str, protection: &str) -> String {
    let body = json!({
        "consumer": consumer, "url": receiver.url(consumer), "protection": protection, "trusted": true,
        "event_types": [TYPE], "encryption_keys": { "jwks": receiver.public_keys() },
    });
    api.post("/v1/endpoints", body).await["id"].as_str().unwrap().to_owned()
}

/// What is published to a consumer.
pub fn event(consumer: &str) -> Value {
    json!({ "type": TYPE, "data": { "secret": "pineapple" }, "to": { "consumer": consumer } })
}

/// Asks until this holds.
///
/// # Panics
/// If it does not within [`LIMIT`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = now();
    while !holds().await {
        assert!(begun.elapsed() < LIMIT, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a stopwatch says.
#[expect(clippy::disallowed_methods, reason = "what other processes do takes real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The event type of all that is published here.
pub const TYPE: &str = "order.created";

/// Longer than a lease and all that follows its end, on a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Holds a snapshot open for as long as the connection that it returns lasts, or until that commits.
pub(crate) async fn hold_snapshot(dsn: &str) -> tokio_postgres::Client {
    let (holder, connection) = tokio_postgres::connect(dsn, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM configuration";
    holder.batch_execute(begin).await.unwrap();
    holder
}
