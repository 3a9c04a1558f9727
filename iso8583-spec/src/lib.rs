//! ISO 8583 messages: bytes ⇄ fields, driven by declarative dialects.
//!
//! A dialect ([`Spec`]) is one TOML file; twelve come with the crate ([`Spec::builtin_names`]). A message is read in
//! place with [`View`], written with [`Encoder`], owned and edited with [`Message`], and cut out of a stream with
//! [`Framing`]. Decoding and encoding again gives the same octets, whatever a lenient reader tolerated. This crate
//! knows no socket, no clock, no key and no meaning of a payment, and never panics on input.
//!
//! The manual: [a message on the wire](manual::wire), [declaring a dialect](manual::dialects).
//!
//! # Decode
//!
//! ```
//! use iso8583_spec::{Spec, View};
//!
//! let spec = Spec::builtin("iso87-ascii").unwrap();
//! let body = b"02102038000002808000000000000042124500112300TERM0001156";
//! let view = View::decode(spec, body).unwrap();
//! assert!(view.is_sound());
//! assert_eq!(view.text(39).unwrap(), "00");
//! assert_eq!(view.text(41).unwrap(), "TERM0001");
//! ```
//!
//! # Encode
//!
//! ```
//! use iso8583_spec::{Encoder, Mti, Spec};
//!
//! let spec = Spec::builtin("iso87-ascii").unwrap();
//! let mut encoder = Encoder::new(spec, Mti::FINANCIAL);
//! encoder.text(3, "000000")?;
//! encoder.text(4, "000000010000")?;
//! encoder.text(49, "978")?;
//! assert_eq!(encoder.finish()?, b"02003000000000008000000000000000010000978");
//! # Ok::<(), iso8583_spec::EncodeError>(())
//! ```
//!
//! # Describe
//!
//! Every field with its place, octets, name, content and meaning; what is secret is masked, inside chip data too.
//!
//! ```
//! use iso8583_spec::{Masking, Spec, View};
//!
//! let spec = Spec::builtin("iso87-ascii").unwrap();
//! let body = b"0110400000000200000016555555555555444451";
//! let text = View::decode(spec, body).unwrap().describe(Masking::Masked);
//! assert_eq!(text, "\
//! iso87-ascii 0110 authorization response, 40 octets
//!     0 30313130                         MTI       message type                       0110 (authorization response)
//!     4 34303030303030303032303030303030 bitmap    fields                             2 39
//!    20 3136**************************** 2         primary account number             555555******4444
//!    36 ****
//!    38 3531                             39        response code                      51 (insufficient funds)
//! ");
//! ```
#![warn(clippy::indexing_slicing)]

mod bitmap;
mod charset;
mod declare;
mod describe;
mod detect;
mod element;
mod emv;
mod encoder;
mod encoding;
mod error;
mod field;
mod field_draft;
mod frame;
mod head;
pub mod jpos;
mod mask;
mod meaning;
mod message;
mod mti;
mod reader;
mod rules;
mod shape;
mod spec;
mod step;
mod structure;
mod text;
pub mod tlv;
mod value;
mod view;
mod word;

pub use describe::Line;
pub use detect::{Guess, detect};
pub use encoder::Encoder;
pub use error::{
    Breach, DecodeError, EncodeError, Fault, FrameError, Part, Reason, SpecError, ValueFault, Violation,
};
pub use field::{Field, Sensitivity};
pub use frame::{Deframer, Frame, Framing, FramingParts, LengthForm};
pub use mask::Masking;
pub use message::Message;
pub use mti::Mti;
pub use shape::Content;
pub use spec::Spec;
pub use text::Text;
pub use value::{Composite, Value};
pub use view::View;

/// The manual.
pub mod manual {
    #[doc = include_str!("../doc/wire.md")]
    pub mod wire {}

    #[doc = include_str!("../doc/dialects.md")]
    pub mod dialects {}
}

/// Swaps the two addresses of a 5-octet TPDU, as the answer to a message must carry it:
/// `60 0003 0000` becomes `60 0000 0003`. `None` when it is not 5 octets long.
pub fn swap_tpdu(tpdu: &[u8]) -> Option<[u8; 5]> {
    let [id, d0, d1, s0, s1] = *<&[u8; 5]>::try_from(tpdu).ok()?;
    Some([id, s0, s1, d0, d1])
}

#[cfg(test)]
mod tests {
    use super::swap_tpdu;

    #[test]
    fn the_answer_swaps_the_addresses() {
        assert_eq!(swap_tpdu(&[0x60, 0x00, 0x03, 0x00, 0x00]), Some([0x60, 0x00, 0x00, 0x00, 0x03]));
        assert_eq!(swap_tpdu(&[0x60, 0x06, 0x01, 0x00, 0x00]), Some([0x60, 0x00, 0x00, 0x06, 0x01]));
        assert_eq!(swap_tpdu(&[0x60, 0x00]), None);
    }
}
