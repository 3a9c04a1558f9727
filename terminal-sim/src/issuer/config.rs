//! An issuer's settings: accounts, keys and rules, from TOML or built in code.
//!
//! Every fault is reported at once, by place and name and never with a card number, a PIN or a key.

use super::rule::Rule;
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;
use tollgate::transaction::{Currency, Pan};

/// Why an issuer cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not TOML, or holds a name or a type that does not belong there.
    #[error("line {line}: {message}")]
    Syntax {
        /// Line in the text, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Values that cannot be meant, all of them.
    #[error("{}", .0.join("; "))]
    Faults(Vec<String>),
}

/// A card account.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What books and exports call it.
    pub label: String,
    /// The card.
    #[serde(deserialize_with = "pan")]
    pub pan: Pan,
    /// DE 14, `YYMM`.
    pub expiry: String,
    /// Reference PIN, 4 to 12 digits; no PIN is checked when absent.
    pub pin: Option<String>,
    /// What the account holds at first, in minor units.
    pub balance_minor: i64,
    /// ISO 4217, three digits or letters.
    #[serde(deserialize_with = "currency")]
    pub currency: Currency,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({}, {}, {} {})", self.label, self.pan, self.balance_minor, self.currency)
    }
}

/// The clear test keys that an issuer shares with the switch, 16 octets as hexadecimal digits.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ZoneKeys {
    /// Zone PIN key; PIN blocks are not looked at when absent.
    pub zpk: Option<String>,
    /// Zone MAC key, X9.19; no MACs when absent.
    pub zak: Option<String>,
    /// Zone master key, under which the two above are changed; they stay when absent.
    pub zmk: Option<String>,
}

impl std::fmt::Debug for ZoneKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [zpk, zak, zmk] = [&self.zpk, &self.zak, &self.zmk].map(Option::is_some);
        write!(f, "ZoneKeys(zpk: {zpk}, zak: {zak}, zmk: {zmk})")
    }
}

/// Whether an issuer keeps books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Accounts, rules, a journal.
    #[default]
    Books,
    /// Approves everything and remembers nothing: for measuring the switch.
    Instant,
}

/// One issuer.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Its name: `BANKA`.
    pub name: String,
    /// Where `terminal-sim issuer` listens; a server started in code has its listener already.
    pub listen: Option<String>,
    /// How much of a hold a completion may take, in percent, fractions of a minor unit cut off.
    pub completion_percent: u32,
    /// Wrong PINs in a row after which the answer is 75.
    pub pin_tries: u32,
    /// `YYMM` of the issuer's calendar: a card that expired before it is answered 54; not looked at when absent.
    pub month: Option<String>,
    /// Keys of its link.
    pub keys: ZoneKeys,
    /// Its cards.
    pub accounts: Vec<Account>,
    /// What it does differently, first match.
    pub rules: Vec<Rule>,
    /// Whether it keeps books.
    pub mode: Mode,
}

impl IssuerConfig {
    /// An issuer without cards, keys or rules.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            listen: None,
            completion_percent: 115,
            pin_tries: 3,
            month: None,
            keys: ZoneKeys::default(),
            accounts: Vec::new(),
            rules: Vec::new(),
            mode: Mode::Books,
        }
    }

    /// Approves everything without books: one read, one write, nothing between them that costs time.
    #[must_use]
    pub fn instant() -> Self {
        Self { mode: Mode::Instant, ..Self::new("INSTANT") }
    }

    /// Reads a TOML file's text.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: ConfigFile = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
            ConfigError::Syntax { line, message: mask_digits(error.message()) }
        })?;
        let config = Self {
            name: file.name,
            listen: file.listen,
            completion_percent: file.completion_percent,
            pin_tries: file.pin_tries,
            month: file.month,
            keys: ZoneKeys { zpk: file.zpk, zak: file.zak, zmk: file.zmk },
            accounts: file.accounts,
            rules: file.rules,
            mode: Mode::Books,
        };
        config.check()?;
        Ok(config)
    }

    /// Whether everything in it can be meant.
    ///
    /// # Errors
    /// [`ConfigError::Faults`] with one sentence for each fault.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Vec::new();
        if self.name.is_empty() {
            faults.push("name is empty".to_owned());
        }
        if self.pin_tries == 0 {
            faults.push("pin_tries is 0".to_owned());
        }
        if self.month.as_deref().is_some_and(|month| !is_yymm(month)) {
            faults.push("month is not YYMM".to_owned());
        }
        for (name, key) in [("zpk", &self.keys.zpk), ("zak", &self.keys.zak), ("zmk", &self.keys.zmk)] {
            if key.as_ref().is_some_and(|key| key.len() != 32 || hex::decode(key.as_bytes()).is_err()) {
                faults.push(format!("{name} is not 32 hexadecimal digits"));
            }
        }
        let mut labels = HashSet::new();
        let mut pans = HashSet::new();
        for account in &self.accounts {
            if !labels.insert(account.label.as_str()) || !pans.insert(account.pan.digits()) {
                faults.push(format!("account {}: its label or card appears twice", account.label));
            }
            faults.extend(account.faults().map(|fault| format!("account {}: {fault}", account.label)));
        }
        for (place, rule) in self.rules.iter().enumerate() {
            let faulty = rule.faults().into_iter();
            faults.extend(faulty.map(|fault| format!("rule {} {:?}: {fault}", place + 1, rule.name)));
        }
        if faults.is_empty() { Ok(()) } else { Err(ConfigError::Faults(faults)) }
    }
}

impl Account {
    fn faults(&self) -> impl Iterator<Item = &'static str> {
        let pin = self.pin.as_ref().map_or("0000", |pin| pin.as_str());
        let sound_pin = (4..=12).contains(&pin.len()) && pin.bytes().all(|b| b.is_ascii_digit());
        let least = -super::books::BALANCE_LIMIT_MINOR;
        let sound_balance = (least..=super::books::BALANCE_LIMIT_MINOR).contains(&self.balance_minor);
        [
            (is_yymm(&self.expiry), "expiry is not YYMM"),
            (sound_pin, "pin is not 4 to 12 digits"),
            (sound_balance, "balance_minor is out of range"),
            (self.pan.luhn_valid(), "pan does not end in its check digit"),
        ]
        .into_iter()
        .filter_map(|(sound, fault)| (!sound).then_some(fault))
    }
}

/// A parser quotes what it did not expect, and that may be a card number without its quotation marks.
fn mask_digits(message: &str) -> String {
    let mut masked = String::with_capacity(message.len());
    for word in message.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let secret = word.len() > 5 && word.bytes().filter(u8::is_ascii_digit).count() > 5;
        masked.push_str(if secret { "…" } else { word });
    }
    masked
}

fn is_yymm(text: &str) -> bool {
    text.len() == 4
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.get(2..).is_some_and(|month| ("01"..="12").contains(&month))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    name: String,
    listen: Option<String>,
    #[serde(default = "completion_percent")]
    completion_percent: u32,
    #[serde(default = "pin_tries")]
    pin_tries: u32,
    month: Option<String>,
    zpk: Option<String>,
    zak: Option<String>,
    zmk: Option<String>,
    #[serde(default, rename = "account")]
    accounts: Vec<Account>,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

const fn completion_percent() -> u32 {
    115
}

const fn pin_tries() -> u32 {
    3
}

fn pan<'de, D: Deserializer<'de>>(from: D) -> Result<Pan, D::Error> {
    let digits = String::deserialize(from)?;
    Pan::parse(&digits).map_err(serde::de::Error::custom)
}

fn currency<'de, D: Deserializer<'de>>(from: D) -> Result<Currency, D::Error> {
    let text = String::deserialize(from)?;
    Currency::parse(&text).ok_or_else(|| serde::de::Error::custom("not an ISO 4217 currency"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_files_load() {
        for name in ["issuer-a.toml", "issuer-b.toml"] {
            let path = format!("{}/../config/{name}", env!("CARGO_MANIFEST_DIR"));
            let config = IssuerConfig::parse(&std::fs::read_to_string(&path).unwrap());
            let config = config.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!config.accounts.is_empty(), "{name}");
        }
    }

    #[test]
    fn every_fault_is_told_and_no_secret_with_it() {
        let text = "
            name = ''
            pin_tries = 0
            month = '2613'
            zpk = '0123'
            [[account]]
            label = 'one'
            pan = '6225880012345674'
            expiry = '3000'
            pin = '12'
            balance_minor = 0
            currency = '156'
            [[account]]
            label = 'one'
            pan = '6225880012345675'
            expiry = '3012'
            balance_minor = 0
            currency = 'CNY'
            [[rule]]
            name = 'odd'
            code = '5'
        ";
        let told = IssuerConfig::parse(text).unwrap_err().to_string();
        for part in [
            "name is empty",
            "pin_tries is 0",
            "month is not YYMM",
            "zpk is not 32 hexadecimal digits",
            "account one: expiry is not YYMM",
            "account one: pin is not 4 to 12 digits",
            "account one: pan does not end in its check digit",
            "account one: its label or card appears twice",
            "rule 1 \"odd\": code",
        ] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
        assert!(!told.contains("62258800") && !told.contains("0123"), "{told}");
    }

    #[test]
    fn a_syntax_fault_names_its_line_alone() {
        let rows = [
            ("name = 'A'\nzpX = '0123456789ABCDEF0123456789ABCDEF'\n", 2, "zpX"),
            ("name = 'A'\n\nzpk = 12345678\n", 3, "string"),
            ("name = 'A'\n[[account]]\nlabel = 'x'\npan = '62258800X'\n", 4, "card number"),
            ("name = 'A'\n[[account]]\nlabel = 'x'\npan = 6225880012345675\n", 4, "integer"),
            ("name = 'A'\n[[rule]]\ndelivery = 'never'\n", 3, "never"),
        ];
        for (text, line, part) in rows {
            let told = IssuerConfig::parse(text).unwrap_err().to_string();
            assert!(told.starts_with(&format!("line {line}: ")) && told.contains(part), "{text}: {told}");
            assert!(!told.contains("0123456789ABCDEF") && !told.contains("62258800"), "{told}");
        }
    }
}
