//! Where the two sides differ and both have a reason: each difference is written down once, here, with that reason,
//! shown by rows of its own (`rows`), and looked for wherever messages are compared (`verdict`, `misfit`).

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    TextOfLength,
    Class,
    Mti,
    Minimum,
    BlankInBitmap,
    HalfOctetOfHex,
    FurtherBitmap,
    Pad,
    HalfOctet,
    HeaderText,
    Filled,
    BitmapAsField,
}

/// Why the sides differ.
pub(crate) const DIFFERENCES: [(Difference, &str); 12] = [
    (
        Difference::TextOfLength,
        "a length in characters goes through Python's int(), which takes a sign, blanks and underscores; only \
         digits are a length here",
    ),
    (
        Difference::Class,
        "pyiso8583 knows no character classes: every character of the encoding is content, and every nibble of \
         packed digits",
    ),
    (Difference::Mti, "an MTI is four digits here (ISO 8583:1987, clause 4.1), any text to pyiso8583"),
    (Difference::Minimum, "pyiso8583 knows no least length of a variable field"),
    (
        Difference::BlankInBitmap,
        "a bitmap in characters goes through Python's bytes.fromhex(), which skips blanks; the fields of the \
         missing octets are then not there",
    ),
    (
        Difference::HalfOctetOfHex,
        "octets written as hexadecimal are text to pyiso8583, and may be an odd number of characters",
    ),
    (
        Difference::FurtherBitmap,
        "bits 1 and 65 announce a bitmap to pyiso8583 whatever its specification says; a dialect of 64 fields has \
         no second bitmap here, one of 128 no third",
    ),
    (
        Difference::Pad,
        "a pad nibble carries nothing: a wrong one is read, kept and listed as tolerated; pyiso8583 refuses it",
    ),
    (
        Difference::HalfOctet,
        "octets counted in nibbles, an odd number of them: the octet begun is read, kept and listed as tolerated; \
         pyiso8583 asks for a pad",
    ),
    (Difference::HeaderText, "a header is octets here; pyiso8583 reads text, and refuses what is none"),
    (
        Difference::Filled,
        "a fixed field of characters that is given short is filled up with blanks; pyiso8583 refuses it",
    ),
    (
        Difference::BitmapAsField,
        "pyiso8583 drops a value given for field 1 or 65 in silence; there are no such fields here",
    ),
];
