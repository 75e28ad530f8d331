//! What waits for the writing tasks, and when one of them begins a batch of it.
//!
//! A transaction costs the database as much as a dozen rows in it, so batches are not to be small while there is work. But
//! whoever publishes waits for a commit, so an event is not to wait for one that has nothing to do with it. So a batch begins
//! when one of these is true:
//!
//! - no other batch is under way;
//! - an event waits, and no batch is under way that has one: it does not wait for what is settled;
//! - [`ENOUGH`] commands wait: then the database is far away or slow, and several commits are to be on their way.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard, Notify, mpsc};

use super::writer::Command;

/// The end of the channel that the tasks share, with what they have under way.
#[derive(Debug)]
pub(super) struct Queue {
    commands: Mutex<mpsc::Receiver<Command>>,
    running: AtomicUsize,
    accepting: AtomicUsize,
    ended: Notify,
}

/// A batch under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'q> {
    queue: &'q Queue,
    accepts: bool,
}

impl Queue {
    pub(super) fn new(commands: mpsc::Receiver<Command>) -> Self {
        Self {
            commands: Mutex::new(commands),
            running: AtomicUsize::new(0),
            accepting: AtomicUsize::new(0),
            ended: Notify::new(),
        }
    }

    /// Adds what is to be begun now to what a task has left from before, at most `most` in all; if there is nothing, waits
    /// for it. All of it is under way from now on, until what is returned is dropped. None if nothing will come any more.
    pub(super) async fn gather(&self, waiting: &mut Vec<Command>, most: usize) -> Option<UnderWay<'_>> {
        if !waiting.is_empty() {
            // Another task may hold the queue while it waits, and what is left here waits for nobody.
            if let Ok(mut commands) = self.commands.try_lock() {
                top_up(&mut commands, waiting, most);
            }
            return Some(self.begin(waiting));
        }
        let mut commands = self.commands.lock().await;
        while !self.may_begin(waiting) {
            tokio::select! {
                came = commands.recv_many(waiting, most - waiting.len()) => if came == 0 { break },
                () = self.ended.notified(), if !waiting.is_empty() => {}
            }
        }
        top_up(&mut commands, waiting, most);
        // While the queue is held: the next task counts it.
        (!waiting.is_empty()).then(|| self.begin(waiting))
    }

    fn begin(&self, batch: &[Command]) -> UnderWay<'_> {
        let accepts = batch.iter().any(is_event);
        self.running.fetch_add(1, Ordering::SeqCst);
        self.accepting.fetch_add(usize::from(accepts), Ordering::SeqCst);
        UnderWay { queue: self, accepts }
    }

    fn may_begin(&self, waiting: &[Command]) -> bool {
        let is_free = |count: &AtomicUsize| count.load(Ordering::SeqCst) == 0;
        !waiting.is_empty()
            && (waiting.len() >= ENOUGH
                || is_free(&self.running)
                || is_free(&self.accepting) && waiting.iter().any(is_event))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.queue.accepting.fetch_sub(usize::from(self.accepts), Ordering::SeqCst);
        self.queue.running.fetch_sub(1, Ordering::SeqCst);
        // It is remembered for the next one that waits, if none does now.
        self.queue.ended.notify_one();
    }
}

fn top_up(commands: &mut MutexGuard<'_, mpsc::Receiver<Command>>, waiting: &mut Vec<Command>, most: usize) {
    while waiting.len() < most
        && let Ok(command) = commands.try_recv()
    {
        waiting.push(command);
    }
}

fn is_event(command: &Command) -> bool {
    matches!(command, Command::Accept(..))
}

/// From here on a batch costs little beside its rows.
const ENOUGH: usize = 64;
