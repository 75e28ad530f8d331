//! The program `waxseal serve` as a process, on a folder and a port of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::api::Api;
use crate::pki::Pki;
use crate::process::{Process, program};

/// A sender's folder: its configuration, key and store, which outlive the process.
pub struct SenderFolder {
    folder: TempDir,
    /// The address that it serves, and the issuer of its tokens.
    pub origin: String,
    /// The admin token that `init` printed.
    pub token: String,
    root: Option<String>,
}

/// A running sender.
pub struct Sender {
    /// Its process.
    pub process: Process,
    /// A client for its API.
    pub api: Api,
}

impl SenderFolder {
    /// Initialises a sender that may reach loopback addresses; `extra` is appended to its configuration.
    pub fn init(extra: &str, tls: Option<&Pki>) -> Self {
        Self::init_on(None, extra, tls)
    }

    /// As [`SenderFolder::init`], on this database instead of a file.
    pub fn init_on(store: Option<&str>, extra: &str, tls: Option<&Pki>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://127.0.0.1:{port}");
        let output = Command::new(program("waxseal"))
            .args(["init", "--issuer", &origin, "--dir"])
            .arg(folder.path())
            .args(store.map(|url| ["--store", url]).into_iter().flatten())
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
        let token =
            stdout.split("WAXSEAL_TOKEN=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        // All consumers of a test are one host.
        let hosts =
            if extra.contains("[verification]") { "" } else { "[verification]\nhost_apart = \"1ms\"" };
        let store = store.map_or(String::new(), |url| format!("store = \"{url}\"\n"));
        let mut config = format!(
            "issuer = \"{origin}\"\nlisten = \"127.0.0.1:{port}\"\n{store}{extra}\n{hosts}\n[egress]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n"
        );
        if let Some(pki) = tls {
            let server = pki.server();
            std::fs::write(folder.path().join("cert.pem"), server.cert).unwrap();
            std::fs::write(folder.path().join("key.pem"), server.key).unwrap();
            std::fs::write(folder.path().join("root.pem"), pki.root()).unwrap();
            config.push_str(
                "root_certificates = [\"root.pem\"]\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n",
            );
        }
        std::fs::write(folder.path().join("waxseal.toml"), config).unwrap();
        Self { folder, origin, token, root: tls.map(Pki::root) }
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&self) -> Sender {
        self.start_with(&[]).await
    }

    /// Starts it with further options, and waits until it answers.
    pub async fn start_with(&self, options: &[&str]) -> Sender {
        let mut command = Command::new(program("waxseal"));
        command.args(["serve", "--config"]).arg(self.path().join("waxseal.toml")).args(options);
        self.start_by(command).await
    }

    /// Starts it by this command, and waits until it answers.
    pub async fn start_by(&self, mut command: Command) -> Sender {
        let mut process = Process::start("waxseal serve", &mut command);
        let api = Api::new(&self.origin, &self.token, self.root.as_deref());
        let health = format!("{}/health", self.origin);
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(root) = &self.root {
            builder = builder.add_root_certificate(reqwest::Certificate::from_pem(root.as_bytes()).unwrap());
        }
        let client = builder.build().unwrap();
        for _ in 0..400 {
            if let Ok(answer) = client.get(&health).send().await
                && answer.status().is_success()
            {
                return Sender { process, api };
            }
            assert!(process.ended().is_none(), "the sender ended:\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the sender does not answer:\n{}", process.log());
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// A port of the loopback address that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
