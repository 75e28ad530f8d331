//! The week itself: moves the clock to the next moment at which something is due, lets it happen, looks.

mod act;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use waxseal_envelope::{Data, EventType};
use waxseal_keys::{Clock, DecryptionKey, EncryptionKeyType, Timestamp, generate_decryption_key};
use waxseal_sender::directory::To;
use waxseal_sender::engine::breaker::BreakerPolicy;
use waxseal_sender::engine::condition::BreakerState;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::consumer::{DeclaredType, Visibility};
use waxseal_sender::model::pace::Order;
use waxseal_sender::publish::{Expiry, Publication};
use waxseal_sender::store::Shards;

use super::house::{House, Running};
use super::judge::Window;
use super::keys::WatchedKeys;
use super::ledger::{Entry, Looked};
use super::partner::Partner;
use super::plan::{self, Planned, Role};
use super::time::SimulatedTime;
use super::{HOUR, PATIENCE, START};
use act::Act;

pub struct Week {
    pub roles: Vec<Role>,
    pub partners: Vec<Partner>,
    pub ledger: Vec<Entry>,
    pub keys: WatchedKeys,
    pub looked: Looked,
    pub windows: Vec<Window>,
    pub most_waiting: usize,
    /// Whose breakers were seen open.
    pub opened: BTreeSet<usize>,
    /// Who was paused for failing, and since when.
    pub given_up: Option<(usize, Timestamp)>,
    breaker: BreakerPolicy,
    time: Arc<SimulatedTime>,
    house: House,
    sender: Option<Running>,
    endpoints: Vec<EndpointId>,
    planned: VecDeque<Planned>,
    acts: VecDeque<(Duration, Act)>,
    expiring: BTreeSet<Timestamp>,
    next_due: Option<Timestamp>,
    next_look: Timestamp,
    decryption_keys: [DecryptionKey; 2],
    _folder: TempDir,
}

impl Week {
    pub async fn begin(breaker: BreakerPolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (time, roles) = (SimulatedTime::new(START), plan::roles());
        let house = House::new(folder.path(), &time).await;
        let sender = house.start(breaker.clone()).await;
        let key = || generate_decryption_key(EncryptionKeyType::P256).unwrap();
        let mut week = Self {
            planned: plan::events(&roles).into(),
            acts: act::acts(&roles).into(),
            roles,
            partners: Vec::new(),
            ledger: Vec::new(),
            keys: WatchedKeys::default(),
            looked: Looked::default(),
            windows: Vec::new(),
            most_waiting: 0,
            opened: BTreeSet::new(),
            given_up: None,
            next_look: time.at(HOUR),
            breaker,
            time,
            house,
            sender: Some(sender),
            endpoints: Vec::new(),
            expiring: BTreeSet::new(),
            next_due: None,
            decryption_keys: [key(), key()],
            _folder: folder,
        };
        let declared = DeclaredType {
            name: EventType::parse("order.created").unwrap(),
            description: None,
            visible_to: Visibility::All,
            created_at: START,
        };
        week.sender().directory.create_event_type(declared).await.unwrap();
        for number in 0..week.roles.len() {
            week.settle_in(number).await;
        }
        week
    }

    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// The deliveries to one of the roles, in the order of acceptance.
    pub fn of(&self, role: usize) -> impl Iterator<Item = &Entry> {
        self.ledger.iter().filter(move |entry| entry.role == role)
    }

    /// Seven days of publishing, and then until nothing is live.
    pub async fn until_all_is_over(&mut self) {
        while !self.planned.is_empty() || !self.acts.is_empty() || self.is_open() {
            self.step().await;
        }
        let backlog = self.sender().store.backlog().await.unwrap();
        assert_eq!((backlog.live, backlog.oldest_due), (0, None));
        let stats = self.sender().engine.stats();
        assert_eq!((stats.waiting, stats.payload_bytes, stats.in_flight, stats.held), (0, 0, 0, 0));
        assert!(stats.lanes <= self.roles.len(), "{stats:?}");
        assert!(self.most_waiting < 400, "{} deliveries waited in memory at once", self.most_waiting);
    }

    /// And then until nothing is remembered.
    pub async fn until_all_is_forgotten(&mut self) {
        while self.ledger.iter().any(|entry| !entry.is_forgotten()) {
            self.step().await;
        }
        let Looked { content_young, content_needed, content_gone, record_young, record_gone } = self.looked;
        let all = u32::try_from(self.ledger.len()).unwrap();
        assert_eq!(record_gone, all);
        assert!(content_young > all / 2 && content_gone > all / 2 && record_young > all / 2);
        assert!(content_needed > 100, "of what the endpoint that is never there still needs");
    }

    fn is_open(&self) -> bool {
        self.ledger.iter().any(|entry| entry.end.is_none())
    }

    fn sender(&self) -> &Running {
        self.sender.as_ref().expect("a process runs")
    }

    /// To the next moment, and through all that is due then.
    async fn step(&mut self) {
        let planned = self.planned.front().map(|one| self.time.at(one.at));
        let act = self.acts.front().map(|(at, _)| self.time.at(*at));
        let moments = match &self.sender {
            None => vec![act],
            Some(_) => {
                let expiring = self.expiring.first().copied();
                vec![act, planned, expiring, self.next_due, self.time.alarm(), Some(self.next_look)]
            }
        };
        let now = moments.into_iter().flatten().min().unwrap().max(self.time.now());
        self.time.set(now);
        if self.sender.is_some() {
            self.time.asleep().await;
        }
        while let Some((_, act)) = self.acts.pop_front_if(|(at, _)| self.time.at(*at) <= now) {
            self.act(act).await;
        }
        if self.sender.is_none() {
            return;
        }
        let published = self.publish(now).await;
        let expired = self.expiring.first().is_some_and(|at| *at <= now);
        self.expiring.retain(|at| *at > now);
        let due = self.next_due.is_none_or(|due| due <= now);
        if published || expired || due || !self.sender().engine.holds().is_empty() {
            self.next_due = self.quiet().await;
        }
        self.keys.look(self.sender.as_ref().unwrap(), now);
        if self.next_look <= now {
            self.next_look = now.saturating_add(HOUR);
            self.look().await;
        }
    }

    /// Waits until everything that is due is done or held; says when the next delivery is due.
    async fn quiet(&mut self) -> Option<Timestamp> {
        let sender = self.sender.as_ref().unwrap();
        let (mut next, mut polls, mut most) = (None, 0_u32, self.most_waiting);
        let mut opened = std::mem::take(&mut self.opened);
        let done = async {
            loop {
                if polls % 16 == 0 {
                    sender.engine.wake(self.endpoints[0]);
                }
                polls += 1;
                let now = self.time.now();
                let held: BTreeMap<_, _> = sender.engine.holds().into_iter().collect();
                let unsigned = held.values().any(|hold| *hold == Hold::NoSigningKey);
                let mut busy = unsigned && sender.signing_keys.active().is_some();
                busy |= !sender.store.expired(Shards::ALL, now, 1).await.unwrap().is_empty();
                next = None;
                for work in sender.store.endpoints_with_work(Shards::ALL).await.unwrap() {
                    let role = self.endpoints.iter().position(|id| *id == work.endpoint).unwrap();
                    let mut due = work.next_due;
                    if self.roles[role].order == Order::Fifo {
                        let first = sender.store.in_order(work.endpoint, None, 1).await.unwrap();
                        due = first.first().map_or(due, |first| first.due_at);
                    }
                    let condition = sender.engine.condition(work.endpoint);
                    if condition.breaker != BreakerState::Closed {
                        opened.insert(role);
                    }
                    let waits = [condition.rests_until, condition.next_probe_at].into_iter().flatten();
                    let due = waits.fold(due, Timestamp::max);
                    if due > now {
                        next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
                    } else {
                        busy |= !held.contains_key(&work.endpoint);
                    }
                }
                // Last: what has begun meanwhile may have made its endpoint rest.
                let stats = sender.engine.stats();
                most = most.max(stats.waiting);
                if !busy && stats.in_flight == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, done).await.expect("what is due is done");
        (self.most_waiting, self.opened) = (most, opened);
        next
    }

    async fn publish(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        while let Some(one) = self.planned.pop_front_if(|one| self.time.at(one.at) <= now) {
            let publication = Publication {
                event_type: EventType::parse("order.created").unwrap(),
                data: Data::json(format!(r#"{{"order":{}}}"#, self.ledger.len()).as_bytes()).unwrap(),
                to: To::Consumers(vec![ConsumerId::parse(self.roles[one.role].name).unwrap()]),
                id: None,
                occurred_at: None,
                expiry: one.life.map(Expiry::After),
                idempotency_key: None,
                publisher: None,
            };
            let published = self.sender().publisher.publish(publication).await.unwrap();
            let expires = one.life.map(|life| now.saturating_add(life));
            self.expiring.extend(expires);
            self.ledger.push(Entry::new(one.role, published.event, published.deliveries[0].id, now, expires));
            any = true;
        }
        any
    }

    /// The upkeep of the hour, and whether it has kept and removed what it had to.
    async fn look(&mut self) {
        let sender = self.sender.as_ref().unwrap();
        for entry in &mut self.ledger {
            entry.follow(sender).await;
        }
        sender.upkeep.pass().await.unwrap();
        for entry in &mut self.ledger {
            if let Some(wrong) = entry.look(sender, &self.time, &mut self.looked).await {
                panic!("{wrong}, at {}", self.time.said(self.time.now()));
            }
        }
        // A key that signs again ends what a revocation began.
        if let Some((_, till)) = self.windows.last_mut()
            && *till == Timestamp::MAX
            && sender.signing_keys.active().is_some()
        {
            let since = sender.signing_keys.entries().iter().filter_map(|entry| entry.activated()).max();
            *till = since.unwrap();
        }
    }
}
