//! The change of a key shared with an issuer: as the side that sends the new key, and as the side that takes it.
//!
//! ```text
//! we send     pending durable → 0800/161 → its 0810, check value right → in force, durable
//! we take     pending durable → our 0810 written → in force, durable
//! ```
//! A crash in between leaves the key pending: MACs under it are right all the while. One that we sent is sent again,
//! the same key; in the place of one that we took and may not have acknowledged, another is asked for.

use super::Switch;
use super::issuer::{Link, key, link_time};
use super::zone::{IssuerMac, Zone};
use crate::crash;
use crate::dialect::zone_key::{self, KeyAnswer, KeyMessage};
use crate::hsm::{HsmError, Key, MacAlgorithm, MacKey, Zak};
use crate::link::PeerAsked;
use crate::metrics;
use crate::store::{PendingKey, ZoneKeyState, ZoneStep};
use crate::transaction::{IssuerId, Refusal, ZoneUse};
use iso8583_spec::{Encoder, Mti, View};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// What is wanted is looked at this often when nothing wakes it.
const LOOK: Duration = Duration::from_millis(500);
/// A new MAC key is known to every node that shares the store after this long, and is not used before.
const SPREAD: Duration = Duration::from_secs(1);
/// Waits between attempts, seconds; the last one repeats.
const BACKOFF_S: [u64; 6] = [1, 5, 15, 60, 120, 300];
/// A key that we took and that is still not in force after this long may not have been acknowledged.
const UNSETTLED: Duration = Duration::from_secs(30);
const HOUR_MS: i64 = 3_600_000;

/// Changes the keys of an issuer when that is wanted, or by their age in hours (0: never), for as long as the node
/// runs.
pub async fn run(switch: Rc<Switch>, issuer: IssuerId, every_hours: u32) {
    let Some(link) = switch.links.get(&issuer) else { return };
    let mut tries: HashMap<ZoneUse, Tries> = HashMap::new();
    loop {
        for of in ZoneUse::ALL {
            look(&switch, link, of, every_hours, tries.entry(of).or_default()).await;
        }
        let _ = tokio::time::timeout(LOOK, link.key_change.notified()).await;
    }
}

/// What this node tried with one key.
#[derive(Debug, Default)]
struct Tries {
    failed: usize,
    next: Option<Instant>,
    /// A key that we took and that is pending, and since when.
    unsettled: Option<(String, Instant)>,
}

impl Tries {
    /// Whether the next attempt is due.
    fn is_due(&self) -> bool {
        self.next.is_none_or(|at| Instant::now() >= at)
    }

    fn fail(&mut self) {
        let pause = BACKOFF_S.get(self.failed).or(BACKOFF_S.last()).copied().unwrap_or(300);
        self.next = Some(Instant::now() + Duration::from_secs(pause));
        self.failed = (self.failed + 1).min(BACKOFF_S.len());
    }

    /// Whether a key of the issuer's has been pending for too long.
    fn is_unsettled(&mut self, state: Option<&ZoneKeyState>) -> bool {
        let pending = state.and_then(|s| s.pending.as_ref()).filter(|pending| pending.sent.is_none());
        let Some(pending) = pending else {
            self.unsettled = None;
            return false;
        };
        match &self.unsettled {
            Some((block, since)) if *block == pending.block => since.elapsed() >= UNSETTLED,
            Some(_) | None => {
                self.unsettled = Some((pending.block.clone(), Instant::now()));
                false
            }
        }
    }
}

/// Whether a key is to be changed: a change is under way or asked for, or it is older than it may be. A key that was
/// never changed is of unknown age: older.
fn is_wanted(state: Option<&ZoneKeyState>, every_hours: u32, now_ms: i64) -> bool {
    let asked = state.is_some_and(|s| {
        s.asked_ms.is_some() || s.pending.as_ref().is_some_and(|pending| pending.sent.is_some())
    });
    let changed_ms = state.and_then(|s| s.changed_ms);
    let is_old = |at_ms: i64| now_ms.saturating_sub(at_ms) >= i64::from(every_hours).saturating_mul(HOUR_MS);
    asked || (every_hours > 0 && changed_ms.is_none_or(is_old))
}

async fn look(switch: &Switch, link: &Link, of: ZoneUse, every_hours: u32, tries: &mut Tries) {
    let Some(zone) = switch.shared.zone(link.issuer) else { return };
    let state = zone.state(of);
    let unsettled = tries.is_unsettled(state);
    let has_key = match of {
        ZoneUse::Zpk => zone.zpk.is_some(),
        ZoneUse::Zak => zone.zak.is_some(),
    };
    let by_age = if has_key { every_hours } else { 0 };
    let wanted = is_wanted(state, by_age, switch.clock.now_ms());
    if !(wanted || unsettled) || zone.zmk.is_none() || !link.client.is_up() || !tries.is_due() {
        return;
    }
    let end =
        if wanted { switch.send_new_key(link, &zone, of).await } else { switch.want_new_key(link, of).await };
    let (issuer, name) = (link.issuer.trimmed(), of.name());
    metrics::zone_key_change(issuer, name, end.name());
    match &end {
        End::Done => {
            tracing::info!(issuer, key = name, "zone key changed");
            *tries = Tries::default();
        }
        End::Later(reason) => {
            tries.fail();
            tracing::warn!(issuer, key = name, reason, "zone key not changed, tried again");
        }
        End::Refused(code) => {
            tries.fail();
            tracing::error!(issuer, key = name, code, "the issuer refuses a new zone key");
            switch.zone_step(link.issuer, of, ZoneStep::Forget).await;
        }
    }
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    Later(&'static str),
    Refused(String),
}

impl End {
    const fn name(&self) -> &'static str {
        match self {
            Self::Done => "agreed",
            Self::Later(_) => "unanswered",
            Self::Refused(_) => "refused",
        }
    }
}

/// Whether a pending key may have been seen by the issuer before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offer {
    First,
    Again,
}

impl Switch {
    /// Sends a new key: the pending one again when there is one.
    async fn send_new_key(&self, link: &Link, zone: &Zone, of: ZoneUse) -> End {
        let Some((pending, offer)) = self.pending_key(link, zone, of).await else {
            return End::Later("no key could be made");
        };
        let Some(sent) = &pending.sent else { return End::Later("the issuer is changing it") };
        let answer = self.ask(link, KeyMessage::New(of, sent)).await;
        crash::point("zone-key-acknowledged");
        let block = pending.block.clone();
        let (step, end) = match answer {
            Some(KeyAnswer::Accepted(Some(kcv)))
                if bool::from(kcv.as_bytes().ct_eq(pending.kcv.as_bytes())) =>
            {
                (Some(ZoneStep::Agree { block }), End::Done)
            }
            Some(KeyAnswer::Accepted(_)) => {
                (Some(ZoneStep::Refuse { block }), End::Refused("wrong check value".to_owned()))
            }
            Some(KeyAnswer::Refused(code)) => (Some(ZoneStep::Refuse { block }), End::Refused(code)),
            // A key that was sent before may be in force over there: it stays pending.
            Some(KeyAnswer::Later(_)) if offer == Offer::First => {
                (Some(ZoneStep::Refuse { block }), End::Later("the issuer has no time"))
            }
            Some(KeyAnswer::Later(_)) => (None, End::Later("the issuer has no time")),
            None => (None, End::Later("no answer")),
        };
        let Some(step) = step else { return end };
        match self.zone_step(link.issuer, of, step).await {
            Some(_) => end,
            None => End::Later("the store failed"),
        }
    }

    /// The pending key of ours, made and durable before anybody sees it.
    async fn pending_key(&self, link: &Link, zone: &Zone, of: ZoneUse) -> Option<(PendingKey, Offer)> {
        let ours = |state: &ZoneKeyState| state.pending.clone().filter(|pending| pending.sent.is_some());
        if let Some(pending) = zone.state(of).and_then(ours) {
            return Some((pending, Offer::Again));
        }
        let made = self.hsm.make_zone_key(zone.zmk.as_ref()?, of).await.ok()?;
        let block = made.block.as_str().to_owned();
        let offer = PendingKey { block: block.clone(), sent: Some(made.sent), kcv: made.kcv };
        let pending = self.zone_step(link.issuer, of, ZoneStep::Offer(offer)).await?.pending?;
        crash::point("zone-key-pending");
        self.spread(of).await;
        let offer = if pending.block == block { Offer::First } else { Offer::Again };
        Some((pending, offer))
    }

    async fn spread(&self, of: ZoneUse) {
        match of {
            ZoneUse::Zpk => {}
            ZoneUse::Zak => tokio::time::sleep(SPREAD).await,
        }
    }

    /// Asks the issuer for a new key.
    async fn want_new_key(&self, link: &Link, of: ZoneUse) -> End {
        match self.ask(link, KeyMessage::Wanted(of)).await {
            // It is not changed yet: looked at again after a pause, unless the issuer's 161 came meanwhile.
            Some(KeyAnswer::Accepted(_)) => End::Later("asked the issuer for a key"),
            Some(KeyAnswer::Refused(code)) => End::Refused(code),
            Some(KeyAnswer::Later(_)) => End::Later("the issuer has no time"),
            None => End::Later("no answer"),
        }
    }

    /// One 0800 about a key and its 0810. An answer without a right MAC is none, where the link has MACs.
    async fn ask(&self, link: &Link, said: KeyMessage<'_>) -> Option<KeyAnswer> {
        let spec = crate::dialect::issuer::spec().ok()?;
        let (stan, time) = (self.link_stan(link).await?, link_time(&self.clock));
        let zone = self.shared.zone(link.issuer)?;
        let encoder = zone_key::request(spec, said, stan, time).ok()?;
        let body = self.seal(encoder, zone.zak.as_ref()).await?;
        let key = key(stan.number(), Mti::NETWORK, time.as_str(), "")?;
        let answer = link.client.request(key, body, Instant::now() + link.answer).await.ok()?;
        let view = View::decode(spec, &answer).ok()?;
        match self.issuer_mac(link.issuer, &view, &zone).await {
            IssuerMac::NotNeeded | IssuerMac::Right(_) => zone_key::read_answer(&view),
            IssuerMac::Wrong => {
                tracing::warn!(
                    issuer = link.issuer.trimmed(),
                    "the answer about a zone key bears a wrong MAC"
                );
                None
            }
        }
    }

    /// Adds the MAC and ends the message.
    pub(super) async fn seal(&self, mut encoder: Encoder<'_>, zak: Option<&Key<Zak>>) -> Option<Vec<u8>> {
        if let Some(zak) = zak {
            let data = encoder.mac_data(128).ok()?;
            let mac = self.hsm.mac(MacKey::Zone(zak), MacAlgorithm::X919, data).await.ok()?;
            encoder.mac(&mac).ok()?;
        }
        encoder.finish().ok()
    }
}

/// Answers what the issuer asks about keys on this worker's link, one after the other.
pub async fn answer_issuer(switch: Rc<Switch>, issuer: IssuerId) {
    let Some(link) = switch.links.get(&issuer) else { return };
    let Some(mut asked) = link.client.take_asked() else { return };
    while let Some(request) = asked.recv().await {
        answer(&switch, link, &request).await;
    }
}

/// What was accepted: what DE 48 of the answer says, and the key that is in force once it is written.
type Accepted = (Option<String>, Option<(ZoneUse, String)>);

async fn answer(switch: &Switch, link: &Link, request: &PeerAsked) -> Option<()> {
    let spec = crate::dialect::issuer::spec().ok()?;
    let view = View::decode(spec, &request.body).ok()?;
    let zone = switch.shared.zone(link.issuer)?;
    let (zak, taken) = match switch.issuer_mac(link.issuer, &view, &zone).await {
        IssuerMac::NotNeeded => (None, switch.take(link, &zone, &view).await),
        IssuerMac::Right(zak) => (Some(zak), switch.take(link, &zone, &view).await),
        IssuerMac::Wrong => (zone.zak.clone(), Err(Refusal::BadMac)),
    };
    let said = taken.as_ref().map(|(kcv, _)| kcv.as_deref()).map_err(|refusal| *refusal);
    let body = switch.seal(zone_key::answer(&view, said).ok()?, zak.as_ref()).await?;
    let written = link.client.answer_asked(request, body);
    crash::point("zone-key-answered");
    let issuer = link.issuer.trimmed();
    match taken {
        Err(refusal) => {
            metrics::zone_key_change(issuer, "any", "rejected");
            tracing::error!(
                issuer,
                refusal = refusal.name(),
                "what the issuer asks about a zone key is refused"
            );
        }
        Ok((_, None)) => tracing::info!(issuer, "the issuer asks for a new zone key"),
        Ok((_, Some((of, block)))) if written => {
            switch.zone_step(link.issuer, of, ZoneStep::Agree { block }).await;
            metrics::zone_key_change(issuer, of.name(), "taken");
            tracing::info!(issuer, key = of.name(), "zone key changed by the issuer");
        }
        Ok((_, Some((of, _)))) => {
            tracing::warn!(issuer, key = of.name(), "a zone key was taken and could not be acknowledged");
        }
    }
    Some(())
}

impl Switch {
    /// Does what the issuer asks about a key.
    async fn take(&self, link: &Link, zone: &Zone, view: &View<'_>) -> Result<Accepted, Refusal> {
        let (management, content) = (view.text(70), view.text(48));
        let said = zone_key::read(management.as_deref(), content.as_deref())?;
        let zmk = zone.zmk.as_ref().ok_or(Refusal::NotSupported)?;
        match said {
            KeyMessage::Wanted(of) => {
                self.zone_step(link.issuer, of, ZoneStep::Ask).await.ok_or(Refusal::System)?;
                link.key_change.notify_one();
                Ok((None, None))
            }
            KeyMessage::New(of, sent) => {
                let (block, kcv) =
                    self.hsm.take_zone_key(zmk, of, sent).await.map_err(|error| refused(&error))?;
                let block = block.as_str().to_owned();
                let offer = PendingKey { block: block.clone(), sent: None, kcv: kcv.clone() };
                let state = self.zone_step(link.issuer, of, ZoneStep::Offer(offer)).await;
                let pending = state.and_then(|state| state.pending).ok_or(Refusal::System)?;
                if pending.block != block {
                    // Both sides are changing it: ours has to come to its end first.
                    link.key_change.notify_one();
                    return Err(Refusal::System);
                }
                crash::point("zone-key-taken");
                self.spread(of).await;
                Ok((Some(kcv), Some((of, block))))
            }
        }
    }
}

/// What an issuer is told when the HSM does not take its key.
const fn refused(error: &HsmError) -> Refusal {
    match error {
        HsmError::KeyBlockForm => Refusal::Format,
        HsmError::KeyBlock | HsmError::KeyUsage | HsmError::KeyMode | HsmError::Export | HsmError::Key(_) => {
            Refusal::Security
        }
        HsmError::MacMismatch
        | HsmError::PinBlock
        | HsmError::Track
        | HsmError::Mismatch
        | HsmError::PinLength
        | HsmError::PinTranslation
        | HsmError::Account
        | HsmError::DecimalizationTable
        | HsmError::KeySerialNumber
        | HsmError::Input(_)
        | HsmError::Sealed
        | HsmError::Failure(_) => Refusal::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_wanted_when_it_is_asked_for_or_by_age() {
        let state = |pending: Option<bool>, changed_ms, asked_ms| ZoneKeyState {
            issuer: IssuerId::new("BANKA").unwrap(),
            of: ZoneUse::Zak,
            current: Some("A".into()),
            former: None,
            pending: pending.map(|ours| PendingKey {
                block: "B".into(),
                sent: ours.then(|| "S".into()),
                kcv: "4FE9FD".into(),
            }),
            changed_ms,
            asked_ms,
        };
        let now = 100 * HOUR_MS;
        let rows = [
            ("never changed, no limit", None, 0, false),
            ("never changed, a limit", None, 24, true),
            ("asked for", Some(state(None, Some(now), Some(now))), 0, true),
            ("ours is under way", Some(state(Some(true), Some(now), None)), 0, true),
            ("the issuer's is under way", Some(state(Some(false), Some(now), None)), 24, false),
            ("young", Some(state(None, Some(now - 24 * HOUR_MS + 1), None)), 24, false),
            ("old", Some(state(None, Some(now - 24 * HOUR_MS), None)), 24, true),
            ("old, no limit", Some(state(None, Some(0), None)), 0, false),
            ("changed in the future", Some(state(None, Some(now + 1), None)), 24, false),
        ];
        for (name, state, every_hours, expected) in rows {
            assert_eq!(is_wanted(state.as_ref(), every_hours, now), expected, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_spaced_and_capped() {
        let mut tries = Tries::default();
        assert!(tries.is_due());
        for pause in [1, 5, 15, 60, 120, 300, 300, 300] {
            tries.fail();
            tokio::time::advance(Duration::from_millis(pause * 1000 - 1)).await;
            assert!(!tries.is_due(), "{pause}");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(tries.is_due(), "{pause}");
        }
    }
}
