//! What can happen to a message on its way.

use iso8583_spec::View;

use crate::{
    chance::Chance,
    dialect::{Dialect, Front},
    python,
    sample::octet,
};

/// What is done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    Cut,
    Appended,
    PrefixOctet,
    Miscounted,
    OverMaximum,
    BitWithoutField,
    BitTaken,
    BitmapOctet,
    MtiOctet,
    HeadOctet,
    ContentOctet,
    PadNibble,
    AnyOctet,
    /// Not damage, but another way to write the same: both must read it.
    LowerCaseBitmap,
    EmptyBitmap,
}

/// Every damage, and whether it must be seen to be refused by both.
pub(crate) const DAMAGES: [(Damage, bool); 15] = [
    (Damage::Cut, true),
    (Damage::Appended, true),
    (Damage::PrefixOctet, true),
    (Damage::Miscounted, true),
    (Damage::OverMaximum, true),
    (Damage::BitWithoutField, true),
    (Damage::BitTaken, true),
    (Damage::BitmapOctet, true),
    (Damage::MtiOctet, true),
    (Damage::HeadOctet, false),
    (Damage::ContentOctet, true),
    (Damage::PadNibble, false),
    (Damage::AnyOctet, true),
    (Damage::LowerCaseBitmap, false),
    (Damage::EmptyBitmap, false),
];

/// Octets that a careless reader may take for part of a number: signs, blanks, underscores, letters, digits.
const NEARLY_DIGITS: &[u8] = b"+- _\t\r\x1F\x0B AFaf09/:\x4E\x60\x40\x6D\x15\x25\x41\xC1\x81\xF0\xF9\xFA\xEF\
    \x0A\x1A\x9A\xA0\xA9\x00\x7F\x80";

impl Damage {
    /// Any damage, half of the time to content, of which there is the most.
    pub(crate) fn random(chance: &mut Chance) -> Damage {
        let (any, _) = chance.pick(&DAMAGES);
        if chance.once_in(2) { Damage::ContentOctet } else { any }
    }

    /// The message with this done to it; `None` when it has nothing to do it to.
    pub(crate) fn done(self, dialect: &Dialect, body: &[u8], chance: &mut Chance) -> Option<Vec<u8>> {
        let front = dialect.front;
        let mut octets = body.to_vec();
        let after_mti = bitmap_at(front, 0);
        match self {
            Damage::Cut => octets.truncate(chance.within(0..=body.len() - 1)),
            Damage::Appended => octets.extend((0..chance.within(1..=8)).map(|_| octet(chance))),
            Damage::PrefixOctet => {
                let (at, width) = prefix(dialect, body, chance)?;
                octets[at + chance.within(0..=width - 1)] = nearly(chance);
            }
            Damage::Miscounted => miscount(dialect, &mut octets, chance)?,
            Damage::OverMaximum => over_maximum(dialect, &mut octets, chance)?,
            Damage::BitWithoutField => flip_bit(dialect, &mut octets, false, chance)?,
            Damage::BitTaken => flip_bit(dialect, &mut octets, true, chance)?,
            Damage::BitmapOctet => {
                let at = after_mti + chance.within(0..=front.bitmap_width() - 1);
                octets[at] = nearly(chance);
                // Two blanks side by side are what Python may skip.
                if chance.once_in(3) {
                    let blank = if front.bitmap == "ascii" { b' ' } else { 0x40 };
                    let at = after_mti + chance.within(0..=front.bitmap_width() / 2 - 1) * 2;
                    octets[at..at + 2].fill(blank);
                }
            }
            Damage::MtiOctet => {
                octets[front.head() + chance.within(0..=front.mti_width() - 1)] = octet(chance)
            }
            Damage::HeadOctet if front.head() == 0 => return None,
            Damage::HeadOctet => octets[chance.within(0..=front.head() - 1)] = octet(chance),
            Damage::ContentOctet => {
                let has_content = |view: &View<'_>, de| view.raw(de).is_some_and(|raw| !raw.is_empty());
                let de = field(dialect, body, has_content, chance)?;
                let (start, end) = content(dialect, body, de)?;
                for _ in 0..chance.within(1..=2) {
                    let any = chance.within(start..=end - 1);
                    let at = chance.pick(&[start, any, end - 1]);
                    octets[at] = beside(octets[at], chance);
                }
            }
            Damage::PadNibble => {
                let is_padded = |view: &View<'_>, de: u8| {
                    let digits = view.text(de).map_or(0, |text| text.len());
                    dialect.pairs[&de].is_padded() && digits % 2 == 1
                };
                let de = field(dialect, body, is_padded, chance)?;
                let (start, end) = content(dialect, body, de)?;
                let is_left = dialect.pairs[&de].align == "left";
                let (at, nibble) = if is_left { (end - 1, 0x0F) } else { (start, 0xF0) };
                octets[at] = octets[at] & !nibble | octet(chance) & nibble;
            }
            Damage::AnyOctet => octets[chance.within(0..=body.len() - 1)] = octet(chance),
            Damage::LowerCaseBitmap => lower_case(front, &mut octets)?,
            Damage::EmptyBitmap => insert_bitmap(dialect, &mut octets)?,
        }
        Some(octets)
    }
}

/// Characters just outside of the digits, the letters and what is printable.
const BORDERS: &[u8] = b"/:@[`{\x1F\x7FGg";

/// Mostly a neighbour of an octet or of one of its digits, or a border: there begins what is wrong.
fn beside(of: u8, chance: &mut Chance) -> u8 {
    let neighbour = of.wrapping_add(chance.pick(&[0x01, 0xFF, 0x10, 0xF0]));
    let (border, any) = (chance.pick(BORDERS), octet(chance));
    chance.pick(&[neighbour, neighbour, border, border, any])
}

fn nearly(chance: &mut Chance) -> u8 {
    if chance.once_in(3) { octet(chance) } else { chance.pick(NEARLY_DIGITS) }
}

/// One of the fields of a sound message that have what is asked for.
fn field(
    dialect: &Dialect,
    body: &[u8],
    has: impl Fn(&View<'_>, u8) -> bool,
    chance: &mut Chance,
) -> Option<u8> {
    let view = View::decode(&dialect.spec, body).unwrap();
    let fields: Vec<u8> = view.fields().filter(|de| has(&view, *de)).collect();
    (!fields.is_empty()).then(|| chance.pick(&fields))
}

/// Where the prefix of a field begins, and how many octets it has.
fn prefix(dialect: &Dialect, body: &[u8], chance: &mut Chance) -> Option<(usize, usize)> {
    let de = field(dialect, body, |_, de| dialect.pairs[&de].prefix.is_some(), chance)?;
    let at = View::decode(&dialect.spec, body).unwrap().offset_of(de)?;
    Some((at, dialect.pairs[&de].prefix?.width()))
}

/// Where the content of a field begins and ends.
fn content(dialect: &Dialect, body: &[u8], de: u8) -> Option<(usize, usize)> {
    let view = View::decode(&dialect.spec, body).unwrap();
    let end = view.offset_of(de)? + view.whole(de)?.len();
    Some((end - view.raw(de)?.len(), end))
}

/// A prefix says one more or one less than is there.
fn miscount(dialect: &Dialect, octets: &mut Vec<u8>, chance: &mut Chance) -> Option<()> {
    let de = field(dialect, octets, |_, de| dialect.pairs[&de].prefix.is_some(), chance)?;
    let view = View::decode(&dialect.spec, octets).unwrap();
    let (at, prefix) = (view.offset_of(de)?, dialect.pairs[&de].prefix?);
    let number = prefix.number(&octets[at..at + prefix.width()])?;
    let other = if chance.once_in(2) { number + 1 } else { number - 1 };
    let wire = prefix.wire(usize::try_from(other).ok()?)?;
    octets.splice(at..at + wire.len(), wire);
    Some(())
}

/// A prefix says more than the field may hold; what it says is there or not.
fn over_maximum(dialect: &Dialect, octets: &mut Vec<u8>, chance: &mut Chance) -> Option<()> {
    let more = |de: u8, by: usize| {
        let pair = &dialect.pairs[&de];
        Some((pair.count(pair.max) + by, pair.prefix?.wire(pair.count(pair.max) + by)?))
    };
    let de = field(dialect, octets, |_, de| more(de, 1).is_some(), chance)?;
    let by = chance.within(1..=9);
    let (count, wire) = more(de, by).or_else(|| more(de, 1))?;
    let at = View::decode(&dialect.spec, octets).unwrap().offset_of(de)?;
    octets.splice(at..at + wire.len(), wire);
    if chance.once_in(2) && count < 4_000 {
        octets.extend(vec![b'0'; count]);
    }
    Some(())
}

/// Where a bitmap begins: the first, second or third.
fn bitmap_at(front: Front, number: usize) -> usize {
    front.head() + front.mti_width() + number * front.bitmap_width()
}

/// How many bitmaps a message has.
fn bitmaps(dialect: &Dialect, octets: &[u8]) -> usize {
    let front = dialect.front;
    let is_followed = |number| python::is_first_bit_set(front.bitmap, &octets[bitmap_at(front, number)..]);
    match (is_followed(0), front.last) {
        (false, _) => 1,
        (true, 192) if is_followed(1) => 3,
        (true, _) => 2,
    }
}

/// Turns a bit that is set, or one that is not.
fn flip_bit(dialect: &Dialect, octets: &mut [u8], is_set: bool, chance: &mut Chance) -> Option<()> {
    let fields: Vec<u8> = View::decode(&dialect.spec, octets).unwrap().fields().collect();
    let bits: Vec<usize> = (0..bitmaps(dialect, octets) * 64)
        .filter(|bit| {
            let de = u8::try_from(bit + 1).unwrap();
            // Bit 1 of any bitmap is not that of a field.
            is_set == fields.contains(&de) && (bit % 64 != 0 || chance.once_in(20))
        })
        .collect();
    if bits.is_empty() {
        return None;
    }
    turn(dialect.front, octets, chance.pick(&bits));
    Some(())
}

fn turn(front: Front, octets: &mut [u8], bit: usize) {
    let start = bitmap_at(front, bit / 64);
    let bit = bit % 64;
    match front.bitmap {
        "b" => octets[start + bit / 8] ^= 0x80 >> (bit % 8),
        encoding => {
            let slot = &mut octets[start + bit / 4];
            *slot =
                python::hex_octet(encoding, python::hex_digit(encoding, *slot).unwrap() ^ (8 >> (bit % 4)));
        }
    }
}

fn lower_case(front: Front, octets: &mut [u8]) -> Option<()> {
    let start = bitmap_at(front, 0);
    let bitmap = &mut octets[start..start + front.bitmap_width()];
    match front.bitmap {
        "b" => return None,
        "ascii" => bitmap.make_ascii_lowercase(),
        // The letters of EBCDIC are in lower case where this bit is not set.
        _ => bitmap.iter_mut().filter(|octet| **octet < 0xF0).for_each(|octet| *octet &= !0x40),
    }
    Some(())
}

/// A further bitmap without fields; in some dialects there is no such bitmap.
fn insert_bitmap(dialect: &Dialect, octets: &mut Vec<u8>) -> Option<()> {
    let front = dialect.front;
    let many = bitmaps(dialect, octets);
    if many == 3 {
        return None;
    }
    turn(front, octets, (many - 1) * 64);
    let zero = if front.bitmap == "b" { 0 } else { python::hex_octet(front.bitmap, 0) };
    let at = bitmap_at(front, many);
    octets.splice(at..at, vec![zero; front.bitmap_width()]);
    Some(())
}
