//! The terminal's side of DUKPT: future keys, of which each is used once and then erased, so that a terminal
//! that is broken open tells nothing of its past transactions (ANSI X9.24-1:2009, A.1 to A.3; X9.24-3:2017,
//! 6.1).
//!
//! A register for every bit of the counter: the key in register `b` is that of the next counter whose lowest
//! one is bit `b`. Pure; where a terminal keeps its registers is its own affair.

use super::{aes, tdes};
use crate::hsm::HsmError;

const TDES_BITS: usize = tdes::COUNTER_BITS as usize;
const AES_BITS: usize = aes::COUNTER_BITS as usize;

/// A terminal of X9.24-1: 21 registers, 1,048,575 transactions. Prints its serial number only.
pub struct TdesTerminal {
    ksn: tdes::KeySerialNumber,
    registers: Registers<tdes::TransactionKey, TDES_BITS, { tdes::MOST_ONES }>,
}

impl TdesTerminal {
    /// Loads an initial key, which is no more behind this: what a terminal keeps does not lead back to it.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn load(initial: tdes::InitialKey) -> Result<Self, HsmError> {
        let registers = Registers::load(|counter| Ok(initial.first_key(counter)))?;
        Ok(Self { ksn: initial.ksn(), registers })
    }

    /// The KSN of this transaction.
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] at the end of life: it has had all of its transactions.
    pub fn ksn(&self) -> Result<tdes::KeySerialNumber, HsmError> {
        self.registers.current().ok_or(HsmError::KeySerialNumber)?;
        self.ksn.with_counter(self.registers.counter)
    }

    /// The key of this transaction.
    ///
    /// # Errors
    /// As [`TdesTerminal::ksn`].
    pub fn key(&self) -> Result<&tdes::TransactionKey, HsmError> {
        self.registers.current().ok_or(HsmError::KeySerialNumber)
    }

    /// Ends the transaction and erases its key.
    ///
    /// # Errors
    /// As [`TdesTerminal::ksn`].
    pub fn advance(&mut self) -> Result<(), HsmError> {
        let ksn = self.ksn;
        self.registers.advance(|key, counter| key.future_key(ksn.with_counter(counter)?))
    }
}

impl std::fmt::Debug for TdesTerminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TdesTerminal({}, {:05X})", self.ksn, self.registers.counter)
    }
}

/// A terminal of X9.24-3: 32 registers, 2,448,023,842 transactions. Prints its serial number only.
pub struct AesTerminal {
    ksn: aes::KeySerialNumber,
    registers: Registers<aes::TransactionKey, AES_BITS, { aes::MOST_ONES }>,
}

impl AesTerminal {
    /// Loads an initial key, which is no more behind this: what a terminal keeps does not lead back to it.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn load(initial: aes::InitialKey) -> Result<Self, HsmError> {
        let registers = Registers::load(|counter| initial.first_key(counter))?;
        Ok(Self { ksn: initial.ksn(), registers })
    }

    /// The KSN of this transaction.
    ///
    /// # Errors
    /// [`HsmError::KeySerialNumber`] at the end of life: it has had all of its transactions.
    pub fn ksn(&self) -> Result<aes::KeySerialNumber, HsmError> {
        self.key().map(aes::TransactionKey::ksn)
    }

    /// The key of this transaction.
    ///
    /// # Errors
    /// As [`AesTerminal::ksn`].
    pub fn key(&self) -> Result<&aes::TransactionKey, HsmError> {
        self.registers.current().ok_or(HsmError::KeySerialNumber)
    }

    /// Ends the transaction and erases its key.
    ///
    /// # Errors
    /// As [`AesTerminal::ksn`].
    pub fn advance(&mut self) -> Result<(), HsmError> {
        let ksn = self.ksn;
        self.registers.advance(|key, counter| key.future_key(ksn.with_counter(counter)))
    }
}

impl std::fmt::Debug for AesTerminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AesTerminal({}, {:08X})", self.ksn, self.registers.counter)
    }
}

/// The future keys and the counter of their next use; `N` bits, at most `ONES` ones.
struct Registers<K, const N: usize, const ONES: u32> {
    keys: [Option<K>; N],
    /// Zero at the end of life.
    counter: u32,
}

impl<K, const N: usize, const ONES: u32> Registers<K, N, ONES> {
    fn load(first_key: impl Fn(u32) -> Result<K, HsmError>) -> Result<Self, HsmError> {
        let mut keys = [const { None }; N];
        for (register, bit) in keys.iter_mut().zip(0..) {
            *register = Some(first_key(1 << bit)?);
        }
        Ok(Self { keys, counter: 1 })
    }

    /// The key of this counter; none at the end of life.
    fn current(&self) -> Option<&K> {
        self.keys.get(self.lowest())?.as_ref()
    }

    /// Which register is in use.
    fn lowest(&self) -> usize {
        usize::try_from(self.counter.trailing_zeros()).unwrap_or(N)
    }

    /// Ends the transaction: derives the keys that follow from its key, erases that, and counts on. A counter
    /// with the most ones has none behind it: what would have one more is skipped.
    fn advance(&mut self, future_key: impl Fn(&K, u32) -> Result<K, HsmError>) -> Result<(), HsmError> {
        let lowest = self.lowest();
        let Some((below, [used, ..])) = self.keys.split_at_mut_checked(lowest) else {
            return Err(HsmError::KeySerialNumber);
        };
        let key = used.take().ok_or(HsmError::KeySerialNumber)?;
        let step = if self.counter.count_ones() < ONES {
            for (register, bit) in below.iter_mut().zip(0..) {
                *register = Some(future_key(&key, self.counter | 1 << bit)?);
            }
            1
        } else {
            1 << self.counter.trailing_zeros()
        };
        let end = u32::MAX >> (u32::BITS - N as u32);
        self.counter = self.counter.checked_add(step).filter(|counter| *counter <= end).unwrap_or(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// The initial key of X9.24-1, A.4.
    fn tdes() -> tdes::InitialKey {
        let ksn = tdes::KeySerialNumber::parse("FFFF9876543210E00000").unwrap();
        tdes::InitialKey::new(&octets("6AC292FAA1315B4D858AB3A3D7D5933A"), ksn).unwrap()
    }

    /// The initial key of X9.24-3's supplement, and behind it more of any octets.
    fn aes(length: usize) -> aes::InitialKey {
        let ksn = aes::KeySerialNumber::parse("123456789012345600000000").unwrap();
        let clear = [octets("1273671EA26AC29AFA4D1084127652A1"), vec![0x5A; 16]].concat();
        aes::InitialKey::new(&clear[..length], ksn).unwrap()
    }

    #[test]
    fn every_counter_with_few_ones_has_its_own_key_once() {
        // A key is the counter that it was derived for.
        let mut registers = Registers::<u32, 8, 4>::load(Ok).unwrap();
        for counter in (1_u32..256).filter(|counter| counter.count_ones() <= 4) {
            assert_eq!((registers.counter, registers.current()), (counter, Some(&counter)));
            registers
                .advance(|from, to| {
                    assert!(*from == counter && to.count_ones() == counter.count_ones() + 1);
                    Ok(to)
                })
                .unwrap();
            assert!(registers.keys.iter().flatten().all(|key| *key > counter), "{counter:X}");
        }
        assert_eq!(registers.keys, [None; 8]);
        assert_eq!(registers.current(), None);
        assert_eq!(registers.advance(|_, to| Ok(to)), Err(HsmError::KeySerialNumber));
    }

    #[test]
    fn the_last_counter_is_the_last_of_all() {
        let mut tdes = Registers::<u32, 21, 10> { keys: [Some(7); 21], counter: 0x1FF800 };
        tdes.advance(|_, to| Ok(to)).unwrap();
        let mut aes = Registers::<u32, 32, 16> { keys: [Some(7); 32], counter: 0xFFFF_0000 };
        aes.advance(|_, to| Ok(to)).unwrap();
        assert_eq!((tdes.current(), aes.current()), (None, None));
        assert_eq!(tdes.advance(|_, to| Ok(to)), Err(HsmError::KeySerialNumber));
        assert_eq!(aes.advance(|_, to| Ok(to)), Err(HsmError::KeySerialNumber));
    }

    #[test]
    fn a_tdes_terminal_has_the_keys_of_its_host_all_its_life() {
        let host = tdes();
        let mut terminal = TdesTerminal::load(tdes()).unwrap();
        let mut count = 0;
        while let Ok(ksn) = terminal.ksn() {
            count += 1;
            // All that follow the load, then some of the whole life.
            if count < 5000 || count % 199 == 0 {
                let expected = host.transaction_key(ksn, tdes::ZeroCounter::Refused).unwrap();
                assert_eq!(terminal.key().unwrap().octets(), expected.octets(), "{ksn}");
            }
            if count == 1_048_575 {
                assert_eq!(ksn.to_string(), "FFFF9876543210FFF800");
            }
            terminal.advance().unwrap();
        }
        assert_eq!(count, 1_048_575);
        assert_eq!(terminal.key().err(), Some(HsmError::KeySerialNumber));
        assert_eq!(terminal.advance(), Err(HsmError::KeySerialNumber));
        assert!(terminal.registers.keys.iter().all(Option::is_none));
    }

    #[test]
    fn an_aes_terminal_has_the_keys_of_its_host_past_the_first_skips() {
        for length in [16, 24, 32] {
            let host = aes(length);
            let mut terminal = AesTerminal::load(aes(length)).unwrap();
            let skipped = (1..0x2_0100_u32).filter(|counter| counter.count_ones() <= 16);
            for (at, counter) in skipped.enumerate() {
                let ksn = terminal.ksn().unwrap();
                assert_eq!(ksn.counter(), counter);
                if at < 5000 || counter > 0x1_FF00 || at % 97 == 0 {
                    let expected = host.transaction_key(ksn).unwrap();
                    assert_eq!(terminal.key().unwrap().octets(), expected.octets(), "{ksn}");
                }
                terminal.advance().unwrap();
            }
        }
    }

    #[test]
    fn registers_are_the_published_ones_and_a_used_key_is_erased() {
        // X9.24-3:2017, supplement: after the load, and after one and two transactions.
        let mut expected = [
            "4F21B565BAD9835E112B6465635EAE44",
            "2F34D68DE10F68D38091A73B9E7C437C",
            "0EEFC7ADA628BA68878DA9165A8A1887",
            "718EE6CF0B27E53D5F7AF99C4D8146A2",
            "7459762EED7F51D08567ED6598DFBEA2",
            "1ED39390B4448C69819EB55F4C616564",
            "C13BDA0A56D6998E544E0A10A3D979DA",
            "089F6B989CA13D49A6A0317F85460CE5",
            "065355A6A3DD4C2260BDDDFA0C16704E",
            "CF16FEBC5CFD1A741A3280564A9681F2",
            "4BF8EB1DAF9F4244332ED01663EB654E",
            "492248FEE0FE87E8B5DB7BB2AC7BC955",
            "18690547EB19D28EFAF5EF6D22C271AA",
            "84F4CCA45C4F1D4E063F1CE5B95B6C7F",
            "4EC5FC0C3CD62AFF174A37B6FDC2B0D9",
            "9EF99A4D5FD548A23D299074047F7F6B",
            "F4C6237DB49E28BF96E6A18CD8CDDA00",
            "F7AE9025468A25D37B7249CFFED224C8",
            "579594A986E87917382A181576FA7A9A",
            "5AAF46AAD7593E0D224E05E13629ED1E",
            "5787EB837B6FFB3AF24759F8625CEC19",
            "988A3AB89B9332A15D0BE2C54C279923",
            "E55171636976BDC5758A6FA4C25F0008",
            "DF16D5BAC52FFA7564D7DBD2DE7C6CCF",
            "145E8C933FC0D61900592035CF18A5AF",
            "FBDF917E209B42F9DB8843D18BEE8033",
            "61C70779F920BBD37815C21B5A1A7B75",
            "97D7BB3FC342B9E961308BB8B801775B",
            "69B453118411404DB54AE2B751F02F43",
            "7CCE4E679F4FC3478E3CD4509D64A7F3",
            "36AF4AA9FC1100B2AE7742101540340A",
            "9DC56486499A2E857FDEFC4740641EA8",
        ]
        .map(|key| Some(key.to_owned()));
        let registers = |terminal: &AesTerminal| {
            terminal.registers.keys.each_ref().map(|key| Some(hex::encode_upper(key.as_ref()?.octets())))
        };
        let mut terminal = AesTerminal::load(aes(16)).unwrap();
        assert_eq!(registers(&terminal), expected);
        terminal.advance().unwrap();
        expected[0] = None;
        assert_eq!(registers(&terminal), expected);
        terminal.advance().unwrap();
        expected[0] = Some("031504E530365CF81264238540518318".to_owned());
        expected[1] = None;
        assert_eq!(registers(&terminal), expected);
    }

    #[test]
    fn no_initial_key_remains_and_nothing_is_printed() {
        let (tdes_terminal, aes_terminal) =
            (TdesTerminal::load(tdes()).unwrap(), AesTerminal::load(aes(16)).unwrap());
        let (first, second) = (tdes(), aes(16));
        assert!(tdes_terminal.registers.keys.iter().flatten().all(|key| key.octets() != first.octets()));
        assert!(aes_terminal.registers.keys.iter().flatten().all(|key| key.octets() != second.octets()));
        let expected =
            "TdesTerminal(FFFF9876543210E00000, 00001) AesTerminal(123456789012345600000000, 00000001)";
        assert_eq!(format!("{tdes_terminal:?} {aes_terminal:?}"), expected);
    }
}
