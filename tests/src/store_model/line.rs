//! What connects a node with a model that it shares with others: a line that can be cut, and on which hints can be lost.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, broadcast};
use waxseal_keys::{Clock, Timestamp};
use waxseal_sender::store::{Hint, StoreError, Turn};

use super::StoreModel;

/// One node's line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    exchange: Arc<Exchange>,
    /// Where this node hears hints.
    own: broadcast::Sender<Hint>,
    is_cut: Arc<AtomicBool>,
}

/// Where the lines of all nodes meet.
#[derive(Debug)]
struct Exchange {
    clock: Arc<dyn Clock>,
    turn: Arc<AsyncMutex<()>>,
    lines: Mutex<Vec<broadcast::Sender<Hint>>>,
    loses_hints: AtomicBool,
    loses_turns: AtomicBool,
    done: AtomicU32,
}

impl StoreModel {
    /// A new model that several nodes use at once, as the first of them has it; `clock` is the one by which leases run.
    pub fn shared(clock: Arc<dyn Clock>) -> Self {
        let exchange = Arc::new(Exchange {
            clock,
            turn: Arc::default(),
            lines: Mutex::default(),
            loses_hints: AtomicBool::new(false),
            loses_turns: AtomicBool::new(false),
            done: AtomicU32::new(0),
        });
        let model = Self { line: Some(Line::new(exchange)), ..Self::default() };
        model.state().expect("its line is new").versions.shared = true;
        model
    }

    /// The same model, as another node has it.
    #[must_use]
    pub fn for_another_node(&self) -> Self {
        let exchange = Arc::clone(&self.own_line().exchange);
        Self { state: Arc::clone(&self.state), line: Some(Line::new(exchange)) }
    }

    /// Whether this node can reach the model from now on.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.own_line().is_cut.store(!is_reachable, Ordering::SeqCst);
    }

    /// From now on hints get lost, those of all nodes; until they do not any more, of which every node is told then.
    pub fn lose_hints(&self, lose: bool) {
        let exchange = &self.own_line().exchange;
        if exchange.loses_hints.swap(lose, Ordering::SeqCst) && !lose {
            exchange.lines().iter().for_each(|line| drop(line.send(Hint::Lost)));
        }
    }

    /// Whether turns get lost from now on as soon as they are given, as those of a node that is far too slow.
    pub fn lose_turns(&self, lose: bool) {
        self.own_line().exchange.loses_turns.store(lose, Ordering::SeqCst);
    }

    /// Just before each of the next changes that are to be made at one version of the configuration only, so many of
    /// them, something else is changed.
    pub fn interrupt(&self, changes: u32) {
        self.state().expect("it can be reached").versions.interruptions = changes;
    }

    pub(super) fn own_line(&self) -> &Line {
        self.line.as_ref().expect("the model is shared")
    }
}

impl Line {
    fn new(exchange: Arc<Exchange>) -> Self {
        let own = broadcast::Sender::new(HINTS_KEPT);
        exchange.lines().push(own.clone());
        Self { exchange, own, is_cut: Arc::default() }
    }

    pub(super) fn reaches(&self) -> Result<(), StoreError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the line is cut".into()));
        }
        Ok(())
    }

    /// How many turns others get before something is done: some, never the same number for long.
    pub(super) fn turns_of_others(&self) -> u32 {
        let done = self.exchange.done.fetch_add(1, Ordering::Relaxed);
        done.wrapping_mul(0x9E37_79B9) >> 29
    }

    pub(super) fn now(&self) -> Timestamp {
        self.exchange.clock.now()
    }

    pub(super) async fn turn(&self) -> Turn {
        if self.exchange.loses_turns.load(Ordering::SeqCst) {
            return Turn::new(());
        }
        Turn::new(Arc::clone(&self.exchange.turn).lock_owned().await)
    }

    /// Tells all nodes but this one.
    pub(super) fn hint(&self, hint: &Hint) {
        if self.reaches().is_err() || self.exchange.loses_hints.load(Ordering::SeqCst) {
            return;
        }
        for line in self.exchange.lines().iter().filter(|line| !line.same_channel(&self.own)) {
            // An error only says that nobody listens there.
            drop(line.send(hint.clone()));
        }
    }

    pub(super) fn hints(&self) -> broadcast::Receiver<Hint> {
        self.own.subscribe()
    }
}

impl Exchange {
    fn lines(&self) -> MutexGuard<'_, Vec<broadcast::Sender<Hint>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const HINTS_KEPT: usize = 1_024;
