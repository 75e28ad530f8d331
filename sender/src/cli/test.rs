//! `waxseal endpoint test`: sends a test event, waits for its first attempt, and says how it went.

use std::time::Duration;

use serde_json::Value;

use super::client::Api;
use super::error::CliError;
use super::output::{Output, line};

/// Sends the event and waits.
pub(super) async fn run(api: &Api, output: Output, endpoint: &str, wait: Duration) -> Result<(), CliError> {
    let sent = api.post(&["endpoints", endpoint, "test"], None).await?;
    let id = text(&sent, "id").to_owned();
    let attempted = tokio::time::timeout(wait, until_attempted(api, &id)).await;
    let Ok(delivery) = attempted else {
        return Err(CliError::plain(waiting(api, endpoint, &id, wait).await?));
    };
    let delivery = delivery?;
    let attempts = api.get(&["deliveries", &id, "attempts"], &[]).await?;
    match output {
        Output::Json => {
            let mut shown = delivery.clone();
            shown["attempts"] = attempts.get("data").cloned().unwrap_or_default();
            output.item(&shown)?;
        }
        Output::People => {
            line(&format!("{} {}", id, text(&delivery, "state")))?;
            output.list(
                &attempts,
                &["number", "duration_ms", "status", "result", "response_excerpt", "next_at"],
            )?;
        }
    }
    match text(&delivery, "state") {
        "delivered" => Ok(()),
        state => Err(CliError::plain(format!("the test event was not taken: it is {state}"))),
    }
}

/// Asks until an attempt is on record, or the delivery is over without one.
async fn until_attempted(api: &Api, id: &str) -> Result<Value, CliError> {
    loop {
        let delivery = api.get(&["deliveries", id], &[]).await?;
        let attempted = delivery.get("attempts_made").and_then(Value::as_u64).unwrap_or(0) > 0;
        if attempted || text(&delivery, "state") != "pending" {
            return Ok(delivery);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Why nothing has happened, as far as the sender knows.
async fn waiting(api: &Api, endpoint: &str, id: &str, wait: Duration) -> Result<String, CliError> {
    let endpoint = api.get(&["endpoints", endpoint], &[]).await?;
    let because = match (endpoint["status"]["state"].as_str(), endpoint["hold"].as_str()) {
        (Some("paused"), _) => "the endpoint is paused".to_owned(),
        (_, Some(hold)) => format!("the endpoint is held: {hold}"),
        _ => "others are made first".to_owned(),
    };
    let waited = humantime::format_duration(wait);
    Ok(format!(
        "no attempt was made within {waited}: {because}. The delivery {id} waits for ten minutes at most"
    ))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

const ASK_EVERY: Duration = Duration::from_millis(100);
