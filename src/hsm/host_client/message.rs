//! Commands as a device takes them and its answers, without header and length; codes to this room's errors. Pure.

use crate::hsm::{HsmError, KeyBlock, KeyDefect};
use zeroize::Zeroizing;

/// Octets of a command at most, as a device's buffer has it.
const LONGEST: usize = 32_000;
/// Ends the fields of an answer when a trailer follows.
const TRAILER: u8 = 0x19;
/// Why an answer is not taken.
const MALFORMED: HsmError = HsmError::Failure("the HSM's answer is not the command's");

/// A command: its two letters and its fields. It may hold card numbers, so it is wiped.
pub(super) struct Command {
    octets: Zeroizing<Vec<u8>>,
    lmk: Option<u8>,
}

impl Command {
    /// A command under the LMK of this number, or under the one that the device serves by itself.
    pub(super) fn new(letters: [u8; 2], lmk: Option<u8>) -> Self {
        let mut octets = Zeroizing::new(Vec::with_capacity(512));
        octets.extend_from_slice(&letters);
        Self { octets, lmk }
    }

    /// Characters as they are.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.octets.extend_from_slice(text.as_bytes());
        self
    }

    /// Octets in hexadecimal digits.
    pub(super) fn hex(self, octets: &[u8]) -> Self {
        let digits = Zeroizing::new(hex::encode_upper(octets));
        self.text(&digits)
    }

    /// Octets behind their number in four hexadecimal digits.
    pub(super) fn counted(self, octets: &[u8]) -> Result<Self, HsmError> {
        let count = u16::try_from(octets.len()).map_err(|_| TOO_LONG)?;
        let mut command = self.text(&format!("{count:04X}"));
        command.octets.extend_from_slice(octets);
        Ok(command)
    }

    /// A key block, once it is seen to be as long as it says: another form would be read as other fields.
    pub(super) fn key(self, key: &KeyBlock) -> Result<Self, HsmError> {
        let text = key.as_str();
        if whole_block(text) == Some(text.len()) { Ok(self.text(text)) } else { Err(HsmError::KeyBlockForm) }
    }

    /// A key block under a ZMK, behind the letter that tells devices so, once it is seen to be as long as it says.
    pub(super) fn zone_block(self, text: &str) -> Result<Self, HsmError> {
        if whole_zone_block(text) == Some(text.len()) {
            Ok(self.text("R").text(text))
        } else {
            Err(HsmError::KeyBlockForm)
        }
    }

    /// The number of its LMK, when it has one (`%nn`).
    pub(super) fn lmk(self) -> Self {
        match self.lmk {
            Some(number) => self.text(&format!("%{number:02}")),
            None => self,
        }
    }

    /// The octets behind the header.
    ///
    /// # Errors
    /// [`HsmError::Input`] when they are more than a device takes.
    pub(super) fn done(self) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        if self.octets.len() > LONGEST { Err(TOO_LONG) } else { Ok(self.octets) }
    }
}

const TOO_LONG: HsmError = HsmError::Input("longer than a host command may be");

/// How many characters the key block that a text begins with has: `S`, and as many as characters 2 to 5 say.
fn whole_block(text: &str) -> Option<usize> {
    text.strip_prefix('S').and_then(stated_length).map(|length| length + 1)
}

/// The same of a key block as other zones have it: a letter, and as many as the four digits behind it say.
fn whole_zone_block(text: &str) -> Option<usize> {
    if text.starts_with(|letter: char| letter.is_ascii_uppercase()) { stated_length(text) } else { None }
}

/// What characters 2 to 5 of a key block say, when that many are there.
fn stated_length(block: &str) -> Option<usize> {
    let printable = block.bytes().all(|octet| octet.is_ascii_graphic());
    let digits = block.get(1..5).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let length = digits.parse::<usize>().ok()?;
    (printable && length <= block.len()).then_some(length)
}

/// The fields of an answer whose code is 00, taken one after the other; it is wiped.
pub(super) struct Answer {
    octets: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl Answer {
    /// Whether what came behind a header answers a command: its letters, the second one further.
    pub(super) fn is_of(command: [u8; 2], octets: &[u8]) -> bool {
        let [first, second] = command;
        octets.len() >= 4 && octets.starts_with(&[first, second.wrapping_add(1)])
    }

    /// Reads the code of an answer, which has come without its header.
    ///
    /// # Errors
    /// What the device refuses.
    pub(super) fn read(octets: Zeroizing<Vec<u8>>) -> Result<Self, HsmError> {
        let (Some(letters), Some(code)) = (octets.get(..2), octets.get(2..4)) else { return Err(MALFORMED) };
        if code != b"00" {
            let error = refusal(code);
            let (answer, code) = (letters.escape_ascii(), code.escape_ascii());
            tracing::debug!(%answer, %code, %error, "the HSM refuses");
            return Err(error);
        }
        Ok(Self { octets, taken: 4 })
    }

    /// So many characters.
    pub(super) fn text(&mut self, count: usize) -> Result<&str, HsmError> {
        let end = self.taken.checked_add(count).ok_or(MALFORMED)?;
        let found = self.octets.get(self.taken..end).ok_or(MALFORMED)?;
        self.taken = end;
        std::str::from_utf8(found).ok().filter(|text| text.is_ascii()).ok_or(MALFORMED)
    }

    /// The octets behind twice as many hexadecimal digits.
    pub(super) fn hex<const N: usize>(&mut self) -> Result<Zeroizing<[u8; N]>, HsmError> {
        let digits = self.text(2 * N)?;
        let mut octets = Zeroizing::new([0; N]);
        hex::decode_to_slice(digits, octets.as_mut_slice()).map_err(|_| MALFORMED)?;
        Ok(octets)
    }

    /// A key block.
    pub(super) fn key(&mut self) -> Result<KeyBlock, HsmError> {
        let length = self.length(whole_block)?;
        self.text(length).map(KeyBlock::new)
    }

    /// A key block under a ZMK, without the letter in front of it.
    pub(super) fn zone_block(&mut self) -> Result<&str, HsmError> {
        if self.text(1)? != "R" {
            return Err(MALFORMED);
        }
        let length = self.length(whole_zone_block)?;
        self.text(length)
    }

    fn length(&self, of: fn(&str) -> Option<usize>) -> Result<usize, HsmError> {
        let rest = self.octets.get(self.taken..).unwrap_or_default();
        let rest = rest.split(|octet| *octet == TRAILER).next().unwrap_or_default();
        std::str::from_utf8(rest).ok().and_then(of).ok_or(MALFORMED)
    }

    /// That nothing is left but a trailer.
    pub(super) fn end(self) -> Result<(), HsmError> {
        match self.octets.get(self.taken) {
            None | Some(&TRAILER) => Ok(()),
            Some(_) => Err(MALFORMED),
        }
    }
}

/// What a device's code means to a payment.
fn refusal(code: &[u8]) -> HsmError {
    match code {
        b"01" => HsmError::Mismatch,
        b"10" | b"11" => HsmError::Key(KeyDefect::Parity),
        b"13" => HsmError::Failure("the HSM has no such LMK"),
        b"15" => HsmError::Input("the HSM does not take a field of the command"),
        b"17" => HsmError::Failure("the HSM does not permit a command that is needed"),
        b"20" | b"24" => HsmError::PinBlock,
        b"22" => HsmError::Account,
        b"23" | b"69" => HsmError::PinTranslation,
        b"25" => HsmError::DecimalizationTable,
        b"27" | b"A5" => HsmError::Key(KeyDefect::Length),
        b"28" | b"A6" | b"A9" => HsmError::KeyUsage,
        b"29" | b"AA" => HsmError::Export,
        b"26" | b"A1" | b"AB" | b"AC" | b"AD" | b"AE" | b"AF" | b"B2" => HsmError::KeyBlockForm,
        b"67" | b"68" => HsmError::Failure("the HSM does not serve a command that is needed"),
        b"75" => HsmError::Key(KeyDefect::Repeats),
        b"84" => HsmError::Key(KeyDefect::CheckValue),
        b"A2" | b"A3" | b"A4" => HsmError::KeyBlock,
        b"A7" => HsmError::Key(KeyDefect::Algorithm),
        b"A8" => HsmError::KeyMode,
        b"41" | b"42" => HsmError::Failure("the HSM says that it fails"),
        _ => HsmError::Failure("the HSM refuses with another code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAK: &str = "S00072M1TN00E0001FFE01E95CF21BDD0D74B6BEB70E3D90842C137DCA39C1B162C6238D5";

    fn command(lmk: Option<u8>) -> Command {
        Command::new(*b"M6", lmk)
    }

    #[test]
    fn a_command_is_written_as_a_device_takes_it() {
        let written = command(Some(1)).text("0010").counted(&[0xAB, 0x19]).unwrap().hex(&[0xCD]).lmk();
        assert_eq!(written.done().unwrap().as_slice(), b"M600100002\xAB\x19CD%01");
        let bare = command(None).key(&KeyBlock::new(TAK)).unwrap().lmk().done().unwrap();
        assert_eq!(bare.as_slice(), format!("M6{TAK}").as_bytes());
        assert_eq!(command(None).counted(&[0; 40_000]).and_then(Command::done).err(), Some(TOO_LONG));
        assert_eq!(command(None).counted(&[0; 70_000]).err(), Some(TOO_LONG));
    }

    impl std::fmt::Debug for Command {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Command")
        }
    }

    #[test]
    fn only_whole_key_blocks_go_into_a_command() {
        let long = format!("{TAK}0");
        let rows = [
            "",
            "S",
            "S0007",
            &TAK[1..],
            &TAK[..TAK.len() - 1],
            &long,
            // A variant key, and a TR-31 block, which would be read as a single-length key.
            "U1EF828AA8F6B80EB83E19FBC373F3A85",
            "D0112D0AB00N0000",
            "S0-072M1TN00E0001",
            "S00072M1TN00E0001FFE01E95CF21BDD0D74B6BEB70E3D90842C137DCA39C1B162C6238é",
        ];
        for key in rows {
            let found = command(None).key(&KeyBlock::new(key)).err();
            assert_eq!(found, Some(HsmError::KeyBlockForm), "{key}");
        }
    }

    fn read(text: &str) -> Result<Answer, HsmError> {
        Answer::read(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn an_answer_is_taken_field_by_field() {
        let mut answer = read(&format!("M700F9{TAK}AB12\x19trailer")).ok().unwrap();
        assert_eq!(answer.hex::<1>().ok().map(|octets| *octets), Some([0xF9]));
        assert_eq!(answer.key().ok().unwrap().as_str(), TAK);
        assert_eq!(answer.text(4), Ok("AB12"));
        assert_eq!(answer.end(), Ok(()));
        for bad in ["M7", "M70", ""] {
            assert_eq!(read(bad).err(), Some(MALFORMED), "{bad}");
        }
        let mut short = read("M700S00072M1").ok().unwrap();
        assert_eq!(short.key().err(), Some(MALFORMED));
        assert_eq!(short.hex::<8>().err(), Some(MALFORMED));
        assert_eq!(read("M700x").ok().unwrap().end(), Err(MALFORMED));
        for (command, octets, is_of) in
            [("M6", "M700", true), ("M6", "M800", false), ("M6", "M70", false), ("NC", "ND41", true)]
        {
            let letters = command.as_bytes().try_into().unwrap();
            assert_eq!(Answer::is_of(letters, octets.as_bytes()), is_of, "{octets}");
        }
    }

    #[test]
    fn a_devices_code_is_an_error_of_this_room() {
        let rows = [
            ("01", HsmError::Mismatch),
            ("10", HsmError::Key(KeyDefect::Parity)),
            ("11", HsmError::Key(KeyDefect::Parity)),
            ("20", HsmError::PinBlock),
            ("24", HsmError::PinBlock),
            ("27", HsmError::Key(KeyDefect::Length)),
            ("69", HsmError::PinTranslation),
            ("75", HsmError::Key(KeyDefect::Repeats)),
            ("A4", HsmError::KeyBlock),
            ("A6", HsmError::KeyUsage),
            ("A8", HsmError::KeyMode),
            ("68", HsmError::Failure("the HSM does not serve a command that is needed")),
            ("zz", HsmError::Failure("the HSM refuses with another code")),
        ];
        for (code, error) in rows {
            assert_eq!(read(&format!("CB{code}")).err(), Some(error), "{code}");
        }
    }
}
