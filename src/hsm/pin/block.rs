//! PIN blocks of ISO 9564-1: block ⇄ PIN and account number. Knows which fields are bound how, and no policy.
//!
//! ```text
//! format 0     0 N P P P P p p p p p p p p F F   xor   0 0 0 0 A A A A A A A A A A A A
//! format 1     1 N P P P P p p p p p p p p r r   r random, no PAN
//! format 2     2 N P P P P p p p p p p p p F F   to a chip card only, no PAN
//! format 3     3 N P P P P p p p p p p p p l l   xor   as format 0; l random from A to F
//! format 4     4 N P P P P p p p p p p p p A A R R R R R R R R R R R R R R R R   R random
//!        and   M D D D D D D D D D D D D d d d d d d d 0 0 0 0 0 0 0 0 0 0 0 0
//! without PAN  0 N P P P P p p p p p p p p F F   format 0 with an account field of zeros
//! ```
//! N the PIN's length, P and p its digits (p may be fill instead), A after `0 0 0 0` the account field, M the
//! PAN's length less 12, D and d its digits. Format 4 has no block in clear: the first field is encrypted,
//! the second added to it, and the sum encrypted again. UnionPay's DE 53 says `2` for format 0 and `1` for
//! "X9.8 without PAN".

use crate::hsm::HsmError;
use crate::hsm::cipher::{BlockCipher, xor};
use crate::transaction::Pan;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess};
use zeroize::Zeroizing;

/// Most digits of a PIN (ISO 9564-1, 8.1).
const MOST_DIGITS: usize = 12;

/// A clear PIN of 4 to 12 digits (ISO 9564-1, 8.1). Wiped when dropped, prints nothing of itself.
pub struct Pin {
    /// Values from 0 to 9, zeros behind the last.
    digits: Zeroizing<[u8; MOST_DIGITS]>,
    length: u8,
}

impl Pin {
    /// Reads 4 to 12 digits.
    ///
    /// # Errors
    /// [`HsmError::PinLength`], also for characters that are no digits.
    pub fn parse(digits: &str) -> Result<Self, HsmError> {
        let mut values = Zeroizing::new([0; MOST_DIGITS]);
        for (to, digit) in values.iter_mut().zip(digits.bytes()) {
            *to = digit & 0x0F;
        }
        let length = u8::try_from(digits.len()).map_err(|_| HsmError::PinLength)?;
        let sound = (4..=12).contains(&length) && digits.bytes().all(|b| b.is_ascii_digit());
        if sound { Ok(Self { digits: values, length }) } else { Err(HsmError::PinLength) }
    }

    /// Takes digits as values from 0 to 9; [`HsmError::PinLength`] unless there are 4 to 12.
    pub(in crate::hsm) fn of_digits(digits: impl Iterator<Item = u8>) -> Result<Self, HsmError> {
        let mut digits = digits.fuse();
        let mut values = Zeroizing::new([0; MOST_DIGITS]);
        let mut length = 0;
        for (to, digit) in values.iter_mut().zip(digits.by_ref()) {
            *to = digit;
            length += 1;
        }
        if length < 4 || digits.next().is_some() {
            Err(HsmError::PinLength)
        } else {
            Ok(Self { digits: values, length })
        }
    }

    /// How many digits it has: 4 to 12.
    #[must_use]
    pub fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// The digits as values from 0 to 9.
    pub(in crate::hsm) fn digits(&self) -> &[u8] {
        self.digits.get(..self.length()).unwrap_or_default()
    }

    /// Whether this is the PIN `other`, in constant time for equal lengths.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        let same = |digits: &[u8]| {
            let pairs = digits.iter().zip(other.bytes());
            pairs.fold(Choice::from(1), |same, (digit, character)| same & (digit | b'0').ct_eq(&character))
        };
        other.len() == self.length() && same(self.digits()).into()
    }
}

impl ConstantTimeEq for Pin {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.length.ct_eq(&other.length) & self.digits.as_slice().ct_eq(other.digits.as_slice())
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(…)")
    }
}

/// The twelve rightmost digits of a PAN without its check digit, zeros in front of a short one: what PIN
/// algorithms know of an account. Prints nothing of itself.
#[derive(Clone, Copy)]
pub struct AccountField([u8; 12]);

impl AccountField {
    /// Reads twelve digits, as host commands carry the field.
    ///
    /// # Errors
    /// [`HsmError::Account`].
    pub fn parse(digits: &str) -> Result<Self, HsmError> {
        let field: [u8; 12] = digits.as_bytes().try_into().map_err(|_| HsmError::Account)?;
        if field.iter().all(u8::is_ascii_digit) {
            Ok(Self(field.map(|digit| digit & 0x0F)))
        } else {
            Err(HsmError::Account)
        }
    }

    /// The digits as values from 0 to 9.
    pub(in crate::hsm) fn digits(&self) -> &[u8; 12] {
        &self.0
    }

    /// `0000` and the digits, in 8 octets.
    fn block(self) -> [u8; 8] {
        *pack([0; 4].into_iter().chain(self.0))
    }
}

impl From<&Pan> for AccountField {
    fn from(pan: &Pan) -> Self {
        let mut field = [0; 12];
        for (to, digit) in field.iter_mut().rev().zip(pan.digits().bytes().rev().skip(1)) {
            *to = digit & 0x0F;
        }
        Self(field)
    }
}

impl std::fmt::Debug for AccountField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountField(…)")
    }
}

/// The formats of ISO 9564-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinFormat {
    /// Format 0: 8 octets, bound to the account by XOR (ANSI X9.8).
    Iso0,
    /// Format 1: 8 octets, bound to nothing; for a PIN whose account is not known yet.
    Iso1,
    /// Format 2: 8 octets, from a terminal to a chip card.
    Iso2,
    /// Format 3: format 0 with random fill.
    Iso3,
    /// Format 4: 16 octets, bound to the account by two encryptions under an AES key.
    Iso4,
}

/// What a host command's two-digit PIN block format code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatCode {
    /// A format of ISO 9564-1.
    Served(PinFormat),
    /// Known by this name, and not served: it is bound to no account, or its binding is not public.
    Refused(&'static str),
}

/// The codes of payShield 10K host commands.
const FORMAT_CODES: [(&str, FormatCode); 12] = [
    ("01", FormatCode::Served(PinFormat::Iso0)),
    ("02", FormatCode::Refused("Docutel")),
    ("03", FormatCode::Refused("Diebold")),
    ("04", FormatCode::Refused("PLUS")),
    ("05", FormatCode::Served(PinFormat::Iso1)),
    ("34", FormatCode::Served(PinFormat::Iso2)),
    ("35", FormatCode::Refused("Europay")),
    ("41", FormatCode::Refused("Visa PIN change")),
    ("42", FormatCode::Refused("Visa PIN change with the current PIN")),
    ("46", FormatCode::Refused("AS 2805")),
    ("47", FormatCode::Served(PinFormat::Iso3)),
    ("48", FormatCode::Served(PinFormat::Iso4)),
];

impl FormatCode {
    /// What a code stands for; nothing for a code that no device knows.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        FORMAT_CODES.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning)
    }
}

impl PinFormat {
    /// The code of host commands: two digits.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Iso0 => "01",
            Self::Iso1 => "05",
            Self::Iso2 => "34",
            Self::Iso3 => "47",
            Self::Iso4 => "48",
        }
    }
}

/// A clear PIN block.
pub type ClearBlock = Zeroizing<[u8; 8]>;

/// Packs a PIN in format 0, bound to its card.
#[must_use]
pub fn encode_iso0(pin: &Pin, account: impl Into<AccountField>) -> ClearBlock {
    bind(&pin_field(0, pin, [0xFF; 8]), account)
}

/// Reads a format 0 block of this card.
///
/// # Errors
/// [`HsmError::PinBlock`] for every defect: control, length, digits, fill.
pub fn decode_iso0(block: &[u8; 8], account: impl Into<AccountField>) -> Result<Pin, HsmError> {
    read(0, &bind(block, account), Fill::Ones)
}

/// Packs a PIN in format 1; `fill` gives its nibbles to the places behind the PIN.
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

/// Packs a PIN in format 2, for a chip card and nobody else.
#[must_use]
pub fn encode_iso2(pin: &Pin) -> ClearBlock {
    pin_field(2, pin, [0xFF; 8])
}

/// Reads a format 2 block.
///
/// # Errors
/// [`HsmError::PinBlock`] for every defect: control, length, digits, fill.
pub fn decode_iso2(block: &[u8; 8]) -> Result<Pin, HsmError> {
    read(2, block, Fill::Ones)
}

/// Packs a PIN in format 3, bound to its card. `fill` is random: read as a number, its last ten digits to the
/// base 6 become the fill, the last one first.
#[must_use]
pub fn encode_iso3(pin: &Pin, account: impl Into<AccountField>, fill: [u8; 8]) -> ClearBlock {
    bind(&pin_field(3, pin, letters(fill)), account)
}

/// Reads a format 3 block of this card.
///
/// # Errors
/// [`HsmError::PinBlock`] for every defect: control, length, digits, fill.
pub fn decode_iso3(block: &[u8; 8], account: impl Into<AccountField>) -> Result<Pin, HsmError> {
    read(3, &bind(block, account), Fill::Letters)
}

/// Encrypts a PIN in format 4 under a key with blocks of 16 octets: AES. `fill` is random.
#[must_use]
pub fn encode_iso4(key: &impl BlockCipher<16>, pin: &Pin, pan: &Pan, fill: [u8; 8]) -> [u8; 16] {
    let field = pin_field_iso4(pin, fill);
    key.encrypt(xor(key.encrypt(*field), pan_field_iso4(pan.digits())))
}

/// Decrypts and reads a format 4 block of this card.
///
/// # Errors
/// [`HsmError::PinBlock`] for every defect: control, length, digits, fill, another key or card.
pub fn decode_iso4(key: &impl BlockCipher<16>, block: &[u8; 16], pan: &Pan) -> Result<Pin, HsmError> {
    let field = Zeroizing::new(key.decrypt(xor(key.decrypt(*block), pan_field_iso4(pan.digits()))));
    let left = field.first_chunk().ok_or(HsmError::PinBlock)?;
    read(4, left, Fill::Tens)
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
    read(0, block, Fill::Ones)
}

/// What stands behind the PIN.
#[derive(Clone, Copy)]
enum Fill {
    Ones,
    Tens,
    Letters,
    Any,
}

impl Fill {
    fn admits(self, nibble: u8) -> Choice {
        match self {
            Self::Ones => nibble.ct_eq(&0x0F),
            Self::Tens => nibble.ct_eq(&0x0A),
            Self::Letters => nibble.ct_gt(&9),
            Self::Any => Choice::from(1),
        }
    }
}

/// Control, length, PIN and `fill` from its first nibble.
fn pin_field(format: u8, pin: &Pin, fill: [u8; 8]) -> ClearBlock {
    let behind = fill.into_iter().flat_map(|octet| [octet >> 4, octet & 0x0F]);
    pack([format, pin.length].into_iter().chain(pin.digits().iter().copied()).chain(behind))
}

/// Format 4's first field: up to its middle the PIN with fill `A`, then random.
fn pin_field_iso4(pin: &Pin, fill: [u8; 8]) -> Zeroizing<[u8; 16]> {
    let mut field = Zeroizing::new([0; 16]);
    let left = pin_field(4, pin, [0xAA; 8]);
    for (to, from) in field.iter_mut().zip(left.iter().chain(&fill)) {
        *to = *from;
    }
    field
}

/// Format 4's second field, of up to 19 digits: fewer than 12 have the length 0, and zeros in front.
fn pan_field_iso4(pan: &str) -> [u8; 16] {
    let length = u8::try_from(pan.len().saturating_sub(12)).unwrap_or_default();
    let zeros = std::iter::repeat_n(0, 12_usize.saturating_sub(pan.len()));
    *pack(std::iter::once(length).chain(zeros).chain(pan.bytes().map(|digit| digit & 0x0F)))
}

/// Ten nibbles from A to F.
fn letters(fill: [u8; 8]) -> [u8; 8] {
    let mut rest = u64::from_be_bytes(fill);
    let nibbles = std::iter::repeat_with(|| {
        let digit = u8::try_from(rest % 6).unwrap_or_default();
        rest /= 6;
        0x0A + digit
    });
    *pack(nibbles.take(10))
}

/// Two nibbles an octet, zeros behind the last.
fn pack<const N: usize>(mut nibbles: impl Iterator<Item = u8>) -> Zeroizing<[u8; N]> {
    let mut packed = Zeroizing::new([0; N]);
    for octet in packed.iter_mut() {
        *octet = (nibbles.next().unwrap_or_default() << 4) | nibbles.next().unwrap_or_default();
    }
    packed
}

fn bind(pin_field: &[u8; 8], account: impl Into<AccountField>) -> ClearBlock {
    Zeroizing::new(xor(*pin_field, account.into().block()))
}

/// Reads a PIN field without a branch on what it holds, up to the verdict on the whole.
fn read(format: u8, field: &[u8; 8], fill: Fill) -> Result<Pin, HsmError> {
    let mut nibbles = Zeroizing::new([0_u8; 16]);
    for (pair, octet) in nibbles.as_chunks_mut::<2>().0.iter_mut().zip(field) {
        *pair = [octet >> 4, octet & 0x0F];
    }
    let [control, length, places @ ..] = &*nibbles;
    let mut sound = control.ct_eq(&format) & length.ct_gt(&3) & length.ct_lt(&13);
    for (place, nibble) in (0_u8..).zip(places) {
        let (as_fill, as_digit) = (fill.admits(*nibble), nibble.ct_lt(&10));
        sound &= Choice::conditional_select(&as_fill, &as_digit, place.ct_lt(length));
    }
    if !bool::from(sound) {
        return Err(HsmError::PinBlock);
    }
    Pin::of_digits(places.iter().copied().take(usize::from(*length))).map_err(|_| HsmError::PinBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::aes::AesKey;
    use crate::hsm::judges;

    fn octets<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    fn block(text: &str) -> [u8; 8] {
        octets(text)
    }

    fn pan(text: &str) -> Pan {
        Pan::parse(text).unwrap()
    }

    fn aes(text: &str) -> AesKey {
        AesKey::new(&hex::decode(text).unwrap()).unwrap()
    }

    #[test]
    fn format_0_blocks_are_the_published_ones() {
        let rows = [
            // Published samples, recomputed independently.
            ("1234", "5555555551234567", "041261AAAAEDCBA9"),
            ("123456789012", "5555555551234567", "0C1261032D8226A9"),
            // X9.24-1:2009, A.4.
            ("1234", "4012345678909", "041274EDCBA9876F"),
            // psec's own sample.
            ("1234", "5544332211009966", "041277CDDEEFF669"),
            // The golden sale.
            ("123456", "6225880012345675", "06126CD6FEDCBA98"),
            // Twelve digits of PAN leave eleven without the check digit; computed by hand.
            ("1234", "401234567890", "041230FEDCBA9876"),
        ];
        for (digits, card, expected) in rows {
            let (pin, card) = (Pin::parse(digits).unwrap(), pan(card));
            assert_eq!(*encode_iso0(&pin, &card), block(expected), "{expected}");
            assert!(decode_iso0(&block(expected), &card).unwrap().is(digits), "{expected}");
            assert!(!decode_iso0(&block(expected), &card).unwrap().is("9999"), "{expected}");
            // Host commands carry the twelve digits only.
            let (digits, end) = (card.digits(), card.digits().len() - 1);
            let field = format!("{:0>12}", &digits[end.saturating_sub(12)..end]);
            let field = AccountField::parse(&field).unwrap();
            assert_eq!(*encode_iso0(&pin, field), block(expected), "{expected}");
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
        // ISO 9564-1, format 2: published sample.
        assert_eq!(*encode_iso2(&Pin::parse("1234").unwrap()), block("241234FFFFFFFFFF"));
        assert!(decode_iso2(&block("241234FFFFFFFFFF")).unwrap().is("1234"));
    }

    #[test]
    fn format_3_blocks_are_the_published_ones() {
        let rows = [
            // Published sample, its fill all F; psec's own; IBM's CCA manual, whose PAN has no check digit.
            ("1234", "5555555551234567", "FFFFFFFFFF", "341261AAAAEDCBA9"),
            ("1234", "5544332211009966", "DCCEDCBDAA", "341277EEEFCCB43C"),
            ("123456", "1112223334445550", "AFBECDDC", "361216759CFA8889"),
        ];
        for (digits, card, fill, expected) in rows {
            let nibbles = fill.chars().rev().map(|letter| u64::from(letter.to_digit(16).unwrap()) - 10);
            let fill = nibbles.fold(0, |number, digit| number * 6 + digit).to_be_bytes();
            let (pin, card) = (Pin::parse(digits).unwrap(), pan(card));
            assert_eq!(hex::encode_upper(*encode_iso3(&pin, &card, fill)), expected);
            assert!(decode_iso3(&block(expected), &card).unwrap().is(digits), "{expected}");
        }
        // Every letter comes up, and nothing else.
        let pin = Pin::parse("1234").unwrap();
        let zeros = AccountField::parse("000000000000").unwrap();
        let mut seen = [0; 16];
        for number in 0..1000_u64 {
            let fill = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_be_bytes();
            for octet in &encode_iso3(&pin, zeros, fill)[3..] {
                seen[usize::from(octet >> 4)] += 1;
                seen[usize::from(octet & 0x0F)] += 1;
            }
        }
        assert_eq!(seen[..10], [0; 10]);
        assert!(seen[10..].iter().all(|times| (1500..1850).contains(times)), "{seen:?}");
    }

    #[test]
    fn format_4_blocks_are_the_published_ones() {
        const X9: &str = "4111111111111111";
        let rows = [
            // A published sample; X9.24-3:2017, its sample and the last counter of its suite of AES-128.
            (
                "00112233445566778899AABBCCDDEEFF",
                "1234567890123456789",
                "FFFFFFFFFFFFFFFF",
                "28B41FDDD29B743E93124BD8E32D921E",
            ),
            ("AF8CB133A78F8DC2D1359F18527593FB", X9, "2F69ADDE2E9E7ACE", "A912150391AB65A67E52883D81CE2D15"),
            ("27EFAC1D158632588F4AC69E45C247C4", X9, "2F69ADDE2E9E7ACE", "040A069A66B62309B8840A993C9EA8B3"),
            // AES-192, computed by two implementations.
            (
                "C5043EDC7F2C001097974D40FF82A050B64A1AB27879F3DB",
                X9,
                "2F69ADDE2E9E7ACE",
                "1BFAF188BCD6F74107C96EB7CCD0DDCB",
            ),
            // Captures of a calculator, with a PAN of 18 digits, and of an independent implementation.
            (
                "00112233445566778899AABBCCDDEEFF",
                "432198765432109870",
                "146C6601F4A8035C",
                "88E33C3ACF404F234F10F889C364E377",
            ),
            ("000102030405060708090A0B0C0D0E0F", X9, "0123456789ABCDEF", "70487881E82D3F1EF3A87678147EDAA7"),
        ];
        for (key, card, fill, expected) in rows {
            let (key, card, pin) = (aes(key), pan(card), Pin::parse("1234").unwrap());
            let sealed = encode_iso4(&key, &pin, &card, block(fill));
            assert_eq!(hex::encode_upper(sealed), expected);
            assert!(decode_iso4(&key, &sealed, &card).unwrap().is("1234"));
            assert_eq!(decode_iso4(&key, &sealed, &pan("4000000000000002")).err(), Some(HsmError::PinBlock));
            for bit in 0..128 {
                let mut altered = sealed;
                altered[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode_iso4(&key, &altered, &card).err(), Some(HsmError::PinBlock), "bit {bit}");
            }
        }
        let field = pin_field_iso4(&Pin::parse("1234").unwrap(), block("2F69ADDE2E9E7ACE"));
        assert_eq!(hex::encode_upper(*field), "441234AAAAAAAAAA2F69ADDE2E9E7ACE");
        // X9.24-3; a published sample; captures; ISO 9564-1 for a PAN that is shorter than 12 digits.
        let rows = [
            ("4111111111111111", "44111111111111111000000000000000"),
            ("112233445566778899", "61122334455667788990000000000000"),
            ("4111111111111", "14111111111111000000000000000000"),
            ("4111111111111111113", "74111111111111111113000000000000"),
            ("4000123456789", "14000123456789000000000000000000"),
            ("401234567890", "04012345678900000000000000000000"),
            ("12345", "00000000123450000000000000000000"),
        ];
        for (digits, expected) in rows {
            assert_eq!(hex::encode_upper(pan_field_iso4(digits)), expected);
        }
    }

    #[test]
    fn every_defect_is_the_same_error() {
        // As format 0 and 2 have it: control, length, digits, fill.
        let rows = [
            ("control 1", "14123456FFFFFFFF"),
            ("control 3", "34123456FFFFFFFF"),
            ("length 3", "03123FFFFFFFFFFF"),
            ("length 13", "0D1234567890123F"),
            ("length 15", "0F123456789012FF"),
            ("length 0", "00FFFFFFFFFFFFFF"),
            ("a letter in the PIN", "0412A4FFFFFFFFFF"),
            ("a letter as the last digit", "0C12345678901AFF"),
            ("a digit in the fill", "041234FFFFFFFFF0"),
            ("a letter in the fill", "041234FFFFFFFFFE"),
            ("a longer PIN than said", "04123456FFFFFFFF"),
            ("a shorter PIN than said", "061234FFFFFFFFFF"),
            ("zeros", "0000000000000000"),
            ("ones", "FFFFFFFFFFFFFFFF"),
        ];
        for (name, text) in rows {
            assert_eq!(decode_without_pan(&block(text)).err(), Some(HsmError::PinBlock), "{name}");
            let account = AccountField::parse("555555123456").unwrap();
            let bound = bind(&block(text), account);
            assert_eq!(decode_iso0(&bound, account).err(), Some(HsmError::PinBlock), "{name}");
            let mut other = block(text);
            other[0] ^= 0x20;
            assert_eq!(decode_iso2(&other).err(), Some(HsmError::PinBlock), "{name}");
        }
        let rows = [
            ("control 0", "041234AAAAAAAAAA"),
            ("a digit in the fill", "341234AAAA9AAAAA"),
            ("a longer PIN than said", "3412345AAAAAAAAA"),
            ("length 13", "3D1234567890123A"),
        ];
        for (name, text) in rows {
            let account = AccountField::parse("555555123456").unwrap();
            let bound = bind(&block(text), account);
            assert_eq!(decode_iso3(&bound, account).err(), Some(HsmError::PinBlock), "{name}");
        }
        for (name, text) in [
            ("control 2", "241234FFFFFFFFFF"),
            ("a letter", "1412B4FFFFFFFFFF"),
            ("length 3", "1312300000000000"),
        ] {
            assert_eq!(decode_iso1(&block(text)).err(), Some(HsmError::PinBlock), "{name}");
        }
        // Format 4's fields, encrypted as such.
        let (key, card) = (aes("00112233445566778899AABBCCDDEEFF"), pan("4111111111111111"));
        for (name, field, sound) in [
            ("good", "441234AAAAAAAAAA0123456789ABCDEF", true),
            ("control 3", "341234AAAAAAAAAA0123456789ABCDEF", false),
            ("length 3", "43123AAAAAAAAAAA0123456789ABCDEF", false),
            ("length 13", "4D1234567890123A0123456789ABCDEF", false),
            ("fill F", "441234FFFFFFFFFF0123456789ABCDEF", false),
            ("a letter in the PIN", "44123AAAAAAAAAAA0123456789ABCDEF", false),
        ] {
            let sealed = key.encrypt(xor(key.encrypt(octets(field)), pan_field_iso4(card.digits())));
            assert_eq!(
                decode_iso4(&key, &sealed, &card).err(),
                (!sound).then_some(HsmError::PinBlock),
                "{name}"
            );
        }
        // Bound to another card: the XOR leaves no block.
        let other = decode_iso0(&block("06126CD6FEDCBA98"), &pan("4000000000000002"));
        assert_eq!(other.err(), Some(HsmError::PinBlock));
    }

    #[test]
    fn pins_and_account_fields_are_digits() {
        for bad in ["123", "1234567890123", "12A4", "", "12 4", "١٢٣٤"] {
            assert_eq!(Pin::parse(bad).err(), Some(HsmError::PinLength), "{bad}");
        }
        assert_eq!(Pin::parse(&"1".repeat(260)).err(), Some(HsmError::PinLength));
        let pin = Pin::parse("1234").unwrap();
        assert_eq!((format!("{pin:?}"), pin.length()), ("Pin(…)".into(), 4));
        assert!(pin.is("1234") && !pin.is("12340") && !pin.is("123") && !pin.is("1235") && !pin.is(""));
        assert!(bool::from(pin.ct_eq(&Pin::parse("1234").unwrap())));
        assert!(!bool::from(pin.ct_eq(&Pin::parse("12340").unwrap())));
        for (digits, length) in [(3, None), (4, Some(4)), (12, Some(12)), (13, None)] {
            let made = Pin::of_digits(std::iter::repeat_n(7, digits));
            assert_eq!(made.map(|pin| pin.length()).ok(), length, "{digits}");
        }
        for bad in ["12345678901", "1234567890123", "12345678901A", ""] {
            assert_eq!(AccountField::parse(bad).err(), Some(HsmError::Account), "{bad}");
        }
        assert_eq!(format!("{:?}", AccountField::from(&pan("4012345678909"))), "AccountField(…)");
    }

    #[test]
    fn format_codes_read_both_ways() {
        use PinFormat::{Iso0, Iso1, Iso2, Iso3, Iso4};
        for (format, code) in [(Iso0, "01"), (Iso1, "05"), (Iso2, "34"), (Iso3, "47"), (Iso4, "48")] {
            assert_eq!(format.code(), code);
            assert_eq!(FormatCode::of(code), Some(FormatCode::Served(format)));
        }
        for code in ["02", "03", "04", "35", "41", "42", "46"] {
            assert!(matches!(FormatCode::of(code), Some(FormatCode::Refused(_))), "{code}");
        }
        for code in ["", "00", "1", "001", "06", "33", "49", "99", "4８"] {
            assert_eq!(FormatCode::of(code), None, "{code}");
        }
    }

    /// What psec is asked: an operation and its arguments; and what came out here.
    type Case = (Vec<String>, String);

    fn opened(pin: Result<Pin, HsmError>) -> String {
        let digit = |value: &u8| char::from(b'0' + value);
        pin.map_or("refused".into(), |pin| pin.digits().iter().map(digit).collect())
    }

    fn case(chance: &mut judges::Chance, operation: &str) -> Case {
        let count = chance.within(4, 12);
        let digits = chance.digits(count);
        let count = chance.within(13, 19);
        let (pin, card) = (Pin::parse(&digits).unwrap(), pan(&chance.digits(count)));
        let fill = chance.octets(8).try_into().unwrap();
        let key = chance.octets([16, 24, 32][count % 3]);
        let schedule = AesKey::new(&key).unwrap();
        let (words, ours) = match operation {
            "encode 0" => (vec![digits], hex::encode(*encode_iso0(&pin, &card))),
            "encode 2" => (vec![digits], hex::encode(*encode_iso2(&pin))),
            "decode 0" => {
                let mut block = *encode_iso0(&pin, &card);
                spoil(chance, &mut block);
                (vec![hex::encode(block)], opened(decode_iso0(&block, &card)))
            }
            "decode 2" => {
                let mut block = *encode_iso2(&pin);
                spoil(chance, &mut block);
                (vec![hex::encode(block)], opened(decode_iso2(&block)))
            }
            "decode 3" => {
                let mut block = *encode_iso3(&pin, &card, fill);
                spoil(chance, &mut block);
                (vec![hex::encode(block)], opened(decode_iso3(&block, &card)))
            }
            "encode 3" => {
                // The letters that fill it, as the judge draws them: ten, and the last ones perhaps in vain.
                let block = encode_iso3(&pin, &card, fill);
                let bare = xor(*block, AccountField::from(&card).block());
                let letters = hex::encode_upper(bare)[2 + digits.len()..].to_owned();
                (vec![digits, format!("{letters:A<10}")], hex::encode(*block))
            }
            "encipher 4" => {
                let block = encode_iso4(&schedule, &pin, &card, fill);
                (vec![hex::encode(fill), digits, hex::encode(&key)], hex::encode(block))
            }
            "fields 4" => {
                let fields = [*pin_field_iso4(&pin, fill), pan_field_iso4(card.digits())];
                (vec![hex::encode(fill), digits], hex::encode(fields.concat()))
            }
            _ => {
                let mut field = *pin_field_iso4(&pin, fill);
                spoil(chance, &mut field);
                let block = schedule.encrypt(xor(schedule.encrypt(field), pan_field_iso4(card.digits())));
                (vec![hex::encode(block), hex::encode(&key)], opened(decode_iso4(&schedule, &block, &card)))
            }
        };
        ([vec![operation.into(), card.digits().into()], words].concat(), ours)
    }

    /// Changes one nibble or none.
    fn spoil(chance: &mut judges::Chance, block: &mut [u8]) {
        let (at, to) = (chance.within(0, 2 * block.len() - 1), chance.within(0, 15) as u8);
        if chance.within(0, 2) > 0 {
            block[at / 2] ^= if at % 2 == 0 { to << 4 } else { to };
        }
    }

    #[test]
    fn psec_agrees() {
        let operations = [
            "encode 0",
            "decode 0",
            "encode 2",
            "decode 2",
            "encode 3",
            "decode 3",
            "fields 4",
            "encipher 4",
            "decode 4",
        ];
        for operation in operations {
            let mut chance = judges::Chance::new(9564);
            let (cases, ours): (Vec<_>, Vec<_>) = (0..2500).map(|_| case(&mut chance, operation)).unzip();
            judges::agree(include_str!("../judges/pin_block.py"), &cases, &ours);
            if operation.starts_with("decode") {
                let refused = ours.iter().filter(|answer| *answer == "refused").count();
                assert!((200..2300).contains(&refused), "{operation}: {refused} refused");
            }
        }
    }

    #[test]
    fn psec_knows_the_pan_field_of_short_pans() {
        let mut chance = judges::Chance::new(4);
        let pans: Vec<_> = (0..2000).map(|round| chance.digits(round % 19 + 1)).collect();
        let cases: Vec<_> = pans.iter().map(|pan| vec!["pan field".into(), pan.clone()]).collect();
        let ours: Vec<_> = pans.iter().map(|pan| hex::encode(pan_field_iso4(pan))).collect();
        judges::agree(include_str!("../judges/pin_block.py"), &cases, &ours);
    }

    proptest::proptest! {
        #[test]
        fn pins_come_back(
            digits in "[0-9]{4,12}", card in "[0-9]{12,19}", fill in proptest::array::uniform8(0u8..),
        ) {
            let (pin, pan) = (Pin::parse(&digits).unwrap(), pan(&card));
            let key = AesKey::new(&[7; 16]).unwrap();
            proptest::prop_assert!(decode_iso0(&encode_iso0(&pin, &pan), &pan).unwrap().is(&digits));
            proptest::prop_assert!(decode_iso1(&encode_iso1(&pin, fill)).unwrap().is(&digits));
            proptest::prop_assert!(decode_iso2(&encode_iso2(&pin)).unwrap().is(&digits));
            proptest::prop_assert!(decode_iso3(&encode_iso3(&pin, &pan, fill), &pan).unwrap().is(&digits));
            let sealed = encode_iso4(&key, &pin, &pan, fill);
            proptest::prop_assert!(decode_iso4(&key, &sealed, &pan).unwrap().is(&digits));
            proptest::prop_assert!(decode_without_pan(&encode_without_pan(&pin)).unwrap().is(&digits));
        }

        #[test]
        fn no_block_makes_it_panic(block in proptest::array::uniform8(0u8..), card in "[0-9]{12,19}") {
            let card = pan(&card);
            let bound = [decode_iso0(&block, &card), decode_iso3(&block, &card)];
            for read in bound.into_iter().chain([decode_iso1(&block), decode_iso2(&block)]) {
                let sound = match read {
                    Ok(pin) => (4..=12).contains(&pin.length()) && pin.digits().iter().all(|digit| *digit < 10),
                    Err(error) => error == HsmError::PinBlock,
                };
                proptest::prop_assert!(sound);
            }
        }
    }
}
