//! A card issuer's host: a TCP server that answers what the switch asks, keeps books of it and misbehaves by rule.
//!
//! It speaks `iso87-ascii` and shares the codec and the HSM's functions with the switch, but no decision: what
//! its books say is held against the switch's own.
//!
//! config → server → (zone: MAC, PIN) → request → rule → books → answer

mod answer;
mod books;
mod config;
mod instant;
mod journal;
mod key_change;
mod request;
mod rule;
mod server;
mod zone;

pub use books::{Books, Verdict};
pub use config::{Account, ConfigError, IssuerConfig, Mode, ZoneKeys};
pub use journal::{AccountBalance, Entry, Export};
pub use key_change::KeyFault;
pub use request::{CardRequest, Kind, MessageKey, PinEntry};
pub use rule::{Delivery, Facts, Rule, When};
pub use server::{IssuerError, IssuerHandle, IssuerServer, KeyReply};
