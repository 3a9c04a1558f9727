//! Reads a TOML file key by key and gathers every fault with its place, where a deserializer
//! would stop at the first. It knows no setting.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing wrong in a settings file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, or the option of the command line.
    pub file: String,
    /// Line, from 1; 0 when it has none.
    pub line: usize,
    /// Column in characters, from 1; 0 when it has none.
    pub column: usize,
    /// The key, dotted; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what would be right. Never a value that may be secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A settings file with the faults found in it so far.
#[derive(Debug)]
pub(super) struct Document<'t> {
    file: &'t str,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    faults: RefCell<Vec<Fault>>,
}

impl<'t> Document<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { file, text, root, faults: RefCell::default() };
        for error in errors {
            document.fault(error.span().unwrap_or_default(), String::new(), error.message());
        }
        document
    }

    pub(super) fn root(&self) -> Section<'_> {
        Section::new(self, String::new(), 0..0, Some(self.root.get_ref()))
    }

    /// Every fault, in the order of the file.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by(|a, b| (a.line, a.column, &a.key).cmp(&(b.line, b.column, &b.key)));
        faults.dedup();
        faults
    }

    fn fault(&self, at: Range<usize>, key: String, message: impl Into<String>) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let (file, message) = (self.file.to_owned(), message.into());
        self.faults.borrow_mut().push(Fault { file, line, column, key, message });
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table of the file, or the place where one should be. Every key it is asked for is known; what
/// is left over at [`Section::finish`] is a fault.
#[derive(Debug)]
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    path: String,
    span: Range<usize>,
    table: Option<&'d DeTable<'d>>,
    known: RefCell<BTreeSet<&'static str>>,
    sound: Cell<bool>,
}

impl<'d> Section<'d> {
    fn new(
        document: &'d Document<'d>,
        path: String,
        span: Range<usize>,
        table: Option<&'d DeTable<'d>>,
    ) -> Self {
        Self { document, path, span, table, known: RefCell::default(), sound: Cell::new(true) }
    }

    /// Whether the file has this table.
    pub(super) const fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the file has this key.
    pub(super) fn is_set(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// A table within this one.
    pub(super) fn section(&self, key: &'static str) -> Section<'d> {
        let found = self.value(key);
        let table = found.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.wrong_type(value, key, "a table");
            }
            table
        });
        let span = found.map_or_else(|| self.span.clone(), Spanned::span);
        Section::new(self.document, self.key(key), span, table)
    }

    /// An array of tables within this one.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Section<'d>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.fault_at(value.span(), key, format!("expected [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(table) = item.get_ref().as_table() else {
                self.wrong_type(item, key, "a table");
                continue;
            };
            let path = format!("{}[{index}]", self.key(key));
            sections.push(Section::new(self.document, path, item.span(), Some(table)));
        }
        sections
    }

    /// A text that may be left out.
    pub(super) fn text(&self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(value, key, "a string");
            return None;
        };
        if text.trim().is_empty() {
            self.fault_at(value.span(), key, "must not be empty");
            return None;
        }
        Some(At { value: text.to_string(), span: value.span() })
    }

    /// A text that must be there.
    pub(super) fn need_text(&self, key: &'static str) -> Option<At<String>> {
        self.need(key);
        self.text(key)
    }

    /// A path that must be there.
    pub(super) fn need_path(&self, key: &'static str) -> Option<PathBuf> {
        self.need_text(key).map(|text| text.value.into())
    }

    /// A text that `read` understands; `expected` says what it would understand.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        let Some(value) = read(&text.value) else {
            self.fault_at(text.span, key, format!("expected {expected}"));
            return None;
        };
        Some(At { value, span: text.span })
    }

    /// As [`Section::parsed`], and it must be there.
    pub(super) fn need_parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<At<T>> {
        self.need(key);
        self.parsed(key, expected, read)
    }

    /// A whole number within bounds, or what stands when it is left out (or wrong).
    pub(super) fn number<T>(&self, key: &'static str, bounds: RangeInclusive<T>, default: T) -> T
    where
        T: TryFrom<i64> + PartialOrd + fmt::Display,
    {
        let Some(value) = self.value(key) else { return default };
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(value, key, "a whole number");
            return default;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.and_then(|number| T::try_from(number).ok()).filter(|number| bounds.contains(number)) {
            Some(number) => number,
            None => {
                let (low, high) = bounds.into_inner();
                self.fault_at(value.span(), key, format!("must be {low} to {high}"));
                default
            }
        }
    }

    /// A duration in milliseconds, at least 1 and at most a day.
    pub(super) fn millis(&self, key: &'static str, default: u64) -> Duration {
        Duration::from_millis(self.number(key, 1..=86_400_000, default))
    }

    /// Yes or no.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        let DeValue::Boolean(flag) = value.get_ref() else {
            self.wrong_type(value, key, "true or false");
            return default;
        };
        *flag
    }

    /// A fault of the value of `key`, or of the table when it is not there.
    pub(super) fn fault(&self, key: &'static str, message: impl Into<String>) {
        let span = self.value(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.fault_at(span, key, message);
    }

    /// A fault at a place.
    pub(super) fn fault_at(&self, span: Range<usize>, key: &str, message: impl Into<String>) {
        self.sound.set(false);
        self.document.fault(span, self.key(key), message);
    }

    /// Reports the keys that nobody asked for; true when nothing was wrong in this table.
    pub(super) fn finish(self) -> bool {
        let known = self.known.take();
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            if !known.contains(key.get_ref().as_ref()) {
                let names: Vec<_> = known.iter().copied().collect();
                let message = format!("unknown key; known here: {}", names.join(", "));
                self.fault_at(key.span(), key.get_ref(), message);
            }
        }
        self.sound.get()
    }

    fn need(&self, key: &'static str) {
        if self.value(key).is_none() {
            self.fault_at(self.span.clone(), key, "is missing");
        }
    }

    fn wrong_type(&self, value: &Spanned<DeValue<'_>>, key: &str, expected: &str) {
        self.fault_at(
            value.span(),
            key,
            format!("expected {expected}, found {}", value.get_ref().type_str()),
        );
    }

    fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.borrow_mut().insert(key);
        self.table?.get(key)
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
