//! The connections that accept and settle, and the commits that their commands share.
//!
//! **Group commit.** A task takes what waits (at most [`BATCH`] commands), runs all of it in one transaction with a handful
//! of statements, whatever their number, and commits. While its commit is on its way, the next batch gathers by itself, and
//! [`queue`](super::queue) says when another of the [`WRITERS`] tasks begins it. A command that comes alone is never
//! delayed. Answers are given after the commit, never before.
//!
//! **One failure stays one failure.** If the database refuses a batch, all of it is undone and each command runs again in a
//! transaction of its own. If the connection is lost or no answer comes in time, each is answered with
//! [`StoreError::Unavailable`]: whether it was done nobody knows, and nothing is cancelled.
//!
//! **Commands that would meet in one batch do not.** Of two with the same idempotency key, or two settlements of the same
//! delivery, the second waits for the next batch: it is to see what became of the first.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::batch;
use super::connect::{Connector, Purpose, Session};
use super::failure::Failure;
use super::pool::{TAKEN_BACK, WRITE_DEADLINE};
use super::queue::Queue;
use super::routes::Routes;
use crate::store::{Accepted, NewEvent, Settled, Settlement, StoreError};

/// The way to the writing tasks.
#[derive(Debug)]
pub(super) struct Writer {
    queue: StdMutex<Option<mpsc::Sender<Command>>>,
    tasks: StdMutex<Vec<JoinHandle<()>>>,
}

/// What can share a commit.
#[derive(Debug)]
pub(super) enum Command {
    Accept(Box<NewEvent>, oneshot::Sender<Result<Accepted, StoreError>>),
    Settle(Box<Settlement>, oneshot::Sender<Result<Settled, StoreError>>),
}

/// What became of a command.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Accepted(Accepted),
    Settled(Settled),
}

impl Writer {
    /// Starts the tasks. No connection is made yet.
    pub(super) fn start(connector: &Arc<Connector>, routes: &Arc<Routes>, commits: &Arc<AtomicU64>) -> Self {
        let (queue, commands) = mpsc::channel(ROOM);
        let queue_end = Arc::new(Queue::new(commands));
        let task = || {
            let task = Task {
                connector: Arc::clone(connector),
                routes: Arc::clone(routes),
                commits: Arc::clone(commits),
                queue: Arc::clone(&queue_end),
                session: None,
            };
            tokio::spawn(task.run())
        };
        let tasks = (0..WRITERS).map(|_| task()).collect();
        Self { queue: StdMutex::new(Some(queue)), tasks: StdMutex::new(tasks) }
    }

    /// Keeps an event, in a commit that it shares.
    pub(super) async fn accept(&self, event: NewEvent) -> Result<Accepted, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Accept(Box::new(event), answer)).await?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Records a settlement, in a commit that it shares.
    pub(super) async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Settle(Box::new(settlement), answer)).await?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    async fn send(&self, command: Command) -> Result<(), StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        queue.ok_or(StoreError::Closed)?.send(command).await.map_err(|_| StoreError::Closed)
    }

    /// Takes no more commands and finishes those that wait.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // It fails only if the runtime ends, and then there is nothing to wait for.
            let _ = task.await;
        }
    }
}

struct Task {
    connector: Arc<Connector>,
    routes: Arc<Routes>,
    commits: Arc<AtomicU64>,
    queue: Arc<Queue>,
    session: Option<Session>,
}

impl Task {
    async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let mut waiting = Vec::with_capacity(BATCH);
        while let Some(under_way) = queue.gather(&mut waiting, BATCH).await {
            let batch = take_batch(&mut waiting);
            self.commit(batch).await;
            drop(under_way);
        }
    }

    async fn commit(&mut self, mut batch: Vec<Command>) {
        match self.transact(&batch).await {
            Ok(answers) => answer(batch, answers),
            Err(failure) if failure.is_refusal() && batch.len() > 1 => {
                for command in batch.drain(..) {
                    let alone = vec![command];
                    match self.transact(&alone).await {
                        Ok(answers) => answer(alone, answers),
                        Err(failure) => fail(alone, failure),
                    }
                }
            }
            Err(failure) => fail(batch, failure),
        }
    }

    /// All of these commands in one transaction, or nothing.
    async fn transact(&mut self, batch: &[Command]) -> Result<Vec<Answer>, Failure> {
        let session = self.session().await?;
        self.routes.connected(self.connector.made());
        let warnings = session.warnings();
        let run = timeout(WRITE_DEADLINE, batch::run(&session, &self.routes, batch)).await;
        let done = run.unwrap_or(Err(Failure::Unknown("the database did not answer in time")));
        let done = done.and_then(|answers| {
            if session.warnings() == warnings { Ok(answers) } else { Err(Failure::Unknown(TAKEN_BACK)) }
        });
        match &done {
            Ok(_) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) if failure.is_refusal() && !session.is_closed() => {
                if !matches!(timeout(WRITE_DEADLINE, session.batch("ROLLBACK")).await, Ok(Ok(()))) {
                    self.give_up(&session);
                }
            }
            Err(_) => self.give_up(&session),
        }
        done
    }

    /// The connection, or a new one if it is not to be trusted any more.
    async fn session(&mut self) -> Result<Session, Failure> {
        if let Some(session) = self.session.take_if(|session| !self.connector.trusts(session)) {
            drop(session);
        }
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        match self.connect().await {
            Ok(session) => Ok(self.session.insert(session).clone()),
            Err(failure) => {
                // Those who try again at once would keep a server busy that is starting.
                sleep(PAUSE).await;
                Err(Failure::NotConnected(failure.into()))
            }
        }
    }

    async fn connect(&self) -> Result<Session, Failure> {
        let session = self.connector.connect(Purpose::Write).await?;
        timeout(WRITE_DEADLINE, batch::prepare(&session))
            .await
            .unwrap_or(Err(Failure::Unknown("the database did not answer in time")))?;
        Ok(session)
    }

    fn give_up(&mut self, session: &Session) {
        self.connector.lost(session);
        self.session = None;
    }
}

/// Takes what may share a commit from the front; what may not stays, in its order.
fn take_batch(waiting: &mut Vec<Command>) -> Vec<Command> {
    let (mut keys, mut deliveries, mut events) = (HashSet::new(), HashSet::new(), HashSet::new());
    let (mut batch, mut left, mut bytes, mut rows) = (Vec::with_capacity(waiting.len()), Vec::new(), 0, 0);
    for command in waiting.drain(..) {
        let full = !batch.is_empty() && (bytes >= BYTES || rows >= ROWS);
        let first = match &command {
            Command::Accept(event, _) => {
                let key = event.idempotency.as_ref().map(|key| key.key);
                !full && key.is_none_or(|key| keys.insert(key)) && events.insert(event.id)
            }
            Command::Settle(settlement, _) => !full && deliveries.insert(settlement.delivery.id),
        };
        if !first {
            left.push(command);
            continue;
        }
        if let Command::Accept(event, _) = &command {
            bytes += event.sealed.len();
            rows += event.deliveries.len() + event.wrapped_keys.len();
        }
        batch.push(command);
    }
    *waiting = left;
    batch
}

fn answer(batch: Vec<Command>, answers: Vec<Answer>) {
    for (command, given) in batch.into_iter().zip(answers) {
        // Nobody may wait any more; what was written stays written.
        match (command, given) {
            (Command::Accept(_, answer), Answer::Accepted(accepted)) => drop(answer.send(Ok(accepted))),
            (Command::Settle(_, answer), Answer::Settled(settled)) => drop(answer.send(Ok(settled))),
            // Each gets the answer of its kind; one that got another is answered as if nobody were here.
            (Command::Accept(..), Answer::Settled(_)) | (Command::Settle(..), Answer::Accepted(_)) => {}
        }
    }
}

/// Tells the first why, and the others the same in short: an error cannot be copied.
fn fail(batch: Vec<Command>, failure: Failure) {
    let mut first = Some(StoreError::from(failure));
    for command in batch {
        let error = first
            .take()
            .unwrap_or_else(|| StoreError::Unavailable("its transaction failed as a whole".into()));
        match command {
            Command::Accept(_, answer) => drop(answer.send(Err(error))),
            Command::Settle(_, answer) => drop(answer.send(Err(error))),
        }
    }
}

/// Commits on their way at once, where one is not enough.
const WRITERS: usize = 3;

/// Commands that share a transaction: enough that the cost of a commit disappears.
const BATCH: usize = 256;

/// A batch with so much content, or with so many deliveries and keys, takes no more: its neighbours wait for it.
const BYTES: usize = 8 << 20;
const ROWS: usize = 8_192;

/// Commands that may wait.
const ROOM: usize = 4_096;

/// After a connection could not be made.
const PAUSE: Duration = Duration::from_millis(100);
