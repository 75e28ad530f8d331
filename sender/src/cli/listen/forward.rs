//! Handing an event on to a program that takes plain JSON.

use std::error::Error;
use std::time::Duration;

use reqwest::{Client, redirect};
use serde_json::Value;
use url::Url;

use crate::cli::error::CliError;

/// Where events are handed on to.
pub(super) struct Forward {
    client: Client,
    url: Url,
}

impl Forward {
    pub(super) fn to(url: Url) -> Result<Self, CliError> {
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(CliError::usage("--forward: expected an http or https URL"));
        }
        let client =
            Client::builder().timeout(PATIENCE).redirect(redirect::Policy::none()).no_proxy().build();
        let client = client.map_err(|error| CliError::failed("cannot prepare HTTP", error))?;
        Ok(Self { client, url })
    }

    /// Says why, if the program did not take it.
    pub(super) async fn post(&self, event: &Value) -> Result<(), String> {
        match self.client.post(self.url.clone()).json(event).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("{} answered {}", self.url, answer.status())),
            Err(error) => {
                let error = error.without_url();
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                Err(format!("{} cannot be reached: {error}{cause}", self.url))
            }
        }
    }
}

/// Shorter than a sender waits for us.
const PATIENCE: Duration = Duration::from_secs(10);
