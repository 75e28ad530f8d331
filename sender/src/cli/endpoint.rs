//! `waxseal endpoint`: where consumers receive.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{Api, Remote};
use super::consumer::set;
use super::endpoint_auth::{AuthArgs, ClearArgs};
use super::error::CliError;
use super::keys::{KeySetCommand, read_keys};
use super::pace::PaceArgs;
use super::page::Page;
use super::publish::{moment, span};
use super::recover::RecoverArgs;
use super::retry::RetryArgs;

/// Endpoints: where consumers receive
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Create an endpoint
    #[command(
        after_help = "Example:\n  waxseal endpoint create --consumer acme --to https://acme.example/hooks --type order.created --protection sealed"
    )]
    Create {
        /// Whose it is
        #[arg(long)]
        consumer: String,
        /// The URL that deliveries are posted to
        #[arg(long = "to", value_name = "URL")]
        to: String,
        /// An event type that it receives, or `*`; may be given several times
        #[arg(long = "type", required = true)]
        types: Vec<String>,
        /// Whether its content is only signed, or sealed to the consumer's key as well
        #[arg(long)]
        protection: ProtectionArg,
        /// Its own audience, where another party runs it
        #[arg(long)]
        audience: Option<String>,
        /// Free text for people
        #[arg(long)]
        description: Option<String>,
        /// How fast and in which order it is delivered to
        #[command(flatten)]
        pace: PaceArgs,
        /// When failed attempts are repeated
        #[command(flatten)]
        retry: RetryArgs,
        /// A file with its own public encryption keys (a JWK or a JWK Set)
        #[arg(long, value_name = "FILE")]
        keys: Option<String>,
        /// Deliver without asking it first whether it wants events; only for operators, and on record
        #[arg(long)]
        trusted: bool,
        /// What is shown to its server, and what that must prove
        #[command(flatten)]
        auth: Box<AuthArgs>,
    },
    /// List endpoints
    List {
        /// Of this consumer only
        #[arg(long)]
        consumer: Option<String>,
        /// Which page
        #[command(flatten)]
        page: Page,
    },
    /// Show one
    Show {
        /// Its id
        id: String,
    },
    /// Change it; a new URL makes the sender forget what the old server was shown
    Update {
        /// Its id
        id: String,
        /// The URL that deliveries are posted to
        #[arg(long = "to", value_name = "URL")]
        to: Option<String>,
        /// All of its event types from now on; may be given several times
        #[arg(long = "type")]
        types: Option<Vec<String>>,
        /// Whether its content is sealed
        #[arg(long)]
        protection: Option<ProtectionArg>,
        /// Free text for people
        #[arg(long)]
        description: Option<String>,
        /// Whether it gets events without proving that it wants them; only for operators, and on record. `true` needs
        /// `--to` and `--protection`: what you have seen and mean to trust
        #[arg(long)]
        trusted: Option<bool>,
        /// What is shown to its server, and what that must prove
        #[command(flatten)]
        auth: Box<AuthArgs>,
        /// What is taken away of it
        #[command(flatten)]
        clear: ClearArgs,
        /// How fast and in which order it is delivered to
        #[command(flatten)]
        pace: PaceArgs,
        /// When failed attempts are repeated
        #[command(flatten)]
        retry: RetryArgs,
    },
    /// Make its deliveries wait; nothing is lost
    Pause {
        /// Its id
        id: String,
    },
    /// Make its deliveries again
    Resume {
        /// Its id
        id: String,
    },
    /// Deliver again what it missed, oldest first, and show how far that has come
    #[command(
        after_help = "Examples:\n  waxseal endpoint recover ep_... --since 2026-11-20T00:00:00Z\n  waxseal endpoint recover ep_... --since 2026-11-20T00:00:00Z --state exhausted --state expired --rate 50"
    )]
    Recover {
        /// Its id
        id: String,
        /// What to recover, and how fast
        #[command(flatten)]
        what: RecoverArgs,
    },
    /// Send it a test event and show what became of it; the status is 0 only if it was taken
    Test {
        /// Its id
        id: String,
        /// How long to wait for the first attempt
        #[arg(long, default_value = "30s", value_parser = span)]
        wait: Duration,
    },
    /// Ask it whether it wants events and wait for what comes of it; the status is 0 only if it gets them
    #[command(
        after_help = "It is asked when it is created and when its URL, protection or keys change; this asks once more.\nThe receiver crate and `waxseal listen` answer by themselves."
    )]
    Verify {
        /// Its id
        id: String,
        /// How long to wait
        #[arg(long, default_value = "30s", value_parser = span)]
        wait: Duration,
    },
    /// Take back its deliveries that are not over; attempts that are under way may still arrive
    #[command(
        after_help = "Example:\n  waxseal endpoint cancel ep_... --type order.created --until 2026-11-20T00:00:00Z"
    )]
    Cancel {
        /// Its id
        id: String,
        /// Only of events of this type; may be given several times
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// Only those made at this time or later (RFC 3339 or Unix seconds)
        #[arg(long)]
        since: Option<String>,
        /// Only those made before this time (RFC 3339 or Unix seconds)
        #[arg(long)]
        until: Option<String>,
    },
    /// Remove it; its open deliveries are cancelled
    Delete {
        /// Its id
        id: String,
    },
    /// Its own public encryption keys, in place of its consumer's
    Keys {
        /// The endpoint's id
        endpoint: String,
        /// What to do with them
        #[command(subcommand)]
        command: KeySetCommand,
    },
}

/// How content is protected.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProtectionArg {
    /// Signed: anyone on the way can read it
    Signed,
    /// Signed, then encrypted to the consumer's key
    Sealed,
}

impl ProtectionArg {
    fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Sealed => "sealed",
        }
    }
}

impl EndpointCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        match self {
            Self::Create {
                consumer,
                to,
                types,
                protection,
                audience,
                description,
                pace,
                retry,
                keys,
                trusted,
                auth,
            } => {
                let mut body = json!({
                    "consumer": consumer, "url": to, "event_types": types, "protection": protection.name(),
                });
                set(&mut body, "audience", audience);
                set(&mut body, "description", description);
                set(&mut body, "trusted", trusted.then_some(true));
                pace.put_into(&mut body)?;
                set(&mut body, "retry", retry.member());
                if let Some(file) = keys {
                    let (form, keys) = read_keys(&file)?;
                    body["encryption_keys"] = json!({ form: keys });
                }
                auth.add_to(&mut body)?;
                output.item(&api.post(&["endpoints"], Some(body)).await?)
            }
            Self::List { consumer, page } => {
                let mut query = page.query();
                query.extend(consumer.map(|consumer| ("consumer", consumer)));
                let columns = ["id", "consumer", "protection", "event_types", "status", "url"];
                output.list(&api.get(&["endpoints"], &query).await?, &columns)
            }
            Self::Show { id } => output.item(&api.get(&["endpoints", &id], &[]).await?),
            Self::Update { id, to, types, protection, description, trusted, pace, retry, auth, clear } => {
                if trusted == Some(true) && (to.is_none() || protection.is_none()) {
                    return Err(unmeant(&api, &id).await?);
                }
                let mut body = Value::Object(Map::new());
                set(&mut body, "url", to);
                set(&mut body, "event_types", types);
                set(&mut body, "protection", protection.map(ProtectionArg::name));
                set(&mut body, "description", description);
                set(&mut body, "trusted", trusted);
                pace.put_into(&mut body)?;
                clear.add_to(&mut body);
                auth.add_to(&mut body)?;
                set(&mut body, "retry", retry.member());
                output.item(&api.patch(&["endpoints", &id], body).await?)
            }
            Self::Pause { id } => output.item(&api.post(&["endpoints", &id, "pause"], None).await?),
            Self::Resume { id } => output.item(&api.post(&["endpoints", &id, "resume"], None).await?),
            Self::Recover { id, what } => what.run(&api, output, &id).await,
            Self::Test { id, wait } => super::test::run(&api, output, &id, wait).await,
            Self::Verify { id, wait } => super::verify::run(&api, output, &id, wait).await,
            Self::Cancel { id, types, since, until } => {
                let answer = cancel_all(&api, &id, types, since, until).await?;
                output.item(&answer)
            }
            Self::Delete { id } => output.item(&api.delete(&["endpoints", &id]).await?),
            Self::Keys { endpoint, command } => command.run(remote, &["endpoints", &endpoint]).await,
        }
    }
}

/// Shows what would be trusted, for whoever has not said what is meant.
async fn unmeant(api: &Api, id: &str) -> Result<CliError, CliError> {
    let shown = api.get(&["endpoints", id], &[]).await?;
    let text = |name| shown.get(name).and_then(Value::as_str).unwrap_or_default();
    let (url, protection) = (text("url"), text("protection"));
    Ok(CliError::usage(format!(
        "say what is to be trusted, with --to and --protection: its consumer can change both. At present it is\n  \
         --to {url} --protection {protection}"
    )))
}

/// Asks until there is no more to cancel; returns the sums.
async fn cancel_all(
    api: &Api,
    id: &str,
    types: Vec<String>,
    since: Option<String>,
    until: Option<String>,
) -> Result<Value, CliError> {
    let mut body = Value::Object(Map::new());
    set(&mut body, "event_types", Some(types).filter(|types| !types.is_empty()));
    set(&mut body, "since", since.as_deref().map(moment));
    set(&mut body, "until", until.as_deref().map(moment));
    let (mut cancelled, mut in_flight) = (0, 0);
    loop {
        let answer = api.post(&["endpoints", id, "cancel"], Some(body.clone())).await?;
        let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
        cancelled += count("cancelled");
        in_flight += count("in_flight");
        match answer.get("next") {
            Some(Value::String(next)) => body["after"] = json!(next),
            _ => return Ok(json!({ "cancelled": cancelled, "in_flight": in_flight })),
        }
    }
}
