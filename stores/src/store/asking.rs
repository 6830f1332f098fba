//! How the database is opened and asked: in time, or it is away.

use super::{Inner, SqlStore};
use crate::circuit::{self, Circuit};
use crate::costs::Costs;
use crate::place::{self, OpenError, PATIENCE, Place};
use crate::schema::{self, Schema};
use crate::watcher::{Asker, Availability, Watcher};
use countersign::accounts::{AccountError, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

impl SqlStore {
    /// Opens the database at a place whose tables are there, and as this version of the library needs them.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Schema`] where the tables are to be made first: [`Place::migrate`].
    pub async fn open(place: &Place) -> Result<Self, OpenError> {
        let store = Self::at(place)?;
        match store.look().await {
            Ok(()) => Ok(store),
            Err(error) => Err(store.given_up(place, error).await),
        }
    }

    async fn given_up(&self, place: &Place, error: OpenError) -> OpenError {
        self.close().await;
        place.explained(error)
    }

    /// As [`SqlStore::open`], also where the database can't be reached now: it is asked again with each call, and whether its tables are as they
    /// should be is looked at before the first that it answers. Gives why it can't be reached, too.
    ///
    /// # Errors
    /// As [`SqlStore::open`], but for [`OpenError::Away`].
    pub async fn open_even_if_away(place: &Place) -> Result<(Self, Option<OpenError>), OpenError> {
        let store = Self::at(place)?;
        match store.look().await {
            Ok(()) => Ok((store, None)),
            // The watcher, which is yet to come, is told of it at the first call.
            Err(error @ OpenError::Away(_)) => {
                // What a start asks next does not wait for it again.
                if let Some(asking) = store.0.circuit.ask() {
                    store.0.circuit.failed(&asking);
                }
                Ok((store, Some(error)))
            }
            Err(error) => Err(store.given_up(place, error).await),
        }
    }

    fn at(place: &Place) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Inner {
            database: place.database()?,
            is_ready: AtomicBool::new(false),
            costs: Costs::default(),
            circuit: Circuit::new(circuit::EVERY),
            watcher: Watcher::default(),
        })))
    }

    /// Whether the tables are as they should be, and what unknown names cost.
    async fn look(&self) -> Result<(), OpenError> {
        match schema::look(&self.0.database).await? {
            Schema::Current | Schema::Compatible { .. } => {}
            other => return Err(OpenError::Schema(other)),
        }
        let read = tokio::time::timeout(PATIENCE, self.0.costs.read(&self.0.database)).await;
        read.map_err(|late| OpenError::Away(Box::new(late)))?.map_err(OpenError::away)?;
        self.0.is_ready.store(true, Relaxed);
        Ok(())
    }

    /// Tells when the database goes away, and when it is back: as soon as a login finds it so, or [`SqlStore::check`].
    /// A second observer takes the first one's place.
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(Availability<'_>) + Send + Sync + 'static) -> Self {
        self.0.watcher.set(observer);
        self
    }

    /// Whether the database answers, and its tables are as they should be: to be asked every few seconds by a server that wants to know.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn check(&self) -> Result<(), StoreError> {
        let found = match schema::look(&self.0.database).await {
            Ok(Schema::Current | Schema::Compatible { .. }) => self.ready().await.map_err(unfit),
            Ok(other) => {
                // Somebody has migrated them, or put other ones there.
                self.0.is_ready.store(false, Relaxed);
                Err(unfit(OpenError::Schema(other)))
            }
            Err(error) => Err(unfit(error)),
        };
        match &found {
            Ok(()) => self.answered(Asker::Check),
            Err(error) => self.0.watcher.away(Asker::Check, error),
        }
        found
    }

    /// Why accounts can't be changed, where they can be read: so no server takes a second factor or a recovery code, which are good once. `None` where
    /// they can be, as far as can be seen without a change.
    ///
    /// # Errors
    /// [`StoreError::Away`].
    pub async fn unwritable(&self) -> Result<Option<String>, StoreError> {
        // What is locked while an account is changed wants the right to change it.
        const SELECT: &str = "SELECT CASE \
             WHEN current_setting('transaction_read_only') = 'on' THEN 'transactions are read-only, as on a standby' \
             WHEN NOT has_any_column_privilege('accounts', 'UPDATE') THEN 'its role may not UPDATE accounts' \
             WHEN NOT has_any_column_privilege('roles', 'UPDATE') THEN 'its role may not UPDATE roles' END AS why";
        self.read_whole(async {
            let database = &self.0.database;
            if !database.is_sqlite() {
                let rows = database.read(SELECT, Vec::new()).await?;
                return rows.first().map_or(Ok(None), |row| row.maybe("why"));
            }
            let written = async { database.begin().await?.run(WRITE_NOTHING, Vec::new()).await };
            match written.await {
                Err(error) if place::refuses_to_write(&error) => Ok(Some(error.to_string())),
                written => written.map(|_| None),
            }
        })
        .await
    }

    fn answered(&self, asker: Asker) {
        self.0.circuit.answered();
        self.0.watcher.back(asker);
    }

    async fn ready(&self) -> Result<(), OpenError> {
        if self.0.is_ready.load(Relaxed) { Ok(()) } else { self.look().await }
    }

    /// Reads. What can't be read is noticed at once.
    pub(crate) async fn read<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        self.within(PATIENCE, Kind::Read, work).await
    }

    /// Reads all rows of a table. Where there are very many that takes long, and is no absence.
    pub(super) async fn read_whole<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        self.within(PATIENCE, Kind::Whole, work).await
    }

    /// Writes.
    pub(crate) async fn write<T>(&self, work: impl Future<Output = Result<T, Failed>>) -> Result<T, StoreError> {
        self.within(PATIENCE, Kind::Write, work).await
    }

    /// Writes much.
    pub(crate) async fn write_within<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, StoreError> {
        self.within(patience, Kind::Write, work).await
    }

    /// Does something within a time, once the tables are known to be as they should be; or not at all, while the database is away.
    async fn within<T, E: Into<Failed>>(
        &self,
        patience: Duration,
        kind: Kind,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        let Some(asking) = self.0.circuit.ask() else {
            return Err(StoreError::Away { what: "the database did not answer a moment ago", source: None });
        };
        // What is done in one piece would be carried through all the futures around it by value, and they are deep.
        let work = Box::pin(work);
        let done = async {
            self.ready().await?;
            work.await.map_err(Into::into)
        };
        let (error, fault) = match tokio::time::timeout(patience, done).await {
            Ok(Ok(done)) => {
                self.answered(Asker::Login);
                if matches!(kind, Kind::Write) {
                    self.0.watcher.written();
                }
                return Ok(done);
            }
            Ok(Err(Failed::Store(error))) => (error, Fault::Own),
            Ok(Err(Failed::Open(error))) => {
                let fault = if matches!(error, OpenError::Away(_)) { Fault::Gone } else { Fault::Unfit };
                (unfit(error), fault)
            }
            Ok(Err(Failed::Sql(error))) if matches!(kind, Kind::Write) && place::refuses_to_write(&error) => {
                let error = StoreError::away("the database refuses to write", error);
                self.0.watcher.read_only(&error);
                (error, Fault::Own)
            }
            Ok(Err(Failed::Sql(error))) => {
                let fault = if is_gone(&error) { Fault::Gone } else { Fault::Own };
                (away(error), fault)
            }
            Err(late) => (StoreError::away("the database does not answer in time", late), Fault::Gone),
        };
        // Of what can't be written somebody else may be the cause, who writes.
        if matches!(kind, Kind::Read) {
            if matches!(fault, Fault::Gone) {
                self.0.circuit.failed(&asking);
            }
            // It is told what others would be told, too: not by one question's error, which the next one's answer would take back.
            if matches!(fault, Fault::Unfit) || self.0.circuit.is_away() {
                self.0.watcher.away(Asker::Login, &error);
            }
        }
        Err(error)
    }
}

/// What SQLite refuses where it would refuse a change. To begin as a writer is not enough: where it can't be one, it begins as a reader, and says nothing.
pub(crate) const WRITE_NOTHING: &str = "UPDATE accounts SET name = name WHERE FALSE";

/// What keeps a question from its answer.
enum Fault {
    /// Nobody is there who could answer.
    Gone,
    /// Nobody is asked anything with these tables.
    Unfit,
    /// It may be this question's alone.
    Own,
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Whole,
    Write,
}

/// What goes wrong in the middle of something.
pub(crate) enum Failed {
    Sql(sqlx::Error),
    Store(StoreError),
    /// Before it began.
    Open(OpenError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AccountError> for Failed {
    fn from(error: AccountError) -> Self {
        Self::Store(error.into())
    }
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

/// Whether nobody was there who could answer. An answer, whatever it says, comes at once, and may be to this question alone, so others
/// are asked for all the same.
fn is_gone(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    matches!(error, Io(_) | PoolClosed | PoolTimedOut | Protocol(_) | Tls(_) | WorkerCrashed)
}

/// Tables that can't be used.
fn unfit(error: OpenError) -> StoreError {
    let what = match error {
        OpenError::Schema(_) => "the tables of the database are not as this program needs them",
        _ => "the database is away",
    };
    StoreError::away(what, error)
}

pub(super) fn away(error: sqlx::Error) -> StoreError {
    let what = match error {
        sqlx::Error::PoolTimedOut => "the database has no connection to give",
        _ => "the database is away",
    };
    StoreError::away(what, error)
}
