//! What a key may be: the header codes of each [`Usage`], and the lengths it allows.
//!
//! | usage | code | modes | export | lengths |
//! |---|---|---|---|---|
//! | TMK | `K0` | `B` | `E` | double, triple |
//! | TPK | `71` | `B` | `N` | double, triple; single only as issued in UnionPay's form 001 |
//! | ZPK | `72` | `B` | `E` | double, triple |
//! | TAK | `81` | `C` | `N` | single, double |
//! | ZAK | `82` | `C` | `E` | single, double |
//! | TDK | `D0` | `B` | `N` | double, triple |
//! | data | `21` | `B` | `N` | none: derived from the LMK |
//!
//! Numeric codes are left to each implementation (X9.143, table 2). `71` and `72` tell a terminal's PIN
//! key from a zone's as payShield key blocks do; `P0` could not. `81` and `82` are ours: the standard's MAC
//! codes name an algorithm, have none for UnionPay's, and do not tell terminal from zone.

use super::des::{self, KeyLength};
use super::key_block::Header;
use super::{HsmError, KeyDefect, Usage};

/// Every usage, for looking one up by its code.
pub(super) const ALL: [Usage; 7] =
    [Usage::Tmk, Usage::Tpk, Usage::Tak, Usage::Tdk, Usage::Zpk, Usage::Zak, Usage::Data];

/// The two characters of a key block's header that stand for this usage.
#[must_use]
pub fn code(usage: Usage) -> &'static [u8; 2] {
    match usage {
        Usage::Tmk => b"K0",
        Usage::Tpk => b"71",
        Usage::Zpk => b"72",
        Usage::Tak => b"81",
        Usage::Zak => b"82",
        Usage::Tdk => b"D0",
        Usage::Data => b"21",
    }
}

/// The header that a key of this usage and length carries.
#[must_use]
pub fn header(usage: Usage, length: KeyLength) -> Header {
    let algorithm = match length {
        KeyLength::Single => b'D',
        KeyLength::Double | KeyLength::Triple => b'T',
    };
    let mode = match usage {
        Usage::Tak | Usage::Zak => b'C',
        Usage::Tmk | Usage::Tpk | Usage::Zpk | Usage::Tdk | Usage::Data => b'B',
    };
    let exportability = match usage {
        Usage::Tmk | Usage::Zpk | Usage::Zak => b'E',
        Usage::Tpk | Usage::Tak | Usage::Tdk | Usage::Data => b'N',
    };
    Header { usage: *code(usage), algorithm, mode, version: *b"00", exportability }
}

/// The usage that a header stands for; every field must be what [`header`] writes, and the length one that
/// the usage may have.
///
/// # Errors
/// [`HsmError::KeyUsage`] when it is no header of ours.
pub fn usage(found: Header, length: KeyLength) -> Result<Usage, HsmError> {
    ALL.into_iter()
        .find(|usage| header(*usage, length) == found && may_have(*usage, length))
        .ok_or(HsmError::KeyUsage)
}

fn may_have(usage: Usage, length: KeyLength) -> bool {
    match usage {
        Usage::Tpk => true,
        Usage::Tmk | Usage::Zpk | Usage::Tdk => length != KeyLength::Single,
        Usage::Tak | Usage::Zak => length != KeyLength::Triple,
        Usage::Data => false,
    }
}

/// Whether a key may come in from outside: its length suits the usage, its parity is odd, it is not weak
/// and no part repeats (PCI PIN 2-3).
///
/// # Errors
/// [`HsmError::Key`] says what is wrong; [`HsmError::KeyUsage`] for a key that never comes from outside.
pub fn check_import(usage: Usage, key: &[u8]) -> Result<(), HsmError> {
    let length = KeyLength::of(key.len())?;
    if usage == Usage::Data {
        return Err(HsmError::KeyUsage);
    }
    let only_issued = (usage, length) == (Usage::Tpk, KeyLength::Single);
    if only_issued || !may_have(usage, length) {
        return Err(HsmError::Key(KeyDefect::Length));
    }
    des::check_strength(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_usages_are_one_to_one() {
        for usage in ALL {
            for length in [KeyLength::Single, KeyLength::Double, KeyLength::Triple] {
                let written = header(usage, length);
                let expected = if may_have(usage, length) { Ok(usage) } else { Err(HsmError::KeyUsage) };
                assert_eq!(super::usage(written, length), expected);
                let others = [
                    Header { mode: b'N', ..written },
                    Header { exportability: b'S', ..written },
                    Header { version: *b"01", ..written },
                    Header { algorithm: b'A', ..written },
                    Header { usage: *b"P0", ..written },
                ];
                for other in others {
                    assert_eq!(super::usage(other, length), Err(HsmError::KeyUsage), "{other:?}");
                }
            }
        }
        let single = header(Usage::Tak, KeyLength::Single);
        assert_eq!(super::usage(single, KeyLength::Double), Err(HsmError::KeyUsage));
    }

    #[test]
    fn each_usage_takes_its_lengths() {
        let key = hex::decode("0123456789ABCDEFFEDCBA987654321013579BDF02468ACE").unwrap();
        let rows = [
            (Usage::Tmk, [false, true, true]),
            (Usage::Tpk, [false, true, true]),
            (Usage::Zpk, [false, true, true]),
            (Usage::Tdk, [false, true, true]),
            (Usage::Tak, [true, true, false]),
            (Usage::Zak, [true, true, false]),
            (Usage::Data, [false, false, false]),
        ];
        for (usage, expected) in rows {
            let found = [8, 16, 24].map(|octets| check_import(usage, &key[..octets]).is_ok());
            assert_eq!(found, expected, "{usage:?}");
            let kept = [KeyLength::Single, KeyLength::Double, KeyLength::Triple]
                .map(|length| super::usage(header(usage, length), length).is_ok());
            let issued = if usage == Usage::Tpk { [true, true, true] } else { expected };
            assert_eq!(kept, issued, "{usage:?}");
        }
    }
}
