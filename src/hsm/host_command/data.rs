//! Data encrypted, decrypted and translated.

use super::code::Code;
use super::fields::Fields;
use super::key::{KeyField, Role};
use super::{Answer, Commands, HostHsm};
use crate::hsm::aes::AesKey;
use crate::hsm::cipher::{self, BlockCipher};
use crate::hsm::des::DesKey;
use crate::hsm::dukpt::tdes::{Direction, KeySerialNumber, Variant};
use crate::hsm::variant_lmk::KeyType;
use std::sync::Arc;
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands = &[(b"M0", encrypt), (b"M2", decrypt), (b"M4", translate)];

/// How data are written in a command and in its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `0`: octets.
    Binary,
    /// `1`: hexadecimal digits, whose number is said and not that of the octets.
    Hexadecimal,
    /// `2`: printable characters.
    Text,
}

impl Format {
    /// A format; `otherwise` is the code of a digit that is none.
    pub(super) fn read(fields: &mut Fields<'_>, otherwise: Code) -> Result<Self, Code> {
        match fields.text(1)? {
            "0" => Ok(Self::Binary),
            "1" => Ok(Self::Hexadecimal),
            "2" => Ok(Self::Text),
            _ => Err(otherwise),
        }
    }

    /// A format of what is encrypted: not text.
    fn read_of_ciphertext(fields: &mut Fields<'_>, otherwise: Code) -> Result<Self, Code> {
        Self::read(fields, otherwise).and_then(|format| match format {
            Self::Binary | Self::Hexadecimal => Ok(format),
            Self::Text => Err(otherwise),
        })
    }

    /// Data of so many octets or characters.
    pub(super) fn take(self, fields: &mut Fields<'_>, count: usize) -> Result<Zeroizing<Vec<u8>>, Code> {
        match self {
            Self::Binary => fields.octets(count).map(|octets| Zeroizing::new(octets.to_vec())),
            Self::Hexadecimal if count % 2 == 1 => Err(Code::LENGTH),
            Self::Hexadecimal => fields.hex(count / 2),
            Self::Text => fields.text(count).map(|text| Zeroizing::new(text.as_bytes().to_vec())),
        }
    }

    /// Data that nothing follows but the end, behind their length in 4 hexadecimal digits. Some clients say
    /// how many octets the hexadecimal digits are: they mean what the command ends with.
    fn take_last(self, fields: &mut Fields<'_>) -> Result<Zeroizing<Vec<u8>>, Code> {
        let count = fields.hex_number(4)?;
        let is_of_octets = self == Self::Hexadecimal && fields.clone().hex_digits(2 * count).is_ok();
        let is_there = count <= fields.left();
        self.take(fields, if is_of_octets { 2 * count } else { count }).map_err(|code| {
            // So many are there, and are not what the format says.
            if code == Code::INPUT && is_there { Code::DATA_FORMAT } else { code }
        })
    }

    /// Data behind their length.
    fn written(self, data: &[u8]) -> Zeroizing<Vec<u8>> {
        let data = match self {
            Self::Binary | Self::Text => Zeroizing::new(data.to_vec()),
            Self::Hexadecimal => Zeroizing::new(hex::encode_upper(data).into_bytes()),
        };
        Zeroizing::new([format!("{:04X}", data.len()).as_bytes(), data.as_slice()].concat())
    }
}

/// A mode of operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// `00`: each block by itself.
    Ecb,
    /// `01`: each chained to the one before.
    Cbc,
}

impl Mode {
    fn read(fields: &mut Fields<'_>, otherwise: Code) -> Result<Self, Code> {
        match fields.text(2)? {
            "00" => Ok(Self::Ecb),
            "01" => Ok(Self::Cbc),
            _ => Err(otherwise),
        }
    }
}

/// Key for data, under any name: those of data, and a payShield's own for DEK, ZEK and TEK.
const DATA: Role =
    Role { types: &[], usages: &[*b"D0", *b"21", *b"22", *b"23"], modes: b"BDE", is_for_pins: false };

/// A key for data as a command has it, not opened yet.
struct Named<'a> {
    key: KeyField<'a>,
    role: Role,
    /// Of a base derivation key: the transaction whose data key it is.
    ksn: Option<KeySerialNumber>,
}

impl<'a> Named<'a> {
    /// Its type, the key, of a base derivation key the serial number. `otherwise` is the code of a type that
    /// is none.
    fn read(fields: &mut Fields<'a>, modes: &'static [u8], otherwise: Code) -> Result<Self, Code> {
        let kind = fields.text(3)?;
        let data = |types| Role { types, modes, ..DATA };
        let bdk = |types| Role { types, ..Role::BDK };
        let role = match kind {
            "00A" => data(&[KeyType::Zek]),
            "00B" => data(&[KeyType::Dek]),
            "30B" => data(&[KeyType::Tek]),
            "009" => bdk(&[KeyType::Bdk1]),
            "609" => bdk(&[KeyType::Bdk2]),
            "809" => bdk(&[KeyType::Bdk3]),
            "909" => bdk(&[KeyType::Bdk4]),
            "FFF" => data(&[]),
            _ => return Err(otherwise),
        };
        let key = fields.key()?;
        if key.is_block() != (kind == "FFF") {
            return Err(otherwise);
        }
        let role = if key.is_block() && key.0.get(6..8) == Some("B0") { Role::BDK } else { role };
        let is_bdk = role.usages == Role::BDK.usages;
        let ksn = if is_bdk { Some(fields.key_serial_number()?) } else { None };
        Ok(Self { key, role, ksn })
    }

    /// The initial value that its mode needs: as many octets as its cipher's block has.
    fn initial_value(&self, mode: Mode, fields: &mut Fields<'_>) -> Result<Zeroizing<Vec<u8>>, Code> {
        match mode {
            Mode::Ecb => Ok(Zeroizing::default()),
            Mode::Cbc => fields.hex(self.key.block_octets()),
        }
    }

    fn open(&self, hsm: &HostHsm) -> Result<DataKey, Code> {
        if let Some(ksn) = self.ksn {
            let key = hsm.transaction_key(self.key, ksn)?;
            return Ok(DataKey::Des(Arc::new(key.des_key(Variant::Data(Direction::Request))?)));
        }
        let opened = hsm.lmks.open(self.key, &self.role)?;
        if self.key.block_octets() == 16 {
            return opened.aes().map(DataKey::Aes);
        }
        opened.des().map(DataKey::Des)
    }
}

/// A key that data are encrypted under.
enum DataKey {
    Des(Arc<DesKey>),
    Aes(Arc<AesKey>),
}

impl DataKey {
    fn encrypt(&self, mode: Mode, iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Code> {
        match self {
            Self::Des(key) => encrypted(key.as_ref(), mode, iv, data),
            Self::Aes(key) => encrypted(key.as_ref(), mode, iv, data),
        }
    }

    fn decrypt(&self, mode: Mode, iv: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>, Code> {
        match self {
            Self::Des(key) => decrypted(key.as_ref(), mode, iv, data),
            Self::Aes(key) => decrypted(key.as_ref(), mode, iv, data),
        }
    }

    /// What the next part of the data is chained to: the last block of ciphertext, in hexadecimal digits.
    fn next_value(&self, mode: Mode, ciphertext: &[u8]) -> String {
        let octets = match self {
            Self::Des(_) => 8,
            Self::Aes(_) => 16,
        };
        let last = ciphertext.rchunks(octets).next().filter(|_| mode == Mode::Cbc);
        last.map(hex::encode_upper).unwrap_or_default()
    }
}

fn encrypted<const N: usize>(
    key: &impl BlockCipher<N>,
    mode: Mode,
    iv: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Code> {
    check_length::<N>(data)?;
    Ok(match mode {
        Mode::Ecb => cipher::ecb_encrypt(key, data)?,
        Mode::Cbc => cipher::cbc_encrypt(key, iv.try_into().map_err(|_| Code::INPUT)?, data)?,
    })
}

fn decrypted<const N: usize>(
    key: &impl BlockCipher<N>,
    mode: Mode,
    iv: &[u8],
    data: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Code> {
    check_length::<N>(data)?;
    Ok(match mode {
        Mode::Ecb => cipher::ecb_decrypt(key, data)?,
        Mode::Cbc => cipher::cbc_decrypt(key, iv.try_into().map_err(|_| Code::INPUT)?, data)?,
    })
}

/// That data are whole blocks, one at least.
fn check_length<const N: usize>(data: &[u8]) -> Result<(), Code> {
    if data.is_empty() || !data.len().is_multiple_of(N) { Err(Code::LENGTH) } else { Ok(()) }
}

/// `M0`: mode (2), formats of input and output (1, 1), key type (3), key, KSN descriptor (3) and KSN of a
/// base derivation key, initial value when chained, length (4), data → next initial value when chained,
/// length (4), data.
fn encrypt(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let mode = Mode::read(fields, Code::MODE)?;
    let input = Format::read(fields, Code::INPUT_FORMAT)?;
    let output = Format::read_of_ciphertext(fields, Code::OUTPUT_FORMAT)?;
    let named = Named::read(fields, b"BE", Code::KEY_TYPE_HERE)?;
    let iv = named.initial_value(mode, fields)?;
    let data = input.take_last(fields)?;
    hsm.lmk(fields.end()?)?;
    let key = named.open(hsm)?;
    let ciphertext = key.encrypt(mode, &iv, &data)?;
    let next = key.next_value(mode, &ciphertext);
    Ok(Answer::done([next.as_bytes(), &output.written(&ciphertext)].concat()))
}

/// `M2`: as `M0`, from ciphertext to clear data.
fn decrypt(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let mode = Mode::read(fields, Code::MODE)?;
    let input = Format::read_of_ciphertext(fields, Code::INPUT_FORMAT)?;
    let output = Format::read(fields, Code::OUTPUT_FORMAT)?;
    let named = Named::read(fields, b"BD", Code::KEY_TYPE_HERE)?;
    let iv = named.initial_value(mode, fields)?;
    let ciphertext = input.take_last(fields)?;
    hsm.lmk(fields.end()?)?;
    let key = named.open(hsm)?;
    let clear = key.decrypt(mode, &iv, &ciphertext)?;
    let next = key.next_value(mode, &ciphertext);
    Ok(Answer::done([next.as_bytes(), &output.written(&clear)].concat()))
}

/// `M4`: modes of source and destination (2, 2), formats (1, 1), then key type (3), key and KSN of each,
/// initial value of each that is chained, length (4), data → next initial values, length (4), data.
fn translate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let from_mode = Mode::read(fields, Code::MODE)?;
    let to_mode = Mode::read(fields, Code::DESTINATION_MODE)?;
    let input = Format::read_of_ciphertext(fields, Code::INPUT_FORMAT)?;
    let output = Format::read_of_ciphertext(fields, Code::OUTPUT_FORMAT)?;
    let from = Named::read(fields, b"BD", Code::KEY_TYPE_HERE)?;
    let to = Named::read(fields, b"BE", Code::DESTINATION_KEY_TYPE)?;
    let from_iv = from.initial_value(from_mode, fields)?;
    let to_iv = to.initial_value(to_mode, fields)?;
    let data = input.take_last(fields)?;
    hsm.lmk(fields.end()?)?;
    let from = from.open(hsm)?;
    let to = to.open(hsm).map_err(Code::of_destination)?;
    let clear = from.decrypt(from_mode, &from_iv, &data)?;
    let ciphertext = to.encrypt(to_mode, &to_iv, &clear)?;
    let next = from.next_value(from_mode, &data) + &to.next_value(to_mode, &ciphertext);
    Ok(Answer::done([next.as_bytes(), &output.written(&ciphertext)].concat()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::HostHsm;
    use super::super::transcripts::{exchanges, transcript, written};
    use crate::hsm::key_block::header::{FullHeader, Header};
    use crate::hsm::key_block::thales::{Protection, Version, test_lmk};

    /// A key block under the test LMK of version 0, or for AES of version 1; hexadecimal digits.
    pub(crate) fn wrapped(usage: &[u8; 2], algorithm: u8, key: &str) -> String {
        wrapped_for(usage, algorithm, b'N', key)
    }

    pub(crate) fn wrapped_for(usage: &[u8; 2], algorithm: u8, mode: u8, key: &str) -> String {
        wrapped_with(usage, algorithm, (mode, b'E'), key)
    }

    /// Under triple DES, of this exportability.
    pub(crate) fn wrapped_to_go(usage: &[u8; 2], exportability: u8, key: &str) -> String {
        wrapped_with(usage, b'T', (b'N', exportability), key)
    }

    fn wrapped_with(usage: &[u8; 2], algorithm: u8, (mode, exportability): (u8, u8), key: &str) -> String {
        let (protection, context) = match algorithm {
            b'A' => (Protection::new(Version::Aes, &test_lmk::AES), *b"02"),
            _ => (Protection::new(Version::TripleDes, &test_lmk::TRIPLE_DES), *b"01"),
        };
        let fixed = Header { usage: *usage, algorithm, mode, version: *b"00", exportability };
        let header = FullHeader { fixed, context, optional: Vec::new() };
        protection.unwrap().wrap(&header, &hex::decode(key).unwrap(), &[0; 32]).unwrap()
    }

    #[test]
    fn data_are_encrypted_as_by_a_device() {
        transcript(&[
            ("M0 00 1 1 FFF DEK 0010 ABCDEF1234567890 %01", "M1 00 0010 6DD932DE48520285"),
            ("M2 00 1 1 FFF DEK 0010 6DD932DE48520285 %01", "M3 00 0010 ABCDEF1234567890"),
            // The length of the octets.
            ("M0 00 1 1 FFF DEK 0008 ABCDEF1234567890 %01", "M1 00 0010 6DD932DE48520285"),
            ("M2 00 1 1 FFF DEK 0008 6DD932DE48520285", "M3 00 0010 ABCDEF1234567890"),
            ("M4 00 00 1 1 FFF DEK FFF DEK2 0010 6DD932DE48520285 %01", "M5 00 0010 1D8F38CC40C6F20D"),
            // A block of zeros chained is the block itself by its code.
            (
                "M0 01 1 1 FFF DEK 0000000000000000 0010 ABCDEF1234567890 %01",
                "M1 00 6DD932DE48520285 0010 6DD932DE48520285",
            ),
            (
                "M0 01 1 1 FFF DEK ABCDEF1234567890 0010 0000000000000000 %01",
                "M1 00 6DD932DE48520285 0010 6DD932DE48520285",
            ),
            (
                "M2 01 1 1 FFF DEK ABCDEF1234567890 0010 6DD932DE48520285 %01",
                "M3 00 6DD932DE48520285 0010 0000000000000000",
            ),
            (
                "M4 00 01 1 1 FFF DEK FFF DEK 0000000000000000 0010 6DD932DE48520285 %01",
                "M5 00 6DD932DE48520285 0010 6DD932DE48520285",
            ),
            (
                // Decrypted it is a block of zeros, and encrypted again the key's check value.
                "M4 01 00 1 1 FFF DEK FFF DEK ABCDEF1234567890 0010 6DD932DE48520285 %01",
                "M5 00 6DD932DE48520285 0010 9E33BC4852B1A251",
            ),
        ]);
    }

    #[test]
    fn octets_and_text_go_in_and_out() {
        exchanges(&[
            ("M0 00 0 1 FFF DEK 0008 =ABCDEF1234567890".into(), "M1 00 0010 6DD932DE48520285"),
            ("M0 00 1 0 FFF DEK 0010 ABCDEF1234567890".into(), "M1 00 0008 =6DD932DE48520285"),
            ("M2 00 0 0 FFF DEK 0008 =6DD932DE48520285 %01".into(), "M3 00 0008 =ABCDEF1234567890"),
        ]);
    }

    #[test]
    fn data_of_a_terminal_are_under_its_transaction_key() {
        // ANSI X9.24-1:2009, A.4: "4012345678909D987" and zeros, CBC.
        let bdk = wrapped(b"B0", b'T', "0123456789ABCDEFFEDCBA9876543210");
        let clear = format!("{}00000000000000", hex::encode_upper("4012345678909D987"));
        let rows = [
            ("E00001", "FC0D53B7EA1FDA9EE68AAF2E70D9B9506229BE2AA993F04F"),
            ("E00002", "A2B4E70F846E63D68775B7215EB4563DFD3037244C61CC13"),
            ("E00003", "BD751E65F10E75B6C1D5B1D283496A36C2DE21D993C387A7"),
        ];
        for (counter, ciphertext) in rows {
            let (ksn, iv) = (format!("A05 FFFF9876543210{counter}"), "0".repeat(16));
            let next = &ciphertext[32..];
            transcript(&[
                (
                    &format!("M0 01 1 1 FFF {bdk} {ksn} {iv} 0030 {clear} %01"),
                    &format!("M1 00 {next} 0030 {ciphertext}"),
                ),
                (
                    &format!("M2 01 1 1 FFF {bdk} {ksn} {iv} 0030 {ciphertext} %01"),
                    &format!("M3 00 {next} 0030 {clear}"),
                ),
            ]);
        }
    }

    #[test]
    fn data_go_under_aes_too() {
        // NIST SP 800-38A, F.1.1 and F.2.1.
        let key = wrapped(b"D0", b'A', "2B7E151628AED2A6ABF7158809CF4F3C");
        transcript(&[
            (
                &format!("M0 00 1 1 FFF {key} 0020 6BC1BEE22E409F96E93D7E117393172A"),
                "M1 00 0020 3AD77BB40D7A3660A89ECAF32466EF97",
            ),
            (
                &format!(
                    "M0 01 1 1 FFF {key} 000102030405060708090A0B0C0D0E0F 0020 6BC1BEE22E409F96E93D7E117393172A"
                ),
                "M1 00 7649ABAC8119B246CEE98E9B12E9197D 0020 7649ABAC8119B246CEE98E9B12E9197D",
            ),
            (&format!("M0 00 1 1 FFF {key} 0010 6BC1BEE22E409F96"), "M1 06"),
        ]);
    }

    /// What an answer's length cannot say.
    #[test]
    fn an_answer_that_is_too_long_is_refused() {
        let hsm = HostHsm::with_test_keys(0).unwrap();
        for (octets, code) in [(32_496, "00"), (32_512, "15")] {
            let front = written(&format!("M0 00 0 1 FFF DEK {octets:04X}"));
            let answer = hsm.answer(&[front.as_slice(), &vec![0x5A; octets]].concat()).unwrap();
            assert_eq!(&answer[2..4], code.as_bytes(), "{octets}");
            assert_eq!(answer.len(), if code == "00" { 8 + 2 * octets } else { 4 });
        }
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        transcript(&[
            ("M0 09 1 1 FFF DEK 0010 ABCDEF1234567890", "M1 02"),
            ("M0 00 3 1 FFF DEK 0010 ABCDEF1234567890", "M1 03"),
            ("M0 00 1 2 FFF DEK 0010 ABCDEF1234567890", "M1 04"),
            ("M2 00 2 1 FFF DEK 0010 ABCDEF1234567890", "M3 03"),
            ("M2 00 1 3 FFF DEK 0010 ABCDEF1234567890", "M3 04"),
            ("M0 00 1 1 001 DEK 0010 ABCDEF1234567890", "M1 05"),
            ("M0 00 1 1 00B DEK 0010 ABCDEF1234567890", "M1 05"),
            ("M0 00 1 1 FFF DEK 000E ABCDEF12345678", "M1 06"),
            ("M0 00 1 1 FFF DEK 000F ABCDEF123456789", "M1 06"),
            ("M0 00 1 1 FFF DEK 0000", "M1 06"),
            ("M0 00 1 1 FFF DEK 0010 ABCDEF12345678", "M1 15"),
            ("M0 00 1 1 FFF DEK 0010 ABCDEF123456789G", "M1 35"),
            ("M2 00 1 1 FFF DEK 0010 ABCDEF123456789G", "M3 35"),
            ("M0 00 2 1 FFF DEK 0008 =41424344454647FF", "M1 35"),
            ("M0 01 1 1 FFF DEK 00 0010 ABCDEF1234567890", "M1 15"),
            ("M0 00 1 1 FFF DEK 0010 ABCDEF1234567890 %09", "M1 13"),
            ("M0 00 1 1 FFF CVK 0010 ABCDEF1234567890", "M1 A6"),
            ("M0 00 1 1 FFF Q", "M1 26"),
            ("M0 00 1 1 FFF BDK1 A05 FFFF000001315240003G 0010 ABCDEF1234567890", "M1 15"),
            ("M4 00 09 1 1 FFF DEK FFF DEK 0010 6DD932DE48520285", "M5 07"),
            ("M4 00 00 1 1 FFF DEK 001 DEK 0010 6DD932DE48520285", "M5 08"),
            ("M4 09 00 1 1 FFF DEK FFF DEK 0010 6DD932DE48520285", "M5 02"),
            ("M4 00 00 1 2 FFF DEK FFF DEK 0010 6DD932DE48520285", "M5 04"),
            // Under the variant LMK, and neither parity is odd.
            ("M0 00 1 1 00B U8463435FC4B4DAA0C49025272C29B12D 0010 ABCDEF1234567890", "M1 10"),
        ]);
    }
}
