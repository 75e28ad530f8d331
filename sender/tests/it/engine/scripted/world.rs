//! One sender, and beside each scripted endpoint two that are sound: another of its consumer, and another consumer's.

use std::sync::Arc;
use std::time::Duration;

use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_sender::engine::EngineHandle;
use waxseal_sender::engine::egress::guard::PlainHttp;
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::id::{DeliveryId, EndpointId, EventId};
use waxseal_sender::model::endpoint::{Endpoint, Protection};
use waxseal_sender::model::server_authentication::{Pin, ServerAuthentication};

use super::host::{Certificates, Host};
use super::name::Asked;
use super::neighbour::Neighbours;
use super::script::{CONNECT, EXCHANGE, Over, Pins, Row, SCHEDULED};
use crate::engine::support::Sender;

pub(crate) struct World {
    pub(crate) sender: Sender,
    pub(crate) engine: EngineHandle,
    pub(crate) asked: Asked,
    pub(crate) neighbours: Neighbours,
    certificates: Certificates,
}

/// A row, set up: its consumer has a scripted endpoint and a sound one.
pub(crate) struct Case {
    pub(crate) row: Row,
    pub(crate) consumer: String,
    pub(crate) endpoint: EndpointId,
    pub(crate) host: Host,
}

/// An event for a case.
#[derive(Clone, Copy)]
pub(crate) struct Published {
    pub(crate) event: EventId,
    pub(crate) scripted: Option<DeliveryId>,
    pub(crate) at: Timestamp,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_schedule(&[Duration::from_secs(SCHEDULED)]).await
    }

    /// With these pauses between attempts.
    pub(crate) async fn with_schedule(schedule: &[Duration]) -> Self {
        let (asked, certificates) = (Asked::default(), Certificates::new());
        let policy = EgressPolicy {
            allow: vec!["127.0.0.1/32".parse().unwrap()],
            http: PlainHttp::AllowedRanges,
            connect_timeout: CONNECT,
            total_timeout: EXCHANGE,
            extra_roots: Some(certificates.root().into_bytes()),
        };
        let egress = Egress::through(policy, asked.resolver()).unwrap();
        let mut sender = Sender::with_egress(Arc::new(SystemClock), |store| store, egress).await;
        sender.parts.policy.retry.schedule = schedule.to_vec();
        let engine = sender.start();
        Self { sender, engine, asked, neighbours: Neighbours::start().await, certificates }
    }

    /// Sets a row up.
    pub(crate) async fn case(&self, row: Row, consumer: String) -> Case {
        let at = if row.over == Over::Forbidden { "127.0.0.2:0" } else { "127.0.0.1:0" };
        let tls = match row.over {
            Over::Tls(shown) => Some(self.certificates.server(shown)),
            Over::Plain | Over::BareTls | Over::Nobody | Over::Forbidden => None,
        };
        let host = Host::start(at, tls, vec![row.script.clone()]).await;
        let port = match row.over {
            // Taken and given back, so nobody has it.
            Over::Nobody => std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
            _ => host.address.port(),
        };
        let url = match row.over {
            Over::Plain | Over::Nobody => format!("http://{}:{port}/hook", row.host),
            Over::Tls(_) | Over::BareTls => format!("https://{}:{port}/hook", row.host),
            Over::Forbidden => format!("http://{}/hook", host.address),
        };
        let endpoint = self.endpoint(&consumer, &url, row.pins).await;
        Case { row, consumer, endpoint, host }
    }

    /// A consumer with this endpoint and a sound one; returns the id of the first.
    pub(crate) async fn endpoint(&self, consumer: &str, url: &str, pins: Pins) -> EndpointId {
        let directory = &self.sender.parts.directory;
        let sound = self.sender.endpoint(consumer, &self.neighbours.url(consumer), Protection::Signed).await;
        let now = SystemClock.now();
        let other = |digest| Pin::of_digest([digest; 32]);
        let pins = match pins {
            Pins::None => Vec::new(),
            Pins::Right => vec![self.certificates.pin(), other(1)],
            Pins::Wrong => vec![other(1), other(2)],
        };
        let asked = ServerAuthentication { ca_certificates: None, pins };
        let scripted = Endpoint {
            id: EndpointId::generate(now),
            url: url.parse().unwrap(),
            server_authentication: Some(Box::new(asked)).filter(|asked| !asked.is_usual()),
            ..Endpoint::clone(&directory.endpoint(sound).unwrap())
        };
        directory.create_endpoint(scripted, None).await.unwrap().id
    }

    /// Publishes an event to this consumer, which has this scripted endpoint.
    pub(crate) async fn publish(&self, consumer: &str, scripted: Option<EndpointId>) -> Published {
        let at = SystemClock.now();
        let published = self.sender.publish(Some(&self.engine), consumer, r#"{"order":"991"}"#).await;
        let scripted = published.deliveries.iter().find(|delivery| Some(delivery.endpoint) == scripted);
        Published { event: published.event, scripted: scripted.map(|delivery| delivery.id), at }
    }

    /// How long this event took to the consumer's sound endpoint, if it has arrived.
    pub(crate) fn took(&self, consumer: &str, published: &Published) -> Option<Duration> {
        let event = published.event.to_string();
        let all = self.neighbours.of(consumer);
        let mut arrived =
            all.iter().filter(|one| self.sender.open(&one.token, consumer, None).event.id.as_str() == event);
        let took = arrived.next().map(|one| one.at.duration_since(published.at));
        assert!(arrived.next().is_none(), "{consumer} got an event twice");
        took
    }
}
