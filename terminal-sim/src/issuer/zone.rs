//! An issuer's side of its zone keys: opens PIN blocks under the ZPK, checks and makes MACs under the ZAK.
//!
//! The simulator holds test keys in clear; all cryptography is the HSM's own functions.

use super::config::{ConfigError, ZoneKeys};
use super::request::PinEntry;
use iso8583_spec::View;
use tollgate::hsm::{DesKey, MacAlgorithm, MacCheck, mac, pin_block};
use tollgate::transaction::Pan;

/// The keys, ready for use.
pub(super) struct Zone {
    zpk: Option<DesKey>,
    zak: Option<DesKey>,
}

impl Zone {
    pub(super) fn new(keys: &ZoneKeys) -> Result<Self, ConfigError> {
        let open = |name: &str, key: &Option<String>| {
            let fault = || ConfigError::Faults(vec![format!("{name} is not 32 hexadecimal digits")]);
            let Some(digits) = key else { return Ok(None) };
            let clear = hex::decode(digits).ok().filter(|clear| clear.len() == 16).ok_or_else(fault)?;
            DesKey::new(&clear).map(Some).map_err(|_| fault())
        };
        Ok(Self { zpk: open("zpk", &keys.zpk)?, zak: open("zak", &keys.zak)? })
    }

    /// Opens DE 52, which the switch sends in ISO 9564-1 format 0.
    pub(super) fn open_pin(&self, block: Option<&[u8]>, pan: Option<&Pan>) -> PinEntry {
        let (Some(zpk), Some(block)) = (&self.zpk, block) else { return PinEntry::Absent };
        let (Ok(block), Some(pan)) = (<[u8; 8]>::try_from(block), pan) else { return PinEntry::Unreadable };
        match pin_block::decode_iso0(&zpk.decrypt(block), pan) {
            Ok(pin) => PinEntry::Clear(pin),
            Err(_) => PinEntry::Unreadable,
        }
    }

    /// Whether the message's MAC is right. Network management may come without one.
    pub(super) fn trusts(&self, view: &View<'_>) -> bool {
        let Some(zak) = &self.zak else { return true };
        let (Some(data), Some(mac)) = (view.mac_data(), view.bytes(64).or_else(|| view.bytes(128))) else {
            return view.mti().class() == '8';
        };
        mac::verify(zak, MacCheck { algorithm: MacAlgorithm::X919, data, mac: &mac }).is_ok()
    }

    /// Whether an answer to the message carries a MAC.
    pub(super) fn macs_answer(&self, view: &View<'_>) -> bool {
        self.zak.is_some() && (view.mti().class() != '8' || view.mac_data().is_some())
    }

    pub(super) fn mac(&self, data: &[u8]) -> Option<[u8; 8]> {
        mac::mac(MacAlgorithm::X919, self.zak.as_ref()?, data).ok()
    }
}
