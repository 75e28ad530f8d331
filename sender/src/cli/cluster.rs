//! `waxseal cluster`: which nodes share the store, and what each works on.

use clap::Args;
use serde_json::Value;

use super::client::Remote;
use super::error::CliError;
use super::output::{Output, line};

/// The nodes that share the store
#[derive(Args, Debug)]
pub struct ClusterArgs {}

impl ClusterArgs {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        let answer = api.get(&["cluster"], &[]).await?;
        let columns = ["id", "name", "role", "program", "started_at", "lease_seconds", "shards", "works_by"];
        output.list(&answer, &columns)?;
        match output {
            Output::Json => Ok(()),
            Output::People => tell(&answer),
        }
    }
}

fn tell(answer: &Value) -> Result<(), CliError> {
    let number = |name: &str| answer.get(name).and_then(Value::as_u64);
    if let Some(unowned) = number("unowned_shards").filter(|unowned| *unowned > 0) {
        line(&format!("{unowned} shards have no owner: nothing of them is delivered"))?;
    }
    match answer.get("synchronous_standby").and_then(Value::as_bool) {
        Some(true) => line("What is acknowledged is on two machines")?,
        _ => line("No synchronous standby: what is acknowledged is on one machine only")?,
    }
    if let Some(behind) = number("standby_lag_bytes") {
        line(&format!("The furthest standby is {behind} bytes behind"))?;
    }
    match number("oldest_snapshot_seconds").filter(|seconds| *seconds >= OLD) {
        Some(seconds) => {
            line(&format!("A snapshot is held open for {seconds} s: old rows cannot be removed"))
        }
        None => Ok(()),
    }
}

/// No query of the sender takes so long.
const OLD: u64 = 60;
