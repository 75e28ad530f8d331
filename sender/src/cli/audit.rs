//! `waxseal audit`: who changed what.

use clap::Args;

use super::client::Remote;
use super::error::CliError;
use super::page::Page;

/// Who changed what, newest first
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  waxseal audit --consumer acme --since 2026-11-20T00:00:00Z\n  waxseal audit --actor engine --action endpoint.pause"
)]
pub struct AuditArgs {
    /// Of what is this consumer's
    #[arg(long)]
    consumer: Option<String>,
    /// Of this object, by its id
    #[arg(long)]
    object: Option<String>,
    /// By this token (its id), `engine` or `cli`
    #[arg(long)]
    actor: Option<String>,
    /// What was done, such as `endpoint.update`
    #[arg(long)]
    action: Option<String>,
    /// At this time or later (RFC 3339 or Unix seconds)
    #[arg(long)]
    since: Option<String>,
    /// Before this time (RFC 3339 or Unix seconds)
    #[arg(long)]
    until: Option<String>,
    /// Which page
    #[command(flatten)]
    page: Page,
}

impl AuditArgs {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        let mut query = self.page.query();
        let filters = [
            ("consumer", self.consumer),
            ("object", self.object),
            ("actor", self.actor),
            ("action", self.action),
            ("since", self.since),
            ("until", self.until),
        ];
        query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let columns = ["at", "actor", "actor_label", "action", "object", "consumer", "changed"];
        output.list(&api.get(&["audit"], &query).await?, &columns)
    }
}
