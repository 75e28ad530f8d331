//! Publishes a JWK Set: `GET /.well-known/jwks.json`.
//!
//! Relies on the application for the snapshot of its keys. Guarantees the media type of RFC 7517 §8.5.1, a
//! strong `ETag` with `304` for those who have it, a fixed `Cache-Control`, and that scripts of any origin
//! may read the set: it is public.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use tower_http::cors::{Any, CorsLayer};

use crate::{JwkSet, WELL_KNOWN};

/// Whoever has keys to publish.
pub trait PublishedKeys: Send + Sync {
    /// The keys that are published now.
    fn published(&self) -> JwkSet;

    /// The document that is served: whoever has more to say of a key than its own members, certificates say, does it
    /// here.
    fn document(&self) -> String {
        self.published().to_json()
    }
}

/// A set that never changes.
impl PublishedKeys for JwkSet {
    fn published(&self) -> JwkSet {
        self.clone()
    }
}

/// A router that serves `keys` at [`WELL_KNOWN`]. `max_age` is how long readers may keep the set; it is part
/// of how long a new key must be published before it signs, so it must not be lowered and raised at will.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use waxseal_jwks::{JwkSet, publish};
///
/// let app = publish::router(Arc::new(JwkSet::new(vec![])), Duration::from_secs(300));
/// # let _: axum::Router = app;
/// ```
pub fn router(keys: Arc<dyn PublishedKeys>, max_age: Duration) -> Router {
    let cache_control: Arc<str> = format!("public, max-age={}", max_age.as_secs()).into();
    let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]).expose_headers([ETAG]);
    Router::new().route(WELL_KNOWN, get(serve)).layer(cors).with_state(Published { keys, cache_control })
}

#[derive(Clone)]
struct Published {
    keys: Arc<dyn PublishedKeys>,
    cache_control: Arc<str>,
}

async fn serve(State(published): State<Published>, request: HeaderMap) -> Response {
    let body = published.keys.document();
    let etag = entity_tag(&body);
    let validators = [(ETAG, etag.clone()), (CACHE_CONTROL, published.cache_control.to_string())];
    if is_cached(&request, &etag) {
        return (StatusCode::NOT_MODIFIED, validators).into_response();
    }
    (validators, [(CONTENT_TYPE, "application/jwk-set+json")], body).into_response()
}

/// A strong validator: equal bodies have equal tags, on every node.
fn entity_tag(body: &str) -> String {
    let hash = digest(&SHA256, body.as_bytes());
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// RFC 9110 §13.1.2: any listed tag, compared weakly, or `*`.
fn is_cached(request: &HeaderMap, etag: &str) -> bool {
    let lists = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
