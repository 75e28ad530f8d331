//! What surrounds every request: its id, its time limit, and the log of what went wrong inside.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_lc_rs::rand;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};

use super::Api;
use super::problem::{Inside, Problem};
use crate::audit;

/// Gives each request an id, which the answer and the log carry.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// Tells this process from others.
    process: u32,
    next: AtomicU32,
}

impl RequestIds {
    fn next(&self) -> String {
        format!("req_{:08x}{:08x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        let mut process = [0; 4];
        rand::fill(&mut process).expect("the system's random generator works");
        Self { process: u32::from_be_bytes(process), next: AtomicU32::new(0) }
    }
}

/// The id of a request, for those who are to name it.
#[derive(Clone, Debug)]
struct RequestId(String);

/// Around everything: the request's id, its time limit, its faults.
pub(super) async fn watch(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let id = api.request_ids().next();
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = match tokio::time::timeout(TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => timed_out().into_response(),
    };
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    if let Some(Inside { code, source }) = response.extensions_mut().remove::<Inside>() {
        let error: &dyn Error = &*source;
        tracing::error!(request = id, %method, route, code, error, "a request failed");
    }
    tracing::debug!(request = id, %method, route, status = response.status().as_u16(), "answered");
    let id = HeaderValue::from_str(&id).expect("the id is made of letters, digits and _");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Lets a request that has begun go on to its end as a task of its own: a change that is half way through when its
/// client leaves, or its time is up, is neither lost nor torn. What it changes is put down to whoever asked for it.
pub(super) async fn carry_out(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    match tokio::spawn(audit::of_request(id, next.run(request))).await {
        Ok(response) => response,
        Err(failure) => Problem::internal("api.task", failure).into_response(),
    }
}

/// Where several nodes use the store: whoever is told that something was changed may rely on all of them working by it.
pub(super) async fn everywhere(State(api): State<Api>, request: Request, next: Next) -> Response {
    let only_reads = request.method().is_safe();
    let response = next.run(request).await;
    if !only_reads && response.status().is_success() {
        api.directory.everywhere().await;
    }
    response
}

/// A node that does not know what others have made of the signing keys publishes none.
pub(super) async fn publish_trusted(State(api): State<Api>, request: Request, next: Next) -> Response {
    if api.signing_keys.are_trusted() {
        return next.run(request).await;
    }
    Problem::behind().into_response()
}

fn timed_out() -> Problem {
    let detail = "the request took too long; it may or may not have been carried out";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "api.timeout", detail)
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer than any request needs, and than a slow body may take.
const TIME: Duration = Duration::from_secs(30);
