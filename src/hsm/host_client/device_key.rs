//! Keys as a payShield holds them: what the header of a key block says for each [`Usage`].
//!
//! | usage | code | modes | lengths |
//! |---|---|---|---|
//! | TMK | `51` | `B` | double, triple |
//! | ZMK | `52` | `B` | double, triple |
//! | BDK | `B0` | `X` | double |
//! | TPK | `71` | `B` | double, triple; single only as issued in UnionPay's form 001 |
//! | ZPK | `72` | `B` | double, triple |
//! | TAK, ZAK | `M1` single, `M3` double | `C` | single, double |
//! | TDK | `D0` | `B` | double, triple |
//!
//! A device checks a MAC key's algorithm (X9.143, 6.3.1): a single one serves ISO 9797-1 algorithm 1, which X9.9 and
//! UnionPay's MAC use, a double one algorithm 3, which is X9.19. It does not tell a terminal's MAC key from a zone's.

use crate::hsm::des::{self, KeyLength};
use crate::hsm::key_block::header::{FullHeader, Header};
use crate::hsm::key_block::thales::{Protection, Version, test_lmk};
use crate::hsm::keys::combine;
use crate::hsm::lmk::DataKey;
use crate::hsm::random::{OpenSslRandom, Random};
use crate::hsm::{Algorithm, DesKey, HsmError, KeyBlock, KeyDefect, Usage};
use zeroize::Zeroizing;

/// Where a key may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Export {
    /// As its usage says: a zone's key may be given to the other end in a key block, a terminal's stays.
    OfUsage,
    /// To a terminal, under its TMK, without a key block.
    ToTerminal,
}

/// The header of a key.
///
/// # Errors
/// [`HsmError::Key`] when a key of this usage has no such length, [`HsmError::KeyUsage`] when a device has none.
pub(super) fn header(usage: Usage, length: KeyLength, export: Export) -> Result<Header, HsmError> {
    const LENGTH: HsmError = HsmError::Key(KeyDefect::Length);
    let is_double_at_least = length != KeyLength::Single;
    // UnionPay's form 001 is issued, as its terminals ask for it; a device takes no PIN under its key.
    let is_issued = export == Export::ToTerminal;
    let (code, is_long_enough, mode) = match usage {
        Usage::Tmk => (*b"51", is_double_at_least, b'B'),
        Usage::Zmk => (*b"52", is_double_at_least, b'B'),
        Usage::Bdk => (*b"B0", length == KeyLength::Double, b'X'),
        Usage::Tpk => (*b"71", is_double_at_least || is_issued, b'B'),
        Usage::Zpk => (*b"72", is_double_at_least, b'B'),
        Usage::Tdk => (*b"D0", is_double_at_least, b'B'),
        Usage::Tak | Usage::Zak => match length {
            KeyLength::Single => (*b"M1", true, b'C'),
            KeyLength::Double => (*b"M3", true, b'C'),
            KeyLength::Triple => return Err(LENGTH),
        },
        Usage::Data => return Err(HsmError::KeyUsage),
    };
    if !is_long_enough {
        return Err(LENGTH);
    }
    let exportability = match (export, usage) {
        (Export::ToTerminal, _) => b'S',
        (Export::OfUsage, Usage::Tmk | Usage::Zmk | Usage::Bdk | Usage::Zpk | Usage::Zak) => b'E',
        (Export::OfUsage, Usage::Tpk | Usage::Tak | Usage::Tdk | Usage::Data) => b'N',
    };
    let algorithm = if length == KeyLength::Single { b'D' } else { b'T' };
    Ok(Header { usage: code, algorithm, mode, version: *b"00", exportability })
}

/// The two characters by which a command asks for a key of this length.
pub(super) fn algorithm(length: KeyLength) -> &'static str {
    match length {
        KeyLength::Single => "D1",
        KeyLength::Double => "T2",
        KeyLength::Triple => "T3",
    }
}

/// Whether the header of a device's key block names a key of this usage. Every way that devices write it passes; a block
/// that lies about it does not verify.
pub(super) fn serves(usage: Usage, block: &KeyBlock) -> bool {
    let codes: &[&str] = match usage {
        Usage::Tmk => &["51", "K0", "K1"],
        Usage::Zmk => &["52", "K0", "K1"],
        Usage::Bdk => &["B0"],
        Usage::Tpk => &["71", "P0"],
        Usage::Zpk => &["72", "P0"],
        Usage::Tdk => &["D0", "21", "22", "23"],
        Usage::Tak | Usage::Zak => &["M0", "M1", "M3"],
        Usage::Data => &[],
    };
    block.as_str().get(6..8).is_some_and(|code| codes.contains(&code))
}

/// Forms a key of components under what host commands derive of an LMK file's data keys, or under the public test LMK,
/// as the console of a device does. The key block, and the key's check value.
///
/// # Errors
/// [`HsmError::Key`] for a defect of the components or of the key they form, [`HsmError::KeyUsage`] when a device has
/// no such key, [`HsmError::Failure`] of the random source.
pub fn form_for_device(
    data: Option<&DataKey>,
    usage: Usage,
    components: &[Zeroizing<Vec<u8>>],
) -> Result<(KeyBlock, String), HsmError> {
    let clear = combine(Algorithm::Des, components)?;
    des::check_strength(&clear)?;
    let fixed = header(usage, KeyLength::of(clear.len())?, Export::OfUsage)?;
    let mut pad = Zeroizing::new([0; 16]);
    OpenSslRandom.fill(pad.as_mut_slice())?;
    let (protection, context) = match data {
        Some(data) => {
            (Protection::new(Version::Aes, data.for_host_commands(b"key blocks").as_slice())?, *b"00")
        }
        None => (Protection::new(Version::TripleDes, &test_lmk::TRIPLE_DES)?, *b"01"),
    };
    let block = protection.wrap(&FullHeader { context, ..FullHeader::from(fixed) }, &clear, &*pad)?;
    Ok((KeyBlock::new(block), DesKey::new(&clear)?.kcv()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(header: Header) -> String {
        let Header { usage, algorithm, mode, version, exportability } = header;
        let octets = [usage[0], usage[1], algorithm, mode, version[0], version[1], exportability];
        octets.map(char::from).iter().collect()
    }

    #[test]
    fn every_usage_has_its_header() {
        use KeyLength::{Double, Single, Triple};
        const LENGTH: HsmError = HsmError::Key(KeyDefect::Length);
        let rows = [
            (Usage::Tmk, Double, Export::OfUsage, Ok("51TB00E")),
            (Usage::Zmk, Double, Export::OfUsage, Ok("52TB00E")),
            (Usage::Bdk, Double, Export::OfUsage, Ok("B0TX00E")),
            (Usage::Bdk, Triple, Export::OfUsage, Err(LENGTH)),
            (Usage::Tpk, Triple, Export::OfUsage, Ok("71TB00N")),
            (Usage::Zpk, Double, Export::OfUsage, Ok("72TB00E")),
            (Usage::Tdk, Double, Export::ToTerminal, Ok("D0TB00S")),
            (Usage::Tak, Single, Export::ToTerminal, Ok("M1DC00S")),
            (Usage::Tak, Double, Export::OfUsage, Ok("M3TC00N")),
            (Usage::Zak, Double, Export::OfUsage, Ok("M3TC00E")),
            (Usage::Tpk, Single, Export::ToTerminal, Ok("71DB00S")),
            (Usage::Tpk, Single, Export::OfUsage, Err(LENGTH)),
            (Usage::Tmk, Single, Export::OfUsage, Err(LENGTH)),
            (Usage::Zak, Triple, Export::OfUsage, Err(LENGTH)),
            (Usage::Data, Double, Export::OfUsage, Err(HsmError::KeyUsage)),
        ];
        for (usage, length, export, expected) in rows {
            let found = header(usage, length, export).map(written);
            assert_eq!(found, expected.map(str::to_owned), "{usage:?} {length:?}");
        }
    }

    #[test]
    fn a_block_is_known_by_its_header() {
        let block = |code: &str| KeyBlock::new(format!("S00072{code}TB00E0001"));
        let rows = [
            (Usage::Tmk, "51", true),
            (Usage::Tmk, "K0", true),
            (Usage::Tmk, "52", false),
            (Usage::Tpk, "72", false),
            (Usage::Zpk, "72", true),
            (Usage::Zpk, "P0", true),
            (Usage::Tak, "M3", true),
            (Usage::Tak, "M6", false),
            (Usage::Data, "21", false),
        ];
        for (usage, code, expected) in rows {
            assert_eq!(serves(usage, &block(code)), expected, "{usage:?} {code}");
        }
        assert!(!serves(Usage::Tmk, &KeyBlock::new("S0")));
    }

    #[test]
    fn components_form_the_published_key() {
        // A payShield's A4 transcript: odd parity is set on the result.
        let part = |text: &str| Zeroizing::new(hex::decode(text).unwrap());
        let parts = [part("AE8F54BA29CD2CC73883D373DFF7A8B5"), part("75B6A89BC7946DD06186A89DCE9B5D9B")];
        let (block, kcv) = form_for_device(None, Usage::Zpk, &parts).unwrap();
        assert_eq!((&block.as_str()[..17], kcv.as_str()), ("S0007272TB00E0001", "2AE082"));
        let protection = Protection::new(Version::TripleDes, &test_lmk::TRIPLE_DES).unwrap();
        let (_, clear) = protection.unwrap(block.as_str()).unwrap();
        assert_eq!(hex::encode_upper(&*clear), "DA38FD20EF58401658047AEF106DF42F");
        let single = [part("AE8F54BA29CD2CC7"), part("75B6A89BC7946DD0")];
        let rows = [
            (form_for_device(None, Usage::Zpk, &parts[..1]), KeyDefect::TooFewComponents),
            (form_for_device(None, Usage::Zpk, &single), KeyDefect::Length),
        ];
        for (found, defect) in rows {
            assert_eq!(found.err(), Some(HsmError::Key(defect)));
        }
    }
}
