//! The two character sets of a clearing file, each a dialect of the codec. Knows nothing of records.
//!
//! EBCDIC is code page 500. Of ASCII it differs from code page 037 in `! [ ] ^ |` alone, so text without
//! these reads the same under both; [`plain`] keeps them out of what we write.

use super::Reason;
use iso8583_spec::Spec;

/// The characters of a clearing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// EBCDIC, code page 500.
    #[default]
    Cp500,
    /// ISO 8859-1, of which ASCII is a part.
    Latin1,
}

impl Encoding {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cp500, Self::Latin1];

    /// Its name in configuration, which is Python's name of the codec too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cp500 => "cp500",
            Self::Latin1 => "latin_1",
        }
    }

    /// The encoding of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// The dialect of its records.
    ///
    /// # Errors
    /// [`Reason::Dialect`] when the codec does not ship it.
    pub(super) fn spec(self) -> Result<&'static Spec, Reason> {
        let name = match self {
            Self::Cp500 => "ipm",
            Self::Latin1 => "ipm-ascii",
        };
        Spec::builtin(name).ok_or(Reason::Dialect)
    }
}

/// Text that both character sets, and both EBCDIC code pages in use, render alike: printable ASCII
/// without `! [ ] ^ |`, and without `\`, which separates the parts of DE 43. Everything else becomes a
/// blank; at most `max` characters, without blanks around.
#[must_use]
pub fn plain(text: &str, max: usize) -> String {
    let kept = |c: char| matches!(c, ' '..='~') && !matches!(c, '!' | '[' | ']' | '^' | '|' | '\\');
    let plain: String = text.chars().map(|c| if kept(c) { c } else { ' ' }).collect();
    plain.trim().chars().take(max).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_a_name_and_a_dialect() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
            assert!(encoding.spec().is_ok(), "{encoding:?}");
        }
    }

    #[test]
    fn text_is_made_plain() {
        let rows = [
            ("TEA HOUSE", 25, "TEA HOUSE"),
            ("  A\\B|C!D[E]F^G ", 25, "A B C D E F G"),
            ("茶 TEA", 25, "TEA"),
            ("LONG NAME", 5, "LONG"),
            ("", 5, ""),
        ];
        for (text, max, want) in rows {
            assert_eq!(plain(text, max), want);
        }
    }
}
