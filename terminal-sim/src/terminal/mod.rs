//! A POS terminal: signs on, sells, voids, refunds, reverses and settles over TCP, in three dialects.
//!
//! The other end of the switch's wire. It keeps its own keys, its own batch and its own arithmetic, and
//! shares with the switch only the codec and the HSM's pure functions.
//!
//! Like a real terminal it saves a reversal before a request leaves, deletes it on any final answer, and
//! sends it before the next transaction otherwise.

mod ascii;
mod batch;
mod draft;
mod edc;
mod envelope;
mod exchange;
mod fault;
mod keys;
mod outcome;
mod prepare;
mod profile;
mod request;
mod settle;
mod state;
mod unionpay;
mod verbs;
mod wire;

use std::path::Path;

use iso8583_spec::Spec;

use crate::record::Recorder;
use exchange::Sent;
use keys::WorkingKeys;
use request::Setting;
use state::StateFile;
use wire::{Tape, Wire};

pub use batch::{Item, Kind, Sum, Totals};
pub use draft::Draft;
pub use envelope::Seal;
pub use fault::Fault;
pub use keys::KeyError;
pub use outcome::{Agreement, Outcome, ReplyFields, Settlement, Verdict};
pub use profile::{
    Card, Dialect, EdcCurrency, EdcVoids, Entry, InjectedKeys, KeyForm, PartialApproval, ReversalForm,
    TerminalProfile, utc_now,
};
pub use state::{PendingAdvice, PendingReversal, State, StateError};

/// Why a terminal could not do what it was told. A decline or a silence is an [`Outcome`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// No connection, so nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(#[source] std::io::Error),
    /// The dialect has no such transaction.
    #[error("{} has no {}", .0.name(), .1.name())]
    NotInDialect(Dialect, Kind),
    /// The dialect's specification is missing.
    #[error("no specification for {0}")]
    Spec(&'static str),
    /// A message was put together wrongly.
    #[error("draft: {0}")]
    Draft(&'static str),
    /// The codec refused to encode.
    #[error("encoding: {0}")]
    Encode(#[from] iso8583_spec::EncodeError),
    /// Keys or card data.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A terminal in operation.
#[derive(Debug)]
pub struct Terminal {
    profile: TerminalProfile,
    spec: &'static Spec,
    tape: Tape,
    wire: Option<Wire>,
    keys: Option<WorkingKeys>,
    file: StateFile,
    fault: Option<Fault>,
    last: Option<Sent>,
}

impl Terminal {
    /// Switches the terminal on and connects it.
    ///
    /// # Errors
    /// No connection; a state file that cannot be read; injected keys that are none.
    pub async fn connect(
        profile: TerminalProfile,
        recorder: Option<Recorder>,
    ) -> Result<Self, TerminalError> {
        let mut terminal = Self::switched_on(profile, recorder)?;
        terminal.connected().await?;
        Ok(terminal)
    }

    /// Switches the terminal on; it connects when it first has something to send.
    ///
    /// # Errors
    /// As [`Terminal::connect`], without the connection.
    pub fn switched_on(profile: TerminalProfile, recorder: Option<Recorder>) -> Result<Self, TerminalError> {
        let name = profile.dialect.name();
        let spec = Spec::builtin(name).ok_or(TerminalError::Spec(name))?;
        let tape = Tape { recorder, link: format!("terminal:{}", profile.tid), dialect: name };
        let keys = WorkingKeys::injected(profile.dialect, &profile.keys)?;
        let file = StateFile::open(profile.state.as_deref())?;
        let terminal = Self { profile, spec, tape, wire: None, keys, file, fault: None, last: None };
        terminal.record_keys();
        Ok(terminal)
    }

    /// A second device with the same identity, working keys and state (in memory) on a connection of its
    /// own: for races between two requests of one terminal.
    ///
    /// # Errors
    /// A key cannot be set up again.
    pub fn twin(&self) -> Result<Self, TerminalError> {
        let mut file = StateFile::open(None::<&Path>)?;
        file.state = self.file.state.clone();
        Ok(Self {
            profile: TerminalProfile { state: None, ..self.profile.clone() },
            spec: self.spec,
            tape: self.tape.clone(),
            wire: None,
            keys: self.keys.as_ref().map(WorkingKeys::copied).transpose()?,
            file,
            fault: None,
            last: None,
        })
    }

    /// Who it is.
    #[must_use]
    pub const fn profile(&self) -> &TerminalProfile {
        &self.profile
    }

    /// Batch, STAN, items, pending reversal and advices.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.file.state
    }

    /// The open batch's totals by the terminal's own arithmetic.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(&self.file.state.items, self.profile.dialect, self.profile.edc_voids)
    }

    /// The next request gets this STAN.
    pub fn set_next_stan(&mut self, stan: u32) {
        self.file.state.stan = if stan > 1 { stan - 1 } else { 999_999 };
    }

    /// The open batch gets this number.
    pub fn set_batch(&mut self, batch: u32) {
        self.file.state.batch = batch;
    }

    /// Works with these keys from now on, as if a sign-on had brought them: TPK 8 or 16 octets, TAK 8
    /// (UnionPay) or 16, TDK 16.
    ///
    /// # Errors
    /// A key of another length.
    pub fn load_keys(&mut self, tpk: &[u8], tak: &[u8], tdk: Option<&[u8]>) -> Result<(), TerminalError> {
        self.keys = Some(WorkingKeys::given(self.profile.dialect, tpk, tak, tdk)?);
        self.record_keys();
        Ok(())
    }

    /// The next request goes wrong in this way.
    pub fn inject(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Closes the connection; the next request opens a new one.
    pub fn disconnect(&mut self) {
        self.wire = None;
    }

    /// UnionPay sign-on: working keys in this form, and the host's batch number. EDC: logon. ASCII: sign-on;
    /// the form matters to UnionPay only.
    ///
    /// # Errors
    /// Also [`KeyError`] when DE 62 does not hold keys with their check values.
    pub async fn sign_on(&mut self, form: KeyForm) -> Result<Outcome, TerminalError> {
        let outcome = match self.profile.dialect {
            Dialect::UnionPay => self.network(|setting| unionpay::sign_on(setting, form)).await?,
            Dialect::Edc => self.network(|setting| edc::network(setting, "920000")).await?,
            Dialect::Ascii => self.network(|setting| ascii::network(setting, "001")).await?,
        };
        if self.profile.dialect == Dialect::UnionPay && outcome.approved {
            let de62 = outcome.reply.get(62).and_then(|text| hex::decode(text).ok()).unwrap_or_default();
            self.keys = Some(WorkingKeys::received(&self.profile.keys, form, &de62)?);
            self.record_keys();
            if let Some(batch) = unionpay::assigned_batch(&outcome) {
                self.file.state.adopt_batch(batch);
            }
            self.file.save()?;
        }
        Ok(outcome)
    }

    /// EDC logon, 0800 920000.
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn logon(&mut self) -> Result<Outcome, TerminalError> {
        self.sign_on(KeyForm::Double).await
    }

    /// UnionPay sign-off, ASCII sign-off.
    ///
    /// # Errors
    /// [`TerminalError::NotInDialect`] in EDC.
    pub async fn sign_off(&mut self) -> Result<Outcome, TerminalError> {
        match self.profile.dialect {
            Dialect::UnionPay => self.network(unionpay::sign_off).await,
            Dialect::Edc => Err(TerminalError::NotInDialect(Dialect::Edc, Kind::Network)),
            Dialect::Ascii => self.network(|setting| ascii::network(setting, "002")).await,
        }
    }

    /// UnionPay echo, EDC test (0800 990000), ASCII echo (DE 70 = 301).
    ///
    /// # Errors
    /// [`TerminalError`].
    pub async fn echo(&mut self) -> Result<Outcome, TerminalError> {
        match self.profile.dialect {
            Dialect::UnionPay => self.network(unionpay::echo).await,
            Dialect::Edc => self.network(|setting| edc::network(setting, "990000")).await,
            Dialect::Ascii => self.network(|setting| ascii::network(setting, "301")).await,
        }
    }

    async fn network(&mut self, words: impl FnOnce(&Setting<'_>) -> Draft) -> Result<Outcome, TerminalError> {
        let draft = self.worded(words);
        self.file.save()?;
        self.connected().await?;
        self.exchange(Kind::Network, draft, 0).await
    }

    /// A message without a card, under the next STAN. It needs no keys.
    fn worded(&mut self, words: impl FnOnce(&Setting<'_>) -> Draft) -> Draft {
        let stan = self.file.state.next_stan();
        let (batch, invoice) = (self.file.state.batch, self.file.state.invoice);
        let now = (self.profile.clock)();
        words(&Setting { profile: &self.profile, keys: self.keys.as_ref(), stan, batch, invoice, now })
    }

    fn setting(&self, stan: u32, invoice: u32) -> Result<Setting<'_>, TerminalError> {
        let keys = Some(self.keys.as_ref().ok_or(KeyError::Missing)?);
        let now = (self.profile.clock)();
        Ok(Setting { profile: &self.profile, keys, stan, batch: self.file.state.batch, invoice, now })
    }

    /// The connection, opened when there is none or the host has closed it meanwhile.
    async fn connected(&mut self) -> Result<&mut Wire, TerminalError> {
        if self.wire.as_ref().is_some_and(|wire| !wire.is_fresh()) {
            self.wire = None;
        }
        if self.wire.is_none() {
            let (address, timeout) = (self.profile.address, self.profile.timeout);
            let wire = Wire::connect(address, self.spec.framing(), self.tape.clone(), timeout)
                .await
                .map_err(TerminalError::Connect)?;
            self.wire = Some(wire);
        }
        self.wire.as_mut().ok_or(TerminalError::Draft("no connection"))
    }

    fn record_keys(&self) {
        if let (Some(recorder), Some(keys)) = (&self.tape.recorder, &self.keys) {
            recorder.keys(&self.tape.link, &keys.recorded(&self.profile.keys));
        }
    }
}
