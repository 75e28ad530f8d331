//! `waxseal backup`: a copy of the store while the sender runs, or does not.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::error::CliError;
use super::output::line;
use super::stored::Stored;
use crate::store::StoreError;
use crate::store::sqlite::backup::{BackupContents, BackupError, back_up};

/// Copy the store to a new file, while the sender runs or not
#[derive(Args, Debug)]
#[command(
    after_help = "Run it where the sender runs, as the user that it runs as. The key-encryption key is not in the copy.\n\nExamples:\n  waxseal backup /backup/waxseal-2026-11-24.db\n  waxseal backup --config /etc/waxseal/waxseal.toml /backup/waxseal.db"
)]
pub struct BackupArgs {
    /// The file to write; one that exists is not overwritten
    file: PathBuf,
    #[command(flatten)]
    stored: Stored,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

impl BackupArgs {
    /// Copies.
    ///
    /// # Errors
    /// If there is no copy. Nothing is left behind then.
    pub async fn run(self) -> Result<(), CliError> {
        let (store, file) = (self.stored.store()?, self.file.clone());
        let copied = tokio::task::spawn_blocking(move || back_up(&store, &file)).await;
        let contents = copied
            .map_err(|error| CliError::failed("the backup was interrupted", error))?
            .map_err(not_copied)?;
        if self.json {
            let text = json!({ "file": self.file, "contents": shown(&contents) });
            return line(&text.to_string());
        }
        line(&format!("Wrote {} ({} bytes), and read it back", self.file.display(), contents.bytes))?;
        tell(&contents)
    }
}

/// What a copy holds and what it needs.
pub(super) fn tell(contents: &BackupContents) -> Result<(), CliError> {
    let BackupContents { consumers, endpoints, events, contents: kept, live, .. } = contents;
    line(&format!("  {consumers} consumers, {endpoints} endpoints"))?;
    line(&format!("  {events} events, {kept} of them with content; {live} deliveries that are not over"))?;
    let keys = contents.key_encryption_keys.join(", ");
    line(&format!(
        "  It opens with the key-encryption key {keys}, which is not in it: keep a copy of that apart"
    ))
}

/// The same as JSON.
pub(super) fn shown(contents: &BackupContents) -> serde_json::Value {
    json!({
        "bytes": contents.bytes,
        "consumers": contents.consumers,
        "endpoints": contents.endpoints,
        "events": contents.events,
        "contents": contents.contents,
        "live_deliveries": contents.live,
        "signing_keys_version": contents.ring_version,
        "key_encryption_keys": contents.key_encryption_keys,
    })
}

fn not_copied(error: BackupError) -> CliError {
    match error {
        BackupError::Store { path, source: source @ StoreError::Corrupt { .. } } => {
            CliError::damaged(&path, &source)
        }
        BackupError::Store { source: StoreError::Full, .. } => {
            CliError::plain("the disk of the backup is full; make room there, or choose another place")
        }
        other => CliError::failed("no backup was made", other),
    }
}
