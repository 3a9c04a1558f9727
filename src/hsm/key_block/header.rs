//! The header of a key block: what stands in clear in front of a wrapped key, read and written. Knows no key.
//!
//! ```text
//! D 0112 71 T B 00 N 01 00 | KS 18 00604B120F9292800000 …
//! | |    |  | | |  | |  |    |  |  '- data
//! | |    |  | | |  | |  |    |  '- characters in this optional block, in hexadecimal; 00: see below
//! | |    |  | | |  | |  |    '- what it is
//! | |    |  | | |  | |  '- key context and a reserved character; payShields: the LMK's identifier
//! | |    |  | | |  | '- optional blocks
//! | |    |  | | |  '- exportability
//! | |    |  | | '- key version; `c` and a digit: a component
//! | |    |  | '- mode of use
//! | |    |  '- algorithm
//! | |    '- usage
//! | '- characters in the whole block
//! '- version
//! ```
//! An optional block of more than 255 characters: `00`, the octets that its length has (`02`), the length.
//! Optional blocks together are a multiple of the cipher's block; a block `PB` fills them up (X9.143, 6.2
//! and 6.3.6). What the codes mean is said in [`crate::hsm::key_usage`].

use crate::hsm::HsmError;

/// Characters of the fixed part.
const FIXED: usize = 16;
/// Characters of a key block at most: its length has four digits.
const LONGEST: usize = 9999;
/// The optional block that only fills up.
const PADDING: [u8; 2] = *b"PB";

/// The fixed fields of a header that say what a key is and may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Two characters: what the key is for.
    pub usage: [u8; 2],
    /// `D` DES, `T` triple DES, `A` AES …
    pub algorithm: u8,
    /// `B` both directions, `C` MAC both ways, `E`, `D`, `G`, `V`, `N` …
    pub mode: u8,
    /// Two characters: the key's version, `00` for none, `c` and a digit for a component.
    pub version: [u8; 2],
    /// `E` under a key of the same standard, `N` never, `S` sensitive.
    pub exportability: u8,
}

/// An optional block. `PB` is none: it is made and dropped here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionalBlock {
    /// Two letters or digits: `KS`, `KC`, `TS` …
    pub id: [u8; 2],
    /// Printable ASCII characters.
    pub data: String,
}

/// A whole header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullHeader {
    /// What the key is and may do.
    pub fixed: Header,
    /// The last two characters of the fixed part. X9.143: the key context (`0` none, `1` storage, `2`
    /// exchange) and `0`. A payShield's own blocks: the identifier of the LMK, `FF` under a ZMK.
    pub context: [u8; 2],
    /// The optional blocks, in their order.
    pub optional: Vec<OptionalBlock>,
}

impl From<Header> for FullHeader {
    fn from(fixed: Header) -> Self {
        Self { fixed, context: *b"00", optional: Vec::new() }
    }
}

/// Writes a header whose block goes on with `behind` characters. Optional blocks fill up to a multiple of
/// `block`.
///
/// # Errors
/// [`HsmError::Input`] when a field is not of letters and digits, an optional block is there twice, is `PB`
/// or not printable, or the whole is too long.
pub(in crate::hsm) fn write(
    version: u8,
    header: &FullHeader,
    block: usize,
    behind: usize,
) -> Result<String, HsmError> {
    let Header { usage, algorithm, mode, version: key_version, exportability } = header.fixed;
    let fields = [&usage[..], &[algorithm, mode], &key_version, &[exportability]].concat();
    if !alphanumeric(&fields) || !alphanumeric(&header.context) {
        return Err(HsmError::Input("header is not of letters and digits"));
    }
    let mut optional = String::new();
    for (at, one) in header.optional.iter().enumerate() {
        let twice = header.optional.iter().skip(at + 1).any(|other| other.id == one.id);
        if twice || one.id == PADDING || !alphanumeric(&one.id) || !printable(&one.data) {
            return Err(HsmError::Input("optional block is not acceptable"));
        }
        push_optional(&mut optional, one.id, &one.data);
    }
    let mut count = header.optional.len();
    let fill = fill(optional.len(), block);
    if let Some(fill) = fill {
        push_optional(&mut optional, PADDING, &"0".repeat(fill));
        count += 1;
    }
    let length = FIXED + optional.len() + behind;
    if length > LONGEST || count > 99 {
        return Err(HsmError::Input("key block is too long"));
    }
    let text = |octets: &[u8]| octets.iter().map(|octet| char::from(*octet)).collect::<String>();
    let (version, fields, context) = (char::from(version), text(&fields), text(&header.context));
    Ok(format!("{version}{length:04}{fields}{count:02}{context}{optional}"))
}

/// Characters of data that a padding block needs behind so many of optional blocks; none when they fill up
/// whole blocks.
fn fill(optional: usize, block: usize) -> Option<usize> {
    let ends = |end: usize| end.is_multiple_of(block);
    (!ends(optional)).then(|| (0..block).find(|fill| ends(optional + 4 + fill)).unwrap_or_default())
}

fn push_optional(text: &mut String, id: [u8; 2], data: &str) {
    text.extend(id.map(char::from));
    let short = 4 + data.len();
    if short <= 0xFF {
        text.push_str(&format!("{short:02X}"));
    } else {
        text.push_str(&format!("0002{:04X}", 10 + data.len()));
    }
    text.push_str(data);
}

/// A key block in its parts.
pub(in crate::hsm) struct Parts<'a> {
    /// What the header says.
    pub(in crate::hsm) header: FullHeader,
    /// The header's characters, optional blocks and all: what a MAC covers.
    pub(in crate::hsm) head: &'a str,
    /// What stands behind: ciphertext and MAC.
    pub(in crate::hsm) body: Vec<u8>,
}

/// Reads a key block of one version. Optional blocks must be a multiple of `block` characters.
///
/// # Errors
/// [`HsmError::KeyBlockForm`].
pub(in crate::hsm) fn read(version: u8, text: &str, block: usize) -> Result<Parts<'_>, HsmError> {
    parts(version, text, block).ok_or(HsmError::KeyBlockForm)
}

fn parts(version: u8, text: &str, block: usize) -> Option<Parts<'_>> {
    if !text.is_ascii() || text.len() > LONGEST {
        return None;
    }
    let (fixed, behind) = text.as_bytes().split_first_chunk::<FIXED>()?;
    let [found, l0, l1, l2, l3, u0, u1, algorithm, mode, v0, v1, exportability, n0, n1, c0, c1] = *fixed;
    let stated = decimal(&[l0, l1, l2, l3])?;
    if found != version || stated != text.len() || !alphanumeric(fixed) {
        return None;
    }
    let fixed = Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability };
    let mut rest = text.get(FIXED..)?;
    let mut optional: Vec<OptionalBlock> = Vec::new();
    for _ in 0..decimal(&[n0, n1])? {
        let (one, after) = read_optional(rest)?;
        if optional.iter().any(|other| other.id == one.id) {
            return None;
        }
        optional.push(one);
        rest = after;
    }
    if !(behind.len() - rest.len()).is_multiple_of(block) {
        return None;
    }
    optional.retain(|one| one.id != PADDING);
    let head = text.get(..text.len() - rest.len())?;
    let header = FullHeader { fixed, context: [c0, c1], optional };
    Some(Parts { header, head, body: upper_hex(rest)? })
}

/// The optional block that a text begins with, and what is behind it.
fn read_optional(text: &str) -> Option<(OptionalBlock, &str)> {
    let (id, behind) = text.as_bytes().split_first_chunk::<2>()?;
    let (head, length) = match hexadecimal(behind.get(..2)?)? {
        0 => {
            let digits = 2 * hexadecimal(behind.get(2..4)?)?;
            (6 + digits, hexadecimal(behind.get(4..4 + digits)?)?)
        }
        length => (4, length),
    };
    let data = text.get(head..length)?;
    let sound = alphanumeric(id) && printable(data);
    sound.then_some((OptionalBlock { id: *id, data: data.to_owned() }, text.get(length..)?))
}

fn alphanumeric(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_alphanumeric)
}

fn printable(text: &str) -> bool {
    text.bytes().all(|octet| (0x20..0x7F).contains(&octet))
}

fn decimal(digits: &[u8]) -> Option<usize> {
    digits
        .iter()
        .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + usize::from(digit & 0x0F)))
}

/// A number of 2 to 8 upper-case hexadecimal digits.
fn hexadecimal(digits: &[u8]) -> Option<usize> {
    let upper = digits.iter().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit));
    let text = std::str::from_utf8(digits).ok().filter(|_| upper && (2..=8).contains(&digits.len()))?;
    usize::from_str_radix(text, 16).ok()
}

/// Upper case only, so that one key block has one text.
fn upper_hex(text: &str) -> Option<Vec<u8>> {
    let lower = text.bytes().any(|octet| octet.is_ascii_lowercase());
    hex::decode(text).ok().filter(|_| !lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Optional<'a> = &'a [(&'a str, &'a str)];

    fn header(optional: Optional<'_>) -> FullHeader {
        let one = |(id, data): &(&str, &str)| OptionalBlock {
            id: id.as_bytes().try_into().unwrap(),
            data: (*data).to_owned(),
        };
        let fixed =
            Header { usage: *b"P0", algorithm: b'T', mode: b'E', version: *b"00", exportability: b'N' };
        FullHeader { optional: optional.iter().map(one).collect(), ..fixed.into() }
    }

    #[test]
    fn headers_are_written_and_read_back() {
        let long = "x".repeat(251);
        let longer = "x".repeat(252);
        #[rustfmt::skip]
        let rows: [(Optional<'_>, usize, String); 9] = [
            (&[], 8, "B0020P0TE00N0000".into()),
            (&[("KS", "00604B120F9292800000")], 8, "B0044P0TE00N0100KS1800604B120F9292800000".into()),
            (&[("KS", "00604B120F9292800000")], 16, "B0052P0TE00N0200KS1800604B120F9292800000PB080000".into()),
            (&[("zz", "")], 8, "B0028P0TE00N0200zz04PB04".into()),
            (&[("LB", "~ \"")], 8, "B0036P0TE00N0200LB07~ \"PB0900000".into()),
            (&[("LB", "a b!")], 8, "B0028P0TE00N0100LB08a b!".into()),
            (&[("TS", "5"), ("KC", "0")], 8, "B0036P0TE00N0300TS055KC050PB0600".into()),
            (&[("CT", &long)], 8, format!("B0284P0TE00N0200CTFF{long}PB0900000")),
            (&[("CT", &longer)], 8, format!("B0292P0TE00N0200CT00020106{longer}PB0A000000")),
        ];
        for (optional, block, expected) in rows {
            let header = header(optional);
            let written = write(b'B', &header, block, 4).unwrap();
            assert_eq!(written, expected);
            let text = format!("{written}00AF");
            let read = read(b'B', &text, block).unwrap();
            assert_eq!((read.header, read.head, read.body), (header, written.as_str(), vec![0, 0xAF]));
        }
    }

    #[test]
    fn headers_that_cannot_be_are_not_written() {
        let letters = "header is not of letters and digits";
        let optional = "optional block is not acceptable";
        let long = "key block is too long";
        let with = |fixed: Header| FullHeader { fixed, ..header(&[]) };
        let sound = header(&[]).fixed;
        let large = "x".repeat(9984);
        let many: Vec<FullHeader> = (0..2)
            .map(|at| {
                let ids: Vec<String> = (0..99 + at).map(|id| format!("{id:02X}")).collect();
                let all: Vec<_> = ids.iter().map(|id| (id.as_str(), "1234")).collect();
                header(&all)
            })
            .collect();
        assert!(write(b'B', &many[0], 8, 0).is_ok());
        let rows = [
            (with(Header { usage: *b"P ", ..sound }), letters),
            (with(Header { algorithm: b'-', ..sound }), letters),
            (with(Header { mode: 0, ..sound }), letters),
            (with(Header { version: [b'0', 0xFF], ..sound }), letters),
            (with(Header { exportability: b'\n', ..sound }), letters),
            (FullHeader { context: *b"0?", ..header(&[]) }, letters),
            (header(&[("KS", "1"), ("TS", "1"), ("KS", "2")]), optional),
            (header(&[("PB", "0000")]), optional),
            (header(&[("K ", "1")]), optional),
            (header(&[("LB", "é")]), optional),
            (header(&[("LB", "\t")]), optional),
            (header(&[("LB", &large)]), long),
            (many[1].clone(), long),
        ];
        for (header, expected) in rows {
            assert_eq!(write(b'B', &header, 8, 0), Err(HsmError::Input(expected)), "{header:?}");
        }
        assert_eq!(write(b'B', &header(&[]), 8, 9984), Err(HsmError::Input(long)));
        assert!(write(b'B', &header(&[]), 8, 9983).is_ok());
    }

    #[test]
    fn headers_that_are_malformed_are_not_read() {
        let rows = [
            ("nothing", ""),
            ("too short", "B0015P0TE00N000"),
            ("another version", "D0020P0TE00N000000AF"),
            ("length too small", "B0019P0TE00N000000AF"),
            ("length too large", "B0021P0TE00N000000AF"),
            ("length not of digits", "B002AP0TE00N000000AF"),
            ("length signed", "B+020P0TE00N000000AF"),
            ("usage with a space", "B0020P TE00N000000AF"),
            ("exportability a sign", "B0020P0TE00-000000AF"),
            ("count not of digits", "B0020P0TE00N0A0000AF"),
            ("more blocks counted than there are", "B0020P0TE00N010000AF"),
            ("fewer blocks counted than there are", "B0028P0TE00N0000KS08VM9A00AF"),
            ("context a sign", "B0020P0TE00N00.000AF"),
            ("an octet half", "B0019P0TE00N000000A"),
            ("lower case", "B0020P0TE00N000000af"),
            ("no hexadecimal", "B0020P0TE00N000000AG"),
            ("not ASCII", "B0021P0TE00N000000Aé"),
            ("optional block's id a sign", "B0028P0TE00N0100K-08VM9A00AF"),
            ("optional block's length in lower case", "B0028P0TE00N0100KS0aVM9A00AF"),
            ("optional block's length signed", "B0028P0TE00N0100KS+8VM9A00AF"),
            ("optional block shorter than its own head", "B0028P0TE00N0100KS03VM9A00AF"),
            ("optional block longer than the rest", "B0028P0TE00N0100KSFFVM9A00AF"),
            ("optional block with a control character", "B0028P0TE00N0100KS08VM9\n00AF"),
            ("optional blocks not whole blocks", "B0027P0TE00N0100KS07VM900AF"),
            ("extended length of no octets", "B0028P0TE00N0100KS0000VM00AF"),
            ("extended length of five octets", "B0036P0TE00N0100KS00050000000010VM00AF"),
            ("extended length shorter than its own head", "B0028P0TE00N0100KS00010700AF"),
            ("an optional block twice", "B0036P0TE00N0200KS08VM9AKS08VM9A00AF"),
        ];
        for (name, text) in rows {
            let refused = read(b'B', text, 8).map(|parts| parts.header).err();
            assert_eq!(refused, Some(HsmError::KeyBlockForm), "{name}");
        }
        let good = "B0028P0TE00N0100KS08VM9A00AF";
        assert!(read(b'B', good, 8).is_ok());
        for place in 0..good.len() {
            assert!(read(b'B', &good[..place], 8).is_err(), "{place}");
        }
        // An extended length where a short one would do, of one octet or of four; and a padding block in
        // front.
        for text in [
            "B0036P0TE00N0100KS000110VM9A123400AF",
            "B0036P0TE00N0100KS000400000010VM00AF",
            "B0036P0TE00N0200PB080000KS08VM9A00AF",
        ] {
            let parts = read(b'B', text, 8).map(|parts| parts.header.optional.len());
            assert_eq!(parts, Ok(1), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "B00[0-9]{2}P0TE00N0[0-3]00[ -~]{0,60}") {
            let _ = read(b'B', &text, 8);
        }
    }
}
