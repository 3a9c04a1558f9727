//! The embedded store: one file, one writer, write-ahead log, every commit flushed.
//!
//! Knows SQLite and nothing of what an op means.

use super::reading::SqlReader;
use super::recent::Recent;
use super::sql::{Arg, Row, Sql, Value};
use super::{Backend, Committed, Op, Reader, StoreError, semantics};
use crate::transaction::Day;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

mod migrations {
    refinery::embed_migrations!("src/store/migrations/sqlite");
}

/// How long a commit waits for another process (a verb of the command line) to end its own.
const BUSY: Duration = Duration::from_secs(5);

/// Statements kept prepared; the room has fewer.
const STATEMENTS: usize = 128;

/// For a reader: 64 MB of cache, temporary tables in memory.
const READER: &str = "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;";

/// Write-ahead log, a flush at every commit, and a checkpoint only after 40 MB of log: smaller
/// ones stall commits more often (measured), larger ones only grow the log. The cache is small, because SQLite
/// looks through all of it in a commit that split a page, and payments are appended: 16 MB.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 10000; \
     PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;";

/// The writer's connection.
pub(super) struct SqliteBackend {
    connection: Connection,
    /// Read when first needed, and again after whatever failed: the tables hold all of it.
    recent: Option<Recent>,
}

impl SqliteBackend {
    /// Opens the file, creates it when it is not there (mode 0600), and brings its tables up to date.
    pub(super) fn open(path: &Path, first_day: Day) -> Result<Self, StoreError> {
        guard(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.execute_batch(WRITER)?;
        migrations::migrations::runner()
            .run(&mut connection)
            .map_err(|error| StoreError::Unavailable(format!("migration: {error}")))?;
        let mut backend = Self { connection, recent: None };
        backend.transaction(|sql| semantics::found(sql, first_day))?;
        Ok(backend)
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Statements<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let run = |text: &str| -> Result<(), StoreError> {
            self.connection.prepare_cached(text)?.raw_execute()?;
            Ok(())
        };
        run("BEGIN IMMEDIATE")?;
        let result = {
            let (connection, recent) = (&self.connection, &mut self.recent);
            let mut statements = Statements { connection, held: Vec::new(), recent };
            work(&mut statements).and_then(|done| run("COMMIT").map(|()| done))
        };
        if result.is_err() {
            self.recent = None;
            if !self.connection.is_autocommit() {
                run("ROLLBACK")?;
            }
        }
        result
    }
}

impl Backend for SqliteBackend {
    fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError> {
        self.transaction(|sql| {
            sql.check_recent()?;
            let mut clock = semantics::clock_held(sql, ops)?;
            let mut outcomes = Vec::with_capacity(ops.len());
            for op in ops {
                outcomes.push(semantics::apply(sql, &mut clock, op)?);
            }
            if sql.recent.is_some() {
                semantics::merge(sql)?;
            }
            Ok(outcomes)
        })
    }
}

/// Opens a read-only connection to a store that [`SqliteBackend::open`] has made.
pub(super) fn reader(path: &Path) -> Result<Box<dyn Reader>, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch(READER)?;
    Ok(Box::new(SqlReader(ReadOnly(connection))))
}

/// Creates the file for its owner alone before SQLite does; its log files take the same mode.
fn guard(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let file =
        std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(unusable)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(unusable)
}

/// The statements of the writer's open transaction. Each is fetched once and held: a slice repeats few, and to
/// fetch one from the connection's cache costs more than to run it.
struct Statements<'c> {
    connection: &'c Connection,
    held: Vec<(String, CachedStatement<'c>)>,
    recent: &'c mut Option<Recent>,
}

impl<'c> Statements<'c> {
    /// Another process may write payments too: then what is in memory here is not all.
    fn check_recent(&mut self) -> Result<(), StoreError> {
        let held = self.recent.take();
        if let Some(recent) = held
            && semantics::is_own(self, &recent)?
        {
            *self.recent = Some(recent);
        }
        Ok(())
    }

    fn bound(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<&mut CachedStatement<'c>, StoreError> {
        let place = match self.held.iter().position(|(text, _)| text == sql) {
            Some(place) => place,
            None => {
                self.held.push((sql.to_owned(), self.connection.prepare_cached(sql)?));
                self.held.len() - 1
            }
        };
        let held = self.held.get_mut(place).map(|(_, statement)| statement);
        let statement = held.ok_or_else(|| StoreError::Unavailable("a statement is gone".into()))?;
        bind(statement, args)?;
        Ok(statement)
    }
}

impl Sql for Statements<'_> {
    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        rows(self.bound(sql, args)?)
    }

    fn query_locked(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.query(sql, args)
    }

    fn query_shared(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.query(sql, args)
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        Ok(self.bound(sql, args)?.raw_execute()? as u64)
    }

    fn recent(&mut self) -> Result<Option<&mut Recent>, StoreError> {
        if self.recent.is_none() {
            *self.recent = Some(semantics::take_over(self)?);
        }
        Ok(self.recent.as_mut())
    }
}

/// A connection that cannot write.
struct ReadOnly(Connection);

impl Sql for ReadOnly {
    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        query(&self.0, sql, args)
    }

    fn query_locked(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        query(&self.0, sql, args)
    }

    fn query_shared(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        query(&self.0, sql, args)
    }

    fn execute(&mut self, _sql: &str, _args: &[Arg<'_>]) -> Result<u64, StoreError> {
        Err(StoreError::Unavailable("a read-only connection was asked to write".into()))
    }
}

fn query(connection: &Connection, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, args)?;
    rows(&mut statement)
}

fn bind(statement: &mut CachedStatement<'_>, args: &[Arg<'_>]) -> Result<(), StoreError> {
    for (place, arg) in args.iter().enumerate() {
        statement.raw_bind_parameter(place + 1, arg)?;
    }
    Ok(())
}

fn rows(statement: &mut CachedStatement<'_>) -> Result<Vec<Row>, StoreError> {
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(width);
        for place in 0..width {
            values.push(value(row.get_ref(place)?)?);
        }
        found.push(Row::new(values));
    }
    Ok(found)
}

fn value(value: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(_) => return Err(StoreError::Corrupt("a column holds a fraction".into())),
        ValueRef::Text(text) => {
            let text =
                std::str::from_utf8(text).map_err(|_| StoreError::Corrupt("text is not UTF-8".into()))?;
            Value::Text(text.to_owned())
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

impl rusqlite::ToSql for Arg<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<rusqlite::Error> for StoreError {
    /// The texts of SQLite name tables, columns and statements, never values.
    fn from(error: rusqlite::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}
