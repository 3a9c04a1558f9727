//! DUKPT with TDES (ANSI X9.24-1:2009, annex A): one key per transaction, from a base derivation key (BDK)
//! and the key serial number (KSN) that came with the message. The host's side; a terminal's is
//! [`super::terminal`].
//!
//! ```text
//! KSN, 80 bits   F F F F 9 8 7 6 5 4 | 3 2 1 0 E      0 0 0 0 1
//!                key set id, 40 bits | device id, 19 bits, and transaction counter, 21 bits
//! ```
//! Pure. Knows no PIN block and no key block. The parity of derived keys is as it falls.

use crate::hsm::cipher::{Padding, cbc_decrypt, cbc_encrypt};
use crate::hsm::des::{BLOCK, DesKey};
use crate::hsm::{HsmError, KeyDefect, mac};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Octets of a key: BDK, initial key, transaction key and working keys are all of double length.
pub const KEY: usize = 2 * BLOCK;
/// Bits of the transaction counter (X9.24-1, A.1).
pub const COUNTER_BITS: u32 = 21;
/// The most ones that a counter may have: a terminal skips the others (X9.24-1, A.3).
pub const MOST_ONES: u32 = 10;

const COUNTER: u32 = (1 << COUNTER_BITS) - 1;
/// What makes the second key of a pair, for each half (X9.24-1, A.2 and A.6).
const C0: u64 = 0xC0C0_C0C0_0000_0000;

/// A key serial number of 10 octets. Not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySerialNumber {
    /// The left 2 octets, which only the initial key depends on.
    left: u16,
    /// The right 8 octets, the counter at their end: the register of the derivation.
    right: u64,
}

/// Whether a counter of zero is one. X9.24-1 begins at one; some HSMs take the initial key itself for zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroCounter {
    /// No transaction has it.
    Refused,
    /// Its transaction key is the initial key.
    InitialKey,
}

impl KeySerialNumber {
    /// Takes 10 octets. The counter is looked at when a key is derived.
    #[must_use]
    pub fn new(octets: [u8; 10]) -> Self {
        let [a, b, right @ ..] = octets;
        Self { left: u16::from_be_bytes([a, b]), right: u64::from_be_bytes(right) }
    }

    /// Reads 16 to 20 hexadecimal characters; a shorter one is filled up with `F` on its left (X9.24-1, A.1).
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] for another length or other characters.
    pub fn parse(text: &str) -> Result<Self, HsmError> {
        let fill = 20_usize.checked_sub(text.len()).filter(|fill| *fill <= 4);
        let fill = fill.ok_or(HsmError::KeySerialNumber)?;
        let (mut digits, mut octets) = ([b'F'; 20], [0; 10]);
        digits.iter_mut().skip(fill).zip(text.bytes()).for_each(|(to, from)| *to = from);
        hex::decode_to_slice(digits, &mut octets).map_err(|_| HsmError::KeySerialNumber)?;
        Ok(Self::new(octets))
    }

    /// The 10 octets.
    #[must_use]
    pub fn octets(self) -> [u8; 10] {
        let ([a, b], [c, d, e, f, g, h, i, j]) = (self.left.to_be_bytes(), self.right.to_be_bytes());
        [a, b, c, d, e, f, g, h, i, j]
    }

    /// The key set identifier, which names the BDK: the left 5 octets, `F` in front of a short one.
    #[must_use]
    pub fn key_set_id(self) -> [u8; 5] {
        let [a, b, c, d, e, ..] = self.octets();
        [a, b, c, d, e]
    }

    /// The device identifier: 19 bits.
    #[must_use]
    pub fn device_id(self) -> u32 {
        u32::try_from(self.right >> COUNTER_BITS & 0x7_FFFF).unwrap_or_default()
    }

    /// The transaction counter: 21 bits.
    #[must_use]
    pub fn counter(self) -> u32 {
        u32::try_from(self.right & u64::from(COUNTER)).unwrap_or_default()
    }

    /// The same with a counter of zero: what the initial key belongs to, and the name to keep it under.
    #[must_use]
    pub fn initial(self) -> Self {
        Self { right: self.right & !u64::from(COUNTER), ..self }
    }

    /// The same with another counter.
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] for more than 21 bits.
    pub fn with_counter(self, counter: u32) -> Result<Self, HsmError> {
        let counter = Some(counter).filter(|counter| *counter <= COUNTER).ok_or(HsmError::KeySerialNumber)?;
        Ok(Self { right: self.initial().right | u64::from(counter), ..self })
    }
}

impl std::fmt::Display for KeySerialNumber {
    /// 20 upper-case hexadecimal characters.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04X}{:016X}", self.left, self.right)
    }
}

impl std::fmt::Debug for KeySerialNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySerialNumber({self})")
    }
}

/// How many hexadecimal characters each part of a KSN has, in the three characters of a payShield's KSN
/// descriptor: `A05` is a BDK identifier of ten, no sub-key identifier and a device identifier of five. The
/// counter's five follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KsnDescriptor {
    bdk_id: usize,
    sub_key_id: usize,
    device_id: usize,
}

impl KsnDescriptor {
    /// Reads three hexadecimal characters.
    ///
    /// # Errors
    /// [`HsmError::Input`] for others, and for parts that make no KSN of 16 to 20 characters with the
    /// counter.
    pub fn parse(text: &str) -> Result<Self, HsmError> {
        let length = |digit: u8| char::from(digit).to_digit(16).map(|length| length as usize);
        let parts = match text.as_bytes() {
            [bdk, sub, device] => length(*bdk).zip(length(*sub)).zip(length(*device)),
            _ => None,
        };
        let read = parts.map(|((bdk_id, sub_key_id), device_id)| Self { bdk_id, sub_key_id, device_id });
        let sound = read.filter(|read| (16..=20).contains(&read.characters()));
        sound.ok_or(HsmError::Input("KSN descriptor"))
    }

    /// How many characters a KSN of this form has: 16 to 20.
    #[must_use]
    pub fn characters(self) -> usize {
        self.bdk_id + self.sub_key_id + self.device_id + 5
    }

    /// Reads a KSN of this form, and the BDK identifier that is its first characters.
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] for another length or other characters.
    pub fn read(self, text: &str) -> Result<(KeySerialNumber, &str), HsmError> {
        let bdk_id = text.get(..self.bdk_id).filter(|_| text.len() == self.characters());
        Ok((KeySerialNumber::parse(text)?, bdk_id.ok_or(HsmError::KeySerialNumber)?))
    }
}

/// A base derivation key: the schedules of its two keys. Prints nothing of itself.
pub struct BaseDerivationKey {
    left: DesKey,
    right: DesKey,
}

impl BaseDerivationKey {
    /// Takes a clear key of 16 octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8]) -> Result<Self, HsmError> {
        let (left, right) = halves(exactly(clear)?);
        let masked = join(left ^ C0, right ^ C0);
        Ok(Self { left: DesKey::new(clear)?, right: DesKey::new(masked.as_slice())? })
    }

    /// The initial key of the device that this KSN names (X9.24-1, A.6). The counter does not matter.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn initial_key(&self, ksn: KeySerialNumber) -> Result<InitialKey, HsmError> {
        let initial = ksn.initial();
        let serial = u64::from(initial.left) << 48 | initial.right >> 16;
        let key = join(encrypt(&self.left, serial), encrypt(&self.right, serial));
        InitialKey::new(key.as_slice(), ksn)
    }
}

/// The initial key of a device, with the schedules that its first derivation needs. Prints its serial number
/// only.
pub struct InitialKey {
    first: OneWay,
    key: TransactionKey,
    ksn: KeySerialNumber,
}

impl InitialKey {
    /// Takes a clear initial key of 16 octets and its device's KSN; the counter does not matter.
    ///
    /// # Errors
    /// [`HsmError::Key`] for another length.
    pub fn new(clear: &[u8], ksn: KeySerialNumber) -> Result<Self, HsmError> {
        let key = TransactionKey(Zeroizing::new(*exactly(clear)?));
        Ok(Self { first: OneWay::new(&key)?, key, ksn: ksn.initial() })
    }

    /// The device's KSN with a counter of zero.
    #[must_use]
    pub fn ksn(&self) -> KeySerialNumber {
        self.ksn
    }

    /// The 16 octets, to be wrapped under another key.
    #[must_use]
    pub fn octets(&self) -> &[u8; KEY] {
        self.key.octets()
    }

    /// The transaction key of this KSN: one derivation for every one in its counter, from the left
    /// (X9.24-1, A.3).
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] when it is another device's, or its counter has more than ten ones or is
    /// a zero that is refused.
    pub fn transaction_key(
        &self,
        ksn: KeySerialNumber,
        zero: ZeroCounter,
    ) -> Result<TransactionKey, HsmError> {
        let mut rest = ksn.counter();
        let counts = rest != 0 || zero == ZeroCounter::InitialKey;
        if !counts || rest.count_ones() > MOST_ONES || ksn.initial() != self.ksn {
            return Err(HsmError::KeySerialNumber);
        }
        let mut key = None;
        while rest != 0 {
            rest ^= 1 << rest.ilog2();
            let register = ksn.right ^ u64::from(rest);
            key = Some(match key {
                None => self.first.derive(&self.key, register),
                Some(key) => OneWay::new(&key)?.derive(&key, register),
            });
        }
        Ok(key.unwrap_or_else(|| TransactionKey(self.key.0.clone())))
    }

    /// The key that a terminal keeps for a counter with a single one.
    pub(super) fn first_key(&self, counter: u32) -> TransactionKey {
        self.first.derive(&self.key, self.ksn.right | u64::from(counter))
    }
}

impl std::fmt::Debug for InitialKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InitialKey({})", self.ksn)
    }
}

/// The schedules of the non-reversible key generation process of one key (X9.24-1, A.2): single DES under its
/// left half, and under its left half with `C0` in it. They are kept for initial keys, which every message
/// asks for.
struct OneWay {
    plain: DesKey,
    masked: DesKey,
}

impl OneWay {
    fn new(key: &TransactionKey) -> Result<Self, HsmError> {
        let (left, _) = halves(&key.0);
        let masked = Zeroizing::new((left ^ C0).to_be_bytes());
        Ok(Self { plain: DesKey::new(&left.to_be_bytes())?, masked: DesKey::new(masked.as_slice())? })
    }

    /// The key that follows from this one, whose schedules these are.
    fn derive(&self, key: &TransactionKey, register: u64) -> TransactionKey {
        let half = |schedule: &DesKey, right| encrypt(schedule, register ^ right) ^ right;
        let (_, right) = halves(&key.0);
        TransactionKey(join(half(&self.masked, right ^ C0), half(&self.plain, right)))
    }
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the terminal.
    Request,
    /// To the terminal.
    Response,
}

/// What a working key is for (X9.24-1, A.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// PIN encryption.
    Pin,
    /// Message authentication.
    Mac(Direction),
    /// Data encryption: the variant encrypted under itself, so that it does not lead back.
    Data(Direction),
}

impl Variant {
    /// What each half of the transaction key is changed by.
    fn constant(self) -> u64 {
        match self {
            Self::Pin => 0x0000_0000_0000_00FF,
            Self::Mac(Direction::Request) => 0x0000_0000_0000_FF00,
            Self::Mac(Direction::Response) => 0x0000_0000_FF00_0000,
            Self::Data(Direction::Request) => 0x0000_0000_00FF_0000,
            Self::Data(Direction::Response) => 0x0000_00FF_0000_0000,
        }
    }
}

/// The key of one transaction, 16 octets, wiped when dropped. Works through its variants only; prints
/// nothing.
pub struct TransactionKey(Zeroizing<[u8; KEY]>);

impl TransactionKey {
    /// The 16 octets. No message is worked on with them: see [`TransactionKey::working_key`].
    #[must_use]
    pub fn octets(&self) -> &[u8; KEY] {
        &self.0
    }

    /// The 16 octets of a working key (X9.24-1, A.4.1).
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn working_key(&self, variant: Variant) -> Result<Zeroizing<[u8; KEY]>, HsmError> {
        let (left, right) = halves(&self.0);
        let (left, right) = (left ^ variant.constant(), right ^ variant.constant());
        let key = join(left, right);
        match variant {
            Variant::Pin | Variant::Mac(_) => Ok(key),
            Variant::Data(_) => {
                let one_way = DesKey::new(key.as_slice())?;
                Ok(join(encrypt(&one_way, left), encrypt(&one_way, right)))
            }
        }
    }

    /// A working key's schedule.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn des_key(&self, variant: Variant) -> Result<DesKey, HsmError> {
        DesKey::new(self.working_key(variant)?.as_slice())
    }

    /// The MAC over a message: the left 4 octets of ISO/IEC 9797-1 algorithm 3, padding method 1 (X9.24-1,
    /// A.4.1).
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn mac(&self, direction: Direction, data: &[u8]) -> Result<[u8; 4], HsmError> {
        let key = self.des_key(Variant::Mac(direction))?;
        let [a, b, c, d, ..] = mac::algorithm3(&key, Padding::Method1, data)?;
        Ok([a, b, c, d])
    }

    /// Checks a MAC of 4 octets in constant time.
    ///
    /// # Errors
    /// [`HsmError::MacMismatch`], also for another length.
    pub fn verify_mac(&self, direction: Direction, data: &[u8], mac: &[u8]) -> Result<(), HsmError> {
        let equal = self.mac(direction, data)?.as_slice().ct_eq(mac);
        if equal.into() { Ok(()) } else { Err(HsmError::MacMismatch) }
    }

    /// Encrypts whole blocks in CBC mode (X9.24-1, A.4.1, which has an IV of zeros).
    ///
    /// # Errors
    /// [`HsmError::Input`] unless `data` is a multiple of 8 octets.
    pub fn encrypt(&self, direction: Direction, iv: [u8; BLOCK], data: &[u8]) -> Result<Vec<u8>, HsmError> {
        cbc_encrypt(&self.des_key(Variant::Data(direction))?, iv, data)
    }

    /// Decrypts whole blocks in CBC mode.
    ///
    /// # Errors
    /// As [`TransactionKey::encrypt`].
    pub fn decrypt(
        &self,
        direction: Direction,
        iv: [u8; BLOCK],
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        cbc_decrypt(&self.des_key(Variant::Data(direction))?, iv, data)
    }

    /// The key that follows from this one, at a counter with one more one.
    pub(super) fn future_key(&self, ksn: KeySerialNumber) -> Result<Self, HsmError> {
        Ok(OneWay::new(self)?.derive(self, ksn.right))
    }
}

fn exactly(clear: &[u8]) -> Result<&[u8; KEY], HsmError> {
    clear.try_into().map_err(|_| HsmError::Key(KeyDefect::Length))
}

fn halves(key: &[u8; KEY]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, right @ ..] = *key;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(right))
}

fn join(left: u64, right: u64) -> Zeroizing<[u8; KEY]> {
    Zeroizing::new((u128::from(left) << 64 | u128::from(right)).to_be_bytes())
}

fn encrypt(key: &DesKey, block: u64) -> u64 {
    u64::from_be_bytes(key.encrypt(block.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::Direction::{Request, Response};
    use super::*;
    use crate::hsm::judges;

    /// The BDK of X9.24-1, A.4.
    const BDK: &str = "0123456789ABCDEFFEDCBA9876543210";

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn initial(bdk: &str, ksn: KeySerialNumber) -> InitialKey {
        BaseDerivationKey::new(&octets(bdk)).unwrap().initial_key(ksn).unwrap()
    }

    fn ksn(text: &str) -> KeySerialNumber {
        KeySerialNumber::parse(text).unwrap()
    }

    #[test]
    fn transaction_keys_and_pin_blocks_are_the_published_ones() {
        // X9.24-1:2009, A.4.2 (initial sequence) and A.4.3 (sequence of counters that roll over): PIN 1234 of
        // 4012345678909.
        let rows = [
            (0x1, "042666B49184CFA368DE9628D0397BC9", "1B9C1845EB993A7A"),
            (0x2, "C46551CEF9FD24B0AA9AD834130D3BC7", "10A01C8D02C69107"),
            (0x3, "0DF3D9422ACA56E547676D07AD6BADFA", "18DC07B94797B466"),
            (0x4, "279C0F6AEED0BE652B2C733E1383AE91", "0BC79509D5645DF7"),
            (0x5, "5F8DC6D2C845C125508DDC048093B83F", "5BC0AF22AD87B327"),
            (0x6, "5E415CB0BAF9F03CD0C14B63FB62FF43", "A16DF70AE36158D8"),
            (0x7, "0C8F780B7C8B49D0AE84A9EB2A6CE660", "27711C16CB257F8E"),
            (0x8, "27F66D5244FF62E1AA6F6120EDEB4280", "50E55547A5027551"),
            (0x9, "27E31064FDC565698900E2057F658E7E", "536CF7F678ACFC8D"),
            (0xA, "6CF2500A22507C7CC776CEADC1E33014", "EDABBA23221833FE"),
            (0xB, "3E8260BA04B2D620C01482B3819A18B7", "2328981C57B4BDBA"),
            (0xC, "B716E1E11CF53D80726CAEE75C3A624F", "038D03CC926CF286"),
            (0xD, "E072EDF95340535FB6C581C58FBF2533", "6C8AA97088B62C68"),
            (0xE, "A80046087F5B8F245AAD95E18429084F", "F17C9E1D72CD4950"),
            (0xF, "93DD5B956C4878472E453AAEFD32A5AA", "B170F6E7F7F2F64A"),
            (0x10, "59598DCBD9BD94C094165CE453585F57", "D5D9638559EF53D6"),
            (0x11, "2B5F01F4F0CC05EA639D523231BF1BA2", "D544F8CDD292C863"),
            (0x12, "9CF640F279C2AEE615F725EEEAC2CBAF", "7A21BD10F36DC41D"),
            (0x13, "C3DF489FDF1153B4F03DE97C27DC4C2F", "78649BD17D0DFA60"),
            (0x14, "658488507721B3F14737FA93F923CBD2", "7E7E16EA0C31AD56"),
            (0x15, "E161D1956A61F6D2F37AFD7F9CC3699A", "72105C22EBC791E6"),
            (0xFF800, "F9CDFEBF4F5B1D9EB3EC12454527E176", "33365F5CC6F23C35"),
            (0xFF801, "5BEE92627E97825C911BF619DF72CA3B", "3A86BF003F835C9D"),
            (0xFF802, "64CA2F8AB93F61B01620B00BF77C7301", "3DB977D05C36DF3F"),
            (0xFF804, "35A168695B3BA83307E871C42021DD37", "BA83243305712099"),
            (0xFF808, "12C380FCB72ED3C26FC6079AF63F4787", "B0DA04AC90A36D85"),
            (0xFF810, "D8007C833A1E3C49C6889B97A68C54FF", "2CF02BD9C309EEDA"),
            (0xFF820, "A9C9FF9B735FDD49591F296B0BF0FD70", "9D1E2F77AEEE81C6"),
            (0xFF840, "0E3E221062CB5E03A384602783A004FA", "40870B0F8BA2011C"),
            (0xFF880, "CA8225C587124DFBB87F279C0BE29727", "22E340D6ABB40981"),
            (0xFF900, "906AAC1751D4971A144D52C76C6E1F97", "1A4C10AFBA03A430"),
            (0xFFA00, "2B9E2CE7C2750337E10B54D2989EA6AF", "849763B43E5F9CFF"),
            (0xFFC00, "F9430DF975082491C77BE4EF4FDB91EE", "DEFC6F09F8927B71"),
            (0x100000, "AA4D58DB653EC74A48C75F2F047DD2B5", "73EC88AD0AC5830E"),
        ];
        let start = ksn("FFFF9876543210E00000");
        let initial = initial(BDK, start);
        assert_eq!(hex::encode_upper(initial.octets()), "6AC292FAA1315B4D858AB3A3D7D5933A");
        let clear = [0x04, 0x12, 0x74, 0xED, 0xCB, 0xA9, 0x87, 0x6F];
        for (counter, expected, block) in rows {
            let ksn = start.with_counter(counter).unwrap();
            let key = initial.transaction_key(ksn, ZeroCounter::Refused).unwrap();
            assert_eq!(hex::encode_upper(key.octets()), expected, "{ksn}");
            let pin = key.des_key(Variant::Pin).unwrap();
            assert_eq!(hex::encode_upper(pin.encrypt(clear)), block, "{ksn}");
            assert_eq!(pin.decrypt(octets(block).try_into().unwrap()), clear, "{ksn}");
        }
    }

    #[test]
    fn working_keys_are_the_published_ones() {
        // X9.24-1:2009, A.4.1: of counter 1.
        let rows = [
            (Variant::Pin, "042666B49184CF5C68DE9628D0397B36"),
            (Variant::Mac(Request), "042666B4918430A368DE9628D03984C9"),
            (Variant::Mac(Response), "042666B46E84CFA368DE96282F397BC9"),
            (Variant::Data(Request), "448D3F076D8304036A55A3D7E0055A78"),
            // Computed by two implementations.
            (Variant::Data(Response), "AD7BFC8B06AD3A08A560B4105CF8D9E5"),
        ];
        let ksn = ksn("FFFF9876543210E00001");
        let key = initial(BDK, ksn).transaction_key(ksn, ZeroCounter::Refused).unwrap();
        for (variant, expected) in rows {
            assert_eq!(hex::encode_upper(*key.working_key(variant).unwrap()), expected, "{variant:?}");
        }
    }

    #[test]
    fn macs_and_data_are_the_published_ones() {
        // X9.24-1:2009, A.4.2: MACs of request and response, then CBC of both; that of a response computed by
        // two implementations.
        let rows = [
            (
                1,
                ["9CCC7817", "20364223"],
                "FC0D53B7EA1FDA9EE68AAF2E70D9B9506229BE2AA993F04F",
                "1FCC89AF66222F27B903898BB2BC8589CDBFDE5EC6AFCC25",
            ),
            (
                2,
                ["F608A9BC", "D1FCA6BE"],
                "A2B4E70F846E63D68775B7215EB4563DFD3037244C61CC13",
                "5B692A6B1FDD5E25B0DEFAFDE1672E402F8011360CFF3508",
            ),
            (
                3,
                ["20B59A4F", "BAD4CC9C"],
                "BD751E65F10E75B6C1D5B1D283496A36C2DE21D993C387A7",
                "345992D4163E4926C927BFD8ABD5D76F087A9CE81D5A27B8",
            ),
            (
                4,
                ["C7BFA6CC", "1EB08AEE"],
                "1118F50947441BBDA3C8C70220021A12EC31CC473F7215F4",
                "418C7413576C0D1819E785D3807AF32334231FDEC23414DB",
            ),
            (
                5,
                ["0202B963", "5CBE3E81"],
                "9FD7BD1EC28845ACA93367A9DA9317BD555C6B33AE22D365",
                "7D4C109E49E83355A556AE949EED359F4404E7A2F0167C00",
            ),
        ];
        let data = b"4012345678909D987";
        let padded = b"4012345678909D987\0\0\0\0\0\0\0";
        for (counter, macs, request, response) in rows {
            let ksn = ksn("FFFF9876543210E00000").with_counter(counter).unwrap();
            let key = initial(BDK, ksn).transaction_key(ksn, ZeroCounter::Refused).unwrap();
            for (direction, mac, cipher) in [(Request, macs[0], request), (Response, macs[1], response)] {
                assert_eq!(hex::encode_upper(key.mac(direction, data).unwrap()), mac, "{ksn}");
                assert_eq!(key.encrypt(direction, [0; 8], padded).unwrap(), octets(cipher), "{ksn}");
                assert_eq!(*key.decrypt(direction, [0; 8], &octets(cipher)).unwrap(), padded, "{ksn}");
                check_mac(&key, direction, data, &octets(mac));
            }
            assert!(matches!(key.encrypt(Request, [0; 8], data), Err(HsmError::Input(_))));
            assert!(matches!(key.decrypt(Request, [0; 8], data), Err(HsmError::Input(_))));
        }
    }

    fn check_mac(key: &TransactionKey, direction: Direction, data: &[u8], mac: &[u8]) {
        assert_eq!(key.verify_mac(direction, data, mac), Ok(()));
        let longer = [mac, &[0; 4]].concat();
        let other = if direction == Request { Response } else { Request };
        for (direction, data, mac) in [
            (other, data, mac),
            (direction, &data[1..], mac),
            (direction, data, &mac[..3]),
            (direction, data, &[]),
            (direction, data, &longer),
        ] {
            assert_eq!(key.verify_mac(direction, data, mac), Err(HsmError::MacMismatch));
        }
        for bit in 0..32 {
            let mut altered = mac.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.verify_mac(direction, data, &altered), Err(HsmError::MacMismatch), "bit {bit}");
        }
    }

    #[test]
    fn a_device_has_the_same_keys() {
        // A PIN block that a payShield translated to a BDK, and the clear block in it: PIN 340367 of
        // 600000000000.
        let (ksn, bdk_id) = KsnDescriptor::parse("A05").unwrap().read("FFFF000001315240003A").unwrap();
        assert_eq!(bdk_id, "FFFF000001");
        let initial = initial("C8A16DABB957C1761652C1A49E836294", ksn);
        let key = initial.transaction_key(ksn, ZeroCounter::Refused).unwrap();
        let block = octets("741311DA9D5D6C32").try_into().unwrap();
        assert_eq!(hex::encode_upper(key.des_key(Variant::Pin).unwrap().decrypt(block)), "06346367FFFFFFFF");
        // The same device takes the initial key itself for a counter of zero.
        let zero = initial.transaction_key(ksn.initial(), ZeroCounter::InitialKey).unwrap();
        assert_eq!(zero.octets(), initial.octets());
    }

    #[test]
    fn no_key_has_a_counter_that_no_device_uses() {
        let start = ksn("FFFF9876543210E00000");
        let refused = Err(HsmError::KeySerialNumber);
        let rows = [
            ("zero", 0, refused),
            ("one", 1, Ok(())),
            ("ten ones", 0x0003FF, Ok(())),
            ("ten ones, spread", 0x155554, Ok(())),
            ("ten ones, the last of all", 0x1FF800, Ok(())),
            ("eleven ones", 0x0007FF, refused),
            ("eleven ones, spread", 0x155555, refused),
            ("all ones", 0x1FFFFF, refused),
        ];
        let initial = initial(BDK, start);
        for (name, counter, expected) in rows {
            let ksn = start.with_counter(counter).unwrap();
            let key = |zero| initial.transaction_key(ksn, zero).map(drop);
            assert_eq!(key(ZeroCounter::Refused), expected, "{name}");
            assert_eq!(key(ZeroCounter::InitialKey), if counter == 0 { Ok(()) } else { expected }, "{name}");
        }
        for other in ["FFFF9876543211000001", "FFFE9876543210E00001", "0FFF9876543210E00001"] {
            let key = initial.transaction_key(ksn(other), ZeroCounter::InitialKey);
            assert_eq!(key.err(), Some(HsmError::KeySerialNumber), "{other}");
        }
    }

    #[test]
    fn a_ksn_is_read_and_written() {
        let rows = [
            ("FFFF9876543210E00001", Some(("FFFF9876543210E00001", "FFFF987654", 0x19087, 1))),
            ("9876543210e00001", Some(("FFFF9876543210E00001", "FFFF987654", 0x19087, 1))),
            ("19876543210FFFFFF", Some(("FFF19876543210FFFFFF", "FFF1987654", 0x19087, 0x1FFFFF))),
            ("FFFF000001315240003A", Some(("FFFF000001315240003A", "FFFF000001", 0x18A92, 0x3A))),
            ("0000000000000000", Some(("FFFF0000000000000000", "FFFF000000", 0, 0))),
            ("876543210E00001", None),
            ("0FFFF9876543210E00001", None),
            ("", None),
            ("9876543210E0000G", None),
            ("+876543210E00001", None),
            ("9876543210E0000é", None),
        ];
        for (text, expected) in rows {
            let read = KeySerialNumber::parse(text);
            let Some((written, key_set, device, counter)) = expected else {
                assert_eq!(read, Err(HsmError::KeySerialNumber), "{text}");
                continue;
            };
            let read = read.unwrap();
            assert_eq!(read.to_string(), written);
            assert_eq!(KeySerialNumber::new(read.octets()), read);
            assert_eq!(hex::encode_upper(read.octets()), written);
            assert_eq!(hex::encode_upper(read.key_set_id()), key_set);
            assert_eq!((read.device_id(), read.counter()), (device, counter), "{text}");
            assert_eq!(read.initial().counter(), 0);
            assert_eq!(read.initial().with_counter(counter), Ok(read));
        }
        assert_eq!(ksn("9876543210E00001").with_counter(1 << 21), Err(HsmError::KeySerialNumber));
    }

    #[test]
    fn a_descriptor_says_how_long_a_ksn_is() {
        let rows = [
            ("A05", "FFFF000001315240003A", Ok("FFFF000001")),
            ("906", "FFFF9876543210E00001", Ok("FFFF98765")),
            ("605", "9876543210E00001", Ok("987654")),
            ("b04", "FFFF9876543210E00001", Ok("FFFF9876543")),
            ("605", "FFFF9876543210E00001", Err(HsmError::KeySerialNumber)),
            ("A05", "9876543210E00001", Err(HsmError::KeySerialNumber)),
            ("605", "9876543210E0000X", Err(HsmError::KeySerialNumber)),
            ("605", "987654321ÄE00001", Err(HsmError::KeySerialNumber)),
            ("A06", "", Err(HsmError::Input("KSN descriptor"))),
            ("604", "", Err(HsmError::Input("KSN descriptor"))),
            ("FFF", "", Err(HsmError::Input("KSN descriptor"))),
            ("A0", "", Err(HsmError::Input("KSN descriptor"))),
            ("A05 ", "", Err(HsmError::Input("KSN descriptor"))),
            ("G05", "", Err(HsmError::Input("KSN descriptor"))),
        ];
        for (descriptor, text, expected) in rows {
            let read = KsnDescriptor::parse(descriptor).and_then(|form| form.read(text));
            assert_eq!(read.map(|(_, bdk_id)| bdk_id), expected, "{descriptor} {text}");
        }
    }

    #[test]
    fn keys_of_another_length_are_refused_and_nothing_is_printed() {
        let serial = ksn("FFFF9876543210E00001");
        for length in [0, 8, 15, 17, 24] {
            let (key, expected) = (vec![0x13; length], Some(HsmError::Key(KeyDefect::Length)));
            assert_eq!(BaseDerivationKey::new(&key).err(), expected);
            assert_eq!(InitialKey::new(&key, serial).err(), expected);
        }
        assert_eq!(format!("{:?}", initial(BDK, serial)), "InitialKey(FFFF9876543210E00000)");
    }

    /// A KSN with a counter that a device uses.
    fn any_ksn(chance: &mut judges::Chance) -> KeySerialNumber {
        loop {
            let ksn = KeySerialNumber::new(chance.octets(10).try_into().unwrap());
            if (1..=MOST_ONES).contains(&ksn.counter().count_ones()) {
                return ksn;
            }
        }
    }

    #[test]
    fn the_standard_in_another_language_agrees() {
        let mut chance = judges::Chance::new(924);
        let (mut cases, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..2500 {
            let (bdk, ksn) = (chance.octets(KEY), any_ksn(&mut chance));
            let blocks = chance.within(1, 6);
            let data = chance.octets(8 * blocks);
            cases.push(vec!["tdes".into(), hex::encode(&bdk), ksn.to_string(), hex::encode(&data)]);
            let initial = initial(&hex::encode(&bdk), ksn);
            let key = initial.transaction_key(ksn, ZeroCounter::Refused).unwrap();
            let mut answer = vec![hex::encode_upper(initial.octets()), hex::encode_upper(key.octets())];
            let both = [Request, Response];
            let variants =
                [Variant::Pin].into_iter().chain(both.map(Variant::Mac)).chain(both.map(Variant::Data));
            answer.extend(variants.map(|variant| hex::encode_upper(*key.working_key(variant).unwrap())));
            let message = &data[..data.len() - 1];
            answer.extend(both.map(|direction| hex::encode_upper(key.mac(direction, message).unwrap())));
            answer.extend(both.map(|way| hex::encode_upper(key.encrypt(way, [0; 8], &data).unwrap())));
            ours.push(answer.join(" "));
        }
        judges::agree(include_str!("../judges/dukpt.py"), &cases, &ours);
    }
}
