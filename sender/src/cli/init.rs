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
use super::opened::Opened;
use super::output::line;
use crate::api::auth::{Grant, NewToken};
use crate::audit::{Actor, acting};
use crate::config::{Config, StoreLocation};
use crate::data_keys::DataKeys;
use crate::directory::Directory;
use crate::model::token::Scope;

/// Write a configuration and a key-encryption key, and print an admin token
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  waxseal init --issuer https://hooks.example.com\n  waxseal init --issuer https://hooks.example.com --store postgres://waxseal@db1,db2/waxseal --store-password-file db.password\n\nWhere several nodes share a database, initialise once and give every node the same configuration and key."
)]
pub struct InitArgs {
    /// Who the tokens come from: an https URL that receivers can reach
    #[arg(long, env = "WAXSEAL_ISSUER")]
    issuer: String,
    /// The folder for the configuration, the key and the store
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The URL of a PostgreSQL database that several nodes share, instead of a file
    #[arg(long)]
    store: Option<String>,
    /// The file with the database's password, if that is not in the URL
    #[arg(long, requires = "store")]
    store_password_file: Option<PathBuf>,
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
        let mut defaults = Config::new(issuer);
        if let Some(store) = self.store {
            defaults.store = StoreLocation::parse(&store);
            if let StoreLocation::File(_) = defaults.store {
                return Err(CliError::usage("--store: expected a URL that begins with postgres://"));
            }
            // The configuration says where it is from anywhere.
            let absolute = self.store_password_file.map(std::path::absolute).transpose();
            defaults.store_password_file =
                absolute.map_err(|error| CliError::failed("--store-password-file", error))?;
        }
        let key_file = self.dir.join(&defaults.key_encryption_key_file);
        let store_file = match &defaults.store {
            StoreLocation::File(path) => Some(self.dir.join(path)),
            StoreLocation::Postgres { .. } => None,
        };
        for path in [Some(&config_file), Some(&key_file), store_file.as_ref()].into_iter().flatten() {
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
        let text = config_text(&defaults);
        if let Some(store_file) = &store_file {
            for suffix in ["", ".lock", "-wal", "-shm"] {
                unfinished.file(suffixed(store_file, suffix));
            }
            defaults.store = StoreLocation::File(store_file.clone());
        }
        let token = first_token(&defaults, kek).await?;
        match &store_file {
            Some(_) => {
                unfinished.file(config_file.clone());
                fs::write(&config_file, text).map_err(|error| CliError::file(&config_file, error))?;
            }
            // There may be a password in the URL.
            None => {
                write_secret(&config_file, text.as_bytes())?;
                unfinished.made(config_file.clone());
            }
        }
        unfinished.keep();
        report(&config_file, &key_file, &defaults.store, &token)
    }
}

async fn first_token(config: &Config, kek: KeyEncryptionKey) -> Result<NewToken, CliError> {
    let what = format!("cannot make the store {}", config.store);
    let opened = Opened::make(config).await?;
    let store = opened.store();
    // A database may have been there before, and what it holds is under a key of its own.
    if store.ring().await.map_err(|error| CliError::failed(&what, error))?.is_some() {
        return Err(CliError::plain(format!(
            "the store {} was initialised before; give this node the configuration and the key of the others",
            config.store
        )));
    }
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
    opened.close().await;
    Ok(token)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn report(config: &Path, key: &Path, store: &StoreLocation, token: &NewToken) -> Result<(), CliError> {
    line(&format!("Wrote {} (the configuration)", config.display()))?;
    line(&format!("Wrote {} (the key-encryption key; keep a copy apart from the store)", key.display()))?;
    line(&format!("Wrote {store} (the store)"))?;
    line("")?;
    line("The admin token, shown once:")?;
    line("")?;
    line(&format!("  export WAXSEAL_TOKEN={}", *token.secret))?;
    line("")?;
    line(&format!("Next: waxseal serve --config {}", config.display()))
}

/// Where the store is, as TOML.
fn store_text(config: &Config) -> String {
    let store = match &config.store {
        StoreLocation::File(path) => path.display().to_string(),
        StoreLocation::Postgres { url, .. } => url.clone(),
    };
    let store = format!("store = {}", toml::Value::String(store));
    match &config.store_password_file {
        Some(file) => {
            format!("{store}\nstore_password_file = {}", toml::Value::String(file.display().to_string()))
        }
        None => store,
    }
}

/// The settings that every operator looks at, the rest as comments with their defaults.
fn config_text(config: &Config) -> String {
    format!(
        r#"# Waxseal. Every setting can also be given as a flag or as WAXSEAL_* in the environment where `waxseal serve --help`
# says so. Unknown fields are refused.

# Who the tokens come from. Receivers fetch <issuer>/.well-known/jwks.json.
issuer = "{issuer}"
listen = "{listen}"
{store}
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

# [delivery.breaker]        # when an endpoint that fails is left alone, and when it is paused
# failures = 10             # so many in a row
# first_pause = "10s"       # before the first probe; twice as long after each that failed
# longest_pause = "5m"
# disable_after = "5d"      # of nothing but failure; or "never"

# [verification]            # how endpoints are asked whether they want events
# answer_within = "10s"
# pauses = ["1m", "5m"]     # between attempts
# host_apart = "10s"        # two attempts at one host
# host_an_hour = 60
# host_an_hour_for_consumer = 20
# consumer_an_hour = 120
# agreed_an_hour = 3000     # at endpoints that only have other keys

# [consumer_tokens]         # what a consumer may do by hand with tokens of its own
# tests_an_hour = 60
# redeliveries_an_hour = 1200
# redeliveries_as_new_an_hour = 120

# [egress]                  # deliveries never go to private, loopback or link-local addresses, except these
# allow = ["10.1.0.0/16"]
# allow_http = false        # plain http to addresses in `allow`
# root_certificates = ["private-ca.pem"]

# [retention]               # what a delivery that is not over needs is kept longer
# payloads = "30d"          # contents of events; or "forever"
# attempts = "90d"          # events, deliveries and attempts
# audit = "365d"            # who changed what
# check_every = "5m"        # how often it is looked for what is older

# [operations]
# consumer = "ops"          # whose endpoints operational events go to; absent: they are only logged
# held_after = "5m"         # how long deliveries are held before that is told
# summary_every = "15m"     # how long the windows are in which failures are counted

# [cluster]                 # where several nodes share a PostgreSQL database
# role = "all"              # or "api", "engine"
# node_name = "one"         # the name of the machine, if this is not said

# [log]
# format = "text"           # or "json"
# filter = "info"
"#,
        issuer = config.issuer,
        listen = config.listen,
        store = store_text(config),
        key = config.key_encryption_key_file.display(),
    )
}

/// The configuration's file name.
pub const CONFIG_FILE: &str = "waxseal.toml";
