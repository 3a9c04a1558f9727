//! The common shapes of a field, ready for the loops of the decoder and the encoder.
//!
//! What is not common or not good is left to [`Shape`], which knows every case and says what is wrong.

use crate::{
    Content,
    charset::Class,
    encoding::{Align, pack},
    shape::{Data, PrefixEncoding, PrefixUnit, Shape},
    word::{Range, append_good, are_good, bad_alnum, bad_digits},
};

/// How a field of a common shape is stepped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    plain: Plain,
    lead: Lead,
    form: Form,
    class: Class,
    min: u16,
    max: u16,
    range: Range,
}

/// The step of every field, by its number; those without a definition too.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Steps([Step; 256]);

impl Steps {
    pub(crate) fn of_shapes<'a>(shapes: impl Iterator<Item = (u8, &'a Shape)>) -> Steps {
        let mut steps = [Step::default(); 256];
        for (de, shape) in shapes {
            if let Some(slot) = steps.get_mut(usize::from(de)) {
                *slot = Step::of(shape);
            }
        }
        Steps(steps)
    }

    #[inline]
    #[allow(clippy::indexing_slicing, reason = "an octet indexes an array of 256")]
    pub(crate) fn of(&self, de: u8) -> &Step {
        &self.0[usize::from(de)]
    }
}

/// The most common fields of all: fixed, an octet a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Plain {
    #[default]
    No,
    Octets,
    Range,
    Alnum,
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

/// How the content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    /// Octets, whatever they are.
    #[default]
    Octets,
    /// ASCII characters of a range.
    Range,
    /// Letters, digits and blanks of ASCII.
    Alnum,
    /// ASCII characters of another class.
    Class,
    /// Packed digits.
    Packed,
    /// Digits and letters packed two an octet, whatever they are.
    AnyPacked,
}

impl Step {
    fn of(shape: &Shape) -> Step {
        let lead = match shape.prefix {
            None => Lead::Fixed,
            Some(prefix) if prefix.unit != PrefixUnit::Content || prefix.is_inclusive => Lead::Other,
            Some(prefix) => match (prefix.encoding, prefix.width) {
                (PrefixEncoding::Ascii, 2) => Lead::Ascii2,
                (PrefixEncoding::Ascii, 3) => Lead::Ascii3,
                (PrefixEncoding::Bcd, 1) => Lead::Bcd1,
                (PrefixEncoding::Bcd, 2) => Lead::Bcd2,
                (_, _) => Lead::Other,
            },
        };
        let content = match (shape.data, shape.content) {
            (Data::Binary, _) => Some((Form::Octets, Range::ANY)),
            (Data::Ascii, Content::N) => Some((Form::Range, Range::DIGITS)),
            (Data::Ascii, Content::Ans) => Some((Form::Range, Range::PRINTABLE)),
            (Data::Ascii, Content::An) => Some((Form::Alnum, Range::ANY)),
            (Data::Ascii, Content::A | Content::Ns | Content::Z | Content::Zx) => {
                Some((Form::Class, Range::ANY))
            }
            (Data::Bcd, Content::N) => Some((Form::Packed, Range::DIGITS)),
            (Data::Bcd, Content::Zx) => Some((Form::AnyPacked, Range::ANY)),
            (_, _) => None,
        };
        let Some((form, range)) = content.filter(|_| lead != Lead::Other) else { return Step::default() };
        let plain = match (lead, form) {
            (Lead::Fixed, Form::Range) => Plain::Range,
            (Lead::Fixed, Form::Alnum) => Plain::Alnum,
            (Lead::Fixed, Form::Octets) => Plain::Octets,
            (_, _) => Plain::No,
        };
        Step { plain, lead, form, class: shape.content.class(), min: shape.min, max: shape.max, range }
    }

    /// Where the field at `at` ends, when it is of a common shape and good.
    #[inline]
    pub(crate) fn good_end(&self, body: &[u8], at: usize) -> Option<usize> {
        if self.plain != Plain::No {
            let end = at + usize::from(self.max);
            let content = body.get(at..end)?;
            let is_good = match self.plain {
                Plain::Alnum => are_good(content, bad_alnum),
                Plain::Range | Plain::Octets | Plain::No => are_good(content, |word| self.range.bad(word)),
            };
            return is_good.then_some(end);
        }
        let (start, units) = if self.lead == Lead::Fixed {
            (at, usize::from(self.max))
        } else {
            let (width, units) = self.prefix(body.get(at..)?)?;
            if units < usize::from(self.min) || units > usize::from(self.max) {
                return None;
            }
            (at + width, units)
        };
        let width = match self.form {
            Form::Octets | Form::Range | Form::Alnum | Form::Class => units,
            Form::Packed | Form::AnyPacked => units.div_ceil(2),
        };
        let end = start + width;
        let content = body.get(start..end)?;
        let is_good = match self.form {
            Form::Octets | Form::AnyPacked => true,
            Form::Range => are_good(content, |word| self.range.bad(word)),
            Form::Alnum => are_good(content, bad_alnum),
            Form::Class => self.class.holds_all(content),
            Form::Packed => units % 2 == 0 && are_good(content, bad_digits),
        };
        is_good.then_some(end)
    }

    /// Appends characters with their prefix when the field is of a common shape and they are good for it; `false`,
    /// and nothing is appended, when they are to be looked at closer.
    #[inline]
    pub(crate) fn write_good(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let is_whole = text.len() == usize::from(self.max);
        if self.plain == Plain::Range {
            return is_whole && append_good(text, |word| self.range.bad(word), out);
        }
        if self.plain == Plain::Alnum {
            return is_whole && append_good(text, bad_alnum, out);
        }
        self.write_less_common(text, out)
    }

    /// Appends octets when the field is a fixed one of octets as they are, and they are as many.
    #[inline]
    pub(crate) fn write_octets(&self, octets: &[u8], out: &mut Vec<u8>) -> bool {
        let is_good = self.plain == Plain::Octets && octets.len() == usize::from(self.max);
        if is_good {
            out.extend_from_slice(octets);
        }
        is_good
    }

    #[inline]
    fn write_less_common(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        if text.len() < usize::from(self.min) || text.len() > usize::from(self.max) {
            return false;
        }
        let is_good = match self.form {
            Form::Range => are_good(text, |word| self.range.bad(word)),
            Form::Packed => text.len().is_multiple_of(2) && are_good(text, |word| self.range.bad(word)),
            Form::Alnum => are_good(text, bad_alnum),
            // The separator of track data may have to be written as another character.
            Form::Class => self.class != Class::Z && self.class.holds_all(text),
            Form::Octets | Form::AnyPacked => false,
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
        if self.form == Form::Packed {
            pack(text, Align::Left, 0, out)
        } else {
            out.extend_from_slice(text)
        }
        true
    }

    /// Octets of the prefix, and the number in it.
    #[inline]
    fn prefix(&self, rest: &[u8]) -> Option<(usize, usize)> {
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
                        let found = spec.steps().of(de).good_end(&body, 10);
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
