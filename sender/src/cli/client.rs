//! The program's side of the HTTP API: every command but `init` and `serve` speaks to a running sender through it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use clap::builder::FalseyValueParser;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use url::{Host, Url};

use super::error::CliError;
use super::output::Output;
use crate::relay::Events;

/// Which sender to speak to, and how to show what it says.
#[derive(Args, Clone)]
pub struct Remote {
    /// The sender's address
    #[arg(long, env = "WAXSEAL_URL", default_value = "http://127.0.0.1:8080", global = true)]
    url: Url,
    /// An API token; better given in the environment than in a shell's history
    #[arg(long, env = "WAXSEAL_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// A PEM file with the root certificate of a sender with a private CA
    #[arg(long, env = "WAXSEAL_CA_CERT", global = true)]
    ca_cert: Option<PathBuf>,
    /// Speak plain http to another machine: whoever is on the way reads the token and may use it
    #[arg(
        long,
        env = "WAXSEAL_DANGEROUS_PLAIN_HTTP",
        value_parser = FalseyValueParser::new(),
        global = true
    )]
    dangerous_plain_http: bool,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

/// A connection to a sender's API.
pub struct Api {
    client: Client,
    base: Url,
    token: String,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the token nor what a URL may carry beside its origin.
        f.debug_struct("Remote")
            .field("origin", &self.url.origin().ascii_serialization())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("origin", &self.base.origin().ascii_serialization())
            .finish_non_exhaustive()
    }
}

impl Remote {
    /// How to show answers.
    pub fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::People }
    }

    /// Prepares to call the API.
    ///
    /// # Errors
    /// If there is no token, or the certificate file is not one.
    pub fn connect(&self) -> Result<Api, CliError> {
        let (client, token) = self.client()?;
        Ok(Api { client, base: self.url.clone(), token })
    }

    /// Prepares to post what a relay carries.
    ///
    /// # Errors
    /// As [`Remote::connect`].
    pub fn events(&self) -> Result<Events, CliError> {
        let (client, token) = self.client()?;
        Ok(Events::new(client, &self.url, &token))
    }

    fn client(&self) -> Result<(Client, String), CliError> {
        let Some(token) = self.token.clone().filter(|token| !token.is_empty()) else {
            return Err(CliError::usage(
                "no API token: set WAXSEAL_TOKEN or give --token (`waxseal init` prints one)",
            ));
        };
        let mut builder =
            Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy();
        if let Some(path) = &self.ca_cert {
            let pem = std::fs::read(path).map_err(|error| CliError::file(path, error))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|_| CliError::usage(format!("{} holds no PEM certificate", path.display())))?;
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|error| CliError::failed("cannot prepare HTTP", error))?;
        self.check_url()?;
        Ok((client, token))
    }

    /// The token is in every request: it goes over TLS, or stays on this machine.
    fn check_url(&self) -> Result<(), CliError> {
        let on_this_machine = match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        };
        match self.url.scheme() {
            "https" => Ok(()),
            "http" if on_this_machine || self.dangerous_plain_http => Ok(()),
            "http" => Err(CliError::usage(format!(
                "--url: over plain http to {}, whoever is on the way could read the API token; use https, or accept that with --dangerous-plain-http",
                self.url.host_str().unwrap_or_default()
            ))),
            _ => Err(CliError::usage(format!("--url: `{}` is not an http or https address", self.url))),
        }
    }
}

impl Api {
    /// A sender on this machine, without TLS.
    ///
    /// # Errors
    /// If `origin` is not a URL.
    pub fn local(origin: &str, token: &str) -> Result<Self, CliError> {
        let base = Url::parse(origin).map_err(|error| CliError::failed(origin, error))?;
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build();
        let client = client.map_err(|error| CliError::failed("cannot prepare HTTP", error))?;
        Ok(Self { client, base, token: token.to_owned() })
    }

    /// Reads.
    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, CliError> {
        self.call(Method::GET, path, query, None, None).await
    }

    /// Reads what is not JSON.
    pub async fn get_text(&self, path: &[&str]) -> Result<String, CliError> {
        let (_, bytes) = self.exchange(Method::GET, path, &[], None, None).await?;
        String::from_utf8(bytes.to_vec()).map_err(|error| CliError::failed("the answer is not text", error))
    }

    /// Reads what everybody may, below `/.well-known`; without the token.
    pub async fn get_well_known(&self, path: &[&str]) -> Result<String, CliError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(".well-known").extend(path);
        }
        let (_, bytes) = self.send(self.client.get(url)).await?;
        String::from_utf8(bytes.to_vec()).map_err(|error| CliError::failed("the answer is not text", error))
    }

    /// Creates, or makes something happen.
    pub async fn post(&self, path: &[&str], body: Option<Value>) -> Result<Value, CliError> {
        self.call(Method::POST, path, &[], body.map(|body| body.to_string()), None).await
    }

    /// Creates from JSON text that is passed on as it is, at most once for each key.
    pub async fn post_text(
        &self,
        path: &[&str],
        body: String,
        idempotency_key: Option<&str>,
    ) -> Result<Value, CliError> {
        self.call(Method::POST, path, &[], Some(body), idempotency_key).await
    }

    /// Replaces.
    pub async fn put(&self, path: &[&str], body: Option<Value>) -> Result<Value, CliError> {
        self.call(Method::PUT, path, &[], body.map(|body| body.to_string()), None).await
    }

    /// Changes.
    pub async fn patch(&self, path: &[&str], body: Value) -> Result<Value, CliError> {
        self.call(Method::PATCH, path, &[], Some(body.to_string()), None).await
    }

    /// Removes.
    pub async fn delete(&self, path: &[&str]) -> Result<Value, CliError> {
        self.call(Method::DELETE, path, &[], None, None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<String>,
        idempotency_key: Option<&str>,
    ) -> Result<Value, CliError> {
        let (status, bytes) = self.exchange(method, path, query, body, idempotency_key).await?;
        match serde_json::from_slice(&bytes) {
            Ok(answer) => Ok(answer),
            Err(_) if bytes.is_empty() => Ok(Value::Null),
            Err(_) => Err(CliError::no_sender(&self.base, status)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<String>,
        idempotency_key: Option<&str>,
    ) -> Result<(u16, Bytes), CliError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.send(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<(u16, Bytes), CliError> {
        let response = request.send().await.map_err(|error| CliError::unreachable(&self.base, error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| CliError::unreachable(&self.base, error))?;
        if status.is_success() {
            return Ok((status.as_u16(), bytes));
        }
        let problem = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Err(CliError::refused(status.as_u16(), problem))
    }
}

const TIMEOUT: Duration = Duration::from_secs(30);
