//! `waxseal completions`: what a shell needs to complete commands and options.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::error::CliError;
use super::output::line;

/// Print the completions for a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  waxseal completions bash > /etc/bash_completion.d/waxseal\n  waxseal completions zsh > ~/.zfunc/_waxseal"
)]
pub struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints them.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn run(&self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "waxseal", &mut script);
        line(String::from_utf8_lossy(&script).trim_end())
    }
}
