//! Clearing files in the structure of the Mastercard integrated product messages (IPM): written, read,
//! verified. Knows nothing of stores, keys or the books.
//!
//! ```text
//! 1644/697  header       DE 24, 48 (PDS 0105 file id, 0122 T|P), 71 = 1
//! 1240/200  presentment  one per cleared transaction, DE 71 = 2 …
//! 1644/695  trailer      DE 24, 48 (PDS 0105, 0301 sum of every DE 4, 0306 messages), 71 = n
//! ```
//!
//! "IPM-structured" is all that is claimed: the files are accepted by the public reader cardutil. Which
//! fields a scheme demands is for its certification to say.

mod charset;
mod file;
mod record;
mod stream;
mod verify;

pub use charset::{Encoding, plain};
pub use file::{Clearing, FileId, Format, Presentment, TestMark, acquirer_reference, data_code, write};
pub use record::Record;
pub use stream::Blocking;
pub use verify::{Verified, verify};

/// Where a file breaks a rule, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}offset {offset}: {reason}", self.prefix())]
pub struct Violation {
    /// The record, from 1; none when it is outside of all.
    pub record: Option<usize>,
    /// The octet of the file, from 0.
    pub offset: usize,
    /// The rule.
    pub reason: Reason,
}

impl Violation {
    fn prefix(&self) -> String {
        self.record.map(|number| format!("record {number}, ")).unwrap_or_default()
    }
}

/// A rule of the format. Texts carry no content but control figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A record of nothing, or of more than 6000 octets.
    #[error("record length is not 1 to 6000")]
    RecordLength,
    /// The stream ends without four zero octets.
    #[error("the zero end marker is missing")]
    NoEndMarker,
    /// A record's length reaches beyond the end.
    #[error("the file ends within the record")]
    RecordCut,
    /// Something other than padding after the end marker.
    #[error("data after the end marker")]
    AfterEnd,
    /// The MTI is not four digits in either encoding.
    #[error("the MTI is not four digits")]
    Mti,
    /// The bitmap is cut short, lacks bit 1 or has bit 128.
    #[error("the bitmap is not sixteen octets with bit 1 and without bit 128")]
    Bitmap,
    /// A bit without a field.
    #[error("DE {0} is not part of this format")]
    Field(u8),
    /// A field is cut short or its length is no number.
    #[error("DE {0} has no sound length")]
    Length(u8),
    /// A field's content is not of its form.
    #[error("the content of DE {0} is not of its form")]
    Content(u8),
    /// A field does not hold whole private data sub-elements.
    #[error("DE {0} does not hold whole sub-elements")]
    PrivateData(u8),
    /// Octets after the last field.
    #[error("octets after the last field of the record")]
    Trailing,
    /// The file holds no record.
    #[error("the file holds no record")]
    Empty,
    /// The first record is not a 1644/697.
    #[error("the first record is not a 1644/697 header")]
    Header,
    /// The last record is not a 1644/695.
    #[error("the last record is not a 1644/695 trailer")]
    Trailer,
    /// A header or trailer among the presentments.
    #[error("a header or trailer in the middle of the file")]
    Misplaced,
    /// DE 71 does not count 1, 2, 3 …
    #[error("DE 71 does not continue the count of messages")]
    MessageNumber,
    /// PDS 0105 is missing, or differs between header and trailer.
    #[error("PDS 0105 is missing or differs between header and trailer")]
    FileId,
    /// PDS 0301 is not the sum of DE 4.
    #[error("PDS 0301 is not the sum of DE 4, which is {0}")]
    Sum(u64),
    /// PDS 0306 is not the number of messages.
    #[error("PDS 0306 is not the number of messages, which is {0}")]
    Count(usize),
    /// The codec does not ship the dialect of the records.
    #[error("the codec has no dialect for these records")]
    Dialect,
    /// A sum or a count that its field cannot hold.
    #[error("a control total does not fit its field")]
    Range,
}
