//! A terminal's working keys: taken from DE 62 of a sign-on under its TMK, or injected for good.
//!
//! Makes and checks MACs, PIN blocks and encrypted tracks. Knows octets, not messages. Prints no key.

use tollgate::hsm::des::DesKey;
use tollgate::hsm::{MacAlgorithm, MacCheck, mac, pin, track};
use tollgate::transaction::{Pan, Track2};

use super::profile::{Card, Dialect, InjectedKeys, KeyForm};
use crate::record::LinkKeys;

/// Why a key, or what it should make, is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// DE 62 has not the length of the form that was asked for.
    #[error("DE 62 holds {0} octets, not {1}")]
    Length(usize, usize),
    /// A key does not give its check value.
    #[error("check value of the {0} does not match")]
    CheckValue(&'static str),
    /// The terminal has not signed on.
    #[error("no working keys: sign on first")]
    Missing,
    /// The terminal has no master key, or only one.
    #[error("this terminal's injected keys do not serve for that")]
    Injected,
    /// The card's number, track or PIN is malformed.
    #[error("card data: {0}")]
    Card(&'static str),
    /// The pure functions refused.
    #[error("cryptography: {0}")]
    Hsm(#[from] tollgate::hsm::HsmError),
}

/// The working keys.
pub(super) struct WorkingKeys {
    tpk: Working,
    tak: Working,
    tdk: Option<Working>,
    algorithm: MacAlgorithm,
}

/// A key's schedule and its octets (the wire record of test keys needs them).
struct Working {
    octets: Vec<u8>,
    schedule: DesKey,
}

impl Working {
    fn new(octets: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { octets: octets.to_vec(), schedule: DesKey::new(octets)? })
    }
}

impl std::fmt::Debug for WorkingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkingKeys(TPK {}, TAK {})", self.tpk.schedule.kcv(), self.tak.schedule.kcv())
    }
}

/// The MAC algorithm of a dialect: UnionPay "ECB", X9.19 elsewhere.
const fn algorithm(dialect: Dialect) -> MacAlgorithm {
    match dialect {
        Dialect::UnionPay => MacAlgorithm::UnionPayEcb,
        Dialect::Edc | Dialect::Ascii => MacAlgorithm::X919,
    }
}

/// Length of a check value in DE 62.
const CHECK: usize = 4;

impl WorkingKeys {
    /// The static keys of a profile, when it has them.
    pub(super) fn injected(dialect: Dialect, keys: &InjectedKeys) -> Result<Option<Self>, KeyError> {
        match keys {
            InjectedKeys::Master(_) => Ok(None),
            InjectedKeys::Static { tpk, tak } => Ok(Some(Self {
                tpk: Working::new(tpk)?,
                tak: Working::new(tak)?,
                tdk: None,
                algorithm: algorithm(dialect),
            })),
        }
    }

    /// Keys that a test gives, as they would be after a sign-on.
    pub(super) fn given(
        dialect: Dialect,
        tpk: &[u8],
        tak: &[u8],
        tdk: Option<&[u8]>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            tpk: Working::new(tpk)?,
            tak: Working::new(tak)?,
            tdk: tdk.map(Working::new).transpose()?,
            algorithm: algorithm(dialect),
        })
    }

    /// Takes DE 62 of a UnionPay 0810 apart, decrypts the keys under the TMK, checks each KCV:
    ///
    /// ```text
    /// 001   PIK 8  | KCV 4 | MAK 8              | KCV 4                     24 octets
    /// 003   PIK 16 | KCV 4 | MAK 8, 8 zeros     | KCV 4                     40 octets
    /// 004   PIK 16 | KCV 4 | MAK 8, 8 zeros     | KCV 4 | TDK 16 | KCV 4    60 octets
    /// ```
    /// The zeros are in clear: the MAK is a single DES key in every form.
    pub(super) fn received(keys: &InjectedKeys, form: KeyForm, de62: &[u8]) -> Result<Self, KeyError> {
        let InjectedKeys::Master(tmk) = keys else { return Err(KeyError::Injected) };
        let tmk = DesKey::new(tmk)?;
        let (slot, want) = match form {
            KeyForm::Single => (8, 24),
            KeyForm::Double => (16, 40),
            KeyForm::DoubleWithTrack => (16, 60),
        };
        if de62.len() != want {
            return Err(KeyError::Length(de62.len(), want));
        }
        let slots: Vec<_> = de62.chunks(slot + CHECK).collect();
        let unwrap = |place: usize, octets: usize, name: &'static str| {
            let content = slots.get(place).copied().unwrap_or_default();
            unwrapped(&tmk, content.get(..octets), content.get(slot..), name)
        };
        Ok(Self {
            tpk: unwrap(0, slot, "PIK")?,
            tak: unwrap(1, 8, "MAK")?,
            tdk: match form {
                KeyForm::Single | KeyForm::Double => None,
                KeyForm::DoubleWithTrack => Some(unwrap(2, 16, "TDK")?),
            },
            algorithm: MacAlgorithm::UnionPayEcb,
        })
    }

    /// Whether tracks travel encrypted.
    pub(super) const fn encrypts_tracks(&self) -> bool {
        self.tdk.is_some()
    }

    /// Whether the PIN key is a single DES key.
    pub(super) const fn is_single(&self) -> bool {
        self.tpk.octets.len() == 8
    }

    /// The same keys again, for another connection of the same terminal.
    pub(super) fn copied(&self) -> Result<Self, KeyError> {
        Ok(Self {
            tpk: Working::new(&self.tpk.octets)?,
            tak: Working::new(&self.tak.octets)?,
            tdk: self.tdk.as_ref().map(|tdk| Working::new(&tdk.octets)).transpose()?,
            algorithm: self.algorithm,
        })
    }

    /// The MAC over these octets: 8 octets as the dialect's DE 64 holds them.
    pub(super) fn mac(&self, data: &[u8]) -> Result<[u8; 8], KeyError> {
        Ok(mac::mac(self.algorithm, &self.tak.schedule, data)?)
    }

    /// Whether the MAC fits.
    pub(super) fn fits(&self, data: &[u8], mac: &[u8]) -> bool {
        mac::verify(&self.tak.schedule, MacCheck { algorithm: self.algorithm, data, mac }).is_ok()
    }

    /// The card's PIN as an ISO 9564 format 0 block under the TPK.
    pub(super) fn pin_block(&self, card: &Card) -> Result<Option<[u8; 8]>, KeyError> {
        let Some(pin) = &card.pin else { return Ok(None) };
        let pin = pin::block::Pin::parse(pin).map_err(|_| KeyError::Card("PIN is not 4 to 12 digits"))?;
        let pan = Pan::parse(&card.pan).map_err(|_| KeyError::Card("PAN is not 12 to 19 digits"))?;
        Ok(Some(self.tpk.schedule.encrypt(*pin::block::encode_iso0(&pin, &pan))))
    }

    /// DE 35: the track as it is, or under the TDK.
    pub(super) fn track2(&self, card: &Card) -> Result<String, KeyError> {
        let Some(tdk) = &self.tdk else { return Ok(card.track2.clone()) };
        let clear = Track2::parse(&card.track2).map_err(|_| KeyError::Card("track 2 is malformed"))?;
        Ok(track::encrypt(&tdk.schedule, &clear)?)
    }

    /// The keys in clear, for the wire record of a demonstration.
    pub(super) fn recorded(&self, injected: &InjectedKeys) -> LinkKeys {
        let tmk = match injected {
            InjectedKeys::Master(tmk) => Some(hex::encode_upper(tmk)),
            InjectedKeys::Static { .. } => None,
        };
        LinkKeys {
            tmk,
            tpk: Some(hex::encode_upper(&self.tpk.octets)),
            tak: Some(hex::encode_upper(&self.tak.octets)),
            tdk: self.tdk.as_ref().map(|tdk| hex::encode_upper(&tdk.octets)),
            ..LinkKeys::default()
        }
    }
}

fn unwrapped(
    tmk: &DesKey,
    cipher: Option<&[u8]>,
    check: Option<&[u8]>,
    name: &'static str,
) -> Result<Working, KeyError> {
    let (Some(cipher), Some(check)) = (cipher, check) else { return Err(KeyError::CheckValue(name)) };
    let key = Working::new(&tmk.decrypt_ecb(cipher)?)?;
    if key.schedule.check_value().starts_with(check) { Ok(key) } else { Err(KeyError::CheckValue(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn master(tmk: &str) -> InjectedKeys {
        InjectedKeys::Master(octets(tmk).try_into().unwrap())
    }

    /// Golden: protocol vectors of the UnionPay sign-on; the TDK slot follows in form 004.
    const TMK: &str = "0123456789ABCDEFFEDCBA9876543210";
    const FORM_003: &str = "521050D6AEC601A110243E9E5DCDC38DF869CD590F67E2EB76A5259C0000000000000000228977DA";
    const TDK_SLOT: &str = "7646340617CE6363F940A00AEF3A405163435184";

    #[test]
    fn working_keys_come_out_of_every_form() {
        let tmk = DesKey::new(&octets(TMK)).unwrap();
        // Form 001 made here: no published vector has single-length slots.
        let mut single = Vec::new();
        for key in ["2A1F4C7691B3D5E0", "13579BDF02468ACE"] {
            single.extend(tmk.encrypt_ecb(&octets(key)).unwrap());
            single.extend(&DesKey::new(&octets(key)).unwrap().check_value()[..4]);
        }
        let rows = [
            (KeyForm::Single, hex::encode_upper(single), "2A1F4C7691B3D5E0", None),
            (KeyForm::Double, FORM_003.to_owned(), "2A1F4C7691B3D5E084628CA1C2E5F708", None),
            (
                KeyForm::DoubleWithTrack,
                format!("{FORM_003}{TDK_SLOT}"),
                "2A1F4C7691B3D5E084628CA1C2E5F708",
                Some("7C4A1F0D3B5E86A9D0E2F47586B9CDA2".to_owned()),
            ),
        ];
        for (form, de62, pik, tdk) in rows {
            let keys = WorkingKeys::received(&master(TMK), form, &octets(&de62)).unwrap();
            let seen = keys.recorded(&master(TMK));
            assert_eq!(seen.tpk.as_deref(), Some(pik), "{form:?}");
            assert_eq!(seen.tak.as_deref(), Some("13579BDF02468ACE"), "{form:?}");
            assert_eq!(seen.tdk, tdk, "{form:?}");
            assert_eq!(keys.encrypts_tracks(), tdk.is_some());
        }
    }

    #[test]
    fn spoiled_key_slots_are_refused() {
        let whole = format!("{FORM_003}{TDK_SLOT}");
        // One nibble turned at this place; which key complains.
        for (place, name) in [(0, "PIK"), (35, "PIK"), (41, "MAK"), (79, "MAK"), (81, "TDK"), (119, "TDK")] {
            let mut spoiled = whole.clone();
            let turned = if &whole[place..=place] == "0" { "8" } else { "0" };
            spoiled.replace_range(place..=place, turned);
            let error =
                WorkingKeys::received(&master(TMK), KeyForm::DoubleWithTrack, &octets(&spoiled)).unwrap_err();
            assert_eq!(error, KeyError::CheckValue(name), "{place}");
        }
        let short = WorkingKeys::received(&master(TMK), KeyForm::DoubleWithTrack, &octets(FORM_003));
        assert_eq!(short.unwrap_err(), KeyError::Length(40, 60));
    }

    #[test]
    fn golden_pin_block_and_track() {
        let keys = WorkingKeys::received(
            &master(TMK),
            KeyForm::DoubleWithTrack,
            &octets(&format!("{FORM_003}{TDK_SLOT}")),
        )
        .unwrap();
        let card = Card::swiped("6225880012345675", "3012").with_pin("123456");
        assert_eq!(keys.pin_block(&card).unwrap().unwrap().to_vec(), octets("605CAB8CE0D1A2B9"));
        assert_eq!(keys.track2(&card).unwrap(), "6225880012345675AA5A7881CAF9ED9A00");
        assert_eq!(keys.pin_block(&card.clone().without_pin()).unwrap(), None);
        assert!(keys.pin_block(&card.with_pin("12")).is_err());
    }
}
