//! The characters of a field: borrowed from the message where they stand there, else unpacked without a heap.

use std::{borrow::Cow, fmt, ops::Deref};

/// Characters held without a heap: longer than any PAN, track 2 or amount.
const INLINE: usize = 46;

/// The characters of a field: borrowed from the message, or unpacked from its digits or its code page. UTF-8,
/// whatever they are on the wire.
///
/// `Debug` shows the length only; the content may be a PAN.
#[derive(Clone)]
pub struct Text<'a>(Held<'a>);

#[derive(Clone)]
enum Held<'a> {
    Borrowed(&'a str),
    Inline([u8; INLINE], u8),
    Owned(Vec<u8>),
}

impl<'a> Text<'a> {
    #[inline]
    pub(crate) fn borrowed(text: &'a str) -> Text<'a> {
        Text(Held::Borrowed(text))
    }

    /// Every octet as the ASCII character that `ascii` gives.
    pub(crate) fn mapped(wire: &[u8], ascii: impl Fn(u8) -> u8) -> Text<'a> {
        let mut text = Text::blank(wire.len());
        for (slot, octet) in text.as_mut().iter_mut().zip(wire) {
            *slot = ascii(*octet);
        }
        text
    }

    /// Octets of ISO 8859-1, each as its character.
    fn latin1(octets: &[u8]) -> Text<'a> {
        Text(Held::Owned(octets.iter().copied().map(char::from).collect::<String>().into_bytes()))
    }

    /// So many ASCII characters, written by `write`.
    pub(crate) fn filled(length: usize, write: impl FnOnce(&mut [u8]) -> Option<()>) -> Option<Text<'a>> {
        let mut text = Text::blank(length);
        write(text.as_mut())?;
        Some(text)
    }

    /// The octets of UTF-8 from `start` to before `end`; `None` when they are not all there.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Option<Text<'a>> {
        match &self.0 {
            Held::Borrowed(text) => text.get(start..end).map(Text::borrowed),
            Held::Inline(..) | Held::Owned(_) => self.get(start..end).map(Text::detached),
        }
    }

    /// The same characters, held on their own.
    pub(crate) fn detached(text: &str) -> Text<'a> {
        Text::mapped(text.as_bytes(), |octet| octet)
    }

    fn blank(length: usize) -> Text<'a> {
        match u8::try_from(length) {
            Ok(short) if length <= INLINE => Text(Held::Inline([b'0'; INLINE], short)),
            Ok(_) | Err(_) => Text(Held::Owned(vec![b'0'; length])),
        }
    }

    fn as_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Held::Borrowed(_) => &mut [],
            Held::Inline(octets, length) => octets.get_mut(..usize::from(*length)).unwrap_or_default(),
            Held::Owned(octets) => octets,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        let octets = match &self.0 {
            Held::Borrowed(text) => return text,
            Held::Inline(octets, length) => octets.get(..usize::from(*length)).unwrap_or_default(),
            Held::Owned(octets) => octets,
        };
        let text = std::str::from_utf8(octets);
        debug_assert!(text.is_ok());
        text.unwrap_or_default()
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} characters)", self.chars().count())
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

/// The characters of a field as a walk runs over them: one an octet, so that places and lengths are the wire's.
pub(crate) enum Characters<'a> {
    /// ASCII alone, which reads as it is.
    Ascii(Text<'a>),
    /// ISO 8859-1 with characters beyond ASCII.
    Latin1(Cow<'a, [u8]>),
}

impl<'a> Characters<'a> {
    /// The same characters in UTF-8.
    pub(crate) fn into_text(self) -> Text<'a> {
        match self {
            Characters::Ascii(text) => text,
            Characters::Latin1(octets) => Text::latin1(&octets),
        }
    }
}

impl Deref for Characters<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Characters::Ascii(text) => text.as_bytes(),
            Characters::Latin1(octets) => octets,
        }
    }
}

/// The characters of a text, one an octet; 0, which is in no class, for what ISO 8859-1 does not have.
pub(crate) fn octets_of(text: &str) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text.as_bytes());
    }
    Cow::Owned(text.chars().map(|character| u8::try_from(character).unwrap_or(0)).collect())
}
