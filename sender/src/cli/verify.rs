//! `waxseal endpoint verify`: has an endpoint asked whether it wants events, and waits for what comes of it.

use std::time::Duration;

use serde_json::Value;

use super::client::Api;
use super::error::CliError;
use super::output::Output;

/// Asks, and waits until it is known that the endpoint gets events or that it has not answered as it should.
pub(super) async fn run(api: &Api, output: Output, endpoint: &str, wait: Duration) -> Result<(), CliError> {
    api.post(&["endpoints", endpoint, "verify"], None).await?;
    let known = tokio::time::timeout(wait, until_known(api, endpoint)).await;
    let shown = match known {
        Ok(shown) => shown?,
        Err(_) => api.get(&["endpoints", endpoint], &[]).await?,
    };
    let verification = &shown["verification"];
    output.item(verification)?;
    let (status, code) = (text(verification, "status"), text(verification, "code"));
    match (status, code) {
        ("trusted" | "proven", _) => Ok(()),
        ("failed", _) => Err(CliError::plain(format!(
            "the endpoint was asked in vain; correct its server, then run `waxseal endpoint verify {endpoint}` again"
        ))),
        (_, NOT_CONFIRMED) => Err(CliError::plain(
            "the endpoint has not answered as it should; it is asked again by itself, `waxseal endpoint show` shows it",
        )),
        (_, "") => {
            let waited = humantime::format_duration(wait);
            Err(CliError::plain(format!("nothing is known after {waited}; `waxseal endpoint show` shows it")))
        }
        (_, code) => Err(CliError::plain(format!("the endpoint cannot be asked yet: {code}"))),
    }
}

async fn until_known(api: &Api, endpoint: &str) -> Result<Value, CliError> {
    loop {
        let shown = api.get(&["endpoints", endpoint], &[]).await?;
        let verification = &shown["verification"];
        if text(verification, "status") != "pending" || text(verification, "code") == NOT_CONFIRMED {
            return Ok(shown);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

const NOT_CONFIRMED: &str = "verification.not_confirmed";
const ASK_EVERY: Duration = Duration::from_millis(100);
