//! [`ReqwestGet`]: the fetcher for those who have no client of their own.
//!
//! Relies on `reqwest` with rustls. Guarantees: no redirect is followed, no proxy variable obeyed, no
//! body unpacked, and only what [`is_secure_url`] allows is requested.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap,
    header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_TYPE},
};
use reqwest::{Client, Response, redirect::Policy};
use url::Url;

use crate::{FetchError, HttpGet, HttpGetFuture, HttpResponse, is_secure_url};

/// An [`HttpGet`] over reqwest.
#[derive(Clone)]
pub struct ReqwestGet {
    client: Client,
}

impl ReqwestGet {
    /// A client with the rules of this module.
    pub fn new() -> Result<Self, FetchError> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .build()
            .map_err(transport)?;
        Ok(Self { client })
    }

    /// The caller's own client, which must not follow redirects.
    pub fn from_client(client: Client) -> Self {
        Self { client }
    }

    async fn fetch(
        &self,
        url: &Url,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<HttpResponse, FetchError> {
        if !is_secure_url(url) {
            return Err(FetchError::InsecureUrl);
        }
        let request = self.client.get(url.clone()).header(ACCEPT, ACCEPTED).timeout(timeout);
        HttpResponse::read(request.send().await.map_err(transport)?, max_bytes).await
    }
}

impl HttpResponse {
    /// Reads an answer that a client of reqwest got: for an [`HttpGet`] of one's own.
    ///
    /// # Errors
    /// [`FetchError::TooLarge`] beyond `max_bytes`; [`FetchError::Timeout`], [`FetchError::Transport`].
    pub async fn read(response: Response, max_bytes: usize) -> Result<Self, FetchError> {
        Ok(Self {
            status: response.status().as_u16(),
            content_type: single(response.headers(), &CONTENT_TYPE).map(str::to_owned),
            max_age: max_age(response.headers()),
            body: read(response, max_bytes).await?,
        })
    }
}

impl fmt::Debug for ReqwestGet {
    /// Nothing of the client: reqwest prints its default headers, and they may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestGet").finish_non_exhaustive()
    }
}

impl HttpGet for ReqwestGet {
    fn get<'a>(&'a self, url: &'a Url, max_bytes: usize, timeout: Duration) -> HttpGetFuture<'a> {
        Box::pin(self.fetch(url, max_bytes, timeout))
    }
}

/// Stops reading as soon as the limit is passed: `Content-Length` is only what the peer says.
async fn read(mut response: Response, max_bytes: usize) -> Result<Bytes, FetchError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(FetchError::TooLarge { limit: max_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The value of a header that occurs exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What is left of `Cache-Control: max-age` after the time in shared caches (RFC 9111 §4.2). An answer
/// that must not be reused is as old as can be at once; the cooldown still spaces the fetches.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let mut said = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(Duration::ZERO),
                "max-age" => said = argument.trim().trim_matches('"').parse().ok(),
                _ => {}
            }
        }
    }
    let age = single(headers, &AGE).and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    said.map(|seconds: u64| Duration::from_secs(seconds.saturating_sub(age)))
}

/// reqwest's errors print the URL, and a URL may hold a token.
fn transport(error: reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::Timeout
    } else {
        FetchError::Transport(Box::new(error.without_url()))
    }
}

const ACCEPTED: &str = "application/jwk-set+json, application/json";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn max_age_is_what_is_left_of_it() {
        let seconds = |pairs: &[_]| max_age(&headers(pairs)).map(|age| age.as_secs());
        assert_eq!(seconds(&[]), None);
        assert_eq!(seconds(&[(CACHE_CONTROL, "public, Max-Age=300")]), Some(300));
        assert_eq!(
            seconds(&[(CACHE_CONTROL, "public"), (CACHE_CONTROL, "max-age=300"), (AGE, "100")]),
            Some(200)
        );
        assert_eq!(seconds(&[(CACHE_CONTROL, "max-age=10"), (AGE, "100")]), Some(0));
        assert_eq!(seconds(&[(CACHE_CONTROL, "max-age=300, no-store")]), Some(0));
        assert_eq!(seconds(&[(CACHE_CONTROL, "max-age=soon")]), None);
    }

    #[test]
    fn a_repeated_header_counts_as_none() {
        let twice = headers(&[(CONTENT_TYPE, "application/json"), (CONTENT_TYPE, "text/html")]);
        assert_eq!(single(&twice, &CONTENT_TYPE), None);
    }

    #[test]
    fn debug_shows_no_credentials_of_the_callers_client() {
        let token = headers(&[(http::header::AUTHORIZATION, "Bearer s3cret")]);
        let client = Client::builder().default_headers(token).build().unwrap();
        let text = format!("{:?}", ReqwestGet::from_client(client));
        assert!(!text.contains("s3cret"), "{text}");
    }
}
