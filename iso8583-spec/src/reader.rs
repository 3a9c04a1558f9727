//! Reads a TOML file key by key and gathers every fault with its place, where a deserializer would stop at the
//! first. Knows no dialect.

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::SpecError;

/// A value with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: Range<usize>,
}

/// The faults found so far. What a parent file says is blamed on the line that names it.
pub(crate) struct Faults<'t> {
    text: &'t str,
    inherited: RefCell<Option<(String, Range<usize>)>>,
    found: RefCell<Vec<(Range<usize>, SpecError)>>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(text: &'t str) -> Faults<'t> {
        Faults { text, inherited: RefCell::default(), found: RefCell::default() }
    }

    /// Runs `read` on a file that is named at `at`.
    pub(crate) fn inherit<T>(&self, name: &str, at: &Range<usize>, read: impl FnOnce() -> T) -> T {
        let outer = self.inherited.borrow().clone();
        if outer.is_none() {
            *self.inherited.borrow_mut() = Some((name.to_owned(), at.clone()));
        }
        let result = read();
        *self.inherited.borrow_mut() = outer;
        result
    }

    /// The place of a value: its own, or that of the line which names its file.
    pub(crate) fn place(&self, at: Range<usize>) -> Range<usize> {
        self.inherited.borrow().as_ref().map_or(at, |(_, line)| line.clone())
    }

    pub(crate) fn note(&self, at: &Range<usize>, field: &str, reason: impl Into<String>) {
        let mut reason = reason.into();
        if let Some((name, _)) = &*self.inherited.borrow() {
            reason = format!("in {name}: {reason}");
        }
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        let error = SpecError { line, column, field: field.to_owned(), reason };
        self.found.borrow_mut().push((at.clone(), error));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// Every fault, in the order of the file.
    pub(crate) fn into_errors(self) -> Vec<SpecError> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|(at, _)| at.start);
        let mut errors: Vec<SpecError> = found.into_iter().map(|(_, error)| error).collect();
        errors.dedup();
        errors
    }
}

/// A table of the file. Every key it is asked for is known; what is left over at [`Table::finish`] is a fault.
pub(crate) struct Table<'d, 't> {
    pub(crate) faults: &'d Faults<'t>,
    table: &'d DeTable<'d>,
    pub(crate) at: Range<usize>,
    /// The field it belongs to, for the text of a fault; empty outside of fields.
    pub(crate) field: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'d, 't> Table<'d, 't> {
    pub(crate) fn new(
        faults: &'d Faults<'t>,
        table: &'d DeTable<'d>,
        at: Range<usize>,
        field: String,
    ) -> Table<'d, 't> {
        Table { faults, table, at: faults.place(at), field, known: RefCell::default() }
    }

    pub(crate) fn note(&self, at: &Range<usize>, reason: impl Into<String>) {
        self.faults.note(at, &self.field, reason);
    }

    fn value(&self, key: &'static str) -> Option<At<&'d DeValue<'d>>> {
        self.known.borrow_mut().push(key);
        let (_, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(self.at(value))
    }

    fn at(&self, value: &'d Spanned<DeValue<'d>>) -> At<&'d DeValue<'d>> {
        At { value: value.get_ref(), at: self.faults.place(value.span()) }
    }

    /// Whether the key is there and holds text.
    pub(crate) fn is_text(&self, key: &str) -> bool {
        self.table.iter().any(|(name, value)| name.get_ref() == key && value.get_ref().is_str())
    }

    /// Whether the key is there and holds a table.
    pub(crate) fn is_table(&self, key: &str) -> bool {
        self.table.iter().any(|(name, value)| name.get_ref() == key && value.get_ref().is_table())
    }

    /// Whether the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(name, _)| name.get_ref() == key)
    }

    fn typed<T>(
        &self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<At<T>> {
        let At { value, at } = self.value(key)?;
        match read(value) {
            Some(value) => Some(At { value, at }),
            None => {
                self.note(&at, format!("`{key}` needs {wanted}"));
                None
            }
        }
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<At<String>> {
        self.typed(key, "text", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number from 0 to 65535.
    pub(crate) fn number(&self, key: &'static str) -> Option<At<u16>> {
        self.typed(key, "a number from 0 to 65535", number)
    }

    /// A value out of a table of names.
    pub(crate) fn named<T: Copy>(&self, key: &'static str, names: &[(&str, T)]) -> Option<At<T>> {
        let At { value, at } = self.text(key)?;
        match names.iter().find(|(name, _)| *name == value) {
            Some((_, found)) => Some(At { value: *found, at }),
            None => {
                let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
                self.note(&at, format!("`{key}`: {value:?} is none of {}", names.join(", ")));
                None
            }
        }
    }

    /// A list of texts; numbers stand for their digits.
    pub(crate) fn list(&self, key: &'static str) -> Vec<At<String>> {
        let Some(At { value, at }) = self.value(key) else { return Vec::new() };
        let DeValue::Array(values) = value else {
            self.note(&at, format!("`{key}` needs a list"));
            return Vec::new();
        };
        let text = |value: &'d Spanned<DeValue<'d>>| {
            let At { value, at } = self.at(value);
            let text = value.as_str().map(str::to_owned).or_else(|| number(value).map(|n| n.to_string()));
            if text.is_none() {
                self.note(&at, format!("`{key}` needs a list of texts or numbers"));
            }
            Some(At { value: text?, at })
        };
        values.iter().filter_map(text).collect()
    }

    /// A table within this one.
    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'d, 't>> {
        let At { value, at } = self.value(key)?;
        match value.as_table() {
            Some(table) => Some(Table { at, ..Table::new(self.faults, table, 0..0, self.field.clone()) }),
            None => {
                self.note(&at, format!("`{key}` needs a table"));
                None
            }
        }
    }

    /// An array of tables within this one.
    pub(crate) fn tables(&self, key: &'static str) -> Option<At<Vec<Table<'d, 't>>>> {
        let At { value, at } = self.value(key)?;
        let DeValue::Array(values) = value else {
            self.note(&at, format!("`{key}` needs a list of tables"));
            return None;
        };
        let table = |value: &'d Spanned<DeValue<'d>>| match value.get_ref().as_table() {
            Some(table) => Some(Table::new(self.faults, table, value.span(), self.field.clone())),
            None => {
                self.note(&self.faults.place(value.span()), format!("`{key}` needs a list of tables"));
                None
            }
        };
        Some(At { value: values.iter().filter_map(table).collect(), at })
    }

    /// What a table maps to tables, all keys being of the writer's choice.
    pub(crate) fn entries(&self) -> Vec<(At<String>, Table<'d, 't>)> {
        let entry = |(key, value): (&'d Spanned<_>, &'d Spanned<DeValue<'d>>)| {
            let key_at = self.faults.place(key.span());
            let name: &DeString<'_> = key.get_ref();
            match value.get_ref().as_table() {
                Some(table) => {
                    let table =
                        Table { at: key_at.clone(), ..Table::new(self.faults, table, 0..0, String::new()) };
                    Some((At { value: name.to_string(), at: key_at }, table))
                }
                None => {
                    self.note(&key_at, format!("`{name}` needs a table"));
                    None
                }
            }
        };
        self.table.iter().filter_map(entry).collect()
    }

    /// What a table maps to texts, all keys being of the writer's choice.
    pub(crate) fn texts(&self) -> Vec<(At<String>, At<String>)> {
        let entry = |(key, value): (&'d Spanned<_>, &'d Spanned<DeValue<'d>>)| {
            let name: &DeString<'_> = key.get_ref();
            let At { value, at } = self.at(value);
            let text = value.as_str().map(str::to_owned);
            if text.is_none() {
                self.note(&at, format!("`{name}` needs text"));
            }
            let key = At { value: name.to_string(), at: self.faults.place(key.span()) };
            Some((key, At { value: text?, at }))
        };
        self.table.iter().filter_map(entry).collect()
    }

    /// Every key that nobody asked for is a fault.
    pub(crate) fn finish(&self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            if !known.iter().any(|known| key.get_ref() == *known) {
                let names: Vec<&str> = known.iter().copied().collect();
                let at = self.faults.place(key.span());
                self.note(&at, format!("`{}` is none of the keys {}", key.get_ref(), names.join(", ")));
            }
        }
    }
}

type DeString<'d> = std::borrow::Cow<'d, str>;

fn number(value: &DeValue<'_>) -> Option<u16> {
    let DeValue::Integer(number) = value else { return None };
    u16::from_str_radix(number.as_str(), number.radix()).ok()
}
