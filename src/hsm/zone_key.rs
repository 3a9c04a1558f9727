//! Zone keys as they travel between two organizations by network messages: key blocks under the ZMK, as
//! [`super::key_exchange`] has them, of double length or longer, and for the other side to keep (exportability `N`).

use super::des::KeyLength;
use super::policy::KeyKind;
use super::{HsmError, Key, KeyBlock, KeyDefect, SoftHsm, Usage, Zmk};
use crate::transaction::ZoneUse;

/// A zone key that was made. Prints the header of its block only.
pub struct ZoneKey {
    /// The key under the LMK.
    pub block: KeyBlock,
    /// The key under the ZMK, as the issuer takes it: a key block.
    pub sent: String,
    /// Its check value, 6 hexadecimal characters.
    pub kcv: String,
}

impl std::fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ZoneKey {{ block: {:?}, kcv: {}, … }}", self.block, self.kcv)
    }
}

/// What this HSM calls such a key.
const fn own(of: ZoneUse) -> Usage {
    match of {
        ZoneUse::Zpk => Usage::Zpk,
        ZoneUse::Zak => Usage::Zak,
    }
}

impl SoftHsm {
    /// As [`super::Hsm::make_zone_key`].
    pub(super) fn zone_key(&self, zmk: &Key<Zmk>, of: ZoneUse) -> Result<ZoneKey, HsmError> {
        // Before a key is made that could not be sent.
        self.key(zmk.block(), &[Usage::Zmk])?;
        let (block, kcv) = self.generate(own(of), KeyLength::Double)?;
        let sent = self.send_block(&block, zmk)?.block;
        Ok(ZoneKey { block, sent, kcv })
    }

    /// As [`super::Hsm::take_zone_key`].
    pub(super) fn open_zone_key(
        &self,
        zmk: &Key<Zmk>,
        of: ZoneUse,
        sent: &str,
    ) -> Result<(KeyBlock, String), HsmError> {
        self.import_block_if(own(of), zmk, sent, |kind| match kind {
            KeyKind::Des(KeyLength::Single) => Err(HsmError::Key(KeyDefect::Length)),
            KeyKind::Des(_) | KeyKind::Aes(_) => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::des::DesKey;
    use super::super::key_block::{FullHeader, Header, OptionalBlock, PAD, Protection, Version};
    use super::super::lmk::Lmk;
    use super::*;

    const ZMK: &str = "642C7904A4D5C238CD6E7A9D76D36449";
    const TRIPLE_ZMK: &str = "642C7904A4D5C238CD6E7A9D76D3644913579BDF02468ACE";
    const ZPK: &str = "98519E45CBB9291F49EFAD4AFEFDDC79";
    const TRIPLE: &str = "0123456789ABCDEFFEDCBA987654321013579BDF02468ACE";

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn hsm() -> SoftHsm {
        SoftHsm::new(&Lmk::from_bytes([0x41; 32])).unwrap()
    }

    fn zmk(hsm: &SoftHsm, clear: &str) -> Key<Zmk> {
        Key::of(hsm.import_clear(Usage::Zmk, &octets(clear)).unwrap().0)
    }

    /// A key block as the other side would make it: seven characters of header, key.
    fn sent(zmk: &str, fields: &str, key: &str) -> String {
        let [u0, u1, algorithm, mode, v0, v1, exportability] = *fields.as_bytes() else { panic!("{fields}") };
        let header = Header { usage: [u0, u1], algorithm, mode, version: [v0, v1], exportability };
        let protection = Protection::new(Version::B, &octets(zmk)).unwrap();
        protection.wrap(&header.into(), &octets(key), 24, &[0xA5; PAD]).unwrap()
    }

    #[test]
    fn what_one_side_makes_the_other_takes() {
        let (ours, theirs) = (hsm(), SoftHsm::new(&Lmk::from_bytes([0x42; 32])).unwrap());
        for (of, head) in [(ZoneUse::Zpk, "B0096P0TB00N0000"), (ZoneUse::Zak, "B0096M3TC00N0000")] {
            let made = ours.zone_key(&zmk(&ours, ZMK), of).unwrap();
            assert!(made.sent.starts_with(head), "{of:?}: {}", &made.sent[..16]);
            assert_eq!(ours.usage(&made.block), Ok(own(of)));
            assert_eq!(ours.kcv(&made.block).as_ref(), Ok(&made.kcv));
            let (block, kcv) = theirs.open_zone_key(&zmk(&theirs, ZMK), of, &made.sent).unwrap();
            assert_eq!((theirs.usage(&block), theirs.kcv(&block)), (Ok(own(of)), Ok(kcv.clone())));
            assert_eq!(kcv, made.kcv);
            let (_, clear) = Protection::new(Version::B, &octets(ZMK)).unwrap().unwrap(&made.sent).unwrap();
            assert_eq!(DesKey::new(&clear).unwrap().kcv(), kcv);
            let again = ours.zone_key(&zmk(&ours, ZMK), of).unwrap();
            assert_ne!(again.kcv, made.kcv, "a new key each time");
            let printed = format!("{made:?}");
            assert!(!printed.contains(&made.sent[16..]) && printed.contains(&made.kcv), "{printed}");
        }
    }

    #[test]
    fn only_a_key_for_this_use_is_taken() {
        let (of_pin, of_mac) = (ZoneUse::Zpk, ZoneUse::Zak);
        let length = Err(HsmError::Key(KeyDefect::Length));
        let single = "0123456789ABCDEF";
        #[rustfmt::skip]
        let rows = [
            ("PIN key", of_pin, "P0TB00N", ZPK, Ok("4FE9FD")),
            ("PIN key that encrypts", of_pin, "P0TE00E", ZPK, Ok("4FE9FD")),
            ("PIN key, second version", of_pin, "P0TB02S", ZPK, Ok("4FE9FD")),
            ("PIN key that decrypts", of_pin, "P0TD00N", ZPK, Err(HsmError::KeyMode)),
            ("PIN key of no restriction", of_pin, "P0TN00N", ZPK, Ok("4FE9FD")),
            ("PIN key of derivation", of_pin, "P0TX00N", ZPK, Err(HsmError::KeyMode)),
            ("PIN key for MACs", of_mac, "P0TB00N", ZPK, Err(HsmError::KeyUsage)),
            ("MAC key", of_mac, "M3TC00N", ZPK, Ok("4FE9FD")),
            ("MAC key that makes", of_mac, "M3TG00N", ZPK, Err(HsmError::KeyMode)),
            ("MAC key that verifies", of_mac, "M3TV00N", ZPK, Err(HsmError::KeyMode)),
            ("MAC key of algorithm 1", of_mac, "M1TC00N", ZPK, Err(HsmError::KeyUsage)),
            ("MAC key for PINs", of_pin, "M3TC00N", ZPK, Err(HsmError::KeyUsage)),
            ("ZMK", of_pin, "K1TB00N", ZPK, Err(HsmError::KeyUsage)),
            ("data key", of_pin, "D0TB00N", ZPK, Err(HsmError::KeyUsage)),
            ("component", of_pin, "P0TBc1N", ZPK, Err(HsmError::KeyUsage)),
            ("AES", of_pin, "P0AB00N", ZPK, Err(HsmError::Key(KeyDefect::Algorithm))),
            ("single DES", of_pin, "P0DB00N", single, length),
            ("single called triple", of_pin, "P0TB00N", single, length),
            ("single for MACs", of_mac, "M3TC00N", single, length),
            ("nine octets", of_pin, "P0TB00N", "0123456789ABCDEF01", length),
            ("triple under a double ZMK", of_pin, "P0TB00N", TRIPLE, Err(HsmError::Export)),
            ("triple for MACs", of_mac, "M3TC00N", TRIPLE, length),
            ("even parity", of_pin, "P0TB00N", "99519E45CBB9291F49EFAD4AFEFDDC79",
             Err(HsmError::Key(KeyDefect::Parity))),
            ("weak half", of_pin, "P0TB00N", "0101010101010101FEDCBA9876543210",
             Err(HsmError::Key(KeyDefect::Weak))),
            ("equal halves", of_mac, "M3TC00N", "FEDCBA9876543210FEDCBA9876543210",
             Err(HsmError::Key(KeyDefect::Repeats))),
        ];
        let hsm = hsm();
        let master = zmk(&hsm, ZMK);
        for (name, of, fields, key, expected) in rows {
            let found = hsm.open_zone_key(&master, of, &sent(ZMK, fields, key)).map(|(_, kcv)| kcv);
            assert_eq!(found, expected.map(String::from), "{name}");
        }
        let triple = hsm.open_zone_key(&zmk(&hsm, TRIPLE_ZMK), of_pin, &sent(TRIPLE_ZMK, "P0TB00N", TRIPLE));
        assert!(triple.is_ok(), "triple under triple: {triple:?}");
    }

    #[test]
    fn altered_and_foreign_blocks_are_refused() {
        let hsm = hsm();
        let master = zmk(&hsm, ZMK);
        let good = sent(ZMK, "P0TB00N", ZPK);
        for place in 0..good.len() {
            let mut altered = good.clone();
            let other = if &good[place..=place] == "0" { "1" } else { "0" };
            altered.replace_range(place..=place, other);
            let found = hsm.open_zone_key(&master, ZoneUse::Zpk, &altered).err();
            assert!(matches!(found, Some(HsmError::KeyBlock | HsmError::KeyBlockForm)), "{place}: {found:?}");
            let cut = hsm.open_zone_key(&master, ZoneUse::Zpk, &good[..place]).err();
            assert_eq!(cut, Some(HsmError::KeyBlockForm), "{place}");
        }
        let fixed =
            Header { usage: *b"P0", algorithm: b'T', mode: b'B', version: *b"00", exportability: b'N' };
        let version_d = Protection::new(Version::D, &octets(ZMK)).unwrap();
        let version_d = version_d.wrap(&fixed.into(), &octets(ZPK), 24, &[0xA5; PAD]).unwrap();
        let rows = [
            (
                "under another ZMK",
                sent("0123456789ABCDEFFEDCBA9876543210", "P0TB00N", ZPK),
                HsmError::KeyBlock,
            ),
            ("version D", version_d, HsmError::KeyBlock),
            ("nothing", String::new(), HsmError::KeyBlockForm),
            ("no block", "ZPK".into(), HsmError::KeyBlockForm),
        ];
        for (name, block, expected) in rows {
            assert_eq!(hsm.open_zone_key(&master, ZoneUse::Zpk, &block).err(), Some(expected), "{name}");
        }
        // What time stamps and the like say is authentic, and not looked at.
        let mut header = FullHeader::from(fixed);
        header.optional.push(OptionalBlock { id: *b"TS", data: "2026-11-23T20:04:00.00".into() });
        let protection = Protection::new(Version::B, &octets(ZMK)).unwrap();
        let optional = protection.wrap(&header, &octets(ZPK), 24, &[0xA5; PAD]).unwrap();
        let taken = hsm.open_zone_key(&master, ZoneUse::Zpk, &optional).map(|(_, kcv)| kcv);
        assert_eq!(taken.as_deref(), Ok("4FE9FD"));
    }
}
