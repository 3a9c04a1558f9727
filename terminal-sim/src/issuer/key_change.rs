//! The change of a zone key with the switch, from either side: 0800 with DE 70 = 161 (a new key in DE 48) or 162 (one is
//! wanted).

use super::zone::{Held, Zone, mac_under};
use iso8583_spec::{EncodeError, Encoder, Mti, Spec, View};
use std::sync::Arc;
use tollgate::transaction::ZoneUse;

/// What is wrong with what an issuer says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyFault {
    /// Nothing.
    #[default]
    None,
    /// A character of the key block is another.
    AlteredBlock,
    /// The block's header says that it is a key for data.
    WrongUsage,
    /// The MAC is under a key that nobody knows.
    StrangersMac,
    /// The check value of the switch's key is another.
    WrongCheckValue,
}

/// A key that nobody knows.
const STRANGER: [u8; 16] = [0x2A; 16];

/// Whether a message is about a zone key.
pub(super) fn is_key_message(view: &View<'_>) -> bool {
    view.mti() == Mti::NETWORK && view.text(70).is_some_and(|code| matches!(&*code, "161" | "162"))
}

/// What is to be said and done about a message of the switch.
pub(super) struct Said {
    /// The body of the 0810.
    pub(super) answer: Vec<u8>,
    /// The key that came.
    pub(super) taken: Option<ZoneUse>,
    /// A key is wanted.
    pub(super) wanted: Option<ZoneUse>,
}

/// Answers the switch. The MAC of the answer is under the key that the request's was.
pub(super) fn answer(view: &View<'_>, zone: &Zone, fault: KeyFault) -> Result<Said, EncodeError> {
    let zak = if zone.has_macs() { zone.mac_key(view) } else { None };
    let trusted = zak.is_some() || !zone.has_macs();
    let sign_with = zak.or_else(|| zone.current(ZoneUse::Zak));
    let content = view.text(48).map(|text| text.trim_end().to_owned()).unwrap_or_default();
    let is_new = view.text(70).as_deref() == Some("161");
    let came = if trusted && is_new { zone.unwrap(&content) } else { None };
    let wanted = ZoneUse::from_name(&content).filter(|_| trusted && !is_new);
    let mut e = Encoder::new(view.spec(), view.mti().response());
    for de in [7, 11] {
        if let Some(text) = view.text(de) {
            e.text(de, &text)?;
        }
    }
    e.text(39, if came.is_some() || wanted.is_some() { "00" } else { "63" })?;
    if let Some((_, key)) = &came {
        let kcv = if fault == KeyFault::WrongCheckValue { "000000".to_owned() } else { key.kcv() };
        e.text(48, &kcv)?;
    }
    if let Some(text) = view.text(70) {
        e.text(70, &text)?;
    }
    let answer = sealed(e, sign_with.as_deref(), fault)?;
    let mut taken = None;
    if let Some((of, key)) = came.filter(|_| fault == KeyFault::None) {
        zone.put(of, key);
        taken = Some(of);
    }
    Ok(Said { answer, taken, wanted })
}

/// A key on its way to the switch: the body of the 0800, and what is to be put in force when it is acknowledged.
pub(super) fn offer(
    spec: &Spec,
    zone: &Zone,
    of: ZoneUse,
    stan: &str,
    fault: KeyFault,
) -> Option<(Vec<u8>, Arc<Held>)> {
    let header = match (of, fault) {
        (_, KeyFault::WrongUsage) => (*b"D0", b'B'),
        (ZoneUse::Zpk, _) => (*b"P0", b'E'),
        (ZoneUse::Zak, _) => (*b"M3", b'C'),
    };
    let offered = zone.offer(of, header)?;
    let mut block = offered.block;
    if fault == KeyFault::AlteredBlock {
        let last = if block.ends_with('0') { '1' } else { '0' };
        block.pop();
        block.push(last);
    }
    let body = message(spec, zone, (stan, "161", &block), fault)?;
    Some((body, offered.key))
}

/// An 0800: STAN, DE 70, DE 48.
pub(super) fn message(
    spec: &Spec,
    zone: &Zone,
    (stan, management, content): (&str, &str, &str),
    fault: KeyFault,
) -> Option<Vec<u8>> {
    let mut e = Encoder::new(spec, Mti::NETWORK);
    e.text(7, "1123000000").ok()?;
    e.text(11, stan).ok()?;
    e.text(48, content).ok()?;
    e.text(70, management).ok()?;
    sealed(e, zone.current(ZoneUse::Zak).as_deref(), fault).ok()
}

fn sealed(mut e: Encoder<'_>, zak: Option<&Held>, fault: KeyFault) -> Result<Vec<u8>, EncodeError> {
    if let Some(zak) = zak {
        let stranger = Held::new(&STRANGER).filter(|_| fault == KeyFault::StrangersMac);
        let mac = mac_under(stranger.as_deref().unwrap_or(zak), e.mac_data(128)?);
        e.mac(&mac.unwrap_or_default())?;
    }
    e.finish()
}
