//! What can be wrong with a frame, a message, a field or a dialect file.
//!
//! No text here ever carries content: a fault names the field, the offset and the reason.

use std::fmt;

/// A frame cannot be cut from the stream, or a body cannot be framed.
///
/// An `offset` counts octets from the start of the buffer, which is where the frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced or given body is longer than the limit.
    #[error("frame of {length} octets is longer than the limit of {max}")]
    TooLong {
        /// Octets of body: announced by the length, there without an end, or to be written.
        length: usize,
        /// The limit, in octets: the caller's, or the most that the length can say.
        max: usize,
    },
    /// The length does not even cover what it counts besides a body: itself, or the trailer.
    #[error("length at offset {offset}: {length} is less than the {least} octets it counts besides a body")]
    TooShort {
        /// Where the length stands.
        offset: usize,
        /// What it says, in octets.
        length: usize,
        /// The least that it must say, in octets.
        least: usize,
    },
    /// An octet of the length is no digit of its form.
    #[error("length prefix: octet {offset} is not a digit")]
    NotDigits {
        /// Which octet.
        offset: usize,
    },
    /// An octet of the filler after the length is not zero.
    #[error("filler: octet {offset} is not zero")]
    Filler {
        /// Which octet.
        offset: usize,
    },
    /// The trailer is not where the length says that the message ends.
    #[error("trailer: octet {offset} is not the trailer's")]
    Trailer {
        /// The first octet that differs.
        offset: usize,
    },
    /// Something else than STX (`02`) stands where a frame begins.
    #[error("octet {offset} is not STX")]
    NotStx {
        /// Which octet.
        offset: usize,
    },
    /// A bare ACK (`06`) or NAK (`15`) stands where a frame begins: the peer acknowledges every frame, and
    /// expects the same of us.
    #[error("octet {offset} is a bare {octet:02X}: acknowledged frames are not supported")]
    Acknowledgement {
        /// Which octet.
        offset: usize,
        /// `06` or `15`.
        octet: u8,
    },
    /// STX or ETX (`03`) inside a message between STX and ETX.
    #[error("octet {offset} is STX or ETX inside a message")]
    Control {
        /// Which octet; from the start of the body where one is to be written.
        offset: usize,
    },
    /// The check character after ETX is not the exclusive or of what it covers.
    #[error("octet {offset} is not the LRC of the frame")]
    Lrc {
        /// Which octet.
        offset: usize,
    },
    /// More was pushed into a [`crate::Deframer`] than it holds while its frames were not taken.
    #[error("{held} octets wait to be taken, more than a frame of {max}")]
    Backlog {
        /// Octets held already.
        held: usize,
        /// The longest frame on the wire, in octets.
        max: usize,
    },
    /// The stream ends inside a frame.
    #[error("the stream ends inside a frame: {octets} octets are left over")]
    CutShort {
        /// Octets after the last frame.
        octets: usize,
    },
}

/// The parts of a message before its first field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The transport header of terminal networks, 5 octets.
    Tpdu,
    /// The dialect's own message header.
    Header,
    /// The message type indicator.
    Mti,
    /// The primary bitmap.
    Bitmap,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Tpdu => "TPDU",
            Part::Header => "header",
            Part::Mti => "MTI",
            Part::Bitmap => "bitmap",
        })
    }
}

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ends inside the head, the MTI or the primary bitmap.
    #[error("{part} at offset {offset}: the message ends inside it")]
    Truncated {
        /// Which part.
        part: Part,
        /// Where the part begins, from the start of the body.
        offset: usize,
    },
    /// The MTI holds something else than digits, or the bitmap something else than hexadecimal.
    #[error("{part} at offset {offset}: cannot be read")]
    Malformed {
        /// Which part.
        part: Part,
        /// Where the part begins, from the start of the body.
        offset: usize,
    },
    /// The body is longer than any message can be (65,535 octets).
    #[error("message of {length} octets is longer than 65535")]
    TooLong {
        /// Octets in the body.
        length: usize,
    },
    /// The first fault of a message that had to be without any ([`crate::Message::decode`]).
    #[error("{0}")]
    Unsound(Fault),
}

/// Why a field is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Something else than a digit in numeric content.
    NotDigit,
    /// A character outside the field's character class.
    Character,
    /// Something else than a hexadecimal digit in binary content written as hexadecimal.
    NotHex,
    /// More content than the dialect allows.
    TooLong,
    /// Less content than the dialect asks for.
    TooShort,
    /// The length prefix is not a number.
    Prefix,
    /// The length prefix or the content goes beyond the end of the message.
    BeyondEnd,
    /// The bitmap announces a field that the dialect does not define; what follows cannot be found.
    Undefined,
    /// Octets remain after the last field.
    Trailing,
    /// A secondary bitmap is announced and not there.
    SecondaryBitmap,
    /// A bitmap ends too soon or is not hexadecimal.
    Bitmap,
    /// A tag of more octets, or a length of a longer form than chip data uses.
    Overlong,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NotDigit => "not a digit",
            Reason::Character => "character outside the field's class",
            Reason::NotHex => "not a hexadecimal digit",
            Reason::TooLong => "longer than the field's maximum",
            Reason::TooShort => "shorter than the field's minimum",
            Reason::Prefix => "length prefix is not a number",
            Reason::BeyondEnd => "goes beyond the end of the message",
            Reason::Undefined => "field is not defined in this dialect",
            Reason::Trailing => "octets after the last field",
            Reason::SecondaryBitmap => "secondary bitmap is missing or not supported",
            Reason::Bitmap => "bitmap cannot be read",
            Reason::Overlong => "tag or length is longer than chip data uses",
        })
    }
}

/// One thing wrong with a message whose head, MTI and bitmap could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The data element, 1 to 192; 0 for the message as a whole (trailing octets).
    pub field: u8,
    /// The part of the field below it: `1`, `item.pan`, `72.9F18`; empty for the field as a whole.
    pub part: String,
    /// Octets from the start of the body.
    pub offset: usize,
    /// Whether the layout is lost (decoding ended here) or only this field's content is bad.
    pub structural: bool,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            0 => write!(f, "message at offset {}: {}", self.offset, self.reason),
            de => write!(f, "field {} at offset {}: {}", Below(de, &self.part), self.offset, self.reason),
        }
    }
}

/// A field and the part below it, as people write them.
struct Below<'p>(u8, &'p str);

impl fmt::Display for Below<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            "" => write!(f, "{}", self.0),
            part => write!(f, "{}.{part}", self.0),
        }
    }
}

/// Why a value cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFault {
    /// The content does not have the length it must have.
    Length {
        /// Digits, characters or octets given.
        length: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
    /// A character outside the class of the content.
    Content {
        /// Which character, from 0.
        index: usize,
        /// What is wrong with it.
        reason: Reason,
    },
    /// Text was given for octets, octets for text, or a composite for what has no parts.
    Kind,
    /// A part that is unknown there, or out of its order.
    Misplaced,
}

impl fmt::Display for ValueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueFault::Length { length, min, max } => {
                write!(f, "length {length} is not within {min} to {max}")
            }
            ValueFault::Content { index, reason } => write!(f, "character {index} is {reason}"),
            ValueFault::Kind => f.write_str("the wrong kind of value"),
            ValueFault::Misplaced => f.write_str("unknown or misplaced part"),
        }
    }
}

/// A message that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The dialect does not define the field.
    #[error("field {field}: not defined in this dialect")]
    Undefined {
        /// The data element.
        field: u8,
    },
    /// Fields must be given in ascending order, once each, and none after the MAC.
    #[error("field {field}: given out of order")]
    Order {
        /// The data element.
        field: u8,
    },
    /// A value that does not fit its field, or a part of it.
    #[error("field {}: {fault}", Below(*.field, .part))]
    Value {
        /// The data element.
        field: u8,
        /// The part of the field below it: `1`, `item.pan`, `72.9F18`; empty for the field as a whole.
        part: String,
        /// What is wrong.
        fault: ValueFault,
    },
    /// The dialect has a TPDU or header that was not set, or has none and one was given, or of another length.
    #[error("{part}: missing, not part of this dialect or of the wrong length")]
    Head {
        /// Which part.
        part: Part,
    },
    /// The MAC was asked for and not given, or given and not asked for.
    #[error("field {field}: MAC data and MAC do not follow each other")]
    Mac {
        /// The data element; 0 when none was asked for.
        field: u8,
    },
}

/// How a message breaks the rules of its dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// A mandatory field is missing.
    Missing,
    /// A field is missing that the other fields ask for.
    MissingHere,
    /// A field is there that must not be.
    Forbidden,
    /// A field is there that the rule does not know of.
    Unexpected,
    /// The value is not of this pattern.
    Pattern(String),
}

/// One rule that a message breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The data element.
    pub field: u8,
    /// The field or its part: `60.1`.
    pub path: String,
    /// What is wrong.
    pub breach: Breach,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {}: ", self.path)?;
        match &self.breach {
            Breach::Missing => f.write_str("is missing"),
            Breach::MissingHere => f.write_str("is missing, and the other fields ask for it"),
            Breach::Forbidden => f.write_str("must not be there"),
            Breach::Unexpected => f.write_str("is not one of this message"),
            Breach::Pattern(pattern) => write!(f, "is not of the pattern {pattern}"),
        }
    }
}

/// A dialect file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// The field or its part that is meant: `60.1`; empty where none is.
    pub field: String,
    /// What is wrong, in words.
    pub reason: String,
}

impl std::error::Error for SpecError {}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "field {}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}
