//! How the change of a zone key is said on an issuer link, read and written. Knows the messages, not the keys: the
//! layout is drawn in [`super::issuer`].

use crate::transaction::{LinkTime, Refusal, Stan, ZoneUse};
use iso8583_spec::{EncodeError, Encoder, Mti, Spec, View};

/// DE 70: a new key.
const NEW_KEY: &str = "161";
/// DE 70: a new key is asked for.
const WANTED: &str = "162";
/// Longest DE 48 that is read as a key block, characters: one of version B with a triple-length key has 96, optional
/// blocks make it longer.
const BLOCK_MAX: usize = 512;

/// What a message about a zone key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMessage<'a> {
    /// Here is a new key: its use by the header of its block, and the block.
    New(ZoneUse, &'a str),
    /// Send a new key of this use.
    Wanted(ZoneUse),
}

/// Whether a message is about a zone key.
#[must_use]
pub fn is_key_message(view: &View<'_>) -> bool {
    view.text(70).is_some_and(|code| matches!(&*code, NEW_KEY | WANTED))
}

/// Which key a block's header says it is: `P0` PIN encryption, `M` and a digit a MAC key.
fn use_of(block: &str) -> Option<ZoneUse> {
    match block.as_bytes().get(5..7)? {
        b"P0" => Some(ZoneUse::Zpk),
        b"M3" => Some(ZoneUse::Zak),
        _ => None,
    }
}

/// Reads a request about a zone key out of DE 48, which the caller has taken from the view.
///
/// # Errors
/// [`Refusal::Format`] when DE 48 is absent, too long or does not say which key; [`Refusal::NotSupported`] for a
/// DE 70 that is about no key; [`Refusal::Security`] for a block of another usage.
pub fn read<'a>(management: Option<&str>, content: Option<&'a str>) -> Result<KeyMessage<'a>, Refusal> {
    let content = content.map(str::trim_end).filter(|text| text.len() <= BLOCK_MAX).ok_or(Refusal::Format);
    match management {
        Some(NEW_KEY) => {
            let block = content?;
            if block.len() < 16 {
                return Err(Refusal::Format);
            }
            Ok(KeyMessage::New(use_of(block).ok_or(Refusal::Security)?, block))
        }
        Some(WANTED) => ZoneUse::from_name(content?).map(KeyMessage::Wanted).ok_or(Refusal::Format),
        Some(_) | None => Err(Refusal::NotSupported),
    }
}

/// Our 0800, up to its MAC.
///
/// # Errors
/// [`EncodeError`] when a value does not fit its field.
pub fn request<'s>(
    spec: &'s Spec,
    said: KeyMessage<'_>,
    stan: Stan,
    time: LinkTime,
) -> Result<Encoder<'s>, EncodeError> {
    let mut e = Encoder::new(spec, Mti::NETWORK);
    e.text(7, time.as_str())?;
    e.text(11, &stan.to_string())?;
    match said {
        KeyMessage::New(_, block) => {
            e.text(48, block)?;
            e.text(70, NEW_KEY)?;
        }
        KeyMessage::Wanted(of) => {
            e.text(48, &of.name().to_ascii_uppercase())?;
            e.text(70, WANTED)?;
        }
    }
    Ok(e)
}

/// Our 0810, up to its MAC: accepted, with the check value of a key that was taken, or refused.
///
/// # Errors
/// [`EncodeError`] when a value does not fit its field.
pub fn answer<'s>(
    request: &View<'s>,
    outcome: Result<Option<&str>, Refusal>,
) -> Result<Encoder<'s>, EncodeError> {
    let mut e = Encoder::new(request.spec(), request.mti().response());
    for de in [7, 11] {
        if let Some(text) = request.text(de) {
            e.text(de, &text)?;
        }
    }
    e.text(39, outcome.map_or_else(code, |_| "00"))?;
    if let Ok(Some(kcv)) = outcome {
        e.text(48, kcv)?;
    }
    if let Some(text) = request.text(70) {
        e.text(70, &text)?;
    }
    Ok(e)
}

/// DE 39 of a refusal.
#[must_use]
pub fn code(refusal: Refusal) -> &'static str {
    CODES.iter().find(|(of, _)| *of == refusal).map_or("96", |(_, code)| code)
}

/// Refusals that do not stand here are our own trouble: 96, ask again.
const CODES: [(Refusal, &str); 4] = [
    (Refusal::Format, "30"),
    (Refusal::NotSupported, "12"),
    (Refusal::BadMac, "63"),
    (Refusal::Security, "63"),
];

/// What an 0810 said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// DE 39 = 00, and DE 48: a check value, where the request sent a key.
    Accepted(Option<String>),
    /// Refused for the moment: ask again.
    Later(String),
    /// Refused.
    Refused(String),
}

/// Codes that ask to be asked again.
const AGAIN: [&str; 4] = ["91", "96", "90", "68"];

/// Reads an 0810. `None`: it cannot be used.
#[must_use]
pub fn read_answer(view: &View<'_>) -> Option<KeyAnswer> {
    if view.mti() != Mti::NETWORK.response() {
        return None;
    }
    let code = view.text(39)?.to_string();
    Some(match code.as_str() {
        "00" => KeyAnswer::Accepted(view.text(48).map(|kcv| kcv.trim_end().to_ascii_uppercase())),
        later if AGAIN.contains(&later) => KeyAnswer::Later(code),
        _ => KeyAnswer::Refused(code),
    })
}

#[cfg(test)]
mod tests {
    use super::super::issuer::spec;
    use super::*;

    const BLOCK: &str =
        "B0096P0TE00N0000342811F905093F2B797EB9248C1121C011C2AE41BEC63E33C9C2FDB320540D82327221AE9C5C34FB";

    #[test]
    fn what_a_request_says() {
        let long = "B".repeat(BLOCK_MAX + 1);
        let mac_key = BLOCK.replacen("P0TE", "M3TC", 1);
        let other = BLOCK.replacen("P0TE", "D0TE", 1);
        let rows = [
            (Some("161"), Some(BLOCK), Ok(KeyMessage::New(ZoneUse::Zpk, BLOCK))),
            (Some("161"), Some(&*mac_key), Ok(KeyMessage::New(ZoneUse::Zak, &mac_key))),
            (Some("161"), Some(&*other), Err(Refusal::Security)),
            (Some("161"), Some("B0096P0"), Err(Refusal::Format)),
            (Some("161"), Some(&*long), Err(Refusal::Format)),
            (Some("161"), None, Err(Refusal::Format)),
            (Some("162"), Some("ZPK"), Ok(KeyMessage::Wanted(ZoneUse::Zpk))),
            (Some("162"), Some("ZAK "), Ok(KeyMessage::Wanted(ZoneUse::Zak))),
            (Some("162"), Some("ZMK"), Err(Refusal::Format)),
            (Some("162"), None, Err(Refusal::Format)),
            (Some("301"), Some(BLOCK), Err(Refusal::NotSupported)),
            (None, Some(BLOCK), Err(Refusal::NotSupported)),
        ];
        for (management, content, expected) in rows {
            assert_eq!(read(management, content), expected, "{management:?} {content:?}");
        }
    }

    #[test]
    fn requests_and_answers_are_these_octets() {
        let (stan, time) = (Stan::new(7).unwrap(), LinkTime::new("1123201530").unwrap());
        let head = "0800822000000001000004000000000000001123201530000007";
        let rows = [
            (KeyMessage::New(ZoneUse::Zpk, BLOCK), format!("{head}096{BLOCK}161")),
            (KeyMessage::Wanted(ZoneUse::Zak), format!("{head}003ZAK162")),
        ];
        let spec = spec().unwrap();
        for (said, expected) in rows {
            let body = request(spec, said, stan, time).unwrap().finish().unwrap();
            assert_eq!(String::from_utf8(body.clone()).unwrap(), expected);
            let view = View::decode(spec, &body).unwrap();
            assert!(is_key_message(&view));
            let (management, content) = (view.text(70), view.text(48));
            assert_eq!(read(management.as_deref(), content.as_deref()), Ok(said));
            // The head of an 0810 with and without DE 48.
            let with = "0810822000000201000004000000000000001123201530000007";
            let without = "0810822000000200000004000000000000001123201530000007";
            let end = &expected[expected.len() - 3..];
            #[rustfmt::skip]
            let rows = [
                (Ok(Some("4FE9FD")), format!("{with}000064FE9FD{end}"), KeyAnswer::Accepted(Some("4FE9FD".into()))),
                (Ok(None), format!("{without}00{end}"), KeyAnswer::Accepted(None)),
                (Err(Refusal::Format), format!("{without}30{end}"), KeyAnswer::Refused("30".into())),
                (Err(Refusal::NotSupported), format!("{without}12{end}"), KeyAnswer::Refused("12".into())),
                (Err(Refusal::BadMac), format!("{without}63{end}"), KeyAnswer::Refused("63".into())),
                (Err(Refusal::Security), format!("{without}63{end}"), KeyAnswer::Refused("63".into())),
                (Err(Refusal::System), format!("{without}96{end}"), KeyAnswer::Later("96".into())),
            ];
            for (outcome, expected, read) in rows {
                let body = answer(&view, outcome).unwrap().finish().unwrap();
                assert_eq!(String::from_utf8(body.clone()).unwrap(), expected, "{outcome:?}");
                assert_eq!(read_answer(&View::decode(spec, &body).unwrap()), Some(read));
            }
            assert_eq!(read_answer(&view), None, "a request is no answer");
        }
    }
}
