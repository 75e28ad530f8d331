//! `waxseal deliveries` and `waxseal token`: what became of events, and who may call the API.

use clap::Subcommand;
use serde_json::json;

use super::client::Remote;
use super::consumer::set;
use super::error::CliError;
use super::page::Page;

/// Deliveries: what became of events
#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    /// List deliveries, newest first
    #[command(
        after_help = "Examples:\n  waxseal deliveries list --consumer acme --state retrying\n  waxseal deliveries list --state exhausted,refused --type order.created --since 2026-11-20T00:00:00Z"
    )]
    List {
        /// Of this event
        #[arg(long)]
        event: Option<String>,
        /// To this endpoint
        #[arg(long)]
        endpoint: Option<String>,
        /// To this consumer
        #[arg(long)]
        consumer: Option<String>,
        /// In this state, or in one of several with commas between them
        #[arg(long)]
        state: Option<String>,
        /// Of events of this type
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// Made at this time or later (RFC 3339 or Unix seconds)
        #[arg(long)]
        since: Option<String>,
        /// Made before this time (RFC 3339 or Unix seconds)
        #[arg(long)]
        until: Option<String>,
        /// Oldest first
        #[arg(long)]
        oldest_first: bool,
        /// Which page
        #[command(flatten)]
        page: Page,
    },
    /// Show one
    Show {
        /// Its id
        id: String,
    },
    /// List its attempts
    Attempts {
        /// The delivery's id
        id: String,
    },
    /// Take one back that is not over; an attempt that is under way may still arrive
    Cancel {
        /// The delivery's id
        id: String,
    },
    /// Deliver the same event again, under the same id: a receiver that has taken it does nothing
    Redeliver {
        /// The delivery's id
        id: String,
        /// Under a new id that names the old one: for a receiver that lost what it had taken
        #[arg(long)]
        as_new: bool,
    },
}

/// API tokens: who may call the API
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown once
    #[command(after_help = "Example:\n  waxseal token create --scope publish --label shop")]
    Create {
        /// What it may do; may be given several times
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
        /// Free text for people
        #[arg(long)]
        label: Option<String>,
        /// The only consumer whose things it may see and change
        #[arg(long)]
        consumer: Option<String>,
        /// When it stops working (RFC 3339)
        #[arg(long)]
        expires_at: Option<String>,
    },
    /// List tokens (never the tokens themselves)
    List,
    /// Withdraw a token at once
    Delete {
        /// Its id
        id: String,
    },
}

impl DeliveriesCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        match self {
            Self::List { event, endpoint, consumer, state, event_type, since, until, oldest_first, page } => {
                let mut query = page.query();
                let filters = [
                    ("event", event),
                    ("endpoint", endpoint),
                    ("consumer", consumer),
                    ("state", state),
                    ("type", event_type),
                    ("since", since),
                    ("until", until),
                    ("order", oldest_first.then(|| "oldest".to_owned())),
                ];
                query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
                let columns = ["id", "event", "endpoint", "consumer", "state", "attempts_made", "due_at"];
                output.list(&api.get(&["deliveries"], &query).await?, &columns)
            }
            Self::Show { id } => output.item(&api.get(&["deliveries", &id], &[]).await?),
            Self::Attempts { id } => {
                let columns = ["number", "started_at", "duration_ms", "status", "result", "next_at"];
                output.list(&api.get(&["deliveries", &id, "attempts"], &[]).await?, &columns)
            }
            Self::Cancel { id } => output.item(&api.post(&["deliveries", &id, "cancel"], None).await?),
            Self::Redeliver { id, as_new } => {
                let body = as_new.then(|| json!({ "as_new": true }));
                output.item(&api.post(&["deliveries", &id, "redeliver"], body).await?)
            }
        }
    }
}

impl TokenCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        match self {
            Self::Create { scopes, label, consumer, expires_at } => {
                let mut body = json!({ "scopes": scopes });
                set(&mut body, "label", label);
                set(&mut body, "consumer", consumer);
                set(&mut body, "expires_at", expires_at);
                output.item(&api.post(&["tokens"], Some(body)).await?)
            }
            Self::List => {
                let columns = ["id", "label", "scopes", "consumer", "expires_at"];
                output.list(&api.get(&["tokens"], &[]).await?, &columns)
            }
            Self::Delete { id } => output.item(&api.delete(&["tokens", &id]).await?),
        }
    }
}
