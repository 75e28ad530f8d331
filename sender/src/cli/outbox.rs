//! `waxseal outbox`: the SQL of the transactional outbox.

use clap::Subcommand;

use super::error::CliError;
use super::output::line;
use crate::relay::{INSTALL, UNINSTALL};

/// The transactional outbox: what to install in your own database
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Print the SQL that installs it in a PostgreSQL database, or brings it up to date
    #[command(
        after_help = "Examples:\n  waxseal outbox sql | psql --single-transaction -v ON_ERROR_STOP=1 shop\n  waxseal outbox sql --uninstall | psql --single-transaction -v ON_ERROR_STOP=1 shop"
    )]
    Sql {
        /// Print the SQL that removes it instead
        #[arg(long)]
        uninstall: bool,
    },
}

impl OutboxCommand {
    /// Prints it.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn run(self) -> Result<(), CliError> {
        let Self::Sql { uninstall } = self;
        line(if uninstall { UNINSTALL } else { INSTALL }.trim_end())
    }
}
