//! `waxseal config check`: everything that `serve` would refuse, found without serving.

use clap::Subcommand;

use super::error::CliError;
use super::output::line;
use super::serve::ServeArgs;

/// The configuration of this machine's sender.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether `serve` would start with this configuration
    #[command(
        after_help = "Examples:\n  waxseal config check\n  waxseal config check --config /etc/waxseal/waxseal.toml\n\nIt takes the options and the environment of `serve`. Exits with 0 if all is right, and with 2 and the reason if not."
    )]
    Check(ServeArgs),
}

impl ConfigCommand {
    /// Checks.
    ///
    /// # Errors
    /// What `serve` would say.
    pub async fn run(self) -> Result<(), CliError> {
        let Self::Check(args) = self;
        let checked = args.check().await?;
        line(&format!("{checked}: the configuration is right"))
    }
}
