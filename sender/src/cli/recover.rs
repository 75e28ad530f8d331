//! `waxseal endpoint recover` and `waxseal recovery`: what an endpoint missed, delivered again bit by bit.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Api, Remote};
use super::consumer::set;
use super::error::CliError;
use super::output::Output;
use super::page::Page;
use super::publish::moment;

/// What to recover, and how fast.
#[derive(Args, Debug)]
pub struct RecoverArgs {
    /// Deliveries that were made at this time or later (RFC 3339 or Unix seconds)
    #[arg(long)]
    since: String,
    /// Deliveries that were made before this time; now, if it is not given
    #[arg(long)]
    until: Option<String>,
    /// Those that ended so: exhausted, refused (these two by default), expired, cancelled; may be given several times
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,
    /// Only of events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// How many in a second, at most
    #[arg(long)]
    rate: Option<u32>,
    /// Begin it and do not wait
    #[arg(long)]
    detach: bool,
}

/// Recoveries: what endpoints missed, delivered again bit by bit
#[derive(Debug, Subcommand)]
pub enum RecoveryCommand {
    /// List recoveries, oldest first
    List {
        /// Of this endpoint
        #[arg(long)]
        endpoint: Option<String>,
        /// Of this consumer's endpoints
        #[arg(long)]
        consumer: Option<String>,
        /// Which page
        #[command(flatten)]
        page: Page,
    },
    /// Show how far one has come
    Show {
        /// Its id
        id: String,
    },
    /// Stop one; what it has delivered again stays so
    Cancel {
        /// Its id
        id: String,
    },
}

impl RecoverArgs {
    /// Begins the recovery and, unless told otherwise, follows it to its end.
    pub(super) async fn run(self, api: &Api, output: Output, endpoint: &str) -> Result<(), CliError> {
        let mut body = json!({ "since": moment(&self.since) });
        set(&mut body, "until", self.until.as_deref().map(moment));
        set(&mut body, "states", Some(self.states).filter(|states| !states.is_empty()));
        set(&mut body, "event_types", Some(self.types).filter(|types| !types.is_empty()));
        set(&mut body, "rate", self.rate);
        let mut recovery = api.post(&["endpoints", endpoint, "recover"], Some(body)).await?;
        if self.detach {
            return output.item(&recovery);
        }
        let id = recovery.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut said = String::new();
        while recovery.get("state").and_then(Value::as_str) == Some("running") {
            let progress = progress(&recovery);
            if progress != said {
                eprintln!("{progress}");
                said = progress;
            }
            tokio::time::sleep(ASK_EVERY).await;
            recovery = api.get(&["recoveries", &id], &[]).await?;
        }
        output.item(&recovery)
    }
}

impl RecoveryCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        match self {
            Self::List { endpoint, consumer, page } => {
                let mut query = page.query();
                let filters = [("endpoint", endpoint), ("consumer", consumer)];
                query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
                let columns = ["id", "endpoint", "state", "redelivered", "skipped", "reached", "created_at"];
                output.list(&api.get(&["recoveries"], &query).await?, &columns)
            }
            Self::Show { id } => output.item(&api.get(&["recoveries", &id], &[]).await?),
            Self::Cancel { id } => output.item(&api.post(&["recoveries", &id, "cancel"], None).await?),
        }
    }
}

fn progress(recovery: &Value) -> String {
    let count = |name: &str| recovery.get(name).and_then(Value::as_u64).unwrap_or(0);
    let at_least = if recovery["remaining_is_exact"] == true { "" } else { "at least " };
    let (done, skipped, left) = (count("redelivered"), count("skipped"), count("remaining"));
    let id = recovery.get("id").and_then(Value::as_str).unwrap_or_default();
    format!("{id}: {done} delivered again, {skipped} skipped, {at_least}{left} to go")
}

const ASK_EVERY: Duration = Duration::from_millis(500);
