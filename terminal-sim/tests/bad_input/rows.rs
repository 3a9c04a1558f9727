//! What comes in, and what must become of it: a table.

use terminal_sim::stage::tid;
use terminal_sim::terminal::Dialect;

use crate::message::{Message, Seal, counted_digits, framed, prefix};

/// A terminal that exists and has never signed on.
pub(crate) const SILENT_TERMINAL: u32 = 3;
/// A merchant that exists, and has no terminal of the stage's merchant.
pub(crate) const OTHER_MID: &str = "898310058120002";
/// Its terminals end so, after the digit of their dialect.
pub(crate) const OTHER_TID: &str = "9000001";

/// What is done to a sound sale before it is sent.
#[derive(Clone, Copy)]
pub(crate) enum Spoil {
    /// To its fields; the MAC is made over what comes out.
    Fields(fn(&mut Message)),
    /// To its octets on the wire, length prefix included.
    Octets(fn(Dialect, &[u8]) -> Vec<u8>),
}

/// What the terminal does once it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    Waits,
    HangsUp,
}

/// What becomes of it, in UnionPay, EDC and ASCII: DE 39 of the answer, or one of these.
pub(crate) const CLOSED: &str = "closed";
/// No answer; the connection goes on.
pub(crate) const NOTHING: &str = "nothing";
/// The dialect cannot be wrong in this way.
pub(crate) const NOT_HERE: &str = "-";

/// Which figure moves, beside those of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    /// `tollgate_refusals_total`, by this refusal.
    Refusal(&'static str),
    /// `tollgate_frames_refused_total`, by this reason, so many times.
    Frames(&'static str, i64),
}

/// A row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) spoil: Spoil,
    pub(crate) afterwards: Afterwards,
    pub(crate) becomes: [&'static str; 3],
    pub(crate) counter: Counter,
}

const fn row(name: &'static str, spoil: Spoil, becomes: [&'static str; 3], counter: Counter) -> Row {
    Row { name, spoil, afterwards: Afterwards::Waits, becomes, counter }
}

const fn refused(
    name: &'static str,
    spoil: fn(&mut Message),
    becomes: [&'static str; 3],
    refusal: &'static str,
) -> Row {
    row(name, Spoil::Fields(spoil), becomes, Counter::Refusal(refusal))
}

const fn format(name: &'static str, spoil: fn(&mut Message)) -> Row {
    refused(name, spoil, ["30"; 3], "format")
}

const fn unanswerable(name: &'static str, spoil: Spoil) -> Row {
    row(name, spoil, [NOTHING; 3], Counter::Frames("unreadable", 1))
}

/// A field's last octet becomes a letter: a nibble above 9, or the character itself.
fn letter(message: &mut Message, de: u8) {
    let packed = message.dialect != Dialect::Ascii;
    if let Some(last) = message.wire(de).last_mut() {
        *last = if packed { 0x0A } else { b'A' };
    }
}

/// The body's end is cut off; the length fits what is left.
fn cut(dialect: Dialect, frame: &[u8], octets: usize) -> Vec<u8> {
    let body = &frame[prefix(dialect)..];
    framed(dialect, &body[..body.len() - octets])
}

/// The body is cut to its first octets.
fn cut_to(dialect: Dialect, frame: &[u8], octets: usize) -> Vec<u8> {
    let body = &frame[prefix(dialect)..];
    framed(dialect, &body[..octets])
}

fn head(dialect: Dialect) -> usize {
    match dialect {
        Dialect::UnionPay => 11,
        Dialect::Edc => 5,
        Dialect::Ascii => 0,
    }
}

const MAC: [&str; 3] = ["A0", "63", "63"];

pub(crate) const ROWS: &[Row] = &[
    // Frames.
    row(
        "a length of 0xFFFF",
        Spoil::Octets(|_, _| vec![0xFF; 4]),
        [CLOSED, CLOSED, NOT_HERE],
        Counter::Frames("oversize", 1),
    ),
    row(
        "a length that is no number",
        Spoil::Octets(|_, _| vec![0xFF; 4]),
        [NOT_HERE, NOT_HERE, CLOSED],
        Counter::Frames("length", 1),
    ),
    row(
        "a length above the limit",
        Spoil::Octets(|_, _| b"9999".to_vec()),
        [CLOSED; 3],
        Counter::Frames("oversize", 1),
    ),
    Row {
        name: "a terminal that hangs up mid-frame",
        spoil: Spoil::Octets(|_, frame| frame[..frame.len() / 2].to_vec()),
        afterwards: Afterwards::HangsUp,
        becomes: [CLOSED; 3],
        counter: Counter::Frames("truncated", 1),
    },
    row(
        "a terminal that stops mid-frame",
        Spoil::Octets(|_, frame| frame[..frame.len() / 2].to_vec()),
        [CLOSED; 3],
        Counter::Frames("half-frame", 1),
    ),
    row(
        "a terminal that stops in the length",
        Spoil::Octets(|_, frame| frame[..1].to_vec()),
        [CLOSED; 3],
        Counter::Frames("half-frame", 1),
    ),
    // Messages that nobody could match an answer to.
    unanswerable("a body of five octets", Spoil::Octets(|dialect, frame| cut_to(dialect, frame, 5))),
    unanswerable(
        "a message cut inside its bitmap",
        Spoil::Octets(|dialect, frame| cut_to(dialect, frame, head(dialect) + 5)),
    ),
    unanswerable(
        "a message cut inside DE 11",
        Spoil::Octets(|dialect, frame| {
            let before =
                if dialect == Dialect::Ascii { 4 + 16 + 18 + 6 + 12 + 10 } else { 2 + 8 + 9 + 3 + 6 };
            cut_to(dialect, frame, head(dialect) + before + 1)
        }),
    ),
    unanswerable(
        "an MTI that is no number",
        Spoil::Octets(|dialect, frame| {
            let mut spoilt = frame.to_vec();
            spoilt[prefix(dialect) + head(dialect)] = b'\x0A';
            spoilt
        }),
    ),
    unanswerable("an answer instead of a request", Spoil::Fields(|m| m.mti = "0210".into())),
    unanswerable("no DE 41", Spoil::Fields(|m| m.without(41))),
    unanswerable("no DE 11", Spoil::Fields(|m| m.without(11))),
    unanswerable("a letter in DE 11", Spoil::Fields(|m| letter(m, 11))),
    row(
        "three messages that cannot be read",
        Spoil::Octets(|dialect, frame| cut_to(dialect, frame, 5).repeat(3)),
        [CLOSED; 3],
        Counter::Frames("unreadable", 3),
    ),
    // Fields.
    row(
        "a message cut inside its MAC",
        Spoil::Octets(|dialect, frame| cut(dialect, frame, 3)),
        ["30"; 3],
        Counter::Refusal("format"),
    ),
    row(
        "octets after the last field",
        Spoil::Octets(|dialect, frame| framed(dialect, &[&frame[prefix(dialect)..], b"1"].concat())),
        ["30"; 3],
        Counter::Refusal("format"),
    ),
    format("a bitmap bit with no field behind it", |m| m.announced.push(63)),
    refused(
        "a bitmap bit of a field that the dialect has not",
        |m| {
            // Something stands behind it, so that only the definition is missing.
            m.fields.insert(if m.dialect == Dialect::Edc { 51 } else { 50 }, b"156".to_vec());
        },
        ["30", "30", NOT_HERE],
        "format",
    ),
    refused(
        "a secondary bitmap in a dialect of 64 fields",
        |m| m.announced.push(1),
        ["30", "30", NOT_HERE],
        "format",
    ),
    format("a letter in DE 4", |m| letter(m, 4)),
    format("a letter in DE 2", |m| letter(m, 2)),
    format("a PAN of 20 digits", |m| {
        m.fields.insert(2, counted_digits(m.dialect, 2, "62258800123456756225"));
    }),
    format("a length of DE 2 beyond the end", |m| {
        // As the last field before the MAC: nothing else can be taken for its content.
        let wire = counted_digits(m.dialect, 3, "");
        m.fields.insert(63, wire);
        let packed = m.dialect != Dialect::Ascii;
        let length = if packed { vec![0x09, 0x99] } else { b"999".to_vec() };
        m.wire(63).splice(.., length);
    }),
    format("a month 13 of expiry", |m| m.number(14, "3013")),
    refused("a month 13 in DE 13", |m| m.number(13, "1301"), ["30"; 3], "format"),
    refused("a hour 24 in DE 12", |m| m.number(12, "240000"), ["30"; 3], "format"),
    refused(
        "a 31st of February in DE 7",
        |m| m.number(7, "0231120000"),
        [NOT_HERE, NOT_HERE, "30"],
        "format",
    ),
    refused("DE 4 zero", |m| m.number(4, "000000000000"), ["13"; 3], "invalid-amount"),
    format("no DE 4", |m| m.without(4)),
    format("no DE 3", |m| m.without(3)),
    refused("no DE 22", |m| m.without(22), ["30", "30", NOT_HERE], "format"),
    refused("no DE 25", |m| m.without(25), ["30", NOT_HERE, NOT_HERE], "format"),
    refused("no DE 60", |m| m.without(60), ["30", NOT_HERE, NOT_HERE], "format"),
    format("no card", |m| m.without(2)),
    format("no PIN where DE 22 says that there is one", |m| {
        let entry = if m.dialect == Dialect::UnionPay {
            vec![0x01, 0x10]
        } else {
            crate::message::digits(m.dialect, "011")
        };
        m.fields.insert(22, entry);
    }),
    refused(
        "a currency that does not exist",
        |m| {
            let code = if m.dialect == Dialect::Edc { vec![0x00, 0x00] } else { b"000".to_vec() };
            m.fields.insert(49, code);
        },
        ["30"; 3],
        "format",
    ),
    // What it says.
    refused("an MTI that no dialect knows", |m| m.mti = "0600".into(), ["12"; 3], "invalid-transaction"),
    refused("a DE 3 that no dialect knows", |m| m.number(3, "990000"), ["40"; 3], "not-supported"),
    refused(
        "a PAN whose check digit is wrong",
        |m| {
            m.fields.insert(2, counted_digits(m.dialect, 2, "6225880012345676"));
        },
        ["14"; 3],
        "invalid-card",
    ),
    refused(
        "a PAN of 11 digits",
        |m| {
            m.fields.insert(2, counted_digits(m.dialect, 2, "62258800123"));
        },
        ["14"; 3],
        "invalid-card",
    ),
    refused(
        "a card of no issuer",
        |m| {
            m.fields.insert(2, counted_digits(m.dialect, 2, "5555555555554444"));
        },
        ["15"; 3],
        "unknown-issuer",
    ),
    // Who says it.
    refused(
        "an unknown terminal",
        |m| {
            m.fields.insert(41, b"99999999".to_vec());
        },
        ["97", "89", "58"],
        "unknown-terminal",
    ),
    refused(
        "a terminal of another dialect",
        |m| {
            let other = if m.dialect == Dialect::Edc { Dialect::Ascii } else { Dialect::Edc };
            m.fields.insert(41, tid(other, 1).into_bytes());
        },
        ["97", "89", "58"],
        "unknown-terminal",
    ),
    refused(
        "an unknown merchant",
        |m| {
            m.fields.insert(42, b"899999999999999".to_vec());
        },
        ["03"; 3],
        "unknown-merchant",
    ),
    refused(
        "a terminal of another merchant",
        |m| {
            let own = m.fields[&41][0];
            m.fields.insert(41, [&[own], OTHER_TID.as_bytes()].concat());
        },
        ["03"; 3],
        "not-paired",
    ),
    refused(
        "a merchant of another terminal",
        |m| {
            m.fields.insert(42, OTHER_MID.as_bytes().to_vec());
        },
        ["03"; 3],
        "not-paired",
    ),
    refused(
        "a terminal that has not signed on",
        |m| {
            m.fields.insert(41, tid(Dialect::UnionPay, SILENT_TERMINAL).into_bytes());
        },
        ["77", NOT_HERE, NOT_HERE],
        "not-signed-on",
    ),
    // What proves it.
    refused("a MAC one bit off", |m| m.seal = Seal::OneBitOff, MAC, "bad-mac"),
    refused("no MAC", |m| m.seal = Seal::Absent, MAC, "bad-mac"),
    refused(
        "a PIN block of nothing",
        |m| {
            let block =
                if m.dialect == Dialect::Ascii { b"0123456789ABCDEF".to_vec() } else { vec![0x11; 8] };
            m.fields.insert(52, block);
            if m.dialect == Dialect::UnionPay {
                m.number(26, "12");
                m.number(53, "2600000000000000");
            }
        },
        ["99", "63", "63"],
        "bad-pin-block",
    ),
];
