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
            Output::People => words(&answer).iter().try_for_each(|said| line(said)),
        }
    }
}

/// What there is to say of the database and of shards beside the list of nodes.
fn words(answer: &Value) -> Vec<String> {
    let number = |name: &str| answer.get(name).and_then(Value::as_u64);
    let unowned = number("unowned_shards").filter(|unowned| *unowned > 0);
    let unowned =
        unowned.map(|unowned| format!("{unowned} shards have no owner: nothing of them is delivered"));
    let standby = match answer.get("synchronous_standby").and_then(Value::as_bool) {
        Some(true) => "What is acknowledged is on two machines",
        Some(false) | None => "No synchronous standby: what is acknowledged is on one machine only",
    };
    let behind = number("standby_lag_bytes");
    let behind = behind.map(|behind| format!("The furthest standby is {behind} bytes behind"));
    let snapshot = number("oldest_snapshot_seconds").map(|seconds| match seconds {
        OLD.. => format!("A snapshot is held open for {seconds} s: old rows cannot be removed"),
        _ => format!("The oldest snapshot is {seconds} s old"),
    });
    [unowned, Some(standby.to_owned()), behind, snapshot].into_iter().flatten().collect()
}

/// No query of the sender takes so long.
const OLD: u64 = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_that_does_well_is_told_of_in_three_lines() {
        let answer = json!({
            "data": [], "unowned_shards": 0, "synchronous_standby": true, "oldest_snapshot_seconds": 0,
            "standby_lag_bytes": 0,
        });
        let told = [
            "What is acknowledged is on two machines",
            "The furthest standby is 0 bytes behind",
            "The oldest snapshot is 0 s old",
        ];
        assert_eq!(words(&answer), told);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let answer = json!({
            "data": [], "unowned_shards": 3, "synchronous_standby": false, "oldest_snapshot_seconds": 60,
            "standby_lag_bytes": null,
        });
        let told = [
            "3 shards have no owner: nothing of them is delivered",
            "No synchronous standby: what is acknowledged is on one machine only",
            "A snapshot is held open for 60 s: old rows cannot be removed",
        ];
        assert_eq!(words(&answer), told);
    }
}
