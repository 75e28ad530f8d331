//! The HTTP API: everything that can be done with the sender, under `/v1`.
//!
//! Relies on the [`Directory`] for what is configured, on the [`Store`] for what flows and on the [`Publisher`] for
//! new events. Guarantees that nothing is open without a token but `/health` and `/.well-known/*`; that every error is
//! a problem (RFC 9457) with a stable code and the fields at fault; that a request which is refused has changed
//! nothing; that one which has begun is carried out as a whole whether or not its client stays; and that neither
//! content nor tokens nor URLs are logged.

mod audit;
pub mod auth;
pub mod budget;
mod cancel;
mod certificates;
mod client_ca;
mod cluster;
mod consumers;
mod deliveries;
mod encryption_keys;
mod endpoint_auth;
mod endpoints;
mod event_types;
mod events;
mod groups;
mod guard;
mod health;
mod input;
mod pace;
mod problem;
mod publication;
mod read;
mod recoveries;
mod request;
mod retry;
mod search;
mod show;
mod signing_keys;
mod tokens;
mod verification;

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use http::{Method, StatusCode, Uri};
use waxseal_envelope::Issuer;
use waxseal_jwks::publish::PublishedKeys;
use waxseal_keys::Clock;

use self::auth::Caller;
use self::budget::{Budget, ByHandLimits};
use self::encryption_keys::{OfConsumer, OfEndpoint};
use self::guard::RequestIds;
use self::problem::Problem;
use crate::consumer_keys::ConsumerKeys;
use crate::credentials::authority::ClientAuthority;
use crate::data_keys::DataKeys;
use crate::directory::Directory;
use crate::engine::EngineHandle;
use crate::engine::condition::EndpointState;
use crate::engine::egress::Egress;
use crate::engine::hold::Hold;
use crate::engine::ownership::NodeView;
use crate::id::EndpointId;
use crate::publish::Publisher;
use crate::signing_keys::SigningKeys;
use crate::store::{Store, StoreError};

/// Whoever makes deliveries, as the API needs to know them: this node and, where several share the store, the others.
#[async_trait]
pub trait Holds: fmt::Debug + Send + Sync {
    /// The endpoints to which nothing is sent at present, and why.
    async fn holds(&self) -> Result<Vec<(EndpointId, Hold)>, StoreError>;

    /// How these endpoints do; one of which nothing is known does well and may be left out.
    async fn states(
        &self,
        endpoints: &[EndpointId],
    ) -> Result<HashMap<EndpointId, EndpointState>, StoreError>;

    /// What this node is, where it shares the store with others.
    fn node(&self) -> Option<NodeView> {
        None
    }
}

#[async_trait]
impl Holds for EngineHandle {
    async fn holds(&self) -> Result<Vec<(EndpointId, Hold)>, StoreError> {
        self.all_holds().await
    }

    async fn states(
        &self,
        endpoints: &[EndpointId],
    ) -> Result<HashMap<EndpointId, EndpointState>, StoreError> {
        Self::states(self, endpoints).await
    }

    fn node(&self) -> Option<NodeView> {
        Self::node(self)
    }
}

/// What the API stands on.
#[derive(Clone)]
pub struct ApiParts {
    /// What is configured.
    pub directory: Arc<Directory>,
    /// What flows.
    pub store: Arc<dyn Store>,
    /// The keys of response excerpts.
    pub data_keys: Arc<DataKeys>,
    /// Accepts events.
    pub publisher: Publisher,
    /// Fetches the keys of consumers.
    pub consumer_keys: Arc<ConsumerKeys>,
    /// The sender's own certificate authority.
    pub client_authority: Arc<ClientAuthority>,
    /// The sender's own keys.
    pub signing_keys: Arc<SigningKeys>,
    /// Says which URLs may be called.
    pub egress: Arc<Egress>,
    /// Says which endpoints are on hold.
    pub engine: Arc<dyn Holds>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The metrics, as the Prometheus text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// How long receivers may cache the published signing keys.
    pub jwks_max_age: Duration,
    /// Who signs, as tokens say it.
    pub issuer: Issuer,
    /// How much consumers may ask for by hand with tokens of their own.
    pub by_hand: ByHandLimits,
}

impl fmt::Debug for ApiParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiParts").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// The whole API, `/health`, `/metrics` and `/.well-known/jwks.json`.
pub fn router(parts: ApiParts) -> Router {
    let well_known = well_known(&parts);
    let api = Api::new(parts);
    // Publishing sees to it by itself that a request which has begun is carried out; see `Publisher`.
    let publishing = Router::new()
        .route("/v1/events", post(events::publish))
        .route("/v1/events/batch", post(events::publish_batch).layer(DefaultBodyLimit::max(MAX_BATCH_BODY)));
    let others = configuration()
        .merge(flow())
        .merge(administration())
        .layer(from_fn_with_state(api.clone(), guard::everywhere))
        .layer(from_fn_with_state(api.clone(), guard::carry_out));
    let well_known = well_known.layer(from_fn_with_state(api.clone(), guard::publish_trusted));
    finished(publishing.merge(others).merge(well_known), api)
}

/// What a node serves that makes deliveries only: `/health`, `/metrics` and `/.well-known/jwks.json`.
pub fn router_without_api(parts: ApiParts) -> Router {
    let well_known = well_known(&parts);
    let api = Api::new(parts);
    let well_known = well_known.layer(from_fn_with_state(api.clone(), guard::publish_trusted));
    finished(for_those_who_run_it().merge(well_known), api)
}

fn well_known(parts: &ApiParts) -> Router<Api> {
    let published: Arc<dyn PublishedKeys> = Arc::<SigningKeys>::clone(&parts.signing_keys);
    waxseal_jwks::publish::router(published, parts.jwks_max_age).with_state(())
}

/// With what holds for every request.
fn finished(routes: Router<Api>, api: Api) -> Router {
    routes
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        // As one layer: each has its price in every request.
        .layer((from_fn_with_state(api.clone(), guard::watch), DefaultBodyLimit::max(MAX_BODY)))
        .with_state(api)
}

fn configuration() -> Router<Api> {
    Router::new()
        .route("/v1/consumers", get(consumers::list).post(consumers::create))
        .route("/v1/consumers/{id}", get(consumers::get).patch(consumers::update).delete(consumers::delete))
        .merge(encryption_key_routes::<OfConsumer>("/v1/consumers/{id}/encryption-keys"))
        .route("/v1/groups", get(groups::list).post(groups::create))
        .route("/v1/groups/{name}", get(groups::get).delete(groups::delete))
        .route("/v1/groups/{name}/members/{consumer}", put(groups::join).delete(groups::leave))
        .route("/v1/event-types", get(event_types::list).post(event_types::create))
        .route(
            "/v1/event-types/{name}",
            get(event_types::get).patch(event_types::update).delete(event_types::delete),
        )
        .route("/v1/endpoints", get(endpoints::list).post(endpoints::create))
        .route("/v1/endpoints/{id}", get(endpoints::get).patch(endpoints::update).delete(endpoints::delete))
        .route("/v1/endpoints/{id}/pause", post(endpoints::pause))
        .route("/v1/endpoints/{id}/resume", post(endpoints::resume))
        .route("/v1/endpoints/{id}/verify", post(verification::verify))
        .merge(encryption_key_routes::<OfEndpoint>("/v1/endpoints/{id}/encryption-keys"))
}

fn encryption_key_routes<O: encryption_keys::Owned>(path: &str) -> Router<Api> {
    let set =
        get(encryption_keys::get::<O>).put(encryption_keys::put::<O>).delete(encryption_keys::delete::<O>);
    Router::new()
        .route(path, set)
        .route(&format!("{path}/{{thumbprint}}"), delete(encryption_keys::remove::<O>))
        .route(&format!("{path}/{{thumbprint}}/admit"), post(encryption_keys::admit::<O>))
}

fn flow() -> Router<Api> {
    Router::new()
        .route("/v1/events/{id}", get(events::get))
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/{id}", get(deliveries::get))
        .route("/v1/deliveries/{id}/attempts", get(deliveries::attempts))
        .route("/v1/deliveries/{id}/redeliver", post(deliveries::redeliver))
        .route("/v1/deliveries/{id}/cancel", post(cancel::one))
        .route("/v1/endpoints/{id}/cancel", post(cancel::of_endpoint))
        .route("/v1/endpoints/{id}/test", post(endpoints::test))
        .route("/v1/endpoints/{id}/recover", post(recoveries::create))
        .route("/v1/recoveries", get(recoveries::list))
        .route("/v1/recoveries/{id}", get(recoveries::get))
        .route("/v1/recoveries/{id}/cancel", post(recoveries::cancel))
}

fn administration() -> Router<Api> {
    Router::new()
        .route("/v1/audit", get(audit::list))
        .route("/v1/client-ca", get(client_ca::get))
        .route("/v1/cluster", get(cluster::get))
        .route("/.well-known/waxseal/signing-keys/{file}", get(certificates::get))
        .route("/v1/signing-keys", get(signing_keys::list).post(signing_keys::import))
        .route("/v1/signing-keys/rotate", post(signing_keys::rotate))
        .route("/v1/signing-keys/{kid}/activate", post(signing_keys::activate))
        .route("/v1/signing-keys/{kid}/revoke", post(signing_keys::revoke))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::delete))
        .merge(for_those_who_run_it())
}

fn for_those_who_run_it() -> Router<Api> {
    Router::new().route("/health", get(health::health)).route("/metrics", get(health::metrics))
}

/// The parts, shared by every request.
#[derive(Clone, Debug)]
pub(crate) struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: ApiParts,
    request_ids: RequestIds,
    budget: Budget,
}

impl Api {
    fn new(parts: ApiParts) -> Self {
        let budget = Budget::new(parts.by_hand);
        Self(Arc::new(Shared { parts, request_ids: RequestIds::default(), budget }))
    }

    fn request_ids(&self) -> &RequestIds {
        &self.0.request_ids
    }

    fn budget(&self) -> &Budget {
        &self.0.budget
    }
}

impl Deref for Api {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0.parts
    }
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!("there is nothing at {}", uri.path().chars().take(128).collect::<String>());
    Problem::new(StatusCode::NOT_FOUND, "api.no_such_route", detail)
}

async fn method_not_allowed(method: Method) -> Problem {
    let method = method.as_str().chars().take(16).collect::<String>();
    let detail = format!("{method} is not possible here; the `Allow` header says what is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "api.method_not_allowed", detail)
}

/// The largest event, 128 KiB of JSON, and what may stand around it.
const MAX_BODY: usize = 256 * 1024;
const MAX_BATCH_BODY: usize = 4 * 1024 * 1024;
