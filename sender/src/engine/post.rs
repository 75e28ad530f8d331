//! One POST of a token, and what came back.
//!
//! Relies on [`Egress`] for the guard and the time limits. Guarantees that at most [`EXCERPT_LIMIT`] bytes of an
//! answer are kept, that reading an answer ends soon whatever its sender does, and that once a status has arrived the
//! attempt has an answer: trouble with the body that follows changes nothing about it.
//!
//! A short answer is read to its end, so that its connection can be used again; a longer one costs the connection.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method};
use reqwest::{Request, Response};
use serde_json::Value;
use url::Url;
use waxseal_keys::{Timestamp, strict_json};

use super::egress::guard::UrlRefused;
use super::egress::lookup::LookupFailed;
use super::egress::{Access, Egress, session};
use crate::descriptors;

/// What a receiver answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `err` of a JSON error body (RFC 8935 §2.3), only ever with status 400.
    pub err: Option<String>,
    /// How long it asks us to wait.
    pub retry_after: Option<RetryAfter>,
    /// What it thinks the time is.
    pub date: Option<Timestamp>,
    /// The beginning of its body.
    pub excerpt: Vec<u8>,
    /// Whether that is all of it.
    pub body: BodyEnd,
}

/// How much of an answer's body is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyEnd {
    /// All of it is in the excerpt.
    Whole,
    /// There was more, or it broke off.
    Cut,
}

/// `Retry-After` in either of its forms (RFC 9110 §10.2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryAfter {
    /// So much later. Also made of a date, where the answer says what time it was there: skew then does not matter.
    In(Duration),
    /// Not before this.
    At(Timestamp),
}

/// Why a POST brought no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The URL, or every address of its host, is one that we do not send to.
    #[error(transparent)]
    Refused(#[from] UrlRefused),
    /// The host's name has no address.
    #[error("the host's name cannot be resolved")]
    Resolve(#[source] BoxError),
    /// Too many other names wait for name servers that do not answer.
    #[error("the host's name was not looked up: too many others are being resolved")]
    ResolverBusy,
    /// This process may not open another connection. That says nothing of the host.
    #[error("no more files can be opened by this process")]
    OutOfDescriptors,
    /// No connection.
    #[error("the host cannot be connected to")]
    Connect(#[source] BoxError),
    /// No TLS session: an untrusted certificate, a missing pin, no common version, or a certificate of ours that the
    /// server does not take. Its code says which.
    #[error("no TLS session with the host")]
    Tls(#[source] rustls::Error),
    /// No answer in time.
    #[error("no answer within the time limit")]
    Timeout,
    /// The connection broke, or what came back is not HTTP.
    #[error("the exchange broke off, or the answer is not HTTP")]
    Protocol(#[source] BoxError),
}

/// What an HTTP client has to say beside our own words, for logs.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Egress {
    /// Posts a token (RFC 8935 §2.1) and takes the answer.
    ///
    /// # Errors
    /// [`PostError`], if there was no answer.
    pub async fn post(&self, url: &Url, token: impl Into<Bytes>) -> Result<Answer, PostError> {
        self.post_with(url, token, None).await
    }

    /// As [`Egress::post`], with what the endpoint wants to be shown.
    ///
    /// # Errors
    /// [`PostError`], if there was no answer.
    pub async fn post_with(
        &self,
        url: &Url,
        token: impl Into<Bytes>,
        access: Option<&Access>,
    ) -> Result<Answer, PostError> {
        self.post_bytes(url, token.into(), access).await
    }

    async fn post_bytes(
        &self,
        url: &Url,
        token: Bytes,
        access: Option<&Access>,
    ) -> Result<Answer, PostError> {
        let client = self.client_for(url, access.and_then(Access::client))?;
        let mut request = Request::new(Method::POST, url.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/secevent+jwt"));
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(access) = access {
            access.add_to(request.headers_mut());
        }
        *request.body_mut() = Some(token.into());
        Ok(Answer::read(client.execute(request).await?).await)
    }
}

impl Answer {
    /// An answer of which nothing but the status is known.
    pub fn of_status(status: u16) -> Self {
        Self { status, err: None, retry_after: None, date: None, excerpt: Vec::new(), body: BodyEnd::Whole }
    }

    /// By how many seconds the receiver's clock is ahead of ours (behind: less than nothing), if that is far enough to
    /// make it refuse a fresh `iat`.
    pub fn clock_skew_at(&self, now: Timestamp) -> Option<i32> {
        let date = self.date?;
        let (ahead, behind) = (date.duration_since(now), now.duration_since(date));
        let seconds = |span: Duration| i32::try_from(span.as_secs()).unwrap_or(i32::MAX);
        let skew = if behind.is_zero() { seconds(ahead) } else { -seconds(behind) };
        (ahead.max(behind) > NOTABLE_SKEW).then_some(skew)
    }

    async fn read(mut response: Response) -> Self {
        let date = header(&response, DATE).and_then(http_date);
        let mut answer = Self {
            retry_after: header(&response, RETRY_AFTER).and_then(|field| retry_after(field, date)),
            date,
            ..Self::of_status(response.status().as_u16())
        };
        // The answer that counts for speed: `202` with nothing in it.
        if response.content_length() == Some(0) {
            return answer;
        }
        let is_json = header(&response, CONTENT_TYPE).is_some_and(is_json);
        let reading = tokio::time::timeout(BODY_TIME, read_body(&mut response, &mut answer.excerpt));
        answer.body = reading.await.unwrap_or(BodyEnd::Cut);
        if answer.body == BodyEnd::Whole && is_json && answer.status == 400 {
            answer.err = err_member(&answer.excerpt);
        }
        answer
    }
}

impl PostError {
    /// A stable code for attempts, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "post.url",
            Self::Resolve(_) => "post.resolve",
            Self::ResolverBusy => "post.resolver_busy",
            Self::OutOfDescriptors => "post.out_of_descriptors",
            Self::Connect(_) => "post.connect",
            Self::Tls(error) => session::code(error),
            Self::Timeout => "post.timeout",
            Self::Protocol(_) => "post.protocol",
        }
    }
}

impl From<reqwest::Error> for PostError {
    /// Finds in the chain of causes what the guard or TLS said; the HTTP client passes both on wrapped.
    fn from(error: reqwest::Error) -> Self {
        if let Some(refused) = cause::<UrlRefused>(&error) {
            return Self::Refused(refused.clone());
        }
        if let Some(LookupFailed::Busy) = cause(&error) {
            return Self::ResolverBusy;
        }
        // I/O errors come wrapped in others.
        if causes(&error).filter_map(|cause| cause.downcast_ref()).any(descriptors::are_out) {
            return Self::OutOfDescriptors;
        }
        if let Some(tls) = cause::<rustls::Error>(&error) {
            return Self::Tls(tls.clone());
        }
        let (timeout, resolve, connect) = (error.is_timeout(), error.is_dns(), error.is_connect());
        let source = error.without_url().into();
        match () {
            () if timeout => Self::Timeout,
            () if resolve => Self::Resolve(source),
            () if connect => Self::Connect(source),
            () => Self::Protocol(source),
        }
    }
}

fn cause<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The error itself and everything that it was made of.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            // `source()` of an I/O error skips the error that it was made of.
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// Keeps the beginning of a body and reads on to its end, if that is near.
async fn read_body(response: &mut Response, excerpt: &mut Vec<u8>) -> BodyEnd {
    let mut total = 0_usize;
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) if total == excerpt.len() => return BodyEnd::Whole,
            Ok(None) | Err(_) => return BodyEnd::Cut,
        };
        let room = EXCERPT_LIMIT.saturating_sub(excerpt.len());
        excerpt.extend_from_slice(&chunk[..room.min(chunk.len())]);
        total = total.saturating_add(chunk.len());
        if total > DRAIN_LIMIT {
            return BodyEnd::Cut;
        }
    }
}

/// The `err` of an error body; other members, `description` among them, are of no consequence.
fn err_member(body: &[u8]) -> Option<String> {
    match strict_json::parse_object(body, ERROR_DEPTH).ok()??.remove("err")? {
        Value::String(err) => Some(err),
        _ => None,
    }
}

fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn retry_after(field: &str, date: Option<Timestamp>) -> Option<RetryAfter> {
    let field = field.trim();
    if field.bytes().all(|byte| byte.is_ascii_digit()) && !field.is_empty() {
        // More digits than fit are still a wish for a very long time; the verdict caps it.
        return Some(RetryAfter::In(Duration::from_secs(field.parse().unwrap_or(u64::MAX))));
    }
    let at = http_date(field)?;
    Some(date.map_or(RetryAfter::At(at), |date| RetryAfter::In(at.duration_since(date))))
}

fn http_date(field: &str) -> Option<Timestamp> {
    let since_epoch = httpdate::parse_http_date(field).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).ok()?))
}

/// How much of an answer's body is kept.
pub const EXCERPT_LIMIT: usize = 4 * 1024;

/// How much of an answer's body is read to keep its connection; beyond, a new connection is cheaper.
const DRAIN_LIMIT: usize = 64 * 1024;

/// How long a body may take once its head has arrived. It decides nothing but an error's name.
const BODY_TIME: Duration = Duration::from_secs(2);

/// An error body is flat; the rest is slack for what a receiver adds.
const ERROR_DEPTH: usize = 8;

/// The receiver's tolerance for an `iat` in the future (wire format, section 5).
const NOTABLE_SKEW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_has_two_forms() {
        let date = Some(Timestamp::from_seconds(1_795_293_600));
        let later = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(1_795_293_690));
        let seconds = |seconds| Some(RetryAfter::In(Duration::from_secs(seconds)));
        assert_eq!(retry_after("120", None), seconds(120));
        assert_eq!(retry_after(" 0 ", None), seconds(0));
        assert_eq!(retry_after("99999999999999999999999", None), seconds(u64::MAX));
        assert_eq!(retry_after(&later, None), Some(RetryAfter::At(Timestamp::from_seconds(1_795_293_690))));
        assert_eq!(retry_after(&later, date), seconds(90));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", date), seconds(0));
        for bad in ["", "soon", "-1", "1.5", "12 s"] {
            assert_eq!(retry_after(bad, date), None, "{bad:?}");
        }
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        assert!(is_json("application/json"));
        assert!(is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("text/html"));
        assert!(!is_json("application/problem+json"));
    }

    #[test]
    fn only_a_notable_skew_is_named() {
        let mut answer = Answer::of_status(400);
        let now = Timestamp::from_seconds(1_000);
        assert_eq!(answer.clock_skew_at(now), None);
        answer.date = Some(Timestamp::from_seconds(940));
        assert_eq!(answer.clock_skew_at(now), None);
        answer.date = Some(Timestamp::from_seconds(1_061));
        assert_eq!(answer.clock_skew_at(now), Some(61));
        answer.date = Some(Timestamp::from_seconds(900));
        assert_eq!(answer.clock_skew_at(now), Some(-100));
    }
}
