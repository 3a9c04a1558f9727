//! PIN blocks of ISO 9564-1: clear block ⇄ PIN and PAN. Knows no key.
//!
//! ```text
//! format 0     0 N P P P P p p p p p p p p F F   xor   0 0 0 0 A A A A A A A A A A A A
//! format 1     1 N P P P P p p p p p p p p r r   r random, no PAN
//! without PAN  0 N P P P P p p p p p p p p F F   format 0 with an account field of zeros
//! ```
//! N the PIN's length, P and p its digits (p may be fill instead), A the twelve rightmost digits of the PAN
//! without its check digit. UnionPay's DE 53 says `2` for format 0 and `1` for "X9.8 without PAN".

use super::HsmError;
use crate::transaction::Pan;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A clear PIN of 4 to 12 digits (ISO 9564-1, 8.1). Wiped when dropped, prints nothing of itself.
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// Reads 4 to 12 digits.
    ///
    /// # Errors
    /// [`HsmError::PinBlock`].
    pub fn parse(digits: &str) -> Result<Self, HsmError> {
        let sound = (4..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if sound { Ok(Self(Zeroizing::new(digits.to_owned()))) } else { Err(HsmError::PinBlock) }
    }

    /// Whether this is the PIN `other`, in constant time for equal lengths.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(…)")
    }
}

/// A clear PIN block.
pub type ClearBlock = Zeroizing<[u8; 8]>;

/// Packs a PIN in format 0, bound to its card.
#[must_use]
pub fn encode_iso0(pin: &Pin, pan: &Pan) -> ClearBlock {
    bind(&pin_field(0, pin, [0xFF; 8]), &account_field(pan))
}

/// Reads a format 0 block of this card.
///
/// # Errors
/// [`HsmError::PinBlock`] for every defect: control, length, digits, fill.
pub fn decode_iso0(block: &[u8; 8], pan: &Pan) -> Result<Pin, HsmError> {
    read(0, &bind(block, &account_field(pan)), Fill::AllOnes)
}

/// Packs a PIN in format 1; `fill` gives its low nibbles to the places behind the PIN.
#[must_use]
pub fn encode_iso1(pin: &Pin, fill: [u8; 8]) -> ClearBlock {
    pin_field(1, pin, fill)
}

/// Reads a format 1 block.
///
/// # Errors
/// [`HsmError::PinBlock`] for every defect: control, length, digits.
pub fn decode_iso1(block: &[u8; 8]) -> Result<Pin, HsmError> {
    read(1, block, Fill::Any)
}

/// Packs a PIN in UnionPay's "X9.8 without PAN": format 0 with an account field of zeros.
#[must_use]
pub fn encode_without_pan(pin: &Pin) -> ClearBlock {
    pin_field(0, pin, [0xFF; 8])
}

/// Reads a block of UnionPay's "X9.8 without PAN".
///
/// # Errors
/// [`HsmError::PinBlock`] for every defect: control, length, digits, fill.
pub fn decode_without_pan(block: &[u8; 8]) -> Result<Pin, HsmError> {
    read(0, block, Fill::AllOnes)
}

/// What stands behind the PIN.
#[derive(Clone, Copy)]
enum Fill {
    AllOnes,
    Any,
}

fn pin_field(format: u8, pin: &Pin, fill: [u8; 8]) -> ClearBlock {
    let digits = pin.0.bytes().map(|digit| digit & 0x0F);
    let behind = fill.iter().flat_map(|octet| [octet >> 4, octet & 0x0F]);
    // The PIN type holds 4 to 12 digits: the length fits a nibble.
    let length = u8::try_from(pin.0.len()).unwrap_or_default();
    let mut nibbles = [format, length].into_iter().chain(digits).chain(behind);
    let mut block = Zeroizing::new([0; 8]);
    for octet in block.iter_mut() {
        *octet = (nibbles.next().unwrap_or_default() << 4) | nibbles.next().unwrap_or_default();
    }
    block
}

/// `0000` and the twelve rightmost digits of the PAN without its check digit, zeros in front of a short one.
fn account_field(pan: &Pan) -> [u8; 8] {
    let mut digits = pan.digits().bytes().rev().skip(1).take(12).map(|digit| digit & 0x0F);
    let mut field = [0; 8];
    for octet in field.iter_mut().rev() {
        let low = digits.next().unwrap_or_default();
        *octet = (digits.next().unwrap_or_default() << 4) | low;
    }
    field
}

fn bind(pin_field: &[u8; 8], account: &[u8; 8]) -> ClearBlock {
    let mut block = Zeroizing::new(*pin_field);
    block.iter_mut().zip(account).for_each(|(octet, account)| *octet ^= account);
    block
}

fn read(format: u8, field: &[u8; 8], fill: Fill) -> Result<Pin, HsmError> {
    let mut nibbles = Zeroizing::new([0; 16]);
    for (pair, octet) in nibbles.as_chunks_mut::<2>().0.iter_mut().zip(field) {
        *pair = [octet >> 4, octet & 0x0F];
    }
    let (control, rest) = nibbles.split_at_checked(2).ok_or(HsmError::PinBlock)?;
    let length = match control {
        [found, length @ 4..=12] if *found == format => usize::from(*length),
        _ => return Err(HsmError::PinBlock),
    };
    let (digits, behind) = rest.split_at_checked(length).ok_or(HsmError::PinBlock)?;
    let filled = match fill {
        Fill::AllOnes => behind.iter().all(|nibble| *nibble == 0x0F),
        Fill::Any => true,
    };
    if !filled || digits.iter().any(|digit| *digit > 9) {
        return Err(HsmError::PinBlock);
    }
    Ok(Pin(Zeroizing::new(digits.iter().map(|digit| char::from(b'0' + digit)).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> [u8; 8] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn pan(text: &str) -> Pan {
        Pan::parse(text).unwrap()
    }

    #[test]
    fn format_0_blocks_are_the_published_ones() {
        let rows = [
            // Published samples, recomputed independently.
            ("1234", "5555555551234567", "041261AAAAEDCBA9"),
            ("123456789012", "5555555551234567", "0C1261032D8226A9"),
            // X9.24-1:2009, A.4.
            ("1234", "4012345678909", "041274EDCBA9876F"),
            // The golden sale.
            ("123456", "6225880012345675", "06126CD6FEDCBA98"),
            // Twelve digits of PAN leave eleven without the check digit; computed by hand.
            ("1234", "401234567890", "041230FEDCBA9876"),
        ];
        for (digits, card, expected) in rows {
            let pin = Pin::parse(digits).unwrap();
            assert_eq!(*encode_iso0(&pin, &pan(card)), block(expected), "{expected}");
            assert!(decode_iso0(&block(expected), &pan(card)).unwrap().is(digits), "{expected}");
            assert!(!decode_iso0(&block(expected), &pan(card)).unwrap().is("9999"), "{expected}");
        }
    }

    #[test]
    fn blocks_without_a_pan_read_back() {
        let pin = Pin::parse("123456").unwrap();
        assert_eq!(*encode_without_pan(&pin), block("06123456FFFFFFFF"));
        assert!(decode_without_pan(&block("06123456FFFFFFFF")).unwrap().is("123456"));
        let fill = block("0123456789ABCDEF");
        assert_eq!(*encode_iso1(&pin, fill), block("1612345601234567"));
        assert!(decode_iso1(&block("1612345601234567")).unwrap().is("123456"));
        assert_eq!(decode_iso1(&block("06123456FFFFFFFF")).err(), Some(HsmError::PinBlock));
    }

    #[test]
    fn every_defect_is_the_same_error() {
        let rows = [
            ("control 1", "14123456FFFFFFFF"),
            ("control 3", "34123456FFFFFFFF"),
            ("length 3", "03123FFFFFFFFFFF"),
            ("length 13", "0D1234567890123F"),
            ("length 0", "00FFFFFFFFFFFFFF"),
            ("a letter in the PIN", "0412A4FFFFFFFFFF"),
            ("a digit in the fill", "041234FFFFFFFFF0"),
            ("a longer PIN than said", "04123456FFFFFFFF"),
            ("zeros", "0000000000000000"),
            ("ones", "FFFFFFFFFFFFFFFF"),
        ];
        for (name, text) in rows {
            assert_eq!(decode_without_pan(&block(text)).err(), Some(HsmError::PinBlock), "{name}");
        }
        // Bound to another card: the XOR leaves no block.
        let other = decode_iso0(&block("06126CD6FEDCBA98"), &pan("4000000000000002"));
        assert_eq!(other.err(), Some(HsmError::PinBlock));
        for bad in ["123", "1234567890123", "12A4", "", "12 4"] {
            assert_eq!(Pin::parse(bad).err(), Some(HsmError::PinBlock), "{bad}");
        }
        assert_eq!(format!("{:?}", Pin::parse("1234").unwrap()), "Pin(…)");
    }

    proptest::proptest! {
        #[test]
        fn pins_come_back(digits in "[0-9]{4,12}", card in "[0-9]{12,19}", fill in proptest::array::uniform8(0u8..)) {
            let (pin, pan) = (Pin::parse(&digits).unwrap(), pan(&card));
            proptest::prop_assert!(decode_iso0(&encode_iso0(&pin, &pan), &pan).unwrap().is(&digits));
            proptest::prop_assert!(decode_iso1(&encode_iso1(&pin, fill)).unwrap().is(&digits));
            proptest::prop_assert!(decode_without_pan(&encode_without_pan(&pin)).unwrap().is(&digits));
        }
    }
}
