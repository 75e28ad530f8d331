//! One row of the table: a sender of its own, measured in turns with the limit.

use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use waxseal_keys::{DecryptionKey, EncryptionKeyType, generate_decryption_key};
use waxseal_tests::backlog;
use waxseal_tests::sender::{Sender, SenderFolder};

use crate::Plan;
use crate::bare::Bare;
use crate::load::Target;
use crate::report::{Measured, Progress, median};
use crate::sink::Sink;
use crate::store::{Kind, Place, Servers};

/// What protects an event's content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protection {
    Signed,
    Sealed,
}

impl Protection {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Sealed => "sealed",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) store: Kind,
    pub(crate) protection: Protection,
    pub(crate) consumers: usize,
    pub(crate) payload: usize,
    pub(crate) fan_out: usize,
    pub(crate) backlog: usize,
}

impl Case {
    const BASE: Self = Self {
        store: Kind::Sqlite,
        protection: Protection::Signed,
        consumers: 1,
        payload: 1_024,
        fan_out: 1,
        backlog: 0,
    };

    /// All that the plan asks for, store by store.
    pub(crate) fn all(plan: &Plan) -> Vec<Self> {
        let one = if plan.full {
            Self::full()
        } else if plan.has_lists() {
            Self::combined(plan)
        } else {
            Self::choice()
        };
        plan.store.iter().flat_map(|store| one.iter().map(|case| Self { store: *store, ..*case })).collect()
    }

    /// Those of them whose latency is measured: an event for one endpoint, and nothing that waits. The plain one alone where
    /// nothing else was asked for.
    pub(crate) fn all_open(plan: &Plan) -> Vec<Self> {
        let all = if plan.latency == 0 { Vec::new() } else { Self::all(plan) };
        let chosen = plan.full || plan.has_lists();
        let is_open = |case: &Self| {
            let plain = case.plain().name() == case.name() && case.protection == Protection::Signed;
            case.fan_out == 1 && case.backlog == 0 && (chosen || plain)
        };
        all.into_iter().filter(is_open).collect()
    }

    fn choice() -> Vec<Self> {
        let sealed = Self { protection: Protection::Sealed, ..Self::BASE };
        vec![Self::BASE, sealed, Self { fan_out: 10, ..Self::BASE }]
    }

    fn full() -> Vec<Self> {
        let mut all = Self::choice();
        all.extend([
            Self { consumers: 1_000, ..Self::BASE },
            Self { payload: 16_384, ..Self::BASE },
            Self { backlog: 1_000_000, ..Self::BASE },
        ]);
        all
    }

    /// Every combination of the lists.
    fn combined(plan: &Plan) -> Vec<Self> {
        let or = |list: &Vec<usize>, base| if list.is_empty() { vec![base] } else { list.clone() };
        let protections =
            if plan.protection.is_empty() { vec![Protection::Signed] } else { plan.protection.clone() };
        let mut cases: Vec<_> =
            protections.iter().map(|protection| Self { protection: *protection, ..Self::BASE }).collect();
        let each = |cases: Vec<Self>, values: Vec<usize>, set: fn(&mut Self, usize)| -> Vec<Self> {
            let with = |mut case: Self, value: usize| {
                set(&mut case, value);
                case
            };
            cases.iter().flat_map(|case| values.iter().map(|value| with(*case, *value))).collect()
        };
        cases = each(cases, or(&plan.consumers, 1), |case, value| case.consumers = value);
        cases = each(cases, or(&plan.payload, 1_024), |case, value| case.payload = value);
        cases = each(cases, or(&plan.fan_out, 1), |case, value| case.fan_out = value);
        each(cases, or(&plan.backlog, 0), |case, value| case.backlog = value)
    }

    /// What it is compared with: the same in its plainest form.
    pub(crate) fn plain(&self) -> Self {
        Self { store: self.store, protection: self.protection, ..Self::BASE }
    }

    /// As a line of the table names it.
    pub(crate) fn name(&self) -> String {
        let mut name = format!("{}, {}, {}", self.store.name(), self.protection.name(), size(self.payload));
        if self.consumers > 1 {
            name.push_str(&format!(", {} consumers", self.consumers));
        }
        if self.fan_out > 1 {
            name.push_str(&format!(", to {} endpoints", self.fan_out));
        }
        if self.backlog > 0 {
            name.push_str(&format!(", backlog of {}", self.backlog));
        }
        name
    }

    /// Measures it.
    pub(crate) async fn measure(
        self,
        servers: &Servers,
        deliveries: usize,
        rounds: usize,
        progress: &mut Progress,
    ) -> Measured {
        progress.step(&format!("{}: getting ready", self.name()));
        let sink = Sink::start();
        let [place, limit_place] = servers.places(self.store);
        let Ready { folder: _folder, sender, target, .. } = self.sender(&sink, &place).await;
        let bare = Bare::start(&sink.url(), self.protection, self.fan_out, &limit_place);
        let limit = bare.target(self.bodies());
        let events = deliveries / self.fan_out;
        for target in [&limit, &target] {
            target.saturate(events / 4, self.fan_out, &sink).await;
        }
        let ours = || [sender.process.cpu_seconds(), place.cpu_seconds(), sink.process.cpu_seconds()];
        let limits = || [bare.process.cpu_seconds(), limit_place.cpu_seconds()];
        let each = |seconds: f64| seconds * 1e6 / deliveries as f64;
        let (mut all, mut rates) = (Rounds::default(), Vec::new());
        for _ in 0..rounds {
            progress.step(&self.name());
            let before = limits();
            limit.saturate(events, self.fan_out, &sink).await;
            let [limit_program, limit_database] = since(before, limits()).map(each);
            let before = ours();
            let seconds = target.saturate(events, self.fan_out, &sink).await;
            self.until_settled(&sender).await;
            let [sender, database, receiver] = since(before, ours()).map(each);
            all.push([sender, database, receiver, limit_program, limit_database]);
            rates.push(deliveries as f64 / seconds);
        }
        let apart = |value: f64| place.is_apart().then_some(value);
        Measured {
            case: self,
            per_second: median(&rates),
            sender: all.median(|[sender, ..]| *sender),
            database: apart(all.median(|[_, database, ..]| *database)),
            together: all.median(|[sender, database, ..]| sender + database),
            limit: all.median(|[.., program, _]| *program),
            limit_database: apart(all.median(|[.., database]| *database)),
            limit_together: all.median(|[.., program, database]| program + database),
            ratio: all
                .median(|[sender, database, _, program, limit]| (sender + database) / (program + limit)),
            receiver: all.median(|[_, _, receiver, ..]| *receiver),
            memory: sender.process.peak_memory(),
        }
    }

    /// Everything that has arrived is on record.
    async fn until_settled(&self, sender: &Sender) {
        let settled = |answer: &Value| answer["data"].as_array().is_some_and(Vec::is_empty);
        sender.api.until("/v1/deliveries?consumer=c0&state=pending&limit=1", settled).await;
    }

    fn bodies(&self) -> Vec<Bytes> {
        // Two quotes belong to the data.
        let text = "x".repeat(self.payload.saturating_sub(2));
        (0..self.consumers).map(|n| self.body(n, json!(text))).collect()
    }

    /// The event with this number, which tells what it is.
    pub(crate) fn numbered(&self, n: usize) -> Bytes {
        self.body(n, json!({ "n": n, "text": "x".repeat(self.payload.saturating_sub(24)) }))
    }

    fn body(&self, n: usize, data: Value) -> Bytes {
        let consumer = format!("c{}", n % self.consumers);
        Bytes::from(json!({ "type": TYPE, "data": data, "to": { "consumer": consumer } }).to_string())
    }

    /// A sender that has all that the case asks for.
    pub(crate) async fn sender(&self, sink: &Sink, place: &Place<'_>) -> Ready {
        let database = place.url();
        let folder = SenderFolder::init_on(database.as_deref(), CONFIG, None);
        let mut sender = folder.start().await;
        let key = generate_decryption_key(EncryptionKeyType::P256).unwrap();
        sender.api.post("/v1/event-types", json!({ "name": TYPE })).await;
        for n in 0..self.consumers {
            let consumer = format!("c{n}");
            sender.api.post("/v1/consumers", json!({ "id": consumer })).await;
            for _ in 0..self.fan_out {
                let mut endpoint = endpoint(&consumer, &sink.url(), self.protection);
                if self.protection == Protection::Sealed {
                    let jwks = json!({ "keys": [key.public_jwk().to_json()] });
                    endpoint["encryption_keys"] = json!({ "jwks": jwks });
                }
                sender.api.post("/v1/endpoints", endpoint).await;
            }
        }
        if self.backlog > 0 {
            sender.api.post("/v1/consumers", json!({ "id": "paused" })).await;
            let endpoint = endpoint("paused", &sink.url(), Protection::Signed);
            let id = sender.api.post("/v1/endpoints", endpoint).await["id"].as_str().unwrap().to_owned();
            sender.api.post(&format!("/v1/endpoints/{id}/pause"), Value::Null).await;
            assert!(sender.process.stop().success());
            let backlog = [("paused", self.backlog)];
            match &database {
                None => backlog::publish(folder.path(), TYPE, 500, &backlog).await,
                Some(url) => backlog::publish_shared(url, folder.path(), TYPE, 500, &backlog).await,
            }
            place.put_in_order();
            sender = folder.start().await;
        }
        let target = Target::new(format!("{}/v1/events", folder.origin), &folder.token, self.bodies());
        Ready { folder, sender, target, key }
    }
}

/// A sender that is ready to be measured.
pub(crate) struct Ready {
    pub(crate) folder: SenderFolder,
    pub(crate) sender: Sender,
    pub(crate) target: Target,
    /// What sealed events are sealed to.
    pub(crate) key: DecryptionKey,
}

/// What the rounds cost, in microseconds for a delivery: the sender, its database, the receiver, the limit, its database.
#[derive(Default)]
struct Rounds(Vec<[f64; 5]>);

impl Rounds {
    fn push(&mut self, round: [f64; 5]) {
        self.0.push(round);
    }

    fn median(&self, figure: impl Fn(&[f64; 5]) -> f64) -> f64 {
        median(&self.0.iter().map(figure).collect::<Vec<_>>())
    }
}

fn since<const N: usize>(before: [f64; N], after: [f64; N]) -> [f64; N] {
    std::array::from_fn(|place| after[place] - before[place])
}

fn endpoint(consumer: &str, url: &str, protection: Protection) -> Value {
    json!({
        "consumer": consumer, "url": url, "event_types": [TYPE], "protection": protection.name(), "trusted": true,
    })
}

fn size(bytes: usize) -> String {
    if bytes >= 1_024 && bytes.is_multiple_of(1_024) {
        format!("{} KiB", bytes / 1_024)
    } else {
        format!("{bytes} B")
    }
}

pub(crate) const TYPE: &str = "order.created";
pub(crate) const CONFIG: &str =
    "[delivery]\nmax_in_flight = 256\nmax_in_flight_per_endpoint = 64\n[log]\nfilter = \"warn\"\n";
