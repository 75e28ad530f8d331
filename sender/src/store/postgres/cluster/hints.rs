//! Words of other nodes, and to them: `LISTEN` and `NOTIFY`.
//!
//! Whoever notifies holds a lock of the whole database until its commit, so words are gathered for some milliseconds, sent in
//! one transaction of their own, and no disk is waited for. They are told by number of kind, not by number of words: a
//! payload has room for all shards and for some endpoints, and for more than that it says that some were lost.
//!
//! A listener that had no connection has lost words: it says so when it listens, also for the first time. One that cannot
//! read a word (a newer program sent it) says so, too.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::super::connect::{Connector, Purpose, Session};
use super::super::failure::Failure;
use crate::id::EndpointId;
use crate::store::{Hint, Shards};

/// Both directions.
#[derive(Debug)]
pub(super) struct Hints {
    tell: mpsc::UnboundedSender<Hint>,
    heard: broadcast::Sender<Hint>,
    tasks: [JoinHandle<()>; 2],
}

impl Hints {
    pub(super) fn start(connector: &Arc<Connector>) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (heard, _) = broadcast::channel(REMEMBERED);
        // Who sends does not hear itself.
        let mut origin = [0; 16];
        rand::fill(&mut origin).expect("the system's random generator works");
        let origin = Uuid::from_bytes(origin).simple().to_string();
        let tasks = [
            tokio::spawn(send_for_ever(Arc::clone(connector), told, origin.clone())),
            tokio::spawn(listen_for_ever(Arc::clone(connector), heard.clone(), origin)),
        ];
        Self { tell, heard, tasks }
    }

    pub(super) fn tell(&self, hint: Hint) {
        // It fails only when the store has been closed.
        let _ = self.tell.send(hint);
    }

    pub(super) fn hear(&self) -> broadcast::Receiver<Hint> {
        self.heard.subscribe()
    }

    pub(super) fn stop(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Some words as one: what they say together.
#[derive(Debug, Default, Eq, PartialEq)]
struct Words {
    arrived: Shards,
    configured: bool,
    ring_changed: bool,
    withdrawn: Vec<EndpointId>,
    lost: bool,
}

impl Words {
    fn add(&mut self, hint: Hint) {
        match hint {
            Hint::Arrived(shards) => self.arrived = self.arrived.or(shards),
            Hint::Configured => self.configured = true,
            Hint::RingChanged => self.ring_changed = true,
            Hint::Withdrawn(endpoint) if self.withdrawn.contains(&endpoint) => {}
            Hint::Withdrawn(_) if self.withdrawn.len() >= MOST_WITHDRAWN => self.lost = true,
            Hint::Withdrawn(endpoint) => self.withdrawn.push(endpoint),
            Hint::Lost => self.lost = true,
        }
    }

    /// As one line: who says it, and a word for each thing.
    fn line(&self, origin: &str) -> String {
        let mut line = origin.to_owned();
        if !self.arrived.is_empty() {
            line += &format!(" arrived:{}", self.arrived);
        }
        for (said, word) in
            [(self.configured, " configured"), (self.ring_changed, " ring"), (self.lost, " lost")]
        {
            line += if said { word } else { "" };
        }
        for endpoint in &self.withdrawn {
            line += &format!(" withdrawn:{endpoint}");
        }
        line
    }
}

/// The words of a line of somebody else.
fn read(line: &str, origin: &str) -> Vec<Hint> {
    let mut words = line.split(' ');
    if words.next() == Some(origin) {
        return Vec::new();
    }
    let hint = |word: &str| match word.split_once(':').unwrap_or((word, "")) {
        ("arrived", shards) => Shards::parse(shards).map_or(Hint::Lost, Hint::Arrived),
        ("configured", _) => Hint::Configured,
        ("ring", _) => Hint::RingChanged,
        ("withdrawn", endpoint) => EndpointId::parse(endpoint).map_or(Hint::Lost, Hint::Withdrawn),
        _ => Hint::Lost,
    };
    words.map(hint).collect()
}

async fn send_for_ever(connector: Arc<Connector>, mut told: mpsc::UnboundedReceiver<Hint>, origin: String) {
    let mut session: Option<Session> = None;
    while let Some(first) = told.recv().await {
        let mut words = Words::default();
        words.add(first);
        sleep(GATHER).await;
        loop {
            while let Ok(more) = told.try_recv() {
                words.add(more);
            }
            match send(&connector, &mut session, &words.line(&origin)).await {
                Ok(()) => break,
                // They are sent when it is possible again: who heard nothing meanwhile has lost nothing then.
                Err(_) => {
                    session = None;
                    sleep(AGAIN).await;
                }
            }
        }
    }
}

async fn send(connector: &Connector, session: &mut Option<Session>, line: &str) -> Result<(), Failure> {
    let open = match session.take() {
        Some(open) if connector.trusts(&open) => open,
        _ => connector.connect(Purpose::Hints).await?,
    };
    timeout(ANSWER, open.query("SELECT pg_notify('waxseal', $1)", &[&line]))
        .await
        .unwrap_or(Err(Failure::Unknown("the database did not answer in time")))?;
    *session = Some(open);
    Ok(())
}

async fn listen_for_ever(connector: Arc<Connector>, heard: broadcast::Sender<Hint>, origin: String) {
    loop {
        if let Ok(session) = listen(&connector, &heard, &origin).await {
            let _ = heard.send(Hint::Lost);
            // A word now and then: it finds out that a connection is dead that nobody has closed.
            while connector.trusts(&session) && matches!(timeout(ANSWER, session.batch("")).await, Ok(Ok(())))
            {
                sleep(LOOK).await;
            }
        }
        sleep(AGAIN).await;
    }
}

async fn listen(
    connector: &Connector,
    heard: &broadcast::Sender<Hint>,
    origin: &str,
) -> Result<Session, Failure> {
    let (heard, origin) = (heard.clone(), origin.to_owned());
    let hear = move |line: &str| {
        for hint in read(line, &origin) {
            // Nobody may listen.
            let _ = heard.send(hint);
        }
    };
    let session = connector.connect_hearing(Purpose::Hints, Box::new(hear)).await?;
    session.batch("LISTEN waxseal").await?;
    Ok(session)
}

/// At most one line in so long.
const GATHER: Duration = Duration::from_millis(5);

/// After a connection could not be made.
const AGAIN: Duration = Duration::from_millis(250);

/// How often it is looked at whether the listening connection still is one.
const LOOK: Duration = Duration::from_millis(500);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A payload has room for less than 8,000 bytes, and each takes fifty.
const MOST_WITHDRAWN: usize = 100;

/// Words that somebody who listens may not have taken yet.
const REMEMBERED: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Shard;

    fn endpoint(number: u8) -> EndpointId {
        EndpointId::from_bytes([number; 16])
    }

    #[test]
    fn words_are_gathered_and_read_by_others_alone() {
        let mut words = Words::default();
        let shards: Shards = [Shard::new(3), Shard::new(200)].into_iter().collect();
        words.add(Hint::Arrived([Shard::new(3)].into_iter().collect()));
        words.add(Hint::Withdrawn(endpoint(1)));
        words.add(Hint::Arrived([Shard::new(200)].into_iter().collect()));
        words.add(Hint::Withdrawn(endpoint(1)));
        words.add(Hint::Configured);
        words.add(Hint::RingChanged);
        let line = words.line("me");
        assert_eq!(read(&line, "me"), []);
        let heard =
            [Hint::Arrived(shards), Hint::Configured, Hint::RingChanged, Hint::Withdrawn(endpoint(1))];
        assert_eq!(read(&line, "somebody"), heard);
    }

    #[test]
    fn too_many_words_are_lost_and_say_so() {
        let mut words = Words::default();
        words.add(Hint::Arrived(Shards::ALL));
        for number in 0..=u8::MAX {
            words.add(Hint::Withdrawn(endpoint(number)));
        }
        let line = words.line(&Uuid::nil().simple().to_string());
        assert!(line.len() < 8_000, "{}", line.len());
        assert!(read(&line, "somebody").contains(&Hint::Lost));
    }

    #[test]
    fn what_cannot_be_read_is_lost() {
        for line in ["other news", "other arrived:zz", "other withdrawn:ep_1"] {
            assert_eq!(read(line, "me"), [Hint::Lost], "{line}");
        }
    }
}
