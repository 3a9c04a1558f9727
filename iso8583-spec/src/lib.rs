//! ISO 8583 messages: bytes ⇄ fields, driven by declarative dialects.
//!
//! A [`Spec`] says how one dialect writes its head, MTI, bitmap and fields; [`View`] reads a message in place,
//! [`Encoder`] writes one, [`Message`] owns one for people and tests, and [`Framing`] finds the message in a
//! stream. This crate knows no socket, no clock, no key and no meaning of a payment, and never panics on input.
#![warn(clippy::indexing_slicing)]

mod bitmap;
mod describe;
mod encoder;
mod encoding;
mod error;
mod field;
mod frame;
mod message;
mod mti;
mod spec;
pub mod tlv;
mod view;

pub use describe::Masking;
pub use encoder::Encoder;
pub use error::{DecodeError, EncodeError, Fault, FrameError, Part, Reason, SpecError};
pub use field::{Content, Field, Sensitivity};
pub use frame::{Frame, Framing};
pub use message::{Message, Value};
pub use mti::Mti;
pub use spec::Spec;
pub use view::{Text, View};

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
