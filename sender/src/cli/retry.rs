//! The retry schedule of an endpoint on the command line.

use clap::Args;
use serde_json::{Value, json};

use super::publish::span;

/// When failed attempts to an endpoint are repeated.
#[derive(Args, Debug)]
pub struct RetryArgs {
    /// Its own retry schedule: the waits after each failed attempt (`5s,30s,5m`), `none` for one attempt alone, or
    /// `default` for the sender's
    #[arg(long, value_name = "WAITS", value_parser = parse)]
    retry: Option<Schedule>,
    /// By how much of itself a wait varies either way, from 0 to 1
    #[arg(long, value_name = "PART", requires = "retry")]
    retry_jitter: Option<f64>,
}

/// What `--retry` says.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Schedule {
    Default,
    Waits(Vec<u64>),
}

impl RetryArgs {
    /// The member `retry` of a request, if one was given.
    pub fn member(&self) -> Option<Value> {
        match self.retry.as_ref()? {
            Schedule::Default => Some(Value::Null),
            Schedule::Waits(waits) => {
                let mut retry = json!({ "schedule_seconds": waits });
                if let Some(jitter) = self.retry_jitter {
                    retry["jitter"] = json!(jitter);
                }
                Some(retry)
            }
        }
    }
}

fn parse(text: &str) -> Result<Schedule, String> {
    match text {
        "default" => return Ok(Schedule::Default),
        "none" => return Ok(Schedule::Waits(Vec::new())),
        _ => {}
    }
    let wait = |part: &str| match span(part.trim())? {
        wait if wait.subsec_nanos() == 0 => Ok(wait.as_secs()),
        _ => Err(format!("`{part}`: expected whole seconds")),
    };
    text.split(',').map(wait).collect::<Result<_, _>>().map(Schedule::Waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_durations_with_commas() {
        assert_eq!(parse("5s,30s, 5m,24h"), Ok(Schedule::Waits(vec![5, 30, 300, 86_400])));
        assert_eq!(parse("none"), Ok(Schedule::Waits(vec![])));
        assert_eq!(parse("default"), Ok(Schedule::Default));
        for bad in ["", "5", "5s,,6s", "soon", "1500ms"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
