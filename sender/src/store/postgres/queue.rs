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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;
    use waxseal_keys::Timestamp;

    use super::*;
    use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
    use crate::model::delivery::LiveDelivery;
    use crate::store::{NewEvent, Outcome, Settlement};

    const AT: Timestamp = Timestamp::from_millis(0);

    fn accept() -> Command {
        let event = NewEvent {
            id: EventId::lower_bound(AT),
            accepted_at: AT,
            expires_at: None,
            event_type: "order.created".to_owned(),
            sealed: Vec::new(),
            wrapped_keys: Vec::new(),
            deliveries: Vec::new(),
            idempotency: None,
            changes: Vec::new(),
        };
        Command::Accept(Box::new(event), oneshot::channel().0)
    }

    fn settle() -> Command {
        let delivery = LiveDelivery {
            id: DeliveryId::lower_bound(AT),
            event: EventId::lower_bound(AT),
            endpoint: EndpointId::from_bytes([0; 16]),
            consumer: ConsumerId::parse("acme").unwrap(),
            due_at: AT,
            attempts_made: 0,
            expires_at: None,
        };
        let outcome = Outcome::Again { due_at: AT };
        let settlement = Settlement { delivery, attempt: None, outcome, at: AT, changes: Vec::new() };
        Command::Settle(Box::new(settlement), oneshot::channel().0)
    }

    fn queue() -> (mpsc::Sender<Command>, Queue) {
        let (sender, commands) = mpsc::channel(1_000);
        (sender, Queue::new(commands))
    }

    fn send(sender: &mpsc::Sender<Command>, command: fn() -> Command, count: usize) {
        for _ in 0..count {
            sender.try_send(command()).unwrap();
        }
    }

    /// What begins now: how much of it, and that it is under way. Nothing, if it is waited for something.
    fn begins(queue: &Queue) -> Option<(usize, UnderWay<'_>)> {
        let mut batch = Vec::new();
        let under_way = queue.gather(&mut batch, 256).now_or_never()?;
        under_way.map(|under_way| (batch.len(), under_way))
    }

    #[test]
    fn what_comes_while_nothing_is_under_way_begins_at_once_and_together() {
        let (sender, queue) = queue();
        assert!(begins(&queue).is_none());
        send(&sender, settle, 1);
        assert_eq!(begins(&queue).unwrap().0, 1);
        send(&sender, settle, 3);
        send(&sender, accept, 2);
        assert_eq!(begins(&queue).unwrap().0, 5);
    }

    #[test]
    fn what_is_settled_waits_for_what_is_under_way_and_an_event_does_not() {
        let (sender, queue) = queue();
        send(&sender, settle, 1);
        let (_, first) = begins(&queue).unwrap();
        send(&sender, settle, 2);
        let (mut waits, mut batch) = (Vec::new(), Vec::new());
        {
            let mut waiting = Box::pin(queue.gather(&mut waits, 256));
            assert!(waiting.as_mut().now_or_never().is_none());
            drop(first);
            assert!(waiting.now_or_never().is_some(), "what was under way has ended");
        }
        assert_eq!(waits.len(), 2);

        send(&sender, settle, 1);
        let (_, first) = begins(&queue).unwrap();
        send(&sender, settle, 2);
        send(&sender, accept, 1);
        let second = queue.gather(&mut batch, 256).now_or_never().flatten().unwrap();
        assert_eq!(batch.len(), 3, "what is settled goes with the event");
        send(&sender, accept, 1);
        assert!(begins(&queue).is_none(), "events wait for events");
        drop((first, second));
    }

    #[test]
    fn when_enough_waits_it_begins_whatever_is_under_way() {
        let (sender, queue) = queue();
        send(&sender, accept, 1);
        let (_, _under_way) = begins(&queue).unwrap();
        let mut batch = Vec::new();
        send(&sender, settle, ENOUGH - 1);
        assert!(queue.gather(&mut batch, 256).now_or_never().is_none());
        assert_eq!(batch.len(), ENOUGH - 1, "they stay with the task that waits for more");
        send(&sender, settle, 1);
        let _second = queue.gather(&mut batch, 256).now_or_never().flatten();
        send(&sender, accept, 300);
        let (count, _third) = begins(&queue).unwrap();
        assert_eq!(count, 256, "and no more than there is to be in one");
    }

    #[test]
    fn what_a_task_has_left_begins_at_once_with_what_there_is() {
        let (sender, queue) = queue();
        send(&sender, settle, 1);
        let (_, _under_way) = begins(&queue).unwrap();
        send(&sender, settle, 5);
        let mut left = vec![settle(), settle()];
        assert!(queue.gather(&mut left, 4).now_or_never().flatten().is_some());
        assert_eq!(left.len(), 4);
    }

    #[test]
    fn at_the_end_what_waits_is_done_and_then_nothing_comes() {
        let (sender, queue) = queue();
        send(&sender, settle, 1);
        let (_, under_way) = begins(&queue).unwrap();
        send(&sender, settle, 1);
        drop(sender);
        let mut batch = Vec::new();
        let last = queue.gather(&mut batch, 256).now_or_never();
        assert!(last.is_some_and(|last| last.is_some()) && batch.len() == 1);
        drop(under_way);
        assert!(queue.gather(&mut Vec::new(), 256).now_or_never().is_some_and(|end| end.is_none()));
    }
}
