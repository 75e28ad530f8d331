//! One call of the sender's API: a batch of events, and what became of each.
//!
//! Guarantees that a call ends within two seconds, as a transaction is open meanwhile; that it follows no redirect, with
//! its token; and that an answer of any size takes bounded memory.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, Response};
use url::Url;
use zeroize::Zeroizing;

use super::verdict::{self, Fate, RefusedCall};

/// Where a sender accepts events.
pub struct Events {
    client: Client,
    url: Url,
    token: Zeroizing<String>,
}

impl Events {
    /// Calls the sender at `base` with a client that follows no redirect.
    pub fn new(client: Client, base: &Url, token: &str) -> Self {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v1", "events", "batch"]);
        }
        Self { client, url, token: Zeroizing::new(token.to_owned()) }
    }

    /// Posts events, each as the text of a JSON object.
    pub(super) async fn post(&self, events: &[String]) -> Result<Vec<Fate>, RefusedCall> {
        let body = format!("{{\"events\":[{}]}}", events.join(","));
        let call = async {
            let request = self.client.post(self.url.clone()).bearer_auth(&*self.token);
            let request = request.header("content-type", "application/json").body(body);
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok((status, read(response).await?))
        };
        match tokio::time::timeout(TIME, call).await {
            Ok(Ok((status, body))) => verdict::read(status, &body, events.len()),
            Ok(Err(error)) => Err(unreachable(error)),
            Err(_) => Err(RefusedCall::Late),
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("origin", &self.url.origin().ascii_serialization())
            .finish_non_exhaustive()
    }
}

/// A body up to the longest that a sender answers; what is longer is cut off, and then is no JSON.
async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says the most; the URL may carry more than its origin.
fn unreachable(error: reqwest::Error) -> RefusedCall {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    RefusedCall::Unreachable(cause.to_string())
}

/// A transaction is open in somebody else's database.
const TIME: Duration = Duration::from_secs(2);

/// A hundred events, each with thousands of deliveries.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
