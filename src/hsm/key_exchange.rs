//! Keys from and to somebody else, as key blocks under a zone master key (ZMK): TR-31 version B under triple DES, D
//! under AES (PCI PIN 18-3 asks for key blocks between organizations).
//!
//! | usage here | usage there | modes of use that come in | mode that goes out |
//! |---|---|---|---|
//! | TMK | `K0` | `B` `D` `E` `N` | `B` |
//! | ZMK | `K1` `K0` | `B` `D` `E` `N` | `B` |
//! | BDK | `B0` | `X` `N` | `X` |
//! | TPK | `P0` | `B` `D` `N` | |
//! | ZPK | `P0` | `B` `E` `N` | `B` |
//! | TAK | `M1` `M3` | `C` `N` | |
//! | ZAK | `M3` | `C` `N` | `C` |
//! | TDK | `D0` | `B` `D` `N` | |
//!
//! `N` of the modes is a payShield's "no special restrictions". A key that comes in as one that may not leave again
//! (exportability `N`) is kept so. Optional blocks of the header
//! are authentic with the rest, and not looked at.

use super::audit::{KeyName, Operation};
use super::des::KeyLength;
use super::key_block::{FullHeader, Header, PAD, Protection, Version};
use super::policy::{self, KeyKind};
use super::{HsmError, Key, KeyBlock, SoftHsm, Usage, Zmk};
use zeroize::Zeroizing;

/// A key block under a ZMK, and what is told of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedKey {
    /// The key block.
    pub block: String,
    /// The key's check value, 6 hexadecimal characters.
    pub kcv: String,
}

/// The codes of a usage on the way, and the modes of use that suit it.
fn outside(usage: Usage) -> (&'static [&'static [u8; 2]], &'static [u8]) {
    match usage {
        Usage::Tmk => (&[b"K0"], b"BDEN"),
        Usage::Zmk => (&[b"K1", b"K0"], b"BDEN"),
        Usage::Bdk => (&[b"B0"], b"XN"),
        Usage::Tpk => (&[b"P0"], b"BDN"),
        Usage::Zpk => (&[b"P0"], b"BEN"),
        Usage::Tak => (&[b"M1", b"M3"], b"CN"),
        Usage::Zak => (&[b"M3"], b"CN"),
        Usage::Tdk => (&[b"D0"], b"BDN"),
        Usage::Data => (&[], b""),
    }
}

/// Whether a key with this header may come in for a usage.
fn check_header(usage: Usage, header: Header) -> Result<(), HsmError> {
    let (codes, modes) = outside(usage);
    // A version of `c…` is a component's (X9.143, 6.3.5).
    if !codes.contains(&&header.usage) || !header.version.iter().all(u8::is_ascii_digit) {
        return Err(HsmError::KeyUsage);
    }
    if !modes.contains(&header.mode) {
        return Err(HsmError::KeyMode);
    }
    if b"ENS".contains(&header.exportability) { Ok(()) } else { Err(HsmError::KeyBlockForm) }
}

impl SoftHsm {
    /// Takes a key that came as a key block under a ZMK; gives it under the LMK, and its check value.
    ///
    /// # Errors
    /// [`HsmError::KeyBlockForm`] and [`HsmError::KeyBlock`] for a block that is malformed, altered or under another
    /// ZMK; [`HsmError::KeyUsage`] and [`HsmError::KeyMode`] for one whose key is for something else;
    /// [`HsmError::Key`] for a key that is not acceptable, or stronger than the ZMK.
    pub fn import_block(
        &self,
        usage: Usage,
        zmk: &Key<Zmk>,
        text: &str,
    ) -> Result<(KeyBlock, String), HsmError> {
        self.import_block_if(usage, zmk, text, |_| Ok(()))
    }

    /// As [`SoftHsm::import_block`], if the key's kind is acceptable besides.
    pub(super) fn import_block_if(
        &self,
        usage: Usage,
        zmk: &Key<Zmk>,
        text: &str,
        acceptable: impl FnOnce(KeyKind) -> Result<(), HsmError>,
    ) -> Result<(KeyBlock, String), HsmError> {
        let taken = self.take_block(usage, zmk, text, acceptable);
        let name = match &taken {
            Ok((_, kcv)) => KeyName::checked(usage, kcv),
            Err(_) => KeyName::for_usage(usage),
        };
        let taken = taken.map_err(|error| self.refused(Operation::Import, &name, error))?;
        self.record(Operation::Import, &name)?;
        Ok(taken)
    }

    fn take_block(
        &self,
        usage: Usage,
        zmk: &Key<Zmk>,
        text: &str,
        acceptable: impl FnOnce(KeyKind) -> Result<(), HsmError>,
    ) -> Result<(KeyBlock, String), HsmError> {
        let version = Version::of(text)?;
        let (zmk_kind, protection) = self.zone_protection(zmk, |kind| match (kind, version) {
            (KeyKind::Des(_), Version::A | Version::B | Version::C)
            | (KeyKind::Aes(_), Version::D | Version::E) => Ok(version),
            // Under a key of another algorithm, it cannot be authentic.
            (KeyKind::Des(_), Version::D | Version::E)
            | (KeyKind::Aes(_), Version::A | Version::B | Version::C) => Err(HsmError::KeyBlock),
        })?;
        let (FullHeader { fixed, .. }, clear) = protection.unwrap(text)?;
        check_header(usage, fixed)?;
        let kind = policy::check_import(usage, policy::algorithm(fixed)?, &clear)?;
        acceptable(kind)?;
        if !zmk_kind.protects(kind) {
            return Err(HsmError::Export);
        }
        let mut header = policy::header(usage, kind);
        if fixed.exportability == b'N' {
            header.exportability = b'N';
        }
        Ok((self.wrap_under_lmk(header, kind, &clear)?, super::keys::check_value(kind, &clear)?))
    }

    /// Gives a key as a key block under a ZMK, its length hidden among those of its algorithm.
    ///
    /// # Errors
    /// [`HsmError::Export`] for a key that may not leave, or is stronger than the ZMK; else what is wrong with either
    /// block.
    pub fn export_block(&self, key: &KeyBlock, zmk: &Key<Zmk>) -> Result<ExportedKey, HsmError> {
        self.given(key, zmk, b'E')
    }

    /// As [`SoftHsm::export_block`], for the other side to keep.
    pub(super) fn send_block(&self, key: &KeyBlock, zmk: &Key<Zmk>) -> Result<ExportedKey, HsmError> {
        self.given(key, zmk, b'N')
    }

    fn given(&self, key: &KeyBlock, zmk: &Key<Zmk>, exportability: u8) -> Result<ExportedKey, HsmError> {
        let name = KeyName::header(key);
        let sent = self
            .give_block(key, zmk, exportability)
            .map_err(|error| self.refused(Operation::Export, &name, error))?;
        self.record(Operation::Export, &name)?;
        Ok(sent)
    }

    fn give_block(&self, key: &KeyBlock, zmk: &Key<Zmk>, exportability: u8) -> Result<ExportedKey, HsmError> {
        let (header, clear) = self.clear(key)?;
        let kind = KeyKind::of(policy::algorithm(header)?, clear.len())?;
        let usage = policy::usage(header, kind)?;
        let (zmk_kind, protection) = self.zone_protection(zmk, |kind| match kind {
            KeyKind::Des(_) => Ok(Version::B),
            KeyKind::Aes(_) => Ok(Version::D),
        })?;
        if header.exportability != b'E' || !zmk_kind.protects(kind) {
            return Err(HsmError::Export);
        }
        let ([code, ..], [mode, ..]) = outside(usage) else { return Err(HsmError::Export) };
        let sent = Header { usage: **code, mode: *mode, exportability, ..header };
        let mut pad = Zeroizing::new([0; PAD]);
        self.random.fill(pad.as_mut_slice())?;
        let longest = match kind {
            KeyKind::Des(_) => KeyLength::Triple.octets(),
            KeyKind::Aes(_) => super::aes::KEY,
        };
        let block = protection.wrap(&sent.into(), &clear, longest, pad.as_slice())?;
        Ok(ExportedKey { block, kcv: super::keys::check_value(kind, &clear)? })
    }

    /// A ZMK, ready for blocks of a version that suits it.
    fn zone_protection(
        &self,
        zmk: &Key<Zmk>,
        version: impl FnOnce(KeyKind) -> Result<Version, HsmError>,
    ) -> Result<(KeyKind, Protection), HsmError> {
        let (header, clear) = self.clear(zmk.block())?;
        let kind = KeyKind::of(policy::algorithm(header)?, clear.len())?;
        if policy::usage(header, kind)? != Usage::Zmk {
            return Err(HsmError::KeyUsage);
        }
        Ok((kind, Protection::new(version(kind)?, &clear)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::aes::{AesKey, AesLength};
    use super::super::des::DesKey;
    use super::super::policy::Algorithm;
    use super::super::{KeyDefect, Lmk};
    use super::*;

    const ZMK: &str = "EFE0853B256B583D868F251CE99EA1D9";
    const AES_ZMK: &str = "88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6";

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn hsm() -> SoftHsm {
        SoftHsm::new(&Lmk::from_bytes([0x41; 32])).unwrap()
    }

    fn zmk(hsm: &SoftHsm, algorithm: Algorithm, clear: &str) -> Key<Zmk> {
        Key::of(hsm.import_clear_as(Usage::Zmk, algorithm, &octets(clear)).unwrap().0)
    }

    /// A block that somebody else made under the ZMK of triple DES.
    fn made(header: &str, clear: &str) -> String {
        let [u0, u1, algorithm, mode, v0, v1, exportability] = *header.as_bytes() else { panic!("{header}") };
        let header = Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability };
        let protection = Protection::new(Version::B, &octets(ZMK)).unwrap();
        protection.wrap(&header.into(), &octets(clear), 24, &[0x5E; PAD]).unwrap()
    }

    #[test]
    fn blocks_of_a_device_come_in() {
        // Of a payShield 10K, of one key.
        let rows = [
            "A0072K0TN00N0000F40D5672C6D0EC86F860BA88D44D00F0CA9A8CE8CD2F640287A9A9EB",
            "B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F455EA2680F6751088F9F1C228",
            "C0072K0TN00N0000C9B875FF7A5316BF221C09ED52080DE0B45632A4EA9CE87699CB565E",
        ];
        let hsm = hsm();
        let zmk = zmk(&hsm, Algorithm::Des, ZMK);
        let kcv = DesKey::new(&octets("5DB50B454F8389ADCE573BE50861F2BF")).unwrap().kcv();
        for block in rows {
            let (held, found) = hsm.import_block(Usage::Tmk, &zmk, block).unwrap();
            assert_eq!((hsm.usage(&held), hsm.kcv(&held), &found), (Ok(Usage::Tmk), Ok(kcv.clone()), &kcv));
            assert_eq!(hsm.export_block(&held, &zmk), Err(HsmError::Export), "it came as one that stays");
        }
    }

    #[test]
    fn what_goes_out_comes_in_elsewhere_and_is_the_same_key() {
        let (ours, theirs) = (hsm(), SoftHsm::new(&Lmk::from_bytes([0x42; 32])).unwrap());
        let (double, aes) = (KeyKind::Des(KeyLength::Double), KeyKind::Aes(AesLength::Aes256));
        let rows = [
            (Usage::Tmk, double, "K0TB00E"),
            (Usage::Zmk, double, "K1TB00E"),
            (Usage::Bdk, double, "B0TX00E"),
            (Usage::Zpk, double, "P0TB00E"),
            (Usage::Zak, KeyLength::Single.into(), "M3DC00E"),
            (Usage::Zak, double, "M3TC00E"),
            (Usage::Bdk, aes, "B0AX00E"),
            (Usage::Zmk, aes, "K1AB00E"),
        ];
        for (algorithm, clear) in [(Algorithm::Des, ZMK), (Algorithm::Aes, AES_ZMK)] {
            let (our_zmk, their_zmk) = (zmk(&ours, algorithm, clear), zmk(&theirs, algorithm, clear));
            for (usage, kind, header) in rows {
                let (key, kcv) = ours.generate(usage, kind).unwrap();
                let sent = ours.export_block(&key, &our_zmk);
                if (algorithm, kind) == (Algorithm::Des, aes) {
                    assert_eq!(sent, Err(HsmError::Export), "{usage:?}: AES under triple DES");
                    continue;
                }
                let sent = sent.unwrap();
                assert_eq!((&sent.block[5..12], &sent.kcv), (header, &kcv), "{usage:?}");
                let (held, found) = theirs.import_block(usage, &their_zmk, &sent.block).unwrap();
                assert_eq!((theirs.usage(&held), &found), (Ok(usage), &kcv), "{usage:?}");
                // Altered anywhere, it does not come in.
                for place in 0..sent.block.len() {
                    let mut altered = sent.block.clone().into_bytes();
                    altered[place] ^= if altered[place].is_ascii_digit() { 1 } else { 3 };
                    let altered = String::from_utf8(altered).unwrap();
                    let found = theirs.import_block(usage, &their_zmk, &altered);
                    let refused = matches!(found, Err(HsmError::KeyBlock | HsmError::KeyBlockForm));
                    assert!(refused, "{usage:?}, character {place}: {found:?}");
                }
            }
        }
        let stranger = zmk(&theirs, Algorithm::Des, "0123456789ABCDEFFEDCBA9876543210");
        let (key, _) = ours.generate(Usage::Zpk, KeyLength::Double).unwrap();
        let sent = ours.export_block(&key, &zmk(&ours, Algorithm::Des, ZMK)).unwrap();
        assert_eq!(theirs.import_block(Usage::Zpk, &stranger, &sent.block), Err(HsmError::KeyBlock));
    }

    #[test]
    fn headers_and_keys_that_do_not_suit_stay_out() {
        let hsm = hsm();
        let zmk = zmk(&hsm, Algorithm::Des, ZMK);
        let good = "5DB50B454F8389ADCE573BE50861F2BF";
        let triple = "0123456789ABCDEFFEDCBA987654321013579BDF02468ACE";
        let key = |defect| Err(HsmError::Key(defect));
        let rows = [
            (Usage::Zpk, "P0TB00E", good, Ok(())),
            (Usage::Zpk, "P0TE00S", good, Ok(())),
            (Usage::Zpk, "P0TN27N", good, Ok(())),
            (Usage::Zpk, "P0TD00E", good, Err(HsmError::KeyMode)),
            (Usage::Tpk, "P0TD00E", good, Ok(())),
            (Usage::Tpk, "P0TE00E", good, Err(HsmError::KeyMode)),
            (Usage::Zpk, "M3TC00E", good, Err(HsmError::KeyUsage)),
            (Usage::Zak, "P0TB00E", good, Err(HsmError::KeyUsage)),
            (Usage::Zak, "M3TG00E", good, Err(HsmError::KeyMode)),
            (Usage::Zak, "M1TC00E", good, Err(HsmError::KeyUsage)),
            (Usage::Tak, "M1TC00E", good, Ok(())),
            (Usage::Zmk, "K1TB00E", good, Ok(())),
            (Usage::Zmk, "K0TB00E", good, Ok(())),
            (Usage::Tmk, "K1TB00E", good, Err(HsmError::KeyUsage)),
            (Usage::Bdk, "B0TX00N", good, Ok(())),
            (Usage::Data, "D0TB00E", good, Err(HsmError::KeyUsage)),
            (Usage::Zpk, "P0TBc1E", good, Err(HsmError::KeyUsage)),
            (Usage::Zpk, "P0TB00X", good, Err(HsmError::KeyBlockForm)),
            (Usage::Zpk, "P0HB00E", good, key(KeyDefect::Algorithm)),
            (Usage::Zpk, "P0AB00E", good, key(KeyDefect::Algorithm)),
            (Usage::Zpk, "P0TB00E", "5DB50B454F8389AD", key(KeyDefect::Length)),
            (Usage::Zpk, "P0TB00E", "5CB50B454F8389ADCE573BE50861F2BF", key(KeyDefect::Parity)),
            (Usage::Zpk, "P0TB00E", "01010101010101010123456789ABCDEF", key(KeyDefect::Weak)),
            // Stronger than the key it came under.
            (Usage::Zpk, "P0TB00E", triple, Err(HsmError::Export)),
        ];
        for (usage, header, clear, expected) in rows {
            let found = hsm.import_block(usage, &zmk, &made(header, clear)).map(|_| ());
            assert_eq!(found, expected, "{usage:?} {header} {}", clear.len());
        }
        for text in ["", "Q0080", "D0112", "B0080P0TE00E0000"] {
            let found = hsm.import_block(Usage::Zpk, &zmk, text);
            assert!(matches!(found, Err(HsmError::KeyBlockForm | HsmError::KeyBlock)), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_may_not_leave_stays() {
        let hsm = hsm();
        let zmk = zmk(&hsm, Algorithm::Des, ZMK);
        for usage in [Usage::Tpk, Usage::Tak, Usage::Tdk] {
            let (key, _) = hsm.generate(usage, KeyLength::Double).unwrap();
            assert_eq!(hsm.export_block(&key, &zmk), Err(HsmError::Export), "{usage:?}");
        }
        let (triple, _) = hsm.generate(Usage::Zpk, KeyLength::Triple).unwrap();
        assert_eq!(hsm.export_block(&triple, &zmk), Err(HsmError::Export), "under a shorter key");
        // What came in as one that may not leave.
        let came = made("P0TB00N", "5DB50B454F8389ADCE573BE50861F2BF");
        let (kept, _) = hsm.import_block(Usage::Zpk, &zmk, &came).unwrap();
        assert_eq!(hsm.usage(&kept), Ok(Usage::Zpk));
        assert_eq!(hsm.export_block(&kept, &zmk), Err(HsmError::Export));
        // A key of another usage protects nothing.
        let (zpk, _) = hsm.generate(Usage::Zpk, KeyLength::Double).unwrap();
        assert_eq!(hsm.export_block(&zpk, &Key::of(zpk.clone())), Err(HsmError::KeyUsage));
        let aes = AesKey::new(&octets(AES_ZMK)).unwrap().kcv();
        assert_eq!(hsm.kcv(self::zmk(&hsm, Algorithm::Aes, AES_ZMK).block()), Ok(aes));
    }
}
