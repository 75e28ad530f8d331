//! The one thread that writes, and the commits that its commands share.
//!
//! **Group commit.** The thread takes one command, adds whatever else waits (at most [`BATCH`]), runs all of them in
//! one transaction and commits. While one commit is on its way to the disk the next batch gathers by itself. A command
//! that comes alone is never delayed; only when the commit before had [`COMPANY`] commands or more, and so as many
//! callers are at work, the thread waits [`DELAY`] for theirs. A commit costs the same for many commands as for one,
//! so this is what saves CPU time under load. Answers are given after the commit, never before.
//!
//! **One failure stays one failure.** If a command of a batch fails, the whole transaction is undone and each command
//! runs again in a transaction of its own, so that its neighbours succeed. Savepoints would do it without running
//! anything twice, but they copy every page that a command touches, always, for something that happens when a disk is
//! full; and a full disk makes SQLite undo the whole transaction anyway, savepoints included. A command can therefore
//! run more than once: it owns what it writes, and all that it knows it reads from the database.
//!
//! **Nothing stops the thread** but [`Writer::close`] and the end of the process: a panicking command is undone and
//! answered as a failure, and an answer that nobody waits for any more is dropped.
//!
//! **Back-pressure.** At most [`ROOM`] commands wait; further callers wait for room before they queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::damage::Damage;
use super::failure::{Failure, panicked};
use super::log::{After, Log};
use super::session::{Scrub, Session};
use crate::store::StoreError;

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer tells the outside after every commit.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// Transactions committed.
    pub(super) commits: AtomicU64,
    /// Live deliveries.
    pub(super) live: AtomicI64,
}

impl Writer {
    /// Starts the thread. `held` is dropped when it ends: the process's lock on the store.
    pub(super) fn start<H: Send + 'static>(
        session: Session,
        log: Log,
        gauges: Arc<Gauges>,
        damage: Arc<Damage>,
        held: H,
    ) -> Result<Self, StoreError> {
        let (queue, commands) = mpsc::channel();
        let work = Work { session, log, gauges, damage, commands, closing: false };
        let thread = thread::Builder::new()
            .name("waxseal-store-writer".to_owned())
            .spawn(move || {
                work.run();
                drop(held);
            })
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(Self { queue, room: Arc::new(Semaphore::new(ROOM)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs a command in a transaction and answers once that is on disk. Dropping the future does not take the
    /// command back.
    pub(super) async fn write<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Session) -> Result<T, Failure> + Send + 'static,
    {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let command = Box::new(Pending { run, done: None, answer, _room: room });
        self.queue.send(Message::Run(command)).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Takes no more commands, finishes those that wait, and ends the thread. Blocks; a second call finds it done.
    pub(super) fn close(&self) {
        self.room.close();
        // An error means that the thread has ended already.
        let _ = self.queue.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

enum Message {
    Run(Box<dyn Command>),
    Close,
}

/// A command on its way through a transaction.
trait Command: Send {
    /// Does it; may be called again after an undo.
    fn run(&mut self, session: &mut Session) -> Result<(), Failure>;

    /// Tells the caller what became of it.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Pending<T, F> {
    run: F,
    done: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl<T, F> Command for Pending<T, F>
where
    T: Send,
    F: FnMut(&mut Session) -> Result<T, Failure> + Send,
{
    fn run(&mut self, session: &mut Session) -> Result<(), Failure> {
        self.done = None;
        self.done = Some((self.run)(session)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let done = self.done;
        // Nobody may wait any more; what was written stays written.
        let _ = self.answer.send(outcome.and_then(|()| done.ok_or(StoreError::Closed)));
    }
}

struct Work {
    session: Session,
    log: Log,
    gauges: Arc<Gauges>,
    damage: Arc<Damage>,
    commands: mpsc::Receiver<Message>,
    closing: bool,
}

impl Work {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut before = 0;
        while let Some(first) = self.next() {
            batch.push(first);
            self.gather(&mut batch);
            if before >= COMPANY && batch.len() < 2 * before && !self.closing {
                thread::park_timeout(DELAY);
                self.gather(&mut batch);
            }
            before = batch.len();
            self.commit(&mut batch);
            self.log.after_commit(&self.session);
        }
        self.log.checkpoint(&self.session, After::Empty);
    }

    /// The next command; checkpoints when none comes for a while.
    fn next(&mut self) -> Option<Box<dyn Command>> {
        loop {
            let message = if self.closing {
                self.commands.try_recv().ok()
            } else if self.log.is_empty() {
                self.commands.recv().ok()
            } else {
                match self.commands.recv_timeout(IDLE) {
                    Err(RecvTimeoutError::Timeout) => {
                        self.log.checkpoint(&self.session, After::Reuse);
                        self.log.rest();
                        continue;
                    }
                    received => received.ok(),
                }
            };
            match message {
                Some(Message::Run(command)) => return Some(command),
                Some(Message::Close) => self.closing = true,
                None => return None,
            }
        }
    }

    fn gather(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        while batch.len() < BATCH {
            match self.commands.try_recv() {
                Ok(Message::Run(command)) => batch.push(command),
                Ok(Message::Close) => self.closing = true,
                Err(_) => return,
            }
        }
    }

    fn commit(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        match self.transact(batch) {
            Ok(()) => batch.drain(..).for_each(|command| command.answer(Ok(()))),
            Err(failure) if batch.len() == 1 => {
                if let Some(only) = batch.pop() {
                    only.answer(Err(failure.into()));
                }
            }
            Err(_) => {
                for mut command in batch.drain(..) {
                    let outcome = self.transact(std::slice::from_mut(&mut command));
                    command.answer(outcome.map_err(StoreError::from));
                }
            }
        }
    }

    /// All of these commands in one transaction, or nothing.
    fn transact(&mut self, commands: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        let session = &mut self.session;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            session.begin()?;
            for command in commands {
                command.run(session)?;
            }
            session.commit()
        }))
        .unwrap_or_else(|_| Err(panicked()));
        match outcome {
            Ok(()) => {
                self.gauges.live.fetch_add(self.session.live_change, Ordering::Relaxed);
                self.gauges.commits.fetch_add(1, Ordering::Relaxed);
                if self.session.scrub != Scrub::Nothing {
                    self.log.must_be_emptied();
                }
                if self.session.scrub == Scrub::Now {
                    self.log.checkpoint(&self.session, After::Empty);
                }
                Ok(())
            }
            Err(failure) => {
                self.damage.look_at(&failure);
                // If even this fails, the next BEGIN fails and undoes again, until the disk answers.
                let _ = self.session.undo();
                Err(failure.explained(self.session.connection()))
            }
        }
    }
}

/// Commands that share a transaction: enough that the cost of a commit disappears, few enough that one commit stays
/// within some milliseconds.
const BATCH: usize = 256;

/// A commit of so many commands is followed by a short wait for more.
const COMPANY: usize = 6;

/// How long that wait is: less than a commit takes on most disks.
const DELAY: Duration = Duration::from_micros(400);

/// Commands that may wait.
const ROOM: usize = 4_096;

/// How long no command must come before the log is written back.
const IDLE: Duration = Duration::from_millis(500);
