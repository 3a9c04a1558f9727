//! What the tags of chip data are: name, format, who may see the value, and what a value says.
//!
//! EMV 4.3 Book 3, Annex A, then the contactless kernels (EMV Contactless Book C-2 above all) and what
//! UnionPay adds. Where a tag has two uses, one name stands or both do. Knows no TLV: the caller finds and
//! opens elements.

use crate::{
    Sensitivity::{self, Pan, Pin, Secret, Track},
    meaning::Meaning,
};
use EmvFormat::{A, An, Ans, B, Cn, N};

/// A data element of chip data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EmvTag {
    /// The tag's octets as one number: `0x9F26`.
    pub(crate) tag: u32,
    /// What it is called, short.
    pub(crate) name: &'static str,
    /// How the value is written.
    pub(crate) format: EmvFormat,
    /// Who may see the value. Of a template: nothing, its elements have their own. Where a template cannot be
    /// opened, the caller has to take it for secret.
    pub(crate) sensitivity: Sensitivity,
}

/// How a value is written (EMV 4.3 Book 3, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmvFormat {
    /// Letters.
    A,
    /// Letters and digits.
    An,
    /// Letters, digits and special characters.
    Ans,
    /// Octets.
    B,
    /// Packed digits, filled with F on the right.
    Cn,
    /// Packed digits, filled with 0 on the left.
    N,
    /// Other elements; the tag's constructed bit says the same.
    Template,
}

/// The element with this tag; `None` when it is not known. What is not known may hold anything.
pub(crate) fn tag(tag: u32) -> Option<&'static EmvTag> {
    TAGS.binary_search_by_key(&tag, |known| known.tag).ok().and_then(|at| TAGS.get(at))
}

/// What a value says, for people; `None` when there is nothing to say, or it has not the tag's shape. A
/// sensitive value has no meaning here.
pub(crate) fn meaning(tag: u32, value: &[u8]) -> Option<String> {
    match tag {
        0x4F | 0x84 | 0x9F06 => application(value),
        0x81 | 0x9F04 => Some(u32::from_be_bytes(value.try_into().ok()?).to_string()),
        0x82 => flags(&AIP, value),
        0x8A => response(value),
        0x95 | 0x9F0D..=0x9F0F => flags(&TVR, value),
        0x9A | 0x5F24 | 0x5F25 => date(value),
        0x9B => flags(&TSI, value),
        0x9C => code(Meaning::ProcessingCode, digits(value)?),
        0x5F28 | 0x9F1A => code(Meaning::Country, three_digits(value)?),
        0x5F2A | 0x9F42 => code(Meaning::Currency, three_digits(value)?),
        0x9F02 | 0x9F03 => number(value).filter(|_| value.len() == 6),
        0x9F13 | 0x9F36 => Some(u16::from_be_bytes(value.try_into().ok()?).to_string()),
        0x9F21 => time(value),
        0x9F27 => cryptogram(value),
        0x9F33 => flags(&TERMINAL_CAPABILITIES, value),
        0x9F34 => verification(value),
        0x9F35 => terminal_type(value),
        0x9F39 => code(Meaning::EntryMode, digits(value)?),
        0x9F41 => number(value).filter(|_| (2..=4).contains(&value.len())),
        _ => None,
    }
}

fn code(meaning: Meaning, value: String) -> Option<String> {
    meaning.of(&value).map(|meaning| meaning.into_owned())
}

/// The digits of packed digits; `None` when a nibble is none.
fn digits(value: &[u8]) -> Option<String> {
    let nibbles = value.iter().flat_map(|octet| [octet >> 4, octet & 0x0F]);
    nibbles.map(|nibble| char::from_digit(nibble.into(), 10)).collect()
}

/// n3 in two octets.
fn three_digits(value: &[u8]) -> Option<String> {
    let digits = digits(value)?;
    digits.strip_prefix('0').filter(|rest| rest.len() == 3).map(str::to_owned)
}

/// Packed digits without the zeros on the left, but for the last.
fn number(value: &[u8]) -> Option<String> {
    let digits = digits(value).filter(|digits| !digits.is_empty())?;
    let number = digits.trim_start_matches('0');
    Some(if number.is_empty() { "0" } else { number }.to_owned())
}

fn two_digits(octet: u8) -> Option<u8> {
    (octet >> 4 <= 9 && octet & 0x0F <= 9).then_some((octet >> 4) * 10 + (octet & 0x0F))
}

/// YYMMDD; a year below 50 is of this century (EMV 4.3 Book 4, 6.7.3).
fn date(value: &[u8]) -> Option<String> {
    let [year, month, day] = *<&[u8; 3]>::try_from(value).ok()?;
    let (year, month, day) = (two_digits(year)?, two_digits(month)?, two_digits(day)?);
    let century = if year < 50 { 20 } else { 19 };
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    is_date.then(|| format!("{century}{year:02}-{month:02}-{day:02}"))
}

fn time(value: &[u8]) -> Option<String> {
    let [hour, minute, second] = *<&[u8; 3]>::try_from(value).ok()?;
    let (hour, minute, second) = (two_digits(hour)?, two_digits(minute)?, two_digits(second)?);
    (hour < 24 && minute < 60 && second < 60).then(|| format!("{hour:02}:{minute:02}:{second:02}"))
}

/// The code, and what it means where that is known.
fn response(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let is_code = text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_alphanumeric());
    let meaning = Meaning::ResponseCode.of(text).map(|meaning| format!(", {meaning}")).unwrap_or_default();
    is_code.then(|| format!("{text}{meaning}"))
}

/// The scheme: the row whose AID is the longest beginning of this one.
fn application(value: &[u8]) -> Option<String> {
    let rows = APPLICATIONS.iter().filter(|(aid, _)| value.starts_with(aid));
    rows.max_by_key(|(aid, _)| aid.len()).map(|(_, scheme)| (*scheme).to_owned())
}

/// EMV 4.3 Book 3, table 15.
fn cryptogram(value: &[u8]) -> Option<String> {
    let [octet] = *<&[u8; 1]>::try_from(value).ok()?;
    let kind = match octet >> 6 {
        0 => "AAC, declined",
        1 => "TC, approved",
        2 => "ARQC, goes online",
        _ => return None,
    };
    let advice = if octet & 0x08 == 0 { "" } else { ", advice required" };
    let reason = match octet & 0x07 {
        1 => ", service not allowed",
        2 => ", PIN try limit exceeded",
        3 => ", issuer authentication failed",
        _ => "",
    };
    Some(format!("{kind}{advice}{reason}"))
}

/// Method, condition, result (EMV 4.3 Book 3, tables 39 and 40; Book 4, A4).
fn verification(value: &[u8]) -> Option<String> {
    let [method, condition, result] = *<&[u8; 3]>::try_from(value).ok()?;
    let method = match method & 0x3F {
        0x00 => "verification failed",
        0x01 => "plaintext PIN offline",
        0x02 => "PIN online",
        0x03 => "plaintext PIN offline and signature",
        0x04 => "enciphered PIN offline",
        0x05 => "enciphered PIN offline and signature",
        0x1E => "signature",
        0x1F => "no CVM required",
        0x3F => return Some("no CVM performed".to_owned()),
        _ => "unknown CVM",
    };
    let condition = match condition {
        0x00 => "always",
        0x01 => "if unattended cash",
        0x02 => "if neither cash nor cash back",
        0x03 => "if terminal supports it",
        0x04 => "if manual cash",
        0x05 => "if cash back",
        0x06 => "if under amount X",
        0x07 => "if over amount X",
        0x08 => "if under amount Y",
        0x09 => "if over amount Y",
        _ => "unknown condition",
    };
    let result = match result {
        0 => "result unknown",
        1 => "failed",
        2 => "successful",
        _ => return None,
    };
    Some(format!("{method}, {condition}, {result}"))
}

/// EMV 4.3 Book 4, A1: whose it is, then whether attended and how it is connected.
fn terminal_type(value: &[u8]) -> Option<String> {
    let [octet] = *<&[u8; 1]>::try_from(value).ok()?;
    let owner = match octet >> 4 {
        1 => "financial institution",
        2 => "merchant",
        3 => "cardholder",
        _ => return None,
    };
    let kind = match octet & 0x0F {
        1 => "attended, online only",
        2 => "attended, offline with online capability",
        3 => "attended, offline only",
        4 => "unattended, online only",
        5 => "unattended, offline with online capability",
        6 => "unattended, offline only",
        _ => return None,
    };
    Some(format!("{owner}, {kind}"))
}

/// Names of an octet's bits, from bit 8 down to bit 1; those without a name are reserved.
type Bits = [&'static str; 8];

/// The names of the bits that are set.
fn flags<const N: usize>(names: &[Bits; N], value: &[u8]) -> Option<String> {
    let octets = <&[u8; N]>::try_from(value).ok()?;
    let set: Vec<String> =
        names.iter().zip(octets).zip(1..).flat_map(|((names, octet), at)| bits(names, *octet, at)).collect();
    Some(if set.is_empty() { "nothing set".to_owned() } else { set.join(", ") })
}

fn bits(names: &Bits, octet: u8, at: u8) -> impl Iterator<Item = String> {
    let set = names.iter().zip((1..=8).rev()).filter(move |(_, bit)| octet >> (bit - 1) & 1 == 1);
    set.map(move |(name, bit)| match *name {
        "" => format!("reserved bit {at}.{bit}"),
        name => name.to_owned(),
    })
}

/// Application interchange profile: EMV 4.3 Book 3, C1; bit 1.2 and octet 2 Book C-2.
const AIP: [Bits; 2] = [
    [
        "",
        "SDA",
        "DDA",
        "cardholder verification",
        "terminal risk management",
        "issuer authentication",
        "on-device verification",
        "CDA",
    ],
    ["EMV mode", "", "", "", "", "", "", "relay resistance"],
];

/// Terminal verification results: EMV 4.3 Book 3, C5; bits 5.4 to 5.1 Book C-2. Action codes have the same
/// bits.
const TVR: [Bits; 5] = [
    [
        "no offline data authentication",
        "SDA failed",
        "chip data missing",
        "card on exception file",
        "DDA failed",
        "CDA failed",
        "SDA selected",
        "",
    ],
    [
        "application versions differ",
        "expired application",
        "application not yet effective",
        "service not allowed",
        "new card",
        "",
        "",
        "",
    ],
    [
        "cardholder verification failed",
        "unrecognized CVM",
        "PIN try limit exceeded",
        "no working PIN pad",
        "PIN not entered",
        "online PIN entered",
        "",
        "",
    ],
    [
        "over floor limit",
        "lower consecutive offline limit exceeded",
        "upper consecutive offline limit exceeded",
        "randomly selected for online",
        "merchant forced online",
        "",
        "",
        "",
    ],
    [
        "default TDOL used",
        "issuer authentication failed",
        "script failed before final GENERATE AC",
        "script failed after final GENERATE AC",
        "relay resistance threshold exceeded",
        "relay resistance time limits exceeded",
        "relay resistance performed",
        "relay resistance not performed",
    ],
];

/// Transaction status information: EMV 4.3 Book 3, C6.
const TSI: [Bits; 2] = [
    [
        "offline data authentication",
        "cardholder verification",
        "card risk management",
        "issuer authentication",
        "terminal risk management",
        "script processing",
        "",
        "",
    ],
    ["", "", "", "", "", "", "", ""],
];

/// Terminal capabilities: EMV 4.3 Book 4, A2.
const TERMINAL_CAPABILITIES: [Bits; 3] = [
    ["manual entry", "magnetic stripe", "chip", "", "", "", "", ""],
    ["plaintext PIN offline", "PIN online", "signature", "enciphered PIN offline", "no CVM", "", "", ""],
    ["SDA", "DDA", "card capture", "", "CDA", "", "", ""],
];

/// Applications and the two directories by the beginning of their AID.
const APPLICATIONS: &[(&[u8], &str)] = &[
    (b"1PAY.SYS.DDF01", "payment system directory"),
    (b"2PAY.SYS.DDF01", "contactless payment system directory"),
    (b"\xA0\x00\x00\x00\x03", "Visa"),
    (b"\xA0\x00\x00\x00\x03\x20\x10", "Visa Electron"),
    (b"\xA0\x00\x00\x00\x03\x20\x20", "V PAY"),
    (b"\xA0\x00\x00\x00\x03\x80\x10", "Plus"),
    (b"\xA0\x00\x00\x00\x04", "Mastercard"),
    (b"\xA0\x00\x00\x00\x04\x22\x03", "Mastercard US debit"),
    (b"\xA0\x00\x00\x00\x04\x30\x60", "Maestro"),
    (b"\xA0\x00\x00\x00\x04\x60\x00", "Cirrus"),
    (b"\xA0\x00\x00\x00\x05\x00\x01", "Maestro"),
    (b"\xA0\x00\x00\x00\x25", "American Express"),
    (b"\xA0\x00\x00\x00\x42", "CB"),
    (b"\xA0\x00\x00\x00\x65", "JCB"),
    (b"\xA0\x00\x00\x00\x98\x08\x40", "Visa US debit"),
    (b"\xA0\x00\x00\x01\x21", "Dankort"),
    (b"\xA0\x00\x00\x01\x52", "Discover"),
    (b"\xA0\x00\x00\x02\x28", "mada"),
    (b"\xA0\x00\x00\x02\x77", "Interac"),
    (b"\xA0\x00\x00\x03\x24", "Discover"),
    (b"\xA0\x00\x00\x03\x33", "UnionPay"),
    (b"\xA0\x00\x00\x03\x33\x01\x01\x01", "UnionPay debit"),
    (b"\xA0\x00\x00\x03\x33\x01\x01\x02", "UnionPay credit"),
    (b"\xA0\x00\x00\x03\x33\x01\x01\x03", "UnionPay quasi-credit"),
    (b"\xA0\x00\x00\x03\x33\x01\x01\x06", "UnionPay electronic cash"),
    (b"\xA0\x00\x00\x03\x33\x01\x01\x08", "UnionPay US debit"),
    (b"\xA0\x00\x00\x03\x59", "girocard"),
    (b"\xA0\x00\x00\x03\x84", "eftpos"),
    (b"\xA0\x00\x00\x05\x24", "RuPay"),
    (b"\xA0\x00\x00\x06\x58", "Mir"),
    (b"\xA0\x00\x00\x06\x72", "Troy"),
];

const fn open(tag: u32, name: &'static str, format: EmvFormat) -> EmvTag {
    EmvTag { tag, name, format, sensitivity: Sensitivity::None }
}

/// Template: its elements have their own sensitivity.
const fn template(tag: u32, name: &'static str) -> EmvTag {
    open(tag, name, EmvFormat::Template)
}

const fn closed(tag: u32, name: &'static str, format: EmvFormat, sensitivity: Sensitivity) -> EmvTag {
    EmvTag { tag, name, format, sensitivity }
}

/// Ascending. `closed` are, besides PAN, track data, PIN and names: what the PAN can be had from (the card's
/// certificates, the data storage identifier), what may be given any of them (discretionary, operator's and
/// object list's data, a script's PIN change), account and identity numbers, CVC3 and keys. 9F74 and 9F77 to
/// 9F79 are UnionPay's here, which acquirers need to read, not the data envelopes of Book C-2.
static TAGS: &[EmvTag] = &[
    open(0x42, "issuer identification number", N),
    open(0x4F, "application identifier, card", B),
    open(0x50, "application label", Ans),
    closed(0x56, "track 1 data", Ans, Track),
    closed(0x57, "track 2 equivalent data", B, Track),
    closed(0x58, "track 3 equivalent data", B, Track),
    closed(0x5A, "PAN", Cn, Pan),
    closed(0x5B, "name", Ans, Secret),
    template(0x61, "application template"),
    template(0x62, "file control parameters"),
    template(0x6F, "file control information"),
    template(0x70, "record template"),
    template(0x71, "issuer script template 1"),
    template(0x72, "issuer script template 2"),
    template(0x73, "directory discretionary template"),
    template(0x77, "response template 2"),
    open(0x80, "response template 1", B),
    open(0x81, "amount, authorized, binary", B),
    open(0x82, "application interchange profile", B),
    closed(0x83, "command template", B, Secret),
    open(0x84, "dedicated file name", B),
    closed(0x86, "issuer script command", B, Pin),
    open(0x87, "application priority", B),
    open(0x88, "short file identifier", B),
    open(0x89, "authorization code", An),
    open(0x8A, "authorization response code", An),
    open(0x8C, "CDOL 1", B),
    open(0x8D, "CDOL 2", B),
    open(0x8E, "CVM list", B),
    open(0x8F, "CA public key index, card", B),
    open(0x90, "issuer public key certificate", B),
    open(0x91, "issuer authentication data", B),
    open(0x92, "issuer public key remainder", B),
    open(0x93, "signed static application data", B),
    open(0x94, "application file locator", B),
    open(0x95, "terminal verification results", B),
    open(0x97, "TDOL", B),
    open(0x98, "TC hash value", B),
    closed(0x99, "transaction PIN data", B, Pin),
    open(0x9A, "transaction date", N),
    open(0x9B, "transaction status information", B),
    open(0x9C, "transaction type", N),
    open(0x9D, "directory file name", B),
    template(0xA5, "proprietary file control information"),
    closed(0x5F20, "cardholder name", Ans, Secret),
    closed(0x5F21, "track 1", Ans, Track),
    closed(0x5F22, "track 2", Cn, Track),
    closed(0x5F23, "track 3", Cn, Track),
    open(0x5F24, "expiry date", N),
    open(0x5F25, "effective date", N),
    open(0x5F28, "issuer country", N),
    open(0x5F2A, "transaction currency", N),
    open(0x5F2D, "language preference", An),
    open(0x5F30, "service code", N),
    open(0x5F34, "PAN sequence number", N),
    open(0x5F36, "transaction currency exponent", N),
    open(0x5F50, "issuer URL", Ans),
    closed(0x5F53, "IBAN", Ans, Secret),
    open(0x5F54, "BIC", Ans),
    open(0x5F55, "issuer country, alpha-2", A),
    open(0x5F56, "issuer country, alpha-3", A),
    open(0x5F57, "account type", N),
    open(0x9F01, "acquirer identifier", N),
    open(0x9F02, "amount, authorized", N),
    open(0x9F03, "amount, other", N),
    open(0x9F04, "amount, other, binary", B),
    closed(0x9F05, "application discretionary data", B, Secret),
    open(0x9F06, "application identifier, terminal", B),
    open(0x9F07, "application usage control", B),
    open(0x9F08, "application version, card", B),
    open(0x9F09, "application version, terminal", B),
    open(0x9F0A, "proprietary data for selection", B),
    closed(0x9F0B, "cardholder name, extended", Ans, Secret),
    open(0x9F0C, "issuer identification number, extended", N),
    open(0x9F0D, "issuer action code, default", B),
    open(0x9F0E, "issuer action code, denial", B),
    open(0x9F0F, "issuer action code, online", B),
    open(0x9F10, "issuer application data", B),
    open(0x9F11, "issuer code table index", N),
    open(0x9F12, "application preferred name", Ans),
    open(0x9F13, "last online ATC", B),
    open(0x9F14, "lower consecutive offline limit", B),
    open(0x9F15, "merchant category code", N),
    open(0x9F16, "merchant identifier", Ans),
    open(0x9F17, "PIN try counter", B),
    open(0x9F18, "issuer script identifier", B),
    open(0x9F19, "token requestor id", N),
    open(0x9F1A, "terminal country", N),
    open(0x9F1B, "terminal floor limit", B),
    open(0x9F1C, "terminal identification", An),
    open(0x9F1D, "terminal risk management data", B),
    open(0x9F1E, "interface device serial number", An),
    closed(0x9F1F, "track 1 discretionary data", Ans, Track),
    closed(0x9F20, "track 2 discretionary data", Cn, Track),
    open(0x9F21, "transaction time", N),
    open(0x9F22, "CA public key index, terminal", B),
    open(0x9F23, "upper consecutive offline limit", B),
    open(0x9F24, "payment account reference", An),
    open(0x9F25, "last four digits of PAN", N),
    open(0x9F26, "application cryptogram", B),
    open(0x9F27, "cryptogram information data", B),
    open(0x9F29, "extended selection", B),
    open(0x9F2A, "kernel identifier", B),
    closed(0x9F2D, "card PIN public key certificate", B, Secret),
    open(0x9F2E, "card PIN public key exponent", B),
    open(0x9F2F, "card PIN public key remainder", B),
    open(0x9F32, "issuer public key exponent", B),
    open(0x9F33, "terminal capabilities", B),
    open(0x9F34, "CVM results", B),
    open(0x9F35, "terminal type", N),
    open(0x9F36, "ATC", B),
    open(0x9F37, "unpredictable number", B),
    open(0x9F38, "PDOL", B),
    open(0x9F39, "POS entry mode", N),
    open(0x9F3A, "amount, reference currency", B),
    open(0x9F3B, "application reference currencies", N),
    open(0x9F3C, "reference currency", N),
    open(0x9F3D, "reference currency exponent", N),
    open(0x9F40, "additional terminal capabilities", B),
    open(0x9F41, "transaction sequence counter", N),
    open(0x9F42, "application currency", N),
    open(0x9F43, "reference currency exponents", N),
    open(0x9F44, "application currency exponent", N),
    open(0x9F45, "data authentication code", B),
    closed(0x9F46, "card public key certificate", B, Secret),
    open(0x9F47, "card public key exponent", B),
    open(0x9F48, "card public key remainder", B),
    open(0x9F49, "DDOL", B),
    open(0x9F4A, "SDA tag list", B),
    open(0x9F4B, "signed dynamic application data", B),
    open(0x9F4C, "card dynamic number", B),
    open(0x9F4D, "log entry", B),
    open(0x9F4E, "merchant name and location", Ans),
    open(0x9F4F, "log format", B),
    open(0x9F50, "offline accumulator balance", N),
    open(0x9F51, "application currency, or DRDOL", B),
    open(0x9F52, "application default action", B),
    open(0x9F53, "transaction category code", B),
    closed(0x9F54, "operator data, or offline amount limit", B, Secret),
    open(0x9F55, "geographic indicator", B),
    open(0x9F56, "issuer authentication indicator", B),
    open(0x9F57, "issuer country", N),
    open(0x9F58, "lower consecutive offline limit", B),
    open(0x9F59, "upper consecutive offline limit", B),
    open(0x9F5A, "application program identifier", B),
    open(0x9F5B, "issuer script results", B),
    open(0x9F5C, "operator id, or upper amount limit", B),
    open(0x9F5D, "capabilities, or available offline amount", B),
    closed(0x9F5E, "data storage identifier", N, Secret),
    open(0x9F5F, "data storage slot availability", B),
    closed(0x9F60, "CVC3, track 1", B, Secret),
    closed(0x9F61, "CVC3, track 2, or cardholder ID number", B, Secret),
    open(0x9F62, "CVC3 positions, or cardholder ID type", B),
    open(0x9F63, "card product identification", B),
    open(0x9F64, "ATC digits, track 1", B),
    open(0x9F65, "CVC3 positions, track 2", B),
    open(0x9F66, "terminal transaction qualifiers", B),
    open(0x9F67, "ATC digits, track 2", B),
    open(0x9F68, "card additional processes", B),
    open(0x9F69, "card authentication data, or UDOL", B),
    open(0x9F6A, "unpredictable number, digits", N),
    closed(0x9F6B, "track 2 data", B, Track),
    open(0x9F6C, "card transaction qualifiers", B),
    open(0x9F6D, "electronic cash reset threshold", B),
    open(0x9F6E, "form factor, or third party data", B),
    open(0x9F6F, "data storage slot management", B),
    closed(0x9F70, "protected data envelope 1", B, Secret),
    closed(0x9F71, "protected data envelope 2", B, Secret),
    closed(0x9F72, "protected data envelope 3", B, Secret),
    closed(0x9F73, "protected data envelope 4", B, Secret),
    open(0x9F74, "electronic cash authorization code", An),
    closed(0x9F75, "unprotected data envelope 1", B, Secret),
    closed(0x9F76, "unprotected data envelope 2", B, Secret),
    open(0x9F77, "electronic cash balance limit", N),
    open(0x9F78, "electronic cash transaction limit", N),
    open(0x9F79, "electronic cash balance", N),
    open(0x9F7A, "electronic cash indicator", B),
    open(0x9F7B, "electronic cash terminal limit", N),
    closed(0x9F7C, "merchant custom data", B, Secret),
    open(0x9F7D, "data storage summary 1", B),
    open(0x9F7E, "mobile support indicator", B),
    open(0x9F7F, "data storage unpredictable number", B),
    template(0xBF0C, "issuer discretionary data"),
    open(0xDF01, "application selection indicator", B),
    open(0xDF02, "CA public key modulus", B),
    open(0xDF03, "CA public key check value", B),
    open(0xDF04, "CA public key exponent", B),
    open(0xDF05, "CA public key expiry date", B),
    open(0xDF06, "CA public key hash algorithm", B),
    open(0xDF07, "CA public key algorithm", B),
    open(0xDF11, "terminal action code, default", B),
    open(0xDF12, "terminal action code, online", B),
    open(0xDF13, "terminal action code, denial", B),
    open(0xDF14, "default DDOL", B),
    open(0xDF15, "random selection threshold", B),
    open(0xDF16, "random selection maximum percentage", N),
    open(0xDF17, "random selection percentage", N),
    open(0xDF18, "online PIN of the terminal", B),
    open(0xDF19, "contactless floor limit", N),
    open(0xDF20, "contactless transaction limit", N),
    open(0xDF21, "contactless CVM limit", N),
    open(0xDF31, "issuer script results", B),
    open(0xDF32, "chip serial number", B),
    closed(0xDF33, "session key data", B, Secret),
    open(0xDF34, "terminal reading time", B),
    open(0xDF4B, "cardholder interaction", B),
    closed(0xDF4F, "JIS 2 track data", B, Track),
    closed(0xDF60, "data storage input, card", B, Secret),
    open(0xDF61, "data storage digest", B),
    open(0xDF62, "operator data information", B),
    closed(0xDF63, "operator data, terminal", B, Secret),
    open(0xDF69, "SM algorithms supported", B),
    open(0xDF8101, "data storage summary 2", B),
    open(0xDF8102, "data storage summary 3", B),
    open(0xDF8104, "balance before GENERATE AC", N),
    open(0xDF8105, "balance after GENERATE AC", N),
    open(0xDF8106, "data needed", B),
    closed(0xDF8107, "CDOL 1 related data", B, Secret),
    open(0xDF8108, "data storage AC type", B),
    closed(0xDF8109, "data storage input, terminal", B, Secret),
    open(0xDF810A, "operator data information, reader", B),
    open(0xDF810B, "data storage summary status", B),
    open(0xDF810C, "kernel id", B),
    open(0xDF810D, "data storage version, terminal", B),
    open(0xDF810E, "put data status after GENERATE AC", B),
    open(0xDF810F, "put data status before GENERATE AC", B),
    open(0xDF8110, "proceed to first write", B),
    closed(0xDF8111, "PDOL related data", B, Secret),
    open(0xDF8112, "tags to read", B),
    closed(0xDF8113, "DRDOL related data", B, Secret),
    open(0xDF8114, "reference control parameter", B),
    open(0xDF8115, "error indication", B),
    open(0xDF8116, "user interface request", B),
    open(0xDF8117, "card data input capability", B),
    open(0xDF8118, "CVM capability, CVM required", B),
    open(0xDF8119, "CVM capability, no CVM required", B),
    open(0xDF811A, "default UDOL", B),
    open(0xDF811B, "kernel configuration", B),
    open(0xDF811C, "torn record lifetime", B),
    open(0xDF811D, "torn records, maximum", B),
    open(0xDF811E, "stripe CVM capability, CVM required", B),
    open(0xDF811F, "security capability", B),
    open(0xDF8120, "terminal action code, default", B),
    open(0xDF8121, "terminal action code, denial", B),
    open(0xDF8122, "terminal action code, online", B),
    open(0xDF8123, "reader floor limit", N),
    open(0xDF8124, "reader limit, no on-device CVM", N),
    open(0xDF8125, "reader limit, on-device CVM", N),
    open(0xDF8126, "reader CVM required limit", N),
    open(0xDF8127, "time out value", B),
    open(0xDF8128, "integrated data storage status", B),
    open(0xDF8129, "outcome parameter set", B),
    closed(0xDF812A, "discretionary data, track 1", Ans, Track),
    closed(0xDF812B, "discretionary data, track 2", Cn, Track),
    open(0xDF812C, "stripe CVM capability, no CVM required", B),
    open(0xDF812D, "message hold time", N),
    open(0xDF8130, "hold time value", B),
    open(0xDF8131, "phone message table", B),
    open(0xDF8132, "relay resistance grace, minimum", B),
    open(0xDF8133, "relay resistance grace, maximum", B),
    open(0xDF8134, "expected command time", B),
    open(0xDF8135, "expected response time", B),
    open(0xDF8136, "relay resistance accuracy threshold", B),
    open(0xDF8137, "relay resistance mismatch threshold", B),
    open(0xDF8301, "relay resistance entropy, terminal", B),
    open(0xDF8302, "relay resistance entropy, device", B),
    open(0xDF8303, "relay resistance time, minimum", B),
    open(0xDF8304, "relay resistance time, maximum", B),
    open(0xDF8305, "device estimated response time", B),
    open(0xDF8306, "relay resistance time, measured", B),
    open(0xDF8307, "relay resistance counter", B),
    template(0xFF8101, "torn record"),
    template(0xFF8102, "tags to write before GENERATE AC"),
    template(0xFF8103, "tags to write after GENERATE AC"),
    template(0xFF8104, "data to send"),
    template(0xFF8105, "data record"),
    template(0xFF8106, "discretionary data"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Spaces in `hex` are for the reader.
    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        assert_eq!(digits.len() % 2, 0, "{hex}");
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn tags_are_sorted_without_duplicates() {
        assert!(TAGS.is_sorted_by(|a, b| a.tag < b.tag));
        assert!(APPLICATIONS.is_sorted_by(|(a, _), (b, _)| a < b));
        for known in TAGS {
            assert_eq!(tag(known.tag), Some(known));
        }
        for unknown in [0, 0x9F, 0x9F80, 0xDF81FF, u32::MAX] {
            assert_eq!(tag(unknown), None);
        }
    }

    /// Five low bits: more octets follow, as long as their high bit is set; bit 6: constructed (EMV 4.3
    /// Book 3, B1).
    #[test]
    fn tags_are_tags() {
        for known in TAGS {
            let octets: Vec<u8> =
                known.tag.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            let is_long = octets[0] & 0x1F == 0x1F;
            assert_eq!(octets.len() > 1, is_long, "{:X}", known.tag);
            for (at, octet) in octets.iter().enumerate().skip(1) {
                assert_eq!(octet & 0x80 == 0, at + 1 == octets.len(), "{:X}", known.tag);
            }
            assert_eq!(octets[0] & 0x20 != 0, known.format == EmvFormat::Template, "{:X}", known.tag);
            assert!(!known.name.is_empty() && known.name.len() <= 42, "{:X}", known.tag);
        }
    }

    #[test]
    fn sensitivities() {
        let rows: [(Sensitivity, &[u32]); 5] = [
            (Sensitivity::Pan, &[0x5A]),
            (
                Sensitivity::Track,
                &[
                    0x56, 0x57, 0x58, 0x5F21, 0x5F22, 0x5F23, 0x9F1F, 0x9F20, 0x9F6B, 0xDF4F, 0xDF812A,
                    0xDF812B,
                ],
            ),
            (Sensitivity::Pin, &[0x86, 0x99]),
            (
                Sensitivity::Secret,
                &[
                    0x5B, 0x83, 0x5F20, 0x5F53, 0x9F05, 0x9F0B, 0x9F2D, 0x9F46, 0x9F54, 0x9F5E, 0x9F60,
                    0x9F61, 0x9F70, 0x9F71, 0x9F72, 0x9F73, 0x9F75, 0x9F76, 0x9F7C, 0xDF33, 0xDF60, 0xDF63,
                    0xDF8107, 0xDF8109, 0xDF8111, 0xDF8113,
                ],
            ),
            (Sensitivity::Icc, &[]),
        ];
        for (sensitivity, expected) in rows {
            let found: Vec<u32> =
                TAGS.iter().filter(|known| known.sensitivity == sensitivity).map(|known| known.tag).collect();
            assert_eq!(found, expected, "{sensitivity:?}");
        }
    }

    #[test]
    fn names_and_formats() {
        let rows = [
            (0x5A, "PAN", EmvFormat::Cn),
            (0x95, "terminal verification results", EmvFormat::B),
            (0x9F02, "amount, authorized", EmvFormat::N),
            (0x9F12, "application preferred name", EmvFormat::Ans),
            (0x72, "issuer script template 2", EmvFormat::Template),
            (0xDF31, "issuer script results", EmvFormat::B),
            (0xDF8129, "outcome parameter set", EmvFormat::B),
        ];
        for (number, name, format) in rows {
            let found = tag(number).unwrap();
            assert_eq!((found.name, found.format), (name, format), "{number:X}");
        }
    }

    #[test]
    fn values_and_their_meanings() {
        let rows = [
            (0x4F, "A0000000031010", Some("Visa")),
            (0x4F, "A0000000032010", Some("Visa Electron")),
            (0x84, "A0000000041010", Some("Mastercard")),
            (0x84, "A0000000043060", Some("Maestro")),
            (0x84, "325041592E5359532E4444463031", Some("contactless payment system directory")),
            (0x9F06, "A000000333010101", Some("UnionPay debit")),
            (0x9F06, "A000000333010102", Some("UnionPay credit")),
            (0x9F06, "A000000333", Some("UnionPay")),
            (0x9F06, "A00000002501", Some("American Express")),
            (0x9F06, "A0000001523010", Some("Discover")),
            (0x9F06, "A0000000651010", Some("JCB")),
            (0x9F06, "A0000000", None),
            (0x9F06, "A000000999", None),
            (0x81, "00002710", Some("10000")),
            (0x81, "2710", None),
            (0x82, "3900", Some("DDA, cardholder verification, terminal risk management, CDA")),
            (
                0x82,
                "7C00",
                Some("SDA, DDA, cardholder verification, terminal risk management, issuer authentication"),
            ),
            (
                0x82,
                "1981",
                Some("cardholder verification, terminal risk management, CDA, EMV mode, relay resistance"),
            ),
            (0x8A, "3030", Some("00, approved")),
            (0x8A, "5933", Some("Y3, unable to go online, approved offline")),
            (0x8A, "5A39", Some("Z9")),
            (0x8A, "0000", None),
            (0x8A, "C3A9", None),
            (0x8A, "303030", None),
            (0x95, "0000000000", Some("nothing set")),
            (0x95, "8000000000", Some("no offline data authentication")),
            (0x95, "0080048000", Some("application versions differ, online PIN entered, over floor limit")),
            (
                0x95,
                "4840088018",
                Some(
                    "SDA failed, DDA failed, expired application, PIN not entered, over floor limit, \
                 script failed after final GENERATE AC, relay resistance threshold exceeded",
                ),
            ),
            (0x95, "0100000000", Some("reserved bit 1.1")),
            (0x95, "00000007", None),
            (0x95, "000000000000", None),
            (0x9F0E, "0010000000", Some("service not allowed")),
            (0x9A, "260314", Some("2026-03-14")),
            (0x9A, "991231", Some("1999-12-31")),
            (0x9A, "261301", None),
            (0x9A, "260300", None),
            (0x9A, "2603", None),
            (
                0x9B,
                "E800",
                Some(
                    "offline data authentication, cardholder verification, card risk management, \
                 terminal risk management",
                ),
            ),
            (0x9B, "0400", Some("script processing")),
            (0x9B, "0001", Some("reserved bit 2.1")),
            (0x9C, "00", Some("goods and services")),
            (0x9C, "20", Some("return")),
            (0x9C, "0A", None),
            (0x9C, "000000", Some("goods and services")),
            (0x5F2A, "0156", Some("CNY yuan")),
            (0x5F2A, "0978", Some("EUR euro")),
            (0x5F2A, "9780", None),
            (0x5F2A, "78", None),
            (0x5F28, "0840", Some("US United States")),
            (0x9F1A, "0156", Some("CN China")),
            (0x9F02, "000000010000", Some("10000")),
            (0x9F03, "000000000000", Some("0")),
            (0x9F02, "00000001000A", None),
            (0x9F02, "0000010000", None),
            (0x9F36, "0123", Some("291")),
            (0x9F36, "01", None),
            (0x9F21, "235959", Some("23:59:59")),
            (0x9F21, "240000", None),
            (0x9F27, "80", Some("ARQC, goes online")),
            (0x9F27, "40", Some("TC, approved")),
            (0x9F27, "00", Some("AAC, declined")),
            (0x9F27, "0A", Some("AAC, declined, advice required, PIN try limit exceeded")),
            (0x9F27, "C0", None),
            (0x9F27, "8000", None),
            (
                0x9F33,
                "E0F8C8",
                Some(
                    "manual entry, magnetic stripe, chip, plaintext PIN offline, PIN online, signature, \
                 enciphered PIN offline, no CVM, SDA, DDA, CDA",
                ),
            ),
            (0x9F34, "420302", Some("PIN online, if terminal supports it, successful")),
            (0x9F34, "1E0300", Some("signature, if terminal supports it, result unknown")),
            (0x9F34, "5F0602", Some("no CVM required, if under amount X, successful")),
            (0x9F34, "3F0000", Some("no CVM performed")),
            (0x9F34, "010003", None),
            (0x9F34, "42", None),
            (0x9F35, "22", Some("merchant, attended, offline with online capability")),
            (0x9F35, "14", Some("financial institution, unattended, online only")),
            (0x9F35, "20", None),
            (0x9F39, "05", Some("chip")),
            (0x9F41, "00000123", Some("123")),
            (0x9F41, "0000000123", None),
            (0x9F10, "07010103A0A802010A0100000000", None),
            (0x5A, "6225880012345675", None),
        ];
        for (tag, value, expected) in rows {
            assert_eq!(meaning(tag, &octets(value)).as_deref(), expected, "{tag:X} {value}");
        }
    }

    /// No length and no octet panics, and what is masked is not told in words.
    #[test]
    fn any_value_of_any_tag() {
        for known in TAGS {
            for octet in 0..=0xFF {
                for length in 0..18 {
                    let said = meaning(known.tag, &vec![octet; length]);
                    assert!(said.is_none() || known.sensitivity == Sensitivity::None, "{:X}", known.tag);
                    assert!(said.is_none() || length > 0, "{:X}", known.tag);
                }
            }
        }
    }
}
