//! Every difference shown: what the octets are, what is read here, and what pyiso8583 reads.

use std::collections::BTreeMap;

use iso8583_spec::{DecodeError, Message, Part, View};

use crate::{
    dialect::{Dialect, Front},
    difference::Difference,
    judge::{self, Judge},
    misfit::{self, Misfit},
    pair::{Pair, Prefix},
    sample::Sample,
    verdict::{self, Outcome, Place},
};

/// What a side makes of field 2: its value, or where it refuses the message.
type Read = Result<&'static str, (&'static str, usize)>;

struct Row {
    difference: Difference,
    front: Front,
    /// Field 2.
    pair: Pair,
    body: &'static [u8],
    ours: Read,
    theirs: Read,
}

const fn prefixed(encoding: &'static str, letters: usize, pair: Pair) -> Pair {
    Pair { prefix: Some(Prefix { encoding, letters }), max: 9, ..pair }
}

const DIGITS: Pair = prefixed("ascii", 2, Pair { content: "n", ..Pair::PLAIN });
const LONG: Pair = Pair { max: 19, ..prefixed("ascii", 3, DIGITS) };
const EBCDIC: Pair = prefixed("cp500", 2, DIGITS);
const HEX: Pair = prefixed("ascii", 2, Pair { content: "b", encoding: "hex", unit: "octets", ..Pair::PLAIN });
const NIBBLES: Pair = Pair { data_enc: "b", unit: "nibbles", len_count: "nibbles", ..Pair::PLAIN };
const PACKED: Pair = prefixed("b", 1, Pair { content: "n", encoding: "bcd", ..NIBBLES });
const OCTETS: Pair = prefixed("b", 1, Pair { content: "b", encoding: "binary", ..NIBBLES });
const PACKED_RIGHT: Pair = Pair { align: "right", ..PACKED };
const LEAST: Pair = Pair { min: 3, ..DIGITS };
const SHORT: Front = Front { last: 64, ..Front::PLAIN };
const PACKED_FRONT: Front = Front { mti: "b", ..Front::PLAIN };
const HEADER: Front = Front { header: 2, header_enc: "ascii", ..Front::PLAIN };

#[rustfmt::skip]
const ROWS: [Row; 21] = {
    use Difference::*;
    const P: Front = Front::PLAIN;
    const fn row(difference: Difference, front: Front, pair: Pair, body: &'static [u8], ours: Read, theirs: Read) -> Row {
        Row { difference, front, pair, body, ours, theirs }
    }
    [
        row(TextOfLength, P, DIGITS, b"02004000000000000000+41234", Err(("2", 20)), Ok("1234")),
        row(TextOfLength, P, DIGITS, b"02004000000000000000 41234", Err(("2", 20)), Ok("1234")),
        row(TextOfLength, P, DIGITS, b"020040000000000000004\t1234", Err(("2", 20)), Ok("1234")),
        row(TextOfLength, P, DIGITS, b"02004000000000000000-0", Err(("2", 20)), Ok("")),
        row(TextOfLength, P, DIGITS, b"02004000000000000000-11", Err(("2", 20)), Err(("2", 22))),
        row(TextOfLength, P, LONG, b"020040000000000000001_01234567890", Err(("2", 20)), Ok("1234567890")),
        row(TextOfLength, P, EBCDIC, b"02004000000000000000\x40\xF41234", Err(("2", 20)), Ok("1234")),
        row(Class, P, DIGITS, b"020040000000000000000412A4", Err(("2", 24)), Ok("12A4")),
        row(Class, P, PACKED, b"02004000000000000000\x04\x12\xA4", Err(("2", 22)), Ok("12A4")),
        row(Mti, P, DIGITS, b"02x040000000000000000212", Err(("t", 0)), Ok("12")),
        row(Mti, PACKED_FRONT, DIGITS, b"\x02\xA040000000000000000212", Err(("t", 0)), Ok("12")),
        row(Minimum, P, LEAST, b"020040000000000000000212", Err(("2", 22)), Ok("12")),
        row(BlankInBitmap, P, DIGITS, b"020040 00000000000 0212", Err(("p", 4)), Err(("p", 4))),
        row(BlankInBitmap, P, DIGITS, b"020040 0000000000000212", Err(("p", 4)), Err(("p", 4))),
        row(BlankInBitmap, P, DIGITS, b"020040000000000000  0212", Err(("p", 4)), Ok("12")),
        row(HalfOctetOfHex, P, HEX, b"0200400000000000000003ABC", Err(("2", 20)), Ok("ABC")),
        row(FurtherBitmap, SHORT, DIGITS, b"0200C00000000000000000000000000000000212", Err(("1", 20)), Ok("12")),
        row(Pad, P, PACKED, b"02004000000000000000\x03\x12\x3F", Ok("123"), Err(("2", 21))),
        row(Pad, P, PACKED_RIGHT, b"02004000000000000000\x03\xF1\x23", Ok("123"), Err(("2", 21))),
        row(HalfOctet, P, OCTETS, b"02004000000000000000\x03\xAB\xCD", Ok("ABCD"), Err(("2", 21))),
        row(HeaderText, HEADER, DIGITS, b"\xC3\xA9020040000000000000000212", Ok("12"), Err(("h", 0))),
    ]
};

/// Holds every row against both sides; the differences that were shown.
pub(crate) fn shown(judge: &mut Judge) -> Result<Vec<Difference>, String> {
    let mut shown = Vec::new();
    for row in &ROWS {
        let dialect = Dialect::new(row.front, BTreeMap::from([(2, row.pair)]));
        let answers = judge.ask(&[dialect.request(), judge::decode(row.body)]);
        let name = format!("{:?} {:?}", row.difference, String::from_utf8_lossy(row.body));
        let ours = ours(&dialect, row.body);
        if ours.as_ref().map_err(place) != row.ours.map(str::to_owned).as_ref().map_err(|at| *at) {
            return Err(format!("{name}: here {ours:?}"));
        }
        let theirs = match Place::of_answer(&answers[1]) {
            Some(place) => Err(place),
            None => Ok(Sample::of_doc(&dialect, &answers[1]["doc"]).fields[&2].clone()),
        };
        if theirs.as_ref().map_err(place) != row.theirs.map(str::to_owned).as_ref().map_err(|at| *at) {
            return Err(format!("{name}: there {}", answers[1]));
        }
        let outcome =
            verdict::judged(&dialect, row.body, &answers[1]).map_err(|why| format!("{name}: {why}"))?;
        let is_both = row.ours.is_err() && row.theirs == row.ours;
        if outcome != Outcome::Differ(vec![row.difference]) && !is_both {
            return Err(format!("{name}: {outcome:?}"));
        }
        shown.push(row.difference);
    }
    shown.extend(misfits(judge)?);
    Ok(shown)
}

fn place(place: &Place) -> (&str, usize) {
    (&place.field, place.at.unwrap_or_default())
}

/// What this crate makes of field 2, or where it refuses the message.
fn ours(dialect: &Dialect, body: &[u8]) -> Result<String, Place> {
    let front = |part: &Part| match part {
        Part::Tpdu | Part::Header => "h",
        Part::Mti => "t",
        Part::Bitmap => "p",
    };
    match Message::decode(&dialect.spec, body) {
        Ok(_) => Ok(Sample::of_view(&View::decode(&dialect.spec, body).unwrap()).fields[&2].clone()),
        Err(DecodeError::Unsound(fault)) => Err(Place::new(fault.field, fault.offset)),
        Err(DecodeError::Truncated { part, offset } | DecodeError::Malformed { part, offset }) => {
            Err(Place::new(front(&part), offset))
        }
        Err(DecodeError::TooLong { length }) => Err(Place::new("", length)),
    }
}

/// The differences of writing.
fn misfits(judge: &mut Judge) -> Result<Vec<Difference>, String> {
    let rows = [
        (Difference::Filled, "2", Pair::PLAIN, vec![(2, "AB")]),
        (Difference::BitmapAsField, "1", Pair::PLAIN, vec![(1, "0000000000000000"), (2, "ABCDEF")]),
        (Difference::BitmapAsField, "65", Pair::PLAIN, vec![(2, "ABCDEF"), (65, "1")]),
        (Difference::Class, "2", DIGITS, vec![(2, "12A4")]),
        (Difference::Minimum, "2", LEAST, vec![(2, "12")]),
    ];
    let mut shown = Vec::new();
    for (difference, field, pair, fields) in rows {
        let dialect = Dialect::new(Front::PLAIN, BTreeMap::from([(2, pair)]));
        let fields = fields.into_iter().map(|(de, value)| (de, value.to_owned())).collect();
        let sample = Sample { mti: "0200".to_owned(), head: Vec::new(), fields };
        let misfit = Misfit { sample, field: field.to_owned(), difference: Some(difference) };
        let asked = [dialect.request(), judge::encode(&misfit.sample.doc(&dialect))];
        misfit::refused(&dialect, &misfit, &judge.ask(&asked)[1])?;
        shown.push(difference);
    }
    Ok(shown)
}
