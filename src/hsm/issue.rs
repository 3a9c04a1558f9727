//! Working keys as a UnionPay terminal gets them at sign-on: DE 62 of the 0810. Pure.
//!
//! ```text
//! 001   PIK (8) KCV (4) MAK (8) KCV (4)                                            24 octets
//! 003   PIK (16) KCV (4) MAK (8) zeros (8) KCV (4)                                 40
//! 004   PIK (16) KCV (4) MAK (8) zeros (8) KCV (4) TDK (16) KCV (4)                60
//! ```
//! Keys are under the TMK, ECB; the eight zeros behind the MAK are in clear. A KCV is the first four octets
//! of zeros encrypted under the key: single DES for the MAK, whose length is single in every form.

use super::des::{DesKey, KeyLength};
use super::{HsmError, KeyDefect};
use crate::transaction::KeyForm;

/// Octets of a check value on this wire.
const KCV: usize = 4;
/// The zeros that fill a MAK's slot where a double-length key would fit.
const FILL: [u8; 8] = [0; 8];

/// A terminal's clear working keys, as its own side holds them.
#[derive(Debug)]
pub struct WorkingKeys {
    /// PIN key (PIK).
    pub tpk: DesKey,
    /// MAC key (MAK).
    pub tak: DesKey,
    /// Track key.
    pub tdk: Option<DesKey>,
}

/// A key as it is sent.
pub(super) struct Sent {
    /// Under the TMK, ECB.
    pub(super) wrapped: Vec<u8>,
    /// Its check value.
    pub(super) kcv: [u8; KCV],
}

impl Sent {
    fn of(tmk: &DesKey, key: &[u8]) -> Result<Self, HsmError> {
        let [a, b, c, d, ..] = DesKey::new(key)?.check_value();
        Ok(Self { wrapped: tmk.encrypt_ecb(key)?, kcv: [a, b, c, d] })
    }
}

/// Lengths of the keys in one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// The PIK's.
    pub(super) tpk: KeyLength,
    /// Whether eight zeros follow the MAK.
    fill: &'static [u8],
    /// The TDK's, when there is one.
    pub(super) tdk: Option<KeyLength>,
}

impl Layout {
    /// The layout of a form; none when the dialect sends no keys.
    pub(super) fn of(form: KeyForm) -> Option<Self> {
        match form {
            KeyForm::Single => Some(Self { tpk: KeyLength::Single, fill: &[], tdk: None }),
            KeyForm::Double => Some(Self { tpk: KeyLength::Double, fill: &FILL, tdk: None }),
            KeyForm::DoubleWithTrack => {
                Some(Self { tpk: KeyLength::Double, fill: &FILL, tdk: Some(KeyLength::Double) })
            }
            KeyForm::None => None,
        }
    }

    /// Writes DE 62.
    pub(super) fn write(
        self,
        tmk: &DesKey,
        tpk: &[u8],
        tak: &[u8],
        tdk: Option<&[u8]>,
    ) -> Result<Vec<u8>, HsmError> {
        let tdk = tdk.map(|tdk| Sent::of(tmk, tdk)).transpose()?;
        Ok(self.join(&Sent::of(tmk, tpk)?, &Sent::of(tmk, tak)?, tdk.as_ref()))
    }

    /// Writes DE 62 of keys that are wrapped already.
    pub(super) fn join(self, tpk: &Sent, tak: &Sent, tdk: Option<&Sent>) -> Vec<u8> {
        let mut wire = Vec::with_capacity(60);
        for (key, fill) in [(Some(tpk), &[][..]), (Some(tak), self.fill), (tdk, &[])] {
            let Some(Sent { wrapped, kcv }) = key else { continue };
            wire.extend(wrapped);
            wire.extend(fill);
            wire.extend(kcv);
        }
        wire
    }
}

/// Reads DE 62 as the terminal does, and checks each key's check value.
///
/// # Errors
/// [`HsmError::Key`] when the length is not the form's, a check value does not match, or the form has no
/// keys.
pub fn read_working_keys(tmk: &DesKey, form: KeyForm, wire: &[u8]) -> Result<WorkingKeys, HsmError> {
    let layout = Layout::of(form).ok_or(HsmError::Input("this form holds no keys"))?;
    let mut rest = wire;
    let tpk = take(&mut rest, tmk, layout.tpk, &[])?;
    let tak = take(&mut rest, tmk, KeyLength::Single, layout.fill)?;
    let tdk = layout.tdk.map(|length| take(&mut rest, tmk, length, &[])).transpose()?;
    if rest.is_empty() { Ok(WorkingKeys { tpk, tak, tdk }) } else { Err(LENGTH) }
}

const LENGTH: HsmError = HsmError::Key(KeyDefect::Length);

fn take(rest: &mut &[u8], tmk: &DesKey, length: KeyLength, fill: &[u8]) -> Result<DesKey, HsmError> {
    let key = rest.split_off(..length.octets()).ok_or(LENGTH)?;
    rest.split_off(..fill.len()).ok_or(LENGTH)?;
    let kcv = rest.split_off(..KCV).ok_or(LENGTH)?;
    let key = DesKey::new(&tmk.decrypt_ecb(key)?)?;
    if key.check_value().starts_with(kcv) { Ok(key) } else { Err(HsmError::Key(KeyDefect::CheckValue)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn key(text: &str) -> DesKey {
        DesKey::new(&octets(text)).unwrap()
    }

    #[test]
    fn a_published_sign_on_reads() {
        // Two published sign-ons, their check values recomputed.
        let rows = [(
            "CA5D92598DCA48CE8A4C76361A9269E9",
            "6701EAD6A9AD51E51AA406E2C27FCFA98D0A74B8B651F9E9BACE9AE10000000000000000AB7153CA",
            "807A23AD32B36D457AE91FDF927570EA",
            "5BB5C72CD00B7338",
        )];
        for (tmk, wire, tpk, tak) in rows {
            let found = read_working_keys(&key(tmk), KeyForm::Double, &octets(wire)).unwrap();
            assert_eq!(found.tpk.check_value(), key(tpk).check_value());
            assert_eq!(found.tak.check_value(), key(tak).check_value());
            assert!(found.tdk.is_none());
        }
        let tmk = key("70F2A84CCBC2AE8625CBB0F2C22AB923");
        assert_eq!(*tmk.decrypt_ecb(&octets("96D605EA176B7E9E")).unwrap(), octets("C24A8FB57AA20123"));
    }

    #[test]
    fn what_is_written_reads_and_what_is_altered_does_not() {
        let tmk = key("0123456789ABCDEFFEDCBA9876543210");
        let (short, long) = (octets("13579BDF02468ACE"), octets("7C4A1F0D3B5E86A9D0E2F47586B9CDA2"));
        let rows = [
            (KeyForm::Single, &short, None, 24),
            (KeyForm::Double, &long, None, 40),
            (KeyForm::DoubleWithTrack, &long, Some(long.as_slice()), 60),
        ];
        for (form, tpk, tdk, length) in rows {
            let wire = Layout::of(form).unwrap().write(&tmk, tpk, &short, tdk).unwrap();
            assert_eq!(wire.len(), length, "{form:?}");
            let read = read_working_keys(&tmk, form, &wire).unwrap();
            assert_eq!(read.tpk.check_value(), DesKey::new(tpk).unwrap().check_value());
            assert_eq!(read.tdk.is_some(), tdk.is_some());
            for place in 0..length {
                let mut altered = wire.clone();
                altered[place] ^= 0x10;
                let in_clear = form != KeyForm::Single && (28..36).contains(&place);
                assert_eq!(read_working_keys(&tmk, form, &altered).is_ok(), in_clear, "{form:?} {place}");
                assert!(read_working_keys(&tmk, form, &wire[..place]).is_err(), "{form:?} {place}");
            }
            assert!(read_working_keys(&tmk, form, &[wire, vec![0]].concat()).is_err());
        }
        assert!(read_working_keys(&tmk, KeyForm::None, &[]).is_err());
    }
}
