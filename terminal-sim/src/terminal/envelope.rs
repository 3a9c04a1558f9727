//! Drafts into octets and octets into verdicts: codec, MAC and the checks a terminal makes on an answer.
//!
//! No sockets, no state.

use std::collections::BTreeMap;

use iso8583_spec::{EncodeError, Encoder, Mti, Spec, View};

use super::TerminalError;
use super::batch::Kind;
use super::draft::{Draft, Value};
use super::keys::WorkingKeys;
use super::outcome::{ReplyFields, Verdict};
use super::profile::{Dialect, TerminalProfile};
use super::request::carries_mac;

/// What becomes of the MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// As the dialect wants it.
    Proper,
    /// One bit turned.
    Spoiled,
    /// Left out.
    Absent,
}

/// The body of a message: TPDU and header where the dialect has them, fields, MAC. In ASCII the MAC is
/// DE 128 when the message has a field beyond 64, so that it covers them all (ISO 8583:1987, DE 64, 128).
pub(super) fn encode(
    spec: &Spec,
    profile: &TerminalProfile,
    draft: &Draft,
    keys: Option<&WorkingKeys>,
    seal: Seal,
) -> Result<Vec<u8>, TerminalError> {
    let mti = Mti::new(draft.mti()).ok_or(TerminalError::Draft("MTI"))?;
    let mut encoder = Encoder::new(spec, mti);
    match profile.dialect {
        Dialect::UnionPay => {
            encoder.tpdu(&profile.tpdu)?;
            encoder.header(&profile.header)?;
        }
        Dialect::Edc => encoder.tpdu(&profile.tpdu)?,
        Dialect::Ascii => {}
    }
    let mut mac_field = 64;
    for (de, value) in draft.fields() {
        put(&mut encoder, de, value)?;
        mac_field = if de > 64 { 128 } else { 64 };
    }
    if let (Some(keys), true, Seal::Proper | Seal::Spoiled) =
        (keys, carries_mac(profile.dialect, draft), seal)
    {
        let mut mac = keys.mac(encoder.mac_data(mac_field)?)?;
        if seal == Seal::Spoiled {
            let [.., last] = &mut mac;
            *last ^= 1;
        }
        encoder.mac(&mac)?;
    }
    Ok(encoder.finish()?)
}

fn put(encoder: &mut Encoder<'_>, de: u8, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Text(text) => encoder.text(de, text),
        Value::Hex(text) => encoder.bytes(de, &hex::decode(text).unwrap_or_default()),
    }
}

/// An answer as the terminal read it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) code: String,
    pub(super) fields: ReplyFields,
}

/// Reads an answer and checks it against its request: MTI, DE 3, 11, 41, 4, 42, then the MAC. What cannot
/// be read counts as an answer to something else.
pub(super) fn judge(
    spec: &Spec,
    dialect: Dialect,
    asked: (Kind, &Draft),
    keys: Option<&WorkingKeys>,
    body: &[u8],
) -> Judged {
    let (kind, request) = asked;
    let Ok(view) = View::decode(spec, body) else {
        return Judged { verdict: Verdict::WrongEcho(0), ..no_reply() };
    };
    let fields = ReplyFields(view.fields().filter_map(|de| Some((de, field(&view, de)?))).collect());
    let code = fields.get(39).unwrap_or_default().to_owned();
    let mut verdict = if approves(dialect, kind, &code) { Verdict::Approved } else { Verdict::Declined };
    if carries_mac(dialect, request) && !mac_is_right(dialect, &view, keys, &code) {
        verdict = Verdict::WrongMac;
    }
    if let Some(de) = wrong_echo(kind, request, &view, &fields) {
        verdict = Verdict::WrongEcho(de);
    }
    Judged { verdict, code, fields }
}

fn field(view: &View<'_>, de: u8) -> Option<String> {
    match view.text(de) {
        Some(text) => Some(text.to_string()),
        None => view.bytes(de).map(hex::encode_upper),
    }
}

/// A reversal or advice has its own codes; a UnionPay 0510 has none and is an answer all the same.
fn approves(dialect: Dialect, kind: Kind, code: &str) -> bool {
    match kind {
        Kind::Reversal => dialect.ends_reversal(code),
        Kind::CompletionAdvice | Kind::OfflineSale => dialect.ends_advice(code),
        Kind::Settlement => code.is_empty() || code == "00",
        Kind::Network => code == "00",
        Kind::Balance
        | Kind::Sale
        | Kind::Void
        | Kind::Refund
        | Kind::PreAuth
        | Kind::PreAuthCancel
        | Kind::Completion
        | Kind::CompletionVoid => dialect.approves(code),
    }
}

/// An answer with code 00 must carry a MAC that fits. With another code a UnionPay terminal does not
/// look at it; the others check it when it is there.
fn mac_is_right(dialect: Dialect, view: &View<'_>, keys: Option<&WorkingKeys>, code: &str) -> bool {
    let mac = view.bytes(128).or_else(|| view.bytes(64));
    let (Some(data), Some(mac), Some(keys)) = (view.mac_data(), mac, keys) else { return code != "00" };
    if dialect == Dialect::UnionPay && code != "00" { true } else { keys.fits(data, &mac) }
}

/// The first field whose echo is not of this request; 0 for the MTI. A payment's answer must have
/// them; network and settlement answers are held to those they have.
fn wrong_echo(kind: Kind, request: &Draft, view: &View<'_>, reply: &ReplyFields) -> Option<u8> {
    if Mti::new(request.mti()).map(Mti::response) != Some(view.mti()) {
        return Some(0);
    }
    let code = reply.get(39).unwrap_or_default();
    let lenient = matches!(kind, Kind::Network | Kind::Settlement);
    [3, 11, 41, 4, 42].into_iter().find(|de| {
        let needed = match de {
            4 => code == "00",
            42 => code == "00" && reply.get(42).is_some(),
            _ => !lenient,
        };
        let free = *de == 4 && code == "10" || *de == 42 && code != "00";
        match (request.get(*de), reply.get(*de)) {
            (None, _) => false,
            (Some(_), None) => needed,
            (Some(sent), Some(came)) => !free && sent.trim_end() != came.trim_end(),
        }
    })
}

/// The empty set of fields, when no answer came.
pub(super) fn no_reply() -> Judged {
    Judged { verdict: Verdict::NoReply, code: String::new(), fields: ReplyFields(BTreeMap::new()) }
}
