//! `waxseal move`: the store of one machine into a database that many nodes share.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::error::CliError;
use super::output::line;
use crate::database::Database;
use crate::moving::{Left, Move, MoveError, Plan, Step};
use crate::store::StoreError;

/// Move the store of one machine into a PostgreSQL database; the sender must not run
#[derive(Args)]
#[command(
    after_help = "Everything goes along: keys, consumers, history, what is not delivered yet. Nothing is decrypted, and the key-encryption key stays the same. A move that was interrupted goes on where it was: give the same command again.\n\nExamples:\n  waxseal move --dry-run --from sqlite:///var/lib/waxseal.db --to postgres://db1,db2/waxseal\n  waxseal move --from sqlite:///var/lib/waxseal.db --to postgres://db1,db2/waxseal"
)]
pub struct MoveArgs {
    /// The embedded store's file, as sqlite://PATH
    #[arg(long, value_name = "URL")]
    from: String,
    /// An empty PostgreSQL database
    #[arg(long, env = "WAXSEAL_MOVE_TO", hide_env_values = true, value_name = "URL")]
    to: String,
    /// A file with the password for it
    #[arg(long, env = "WAXSEAL_MOVE_TO_PASSWORD_FILE", value_name = "FILE")]
    to_password_file: Option<PathBuf>,
    /// Look whether it can be done and how much there is, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON at the end, for programs
    #[arg(long)]
    json: bool,
}

impl fmt::Debug for MoveArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL of the database may have a password in it.
        f.debug_struct("MoveArgs").field("dry_run", &self.dry_run).finish_non_exhaustive()
    }
}

impl MoveArgs {
    /// Moves, or says what would be moved.
    ///
    /// # Errors
    /// If it cannot be done. Nothing is lost then: the source is as it was until everything is in the database.
    pub async fn run(self) -> Result<(), CliError> {
        let from = file(&self.from)?;
        let to = Database::parse(&self.to, Path::new(""), self.to_password_file.as_deref());
        let to = to.map_err(|error| CliError::usage(format!("--to: {error}")))?;
        if !from.exists() {
            return Err(CliError::usage(format!("--from: there is no store {}", from.display())));
        }
        let progress = Progress::new();
        let watch = |step| progress.tell(step);
        let refused = |error| {
            progress.end();
            refused(error)
        };
        let moving = Move::prepare(from, &to, self.dry_run).await.map_err(refused)?;
        let plan = moving.plan(&watch).await.map_err(refused)?;
        if self.dry_run {
            progress.end();
            return self.rehearsed(from, &to, &plan);
        }
        moving.carry_out(&plan, &watch).await.map_err(refused)?;
        progress.end();
        self.moved(from, &to, &plan)
    }

    fn rehearsed(&self, from: &Path, to: &Database, plan: &Plan) -> Result<(), CliError> {
        if self.json {
            return line(&shown(plan, "dry_run").to_string());
        }
        let what = match plan.left {
            Left::All => "would be moved",
            Left::Rest => "would be moved on: an earlier move was interrupted",
            Left::Nothing => "was moved already: nothing would be done",
        };
        line(&format!("{} {what} to {to}", from.display()))?;
        table(plan)?;
        line(&format!(
            "  partitions for {} days; about {}",
            plan.days,
            humantime::format_duration(about(plan))
        ))?;
        line("Nothing was written")
    }

    fn moved(&self, from: &Path, to: &Database, plan: &Plan) -> Result<(), CliError> {
        if self.json {
            let done = if plan.left == Left::Nothing { "moved_before" } else { "moved" };
            return line(&shown(plan, done).to_string());
        }
        match plan.left {
            Left::Nothing => line(&format!("{} was moved to {to} before; nothing was done", from.display()))?,
            Left::All | Left::Rest => line(&format!(
                "Moved {} to {to}; counted and summed up alike on both sides:",
                from.display()
            ))?,
        }
        table(plan)?;
        line("Senders refuse the file from now on. Keep it until the first backup of the database.")?;
        line("The key-encryption key is the same. Next, in the configuration of every node:")?;
        line(&format!("  store = \"{}\"", address(&self.to)))?;
        if let Some(file) = &self.to_password_file {
            line(&format!("  store_password_file = \"{}\"", file.display()))?;
        }
        line("then: waxseal serve")
    }
}

/// The path in a `sqlite://` URL.
fn file(url: &str) -> Result<&Path, CliError> {
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() => Ok(Path::new(path)),
        Some(_) | None => Err(CliError::usage("--from: expected sqlite://PATH of the embedded store")),
    }
}

/// A URL as it may be shown: without its password.
fn address(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    // The part that names who connects ends at the last `@` before the path.
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (who, others) = rest.split_at(end);
    let (path, query) = others.split_once('?').unwrap_or((others, ""));
    let kept: Vec<_> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("password=")).collect();
    let others = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    match who.rsplit_once('@') {
        Some((user, hosts)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{hosts}{others}")
        }
        None => format!("{scheme}://{who}{others}"),
    }
}

fn refused(error: MoveError) -> CliError {
    match error {
        MoveError::Source { path, source: source @ StoreError::Corrupt { .. } } => {
            CliError::damaged(&path, &source)
        }
        error @ (MoveError::Source { .. } | MoveError::Target { .. }) => CliError::failed("not moved", error),
        error => CliError::plain(format!("not moved: {error}")),
    }
}

fn table(plan: &Plan) -> Result<(), CliError> {
    for (kind, summary) in &plan.kinds {
        line(&format!("  {kind:<17} {:>12} {:>16} bytes", summary.rows, summary.bytes))?;
    }
    Ok(())
}

fn shown(plan: &Plan, done: &str) -> serde_json::Value {
    let kinds = plan.kinds.iter().map(|(kind, summary)| {
        json!({ "kind": kind, "rows": summary.rows, "bytes": summary.bytes, "sum": summary.sum.to_string() })
    });
    json!({ "result": done, "kinds": kinds.collect::<Vec<_>>(), "days": plan.days, "about_seconds": about(plan).as_secs() })
}

/// A guess on the careful side: two slow cores, with the database on the same machine, took two thirds of it.
fn about(plan: &Plan) -> Duration {
    let sum = plan.kinds.iter().fold((0, 0), |(rows, bytes), (_, summary)| {
        (summary.rows.saturating_add(rows), summary.bytes.saturating_add(bytes))
    });
    Duration::from_secs(1 + sum.0 / ROWS_A_SECOND + sum.1 / BYTES_A_SECOND)
}

/// Says how far it is: in one line of a terminal, or in a line for each kind.
struct Progress {
    is_terminal: bool,
    /// The last line that was written.
    last: Mutex<String>,
}

impl Progress {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), last: Mutex::default() }
    }

    fn tell(&self, step: Step) {
        let text = match step {
            Step::Counting(kind) => format!("counting {kind}"),
            Step::Moving { kind, rows, of } => format!("moving {kind}: {rows} of {of}"),
            Step::Comparing(kind) => format!("comparing {kind}"),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == text {
            return;
        }
        let is_end = !matches!(step, Step::Moving { rows, of, .. } if rows < of);
        // Who cannot be told is moved all the same.
        let _ = match self.is_terminal {
            true => write!(io::stderr(), "\r\u{1b}[K{text}"),
            false if is_end => writeln!(io::stderr(), "{text}"),
            false => return,
        };
        *last = text;
    }

    fn end(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

const ROWS_A_SECOND: u64 = 10_000;
const BYTES_A_SECOND: u64 = 10 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_has_no_password() {
        for (url, expected) in [
            ("postgres://me:hunter2@one,two/db?a=b@c", "postgres://me@one,two/db?a=b@c"),
            ("postgres://me@one/db", "postgres://me@one/db"),
            ("postgres://one/db?password=hunter2&port=1", "postgres://one/db?port=1"),
            ("postgres://me:a@b@one/db", "postgres://me@one/db"),
        ] {
            assert_eq!(address(url), expected);
        }
    }
}
