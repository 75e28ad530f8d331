//! Moving the embedded store into a PostgreSQL database: everything, as it is, while no sender runs.
//!
//! Nothing is decrypted, so no key is needed, and what was encrypted stays under the key that it is under. Guarantees that
//! a move which is interrupted goes on where it was when it is carried out again; that it says so if the source has
//! changed meanwhile; that nothing is called moved before both sides have been counted and summed up alike; and that at
//! no moment a sender can work on both: the source is marked before the target is opened.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::database::Database;
use crate::store::StoreError;
use crate::store::postgres::import::{Import, Target};
use crate::store::sqlite::export::{Export, Outdated};
pub use crate::store::transfer::Summary;
use crate::store::transfer::{Kind, state};

/// What is moved, and where to.
#[derive(Debug)]
pub struct Move {
    source: Arc<Mutex<Export>>,
    path: PathBuf,
    import: Import,
    place: String,
}

/// What there is to be moved.
#[derive(Debug)]
pub struct Plan {
    /// How much of each kind.
    pub kinds: Vec<(&'static str, Summary)>,
    /// Partitions for days.
    pub days: usize,
    /// What is left of it.
    pub left: Left,
    state: String,
}

/// What is left of a move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Left {
    /// All of it.
    All,
    /// What an earlier one, which was interrupted, did not come to.
    Rest,
    /// Nothing.
    Nothing,
}

/// What a move is just doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// It counts what there is, and sums it up.
    Counting(&'static str),
    /// It moves rows.
    Moving {
        /// Of what.
        kind: &'static str,
        /// How many are there by now.
        rows: u64,
        /// How many there are in all.
        of: u64,
    },
    /// It compares what is there with what there was.
    Comparing(&'static str),
}

/// Why a store was not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The source cannot be read.
    #[error("the store {}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The target cannot be used.
    #[error("the database {place}")]
    Target {
        /// The target.
        place: String,
        /// Why.
        source: StoreError,
    },
    /// The source was moved to somewhere else.
    #[error("the store {} was moved to {to} already", path.display())]
    AlreadyMoved {
        /// The source.
        path: PathBuf,
        /// Where it is.
        to: String,
    },
    /// Senders run on the target.
    #[error(
        "senders work on the database: {names}; stop them, and wait for their leases to run out (15 seconds)"
    )]
    Nodes {
        /// What they are called.
        names: String,
    },
    /// There is something in the target.
    #[error("the database is not empty, it has {what}; name an empty one")]
    Occupied {
        /// What.
        what: String,
    },
    /// An unfinished move of something else is in the target.
    #[error(
        "a move of {from} into the database was begun and is not finished, and what is in the source now is not what was in it then: it is another store, or a sender has run on it since. Empty the database, and begin anew"
    )]
    OtherMove {
        /// Of what.
        from: String,
    },
    /// Another process moves something there at this moment.
    #[error("another process is moving a store into the database")]
    UnderWay,
    /// What is in the target is not what was in the source.
    #[error(
        "{kind} differ: {before} in the source, {after} in the database, or not with the same values. The source is as it was, and senders refuse the database. Empty it, and begin anew"
    )]
    Differs {
        /// What differs.
        kind: &'static str,
        /// How many there were.
        before: u64,
        /// How many there are.
        after: u64,
    },
}

impl MoveError {
    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source { source, .. } | Self::Target { source, .. } => source.code(),
            Self::AlreadyMoved { .. } => "move.already_moved",
            Self::Nodes { .. } => "move.nodes",
            Self::Occupied { .. } => "move.occupied",
            Self::OtherMove { .. } => "move.other_move",
            Self::UnderWay => "move.under_way",
            Self::Differs { .. } => "move.differs",
        }
    }
}

impl Move {
    /// Takes the store at `from`, and looks at the database. Nothing is written to either; with `rehearsal`, nothing ever
    /// will be, and a store of an older schema is refused instead of being brought up to date.
    ///
    /// # Errors
    /// [`MoveError`], if either cannot be used.
    pub async fn prepare(from: &Path, to: &Database, rehearsal: bool) -> Result<Self, MoveError> {
        let (path, place) = (from.to_owned(), to.to_string());
        let outdated = if rehearsal { Outdated::Refuse } else { Outdated::Update };
        let opened = tokio::task::spawn_blocking(move || Export::open(&path, outdated)).await;
        let failed = |source| MoveError::Source { path: from.to_owned(), source };
        let export = opened.map_err(|error| failed(interrupted(error)))?.map_err(failed)?;
        if let Some(to) = export.moved_to().map_err(failed)?.filter(|to| *to != place) {
            return Err(MoveError::AlreadyMoved { path: from.to_owned(), to });
        }
        let target = |source| MoveError::Target { place: place.clone(), source };
        let import = Import::connect(to).await.map_err(target)?;
        if !import.take().await.map_err(target)? {
            return Err(MoveError::UnderWay);
        }
        Ok(Self { source: Arc::new(Mutex::new(export)), path: from.to_owned(), import, place })
    }

    /// Counts what there is, and looks whether it can be moved. Nothing is written.
    ///
    /// # Errors
    /// [`MoveError`], if it cannot.
    pub async fn plan(&self, watch: &(dyn Fn(Step) + Sync)) -> Result<Plan, MoveError> {
        // What is not allowed anyway is said before all is read.
        let target = self.import.look().await.map_err(|error| self.at_target(error))?;
        if target.begun.is_none() {
            judge(&target, "")?;
        }
        let mut counted = Vec::new();
        for kind in Kind::ALL {
            watch(Step::Counting(kind.name()));
            counted.push((kind, self.read(move |source| source.summary(kind)).await?));
        }
        let state = state(&counted);
        let left = judge(&target, &state)?;
        let days = self.read(Export::days).await?.len();
        let kinds = counted.into_iter().map(|(kind, summary)| (kind.name(), summary)).collect();
        Ok(Plan { kinds, days, left, state })
    }

    /// Moves. What an earlier move has done is not done again.
    ///
    /// # Errors
    /// [`MoveError`]. The source is then as it was, or everything is in the target and the same can be done again.
    pub async fn carry_out(&self, plan: &Plan, watch: &(dyn Fn(Step) + Sync)) -> Result<(), MoveError> {
        if plan.left == Left::Nothing {
            return self.mark().await;
        }
        let import = &self.import;
        import.prepare().await.map_err(|error| self.at_target(error))?;
        let source = self.path.display().to_string();
        import
            .begin(&source, &plan.state, |target| {
                judge(target, &plan.state).map(drop).map_err(Refused::Judged)
            })
            .await
            .map_err(|refused| match refused {
                Refused::Judged(error) => error,
                Refused::Store(error) => self.at_target(error),
            })?;
        let days = self.read(Export::days).await?;
        let days = days.get(days.len().saturating_sub(MOST_DAYS)..).unwrap_or_default();
        import.make_days(days).await.map_err(|error| self.at_target(error))?;
        for (kind, (_, summary)) in Kind::ALL.into_iter().zip(&plan.kinds) {
            self.move_kind(kind, summary.rows, watch).await?;
        }
        self.compare(plan, watch).await?;
        // In this order: whatever happens in between, no sender works on either.
        self.mark().await?;
        import.finish().await.map_err(|error| self.at_target(error))
    }

    async fn move_kind(&self, kind: Kind, of: u64, watch: &(dyn Fn(Step) + Sync)) -> Result<(), MoveError> {
        let reached = self.import.reached(kind).await.map_err(|error| self.at_target(error))?;
        let (mut rows, mut next) = (reached.rows, reached.next);
        watch(Step::Moving { kind: kind.name(), rows, of });
        while let Some(after) = next {
            let page = self.read(move |source| source.page(kind, after.as_ref())).await?;
            rows += u64::try_from(page.rows.len()).unwrap_or(0);
            next = page.next.clone().map(Some);
            self.import.write(page).await.map_err(|error| self.at_target(error))?;
            watch(Step::Moving { kind: kind.name(), rows, of });
        }
        Ok(())
    }

    async fn compare(&self, plan: &Plan, watch: &(dyn Fn(Step) + Sync)) -> Result<(), MoveError> {
        for (kind, (name, before)) in Kind::ALL.into_iter().zip(&plan.kinds) {
            watch(Step::Comparing(name));
            let after = self.import.summary(kind).await.map_err(|error| self.at_target(error))?;
            if !before.matches(&after) {
                let (before, after) = (before.rows, after.rows);
                return Err(MoveError::Differs { kind: name, before, after });
            }
        }
        Ok(())
    }

    async fn mark(&self) -> Result<(), MoveError> {
        let place = self.place.clone();
        self.read(move |source| source.mark_moved(&place)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Export) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, MoveError> {
        let source = Arc::clone(&self.source);
        let done =
            tokio::task::spawn_blocking(move || work(&source.lock().unwrap_or_else(PoisonError::into_inner)));
        let failed = |source| MoveError::Source { path: self.path.clone(), source };
        done.await.map_err(|error| failed(interrupted(error)))?.map_err(failed)
    }

    fn at_target(&self, source: StoreError) -> MoveError {
        MoveError::Target { place: self.place.clone(), source }
    }
}

/// Why a move was not begun.
enum Refused {
    Judged(MoveError),
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Whether a store in this state can be moved there, and what is left to do.
fn judge(target: &Target, state: &str) -> Result<Left, MoveError> {
    match &target.begun {
        Some(begun) if begun.is_finished && begun.state == state => return Ok(Left::Nothing),
        Some(begun) if begun.is_finished => {
            let what = format!("the store {}, which was moved there", begun.source);
            return Err(MoveError::Occupied { what });
        }
        Some(begun) if begun.state != state => {
            return Err(MoveError::OtherMove { from: begun.source.clone() });
        }
        _ => {}
    }
    if !target.nodes.is_empty() {
        return Err(MoveError::Nodes { names: target.nodes.join(", ") });
    }
    match (&target.begun, &target.occupied_by) {
        (Some(_), _) => Ok(Left::Rest),
        (None, None) => Ok(Left::All),
        (None, Some(what)) => Err(MoveError::Occupied { what: what.clone() }),
    }
}

fn interrupted(error: tokio::task::JoinError) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// The latest days that get partitions; what is older goes row by row when its time is over.
const MOST_DAYS: usize = 400;
