//! `waxseal publish`: one event, its data from a file or standard input.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::Remote;
use super::error::CliError;
use super::keys::read_bytes;

/// Publish one event
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  echo '{\"order\":\"991\"}' | waxseal publish --type order.created --consumer acme\n  waxseal publish --type scan.done --group labs --file scan.pdf --content-type application/pdf"
)]
pub struct PublishArgs {
    /// A declared event type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// A file with the data; `-` for standard input
    #[arg(long, default_value = "-")]
    file: String,
    /// The media type of data that is not JSON
    #[arg(long)]
    content_type: Option<String>,
    /// Only to this consumer; may be given several times
    #[arg(long = "consumer", conflicts_with = "group")]
    consumers: Vec<String>,
    /// Only to the members of this group
    #[arg(long)]
    group: Option<String>,
    /// The publisher's own id: carried in the token as `txn`, and accepted once
    #[arg(long)]
    id: Option<String>,
    /// When it happened (RFC 3339 or Unix seconds)
    #[arg(long)]
    occurred_at: Option<String>,
    /// When it stops being worth delivering (RFC 3339 or Unix seconds)
    #[arg(long, conflicts_with = "ttl")]
    expires_at: Option<String>,
    /// For how long it is worth delivering, such as 90s, 15m or 2h
    #[arg(long, value_parser = span)]
    ttl: Option<Duration>,
    /// Accept the same request once for this key
    #[arg(long)]
    idempotency_key: Option<String>,
}

impl PublishArgs {
    /// Publishes.
    ///
    /// # Errors
    /// If the data cannot be read, or the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let api = remote.connect()?;
        let data = read_bytes(&self.file)?;
        let body = self.body(data)?;
        let answer = api.post_text(&["events"], body, self.idempotency_key.as_deref()).await?;
        remote.output().item(&answer)
    }

    /// The request. JSON data goes into it byte for byte: what is signed is what the file holds.
    fn body(&self, data: Vec<u8>) -> Result<String, CliError> {
        let mut members = vec![("type", json!(self.event_type).to_string())];
        if let Some(content_type) = &self.content_type {
            members.push(("data_base64", json!(STANDARD.encode(&data)).to_string()));
            members.push(("datacontenttype", json!(content_type).to_string()));
        } else {
            members.push(("data", self.json_text(data)?));
        }
        members.extend(self.to().map(|to| ("to", to.to_string())));
        members.extend(self.id.as_ref().map(|id| ("id", json!(id).to_string())));
        members.extend(self.occurred_at.as_deref().map(moment).map(|at| ("occurred_at", at.to_string())));
        members.extend(self.expires_at.as_deref().map(moment).map(|at| ("expires_at", at.to_string())));
        members.extend(self.ttl.map(|ttl| ("ttl_seconds", ttl.as_secs().to_string())));
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        Ok(format!("{{{}}}", members.join(",")))
    }

    fn json_text(&self, data: Vec<u8>) -> Result<String, CliError> {
        let source = if self.file == "-" { "standard input" } else { &self.file };
        let not_json = |why: String| {
            CliError::plain(format!("{source} is not JSON ({why}); for other data give its --content-type"))
        };
        let text = String::from_utf8(data).map_err(|error| not_json(error.to_string()))?;
        let raw: Box<RawValue> = serde_json::from_str(&text).map_err(|error| not_json(error.to_string()))?;
        Ok(raw.get().to_owned())
    }

    fn to(&self) -> Option<Value> {
        match (&self.group, self.consumers.as_slice()) {
            (Some(group), _) => Some(json!({ "group": group })),
            (None, []) => None,
            (None, [one]) => Some(json!({ "consumer": one })),
            (None, several) => Some(json!({ "consumers": several })),
        }
    }
}

/// A span of time as people write it.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a duration; expected one such as 30s, 5m or 24h"))
}

/// A time as the API takes it: a number if it is one.
pub fn moment(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| json!(text), |seconds| json!(seconds))
}
