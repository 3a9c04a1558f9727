//! The common shapes of a field as eight octets that the decoder's loop reads, and the judgement of good content,
//! eight octets at a time.
//!
//! What is not common or not good is left to [`Shape`], which knows every case and says what is wrong.

use crate::{
    Content,
    charset::Class,
    encoding::{Align, pack},
    shape::{Data, PrefixEncoding, PrefixUnit, Shape},
};

/// How a field of a common shape is stepped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    lead: Lead,
    check: Check,
    /// The lowest good octet, and what takes the highest to `0x7F`; both 0 where every octet is good.
    low: u8,
    up: u8,
    min: u16,
    max: u16,
}

/// What stands before the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Lead {
    /// A field without a definition, or of a shape that is not common.
    #[default]
    Other,
    Fixed,
    Ascii2,
    Ascii3,
    Bcd1,
    Bcd2,
}

/// What good content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Check {
    /// Octets of a range, or any.
    #[default]
    Range,
    /// Packed digits.
    Packed,
    /// Digits and letters packed two an octet, whatever they are.
    AnyPacked,
    /// ASCII characters of a class that is no range.
    Class(Class),
}

/// ASCII digits, for what is packed from them.
const DIGITS: Step =
    Step { lead: Lead::Other, check: Check::Range, low: b'0', up: 0x7F - b'9', min: 0, max: 0 };

impl Step {
    pub(crate) fn of(shape: &Shape) -> Step {
        let lead = match shape.prefix {
            None => Some(Lead::Fixed),
            Some(prefix) if prefix.unit != PrefixUnit::Content || prefix.is_inclusive => None,
            Some(prefix) => match (prefix.encoding, prefix.width) {
                (PrefixEncoding::Ascii, 2) => Some(Lead::Ascii2),
                (PrefixEncoding::Ascii, 3) => Some(Lead::Ascii3),
                (PrefixEncoding::Bcd, 1) => Some(Lead::Bcd1),
                (PrefixEncoding::Bcd, 2) => Some(Lead::Bcd2),
                (_, _) => None,
            },
        };
        let check = match (shape.data, shape.content) {
            (Data::Binary, _) => Some((Check::Range, 0, 0)),
            (Data::Ascii, Content::N) => Some((Check::Range, b'0', 0x7F - b'9')),
            (Data::Ascii, Content::Ans) => Some((Check::Range, b' ', 0x7F - b'~')),
            (Data::Ascii, Content::A | Content::An | Content::Ns | Content::Z | Content::Zx) => {
                Some((Check::Class(shape.content.class()), 0, 0))
            }
            (Data::Bcd, Content::N) => Some((Check::Packed, 0, 0)),
            (Data::Bcd, Content::Zx) => Some((Check::AnyPacked, 0, 0)),
            (_, _) => None,
        };
        match (lead, check) {
            (Some(lead), Some((check, low, up))) => {
                Step { lead, check, low, up, min: shape.min, max: shape.max }
            }
            (_, _) => Step::default(),
        }
    }

    /// Where the field at `at` ends, when it is of a common shape and good. A fixed field of a range comes first: it
    /// is the most common of all.
    #[inline]
    pub(crate) fn good_end(self, body: &[u8], at: usize) -> Option<usize> {
        let (start, units) = if self.lead == Lead::Fixed {
            (at, usize::from(self.max))
        } else {
            let (width, units) = self.prefix(body.get(at..)?)?;
            if units < usize::from(self.min) || units > usize::from(self.max) {
                return None;
            }
            (at + width, units)
        };
        if self.check == Check::Range {
            let end = start + units;
            return are_good(body.get(start..end)?, self.bad()).then_some(end);
        }
        match self.check {
            Check::Packed if units % 2 == 0 => {
                let end = start + units / 2;
                are_good(body.get(start..end)?, |word| word & (word << 1 | word << 2) & EIGHTS).then_some(end)
            }
            Check::Packed | Check::Range => None,
            Check::AnyPacked => {
                let end = start + units.div_ceil(2);
                body.get(start..end).map(|_| end)
            }
            Check::Class(class) => {
                let end = start + units;
                class.holds_all(body.get(start..end)?).then_some(end)
            }
        }
    }

    /// Appends characters with their prefix when the field is of a common shape and they are good for it; `false`,
    /// and nothing is appended, when they are to be looked at closer.
    #[inline]
    pub(crate) fn write_good(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        if text.len() < usize::from(self.min) || text.len() > usize::from(self.max) {
            return false;
        }
        if self.check == Check::Range && self.lead == Lead::Fixed {
            let is_good = self.up != 0 && are_good(text, self.bad());
            if is_good {
                out.extend_from_slice(text);
            }
            return is_good;
        }
        self.write_less_common(text, out)
    }

    /// Appends octets when the field is a fixed one of octets as they are, and they are as many.
    #[inline]
    pub(crate) fn write_octets(self, octets: &[u8], out: &mut Vec<u8>) -> bool {
        let is_common = self.lead == Lead::Fixed && self.check == Check::Range && self.up == 0;
        if is_common && octets.len() == usize::from(self.max) {
            out.extend_from_slice(octets);
            return true;
        }
        false
    }

    #[inline]
    fn write_less_common(self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let is_good = match self.check {
            Check::Range => self.up != 0 && are_good(text, self.bad()),
            Check::Packed => text.len().is_multiple_of(2) && are_good(text, DIGITS.bad()),
            // The separator of track data may have to be written as another character.
            Check::Class(class) => class != Class::Z && class.holds_all(text),
            Check::AnyPacked => false,
        };
        if !is_good {
            return false;
        }
        let digit = |place: usize| u8::try_from(text.len() / place % 10).unwrap_or(0);
        match self.lead {
            Lead::Fixed => {}
            Lead::Ascii2 => out.extend_from_slice(&[digit(10) | b'0', digit(1) | b'0']),
            Lead::Ascii3 => out.extend_from_slice(&[digit(100) | b'0', digit(10) | b'0', digit(1) | b'0']),
            Lead::Bcd1 => out.push(digit(10) << 4 | digit(1)),
            Lead::Bcd2 => {
                out.extend_from_slice(&[digit(1000) << 4 | digit(100), digit(10) << 4 | digit(1)]);
            }
            Lead::Other => return false,
        }
        if self.check == Check::Packed {
            pack(text, Align::Left, 0, out)
        } else {
            out.extend_from_slice(text)
        }
        true
    }

    /// The octets of a word that are not in the range.
    #[inline]
    fn bad(self) -> impl Fn(u64) -> u64 {
        let (low, up) = (u64::from(self.low) * ONES, u64::from(self.up) * ONES);
        let high = if self.up == 0 { 0 } else { HIGH };
        move |word| (word | word.wrapping_sub(low) | word.wrapping_add(up)) & high
    }

    /// Octets of the prefix, and the number in it.
    #[inline]
    fn prefix(self, rest: &[u8]) -> Option<(usize, usize)> {
        let digit = |octet: u8| {
            let digit = octet.wrapping_sub(b'0');
            (digit < 10).then_some(usize::from(digit))
        };
        let packed = |octet: u8| {
            let (high, low) = (octet >> 4, octet & 15);
            (high < 10 && low < 10).then_some(usize::from(high * 10 + low))
        };
        match (self.lead, rest) {
            (Lead::Ascii2, [a, b, ..]) => Some((2, digit(*a)? * 10 + digit(*b)?)),
            (Lead::Ascii3, [a, b, c, ..]) => Some((3, digit(*a)? * 100 + digit(*b)? * 10 + digit(*c)?)),
            (Lead::Bcd1, [a, ..]) => Some((1, packed(*a)?)),
            (Lead::Bcd2, [a, b, ..]) => Some((2, packed(*a)? * 100 + packed(*b)?)),
            (_, _) => None,
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;
/// The highest bit of every nibble.
const EIGHTS: u64 = 0x88 * ONES;

/// Whether all octets are good: `bad` has a bit set for what is not. The last octets are loaded together with those
/// before them, which are looked at twice.
#[inline(always)]
fn are_good(content: &[u8], bad: impl Fn(u64) -> u64) -> bool {
    let seen = if let Some(last) = content.last_chunk::<8>() {
        let (words, _) = content.as_chunks::<8>();
        let mut seen = bad(u64::from_le_bytes(*last));
        for word in words {
            seen |= bad(u64::from_le_bytes(*word));
        }
        seen
    } else if let (Some([a, b, c, d]), Some([e, f, g, h])) =
        (content.first_chunk::<4>(), content.last_chunk::<4>())
    {
        bad(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
    } else {
        match *content {
            [] => 0,
            [a] => bad(u64::from_le_bytes([a; 8])),
            [a, b] => bad(u64::from_le_bytes([a, b, a, b, a, b, a, b])),
            [a, b, c, ..] => bad(u64::from_le_bytes([a, b, c, a, b, c, a, b])),
        }
    };
    seen == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spec;

    #[test]
    fn a_step_ends_where_the_shape_does_and_only_when_it_is_good() {
        // Every field of every dialect, at a place with octets in front, with every octet changed to some others.
        let mut seen = 0;
        for spec in Spec::builtins() {
            for (de, field) in spec.fields() {
                let Some(content) = sample(&field.shape) else { continue };
                let mut body = vec![b'x'; 10];
                body.extend(content);
                for place in 10..=body.len() {
                    for octet in
                        [0x00, 0x09, 0x0A, 0x1F, 0x20, 0x2F, 0x3A, 0x41, 0x7E, 0x7F, 0x80, 0x99, 0xA0, 0xFF]
                    {
                        let mut body = body.clone();
                        if let Some(slot) = body.get_mut(place) {
                            *slot = octet;
                        }
                        let cut = field.shape.cut(&body[10..]).ok();
                        let good = cut.filter(|cut| field.shape.fault(cut.wire, cut.units).is_none());
                        let expected = good.map(|cut| body.len() - cut.after.len());
                        let found = spec.step(de).good_end(&body, 10);
                        assert!(found.is_none() || found == expected, "{} {de} {body:02X?}", spec.name());
                        seen += usize::from(found.is_some());
                    }
                }
            }
        }
        assert!(seen > 100_000, "{seen}");
    }

    /// Good content of a field, as long as it may be.
    fn sample(shape: &Shape) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let units = usize::from(shape.max).min(40).max(usize::from(shape.min));
        match shape.content {
            Content::B => shape.write_bytes(&vec![0x5A; units], &mut out).ok()?,
            Content::Xn => shape.write_text(&format!("C{}", "1".repeat(units - 1)), &mut out).ok()?,
            Content::A => shape.write_text(&"A".repeat(units), &mut out).ok()?,
            Content::N | Content::An | Content::Ans | Content::Ns | Content::Z | Content::Zx => {
                shape.write_text(&"1".repeat(units), &mut out).ok()?
            }
        }
        Some(out)
    }
}
