//! A consumer's service as a process, and what it took.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use waxseal_keys::DecryptionKey;

use crate::pki::Pki;
use crate::process::{Process, program};

/// A running consumer.
pub struct Consumer {
    /// Its process.
    pub process: Process,
    /// The origin of its service.
    pub origin: String,
    log: PathBuf,
    _folder: TempDir,
}

/// How to start a consumer.
pub struct ConsumerSetup<'a> {
    /// Whose tokens it takes.
    pub issuer: &'a str,
    /// Who it is.
    pub audience: &'a str,
    /// Its endpoints: paths, and scopes of its one replay store.
    pub scopes: &'a [&'a str],
    /// `signed`, `sealed` or `either`.
    pub protection: &'a str,
    /// Its private keys.
    pub keys: &'a [DecryptionKey],
    /// How many events its handlers refuse at first.
    pub fail_first: u32,
    /// How long its handlers take, in milliseconds.
    pub delay_ms: u64,
    /// Serve over TLS under this authority, and trust it.
    pub tls: Option<&'a Pki>,
}

/// One event that a handler took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taken {
    /// At which endpoint.
    pub scope: String,
    /// The event's id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// Its data.
    pub data: String,
}

impl Consumer {
    /// Starts it.
    pub fn start(setup: &ConsumerSetup<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let keys: Vec<Value> =
            setup.keys.iter().map(|key| serde_json::from_str(&key.to_jwk().to_json()).unwrap()).collect();
        let server = setup.tls.map(Pki::server);
        let config = json!({
            "issuer": setup.issuer, "audience": setup.audience, "scopes": setup.scopes,
            "protection": setup.protection, "keys": keys, "log": log, "fail_first": setup.fail_first, "delay_ms": setup.delay_ms,
            "root": setup.tls.map(Pki::root), "tls": server.map(|server| (server.cert, server.key)),
        });
        let file = folder.path().join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let process = Process::start("test-consumer", Command::new(program("test-consumer")).arg(&file));
        let address = process.line_after("listening ");
        let scheme = if setup.tls.is_some() { "https" } else { "http" };
        Self { process, origin: format!("{scheme}://{address}"), log, _folder: folder }
    }

    /// Where it receives for this scope.
    pub fn url(&self, scope: &str) -> String {
        format!("{}/{scope}", self.origin)
    }

    /// Every event that its handlers took so far, in order.
    pub fn taken(&self) -> Vec<Taken> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let parse = |line: &str| {
            let mut parts = line.splitn(4, ' ').map(str::to_owned);
            Some(Taken {
                scope: parts.next()?,
                id: parts.next()?,
                event_type: parts.next()?,
                data: parts.next()?,
            })
        };
        text.lines().filter_map(parse).collect()
    }

    /// Waits until its handlers have taken `count` events.
    pub async fn until_taken(&self, count: usize) -> Vec<Taken> {
        for _ in 0..600 {
            let taken = self.taken();
            if taken.len() >= count {
                return taken;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{} of {count} events were taken:\n{}", self.taken().len(), self.process.log());
    }
}
