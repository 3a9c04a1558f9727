//! The arbiter: what is stored here decides what happened.
//!
//! A [`Backend`] commits a slice of [`Op`]s as one transaction. One group-commit engine
//! drives either backend; workers talk to it through a [`Store`] handle.

#[cfg(test)]
mod conformance;
mod engine;
mod handle;
mod key_slot;
mod op;
mod postgres;
mod reading;
mod recent;
mod rows;
mod semantics;
mod sql;
mod sqlite;
#[cfg(any(test, feature = "test-support"))]
pub mod test_cluster;

pub use engine::{CommitPoint, Engine, EngineCounts, EngineOptions, commit_one};
pub use handle::Store;
pub use op::*;

use crate::transaction::{Day, IssuerId, Mid, Tid, TxnId};

/// Why the store cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be opened or lost its connection.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// A row does not hold what its column promises.
    #[error("store holds a value that does not fit: {0}")]
    Corrupt(String),
}

/// Where a store is.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `sqlite:PATH`, or `postgres://user@host1,host2/name?target_session_attrs=read-write&sslmode=require`.
    pub url: String,
    /// The business day of a store that is made now; an older one keeps its own.
    pub first_day: Day,
    /// Certificates (PEM) that a PostgreSQL server's must lead to, when not to the system's.
    pub ca_file: Option<std::path::PathBuf>,
}

/// A store's writer and a reader of it.
pub type Opened = (Box<dyn Backend>, Box<dyn Reader>);

/// Opens the store that the URL names, makes it when it is not there, and brings its tables up to date.
///
/// # Errors
/// [`StoreError::Unavailable`] when it cannot be reached, opened or migrated, or when the URL names no store.
pub fn open(options: &StoreOptions) -> Result<Opened, StoreError> {
    if let Some(path) = options.url.strip_prefix("sqlite:") {
        let path = std::path::Path::new(path);
        let backend = sqlite::SqliteBackend::open(path, options.first_day)?;
        return Ok((Box::new(backend), sqlite::reader(path)?));
    }
    if options.url.starts_with("postgres://") || options.url.starts_with("postgresql://") {
        let backend = postgres::PostgresBackend::open(options)?;
        return Ok((Box::new(backend), postgres::reader(options)?));
    }
    Err(StoreError::Unavailable("a store is named sqlite:PATH or postgres://…".into()))
}

/// One store. Synchronous: one commit for the slice, one outcome per op.
pub trait Backend: Send {
    /// Commits `ops` as one transaction and answers each.
    ///
    /// # Errors
    /// [`StoreError`]: nothing, or everything, was stored; asking again is safe (see [`Op`]).
    fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError>;
}

/// Which transactions a reader wants.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this business day.
    pub day: Option<Day>,
    /// Of this terminal.
    pub tid: Option<Tid>,
    /// Of this merchant.
    pub mid: Option<Mid>,
    /// Of this issuer.
    pub issuer: Option<IssuerId>,
    /// With this id.
    pub id: Option<TxnId>,
    /// Which a file of this day presented or took back.
    pub in_file_of: Option<Day>,
    /// At most so many, newest first; all, in order of receipt, when absent.
    pub latest: Option<usize>,
}

/// A batch, for people.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// DE 41.
    pub tid: Tid,
    /// DE 42.
    pub mid: Mid,
    /// Number.
    pub batch: crate::transaction::BatchNo,
    /// `open`, `settling` or `closed`.
    pub state: String,
    /// Why it closed.
    pub reason: Option<String>,
    /// What the terminal claimed last and what the host counted then.
    pub settled: Option<Settle>,
    /// Uploaded items.
    pub uploaded: u32,
    /// The terminal's count of uploads differed from ours.
    pub count_differs: bool,
    /// Milliseconds since the epoch.
    pub closed_ms: Option<i64>,
}

/// The working keys that a terminal may use now.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// The newest.
    pub current: Option<WorkingKeys>,
    /// The one before, until the newest was proven.
    pub previous: Option<WorkingKeys>,
    /// Messages under the newest, those that nodes claimed ahead among them.
    pub uses: u64,
}

/// Everything that the workers hold in memory, read whole when the revision moves.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// The revision read.
    pub revision: i64,
    /// Merchants.
    pub merchants: Vec<Merchant>,
    /// Terminals with the working keys they hold.
    pub terminals: Vec<(Terminal, Session)>,
    /// BIN ranges.
    pub routes: Vec<Route>,
    /// Issuers.
    pub issuers: Vec<Issuer>,
    /// Zone keys that are, or were, changed in service.
    pub zone_keys: Vec<ZoneKeyState>,
    /// Named keys.
    pub keys: Vec<NamedKey>,
}

/// A read-only connection, for people, files and start-up; never used by a worker thread while it serves.
pub trait Reader: Send {
    /// The open business day and the revision.
    ///
    /// # Errors
    /// [`StoreError`].
    fn day(&mut self) -> Result<(Day, i64), StoreError>;
    /// Reference data and sessions.
    ///
    /// # Errors
    /// [`StoreError`].
    fn directory(&mut self) -> Result<Directory, StoreError>;
    /// The working keys of one terminal, as they are now.
    ///
    /// # Errors
    /// [`StoreError`].
    fn session(&mut self, mid: Mid, tid: Tid) -> Result<Session, StoreError>;
    /// Transactions; reversals by terminals among them ([`crate::transaction::Kind::Reversal`]).
    ///
    /// # Errors
    /// [`StoreError`].
    fn transactions(&mut self, filter: &Filter) -> Result<Vec<Stored>, StoreError>;
    /// Batches, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn batches(&mut self) -> Result<Vec<BatchRow>, StoreError>;
    /// Files of a day, or all.
    ///
    /// # Errors
    /// [`StoreError`].
    fn files(&mut self, day: Option<Day>) -> Result<Vec<SettlementFile>, StoreError>;
    /// The journal of a day, or all of it, in the order it was posted.
    ///
    /// # Errors
    /// [`StoreError`].
    fn postings(&mut self, day: Option<Day>) -> Result<Vec<crate::ledger::Posting>, StoreError>;
    /// Store-and-forward entries that wait, per issuer: how many, and since when (ms).
    ///
    /// # Errors
    /// [`StoreError`].
    fn saf_depth(&mut self) -> Result<Vec<(IssuerId, u64, i64)>, StoreError>;
}
