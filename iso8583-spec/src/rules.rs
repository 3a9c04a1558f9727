//! What a message of a dialect must hold: fields that are mandatory, conditional or forbidden, and the patterns of
//! values. Everything a message breaks is found at once.

use std::{collections::BTreeMap, fmt, ops::Range};

use crate::{
    Breach, Field, Message, Spec, Value, Violation,
    encoding::hex_text,
    reader::{At, Faults, Table},
};

/// What a value must look like.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    source: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// A regular expression for the whole value.
    Expression(regex_lite::Regex),
    /// The check digit of a PAN (ISO/IEC 7812-1, Annex B).
    Luhn,
    /// A date or time; what each two or four of its digits are.
    Date(Vec<Unit>),
}

/// A part of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Year4,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

const UNITS: [(&str, Unit); 7] = [
    ("YYYY", Unit::Year4),
    ("YY", Unit::Year),
    ("MM", Unit::Month),
    ("DD", Unit::Day),
    ("hh", Unit::Hour),
    ("mm", Unit::Minute),
    ("ss", Unit::Second),
];

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.source == other.source
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Pattern {
    /// Reads `luhn`, `date …` or a regular expression.
    pub(crate) fn parse(source: &str) -> Result<Pattern, String> {
        let test = match source.strip_prefix("date ") {
            Some(letters) => {
                Test::Date(units(letters).ok_or("a date is made of YYYY, YY, MM, DD, hh, mm, ss")?)
            }
            None if source == "luhn" => Test::Luhn,
            None => {
                let whole = regex_lite::Regex::new(&format!("^(?:{source})$"));
                Test::Expression(whole.map_err(|error| format!("the pattern cannot be read: {error}"))?)
            }
        };
        Ok(Pattern { source: source.to_owned(), test })
    }

    pub(crate) fn fits(&self, value: &str) -> bool {
        match &self.test {
            Test::Expression(expression) => expression.is_match(value),
            Test::Luhn => is_luhn(value),
            Test::Date(units) => is_date(units, value),
        }
    }
}

fn units(letters: &str) -> Option<Vec<Unit>> {
    let (mut rest, mut found) = (letters, Vec::new());
    while !rest.is_empty() {
        let (name, unit) = UNITS.iter().find(|(name, _)| rest.starts_with(name))?;
        found.push(*unit);
        rest = rest.strip_prefix(name)?;
    }
    (!found.is_empty()).then_some(found)
}

fn is_luhn(value: &str) -> bool {
    let digits = value.bytes().rev().map(|digit| digit.is_ascii_digit().then(|| u32::from(digit - b'0')));
    let sum = digits.enumerate().try_fold(0, |sum, (place, digit)| match (place % 2, digit?) {
        (0, digit) => Some(sum + digit),
        (_, digit) => Some(sum + digit * 2 / 10 + digit * 2 % 10),
    });
    value.len() > 1 && sum.is_some_and(|sum| sum % 10 == 0)
}

fn is_date(units: &[Unit], value: &str) -> bool {
    let (mut rest, mut month, mut day) = (value, 0, 0);
    for unit in units {
        let width = if *unit == Unit::Year4 { 4 } else { 2 };
        let Some((digits, after)) = rest.split_at_checked(width) else { return false };
        let Ok(number) = digits.parse::<u32>() else { return false };
        let good = match unit {
            Unit::Year4 | Unit::Year => true,
            Unit::Month => (1..=12).contains(&number),
            Unit::Day => (1..=31).contains(&number),
            Unit::Hour => number < 24,
            Unit::Minute | Unit::Second => number < 60,
        };
        match unit {
            Unit::Month => month = number,
            Unit::Day => day = number,
            Unit::Year4 | Unit::Year | Unit::Hour | Unit::Minute | Unit::Second => {}
        }
        // A sign parses too.
        if !good || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return false;
        }
        rest = after;
    }
    rest.is_empty() && !(month == 2 && day > 29) && !(matches!(month, 4 | 6 | 9 | 11) && day > 30)
}

/// A field, or a part of one: `60.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    de: u8,
    text: String,
}

/// The rules for some messages.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    mti: Vec<String>,
    processing: Vec<String>,
    when: Condition,
    mandatory: Vec<Path>,
    conditional: Vec<(Vec<Path>, Condition)>,
    optional: Vec<Path>,
    forbidden: Vec<Path>,
    is_closed: bool,
    patterns: Vec<(Path, Pattern)>,
}

/// What must hold, all of it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Condition {
    present: Vec<Path>,
    absent: Vec<Path>,
    matches: Vec<(Path, Pattern)>,
}

impl Condition {
    fn holds(&self, message: &Message) -> bool {
        let fits = |(path, pattern): &(Path, Pattern)| {
            value_at(message, path).is_some_and(|value| pattern.fits(&value))
        };
        self.present.iter().all(|path| is_there(message, path))
            && !self.absent.iter().any(|path| is_there(message, path))
            && self.matches.iter().all(fits)
    }
}

fn is_there(message: &Message, path: &Path) -> bool {
    message.at(&path.text).is_some()
}

/// A value as patterns see it: text, or hexadecimal.
fn value_at(message: &Message, path: &Path) -> Option<String> {
    message.at(&path.text).and_then(shown)
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Bytes(octets) => Some(hex_text(octets)),
        Value::Composite(_) => value.joined(),
    }
}

impl Rule {
    fn suits(&self, message: &Message) -> bool {
        let begins = |value: &str, beginnings: &[String]| {
            beginnings.is_empty() || beginnings.iter().any(|start| value.starts_with(start.as_str()))
        };
        let processing = message.get(3).and_then(shown).unwrap_or_default();
        begins(message.mti.as_str(), &self.mti)
            && begins(&processing, &self.processing)
            && self.when.holds(message)
    }

    fn check(&self, message: &Message, found: &mut Vec<Violation>) {
        let mut note = |path: &Path, breach| {
            found.push(Violation { field: path.de, path: path.text.clone(), breach });
        };
        for path in self.mandatory.iter().filter(|path| !is_there(message, path)) {
            note(path, Breach::Missing);
        }
        for (paths, condition) in self.conditional.iter().filter(|(_, when)| when.holds(message)) {
            let is_asked = *condition != Condition::default();
            for path in paths.iter().filter(|path| is_asked && !is_there(message, path)) {
                note(path, Breach::MissingHere);
            }
        }
        for path in self.forbidden.iter().filter(|path| is_there(message, path)) {
            note(path, Breach::Forbidden);
        }
        for (path, pattern) in &self.patterns {
            if value_at(message, path).is_some_and(|value| !pattern.fits(&value)) {
                note(path, Breach::Pattern(pattern.to_string()));
            }
        }
        if self.is_closed {
            for (de, _) in message.fields().filter(|(de, _)| !self.names(*de)) {
                note(&Path { de, text: de.to_string() }, Breach::Unexpected);
            }
        }
    }

    /// Whether the rule says anything of a field but that it is forbidden.
    fn names(&self, de: u8) -> bool {
        let conditional = self.conditional.iter().flat_map(|(paths, _)| paths);
        let patterns = self.patterns.iter().map(|(path, _)| path);
        let named = self.mandatory.iter().chain(&self.optional).chain(&self.forbidden);
        let mut named = named.chain(conditional).chain(patterns);
        named.any(|path| path.de == de)
    }
}

/// The first rule that fits.
pub(crate) fn rule_of<'s>(spec: &'s Spec, message: &Message) -> Option<&'s Rule> {
    spec.rules.iter().find(|rule| rule.suits(message))
}

/// Everything a message breaks, by field.
pub(crate) fn check(spec: &Spec, message: &Message) -> Vec<Violation> {
    let mut found = Vec::new();
    if let Some(rule) = rule_of(spec, message) {
        rule.check(message, &mut found);
    }
    for (de, value) in message.fields() {
        if let Some(field) = spec.field(de) {
            check_pattern(field, value, de, &de.to_string(), &mut found);
        }
    }
    found.sort_by(|a, b| (a.field, &a.path).cmp(&(b.field, &b.path)));
    let mut once: Vec<Violation> = Vec::new();
    for violation in found {
        if !once.contains(&violation) {
            once.push(violation);
        }
    }
    once
}

/// The patterns of a field and of all that lies inside it.
fn check_pattern(field: &Field, value: &Value, de: u8, path: &str, found: &mut Vec<Violation>) {
    let text = shown(value);
    if let Some(pattern) =
        field.pattern.as_ref().filter(|pattern| !text.is_some_and(|text| pattern.fits(&text)))
    {
        let breach = Breach::Pattern(pattern.to_string());
        found.push(Violation { field: de, path: path.to_owned(), breach });
    }
    let Value::Composite(composite) = value else { return };
    for (name, part) in composite.parts() {
        if let Some(inner) = field.member(name) {
            check_pattern(inner, part, de, &format!("{path}.{name}"), found);
        }
    }
}

/// What a file says of some messages.
#[derive(Clone)]
pub(crate) struct RuleDraft {
    /// Whether a dialect that is extended says so: then a field that is there no more is passed over.
    pub(crate) is_inherited: bool,
    name: String,
    mti: Vec<At<String>>,
    processing: Vec<At<String>>,
    when: ConditionDraft,
    mandatory: Vec<At<String>>,
    conditional: Vec<(Vec<At<String>>, ConditionDraft)>,
    optional: Vec<At<String>>,
    forbidden: Vec<At<String>>,
    is_closed: bool,
    patterns: Vec<(At<String>, At<String>)>,
}

#[derive(Clone, Default)]
struct ConditionDraft {
    present: Vec<At<String>>,
    absent: Vec<At<String>>,
    matches: Vec<(At<String>, At<String>)>,
}

impl ConditionDraft {
    fn read(table: &Table<'_, '_>) -> ConditionDraft {
        let draft = ConditionDraft {
            present: table.list("present"),
            absent: table.list("absent"),
            matches: table.table("matches").map_or(Vec::new(), |matches| matches.texts()),
        };
        table.finish();
        draft
    }
}

impl RuleDraft {
    /// What one of the `[[messages]]` says.
    pub(crate) fn read(table: &Table<'_, '_>) -> RuleDraft {
        let when = |table: &Table<'_, '_>| {
            table.table("when").map_or_else(ConditionDraft::default, |when| ConditionDraft::read(&when))
        };
        let conditional = table.tables("conditional").map_or(Vec::new(), |tables| tables.value);
        let conditional = conditional.iter().map(|entry| {
            let found = (entry.list("fields"), when(entry));
            entry.finish();
            found
        });
        let draft = RuleDraft {
            is_inherited: false,
            name: table.text("name").map_or(String::new(), |name| name.value),
            mti: table.list("mti"),
            processing: table.list("processing"),
            when: when(table),
            mandatory: table.list("mandatory"),
            conditional: conditional.collect(),
            optional: table.list("optional"),
            forbidden: table.list("forbidden"),
            is_closed: table.flag("closed").is_some_and(|flag| flag.value),
            patterns: table.table("patterns").map_or(Vec::new(), |patterns| patterns.texts()),
        };
        table.finish();
        draft
    }

    /// The rule; what it names must be there.
    pub(crate) fn compile(
        &self,
        fields: &BTreeMap<u8, Field>,
        is_declared: &dyn Fn(u8) -> bool,
        faults: &Faults<'_>,
    ) -> Option<Rule> {
        let compiler = Compiler { fields, is_declared, faults, is_inherited: self.is_inherited };
        for mti in &self.mti {
            if mti.value.len() > 4 || !mti.value.bytes().all(|digit| digit.is_ascii_digit()) {
                faults.note(&mti.at, "", "an MTI begins with up to four digits");
            }
        }
        let plain = |list: &[At<String>]| list.iter().map(|entry| entry.value.clone()).collect();
        let conditional =
            self.conditional.iter().map(|(paths, when)| (compiler.paths(paths), compiler.condition(when)));
        Some(Rule {
            name: self.name.clone(),
            mti: plain(&self.mti),
            processing: plain(&self.processing),
            when: compiler.condition(&self.when),
            mandatory: compiler.paths(&self.mandatory),
            conditional: conditional.collect(),
            optional: compiler.paths(&self.optional),
            forbidden: compiler.paths(&self.forbidden),
            is_closed: self.is_closed,
            patterns: compiler.patterns(&self.patterns),
        })
    }
}

/// Reads paths and patterns against the fields of the dialect.
struct Compiler<'c, 't> {
    fields: &'c BTreeMap<u8, Field>,
    /// Whether the file declares a field, though it may be faulty.
    is_declared: &'c dyn Fn(u8) -> bool,
    faults: &'c Faults<'t>,
    is_inherited: bool,
}

impl Compiler<'_, '_> {
    fn condition(&self, draft: &ConditionDraft) -> Condition {
        Condition {
            present: self.paths(&draft.present),
            absent: self.paths(&draft.absent),
            matches: self.patterns(&draft.matches),
        }
    }

    fn paths(&self, drafts: &[At<String>]) -> Vec<Path> {
        drafts.iter().filter_map(|draft| self.path(draft)).collect()
    }

    fn patterns(&self, drafts: &[(At<String>, At<String>)]) -> Vec<(Path, Pattern)> {
        let pattern = |(path, pattern): &(At<String>, At<String>)| {
            let found = Pattern::parse(&pattern.value);
            let found = found.map_err(|reason| self.note(&pattern.at, reason)).ok();
            Some((self.path(path)?, found?))
        };
        drafts.iter().filter_map(pattern).collect()
    }

    fn note(&self, at: &Range<usize>, reason: String) {
        self.faults.note(at, "", reason);
    }

    fn path(&self, draft: &At<String>) -> Option<Path> {
        let mut names = draft.value.split('.');
        let de: Option<u8> = names.next().and_then(|de| de.parse().ok());
        let field = de.and_then(|de| self.fields.get(&de));
        let found = names.try_fold(field, |field, name| Some(field?.member(name)));
        if found.flatten().is_none() {
            let is_faulty = field.is_none() && de.is_some_and(self.is_declared);
            if self.is_inherited || is_faulty {
                return None;
            }
            self.note(
                &draft.at,
                format!("{:?} is not a field of this dialect, or a part of one", draft.value),
            );
            return None;
        }
        Some(Path { de: de?, text: draft.value.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        // (pattern, values that fit, values that do not)
        let rows: [(&str, &[&str], &[&str]); 6] = [
            ("156|840", &["156", "840"], &["1560", "156840", ""]),
            ("..1", &["021", "051"], &["02", "0211", "020"]),
            ("luhn", &["4000000000000002", "5555555555554444"], &["4000000000000003", "", "0", "4x"]),
            ("date MMDD", &["0229", "1231"], &["0230", "1301", "0431", "0100", "1", "01011", "+1+2"]),
            ("date YYMMDDhhmmss", &["261123235959"], &["261123246000", "261123235960"]),
            ("date YYYYMM", &["202611"], &["202613", "20261", "+02611"]),
        ];
        for (source, good, bad) in rows {
            let pattern = Pattern::parse(source).unwrap();
            assert_eq!(pattern.to_string(), source);
            for value in good {
                assert!(pattern.fits(value), "{source} {value:?}");
            }
            for value in bad {
                assert!(!pattern.fits(value), "{source} {value:?}");
            }
        }
        assert!(Pattern::parse("date XX").is_err());
        assert!(Pattern::parse("(").is_err());
    }
}
