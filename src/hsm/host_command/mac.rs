//! Message authentication codes.

use super::code::Code;
use super::data::Format;
use super::fields::Fields;
use super::key::{KeyField, Opened, Role};
use super::mac_parts::{Part, Piece};
use super::{Answer, Commands, HostHsm};
use crate::hsm::HsmError;
use crate::hsm::cipher::{BlockCipher, Padding, cmac};
use crate::hsm::dukpt::tdes::{Direction, TransactionKey, Variant};
use crate::hsm::mac::{algorithm1, algorithm3, verify_left};
use crate::hsm::variant_lmk::KeyType;
use std::ops::Range;
use zeroize::Zeroizing;

pub(super) const COMMANDS: Commands = &[(b"M6", generate), (b"M8", verify), (b"GW", of_terminal)];

/// How a MAC is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    /// `1`: ISO/IEC 9797-1 algorithm 1, every block under the whole key.
    One,
    /// `3`: ISO/IEC 9797-1 algorithm 3.
    Three,
    /// `6`: CMAC, which pads by itself.
    Cmac,
}

impl Algorithm {
    /// The usages of a key block for it (X9.143, 6.3.1).
    fn usages(self) -> &'static [[u8; 2]] {
        const ONE: [[u8; 2]; 2] = [*b"M0", *b"M1"];
        const THREE: [[u8; 2]; 1] = [*b"M3"];
        const CMAC: [[u8; 2]; 1] = [*b"M6"];
        match self {
            Self::One => &ONE,
            Self::Three => &THREE,
            Self::Cmac => &CMAC,
        }
    }
}

/// How a MAC is computed, and under which key.
pub(super) struct Method<'a> {
    /// Octets of the MAC.
    pub(super) size: usize,
    algorithm: Algorithm,
    /// None: data are whole blocks.
    padding: Option<Padding>,
    pub(super) key: KeyField<'a>,
    pub(super) role: Role,
}

/// What `M6` and `M8` have alike.
struct Message<'a> {
    part: Part,
    method: Method<'a>,
    /// What the parts before have come to.
    iv: Zeroizing<Vec<u8>>,
    data: Zeroizing<Vec<u8>>,
}

impl<'a> Message<'a> {
    /// Part (1), format of data (1), [`Method`], initial value in parts 2 and 3, length (4), data. `modes` are those of
    /// use that the key may have.
    fn read(fields: &mut Fields<'a>, modes: &'static [u8]) -> Result<Self, Code> {
        let part = Part::read(fields, Code::MODE)?;
        let format = Format::read(fields, Code::INPUT_FORMAT)?;
        let method = Method::read(fields, modes)?;
        let iv = method.initial_value(part, fields)?;
        let count = fields.hex_number(4)?;
        let data = format.take(fields, count)?;
        Ok(Self { part, method, iv, data })
    }

    /// The MAC, or what a part that others follow has come to.
    fn compute(&self, key: &Opened) -> Result<Vec<u8>, Code> {
        self.method.compute(key, self.part, &self.iv, &self.data)
    }
}

impl<'a> Method<'a> {
    /// Size (1), algorithm (1), padding (1), key type (3), key.
    pub(super) fn read(fields: &mut Fields<'a>, modes: &'static [u8]) -> Result<Self, Code> {
        let size = match fields.text(1)? {
            "0" => 4,
            "1" => 8,
            _ => return Err(Code::LENGTH),
        };
        let algorithm = match fields.text(1)? {
            "1" => Algorithm::One,
            "3" => Algorithm::Three,
            "6" => Algorithm::Cmac,
            _ => return Err(Code::ALGORITHM),
        };
        let padding = match fields.text(1)? {
            "0" => None,
            "1" => Some(Padding::Method1),
            "2" => Some(Padding::Method2),
            _ => return Err(Code::PADDING),
        };
        let (types, is_block): (&[KeyType], bool) = match fields.text(3)? {
            "003" => (&[KeyType::Tak], false),
            "008" => (&[KeyType::Zak], false),
            "FFF" => (&[], true),
            _ => return Err(Code::KEY_TYPE_HERE),
        };
        let key = fields.key()?;
        if key.is_block() != is_block {
            return Err(Code::KEY_TYPE_HERE);
        }
        let role = Role { types, usages: algorithm.usages(), modes, is_for_pins: false };
        Ok(Self { size, algorithm, padding, key, role })
    }

    /// What the parts before have come to: a block of the key's cipher.
    pub(super) fn initial_value(
        &self,
        part: Part,
        fields: &mut Fields<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Code> {
        part.initial_value(fields, self.key.block_octets())
    }

    /// The MAC, or what a part that others follow has come to.
    pub(super) fn compute(&self, key: &Opened, part: Part, iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Code> {
        let padding = self.padding.unwrap_or(Padding::Method1);
        let of = Piece { part, iv, data };
        if self.key.block_octets() == 16 {
            if self.algorithm != Algorithm::Cmac {
                return Err(Code::ALGORITHM);
            }
            let key = key.aes()?;
            return self.chained::<16>(&of, &*key, |data| Ok(cmac(&*key, data)));
        }
        let whole = key.des()?;
        let whole = whole.as_ref();
        match self.algorithm {
            Algorithm::One => self.chained(&of, whole, |data| Ok(algorithm1(whole, padding, data))),
            Algorithm::Three => self.chained(&of, &whole.first(), |data| algorithm3(whole, padding, data)),
            Algorithm::Cmac => self.chained(&of, whole, |data| Ok(cmac(whole, data))),
        }
    }

    /// The part's chain or MAC, once it is of a length that it may have.
    fn chained<const N: usize>(
        &self,
        of: &Piece<'_>,
        key: &impl BlockCipher<N>,
        mac: impl Fn(&[u8]) -> Result<[u8; N], HsmError>,
    ) -> Result<Vec<u8>, Code> {
        let is_ended = of.part.is_end();
        let is_padded = is_ended && (self.padding.is_some() || self.algorithm == Algorithm::Cmac);
        if of.data.is_empty() || !(is_padded || of.data.len().is_multiple_of(N)) {
            return Err(Code::LENGTH);
        }
        let block = of.chained(key, mac)?;
        let octets = if is_ended { self.size } else { N };
        Ok(block.into_iter().take(octets).collect())
    }
}

/// `M6`: the message → MAC (8 or 16), or the next initial value in parts 1 and 2.
fn generate(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let message = Message::read(fields, b"CG")?;
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(message.method.key, &message.method.role)?;
    Ok(Answer::done(hex::encode_upper(message.compute(&key)?)))
}

/// `M8`: the message, MAC (8 or 16) in parts 0 and 3 → nothing, or the next initial value in parts 1 and 2.
fn verify(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let message = Message::read(fields, b"CV")?;
    let mac = if message.part.is_end() { Some(fields.hex(message.method.size)?) } else { None };
    hsm.lmk(fields.end()?)?;
    let key = hsm.lmks.open(message.method.key, &message.method.role)?;
    let computed = message.compute(&key)?;
    match mac {
        Some(mac) => {
            verify_left(&computed, &mac)?;
            Ok(Answer::done([]))
        }
        None => Ok(Answer::done(hex::encode_upper(computed))),
    }
}

/// Which octets of a terminal's MAC there are, in modes 1 to 3: all, the left 4, the right 4; and the one method, X9.19
/// under the key for requests (ANSI X9.24-1, A.4.1).
fn part(mode: &str, method: &str) -> Result<Range<usize>, Code> {
    match (mode, method) {
        ("1", "1") => Ok(0..8),
        ("2", "1") => Ok(0..4),
        ("3", "1") => Ok(4..8),
        _ => Err(Code::INPUT),
    }
}

/// A MAC that a command brings beside something else of a terminal's transaction.
pub(super) struct TerminalMac<'a> {
    part: Range<usize>,
    mac: Zeroizing<Vec<u8>>,
    data: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Mode (1 to 3) and method (1) of a MAC that follows later.
    pub(super) fn terminal_mac_part(&mut self) -> Result<Range<usize>, Code> {
        part(self.text(1)?, self.text(1)?)
    }

    /// The MAC (8 or 16), length in 4 decimal digits, data.
    pub(super) fn terminal_mac(&mut self, part: Range<usize>) -> Result<TerminalMac<'a>, Code> {
        let mac = self.hex(part.len())?;
        let count = self.number(4)?;
        Ok(TerminalMac { part, mac, data: self.octets(count)? })
    }
}

impl TerminalMac<'_> {
    /// Whether it is right: [`Code::DONE`] or [`Code::MISMATCH`].
    pub(super) fn verdict(&self, key: &TransactionKey) -> Result<Code, Code> {
        let computed = x919(key, self.data)?;
        match verify_left(computed.get(self.part.clone()).unwrap_or_default(), &self.mac) {
            Ok(()) => Ok(Code::DONE),
            Err(HsmError::MacMismatch) => Ok(Code::MISMATCH),
            Err(other) => Err(other.into()),
        }
    }
}

/// X9.19 under a transaction's key for requests.
fn x919(key: &TransactionKey, data: &[u8]) -> Result<[u8; 8], Code> {
    Ok(algorithm3(&key.des_key(Variant::Mac(Direction::Request))?, Padding::Method1, data)?)
}

/// `GW`: mode (1), method (1), BDK, KSN descriptor (3), KSN, MAC to verify (8 or 16), length in 4 decimal
/// digits, data → MAC that was made (8 or 16). Modes 1 to 3 verify, 4 to 6 make the same parts.
fn of_terminal(hsm: &HostHsm, fields: &mut Fields<'_>) -> Result<Answer, Code> {
    let mode = fields.text(1)?;
    let (verifies, as_verifying) = match mode {
        "4" => (false, "1"),
        "5" => (false, "2"),
        "6" => (false, "3"),
        _ => (true, mode),
    };
    let octets = part(as_verifying, fields.text(1)?)?;
    let bdk = fields.key()?;
    let ksn = fields.key_serial_number()?;
    let expected = if verifies { Some(fields.hex(octets.len())?) } else { None };
    let count = fields.number(4)?;
    let data = fields.octets(count)?;
    hsm.lmk(fields.end()?)?;
    let computed = x919(&hsm.transaction_key(bdk, ksn)?, data)?;
    let computed = computed.get(octets).unwrap_or_default();
    match expected {
        Some(expected) => {
            verify_left(computed, &expected)?;
            Ok(Answer::done([]))
        }
        None => Ok(Answer::done(hex::encode_upper(computed))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::tests::wrapped;
    use super::super::transcripts::{ask, exchanges, transcript, written};

    const K0: &str = "0123456789ABCDEFFEDCBA9876543210";

    #[test]
    fn macs_are_those_of_a_device() {
        transcript(&[
            ("M6 0 1 0 1 1 FFF TAK 0008 ABCDEF12 %01", "M7 00 F9369211"),
            ("M8 0 1 0 1 1 FFF TAK 0008 ABCDEF12 F9369211 %01", "M9 00"),
            ("M8 0 1 0 1 1 FFF TAK 0008 ABCDEF12 F9369212 %01", "M9 01"),
            ("M8 0 1 0 1 1 FFF TAK 0008 ABCDEF13 F9369211 %01", "M9 01"),
        ]);
    }

    /// Of one block a double key makes the same MAC by algorithms 1 and 3.
    #[test]
    fn one_block_has_one_mac() {
        let key = wrapped(b"M3", b'T', "762673ECB637ABD9A140625D94E515FE");
        exchanges(&[(format!("M6 0 1 0 3 1 FFF {key} 0008 ABCDEF12"), "M7 00 F9369211")]);
    }

    /// Octets as they are; the counter is zero, and the initial key is the transaction's.
    #[test]
    fn a_terminals_mac_is_that_of_a_device() {
        let terminal = "1 BDK1 A05 FFFF0000000000000000";
        exchanges(&[
            (format!("GW 4 {terminal} 0005 =ABCDEF1234 %01"), "GX 00 3E3DEE3DC52E53ED"),
            (format!("GW 1 {terminal} 3E3DEE3DC52E53ED 0005 =ABCDEF1234 %01"), "GX 00"),
            (format!("GW 1 {terminal} 3E3DEE3DC52E53ED 0005 =ABCDEF1235 %01"), "GX 01"),
        ]);
    }

    #[test]
    fn macs_are_the_published_ones() {
        let x99 = wrapped(b"M1", b'D', "0123456789ABCDEF");
        let x919 = wrapped(b"M3", b'T', K0);
        let letters = wrapped(b"M3", b'T', &format!("{}{}", "40".repeat(8), "43".repeat(8)));
        let aes = wrapped(b"M6", b'A', "2B7E151628AED2A6ABF7158809CF4F3C");
        let now = hex::encode("Now is the time for all ");
        let rows = [
            // FIPS 113.
            ("1", "1", &x99, hex::encode("7654321 Now is the time for "), "F1D30F6849312CA4"),
            // ISO/IEC 9797-1, annex B.
            ("1", "1", &x99, now.clone(), "70A30640CC76DD8B"),
            ("1", "0", &x99, now.clone(), "70A30640CC76DD8B"),
            ("1", "2", &x99, now.clone(), "10E1F0F108341B6D"),
            ("3", "1", &x919, now.clone(), "A1C72E74EA3FA9B6"),
            ("3", "2", &x919, now, "E9086230CA3BE796"),
            // Published for AA… and BB…, which DES takes for these of odd parity.
            ("3", "1", &letters, hex::encode("hello world"), "3DDE5C5511661CBF"),
            ("3", "2", &letters, hex::encode("hello world"), "E16941032C3BC7D4"),
            // RFC 4493, example 2; the left half.
            ("6", "0", &aes, "6BC1BEE22E409F96E93D7E117393172A".into(), "070A16B46B4D4144"),
        ];
        for (algorithm, padding, key, data, mac) in rows {
            let length = format!("{:04X}", data.len());
            let message = format!("1{algorithm}{padding} FFF {key}");
            let octets = format!("{:04X}", data.len() / 2);
            let half = &mac[..8];
            transcript(&[
                (&format!("M6 0 1 {message} {length} {data}"), &format!("M7 00 {mac}")),
                (&format!("M8 0 1 {message} {length} {data} {mac}"), "M9 00"),
                (
                    &format!("M6 0 1 0{algorithm}{padding} FFF {key} {length} {data}"),
                    &format!("M7 00 {half}"),
                ),
            ]);
            exchanges(&[(format!("M6 0 0 {message} {octets} ={data} %01"), &format!("M7 00 {mac}"))]);
        }
    }

    #[test]
    fn a_message_in_parts_has_the_mac_of_the_whole() {
        // Published with what each part comes to.
        let key = wrapped(b"M3", b'T', "838652DF68A246046DAB6104583B201A");
        transcript(&[(&format!("M6 0 2 1 3 1 FFF {key} 0008 00000000"), "M7 00 3F431586CA33D99C")]);
        let rows = [
            ("1", "", "A9D4D96683B51333"),
            ("2", "A9D4D96683B51333", "DA46CEC9E61AF065"),
            ("2", "DA46CEC9E61AF065", "56A27E35442BD07D"),
            ("2", "56A27E35442BD07D", "B12874BED7137303"),
            ("3", "B12874BED7137303", "0D99127F7734AA58"),
        ];
        for (part, iv, next) in rows {
            let message = format!("{part} 2 1 3 1 FFF {key} {iv} 0010 0000000011111111");
            transcript(&[(&format!("M6 {message} %01"), &format!("M7 00 {next}"))]);
            let (mac, answer) = if part == "3" { (next, "") } else { ("", next) };
            transcript(&[(&format!("M8 {message} {mac} %01"), &format!("M9 00 {answer}"))]);
        }
    }

    #[test]
    fn parts_of_every_algorithm_make_the_whole() {
        let rows = [
            ("1", wrapped(b"M1", b'T', K0)),
            ("3", wrapped(b"M3", b'T', K0)),
            ("6", wrapped(b"M6", b'T', K0)),
            ("6", wrapped(b"M6", b'A', "2B7E151628AED2A6ABF7158809CF4F3C")),
        ];
        let message = "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E5130C81C46A35CE411";
        for (algorithm, key) in rows {
            for (padding, end) in [("1", 80), ("2", 80), ("1", 70), ("2", 70)] {
                let form = |part: &str| format!("M6 {part} 1 1 {algorithm} {padding} FFF {key}");
                let asked = |command: String| ask(&written(&command));
                let whole = asked(format!("{} {end:04X} {}", form("0"), &message[..end]));
                let first = asked(format!("{} 0020 {}", form("1"), &message[..32]));
                let middle = asked(format!("{} {} 0020 {}", form("2"), &first[4..], &message[32..64]));
                let rest = &message[64..end];
                let last = asked(format!("{} {} {:04X} {rest}", form("3"), &middle[4..], rest.len()));
                assert_eq!(
                    (last.as_str(), &whole[..4]),
                    (whole.as_str(), "M700"),
                    "{algorithm} {padding} {end}"
                );
            }
        }
    }

    #[test]
    fn macs_of_a_terminal_are_under_its_transaction_key() {
        // ANSI X9.24-1:2009, A.4: "4012345678909D987".
        let bdk = wrapped(b"B0", b'T', K0);
        let rows = [("E00001", "9CCC7817"), ("E00002", "F608A9BC"), ("E00003", "20B59A4F")];
        for (counter, mac) in rows {
            let key = format!("1 {bdk} A05 FFFF9876543210{counter}");
            let data = "0017 4012345678909D987";
            transcript(&[
                (&format!("GW 5 {key} {data} %01"), &format!("GX 00 {mac}")),
                (&format!("GW 2 {key} {mac} {data} %01"), "GX 00"),
                (&format!("GW 2 {key} 00000000 {data} %01"), "GX 01"),
                (&format!("GW 2 {key} {mac} 0017 4012345678909D986 %01"), "GX 01"),
            ]);
            let all = ask(&written(&format!("GW 4 {key} {data}")));
            let (left, right) = all.strip_prefix("GX00").unwrap().split_at(8);
            assert_eq!(left, mac);
            transcript(&[
                (&format!("GW 6 {key} {data}"), &format!("GX 00 {right}")),
                (&format!("GW 3 {key} {right} {data}"), "GX 00"),
                (&format!("GW 3 {key} {left} {data}"), "GX 01"),
                (&format!("GW 1 {key} {left}{right} {data}"), "GX 00"),
                (&format!("GW 1 {key} {right}{left} {data}"), "GX 01"),
            ]);
        }
    }

    #[test]
    fn what_is_wrong_has_its_own_code() {
        let single = wrapped(b"M3", b'D', "0123456789ABCDEF");
        let even = wrapped(b"M1", b'T', "0023456789ABCDEFFEDCBA9876543210");
        let aes = wrapped(b"M1", b'A', "2B7E151628AED2A6ABF7158809CF4F3C");
        transcript(&[
            ("M6 4 1 0 1 1 FFF TAK 0008 ABCDEF12", "M7 02"),
            ("M6 0 3 0 1 1 FFF TAK 0008 ABCDEF12", "M7 03"),
            ("M6 0 1 2 1 1 FFF TAK 0008 ABCDEF12", "M7 06"),
            ("M6 0 1 0 2 1 FFF TAK 0008 ABCDEF12", "M7 04"),
            ("M6 0 1 0 1 3 FFF TAK 0008 ABCDEF12", "M7 09"),
            ("M6 0 1 0 1 1 001 TAK 0008 ABCDEF12", "M7 05"),
            ("M6 0 1 0 1 1 003 TAK 0008 ABCDEF12", "M7 05"),
            ("M6 0 1 0 1 0 FFF TAK 0008 ABCDEF12", "M7 06"),
            ("M6 1 1 0 1 1 FFF TAK 0008 ABCDEF12", "M7 06"),
            ("M6 0 1 0 1 1 FFF TAK 0007 ABCDEF1", "M7 06"),
            ("M6 0 1 0 1 1 FFF TAK 0000", "M7 06"),
            ("M6 0 1 0 1 1 FFF TAK 0008 ABCDEF1", "M7 15"),
            ("M6 0 1 0 1 1 FFF TAK 0008 ABCDEFGH", "M7 15"),
            ("M6 0 1 0 1 1 FFF TAK 0008 ABCDEF12 %09", "M7 13"),
            ("M8 0 1 0 1 1 FFF TAK 0008 ABCDEF12 F93692", "M9 15"),
            ("M6 0 1 0 3 1 FFF TAK 0008 ABCDEF12", "M7 A6"),
            ("M6 0 1 0 1 1 FFF CVK 0008 ABCDEF12", "M7 A6"),
            ("M6 0 1 0 1 1 FFF Q", "M7 26"),
            ("M6 0 1 0 1 1 003 U8463435FC4B4DAA0C49025272C29B12D 0008 ABCDEF12", "M7 10"),
            (&format!("M6 0 1 0 1 1 FFF {even} 0008 ABCDEF12"), "M7 10"),
            (&format!("M6 0 1 0 3 1 FFF {single} 0008 ABCDEF12"), "M7 27"),
            (&format!("M6 0 1 0 1 1 FFF {aes} 0008 ABCDEF12"), "M7 04"),
            ("GW 7 1 BDK1 A05 FFFF000001315240003A 0004 ABCD", "GX 15"),
            ("GW 4 9 BDK1 A05 FFFF000001315240003A 0004 ABCD", "GX 15"),
            ("GW 4 1 BDK1 A05 FFFF000001315240003 0004 ABCD", "GX 15"),
            ("GW 4 1 BDK1 A05 FFFF000001315240003A 000A ABCDEFABCD", "GX 15"),
            ("GW 4 1 CVK A05 FFFF000001315240003A 0004 ABCD", "GX A6"),
            // A counter of eleven ones.
            ("GW 4 1 BDK1 A05 FFFF00000131524007FF 0004 ABCD", "GX 15"),
        ]);
    }
}
