//! The fields of a command, taken one after the other, and those of an answer.
//!
//! A field that is not there or not of its characters is [`Code::INPUT`]. What stands in a field is never told.

use super::code::Code;
use zeroize::Zeroizing;

/// What is left of a command.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    /// The trailer with its mark, once the end was reached.
    trailer: Option<&'a [u8]>,
}

/// Ends an answer and a command when a trailer follows.
const TRAILER: u8 = 0x19;
/// Characters of a trailer at most.
const LONGEST_TRAILER: usize = 32;

impl<'a> Fields<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest, trailer: None }
    }

    /// So many octets, whatever they are.
    pub(crate) fn octets(&mut self, count: usize) -> Result<&'a [u8], Code> {
        self.rest.split_off(..count).ok_or(Code::INPUT)
    }

    /// So many octets as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Code> {
        self.octets(N)?.try_into().map_err(|_| Code::INPUT)
    }

    /// So many printable characters.
    pub(crate) fn text(&mut self, count: usize) -> Result<&'a str, Code> {
        let octets = self.octets(count)?;
        let text = std::str::from_utf8(octets).map_err(|_| Code::INPUT)?;
        if text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) { Ok(text) } else { Err(Code::INPUT) }
    }

    /// So many decimal digits.
    pub(crate) fn digits(&mut self, count: usize) -> Result<&'a str, Code> {
        let text = self.text(count)?;
        if text.bytes().all(|digit| digit.is_ascii_digit()) { Ok(text) } else { Err(Code::INPUT) }
    }

    /// A number of so many decimal digits.
    pub(crate) fn number(&mut self, count: usize) -> Result<usize, Code> {
        self.digits(count)?.parse().map_err(|_| Code::INPUT)
    }

    /// A number of so many hexadecimal digits.
    pub(crate) fn hex_number(&mut self, count: usize) -> Result<usize, Code> {
        usize::from_str_radix(self.hex_digits(count)?, 16).map_err(|_| Code::INPUT)
    }

    /// So many hexadecimal digits.
    pub(crate) fn hex_digits(&mut self, count: usize) -> Result<&'a str, Code> {
        let text = self.text(count)?;
        if text.bytes().all(|digit| digit.is_ascii_hexdigit()) { Ok(text) } else { Err(Code::INPUT) }
    }

    /// The octets behind twice as many hexadecimal digits.
    pub(crate) fn hex(&mut self, octets: usize) -> Result<Zeroizing<Vec<u8>>, Code> {
        hex::decode(self.hex_digits(2 * octets)?).map(Zeroizing::new).map_err(|_| Code::INPUT)
    }

    /// The octets behind hexadecimal digits, as an array.
    pub(crate) fn hex_array<const N: usize>(&mut self) -> Result<[u8; N], Code> {
        self.hex(N)?.as_slice().try_into().map_err(|_| Code::INPUT)
    }

    /// Characters up to a mark, which is taken too.
    pub(crate) fn until(&mut self, mark: u8) -> Result<&'a str, Code> {
        let end = self.rest.iter().position(|octet| *octet == mark).ok_or(Code::INPUT)?;
        let text = self.text(end)?;
        self.octets(1)?;
        Ok(text)
    }

    /// Whether this octet is next; it is taken then.
    pub(crate) fn takes(&mut self, octet: u8) -> bool {
        let is_next = self.next() == Some(octet);
        if is_next {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_next
    }

    /// The octet that is next.
    pub(crate) fn next(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// How many octets are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The local master key that a command may name (`%nn`).
    pub(crate) fn lmk(&mut self) -> Result<Option<usize>, Code> {
        if self.takes(b'%') { self.number(2).map(Some) } else { Ok(None) }
    }

    /// The end: an LMK's number, a trailer, nothing else.
    pub(crate) fn end(&mut self) -> Result<Option<usize>, Code> {
        let lmk = self.lmk()?;
        let is_end = match self.rest {
            [] => true,
            [TRAILER, trailer @ ..] => trailer.len() <= LONGEST_TRAILER,
            [..] => false,
        };
        if !is_end {
            return Err(Code::INPUT);
        }
        self.trailer = Some(std::mem::take(&mut self.rest));
        Ok(lmk)
    }

    /// The trailer with its mark, as an answer ends with it too: what the end was found to have, or for a command
    /// that is not read so far what looks like one.
    pub(crate) fn trailer(&self) -> &'a [u8] {
        self.trailer.unwrap_or_else(|| likely_trailer(self.rest))
    }
}

/// The last mark, when it stands where a trailer may and characters are all that follows.
fn likely_trailer(command: &[u8]) -> &[u8] {
    let tail = command.get(command.len().saturating_sub(LONGEST_TRAILER + 1)..).unwrap_or(command);
    let at = tail.iter().rposition(|octet| *octet == TRAILER);
    let trailer = at.and_then(|at| tail.get(at..)).unwrap_or_default();
    let is_text = trailer.iter().skip(1).all(|octet| (b' '..=b'~').contains(octet));
    if is_text { trailer } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Refuses = fn(&mut Fields<'_>) -> bool;

    #[test]
    fn fields_are_of_their_characters() {
        let mut fields = Fields::new(b"0123AB1aUX;%01\x19tail");
        assert_eq!(fields.digits(2), Ok("01"));
        assert_eq!(fields.number(2), Ok(23));
        assert_eq!(fields.hex_array(), Ok([0xAB, 0x1A]));
        assert_eq!(fields.until(b';'), Ok("UX"));
        assert_eq!((fields.takes(b'!'), fields.next(), fields.left()), (false, Some(b'%'), 8));
        assert_eq!(fields.end(), Ok(Some(1)));
        let bad: [(&[u8], Refuses); 9] = [
            (b"12", |fields| fields.digits(3).is_err()),
            (b"1A", |fields| fields.digits(2).is_err()),
            (b"+1", |fields| fields.number(2).is_err()),
            (b"1G", |fields| fields.hex_number(2).is_err()),
            (b"\xFF\xFF", |fields| fields.text(2).is_err()),
            (b"abc", |fields| fields.until(b';').is_err()),
            (b"%1", |fields| fields.end().is_err()),
            (b"x", |fields| fields.end().is_err()),
            (&[TRAILER; 34], |fields| fields.end().is_err()),
        ];
        for (octets, is_refused) in bad {
            assert!(is_refused(&mut Fields::new(octets)), "{octets:02X?}");
        }
    }

    #[test]
    fn a_trailer_is_found_from_behind() {
        let rows: [(&[u8], &[u8]); 6] = [
            (b"NC", b""),
            (b"NC\x19abc", b"\x19abc"),
            (b"B2\x19\x19x", b"\x19x"),
            (b"B2\x19\x01\x02", b""),
            (b"NC\x19", b"\x19"),
            (b"NC\x19aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", b""),
        ];
        for (command, expected) in rows {
            assert_eq!(likely_trailer(command), expected, "{command:02X?}");
        }
    }
}
