//! An issuer's side of its zone keys: opens PIN blocks under the ZPK, checks and makes MACs under the ZAK, changes
//! either under the ZMK.
//!
//! A key before the newest is right until the first message under the newest. The simulator holds test keys in clear;
//! all cryptography is the HSM's own functions.

use super::config::{ConfigError, ZoneKeys};
use super::request::PinEntry;
use iso8583_spec::View;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tollgate::hsm::key_block::{Header, PAD, Protection, Version};
use tollgate::hsm::{DesKey, MacAlgorithm, MacCheck, OpenSslRandom, Random, mac, pin};
use tollgate::transaction::{Pan, ZoneUse};

/// A clear key.
pub(super) struct Held {
    pub(super) clear: Vec<u8>,
    key: DesKey,
}

impl Held {
    pub(super) fn new(clear: &[u8]) -> Option<Arc<Self>> {
        Some(Arc::new(Self { clear: clear.to_vec(), key: DesKey::new(clear).ok()? }))
    }

    pub(super) fn kcv(&self) -> String {
        self.key.kcv()
    }
}

/// The keys of one use.
#[derive(Default)]
struct Slot {
    current: Option<Arc<Held>>,
    /// Those before, until the first message under the current one: of two changes in a row the first one's key may
    /// still be on its way.
    former: Vec<Arc<Held>>,
    /// One that was sent and is not acknowledged.
    pending: Option<Arc<Held>>,
}

impl Slot {
    /// The first key that fits; what that tells is kept.
    fn fitting(&mut self, fits: impl Fn(&DesKey) -> bool) -> Option<Arc<Held>> {
        let fits = |held: &&Arc<Held>| fits(&held.key);
        if let Some(held) = self.current.as_ref().filter(fits).cloned() {
            self.former.clear();
            return Some(held);
        }
        if let Some(held) = self.pending.as_ref().filter(fits).cloned() {
            self.current = self.pending.take();
            self.former.clear();
            return Some(held);
        }
        self.former.iter().find(fits).cloned()
    }

    /// A key is in force.
    fn put(&mut self, new: Arc<Held>) {
        if self.current.as_ref().is_none_or(|held| held.clear != new.clear) {
            self.former.extend(self.current.replace(new));
        }
        self.pending = None;
    }
}

#[derive(Default)]
struct Keys {
    zpk: Slot,
    zak: Slot,
}

impl Keys {
    fn slot(&mut self, of: ZoneUse) -> &mut Slot {
        match of {
            ZoneUse::Zpk => &mut self.zpk,
            ZoneUse::Zak => &mut self.zak,
        }
    }
}

/// The keys, ready for use.
pub(super) struct Zone {
    zmk: Option<Vec<u8>>,
    keys: Mutex<Keys>,
}

/// A key that is on its way to the switch.
pub(super) struct Offered {
    pub(super) key: Arc<Held>,
    pub(super) block: String,
}

impl Zone {
    pub(super) fn new(keys: &ZoneKeys) -> Result<Self, ConfigError> {
        let clear = |name: &str, key: &Option<String>| {
            let fault = || ConfigError::Faults(vec![format!("{name} is not 32 hexadecimal digits")]);
            let Some(digits) = key else { return Ok(None) };
            hex::decode(digits).ok().filter(|clear| clear.len() == 16).ok_or_else(fault).map(Some)
        };
        let slot = |name: &str, key: &Option<String>| {
            let current = clear(name, key)?.and_then(|clear| Held::new(&clear));
            Ok::<_, ConfigError>(Slot { current, ..Slot::default() })
        };
        let held = Keys { zpk: slot("zpk", &keys.zpk)?, zak: slot("zak", &keys.zak)? };
        Ok(Self { zmk: clear("zmk", &keys.zmk)?, keys: Mutex::new(held) })
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens DE 52, which the switch sends in ISO 9564-1 format 0.
    pub(super) fn open_pin(&self, block: Option<&[u8]>, pan: Option<&Pan>) -> PinEntry {
        let mut keys = self.keys();
        let (true, Some(block)) = (keys.zpk.current.is_some(), block) else { return PinEntry::Absent };
        let (Ok(block), Some(pan)) = (<[u8; 8]>::try_from(block), pan) else { return PinEntry::Unreadable };
        let open = |zpk: &DesKey| pin::block::decode_iso0(&zpk.decrypt(block), pan);
        let fitting = keys.zpk.fitting(|zpk| open(zpk).is_ok());
        fitting.and_then(|held| open(&held.key).ok()).map_or(PinEntry::Unreadable, PinEntry::Clear)
    }

    /// The key that a message's MAC is right under.
    pub(super) fn mac_key(&self, view: &View<'_>) -> Option<Arc<Held>> {
        let mac = view.bytes(64).or_else(|| view.bytes(128))?;
        let check = MacCheck { algorithm: MacAlgorithm::X919, data: view.mac_data()?, mac: &mac };
        self.keys().zak.fitting(|zak| mac::verify(zak, check).is_ok())
    }

    /// Whether the link has MACs.
    pub(super) fn has_macs(&self) -> bool {
        self.keys().zak.current.is_some()
    }

    /// Whether the message's MAC is right. Network management may come without one.
    pub(super) fn trusts(&self, view: &View<'_>) -> bool {
        if !self.has_macs() {
            return true;
        }
        if view.mac_data().is_none() { view.mti().class() == '8' } else { self.mac_key(view).is_some() }
    }

    /// Whether an answer to the message carries a MAC.
    pub(super) fn macs_answer(&self, view: &View<'_>) -> bool {
        self.has_macs() && (view.mti().class() != '8' || view.mac_data().is_some())
    }

    /// A MAC under the key in force.
    pub(super) fn mac(&self, data: &[u8]) -> Option<[u8; 8]> {
        mac::mac(MacAlgorithm::X919, &self.keys().zak.current.as_ref()?.key, data).ok()
    }

    /// A key block's key and its use, when it is one that may be taken.
    pub(super) fn unwrap(&self, block: &str) -> Option<(ZoneUse, Arc<Held>)> {
        let (header, clear) = Protection::new(Version::B, self.zmk.as_ref()?).ok()?.unwrap(block).ok()?;
        let of = match (&header.fixed.usage, header.fixed.mode) {
            (b"P0", b'B' | b'D') => ZoneUse::Zpk,
            (b"M3", b'C') => ZoneUse::Zak,
            _ => return None,
        };
        Some((of, Held::new(&clear).filter(|held| held.clear.len() == 16)?))
    }

    /// Makes a key, and its block for the switch with this usage and mode; a new key is pending from here on.
    pub(super) fn offer(&self, of: ZoneUse, (usage, mode): ([u8; 2], u8)) -> Option<Offered> {
        let (mut clear, mut pad) = ([0; 16], [0; PAD]);
        OpenSslRandom.des_key(&mut clear).ok()?;
        OpenSslRandom.fill(&mut pad).ok()?;
        let header = Header { usage, algorithm: b'T', mode, version: *b"00", exportability: b'N' };
        let protection = Protection::new(Version::B, self.zmk.as_ref()?).ok()?;
        let block = protection.wrap(&header.into(), &clear, 24, &pad).ok()?;
        let key = Held::new(&clear)?;
        self.keys().slot(of).pending = Some(Arc::clone(&key));
        Some(Offered { key, block })
    }

    /// The switch has the key.
    pub(super) fn put(&self, of: ZoneUse, key: Arc<Held>) {
        self.keys().slot(of).put(key);
    }

    /// The switch has refused the key.
    pub(super) fn withdraw(&self, of: ZoneUse) {
        self.keys().slot(of).pending = None;
    }

    /// The key in force.
    pub(super) fn current(&self, of: ZoneUse) -> Option<Arc<Held>> {
        self.keys().slot(of).current.clone()
    }
}

/// A MAC under any key.
pub(super) fn mac_under(key: &Held, data: &[u8]) -> Option<[u8; 8]> {
    mac::mac(MacAlgorithm::X919, &key.key, data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(digit: u8) -> Arc<Held> {
        Held::new(&[digit; 16]).unwrap()
    }

    /// The key that made a block of zeros fits and no other does.
    fn fits(slot: &mut Slot, digit: u8) -> bool {
        let made = held(digit).key.encrypt([0; 8]);
        slot.fitting(|key| key.encrypt([0; 8]) == made).is_some()
    }

    #[test]
    fn keys_before_the_newest_serve_until_the_newest_does() {
        let mut slot = Slot { current: Some(held(0x01)), ..Slot::default() };
        assert!(fits(&mut slot, 0x01) && !fits(&mut slot, 0x13));
        // Two changes in a row: messages under either key before may still be on their way.
        slot.put(held(0x13));
        slot.put(held(0x25));
        slot.put(held(0x25));
        assert!(fits(&mut slot, 0x13) && fits(&mut slot, 0x01) && fits(&mut slot, 0x13));
        assert!(fits(&mut slot, 0x25));
        assert!(!fits(&mut slot, 0x13) && !fits(&mut slot, 0x01));
        // A key that was sent and not acknowledged is known to be in force by its first message.
        slot.pending = Some(held(0x37));
        assert!(fits(&mut slot, 0x25) && fits(&mut slot, 0x37) && !fits(&mut slot, 0x25));
    }
}
