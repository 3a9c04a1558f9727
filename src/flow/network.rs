//! Sign-on with new working keys, sign-off, echo.

use super::{Arrival, Place, Switch};
use crate::crash;
use crate::hsm::Key;
use crate::store::{Op, Outcome, WorkingKeys};
use crate::transaction::{KeyForm, NetworkRequest, NetworkVerb, Refusal, Reply, ReplyBody};
use iso8583_spec::View;
use std::rc::Rc;

/// Answers a network management message. None must carry a MAC, since there may be no key yet; where a
/// dialect allows one, it is checked.
pub(super) async fn network(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    view: &View<'_>,
    place: &Place,
    request: NetworkRequest,
) {
    let tak = match switch.optional_mac(arrival, view, place).await {
        Ok(tak) => tak,
        Err(refusal) => return switch.refuse(arrival, view, refusal, None).await,
    };
    let reply = match request.verb {
        NetworkVerb::Echo | NetworkVerb::SignOff => Ok(switch.accepted(arrival)),
        NetworkVerb::SignOn(form) => sign_on(switch, arrival, place, form).await,
    };
    match reply {
        Ok(reply) => switch.answer(arrival, view, &reply, tak.as_ref()).await,
        Err(refusal) => switch.refuse(arrival, view, refusal, tak.as_ref()).await,
    }
}

/// New keys are durable before the answer leaves. The keys before them stay valid until the first
/// MAC under the new ones: the answer may be lost, and the terminal go on with the old.
async fn sign_on(
    switch: &Rc<Switch>,
    arrival: &Arrival,
    place: &Place,
    form: KeyForm,
) -> Result<Reply, Refusal> {
    let terminal = &place.terminal;
    let issued = match form {
        KeyForm::None => None,
        KeyForm::Single | KeyForm::Double | KeyForm::DoubleWithTrack => {
            let tmk = Key::new(terminal.tmk.as_deref().ok_or(Refusal::NotSignedOn)?);
            Some(switch.hsm.issue_keys(&tmk, form).await.map_err(|e| super::refusal_of(&e))?)
        }
    };
    let keys = issued.as_ref().map(|issued| WorkingKeys {
        generation: switch.numbers.txn_id(arrival.received_ms).0,
        tpk: issued.tpk.as_str().to_owned(),
        tak: issued.tak.as_str().to_owned(),
        tdk: issued.tdk.as_ref().map(|k| k.as_str().to_owned()),
    });
    let op =
        Op::SignOn { tid: terminal.tid, mid: terminal.mid, keys: keys.clone(), at_ms: arrival.received_ms };
    let committed = switch.store.submit(op).await;
    crash::point("keys-durable");
    let Outcome::OpenBatch(batch) = committed.outcome else { return Err(Refusal::System) };
    if let Some(keys) = &keys {
        switch.shared.signed_on(terminal.mid, terminal.tid, keys);
    }
    let rrn = switch.numbers.rrn(&switch.store, &switch.clock).await;
    let body = ReplyBody::SignOn { batch, keys: issued.map(|i| i.wire) };
    Ok(Reply { rrn, body, ..switch.accepted(arrival) })
}
