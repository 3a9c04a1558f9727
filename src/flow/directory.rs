//! Merchants, terminals, issuers and routes as the workers hold them: read whole from the store,
//! swapped whole when its revision moves. Working keys beside them, newest first.

use super::Zone;
use super::key_life::Uses;
use crate::hsm::{Key, TerminalKeys};
use crate::route::{Range, RouteTable};
use crate::store::{Merchant, Session, Terminal, WorkingKeys};
use crate::transaction::{IssuerId, Mid, Refusal, TerminalDialect, Tid};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

/// Reference data, indexed.
#[derive(Debug, Default)]
pub struct Directory {
    /// The revision of the store that it was read at.
    pub revision: i64,
    merchants: HashMap<Mid, Arc<Merchant>>,
    terminals: HashMap<(Mid, Tid), Fixture>,
    merchants_of: HashMap<Tid, Vec<Mid>>,
    /// Issuers.
    pub issuers: Vec<IssuerId>,
    /// Card numbers to issuers.
    pub routes: RouteTable,
}

/// A terminal, and the keys it was given by hand.
#[derive(Debug, Clone)]
struct Fixture {
    terminal: Arc<Terminal>,
    static_keys: Option<TerminalKeys>,
}

impl Fixture {
    fn new(terminal: &Terminal) -> Self {
        let static_keys = terminal.static_keys.as_ref().map(terminal_keys);
        Self { terminal: Arc::new(terminal.clone()), static_keys }
    }
}

/// A terminal at its merchant.
#[derive(Debug, Clone)]
pub struct Place {
    /// The terminal.
    pub terminal: Arc<Terminal>,
    /// Its merchant.
    pub merchant: Arc<Merchant>,
    /// Working keys that it was given by hand.
    static_keys: Option<TerminalKeys>,
}

impl Directory {
    /// Indexes what a reader read.
    #[must_use]
    pub fn new(read: &crate::store::Directory) -> Self {
        let mut merchants_of: HashMap<Tid, Vec<Mid>> = HashMap::new();
        for (terminal, _) in &read.terminals {
            merchants_of.entry(terminal.tid).or_default().push(terminal.mid);
        }
        let ranges = read.routes.iter().map(|r| Range {
            prefix: r.prefix.clone(),
            pan_min: usize::from(r.pan_min),
            pan_max: usize::from(r.pan_max),
            issuer: r.issuer,
        });
        let terminals = read.terminals.iter().map(|(t, _)| ((t.mid, t.tid), Fixture::new(t)));
        Self {
            revision: read.revision,
            merchants: read.merchants.iter().map(|m| (m.mid, Arc::new(m.clone()))).collect(),
            terminals: terminals.collect(),
            merchants_of,
            issuers: read.issuers.iter().map(|issuer| issuer.id).collect(),
            routes: RouteTable::new(ranges),
        }
    }

    /// A merchant, active or not.
    #[must_use]
    pub fn merchant(&self, mid: Mid) -> Option<Arc<Merchant>> {
        self.merchants.get(&mid).cloned()
    }

    /// Who is speaking: a terminal of this dialect, active, at an active merchant of its own.
    /// A message without DE 42 is its terminal's when only one merchant has a terminal of that id.
    ///
    /// # Errors
    /// The refusal to answer.
    pub fn place(
        &self,
        dialect: TerminalDialect,
        tid: Option<Tid>,
        mid: Option<Mid>,
    ) -> Result<Place, Refusal> {
        let tid = tid.ok_or(Refusal::Format)?;
        let homes = self.merchants_of.get(&tid).map_or(&[][..], Vec::as_slice);
        let mid = match (mid, homes) {
            (Some(mid), _) => mid,
            (None, [only]) => *only,
            (None, _) => return Err(Refusal::UnknownTerminal),
        };
        let merchant = self.merchants.get(&mid).filter(|m| m.active).ok_or(Refusal::UnknownMerchant)?;
        let fixture = match self.terminals.get(&(mid, tid)) {
            Some(fixture) => fixture,
            None if homes.is_empty() => return Err(Refusal::UnknownTerminal),
            None => return Err(Refusal::NotPaired),
        };
        let Fixture { terminal, static_keys } = fixture.clone();
        if !terminal.active || terminal.dialect != dialect {
            return Err(Refusal::UnknownTerminal);
        }
        Ok(Place { terminal, merchant: Arc::clone(merchant), static_keys })
    }
}

/// What all workers of a node share.
#[derive(Debug)]
pub struct Shared {
    directory: RwLock<Arc<Directory>>,
    zones: RwLock<HashMap<IssuerId, Arc<Zone>>>,
    sessions: Mutex<HashMap<(Mid, Tid), Held>>,
    /// MAC failures in a row, of the terminals that have any.
    mac_failures: Mutex<HashMap<(Mid, Tid), u32>>,
}

/// The working keys that a terminal may use now.
#[derive(Debug, Clone, Default)]
struct Held {
    current: Option<TerminalKeys>,
    previous: Option<TerminalKeys>,
    /// Messages under `current`.
    uses: Uses,
}

impl Held {
    fn new(session: &Session) -> Self {
        let keys = |keys: &Option<WorkingKeys>| keys.as_ref().map(terminal_keys);
        Self {
            current: keys(&session.current),
            previous: keys(&session.previous),
            uses: Uses::read(session.uses),
        }
    }

    fn generation(&self) -> i64 {
        self.current.as_ref().map_or(i64::MIN, |k| k.generation)
    }
}

impl Shared {
    /// Starts with what a reader read.
    #[must_use]
    pub fn new(read: &crate::store::Directory) -> Self {
        let shared = Self {
            directory: RwLock::default(),
            zones: RwLock::default(),
            sessions: Mutex::default(),
            mac_failures: Mutex::default(),
        };
        shared.reload(read);
        shared
    }

    /// Takes what a reader read since. Working keys in memory that are newer stay.
    pub fn reload(&self, read: &crate::store::Directory) {
        let mut sessions = self.sessions();
        for (terminal, session) in &read.terminals {
            let (known, read) =
                (sessions.entry((terminal.mid, terminal.tid)).or_default(), Held::new(session));
            if read.generation() >= known.generation() {
                let uses = if read.generation() == known.generation() { known.uses } else { read.uses };
                *known = Held { uses, ..read };
            }
        }
        drop(sessions);
        self.reload_zones(read);
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Directory::new(read));
    }

    /// Takes what a reader read of the issuers, but where a step that came later is known.
    fn reload_zones(&self, read: &crate::store::Directory) {
        let mut zones = self.zones_mut();
        let known = std::mem::take(&mut *zones);
        for issuer in &read.issuers {
            let newer = known.get(&issuer.id).filter(|zone| zone.revision > read.revision).cloned();
            let zone = newer.unwrap_or_else(|| Arc::new(Zone::new(issuer, &read.zone_keys, read.revision)));
            zones.insert(issuer.id, zone);
        }
    }

    pub(super) fn zones_mut(&self) -> RwLockWriteGuard<'_, HashMap<IssuerId, Arc<Zone>>> {
        self.zones.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shared with an issuer now.
    #[must_use]
    pub fn zone(&self, issuer: IssuerId) -> Option<Arc<Zone>> {
        self.zones.read().unwrap_or_else(PoisonError::into_inner).get(&issuer).cloned()
    }

    /// The reference data in force.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a MAC that did not match; how many in a row that makes.
    pub(crate) fn mac_failed(&self, mid: Option<Mid>, tid: Option<Tid>) -> u32 {
        let (Some(mid), Some(tid)) = (mid, tid) else { return 0 };
        let mut failures = self.mac_failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry((mid, tid)).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// A MAC matched: the failures before it are forgotten.
    pub(crate) fn mac_matched(&self, mid: Mid, tid: Tid) {
        let mut failures = self.mac_failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.is_empty() {
            failures.remove(&(mid, tid));
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<(Mid, Tid), Held>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The working keys that a terminal may be using, newest first: those of its sign-on, else
    /// those it was given by hand.
    #[must_use]
    pub fn keys(&self, place: &Place) -> Vec<TerminalKeys> {
        let sessions = self.sessions();
        let held = sessions.get(&(place.terminal.mid, place.terminal.tid));
        let signed_on = held.into_iter().flat_map(|held| held.current.iter().chain(&held.previous));
        let keys: Vec<_> = signed_on.cloned().collect();
        drop(sessions);
        if keys.is_empty() { place.static_keys.iter().cloned().collect() } else { keys }
    }

    /// The uses of a terminal's newest keys, if they are of this generation: those before them, and those given by
    /// hand, are not counted.
    fn with_uses<T>(&self, place: &Place, generation: i64, then: impl FnOnce(&mut Uses) -> T) -> Option<T> {
        let mut sessions = self.sessions();
        let held = sessions.get_mut(&(place.terminal.mid, place.terminal.tid));
        held.filter(|held| held.generation() == generation).map(|held| then(&mut held.uses))
    }

    /// A message came under a terminal's keys; whether it is counted, as one that was claimed before.
    pub(super) fn used(&self, place: &Place, generation: i64) -> bool {
        self.with_uses(place, generation, Uses::take).unwrap_or(true)
    }

    /// As [`Uses::claimed`].
    pub(super) fn uses_claimed(&self, place: &Place, generation: i64, count: u32, counted: Option<u64>) {
        self.with_uses(place, generation, |uses| uses.claimed(count, counted));
    }

    /// Messages under a generation of keys.
    pub(super) fn uses(&self, place: &Place, generation: i64) -> u64 {
        self.with_uses(place, generation, |uses| uses.so_far()).unwrap_or(0)
    }

    /// New working keys are durable: they come first from now on.
    pub fn signed_on(&self, mid: Mid, tid: Tid, keys: &WorkingKeys) {
        let mut sessions = self.sessions();
        let held = sessions.entry((mid, tid)).or_default();
        let previous = held.current.take();
        *held = Held { current: Some(terminal_keys(keys)), previous, uses: Uses::default() };
        drop(sessions);
        self.mac_matched(mid, tid);
    }

    /// The newest keys were used: those before them are dropped.
    pub fn keys_proven(&self, mid: Mid, tid: Tid, generation: i64) {
        if let Some(held) = self.sessions().get_mut(&(mid, tid))
            && held.current.as_ref().is_some_and(|k| k.generation == generation)
        {
            held.previous = None;
        }
    }
}

fn terminal_keys(keys: &WorkingKeys) -> TerminalKeys {
    TerminalKeys {
        generation: keys.generation,
        tpk: Some(Key::new(&*keys.tpk)).filter(|k| !k.as_str().is_empty()),
        tak: Key::new(&*keys.tak),
        tdk: keys.tdk.as_deref().map(Key::new),
    }
}
