//! The store of several daemons: PostgreSQL, one connection for the writer, on a runtime of its own.
//!
//! Payments without an original, and their outcomes, go as arrays, a statement for the whole
//! slice; every other op runs the same statements as on SQLite. Knows PostgreSQL and nothing of
//! what an op means.

mod connection;
mod hot;

pub(super) use connection::reader;

use super::{Backend, Committed, Op, StoreError, StoreOptions, semantics};
use connection::{Failure, Link, Statements};

mod migrations {
    refinery::embed_migrations!("src/store/migrations/postgres");
}

/// How often a slice is run again when another node's commit was in its way.
const CONFLICT_RETRIES: u32 = 5;

/// How often migrations are tried: of several nodes that start together, one wins, and the
/// others find its work done.
const MIGRATION_TRIES: u32 = 5;

/// The writer.
pub(super) struct PostgresBackend {
    link: Link,
}

impl PostgresBackend {
    /// Connects and brings the tables up to date.
    pub(super) fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        let mut backend = Self { link: Link::new(options, connection::WRITER)? };
        backend.migrate()?;
        let first_day = options.first_day;
        backend.transaction(|sql| semantics::found(sql, first_day))?;
        Ok(backend)
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.link.migrate(&migrations::migrations::runner()) {
                Err(StoreError::Unavailable(_)) if tries < MIGRATION_TRIES => self.link.evict(),
                result => return result,
            }
        }
    }

    /// Runs `work` in a transaction, again when it lost against another node's.
    fn transaction<T>(
        &mut self,
        mut work: impl FnMut(&mut Statements<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tries = 0;
        loop {
            let mut statements = self.link.statements()?;
            let result = statements.run("BEGIN").and_then(|()| work(&mut statements));
            let result = result.and_then(|done| statements.run("COMMIT").map(|()| done));
            let Err(error) = result else { return result };
            let failure = match statements.failure() {
                Failure::Lost => Failure::Lost,
                // The transaction may still be open; a connection that cannot end it is of no use.
                other if statements.run("ROLLBACK").is_ok() => other,
                Failure::Conflict | Failure::Other => Failure::Lost,
            };
            tries += 1;
            match failure {
                Failure::Conflict if tries <= CONFLICT_RETRIES => {}
                Failure::Conflict | Failure::Other => return Err(error),
                Failure::Lost => {
                    self.link.evict();
                    return Err(error);
                }
            }
        }
    }
}

impl Backend for PostgresBackend {
    fn commit(&mut self, ops: &[Op]) -> Result<Vec<Committed>, StoreError> {
        self.transaction(|sql| {
            let mut clock = semantics::clock_held(sql, ops)?;
            let mut outcomes = hot::run(sql, &clock, ops)?;
            for (place, op) in outcomes.iter_mut().zip(ops) {
                if place.is_none() {
                    *place = Some(semantics::apply(sql, &mut clock, op)?);
                }
            }
            Ok(outcomes.into_iter().flatten().collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{FIRST_DAY, Servers, ops};
    use crate::store::{Engine, EngineOptions, Filter, Outcome, open};
    use tokio::task::LocalSet;

    fn options(url: String) -> StoreOptions {
        StoreOptions { url, first_day: FIRST_DAY, ca_file: None }
    }

    #[tokio::test]
    async fn a_lost_connection_is_made_anew_and_nothing_is_stored_twice() {
        let mut servers = Servers::start();
        let (backend, mut reader) = open(&options(servers.url())).unwrap();
        let engine = Engine::start(backend, EngineOptions::default()).unwrap();
        LocalSet::new()
            .run_until(async {
                let store = engine.store();
                for id in 1..=3 {
                    servers.cut_connections();
                    let stored = store.submit(ops::sale_of(id, "1")).await;
                    assert!(matches!(stored.outcome, Outcome::Stored { .. }), "{stored:?}");
                }
            })
            .await;
        engine.stop();
        // The reader's own connection was cut too: it fails once and comes back.
        let found =
            reader.transactions(&Filter::default()).or_else(|_| reader.transactions(&Filter::default()));
        assert_eq!(found.unwrap().len(), 3);
    }

    #[test]
    fn an_unreachable_server_is_said_to_be_so() {
        let rows = [
            "postgres://postgres@%2Fnonexistent%2Ffolder/x",
            "postgres://postgres@127.0.0.1:1,127.0.0.1:2/x?connect_timeout=1",
            "postgres://postgres@localhost/x?nonsense=1",
        ];
        for url in rows {
            let error = open(&options(url.into())).err().map(|error| error.to_string()).unwrap();
            assert!(error.starts_with("store unavailable: "), "{error}");
        }
    }
}
