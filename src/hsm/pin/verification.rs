//! How an issuer verifies a PIN that it does not store: the Visa PVV, and the IBM 3624 PIN with its offset.
//! Pure arithmetic on a clear key, a PIN and an account's digits; how often a holder may try is the caller's
//! affair.

use super::block::{AccountField, Pin};
use crate::hsm::card_verification::visa_digits;
use crate::hsm::des::{DesKey, KeyLength};
use crate::hsm::{HsmError, KeyDefect};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

/// The Visa PIN verification value: four digits, as characters. The eleven rightmost digits of the account
/// field, the key index and the PIN's first four digits are encrypted under the PVK; of the result's
/// hexadecimal characters the digits count first, then the letters less ten (Visa PVV, Payment Technology
/// Standards Manual).
///
/// # Errors
/// [`HsmError::Key`] unless the PVK is of double length, [`HsmError::Input`] for an index above 9.
pub fn pvv(
    pvk: &DesKey,
    index: u8,
    pin: &Pin,
    account: impl Into<AccountField>,
) -> Result<Zeroizing<[u8; 4]>, HsmError> {
    if pvk.length() != KeyLength::Double {
        return Err(HsmError::Key(KeyDefect::Length));
    }
    if index > 9 {
        return Err(HsmError::Input("PVK index is not a digit"));
    }
    let account = account.into();
    let pin = pin.digits().iter().take(4);
    let digits = account.digits().iter().skip(1).copied().chain([index]).chain(pin.copied());
    let mut parameter = Zeroizing::new([0; 8]);
    pack(parameter.as_mut_slice(), digits);
    Ok(Zeroizing::new(visa_digits(pvk.encrypt(*parameter))))
}

/// Verifies a PIN by its PVV, in constant time.
///
/// # Errors
/// [`HsmError::Mismatch`], also for a PVV of another length; else as [`pvv`].
pub fn verify_pvv(
    pvk: &DesKey,
    index: u8,
    pin: &Pin,
    account: impl Into<AccountField>,
    expected: &[u8],
) -> Result<(), HsmError> {
    verdict(pvv(pvk, index, pin, account)?.as_slice().ct_eq(expected))
}

fn verdict(equal: Choice) -> Result<(), HsmError> {
    if equal.into() { Ok(()) } else { Err(HsmError::Mismatch) }
}

/// Two digits an octet, as far as they go.
fn pack(octets: &mut [u8], mut digits: impl Iterator<Item = u8>) {
    for octet in octets {
        *octet = (digits.next().unwrap_or_default() << 4) | digits.next().unwrap_or_default();
    }
}

/// Which decimalization tables are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableCheck {
    /// Those with at least 8 different digits, none of them more than 4 times: with fewer a PIN is found by
    /// trying tables (the rule of payShield 10K).
    Strict,
    /// Any 16 digits, for issuers that still have such a table.
    Legacy,
}

/// The digit that each hexadecimal character becomes: 16 digits, for 0 to F. Prints nothing of itself.
pub struct DecimalizationTable([u8; 16]);

impl DecimalizationTable {
    /// Reads 16 digits.
    ///
    /// # Errors
    /// [`HsmError::DecimalizationTable`].
    pub fn parse(digits: &str, check: TableCheck) -> Result<Self, HsmError> {
        let table: [u8; 16] = digits.as_bytes().try_into().map_err(|_| HsmError::DecimalizationTable)?;
        if !table.iter().all(u8::is_ascii_digit) {
            return Err(HsmError::DecimalizationTable);
        }
        let times = (b'0'..=b'9').map(|digit| table.iter().filter(|found| **found == digit).count());
        let (different, most) = times
            .fold((0, 0), |(different, most), times| (different + usize::from(times > 0), times.max(most)));
        match check {
            TableCheck::Strict if different < 8 || most > 4 => Err(HsmError::DecimalizationTable),
            TableCheck::Strict | TableCheck::Legacy => Ok(Self(table.map(|digit| digit & 0x0F))),
        }
    }

    /// A nibble's digit, found without an index that depends on it.
    fn digit(&self, nibble: u8) -> u8 {
        (0_u8..)
            .zip(self.0)
            .fold(0, |digit, (at, value)| digit | u8::conditional_select(&0, &value, at.ct_eq(&nibble)))
    }
}

impl std::fmt::Debug for DecimalizationTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecimalizationTable(…)")
    }
}

/// What a natural PIN is computed of: 16 hexadecimal characters, most of them digits of the account. Prints
/// nothing of itself.
pub struct ValidationData([u8; 8]);

impl ValidationData {
    /// The 16 characters, two an octet.
    pub(in crate::hsm) fn octets(&self) -> &[u8; 8] {
        &self.0
    }

    /// Cuts `length` digits out of an account number at `start`, counted from 0 on its left, and fills them
    /// up to 16 with `pad`, a value from 0 to 15.
    ///
    /// # Errors
    /// [`HsmError::Account`] unless 1 to 16 digits stand there, [`HsmError::Input`] for another pad.
    pub fn cut(account: &str, start: usize, length: usize, pad: u8) -> Result<Self, HsmError> {
        if !(1..=16).contains(&length) {
            return Err(HsmError::Account);
        }
        let end = start.checked_add(length).ok_or(HsmError::Account)?;
        let digits = account.as_bytes().get(start..end).ok_or(HsmError::Account)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(HsmError::Account);
        }
        if pad > 0x0F {
            return Err(HsmError::Input("pad is not a hexadecimal character"));
        }
        Ok(Self::padded(digits.iter().map(|digit| digit & 0x0F), pad))
    }

    /// Reads the 12 characters of a host command: hexadecimal, `N` for the last five digits of the account
    /// field; filled up to 16 with F (payShield 10K).
    ///
    /// # Errors
    /// [`HsmError::Input`] for another length, another character, and unless one of them is `N`: an offset of data
    /// without it would be any account's.
    pub fn of_command(text: &str, account: impl Into<AccountField>) -> Result<Self, HsmError> {
        const FORM: HsmError =
            HsmError::Input("validation data is not 12 hexadecimal characters, one of them N");
        let characters: [u8; 12] = text.as_bytes().try_into().map_err(|_| FORM)?;
        if characters.iter().filter(|character| **character == b'N').count() != 1 {
            return Err(FORM);
        }
        let account = account.into();
        let mut nibbles = Vec::with_capacity(16);
        for character in characters {
            match character {
                b'N' => nibbles.extend(account.digits().iter().skip(7)),
                b'0'..=b'9' => nibbles.push(character - b'0'),
                b'A'..=b'F' => nibbles.push(character - b'A' + 10),
                _ => return Err(FORM),
            }
        }
        Ok(Self::padded(nibbles.into_iter(), 0x0F))
    }

    fn padded(nibbles: impl Iterator<Item = u8>, pad: u8) -> Self {
        let mut data = [0; 8];
        pack(&mut data, nibbles.chain(std::iter::repeat(pad)));
        Self(data)
    }
}

impl std::fmt::Debug for ValidationData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ValidationData(…)")
    }
}

/// What, added to the natural PIN digit by digit without carry, gives the holder's PIN: 4 to 12 digits.
/// Prints nothing of itself.
pub struct Offset(Pin);

impl Offset {
    /// Reads 4 to 12 digits; or as host commands have it 12 characters, F behind the digits.
    ///
    /// # Errors
    /// [`HsmError::Input`].
    pub fn parse(text: &str) -> Result<Self, HsmError> {
        const FORM: HsmError =
            HsmError::Input("offset is not 4 to 12 digits, with F behind them to 12 or none");
        let digits = text.trim_end_matches('F');
        if digits.len() != text.len() && text.len() != 12 {
            return Err(FORM);
        }
        Pin::parse(digits).map(Self).map_err(|_| FORM)
    }

    /// How many digits it has: 4 to 12.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.length()
    }

    /// The 12 characters of host commands, F behind the digits.
    #[must_use]
    pub fn command_characters(&self) -> [u8; 12] {
        let mut characters = [b'F'; 12];
        characters.iter_mut().zip(self.0.digits()).for_each(|(to, digit)| *to = digit | b'0');
        characters
    }
}

impl std::fmt::Debug for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Offset(…)")
    }
}

/// The IBM 3624 algorithm for one account: what does not depend on the PIN (IBM CCA, "IBM 3624 PIN offset
/// calculation method").
pub struct Ibm3624<'a> {
    /// PIN verification key, of any length of DES.
    pub pvk: &'a DesKey,
    /// How hexadecimal characters become digits.
    pub table: &'a DecimalizationTable,
    /// What is encrypted.
    pub validation: &'a ValidationData,
}

impl Ibm3624<'_> {
    /// The natural PIN: the first `length` characters of the encrypted validation data, decimalized.
    ///
    /// # Errors
    /// [`HsmError::PinLength`] unless 4 to 12.
    pub fn natural_pin(&self, length: usize) -> Result<Pin, HsmError> {
        if length > 12 {
            return Err(HsmError::PinLength);
        }
        let encrypted = Zeroizing::new(self.pvk.encrypt(self.validation.0));
        let nibbles = encrypted.iter().flat_map(|octet| [octet >> 4, octet & 0x0F]);
        Pin::of_digits(nibbles.map(|nibble| self.table.digit(nibble)).take(length))
    }

    /// The offset that turns the natural PIN into this one; of the PIN's last `check_length` digits.
    ///
    /// # Errors
    /// [`HsmError::PinLength`] unless `check_length` is at least 4 and not above the PIN's length.
    pub fn offset(&self, pin: &Pin, check_length: usize) -> Result<Offset, HsmError> {
        let unchecked = pin.length().checked_sub(check_length).ok_or(HsmError::PinLength)?;
        let natural = self.natural_pin(pin.length())?;
        let pairs = pin.digits().iter().zip(natural.digits()).skip(unchecked);
        Pin::of_digits(pairs.map(|(pin, natural)| (10 + pin - natural) % 10)).map(Offset)
    }

    /// The PIN of an offset, as long as that is.
    ///
    /// # Errors
    /// None that an offset can have.
    pub fn pin(&self, offset: &Offset) -> Result<Pin, HsmError> {
        let natural = self.natural_pin(offset.0.length())?;
        Pin::of_digits(sum(natural.digits(), offset.0.digits()))
    }

    /// Verifies a PIN by its offset, in constant time for PINs of a length: its last digits, as many as the
    /// offset has, against those of a natural PIN of its length.
    ///
    /// # Errors
    /// [`HsmError::Mismatch`], also for a PIN that is shorter than the offset.
    pub fn verify(&self, pin: &Pin, offset: &Offset) -> Result<(), HsmError> {
        let unchecked = pin.length().checked_sub(offset.0.length()).ok_or(HsmError::Mismatch)?;
        let natural = self.natural_pin(pin.length())?;
        let expected = sum(natural.digits().get(unchecked..).unwrap_or_default(), offset.0.digits());
        let pairs = pin.digits().iter().skip(unchecked).zip(expected);
        verdict(pairs.fold(Choice::from(1), |same, (pin, expected)| same & pin.ct_eq(&expected)))
    }
}

/// Digits added one by one, without carry.
fn sum(natural: &[u8], offset: &[u8]) -> impl Iterator<Item = u8> {
    natural.iter().zip(offset).map(|(natural, offset)| (natural + offset) % 10)
}

/// Whether a new PIN is one of those that the issuer does not let holders have: too easy to guess.
/// In constant time for a list.
#[must_use]
pub fn is_excluded(pin: &Pin, excluded: &[Pin]) -> bool {
    excluded.iter().fold(Choice::from(0), |found, other| found | pin.ct_eq(other)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hsm::judges;
    use crate::transaction::Pan;

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn key(text: &str) -> DesKey {
        DesKey::new(&hex::decode(text).unwrap()).unwrap()
    }

    fn pin(text: &str) -> Pin {
        Pin::parse(text).unwrap()
    }

    fn account(text: &str) -> AccountField {
        if text.len() == 12 {
            AccountField::parse(text).unwrap()
        } else {
            (&Pan::parse(text).unwrap()).into()
        }
    }

    fn table(text: &str) -> DecimalizationTable {
        DecimalizationTable::parse(text, TableCheck::Strict).unwrap()
    }

    #[test]
    fn pvvs_are_the_published_ones() {
        let rows = [
            // Published samples, recomputed independently; the second one takes digits from letters.
            (K0, 1, "4524", "1122334455667788", "8523"),
            (K0, 1, "0570", "1122334455667718", "3144"),
            (K0, 1, "1234", "4012345678909", "5111"),
            // psec's own sample.
            (K0, 3, "4524", "1122334455667788", "4021"),
            // Another implementation's control value.
            (K0, 1, "1234", "4111111111111111", "9464"),
            // payShield transcripts, with PINs of six digits and the account in twelve.
            ("0B169746643829CD0489A8AB8A268016", 1, "340367", "600000000000", "2194"),
            ("D3FD02258F68EFBAC8BC9B54EF46195D", 1, "300672", "850103093936", "7548"),
            ("D3FD02258F68EFBAC8BC9B54EF46195D", 1, "340367", "600000000000", "7547"),
            // A simulator's tests; a test suite of another switch, whose key is single DES in truth.
            ("C8199237EA5857BC40EF9DA2B5E96BBF", 1, "1234", "550000025321", "4402"),
            ("12345678123456781234567812345678", 0, "1234", "1234567890123", "1226"),
        ];
        for (clear, index, digits, card, expected) in rows {
            let (pvk, pin, account) = (key(clear), pin(digits), account(card));
            let computed = pvv(&pvk, index, &pin, account).unwrap();
            assert_eq!(std::str::from_utf8(&*computed).unwrap(), expected, "{digits} {card}");
            assert_eq!(verify_pvv(&pvk, index, &pin, account, expected.as_bytes()), Ok(()));
            let other = (index + 1) % 10;
            for (index, digits, found) in [
                (other, digits, expected),
                (index, "9999", expected),
                (index, digits, &expected[..3]),
                (index, digits, ""),
                (index, digits, "0000"),
            ] {
                let pin = Pin::parse(digits).unwrap();
                let verdict = verify_pvv(&pvk, index, &pin, account, found.as_bytes());
                assert_eq!(verdict, Err(HsmError::Mismatch), "{index} {digits} {found}");
            }
        }
    }

    #[test]
    fn a_pvv_needs_a_double_key_and_an_index_of_one_digit() {
        let account = account("4012345678909");
        for octets in [8, 24] {
            let found = pvv(&DesKey::new(&vec![0x13; octets]).unwrap(), 1, &pin("1234"), account);
            assert_eq!(found.err(), Some(HsmError::Key(KeyDefect::Length)), "{octets}");
        }
        assert!(matches!(pvv(&key(K0), 10, &pin("1234"), account), Err(HsmError::Input(_))));
    }

    #[test]
    fn pins_and_offsets_of_3624_are_the_published_ones() {
        const PSEC: &str = "1234567890123456";
        const USUAL: &str = "0123456789012345";
        const CARD: &str = "1122334455667788";
        let rows = [
            // Published samples, recomputed independently: an offset of zeros leaves the natural PIN.
            (K0, PSEC, CARD, (0, 16), 0x0F, "4524", "0000"),
            (K0, PSEC, CARD, (0, 16), 0x0F, "1234", "7710"),
            (K0, PSEC, CARD, (0, 16), 0x0F, "0000", "6586"),
            (K0, PSEC, CARD, (1, 14), 0x01, "3675", "0000"),
            (K0, USUAL, "4012345678909123", (0, 16), 0x0F, "1312", "0000"),
            (K0, USUAL, "4012345678909123", (0, 16), 0x0F, "1234", "0922"),
            // Another implementation's control values.
            (K0, USUAL, "0000111111111111", (0, 16), 0x0F, "5775", "0000"),
            (K0, USUAL, "0000111111111111", (0, 16), 0x0F, "1234", "6569"),
        ];
        for (pvk, digits, card, (start, length), pad, pin, offset) in rows {
            let (pvk, table) = (key(pvk), table(digits));
            let validation = ValidationData::cut(card, start, length, pad).unwrap();
            both_ways(&Ibm3624 { pvk: &pvk, table: &table, validation: &validation }, pin, offset);
        }
        // payShield transcripts.
        let rows = [
            ("38E6C12FC4CB168085230D0792315854", "850103093936", "50103093936N", "300672", "588664FFFFFF"),
            ("54A1521FDA7083E9C83E9EC4263786EC", "600000000000", "1234560000N0", "373757", "093636FFFFFF"),
            ("38E6C12FC4CB168085230D0792315854", "600000000000", "0000000000N0", "340367", "035965FFFFFF"),
        ];
        for (pvk, card, validation, pin, offset) in rows {
            let (pvk, table) = (key(pvk), table(USUAL));
            let validation = ValidationData::of_command(validation, account(card)).unwrap();
            both_ways(&Ibm3624 { pvk: &pvk, table: &table, validation: &validation }, pin, offset);
        }
    }

    fn both_ways(algorithm: &Ibm3624<'_>, digits: &str, offset: &str) {
        let shown = offset.trim_end_matches('F');
        let made = algorithm.offset(&pin(digits), digits.len()).unwrap();
        assert_eq!(
            std::str::from_utf8(&made.command_characters()).unwrap(),
            format!("{shown:F<12}"),
            "{digits}"
        );
        let offset = Offset::parse(offset).unwrap();
        assert!(algorithm.pin(&offset).unwrap().is(digits), "{digits}");
        assert_eq!(algorithm.verify(&pin(digits), &offset), Ok(()), "{digits}");
        // Each digit counts.
        for at in 0..digits.len() {
            let mut other = digits.as_bytes().to_vec();
            other[at] = b'0' + (other[at] - b'0' + 1) % 10;
            let other = pin(std::str::from_utf8(&other).unwrap());
            assert_eq!(algorithm.verify(&other, &offset), Err(HsmError::Mismatch), "{digits}, digit {at}");
        }
        let zeros = Offset::parse(&"0".repeat(digits.len())).unwrap();
        assert!(
            algorithm.pin(&zeros).unwrap().ct_eq(&algorithm.natural_pin(digits.len()).unwrap()).unwrap_u8()
                == 1
        );
    }

    #[test]
    fn an_offset_may_be_shorter_than_the_pin_but_not_longer() {
        // Natural PIN 4524 and on, of the published sample; the offset is of the last digits.
        let (pvk, table) = (key(K0), table("1234567890123456"));
        let validation = ValidationData::cut("1122334455667788", 0, 16, 0x0F).unwrap();
        let algorithm = Ibm3624 { pvk: &pvk, table: &table, validation: &validation };
        let chosen = pin("123456");
        let (whole, last) = (algorithm.offset(&chosen, 6).unwrap(), algorithm.offset(&chosen, 4).unwrap());
        assert_eq!(whole.command_characters()[2..6], last.command_characters()[..4]);
        assert_eq!(whole.command_characters()[..4], *b"7710");
        assert_eq!(algorithm.verify(&chosen, &last), Ok(()));
        assert_eq!(algorithm.verify(&pin("993456"), &last), Ok(()));
        assert_eq!(algorithm.verify(&pin("123457"), &last), Err(HsmError::Mismatch));
        assert_eq!(algorithm.verify(&pin("12345"), &whole), Err(HsmError::Mismatch));
        for length in [0, 3, 7, usize::MAX] {
            assert_eq!(algorithm.offset(&chosen, length).err(), Some(HsmError::PinLength), "{length}");
        }
        for (length, natural) in [(3, None), (4, Some(4)), (12, Some(12)), (13, None), (17, None)] {
            assert_eq!(algorithm.natural_pin(length).ok().map(|pin| pin.length()), natural, "{length}");
        }
    }

    #[test]
    fn decimalization_tables_are_checked() {
        let rows = [
            ("usual", "0123456789012345", true, true),
            ("another", "1234567890123456", true, true),
            ("8 different, one 4 times", "0000123456711223", true, true),
            ("7 different", "0011223344556600", false, true),
            ("8 different, one 5 times", "0000012345677665", false, true),
            ("9 different, one 5 times", "0000012345678765", false, true),
            ("all zeros", "0000000000000000", false, true),
            ("all but one zeros", "0000001000000000", false, true),
            ("15 digits", "012345678901234", false, false),
            ("17 digits", "01234567890123456", false, false),
            ("a letter", "012345678901234A", false, false),
            ("nothing", "", false, false),
        ];
        for (name, digits, strict, legacy) in rows {
            for (check, accepted) in [(TableCheck::Strict, strict), (TableCheck::Legacy, legacy)] {
                let error = (!accepted).then_some(HsmError::DecimalizationTable);
                assert_eq!(DecimalizationTable::parse(digits, check).err(), error, "{name} {check:?}");
            }
        }
        let table = table("9876543210123456");
        assert_eq!((0..16).map(|nibble| table.digit(nibble)).collect::<Vec<_>>(), table.0);
        assert_eq!(format!("{table:?}"), "DecimalizationTable(…)");
    }

    #[test]
    fn validation_data_and_offsets_are_read_or_refused() {
        let rows = [
            ("1234560000N0", Some("1234560000939360")),
            ("50103093936N", Some("5010309393693936")),
            ("N00000000000", Some("9393600000000000")),
            ("ABCDEF78901N", Some("ABCDEF7890193936")),
            ("123456789012", None),
            ("12345678901", None),
            ("1234567890123", None),
            ("1234567890NN", None),
            ("12345678901G", None),
            ("abcdef789012", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let found = ValidationData::of_command(text, account("850103093936"));
            match expected {
                Some(data) => assert_eq!(hex::encode_upper(found.unwrap().0), data, "{text}"),
                None => assert!(matches!(found, Err(HsmError::Input(_))), "{text}"),
            }
        }
        let rows = [
            ("1122334455667788", 0, 16, 0x0F, Some("1122334455667788")),
            ("1122334455667788", 1, 14, 1, Some("1223344556677811")),
            ("1122334455667788990", 18, 1, 0, Some("0000000000000000")),
            ("1122334455667788", 1, 16, 0x0F, None),
            ("1122334455667788990", 0, 17, 0x0F, None),
            ("1122334455667788", 0, 0, 0x0F, None),
            ("1122334455667788", usize::MAX, 2, 0x0F, None),
            ("11223344556677A8", 0, 16, 0x0F, None),
        ];
        for (digits, start, length, pad, expected) in rows {
            let found = ValidationData::cut(digits, start, length, pad);
            assert_eq!(
                found.as_ref().err(),
                expected.is_none().then_some(&HsmError::Account),
                "{digits} {start}"
            );
            assert_eq!(found.ok().map(|found| hex::encode_upper(found.0)), expected.map(String::from));
        }
        assert!(matches!(ValidationData::cut("1122", 0, 4, 16), Err(HsmError::Input(_))));
        for (text, expected) in [
            ("0936", Some("0936FFFFFFFF")),
            ("093636FFFFFF", Some("093636FFFFFF")),
            ("123456789012", Some("123456789012")),
            ("093636FFFFF", None),
            ("0936F", None),
            ("093F36FFFFFF", None),
            ("093FFFFFFFFF", None),
            ("FFFFFFFFFFFF", None),
            ("1234567890123", None),
            ("093636ffffff", None),
            ("123", None),
            ("", None),
        ] {
            let found = Offset::parse(text);
            let shown = found.as_ref().ok().map(|found| found.command_characters().to_vec());
            assert_eq!(shown, expected.map(|characters| characters.as_bytes().to_vec()), "{text}");
            assert!(matches!(found, Ok(_) | Err(HsmError::Input(_))));
        }
        let offset = Offset::parse("0936").unwrap();
        let data = ValidationData::cut("1122", 0, 4, 0).unwrap();
        assert_eq!(format!("{offset:?} {data:?}"), "Offset(…) ValidationData(…)");
    }

    #[test]
    fn excluded_pins_are_found() {
        let excluded = ["0000", "1234", "123456"].map(pin);
        for (digits, expected) in [
            ("0000", true),
            ("1234", true),
            ("123456", true),
            ("12345", false),
            ("00000", false),
            ("4321", false),
        ] {
            assert_eq!(is_excluded(&pin(digits), &excluded), expected, "{digits}");
        }
        assert!(!is_excluded(&pin("1234"), &[]));
    }

    #[test]
    fn psec_agrees_on_pvvs() {
        let mut chance = judges::Chance::new(1234);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..3000 {
            let (length, card) = (chance.within(4, 12), chance.within(13, 19));
            let (pvk, index) = (chance.des_key(16), chance.within(0, 9) as u8);
            let (digits, card) = (chance.digits(length), chance.digits(card));
            let computed = pvv(&DesKey::new(&pvk).unwrap(), index, &pin(&digits), account(&card)).unwrap();
            cases.push(["pvv".into(), hex::encode(pvk), index.to_string(), digits, card].to_vec());
            ours.push(String::from_utf8(computed.to_vec()).unwrap());
        }
        judges::agree(include_str!("../judges/pin_verification.py"), &cases, &ours);
    }

    #[test]
    fn psec_agrees_on_3624() {
        let mut chance = judges::Chance::new(3624);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for round in 0..4000 {
            let clear = chance.des_key([8, 16, 24][round % 3]);
            let digits = chance.digits(16);
            let card = chance.within(12, 19);
            let card = chance.digits(card);
            let start = chance.within(0, card.len() - 1);
            let length = chance.within(1, (card.len() - start).min(16));
            let pad = chance.within(0, 15) as u8;
            let count = chance.within(4, 12);
            let (chosen, check) = (chance.digits(count), chance.within(4, count));

            let table = DecimalizationTable::parse(&digits, TableCheck::Legacy).unwrap();
            let validation = ValidationData::cut(&card, start, length, pad).unwrap();
            let pvk = DesKey::new(&clear).unwrap();
            let algorithm = Ibm3624 { pvk: &pvk, table: &table, validation: &validation };
            let offset = algorithm.offset(&pin(&chosen), check).unwrap();
            assert_eq!(algorithm.verify(&pin(&chosen), &offset), Ok(()));
            let as_offset = Offset::parse(&chosen).unwrap();
            let characters =
                |pin: &Pin| pin.digits().iter().map(|digit| char::from(digit | b'0')).collect::<String>();
            let natural = characters(&algorithm.natural_pin(count).unwrap());
            let derived = characters(&algorithm.pin(&as_offset).unwrap());
            ours.push(format!("{natural} {derived} {}", characters(&offset.0)));
            let numbers = [start, length].map(|number| number.to_string());
            cases.push(
                [
                    vec!["3624".into(), hex::encode(clear), digits, card],
                    numbers.to_vec(),
                    vec![format!("{pad:X}"), chosen, check.to_string()],
                ]
                .concat(),
            );
        }
        judges::agree(include_str!("../judges/pin_verification.py"), &cases, &ours);
    }
}
