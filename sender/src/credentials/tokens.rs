//! Tokens from authorization servers: kept for the endpoint that they were fetched for, renewed before they end.
//!
//! - A token belongs to one endpoint and to the settings that it was fetched with; no other endpoint is shown it.
//! - It is renewed when a quarter of its life, at most a minute, is left. One caller asks; the others use the old one
//!   as long as it lasts, and wait where there is none. If the renewal fails the old one is used to its end.
//! - After a failure the endpoint's settings are tried again a minute later, then after two, four, up to fifteen.
//! - Of one consumer's endpoints one host hears, while it fails, at most once a minute, and five times from settings
//!   that it has not failed before: whoever corrects a mistake need not wait, and whoever registers many endpoints
//!   cannot make a flood of it. The count is each consumer's own, so that one cannot use up another's.
//! - A failure takes as long as the longest, whatever there is at the token URL.
//! - A refusal by the endpoint renews a token before its time, at most once a minute for each consumer and host, and
//!   six hundred times an hour at one host, whoever the consumers are.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::sync::Notify;
use tokio::time::sleep;
use waxseal_keys::{Clock, Timestamp};

use super::fetch::{FetchTokenError, Granted, TIMEOUT, fetch};
use crate::engine::egress::Egress;
use crate::engine::hold::Hold;
use crate::host_limits::{HostLimits, Hosts};
use crate::id::{ConsumerId, EndpointId};
use crate::known_late::known_late;
use crate::model::authentication::{ClientAuthentication, OAuth2};
use crate::model::endpoint::Endpoint;
use crate::model::secret::Secret;
use crate::signing_keys::SigningKeys;

/// Every token that is at hand.
pub(super) struct Tokens {
    egress: Arc<Egress>,
    signing_keys: Arc<SigningKeys>,
    clock: Arc<dyn Clock>,
    known: Mutex<LruCache<EndpointId, Arc<Client>>>,
    hosts: Mutex<LruCache<(ConsumerId, String), Arc<Host>>>,
    /// Who was asked for the first time with some settings, for whom.
    first_asked: Mutex<Hosts>,
    /// Who was asked before a token's time, for whom.
    renewed: Mutex<Hosts>,
    /// How long a question that fails takes at least.
    failing_after: Duration,
}

/// One token.
#[derive(Debug)]
pub(super) struct Token {
    value: Secret,
    renew_at: Timestamp,
    ends_at: Timestamp,
}

impl Token {
    pub(super) fn reveal(&self) -> &str {
        self.value.reveal()
    }
}

/// One endpoint as a client of its authorization server.
#[derive(Debug)]
struct Client {
    settings: OAuth2,
    state: Mutex<State>,
    /// Held by whoever asks.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct State {
    token: Option<Arc<Token>>,
    /// How often it was asked.
    asked: u64,
    /// Since the last success.
    failures: u32,
    /// Not to be asked again before this.
    rest_until: Option<Timestamp>,
    /// Why there was no token at last.
    hold: Option<Hold>,
}

/// One host, as one consumer's endpoints know it.
#[derive(Debug)]
struct Host {
    history: Mutex<HostHistory>,
    /// Something was answered, or nobody waits for it any more.
    answered: Notify,
}

/// One request that is under way.
#[derive(Debug)]
struct Slot<'a>(&'a Host);

#[derive(Debug, Default)]
struct HostHistory {
    under_way: usize,
    failed_at: VecDeque<Timestamp>,
    renewed_at: Option<Timestamp>,
}

impl Tokens {
    pub(super) fn new(egress: Arc<Egress>, signing_keys: Arc<SigningKeys>, clock: Arc<dyn Clock>) -> Self {
        let (known, hosts) = (LruCache::new(CLIENTS_KEPT), LruCache::new(CLIENTS_KEPT));
        let (first_asked, renewed) = (Hosts::new(FIRST_ASKED), Hosts::new(RENEWED));
        let (first_asked, renewed) = (Mutex::new(first_asked), Mutex::new(renewed));
        let (known, hosts, failing_after) = (Mutex::new(known), Mutex::new(hosts), TIMEOUT);
        Self { egress, signing_keys, clock, known, hosts, first_asked, renewed, failing_after }
    }

    pub(super) fn failing_after(&mut self, at_least: Duration) {
        self.failing_after = at_least;
    }

    pub(super) fn renewing_within(&mut self, limits: HostLimits) {
        self.renewed = Mutex::new(Hosts::new(limits));
    }

    /// The token for an endpoint, fetched if there is none that lasts.
    pub(super) async fn token_for(&self, endpoint: &Endpoint, oauth2: &OAuth2) -> Result<Arc<Token>, Hold> {
        let client = self.client(endpoint, oauth2);
        let now = self.clock.now();
        let state = client.state().clone();
        match state.token {
            Some(token) if now < token.renew_at => return Ok(token),
            Some(token) if now < token.ends_at => {
                // Whoever comes while it is renewed uses the old one.
                if let Ok(_flight) = client.flight.try_lock()
                    && client.state().asked == state.asked
                {
                    self.ask_if_allowed(endpoint, &client).await;
                }
                return Ok(client.state().token.clone().unwrap_or(token));
            }
            Some(_) | None => {}
        }
        let _flight = client.flight.lock().await;
        if client.state().asked == state.asked {
            self.ask_if_allowed(endpoint, &client).await;
        }
        let state = client.state().clone();
        match state.token.filter(|token| self.clock.now() < token.ends_at) {
            Some(token) => Ok(token),
            None => Err(state.hold.unwrap_or(Hold::TokenUnavailable)),
        }
    }

    /// Sees to it that there is another token than the one that was refused. `false`: there is none, for now.
    pub(super) async fn renew(&self, endpoint: &Endpoint, oauth2: &OAuth2, refused: &Arc<Token>) -> bool {
        let client = self.client(endpoint, oauth2);
        let _flight = client.flight.lock().await;
        let is_other = || client.state().token.as_ref().is_some_and(|token| !Arc::ptr_eq(token, refused));
        if is_other() {
            return true;
        }
        if self.may_renew(endpoint, &client) {
            self.ask_if_allowed(endpoint, &client).await;
        }
        is_other()
    }

    /// Whether a token may be renewed before its time now; then it counts as done.
    fn may_renew(&self, endpoint: &Endpoint, client: &Client) -> bool {
        let host = self.host(endpoint, client);
        let mut history = host.history();
        // Under the lock: read before, it may be behind what another has noted meanwhile.
        let now = self.clock.now();
        if history.renewed_at.is_some_and(|at| at <= now && now.duration_since(at) < MINUTE) {
            return false;
        }
        let (url, consumer) = (&client.settings.token_url, &endpoint.consumer);
        if lock(&self.renewed).reserve(url, consumer, self.clock.as_ref()).is_err() {
            tracing::warn!(endpoint = %endpoint.id, "no other OAuth token is fetched now: its host was asked too often");
            metrics::counter!("waxseal_oauth_tokens_total", "result" => "bounded").increment(1);
            return false;
        }
        history.renewed_at = Some(now);
        true
    }

    fn client(&self, endpoint: &Endpoint, oauth2: &OAuth2) -> Arc<Client> {
        let mut known = lock(&self.known);
        if let Some(client) = known.get(&endpoint.id)
            && client.settings == *oauth2
        {
            return Arc::clone(client);
        }
        let client = Arc::new(Client {
            settings: oauth2.clone(),
            state: Mutex::default(),
            flight: tokio::sync::Mutex::new(()),
        });
        known.put(endpoint.id, Arc::clone(&client));
        client
    }

    /// Asks, unless the server has to be left alone. To be called by whoever holds the flight.
    async fn ask_if_allowed(&self, endpoint: &Endpoint, client: &Client) {
        let host = self.host(endpoint, client);
        if client.state().rests_at(self.clock.now()) {
            return;
        }
        let (url, consumer) = (&client.settings.token_url, &endpoint.consumer);
        if client.state().asked == 0
            && let Err(later) = lock(&self.first_asked).reserve(url, consumer, self.clock.as_ref())
        {
            client.state().rest_until = Some(later);
            tracing::warn!(endpoint = %endpoint.id, "new OAuth settings have to wait: their host is named too often");
            return;
        }
        let may_fail = if client.state().failures > 0 { 1 } else { NEW_SETTINGS };
        let Some(_slot) = host.slot(may_fail, self.clock.as_ref()).await else { return };
        let signer = match client.settings.client_authentication {
            ClientAuthentication::PrivateKeyJwt { .. } => self.signing_keys.active(),
            ClientAuthentication::ClientSecretBasic { .. }
            | ClientAuthentication::ClientSecretPost { .. } => None,
        };
        // Dated now: the others may have taken minutes, and what proves who we are is worth something for one.
        let fetching = fetch(&self.egress, &client.settings, signer, self.clock.now());
        let outcome = known_late(sleep(self.failing_after), fetching, Result::is_err).await;
        let outcome_name = if outcome.is_ok() { "granted" } else { "failed" };
        metrics::counter!("waxseal_oauth_tokens_total", "result" => outcome_name).increment(1);
        match outcome {
            Ok(granted) => client.state().succeed(granted, self.clock.now()),
            Err(error) => {
                tracing::warn!(endpoint = %endpoint.id, code = error.code(), %error, "no token for an endpoint");
                let now = self.clock.now();
                client.state().fail(&error, now);
                host.history().failed_at.push_back(now);
            }
        }
    }

    fn host(&self, endpoint: &Endpoint, client: &Client) -> Arc<Host> {
        let name = client.settings.token_url.host_str().unwrap_or_default().to_owned();
        let new = || Arc::new(Host { history: Mutex::default(), answered: Notify::new() });
        Arc::clone(lock(&self.hosts).get_or_insert((endpoint.consumer.clone(), name), new))
    }
}

impl Host {
    fn history(&self) -> MutexGuard<'_, HostHistory> {
        lock(&self.history)
    }

    /// Waits until one more failure would not be too many, counting those under way; `None` if there are too many
    /// already.
    async fn slot(&self, may_fail: usize, clock: &dyn Clock) -> Option<Slot<'_>> {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            // From here on nothing that is answered is missed.
            answered.as_mut().enable();
            {
                let mut history = self.history();
                let now = clock.now();
                let begin = now.saturating_sub(MINUTE);
                // What is yet to come was dated by a clock that was set back since.
                history.failed_at.retain(|at| *at > begin && *at <= now);
                if history.failed_at.len() >= may_fail {
                    return None;
                }
                if history.failed_at.len() + history.under_way < may_fail {
                    history.under_way += 1;
                    return Some(Slot(self));
                }
            }
            answered.await;
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.history().under_way -= 1;
        self.0.answered.notify_waiters();
    }
}

impl Client {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Whether the server is left alone. Nobody rests for more than an hour: a later time was set by a clock that was
    /// ahead.
    fn rests_at(&self, now: Timestamp) -> bool {
        self.rest_until.is_some_and(|until| now < until && until <= now.saturating_add(MINUTE * 60))
    }

    fn succeed(&mut self, granted: Granted, now: Timestamp) {
        let ends_at = now.saturating_add(granted.lasts);
        let renew_at = ends_at.saturating_sub((granted.lasts / 4).min(MINUTE));
        let token = Arc::new(Token { value: granted.token, renew_at, ends_at });
        *self = Self { token: Some(token), asked: self.asked + 1, ..Self::default() };
    }

    fn fail(&mut self, error: &FetchTokenError, now: Timestamp) {
        let doublings = self.failures.min(MOST_DOUBLINGS);
        let rest = (MINUTE * 2_u32.pow(doublings)).min(LONGEST_REST);
        self.asked += 1;
        self.failures = self.failures.saturating_add(1);
        self.rest_until = Some(now.saturating_add(rest));
        self.hold = Some(error.hold());
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CLIENTS_KEPT: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
const MINUTE: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
const MOST_DOUBLINGS: u32 = 4;
/// Every endpoint has a token of its own, and a new process has none: a consumer may have a thousand to fetch at once.
const FIRST_ASKED: HostLimits = HostLimits {
    apart: Duration::ZERO,
    an_hour: 5_000,
    an_hour_for_consumer: 1_500,
    an_hour_everywhere: 1_500,
};
/// Many consumers may have one authorization server, which may take back all of its tokens at once: each of them is
/// served within the minute. Together they are no flood.
const RENEWED: HostLimits =
    HostLimits { apart: Duration::ZERO, an_hour: 600, an_hour_for_consumer: 60, an_hour_everywhere: 600 };
/// How often a host may fail within a minute before new settings have to wait, too.
const NEW_SETTINGS: usize = 5;
