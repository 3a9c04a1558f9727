//! Identifiers: fixed-width texts and numbers that ISO 8583 names, each a type of its own.

use std::fmt;
use std::marker::PhantomData;

/// Why a text is not the identifier it was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Longer than the field.
    #[error("longer than {0} characters")]
    TooLong(usize),
    /// A character outside printable ASCII.
    #[error("a character outside printable ASCII")]
    NotPrintable,
    /// A character other than a digit where only digits may stand.
    #[error("not a number of at most {0} digits")]
    NotDigits(usize),
}

/// A text of exactly `N` printable ASCII characters, left-justified and padded with blanks.
///
/// `Tag` keeps a terminal id from being passed where a response code is due.
pub struct Fixed<Tag, const N: usize> {
    text: [u8; N],
    tag: PhantomData<fn() -> Tag>,
}

impl<Tag, const N: usize> Fixed<Tag, N> {
    /// Reads at most `N` printable characters; a shorter text is padded with blanks.
    ///
    /// # Errors
    /// [`TextError`] when the text is too long or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, TextError> {
        Self::from_bytes(text.as_bytes())
    }

    /// As [`Fixed::new`], from the bytes of an ASCII field.
    ///
    /// # Errors
    /// [`TextError`] when the text is too long or not printable ASCII.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TextError> {
        if bytes.len() > N {
            return Err(TextError::TooLong(N));
        }
        if !bytes.iter().all(|b| (0x20..0x7F).contains(b)) {
            return Err(TextError::NotPrintable);
        }
        let mut text = [b' '; N];
        for (to, from) in text.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(Self { text, tag: PhantomData })
    }

    /// Writes a number with leading zeros, keeping its last `N` digits.
    #[must_use]
    pub fn from_number(mut number: u64) -> Self {
        let mut text = [b'0'; N];
        for digit in text.iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        Self { text, tag: PhantomData }
    }

    /// All `N` characters, padding included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Printable ASCII by construction.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The characters without the padding at their end.
    #[must_use]
    pub fn trimmed(&self) -> &str {
        self.as_str().trim_end_matches(' ')
    }
}

impl<Tag, const N: usize> Clone for Fixed<Tag, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<Tag, const N: usize> Copy for Fixed<Tag, N> {}
impl<Tag, const N: usize> PartialEq for Fixed<Tag, N> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl<Tag, const N: usize> Eq for Fixed<Tag, N> {}
impl<Tag, const N: usize> PartialOrd for Fixed<Tag, N> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<Tag, const N: usize> Ord for Fixed<Tag, N> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
impl<Tag, const N: usize> std::hash::Hash for Fixed<Tag, N> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
impl<Tag, const N: usize> fmt::Debug for Fixed<Tag, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.trimmed())
    }
}
impl<Tag, const N: usize> fmt::Display for Fixed<Tag, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.trimmed())
    }
}
impl<Tag, const N: usize> std::str::FromStr for Fixed<Tag, N> {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

/// Tags of [`Fixed`].
mod tag {
    /// DE 41.
    #[derive(Debug)]
    pub enum Tid {}
    /// DE 42.
    #[derive(Debug)]
    pub enum Mid {}
    /// DE 37.
    #[derive(Debug)]
    pub enum Rrn {}
    /// DE 38.
    #[derive(Debug)]
    pub enum AuthCode {}
    /// DE 39.
    #[derive(Debug)]
    pub enum ResponseCode {}
    /// DE 3.
    #[derive(Debug)]
    pub enum ProcessingCode {}
    /// DE 7.
    #[derive(Debug)]
    pub enum LinkTime {}
    /// An issuer of the routing table.
    #[derive(Debug)]
    pub enum Issuer {}
}

/// Terminal id, DE 41, ans8.
pub type Tid = Fixed<tag::Tid, 8>;
/// Merchant id (card acceptor id), DE 42, ans15.
pub type Mid = Fixed<tag::Mid, 15>;
/// Retrieval reference number, DE 37, an12.
pub type Rrn = Fixed<tag::Rrn, 12>;
/// Authorisation id, DE 38, an6.
pub type AuthCode = Fixed<tag::AuthCode, 6>;
/// Response code, DE 39, an2 (ISO 8583:1987).
pub type ResponseCode = Fixed<tag::ResponseCode, 2>;
/// Processing code, DE 3, n6.
pub type ProcessingCode = Fixed<tag::ProcessingCode, 6>;
/// Transmission date and time, DE 7, n10 `MMDDhhmmss`, UTC.
pub type LinkTime = Fixed<tag::LinkTime, 10>;
/// The name of an issuer in the routing table, at most 11 characters (the width of DE 32/100).
pub type IssuerId = Fixed<tag::Issuer, 11>;

/// System trace audit number, DE 11, n6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stan(u32);

impl Stan {
    /// The largest value of DE 11.
    pub const MAX: u32 = 999_999;

    /// A trace number, when it fits six digits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// Reads up to six digits.
    ///
    /// # Errors
    /// [`TextError::NotDigits`].
    pub fn parse(text: &str) -> Result<Self, TextError> {
        digits(text, 6).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Stan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// The number of a terminal's batch, n6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNo(u32);

impl BatchNo {
    /// The first batch of a terminal.
    pub const FIRST: Self = Self(1);

    /// A batch number, when it fits six digits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= 999_999 { Some(Self(number)) } else { None }
    }

    /// Reads up to six digits.
    ///
    /// # Errors
    /// [`TextError::NotDigits`].
    pub fn parse(text: &str) -> Result<Self, TextError> {
        digits(text, 6).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The batch after this one; 999998 is followed by 1, because terminals adopt
    /// a number only when 0 < n < 999999.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 >= 999_998 { Self(1) } else { Self(self.0 + 1) }
    }
}

impl fmt::Display for BatchNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

fn digits(text: &str, width: usize) -> Result<u32, TextError> {
    let sound = !text.is_empty() && text.len() <= width && text.bytes().all(|b| b.is_ascii_digit());
    if !sound {
        return Err(TextError::NotDigits(width));
    }
    text.parse().map_err(|_| TextError::NotDigits(width))
}

/// The identity of one transaction: ordered by time of receipt, unique over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub i64);

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One daemon among those that share a store, 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u8);

/// A business date as the number `yyyymmdd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// `MMDD`, as DE 13, 15 and 17 carry it.
    #[must_use]
    pub fn mmdd(self) -> String {
        format!("{:04}", self.0 % 10_000)
    }

    /// `YYMMDD`.
    #[must_use]
    pub fn yymmdd(self) -> String {
        format!("{:06}", self.0 % 1_000_000)
    }

    /// As a date of the calendar; none when there is no such date.
    #[must_use]
    pub fn date(self) -> Option<jiff::civil::Date> {
        jiff::civil::Date::strptime("%Y-%m-%d", self.to_string()).ok()
    }

    /// The next calendar day; the same day when it is no date of the calendar.
    #[must_use]
    pub fn next(self) -> Self {
        self.date().and_then(|date| date.tomorrow().ok()).map_or(self, Self::from)
    }

    /// The calendar day before; the same day when it is no date of the calendar.
    #[must_use]
    pub fn previous(self) -> Self {
        self.date().and_then(|date| date.yesterday().ok()).map_or(self, Self::from)
    }
}

impl From<jiff::civil::Date> for Day {
    fn from(date: jiff::civil::Date) -> Self {
        Self(i32::from(date.year()) * 10_000 + i32::from(date.month()) * 100 + i32::from(date.day()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0 / 10_000, self.0 / 100 % 100, self.0 % 100)
    }
}

impl std::str::FromStr for Day {
    type Err = TextError;
    /// Reads `yyyy-mm-dd` or `yyyymmdd`.
    fn from_str(text: &str) -> Result<Self, TextError> {
        let plain: String = text.chars().filter(|c| *c != '-').collect();
        let sound = plain.len() == 8 && plain.bytes().all(|b| b.is_ascii_digit());
        let number: i32 = plain.parse().map_err(|_| TextError::NotDigits(8))?;
        let (month, day) = (number / 100 % 100, number % 100);
        if sound && (1..=12).contains(&month) && (1..=31).contains(&day) {
            Ok(Self(number))
        } else {
            Err(TextError::NotDigits(8))
        }
    }
}

/// The dialect that a terminal speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TerminalDialect {
    /// UnionPay POS.
    UnionPayPos,
    /// Classic EDC (Hypercom/VeriFone style).
    Edc,
    /// ISO 8583:1987 in ASCII.
    Iso87Ascii,
}

impl TerminalDialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::UnionPayPos, Self::Edc, Self::Iso87Ascii];

    /// The name of its specification file, also in configuration and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnionPayPos => "unionpay-pos",
            Self::Edc => "edc",
            Self::Iso87Ascii => "iso87-ascii",
        }
    }

    /// The dialect of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_texts_pad_and_refuse() {
        let rows: &[(&str, Result<&str, TextError>)] = &[
            ("00000101", Ok("00000101")),
            ("T1", Ok("T1      ")),
            ("", Ok("        ")),
            ("123456789", Err(TextError::TooLong(8))),
            ("a\u{7f}", Err(TextError::NotPrintable)),
            ("ü", Err(TextError::NotPrintable)),
        ];
        for (text, want) in rows {
            assert_eq!(Tid::new(text).as_ref().map(Tid::as_str).map_err(|e| *e), *want, "{text}");
        }
        assert_eq!(Rrn::from_number(95).as_str(), "000000000095");
    }

    #[test]
    fn numbers_take_digits_only() {
        for bad in ["", "+12", "-1", "1234567", "12a", " 1"] {
            assert!(Stan::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Stan::parse("000123").map(Stan::number), Ok(123));
        assert_eq!(BatchNo(999_998).next(), BatchNo(1));
    }

    #[test]
    fn days_follow_the_calendar() {
        let rows = [
            (20_261_123, 20_261_124),
            (20_261_130, 20_261_201),
            (20_261_231, 20_270_101),
            (20_240_228, 20_240_229),
            (20_260_228, 20_260_301),
        ];
        for (day, next) in rows {
            assert_eq!(Day(day).next(), Day(next));
            assert_eq!(Day(next).previous(), Day(day));
        }
        assert_eq!(Day(20_260_231).next(), Day(20_260_231), "no such date");
    }

    #[test]
    fn days_read_both_forms() {
        for (text, want) in [
            ("2026-11-23", Some(20_261_123)),
            ("20261123", Some(20_261_123)),
            ("2026-13-01", None),
            ("x", None),
        ] {
            assert_eq!(text.parse::<Day>().ok().map(|d| d.0), want, "{text}");
        }
    }
}
