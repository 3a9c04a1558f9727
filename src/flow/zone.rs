//! What the switch shares with an issuer, as the workers hold it, and the steps by which one of its keys changes.

use super::{Shared, Switch};
use crate::hsm::{Key, MacAlgorithm, MacCheck, MacKey, Zak, Zmk, Zpk};
use crate::store::{Issuer, Op, Outcome, ZoneKeyChange, ZoneKeyState, ZoneStep};
use crate::transaction::{IssuerId, ZoneUse};
use iso8583_spec::View;
use std::sync::Arc;

/// What the switch shares with an issuer.
#[derive(Debug, Clone)]
pub struct Zone {
    /// DE 32 that we send, n..11.
    pub acquirer_code: String,
    /// PIN key.
    pub zpk: Option<Key<Zpk>>,
    /// MAC key, when the link is MACed.
    pub zak: Option<Key<Zak>>,
    /// Zone master key, when the two above are changed in service.
    pub zmk: Option<Key<Zmk>>,
    /// MAC keys that may be right as well: the former one, and the one to come.
    other_zaks: Vec<Key<Zak>>,
    states: Vec<ZoneKeyState>,
    /// The revision of the store at which it was so.
    pub(super) revision: i64,
}

impl Zone {
    /// As a reader read it.
    pub(super) fn new(issuer: &Issuer, states: &[ZoneKeyState], revision: i64) -> Self {
        let states = states.iter().filter(|state| state.issuer == issuer.id).cloned().collect();
        let mut zone = Self {
            acquirer_code: issuer.acquirer_code.clone(),
            zpk: issuer.zpk.as_deref().map(Key::new),
            zak: issuer.zak.as_deref().map(Key::new),
            zmk: issuer.zmk.as_deref().map(Key::new),
            other_zaks: Vec::new(),
            states,
            revision,
        };
        zone.index();
        zone
    }

    fn index(&mut self) {
        let states = self.states.iter().filter(|state| state.of == ZoneUse::Zak);
        let blocks = states.flat_map(|s| s.former.iter().chain(s.pending.iter().map(|p| &p.block)));
        self.other_zaks = blocks.map(|block| Key::new(block.as_str())).collect();
    }

    /// As it is after a step.
    fn with(&self, state: &ZoneKeyState, revision: i64) -> Self {
        let mut zone = Self { revision, ..self.clone() };
        zone.states.retain(|known| known.of != state.of);
        zone.states.push(state.clone());
        match state.of {
            ZoneUse::Zpk => zone.zpk = state.current.as_deref().map(Key::new),
            ZoneUse::Zak => zone.zak = state.current.as_deref().map(Key::new),
        }
        zone.index();
        zone
    }

    /// Where one of its keys stands, when it is or was changed in service.
    #[must_use]
    pub fn state(&self, of: ZoneUse) -> Option<&ZoneKeyState> {
        self.states.iter().find(|state| state.of == of)
    }

    /// MAC keys under which what the issuer sends may be right, the one in force first.
    pub fn zaks(&self) -> impl Iterator<Item = &Key<Zak>> {
        self.zak.iter().chain(&self.other_zaks)
    }
}

impl Shared {
    /// A step is durable: where the key stands is known here from now on.
    fn zone_changed(&self, state: &ZoneKeyState, revision: i64) {
        let mut zones = self.zones_mut();
        if let Some(zone) = zones.get_mut(&state.issuer)
            && zone.revision <= revision
        {
            *zone = Arc::new(zone.with(state, revision));
        }
    }
}

impl Switch {
    /// Takes a step with a key; where it stands then. `None`: the store did not.
    pub(super) async fn zone_step(
        &self,
        issuer: IssuerId,
        of: ZoneUse,
        step: ZoneStep,
    ) -> Option<Box<ZoneKeyState>> {
        let change = ZoneKeyChange { issuer, of, step, at_ms: self.clock.now_ms() };
        let committed = self.store.submit(Op::ZoneKey(Box::new(change))).await;
        let Outcome::ZoneKey(state) = committed.outcome else { return None };
        self.shared.zone_changed(&state, committed.revision);
        Some(state)
    }

    /// Whether what the issuer sent bears a MAC under one of the keys of `then` (when the request left) or of now, and
    /// which. Where `then` had none, none is asked for.
    ///
    /// The first MAC under a key drops the one before it, and tells that a key to come is in force over there.
    pub(super) async fn issuer_mac(&self, issuer: IssuerId, view: &View<'_>, then: &Zone) -> IssuerMac {
        if then.zak.is_none() {
            return IssuerMac::NotNeeded;
        }
        let mac = view.bytes(128).or_else(|| view.bytes(64));
        let (Some(data), Some(mac)) = (view.mac_data(), mac) else { return IssuerMac::Wrong };
        let now = self.shared.zone(issuer);
        let of_now = now.iter().flat_map(|zone| zone.zaks());
        let mut tried: Vec<&Key<Zak>> = Vec::new();
        for zak in of_now.chain(then.zaks()) {
            if tried.iter().any(|before| before.block() == zak.block()) {
                continue;
            }
            let check = MacCheck { algorithm: MacAlgorithm::X919, data, mac: &mac };
            if self.hsm.verify_mac(MacKey::Zone(zak), check).await.is_ok() {
                self.zak_proven(issuer, zak).await;
                return IssuerMac::Right(zak.clone());
            }
            tried.push(zak);
        }
        IssuerMac::Wrong
    }

    async fn zak_proven(&self, issuer: IssuerId, zak: &Key<Zak>) {
        let Some(now) = self.shared.zone(issuer) else { return };
        let Some(state) = now.state(ZoneUse::Zak) else { return };
        let block = zak.as_str().to_owned();
        let step = if state.pending.as_ref().is_some_and(|pending| pending.block == block) {
            ZoneStep::Agree { block }
        } else if state.former.is_some() && state.current.as_ref() == Some(&block) {
            ZoneStep::Prove { block }
        } else {
            return;
        };
        self.zone_step(issuer, ZoneUse::Zak, step).await;
    }
}

/// What became of an issuer's MAC.
pub(super) enum IssuerMac {
    /// The link has no MAC key.
    NotNeeded,
    /// Right under this key.
    Right(Key<Zak>),
    /// Absent, or wrong under every key.
    Wrong,
}
