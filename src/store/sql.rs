//! The few SQL verbs that both stores speak, so that what an op means is written once.
//!
//! Statements are shared texts: parameters are `$1`, `$2` … and every number appears for the
//! first time in ascending order, because SQLite numbers `$n` by first appearance.

use super::StoreError;
use super::recent::Recent;

/// A parameter of a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arg<'a> {
    /// SQL NULL.
    Null,
    /// `BIGINT`.
    Int(i64),
    /// `TEXT`.
    Text(&'a str),
    /// `BLOB` or `BYTEA`.
    Blob(&'a [u8]),
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<u32> for Arg<'_> {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}
impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}
impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}
impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(value)
    }
}
impl<'a, T: Into<Arg<'a>>> From<Option<T>> for Arg<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A value of a result row.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// SQL NULL.
    Null,
    /// Any integer.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A result row, read column by column.
#[derive(Debug)]
pub(super) struct Row(std::vec::IntoIter<Value>);

/// What a column failed to be. Never carries the value itself.
fn misfit(want: &str) -> StoreError {
    StoreError::Corrupt(format!("a column is not {want}"))
}

impl Row {
    /// A row of these values.
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    /// The next column as a number, or NULL.
    pub(super) fn opt_int(&mut self) -> Result<Option<i64>, StoreError> {
        match self.0.next() {
            Some(Value::Int(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            Some(Value::Text(_) | Value::Blob(_)) | None => Err(misfit("an integer")),
        }
    }

    /// The next column as a number.
    pub(super) fn int(&mut self) -> Result<i64, StoreError> {
        self.opt_int()?.ok_or_else(|| misfit("an integer"))
    }

    /// The next column as a number of a narrower type.
    pub(super) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, StoreError> {
        T::try_from(self.int()?).map_err(|_| misfit("a number in range"))
    }

    /// The next column as text, or NULL.
    pub(super) fn opt_text(&mut self) -> Result<Option<String>, StoreError> {
        match self.0.next() {
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            Some(Value::Int(_) | Value::Blob(_)) | None => Err(misfit("text")),
        }
    }

    /// The next column as text.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.opt_text()?.ok_or_else(|| misfit("text"))
    }

    /// The next column as bytes, or NULL.
    pub(super) fn opt_blob(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.next() {
            Some(Value::Blob(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            Some(Value::Int(_) | Value::Text(_)) | None => Err(misfit("bytes")),
        }
    }

    /// The next column as text that `read` understands.
    pub(super) fn name<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        read(&self.text()?).ok_or_else(|| misfit("a known name"))
    }

    /// The next column as text that `read` understands, or NULL.
    pub(super) fn opt_name<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
        self.opt_text()?.map(|text| read(&text).ok_or_else(|| misfit("a known name"))).transpose()
    }

    /// The next column as a text type of the payment.
    pub(super) fn parse<T: std::str::FromStr>(&mut self) -> Result<T, StoreError> {
        self.name(|text| text.parse().ok())
    }

    /// The next column as a text type of the payment, or NULL.
    pub(super) fn opt_parse<T: std::str::FromStr>(&mut self) -> Result<Option<T>, StoreError> {
        self.opt_name(|text| text.parse().ok())
    }
}

/// One open transaction of a store, or a read-only connection.
pub(super) trait Sql {
    /// Runs a statement that returns rows.
    fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError>;

    /// A `SELECT` whose rows nobody else may change until the commit. Where one writer is alone
    /// (SQLite), a plain `SELECT`.
    fn query_locked(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError>;

    /// A `SELECT` whose rows others may read and nobody may change until the commit.
    fn query_shared(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError>;

    /// Runs a statement; how many rows it changed.
    fn execute(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, StoreError>;

    /// Runs one statement for many rows of parameters.
    fn execute_many(&mut self, sql: &str, rows: &[Vec<Arg<'_>>]) -> Result<(), StoreError> {
        for row in rows {
            self.execute(sql, row)?;
        }
        Ok(())
    }

    /// What a writer that is alone keeps in memory beside the tables; `None` where writers share them.
    fn recent(&mut self) -> Result<Option<&mut Recent>, StoreError> {
        Ok(None)
    }

    /// The first row, if any.
    fn first(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, args)?.into_iter().next())
    }
}
