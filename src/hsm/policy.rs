//! What a key may be: the header codes of each [`Usage`], and the algorithms and lengths it allows.
//!
//! | usage | code | modes | export | keys |
//! |---|---|---|---|---|
//! | TMK | `K0` | `B` | `E` | double, triple |
//! | ZMK | `K1` | `B` | `E` | double, triple, AES |
//! | BDK | `B0` | `X` | `E` | double, triple, AES |
//! | TPK | `71` | `B` | `N` | double, triple; single only as issued in UnionPay's form 001, where it serves no PIN |
//! | ZPK | `72` | `B` | `E` | double, triple |
//! | TAK | `81` | `C` | `N` | single, double |
//! | ZAK | `82` | `C` | `E` | single, double |
//! | TDK | `D0` | `B` | `N` | double, triple |
//! | data | `21` | `B` | `N` | none: derived from the LMK |
//!
//! Numeric codes are left to each implementation (X9.143, table 2). `71` and `72` tell a terminal's PIN
//! key from a zone's as payShield key blocks do; `P0` could not. `81` and `82` are ours: the standard's MAC
//! codes name an algorithm, have none for UnionPay's, and do not tell terminal from zone.

use super::aes::AesLength;
use super::des::{self, KeyLength};
use super::key_block::Header;
use super::{HsmError, KeyDefect, Usage};

/// Every usage, for looking one up by its code.
pub(super) const ALL: [Usage; 9] = [
    Usage::Tmk,
    Usage::Zmk,
    Usage::Bdk,
    Usage::Tpk,
    Usage::Tak,
    Usage::Tdk,
    Usage::Zpk,
    Usage::Zak,
    Usage::Data,
];

/// What a key is a key of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// DES or triple DES, by the key's length.
    Des,
    /// AES.
    Aes,
}

/// A key's algorithm and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// DES or triple DES.
    Des(KeyLength),
    /// AES.
    Aes(AesLength),
}

impl From<KeyLength> for KeyKind {
    fn from(length: KeyLength) -> Self {
        Self::Des(length)
    }
}

impl KeyKind {
    /// The kind of a key of so many octets.
    ///
    /// # Errors
    /// [`HsmError::Key`] when the algorithm has none of that length.
    pub fn of(algorithm: Algorithm, octets: usize) -> Result<Self, HsmError> {
        match algorithm {
            Algorithm::Des => KeyLength::of(octets).map(Self::Des),
            Algorithm::Aes => AesLength::of(octets).map(Self::Aes),
        }
    }

    /// Its length.
    #[must_use]
    pub fn octets(self) -> usize {
        match self {
            Self::Des(length) => length.octets(),
            Self::Aes(length) => length.octets(),
        }
    }

    /// Whether a key of this kind may protect one of the other: it is at least as strong (X9.24-1, 7.3; NIST SP
    /// 800-57-1, 5.6.1.1).
    #[must_use]
    pub fn protects(self, other: Self) -> bool {
        match (self, other) {
            (Self::Des(ours), Self::Des(theirs)) => ours.octets() >= theirs.octets(),
            (Self::Aes(ours), Self::Aes(theirs)) => ours.octets() >= theirs.octets(),
            (Self::Aes(_), Self::Des(_)) => true,
            (Self::Des(_), Self::Aes(_)) => false,
        }
    }

    /// The letter of a header.
    const fn letter(self) -> u8 {
        match self {
            Self::Des(KeyLength::Single) => b'D',
            Self::Des(KeyLength::Double | KeyLength::Triple) => b'T',
            Self::Aes(_) => b'A',
        }
    }
}

/// The algorithm that a header names.
///
/// # Errors
/// [`HsmError::Key`] when it is none that keys here are of.
pub fn algorithm(header: Header) -> Result<Algorithm, HsmError> {
    match header.algorithm {
        b'D' | b'T' => Ok(Algorithm::Des),
        b'A' => Ok(Algorithm::Aes),
        _ => Err(HsmError::Key(KeyDefect::Algorithm)),
    }
}

/// The two characters of a key block's header that stand for this usage.
#[must_use]
pub fn code(usage: Usage) -> &'static [u8; 2] {
    match usage {
        Usage::Tmk => b"K0",
        Usage::Zmk => b"K1",
        Usage::Bdk => b"B0",
        Usage::Tpk => b"71",
        Usage::Zpk => b"72",
        Usage::Tak => b"81",
        Usage::Zak => b"82",
        Usage::Tdk => b"D0",
        Usage::Data => b"21",
    }
}

/// The header that a key of this usage and kind carries.
#[must_use]
pub fn header(usage: Usage, kind: KeyKind) -> Header {
    let mode = match usage {
        Usage::Tak | Usage::Zak => b'C',
        Usage::Bdk => b'X',
        Usage::Tmk | Usage::Zmk | Usage::Tpk | Usage::Zpk | Usage::Tdk | Usage::Data => b'B',
    };
    let exportability = if may_leave(usage) { b'E' } else { b'N' };
    Header { usage: *code(usage), algorithm: kind.letter(), mode, version: *b"00", exportability }
}

/// Whether a key of this usage may be given to somebody else, under a key shared with them.
#[must_use]
pub const fn may_leave(usage: Usage) -> bool {
    match usage {
        Usage::Tmk | Usage::Zmk | Usage::Bdk | Usage::Zpk | Usage::Zak => true,
        Usage::Tpk | Usage::Tak | Usage::Tdk | Usage::Data => false,
    }
}

/// The usage that a header stands for; every field must be what [`header`] writes, and the kind one that
/// the usage may have. Only that a key may leave can have been taken from it.
///
/// # Errors
/// [`HsmError::KeyMode`] when its mode of use alone is another, [`HsmError::KeyUsage`] when it is no header of ours.
pub fn usage(found: Header, kind: KeyKind) -> Result<Usage, HsmError> {
    let fits = |found: Header| {
        ALL.into_iter().find(|usage| {
            let written = header(*usage, kind);
            let held_back = Header { exportability: b'N', ..written };
            (found == written || found == held_back) && may_have(*usage, kind)
        })
    };
    fits(found).ok_or_else(|| {
        let of_mode = |mode: &u8| fits(Header { mode: *mode, ..found }).is_some();
        if b"BCX".iter().any(of_mode) { HsmError::KeyMode } else { HsmError::KeyUsage }
    })
}

fn may_have(usage: Usage, kind: KeyKind) -> bool {
    match (usage, kind) {
        (Usage::Tpk, KeyKind::Des(_)) | (Usage::Zmk | Usage::Bdk, KeyKind::Aes(_)) => true,
        (Usage::Tmk | Usage::Zmk | Usage::Bdk | Usage::Zpk | Usage::Tdk, KeyKind::Des(length)) => {
            length != KeyLength::Single
        }
        (Usage::Tak | Usage::Zak, KeyKind::Des(length)) => length != KeyLength::Triple,
        (Usage::Data, _)
        | (Usage::Tmk | Usage::Tpk | Usage::Zpk | Usage::Tdk | Usage::Tak | Usage::Zak, KeyKind::Aes(_)) => {
            false
        }
    }
}

/// Whether a key may come in from outside: its kind suits the usage; a DES key's parity is odd, it is not weak
/// and no part repeats (PCI PIN 2-3).
///
/// # Errors
/// [`HsmError::Key`] says what is wrong; [`HsmError::KeyUsage`] for a key that never comes from outside.
pub fn check_import(usage: Usage, algorithm: Algorithm, key: &[u8]) -> Result<KeyKind, HsmError> {
    let kind = KeyKind::of(algorithm, key.len())?;
    if usage == Usage::Data {
        return Err(HsmError::KeyUsage);
    }
    let only_issued = (usage, kind) == (Usage::Tpk, KeyKind::Des(KeyLength::Single));
    if only_issued || !may_have(usage, kind) {
        return Err(HsmError::Key(match kind {
            KeyKind::Des(_) => KeyDefect::Length,
            KeyKind::Aes(_) => KeyDefect::Algorithm,
        }));
    }
    match kind {
        KeyKind::Des(_) => des::check_strength(key)?,
        KeyKind::Aes(_) if key.iter().all(|octet| Some(octet) == key.first()) => {
            return Err(HsmError::Key(KeyDefect::Weak));
        }
        KeyKind::Aes(_) => {}
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DES: [KeyKind; 3] =
        [KeyKind::Des(KeyLength::Single), KeyKind::Des(KeyLength::Double), KeyKind::Des(KeyLength::Triple)];
    const AES: [KeyKind; 3] =
        [KeyKind::Aes(AesLength::Aes128), KeyKind::Aes(AesLength::Aes192), KeyKind::Aes(AesLength::Aes256)];

    #[test]
    fn codes_and_usages_are_one_to_one() {
        for usage in ALL {
            for kind in DES.into_iter().chain(AES) {
                let written = header(usage, kind);
                let expected = if may_have(usage, kind) { Ok(usage) } else { Err(HsmError::KeyUsage) };
                assert_eq!(super::usage(written, kind), expected);
                assert_eq!(KeyKind::of(algorithm(written).unwrap(), kind.octets()), Ok(kind));
                let mode = Header { mode: b'N', ..written };
                let refused = if may_have(usage, kind) { HsmError::KeyMode } else { HsmError::KeyUsage };
                assert_eq!(super::usage(mode, kind), Err(refused), "{usage:?} {kind:?}");
                let others = [
                    Header { exportability: b'S', ..written },
                    Header { version: *b"01", ..written },
                    Header { algorithm: b'H', ..written },
                    Header { usage: *b"P0", ..written },
                ];
                let held_back = Header { exportability: b'N', ..written };
                assert_eq!(super::usage(held_back, kind), expected);
                for other in others {
                    assert_eq!(super::usage(other, kind), Err(HsmError::KeyUsage), "{other:?}");
                }
            }
        }
        let single = header(Usage::Tak, DES[0]);
        assert_eq!(super::usage(single, DES[1]), Err(HsmError::KeyUsage));
        let other = Header { algorithm: b'R', ..single };
        assert_eq!(algorithm(other), Err(HsmError::Key(KeyDefect::Algorithm)));
    }

    #[test]
    fn each_usage_takes_its_lengths() {
        let key = hex::decode("0123456789ABCDEFFEDCBA987654321013579BDF02468ACE5E5E5E5E5E5E5E5E").unwrap();
        let (no, aes) = ([false; 3], [true; 3]);
        let rows = [
            (Usage::Tmk, [false, true, true], no),
            (Usage::Zmk, [false, true, true], aes),
            (Usage::Bdk, [false, true, true], aes),
            (Usage::Tpk, [false, true, true], no),
            (Usage::Zpk, [false, true, true], no),
            (Usage::Tdk, [false, true, true], no),
            (Usage::Tak, [true, true, false], no),
            (Usage::Zak, [true, true, false], no),
            (Usage::Data, no, no),
        ];
        for (usage, des, aes) in rows {
            let imported = |algorithm, octets: usize| check_import(usage, algorithm, &key[..octets]).is_ok();
            assert_eq!([8, 16, 24].map(|octets| imported(Algorithm::Des, octets)), des, "{usage:?}");
            assert_eq!([16, 24, 32].map(|octets| imported(Algorithm::Aes, octets)), aes, "{usage:?}");
            let kept = DES.map(|kind| super::usage(header(usage, kind), kind).is_ok());
            let issued = if usage == Usage::Tpk { [true; 3] } else { des };
            assert_eq!(kept, issued, "{usage:?}");
            assert_eq!(AES.map(|kind| super::usage(header(usage, kind), kind).is_ok()), aes, "{usage:?}");
        }
        let constant = check_import(Usage::Zmk, Algorithm::Aes, &[0x5E; 16]);
        assert_eq!(constant, Err(HsmError::Key(KeyDefect::Weak)));
    }

    #[test]
    fn a_key_protects_none_that_is_stronger() {
        let all = DES.into_iter().chain(AES);
        for (strength, ours) in all.clone().enumerate() {
            for (other, theirs) in all.clone().enumerate() {
                assert_eq!(ours.protects(theirs), strength >= other, "{ours:?} {theirs:?}");
            }
        }
    }
}
