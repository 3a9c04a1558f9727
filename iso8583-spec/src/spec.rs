//! A dialect: the tables that its declaration compiles to. Knows no message.

use std::{collections::BTreeMap, sync::LazyLock};

use crate::{
    Field, Framing, Message, SpecError, Violation,
    bitmap::{BitmapEncoding, Tertiary},
    declare,
    head::{Header, MtiEncoding},
    rules::{self, Rule},
    shape::Shape,
    step::Steps,
};

/// A compiled dialect.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub(crate) name: String,
    pub(crate) framing: Framing,
    pub(crate) tpdu: usize,
    pub(crate) header: Option<Header>,
    pub(crate) mti: MtiEncoding,
    pub(crate) bitmap: BitmapEncoding,
    pub(crate) last: u8,
    pub(crate) tertiary: Tertiary,
    /// By number, 0 and 1 never defined.
    pub(crate) shapes: Vec<Option<Shape>>,
    /// The same, for the decoder's loop.
    pub(crate) steps: Steps,
    pub(crate) fields: BTreeMap<u8, Field>,
    pub(crate) rules: Vec<Rule>,
}

/// The dialects that come with the crate: name and file. One that extends another comes after it.
const BUILTIN: [(&str, &str); 12] = [
    ("iso87-ascii", include_str!("../specs/iso87-ascii.toml")),
    ("iso87-bcd", include_str!("../specs/iso87-bcd.toml")),
    ("iso87-ebcdic", include_str!("../specs/iso87-ebcdic.toml")),
    ("iso93-ascii", include_str!("../specs/iso93-ascii.toml")),
    ("iso93-binary", include_str!("../specs/iso93-binary.toml")),
    ("iso2003", include_str!("../specs/iso2003.toml")),
    ("unionpay-pos", include_str!("../specs/unionpay-pos.toml")),
    ("edc", include_str!("../specs/edc.toml")),
    ("cups", include_str!("../specs/cups.toml")),
    ("ipm", include_str!("../specs/ipm.toml")),
    ("ipm-ascii", include_str!("../specs/ipm-ascii.toml")),
    ("base1", include_str!("../specs/base1.toml")),
];

static COMPILED: LazyLock<Vec<Spec>> =
    LazyLock::new(|| BUILTIN.iter().filter_map(|(_, source)| Spec::parse(source).ok()).collect());

impl Spec {
    /// A dialect that comes with the crate.
    ///
    /// # Example
    ///
    /// ```
    /// use iso8583_spec::Spec;
    ///
    /// let spec = Spec::builtin("unionpay-pos").unwrap();
    /// assert_eq!(spec.field(2).unwrap().notation(), "n..19");
    /// assert!(Spec::builtin("no such dialect").is_none());
    /// ```
    pub fn builtin(name: &str) -> Option<&'static Spec> {
        COMPILED.iter().find(|spec| spec.name == name)
    }

    /// Every dialect that comes with the crate.
    pub fn builtins() -> impl Iterator<Item = &'static Spec> {
        COMPILED.iter()
    }

    /// The names [`Spec::builtin`] knows.
    pub fn builtin_names() -> Vec<&'static str> {
        BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// The file behind a dialect that comes with the crate: the model for a new one.
    pub fn builtin_source(name: &str) -> Option<&'static str> {
        BUILTIN.iter().find(|(builtin, _)| *builtin == name).map(|(_, source)| *source)
    }

    /// Compiles a dialect file. It may extend a dialect that comes with the crate.
    ///
    /// # Errors
    /// Every fault of the file, in the order of the file.
    ///
    /// # Example
    ///
    /// ```
    /// use iso8583_spec::Spec;
    ///
    /// let spec = Spec::parse(r#"
    ///     name = "my-host"
    ///     extends = "iso87-ascii"
    ///     framing = "length-2"
    ///     [fields]
    ///     52 = { encoding = "binary" }
    ///     63 = { content = "ans", max = 50, prefix = "LL" }
    /// "#).unwrap();
    /// assert_eq!(spec.field(63).unwrap().notation(), "ans..50");
    ///
    /// let faults = Spec::parse("name = \"x\"\nextends = \"iso87-ascii\"\n[fields]\n63 = { max = 1000 }\n").unwrap_err();
    /// assert_eq!(faults[0].to_string(), "line 4, column 14: field 63: a prefix that ends at 999 cannot say 1000");
    /// ```
    pub fn parse(source: &str) -> Result<Spec, Vec<SpecError>> {
        Spec::parse_with(source, &|_| None)
    }

    /// Compiles a dialect file that may also extend those that `sources` finds by name.
    ///
    /// # Errors
    /// Every fault of the file, in the order of the file.
    pub fn parse_with(
        source: &str,
        sources: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Spec, Vec<SpecError>> {
        declare::compile(source, sources)
    }

    /// The name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How messages of this dialect are cut out of a stream.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Octets of the TPDU: 5 or 0.
    #[inline]
    pub fn tpdu_len(&self) -> usize {
        self.tpdu
    }

    /// The least and the most octets of the dialect's own header; 0 when it has none.
    #[inline]
    pub fn header_lengths(&self) -> (usize, usize) {
        self.header.as_ref().map_or((0, 0), |header| (usize::from(header.min), usize::from(header.max)))
    }

    /// What the dialect says about a field.
    pub fn field(&self, de: u8) -> Option<&Field> {
        self.fields.get(&de)
    }

    /// Every field of the dialect, ascending.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &Field)> {
        self.fields.iter().map(|(de, field)| (*de, field))
    }

    /// Everything in which a message breaks the rules of its dialect: fields that are missing or should not be
    /// there, values that do not have their pattern. The rules are those of the first `[[messages]]` of the dialect
    /// that fits it; what no rule fits is not judged but for the patterns of its fields.
    ///
    /// # Example
    ///
    /// ```
    /// use iso8583_spec::{Message, Mti, Spec};
    ///
    /// let spec = Spec::parse(r#"
    ///     name = "strict"
    ///     extends = "iso87-ascii"
    ///     [[messages]]
    ///     mti = ["0800"]
    ///     mandatory = [7, 11, 70]
    ///     patterns = { 70 = "001|301" }
    /// "#).unwrap();
    /// let mut message = Message::new(Mti::NETWORK);
    /// message.set(7, "1123124500");
    /// message.set(70, "302");
    /// let found: Vec<String> = spec.check(&message).iter().map(ToString::to_string).collect();
    /// assert_eq!(found, ["field 11: is missing", "field 70: is not of the pattern 001|301"]);
    /// ```
    pub fn check(&self, message: &Message) -> Vec<Violation> {
        rules::check(self, message)
    }

    /// The name of the rule that a message is judged by.
    pub fn rule_of(&self, message: &Message) -> Option<&str> {
        rules::rule_of(self, message).map(|rule| rule.name.as_str())
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    #[inline]
    pub(crate) fn mti_encoding(&self) -> MtiEncoding {
        self.mti
    }

    #[inline]
    pub(crate) fn bitmap_encoding(&self) -> BitmapEncoding {
        self.bitmap
    }

    /// Whether messages may carry a secondary bitmap.
    #[inline]
    pub(crate) fn has_secondary(&self) -> bool {
        self.last > 64
    }

    /// Where the tertiary bitmap stands, in a dialect that may have one.
    #[inline]
    pub(crate) fn tertiary(&self) -> Option<Tertiary> {
        (self.last > 128).then_some(self.tertiary)
    }

    #[inline]
    pub(crate) fn steps(&self) -> &Steps {
        &self.steps
    }

    #[inline]
    pub(crate) fn shape(&self, de: u8) -> Option<&Shape> {
        self.shapes.get(usize::from(de))?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_compiles_under_its_name() {
        for (name, source) in BUILTIN {
            let spec = Spec::parse(source).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
            assert_eq!(spec.name(), name);
            assert_eq!(Spec::builtin(name), Some(&spec));
            assert!(Spec::builtin_names().contains(&name));
        }
        assert_eq!(Spec::builtin("unknown"), None);
    }
}
