//! `waxseal init`: what a sender needs before it can start.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use waxseal_envelope::Issuer;
use waxseal_keys::KeyEncryptionKey;
use waxseal_keys::{Clock, SystemClock};

use super::error::CliError;
use super::files::{Unfinished, write_secret};
use super::output::line;
use crate::api::auth::{Grant, NewToken};
use crate::audit::{Actor, acting};
use crate::config::Config;
use crate::data_keys::DataKeys;
use crate::directory::Directory;
use crate::model::token::Scope;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;

/// Write a configuration and a key-encryption key, and print an admin token
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  waxseal init --issuer https://hooks.example.com")]
pub struct InitArgs {
    /// Who the tokens come from: an https URL that receivers can reach
    #[arg(long, env = "WAXSEAL_ISSUER")]
    issuer: String,
    /// The folder for the configuration, the key and the store
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

impl InitArgs {
    /// Initialises.
    ///
    /// # Errors
    /// If the issuer is not one, or any of the files exists or cannot be written. What was made until then is removed.
    pub async fn run(self) -> Result<(), CliError> {
        let issuer =
            Issuer::parse(&self.issuer).map_err(|error| CliError::usage(format!("--issuer: {error}")))?;
        let config_file = self.dir.join(CONFIG_FILE);
        let defaults = Config::new(issuer);
        let (key_file, store_file) =
            (self.dir.join(&defaults.key_encryption_key_file), self.dir.join(&defaults.store));
        for path in [&config_file, &key_file, &store_file] {
            if path.exists() {
                return Err(CliError::plain(format!("{} exists; nothing was changed", path.display())));
            }
        }
        let mut unfinished = Unfinished::default();
        unfinished.folder(&self.dir)?;
        let kek = KeyEncryptionKey::generate();
        // Never overwritten, so of two that initialise at once one goes no further than this.
        write_secret(&key_file, format!("{}\n", *kek.to_text()).as_bytes())?;
        unfinished.made(key_file.clone());
        for suffix in ["", ".lock", "-wal", "-shm"] {
            unfinished.file(suffixed(&store_file, suffix));
        }
        let token = first_token(&store_file, kek).await?;
        let text = config_text(&defaults);
        unfinished.file(config_file.clone());
        fs::write(&config_file, text).map_err(|error| CliError::file(&config_file, error))?;
        unfinished.keep();
        report(&[&config_file, &key_file, &store_file], &token)
    }
}

async fn first_token(store_file: &Path, kek: KeyEncryptionKey) -> Result<NewToken, CliError> {
    let what = format!("cannot make the store {}", store_file.display());
    let sqlite = Arc::new(SqliteStore::open(store_file).map_err(|error| CliError::failed(&what, error))?);
    let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&sqlite);
    let keys = Arc::new(
        DataKeys::open(Arc::clone(&store), kek).await.map_err(|error| CliError::failed(&what, error))?,
    );
    let directory = Directory::load(store, keys).await.map_err(|error| CliError::failed(&what, error))?;
    let grant = Grant {
        label: Some("made by waxseal init".to_owned()),
        scopes: [Scope::Admin].into(),
        ..Grant::default()
    };
    let token = NewToken::generate(grant, SystemClock.now());
    let created = acting(Actor::Cli, directory.create_token(token.record.clone()));
    created.await.map_err(|error| CliError::failed(&what, error))?;
    sqlite.close().await;
    Ok(token)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn report(files: &[&PathBuf; 3], token: &NewToken) -> Result<(), CliError> {
    let [config, key, store] = files;
    line(&format!("Wrote {} (the configuration)", config.display()))?;
    line(&format!("Wrote {} (the key-encryption key; keep a copy apart from the store)", key.display()))?;
    line(&format!("Wrote {} (the store)", store.display()))?;
    line("")?;
    line("The admin token, shown once:")?;
    line("")?;
    line(&format!("  export WAXSEAL_TOKEN={}", *token.secret))?;
    line("")?;
    line(&format!("Next: waxseal serve --config {}", config.display()))
}

/// The settings that every operator looks at, the rest as comments with their defaults.
fn config_text(config: &Config) -> String {
    format!(
        r#"# Waxseal. Every setting can also be given as a flag or as WAXSEAL_* in the environment where `waxseal serve --help`
# says so. Unknown fields are refused.

# Who the tokens come from. Receivers fetch <issuer>/.well-known/jwks.json.
issuer = "{issuer}"
listen = "{listen}"
store = "{store}"
key_encryption_key_file = "{key}"
# previous_key_encryption_key_file = "old.key"    # to change the key: `serve` then wraps the store's keys anew
# max_connections = 1024    # open at once to `listen`; more are closed as they come

# [tls]                     # without it, put a proxy that terminates TLS in front
# cert = "cert.pem"
# key = "key.pem"

# [signing]
# algorithm = "ES256"       # ES256, EdDSA, Ed25519 or PS256
# pending_for = "24h"       # how long a key is published before it signs
# retiring_for = "24h"      # how long it stays published after its last signature
# rotate_every = "90d"      # or "never": by hand, with `waxseal keys rotate`
# jwks_max_age = "5m"
# x5c = false               # whether the JWKS has each key as a certificate as well

# [delivery]
# timeout = "15s"
# connect_timeout = "5s"
# max_in_flight = 256
# max_in_flight_per_endpoint = 16
# retry = ["5s", "30s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"]

# [egress]                  # deliveries never go to private, loopback or link-local addresses, except these
# allow = ["10.1.0.0/16"]
# allow_http = false        # plain http to addresses in `allow`
# root_certificates = ["private-ca.pem"]

# [retention]               # what a delivery that is not over needs is kept longer
# payloads = "30d"          # contents of events; or "forever"
# attempts = "90d"          # events, deliveries and attempts
# audit = "365d"            # who changed what

# [operations]
# consumer = "ops"          # whose endpoints operational events go to; absent: they are only logged
# held_after = "5m"         # how long deliveries are held before that is told
# summary_every = "15m"     # how long the windows are in which failures are counted

# [log]
# format = "text"           # or "json"
# filter = "info"
"#,
        issuer = config.issuer,
        listen = config.listen,
        store = config.store.display(),
        key = config.key_encryption_key_file.display(),
    )
}

/// The configuration's file name.
pub const CONFIG_FILE: &str = "waxseal.toml";
