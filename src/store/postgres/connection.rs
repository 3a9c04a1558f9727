//! Connections: where they lead, what they are told first, which failures end them.

use crate::store::reading::SqlReader;
use crate::store::sql::{Arg, Row, Sql, Value};
use crate::store::{Reader, StoreError, StoreOptions};
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};

/// A statement that takes longer has lost its server; the server gives up a little earlier.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection that is not made by then is not made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Statements in flight at once when one statement runs for many rows.
const PIPELINE: usize = 256;

/// What every connection is told first.
const COMMON: &str = "SET statement_timeout = 3000; SET lock_timeout = 2000; \
     SET idle_in_transaction_session_timeout = 10000;";

/// The writer's statements were planned over empty tables once and for all: only index scans stay
/// right when they are full.
pub(super) const WRITER: &str = "SET synchronous_commit = on; SET enable_seqscan = off; \
     SET plan_cache_mode = force_generic_plan;";

/// Readers scan as they like, and change nothing.
const READER: &str = "SET default_transaction_read_only = on;";

/// Why a statement failed, as far as it matters for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another transaction was in the way: run again.
    Conflict,
    /// The connection leads nowhere any more, or to a server that may not write.
    Lost,
    /// Anything else.
    Other,
}

impl Failure {
    fn of(error: &tokio_postgres::Error) -> Self {
        let Some(code) = error.code().map(tokio_postgres::error::SqlState::code) else { return Self::Lost };
        match code {
            // serialization_failure, deadlock_detected
            "40001" | "40P01" => Self::Conflict,
            // read_only_sql_transaction: the server was demoted
            "25006" => Self::Lost,
            // operator intervention, connection exceptions; query_canceled is a timeout
            code if code.starts_with("08") || code.starts_with("57P0") => Self::Lost,
            _ => Self::Other,
        }
    }
}

/// Code and message, never the detail: that may hold a row's values.
fn describe(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |db| format!("{} {}", db.code().code(), db.message()))
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// One connection at a time out of a pool, and the runtime that drives it.
pub(super) struct Link {
    // Dropped before the runtime that drives it.
    held: Option<Object>,
    pool: Pool,
    runtime: Driver,
}

/// A runtime to wait on, also from a thread that is inside another one (a test, a start-up): there
/// the waiting is done by a thread made for it.
struct Driver(Option<Runtime>);

impl Driver {
    fn new() -> Result<Self, StoreError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
        Ok(Self(Some(runtime)))
    }

    fn wait<T: Send>(&self, work: impl Future<Output = T> + Send) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("the connection's runtime ended".into());
        let runtime = self.0.as_ref().ok_or_else(gone)?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Ok(runtime.block_on(work));
        }
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join()).map_err(|_| gone())
    }
}

impl Drop for Driver {
    /// Without waiting, which a thread inside another runtime may not do.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Link {
    /// Prepares the pool; connects when first asked for a connection.
    pub(super) fn new(options: &StoreOptions, first: &'static str) -> Result<Self, StoreError> {
        let mut config: Config =
            options.url.parse().map_err(|error| unavailable(format!("store URL: {error}")))?;
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(STATEMENT_TIMEOUT);
        }
        config.application_name("tollgate");
        let mut tls = SslConnector::builder(SslMethod::tls()).map_err(unavailable)?;
        if let Some(file) = &options.ca_file {
            tls.set_ca_file(file).map_err(unavailable)?;
        }
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, MakeTlsConnector::new(tls.build()), recycle);
        let prepare = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move {
                client.batch_execute(COMMON).await.map_err(HookError::Backend)?;
                client.batch_execute(first).await.map_err(HookError::Backend)
            })
        });
        let pool = Pool::builder(manager).max_size(2).post_create(prepare).build().map_err(unavailable)?;
        Ok(Self { held: None, pool, runtime: Driver::new()? })
    }

    fn client(&mut self) -> Result<(&Driver, &mut Object), StoreError> {
        let client = match self.held.take() {
            Some(client) if !client.is_closed() => client,
            Some(_) | None => self.runtime.wait(self.pool.get())?.map_err(|error| {
                if let deadpool_postgres::PoolError::Backend(error) = &error {
                    return unavailable(describe(error));
                }
                unavailable(error)
            })?,
        };
        Ok((&self.runtime, self.held.insert(client)))
    }

    /// The statements of a live connection.
    pub(super) fn statements(&mut self) -> Result<Statements<'_>, StoreError> {
        let (runtime, client) = self.client()?;
        Ok(Statements { runtime, client, failure: Failure::Other })
    }

    /// Brings the tables up to date.
    pub(super) fn migrate(&mut self, runner: &refinery::Runner) -> Result<(), StoreError> {
        let (runtime, client) = self.client()?;
        let plain: &mut tokio_postgres::Client = client;
        let report = runtime.wait(runner.run_async(plain))?;
        report.map(|_| ()).map_err(|error| unavailable(format!("migration: {error}")))
    }

    /// Throws the connection away instead of giving it back.
    pub(super) fn evict(&mut self) {
        if let Some(client) = self.held.take() {
            drop(Object::take(client));
        }
    }
}

/// The statements of one connection.
pub(super) struct Statements<'l> {
    runtime: &'l Driver,
    client: &'l Object,
    failure: Failure,
}

impl Statements<'_> {
    /// Why the last statement failed.
    pub(super) fn failure(&self) -> Failure {
        self.failure
    }

    /// Runs a statement without parameters.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), StoreError> {
        let client = self.client;
        self.wait(client.batch_execute(sql))
    }

    /// Runs a statement of whole arrays.
    pub(super) fn arrays(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.client;
        let rows = self.wait(async move {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        })?;
        rows.iter().map(row).collect()
    }

    fn wait<T: Send>(
        &mut self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>> + Send,
    ) -> Result<T, StoreError> {
        match self.runtime.wait(async { tokio::time::timeout(STATEMENT_TIMEOUT, work).await })? {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.failure = Failure::of(&error);
                Err(unavailable(describe(&error)))
            }
            Err(_) => {
                self.failure = Failure::Lost;
                Err(StoreError::Unavailable("no answer from the server in time".into()))
            }
        }
    }
}

impl Sql for Statements<'_> {
    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        let params: Vec<&(dyn ToSql + Sync)> = args.iter().map(|arg| arg as _).collect();
        self.arrays(sql, &params)
    }

    fn query_locked(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.query(&format!("{sql} FOR UPDATE"), args)
    }

    fn query_shared(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.query(&format!("{sql} FOR SHARE"), args)
    }

    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let client = self.client;
        self.wait(async move {
            let statement = client.prepare_cached(sql).await?;
            client.execute_raw(&statement, args).await
        })
    }

    fn execute_many(&mut self, sql: &str, rows: &[Vec<Arg<'_>>]) -> Result<(), StoreError> {
        let client = self.client;
        for chunk in rows.chunks(PIPELINE) {
            self.wait(async move {
                let statement = client.prepare_cached(sql).await?;
                all(chunk.iter().map(|row| client.execute_raw(&statement, row)).collect()).await
            })?;
        }
        Ok(())
    }
}

/// Drives futures side by side, so that their statements are on the wire together.
async fn all<F: Future<Output = Result<u64, tokio_postgres::Error>>>(
    futures: Vec<F>,
) -> Result<(), tokio_postgres::Error> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        let mut failed = None;
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(_)) => false,
            Poll::Ready(Err(error)) => {
                failed = Some(error);
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if waiting.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

fn row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let mut values = Vec::with_capacity(row.len());
    for (place, column) in row.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT8 => row.try_get(place).map(|v: Option<i64>| v.map_or(Value::Null, Value::Int)),
            Type::INT4 => {
                row.try_get(place).map(|v: Option<i32>| v.map_or(Value::Null, |n| Value::Int(n.into())))
            }
            Type::TEXT | Type::VARCHAR => {
                row.try_get(place).map(|v: Option<String>| v.map_or(Value::Null, Value::Text))
            }
            Type::BYTEA => row.try_get(place).map(|v: Option<Vec<u8>>| v.map_or(Value::Null, Value::Blob)),
            ref other => return Err(StoreError::Corrupt(format!("a column of type {other}"))),
        };
        values.push(value.map_err(|error| StoreError::Corrupt(error.to_string()))?);
    }
    Ok(Row::new(values))
}

impl ToSql for Arg<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
            Self::Blob(bytes) => bytes.to_sql(kind, out),
        }
    }

    /// Every column is a `BIGINT`, a `TEXT` or a `BYTEA`, and each statement knows which.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A reader with a connection of its own, made anew when it was lost.
pub(in crate::store) fn reader(options: &StoreOptions) -> Result<Box<dyn Reader>, StoreError> {
    Ok(Box::new(SqlReader(Readers(Link::new(options, READER)?))))
}

struct Readers(Link);

impl Sql for Readers {
    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        let mut statements = self.0.statements()?;
        let result = statements.query(sql, args);
        if result.is_err() && statements.failure() == Failure::Lost {
            self.0.evict();
        }
        result
    }

    fn query_locked(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.query(sql, args)
    }

    fn query_shared(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        self.query(sql, args)
    }

    fn execute(&mut self, _sql: &str, _args: &[Arg<'_>]) -> Result<u64, StoreError> {
        Err(StoreError::Unavailable("a read-only connection was asked to write".into()))
    }
}
