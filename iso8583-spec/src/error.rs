//! What can be wrong with a frame, a message, a field or a dialect file.
//!
//! No text here ever carries content: a fault names the field, the offset and the reason.

use std::fmt;

/// A frame cannot be cut from the stream, or a body is too long for its length prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced or given body is longer than the limit.
    #[error("frame of {length} octets is longer than the limit of {max}")]
    TooLong {
        /// Octets announced by the prefix, or of the body to be written.
        length: usize,
        /// The limit, in octets.
        max: usize,
    },
    /// The length prefix is not made of decimal digits.
    #[error("length prefix: octet {offset} is not a digit")]
    NotDigits {
        /// Offset from the start of the buffer.
        offset: usize,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
        })
    }
}

/// One thing wrong with a message whose head, MTI and bitmap could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The data element, 1 to 128; 0 for the message as a whole (trailing octets).
    pub field: u8,
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
            de => write!(f, "field {de} at offset {}: {}", self.offset, self.reason),
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
    /// The content does not have the field's length.
    #[error("field {field}: length {length} is not within {min} to {max}")]
    Length {
        /// The data element.
        field: u8,
        /// Characters or octets given.
        length: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
    /// A character outside the field's class.
    #[error("field {field}: character {index} is {reason}")]
    Content {
        /// The data element.
        field: u8,
        /// Which character, from 0.
        index: usize,
        /// What is wrong with it.
        reason: Reason,
    },
    /// Text was given for a binary field, octets for a text field, or a composite for a field without parts.
    #[error("field {field}: the wrong kind of value")]
    Kind {
        /// The data element.
        field: u8,
    },
    /// A composite names a part that the field does not have there, or its length is not the part's.
    #[error("field {field}: part {part:?} is unknown, misplaced or of the wrong length")]
    Part {
        /// The data element.
        field: u8,
        /// The part's or tag's name.
        part: String,
    },
    /// The head part is missing, not part of this dialect, or not of its length.
    #[error("{part}: missing, not part of this dialect, or not of its length")]
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

/// A dialect file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// The data element, where one is meant.
    pub field: Option<u8>,
    /// What is wrong, in words.
    pub reason: String,
}

impl std::error::Error for SpecError {}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if let Some(de) = self.field {
            write!(f, "field {de}: ")?;
        }
        f.write_str(&self.reason)
    }
}
