//! The flags of an endpoint's pace.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::error::CliError;

/// How fast and in which order an endpoint is delivered to.
#[derive(Debug, Args)]
pub struct PaceArgs {
    /// POSTs a second on average, with what may come at once after a slash: `10`, `0.5`, `10/50`; `none` for no limit
    #[arg(long, value_name = "RATE[/BURST]")]
    rate_limit: Option<String>,
    /// POSTs under way at once, from 1 to 64; `none` for what the sender's configuration says
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<String>,
    /// Whether a delivery that fails holds up those behind it
    #[arg(long)]
    order: Option<OrderArg>,
    /// How long it may do nothing but fail before it is paused: `5d`, `never`; `none` for what the sender's
    /// configuration says
    #[arg(long, value_name = "TIME")]
    disable_after: Option<String>,
}

/// Which delivery is next.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OrderArg {
    /// What is due first; a retry holds up nobody
    Any,
    /// Strictly as accepted: one at a time, and what fails is repeated before anything behind it
    Fifo,
}

impl PaceArgs {
    /// Adds what was given to a request.
    ///
    /// # Errors
    /// If a number is none.
    pub fn put_into(self, body: &mut Value) -> Result<(), CliError> {
        if let Some(text) = self.rate_limit {
            body["rate_limit"] = unless_none(&text, rate_limit)?;
        }
        if let Some(text) = self.concurrency {
            let count = |text: &str| number(text, "--concurrency").map(|count: u64| json!(count));
            body["concurrency"] = unless_none(&text, count)?;
        }
        if let Some(order) = self.order {
            body["order"] = match order {
                OrderArg::Any => json!("any"),
                OrderArg::Fifo => json!("fifo"),
            };
        }
        if let Some(text) = self.disable_after {
            body["disable_after"] = unless_none(&text, |text| Ok(json!(text)))?;
        }
        Ok(())
    }
}

/// `null` clears.
fn unless_none(text: &str, read: impl FnOnce(&str) -> Result<Value, CliError>) -> Result<Value, CliError> {
    if text == "none" { Ok(Value::Null) } else { read(text) }
}

fn rate_limit(text: &str) -> Result<Value, CliError> {
    let (rate, burst) = match text.split_once('/') {
        Some((rate, burst)) => (rate, Some(number::<u64>(burst, "--rate-limit: the burst")?)),
        None => (text, None),
    };
    let rate: f64 = number(rate, "--rate-limit")?;
    Ok(json!({ "per_second": rate, "burst": burst }))
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, CliError> {
    text.parse().map_err(|_| CliError::usage(format!("{name}: `{text}` is not a number that it can be")))
}
