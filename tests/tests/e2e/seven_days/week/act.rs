//! What people do in the week: they move in, change keys, revoke one in a hurry, restart and stop the sender.

use std::time::Duration;

use waxseal_keys::{Clock, Timestamp};
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::consumer::Consumer;
use waxseal_sender::model::encryption_keys::{EncryptionKeySet, KeyOwner, KeySource, KnownKey};
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, PauseReason, Protection, Subscription};
use waxseal_sender::model::pace::Pace;
use waxseal_sender::store::Shards;

use super::super::PATIENCE;
use super::Week;
use crate::seven_days::partner::{Partner, Setup};
use crate::seven_days::plan::Role;
use crate::seven_days::{DAY, HOUR, START};

/// What somebody does at a time of the week.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Open(usize),
    RotateByHand,
    Restart,
    /// The partner that wants sealing gives a new key beside the old one, and later that one alone.
    GiveNewKey,
    DropOldKey,
    /// The standby is not ready then: nothing signs for ten hours.
    RevokeActiveKey,
    Stop,
    Start,
    /// Whoever is never there is removed, if the sender has given it up.
    RemovePaused(usize),
}

pub fn acts(roles: &[Role]) -> Vec<(Duration, Act)> {
    let mut acts = vec![
        (DAY + HOUR * 2, Act::RotateByHand),
        (DAY * 3, Act::Restart),
        (DAY * 3 + HOUR * 12, Act::GiveNewKey),
        (DAY * 4 + HOUR * 12, Act::DropOldKey),
        (DAY * 5 + HOUR * 16, Act::RevokeActiveKey),
        (DAY * 6 + HOUR * 8, Act::Stop),
        (DAY * 6 + HOUR * 14, Act::Start),
    ];
    acts.extend(roles.iter().enumerate().filter_map(|(n, role)| Some((role.opens?, Act::Open(n)))));
    let never = |(n, role): (usize, &Role)| role.opens.is_none().then_some((DAY * 8, Act::RemovePaused(n)));
    acts.extend(roles.iter().enumerate().filter_map(never));
    acts.sort_by_key(|(at, _)| *at);
    acts
}

impl Week {
    pub(super) async fn act(&mut self, act: Act) {
        let now = self.time.now();
        match act {
            Act::Open(role) => self.partners[role].open(),
            Act::RotateByHand => self.sender().signing_keys.rotate().await.unwrap(),
            Act::Restart => {
                self.windows.push((now, now));
                self.stop().await;
                self.start().await;
            }
            Act::GiveNewKey => self.give_keys(&[1, 0]).await,
            Act::DropOldKey => {
                self.give_keys(&[1]).await;
                let sealed = self.roles.iter().position(|role| role.sealed).unwrap();
                self.partners[sealed].change_keys(vec![self.decryption_keys[1].clone()]);
            }
            Act::RevokeActiveKey => {
                let kid = self.sender().signing_keys.active().unwrap().kid().to_owned();
                self.sender().signing_keys.revoke(&kid).await.unwrap();
                self.keys.revoked(&kid, now);
                assert!(self.sender().signing_keys.active().is_none(), "the standby is not ready");
                self.windows.push((now, Timestamp::MAX));
            }
            Act::Stop => {
                self.windows.push((now, Timestamp::MAX));
                self.stop().await;
            }
            Act::Start => {
                self.windows.last_mut().unwrap().1 = now;
                self.start().await;
            }
            Act::RemovePaused(role) => self.remove_paused(role).await,
        }
    }

    async fn remove_paused(&mut self, role: usize) {
        let directory = &self.sender().directory;
        let endpoint = directory.endpoint(self.endpoints[role]).unwrap();
        let EndpointStatus::Paused { reason: PauseReason::Failing, since } = endpoint.status else { return };
        directory.delete_endpoint(endpoint.id).await.unwrap();
        // The engine cancels what waits for it; until then some of that is live.
        let store = &self.sender().store;
        let cancelled = async {
            while store
                .endpoints_with_work(Shards::ALL)
                .await
                .unwrap()
                .iter()
                .any(|work| work.endpoint == endpoint.id)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, cancelled).await.expect("what waits is cancelled");
        self.given_up = Some((role, since));
    }

    async fn stop(&mut self) {
        let sender = self.sender.take().unwrap();
        self.house.stop(sender).await;
    }

    async fn start(&mut self) {
        self.sender = Some(self.house.start(self.breaker.clone()).await);
        self.next_due = None;
    }

    /// Makes a consumer with its endpoint, and the partner behind it.
    pub(super) async fn settle_in(&mut self, number: usize) {
        let role = self.roles[number];
        let keys = if role.sealed { self.decryption_keys.to_vec() } else { Vec::new() };
        let (name, caches_for) = (role.name, role.caches_for);
        let setup = Setup { name, moods: role.moods(number), caches_for, keys };
        let partner = Partner::new(setup, self.house.jwks.clone(), &self.time);
        let id = ConsumerId::parse(role.name).unwrap();
        let consumer =
            Consumer { id: id.clone(), description: None, groups: Default::default(), created_at: START };
        let endpoint = Endpoint {
            id: EndpointId::generate(START),
            consumer: id,
            url: partner.url.parse().unwrap(),
            event_types: Subscription::All,
            audience: None,
            protection: if role.sealed { Protection::Sealed } else { Protection::Signed },
            retry: role.retry(),
            description: None,
            status: EndpointStatus::Active,
            pace: Pace { order: role.order, ..Pace::default() },
            created_at: START,
            authentication: None,
            server_authentication: None,
            verification: Default::default(),
        };
        let directory = &self.sender().directory;
        directory.create_consumer(consumer).await.unwrap();
        let endpoint = directory.create_endpoint(endpoint, None).await.unwrap().id;
        self.endpoints.push(endpoint);
        self.partners.push(partner);
        if role.sealed {
            self.give_keys(&[0]).await;
        }
    }

    /// The partner that wants sealing has these keys, the newest first.
    async fn give_keys(&self, which: &[usize]) {
        let known = |key: &usize| {
            let public = self.decryption_keys[*key].public_jwk();
            let thumbprint = public.thumbprint().as_str().to_owned();
            let first_seen = START.saturating_add(DAY * u32::try_from(*key).unwrap());
            KnownKey {
                thumbprint,
                jwk: public.to_json(),
                first_seen,
                admitted_at: Some(first_seen),
                certificate_not_after: None,
            }
        };
        let sealed = self.roles.iter().find(|role| role.sealed).unwrap();
        let owner = KeyOwner::Consumer(ConsumerId::parse(sealed.name).unwrap());
        let keys = which.iter().map(known).collect();
        let set = EncryptionKeySet { owner, source: KeySource::Pinned, keys };
        self.sender().directory.put_key_set(set).await.unwrap();
    }
}
