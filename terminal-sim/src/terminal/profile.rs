//! What a terminal is and what card it holds: identity, dialect, keys from its injection, settings.
//!
//! Knows nothing of messages or sockets. All keys and cards are test values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::DateTime;

/// The dialect that a terminal speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// UnionPay POS.
    UnionPay,
    /// Classic EDC (Hypercom/VeriFone style).
    Edc,
    /// ISO 8583:1987 in ASCII.
    Ascii,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::UnionPay, Self::Edc, Self::Ascii];

    /// The name of its specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnionPay => "unionpay-pos",
            Self::Edc => "edc",
            Self::Ascii => "iso87-ascii",
        }
    }

    /// The dialect of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// Response codes that mean approved. UnionPay: `A2` and its kin are approvals with a remark.
    #[must_use]
    pub fn approves(self, code: &str) -> bool {
        match self {
            Self::UnionPay => matches!(code, "00" | "10" | "11" | "16" | "A2" | "A4" | "A5" | "A6"),
            Self::Edc => matches!(code, "00" | "08" | "10" | "11"),
            Self::Ascii => matches!(code, "00" | "08" | "10" | "11" | "16" | "85"),
        }
    }

    /// Response codes that end a reversal. An EDC terminal takes 00 only; the others also take
    /// "original not found" and "invalid transaction".
    #[must_use]
    pub fn ends_reversal(self, code: &str) -> bool {
        match self {
            Self::UnionPay | Self::Ascii => matches!(code, "00" | "25" | "12"),
            Self::Edc => code == "00",
        }
    }

    /// Response codes after which an advice is no longer repeated.
    #[must_use]
    pub fn ends_advice(self, code: &str) -> bool {
        matches!(code, "00" | "94")
    }
}

/// Which working keys a UnionPay sign-on asks for: DE 60.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// 001: single-length PIK and MAK, 24 octets of DE 62.
    Single,
    /// 003: double-length PIK, 40 octets.
    Double,
    /// 004: as 003 and a TDK, 60 octets; tracks then travel encrypted.
    DoubleWithTrack,
}

impl KeyForm {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Single, Self::Double, Self::DoubleWithTrack];

    /// DE 60.3.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Single => "001",
            Self::Double => "003",
            Self::DoubleWithTrack => "004",
        }
    }
}

/// What was injected into the terminal before it was shipped. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub enum InjectedKeys {
    /// A terminal master key (UnionPay): working keys come at sign-on, under it. 16 octets.
    Master([u8; 16]),
    /// Static working keys (EDC, ASCII): PIN key and MAC key, 16 octets each.
    Static {
        /// Terminal PIN key.
        tpk: [u8; 16],
        /// Terminal MAC key.
        tak: [u8; 16],
    },
}

impl std::fmt::Debug for InjectedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Master(_) => "Master(…)",
            Self::Static { .. } => "Static(…)",
        })
    }
}

/// How an ASCII terminal words its reversal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReversalForm {
    /// 0420, repeated as 0421.
    Advice,
    /// 0400, repeated as 0401.
    Request,
}

/// Whether an EDC message carries DE 49. The switch knows a terminal's currency anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdcCurrency {
    /// DE 49 is left out.
    Omitted,
    /// DE 49 is sent.
    Sent,
}

/// How an EDC terminal counts a void in DE 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdcVoids {
    /// The sale pair loses the sale; the void itself counts nowhere.
    Net,
    /// The sale stays and the void adds to the refund pair.
    InRefund,
}

/// Whether the terminal takes an approval of a part of the amount (UnionPay DE 60.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialApproval {
    /// 60.6 = 0.
    Refused,
    /// 60.6 = 1.
    Accepted,
}

/// A terminal. Make one with [`TerminalProfile::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct TerminalProfile {
    /// What it speaks.
    pub dialect: Dialect,
    /// DE 41, 8 characters.
    pub tid: String,
    /// DE 42, 15 characters.
    pub mid: String,
    /// Where the switch listens.
    pub address: SocketAddr,
    /// Injected keys.
    pub keys: InjectedKeys,
    /// DE 49, three digits. `156` unless changed.
    pub currency: String,
    /// How long the terminal waits for an answer. 30 s unless changed (protocol default).
    pub timeout: Duration,
    /// Where batch, STAN and pending reversal survive a power cut; in memory when `None`.
    pub state: Option<PathBuf>,
    /// The terminal's clock.
    pub clock: fn() -> DateTime,
    /// TPDU of a request, where the dialect has one.
    pub tpdu: [u8; 5],
    /// UnionPay message header.
    pub header: [u8; 6],
    /// EDC network international identifier, DE 24, three digits.
    pub nii: String,
    /// UnionPay operator number, DE 63 of sign-on and settlement, three characters.
    pub operator: String,
    /// Partial approval.
    pub partial: PartialApproval,
    /// DE 49 in EDC.
    pub edc_currency: EdcCurrency,
    /// Voids in EDC totals.
    pub edc_voids: EdcVoids,
    /// Reversals of an ASCII terminal.
    pub reversal_form: ReversalForm,
    /// How often a reversal is sent before the terminal gives up. 4 unless changed: the first
    /// time and three resends (UnionPay default).
    pub reversal_sends: u32,
}

impl TerminalProfile {
    /// A terminal with the defaults above.
    #[must_use]
    pub fn new(dialect: Dialect, tid: &str, mid: &str, address: SocketAddr, keys: InjectedKeys) -> Self {
        Self {
            dialect,
            tid: tid.to_owned(),
            mid: mid.to_owned(),
            address,
            keys,
            currency: "156".to_owned(),
            timeout: Duration::from_secs(30),
            state: None,
            clock: utc_now,
            tpdu: [0x60, 0x00, 0x03, 0x00, 0x00],
            header: [0x60, 0x31, 0x00, 0x31, 0x10, 0x00],
            nii: "003".to_owned(),
            operator: "01 ".to_owned(),
            partial: PartialApproval::Refused,
            edc_currency: EdcCurrency::Omitted,
            edc_voids: EdcVoids::Net,
            reversal_form: ReversalForm::Advice,
            reversal_sends: 4,
        }
    }
}

/// The wall clock in UTC: the one place where a terminal reads it.
#[must_use]
pub fn utc_now() -> DateTime {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime()
}

/// How the card came in: DE 22, first two digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Entry {
    /// Magnetic stripe, 02.
    Swiped,
    /// Typed in, 01.
    Keyed,
    /// Contact chip, 05.
    Chip,
}

impl Entry {
    /// The first two digits of DE 22.
    #[must_use]
    pub const fn mode(self) -> &'static str {
        match self {
            Self::Swiped => "02",
            Self::Keyed => "01",
            Self::Chip => "05",
        }
    }
}

/// A card in the cardholder's hand, and the PIN in his head. Prints its last four digits only.
#[derive(Clone)]
pub struct Card {
    /// 12 to 19 digits.
    pub pan: String,
    /// `YYMM`.
    pub expiry: String,
    /// Track 2 with `D` as separator, at most 37 characters.
    pub track2: String,
    /// 4 to 12 digits, when the cardholder types one.
    pub pin: Option<String>,
    /// DE 23, three digits (chip).
    pub sequence: Option<String>,
    /// DE 55 of the request, as the chip gave it.
    pub icc: Option<Vec<u8>>,
    /// How it is read.
    pub entry: Entry,
}

impl Card {
    /// A card whose stripe is swiped. Track 2 gets service code 201 and discretionary data.
    #[must_use]
    pub fn swiped(pan: &str, expiry: &str) -> Self {
        let mut track2 = format!("{pan}D{expiry}2010000012300");
        track2.truncate(37);
        Self {
            pan: pan.to_owned(),
            expiry: expiry.to_owned(),
            track2,
            pin: None,
            sequence: None,
            icc: None,
            entry: Entry::Swiped,
        }
    }

    /// A card whose number is typed in.
    #[must_use]
    pub fn keyed(pan: &str, expiry: &str) -> Self {
        Self { entry: Entry::Keyed, ..Self::swiped(pan, expiry) }
    }

    /// A card whose chip is read: card sequence number 001 and this DE 55.
    #[must_use]
    pub fn chip(pan: &str, expiry: &str, icc: &[u8]) -> Self {
        Self {
            entry: Entry::Chip,
            sequence: Some("001".to_owned()),
            icc: Some(icc.to_vec()),
            ..Self::swiped(pan, expiry)
        }
    }

    /// The same card with a PIN typed in.
    #[must_use]
    pub fn with_pin(self, pin: &str) -> Self {
        Self { pin: Some(pin.to_owned()), ..self }
    }

    /// The same card without a PIN.
    #[must_use]
    pub fn without_pin(self) -> Self {
        Self { pin: None, ..self }
    }
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last4 = self.pan.get(self.pan.len().saturating_sub(4)..).unwrap_or_default();
        write!(f, "Card(…{last4}, {:?})", self.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approvals_and_reversal_ends_are_the_dialects_own() {
        // Code, approved in UnionPay, EDC, ASCII; ends a reversal in UnionPay, EDC, ASCII.
        let rows = [
            ("00", [true, true, true], [true, true, true]),
            ("08", [false, true, true], [false, false, false]),
            ("10", [true, true, true], [false, false, false]),
            ("12", [false, false, false], [true, false, true]),
            ("25", [false, false, false], [true, false, true]),
            ("85", [false, false, true], [false, false, false]),
            ("A2", [true, false, false], [false, false, false]),
            ("A0", [false, false, false], [false, false, false]),
            ("51", [false, false, false], [false, false, false]),
        ];
        for (code, approved, ended) in rows {
            assert_eq!(Dialect::ALL.map(|d| d.approves(code)), approved, "{code}");
            assert_eq!(Dialect::ALL.map(|d| d.ends_reversal(code)), ended, "{code}");
        }
    }

    #[test]
    fn a_card_prints_no_more_than_four_digits() {
        let card = Card::swiped("6225880012345675", "3012").with_pin("123456");
        assert_eq!(card.track2, "6225880012345675D30122010000012300");
        assert_eq!(format!("{card:?}"), "Card(…5675, Swiped)");
        assert_eq!(Card::keyed("6225881234567890123", "3012").track2.len(), 37);
        assert_eq!(format!("{:?}", InjectedKeys::Master([7; 16])), "Master(…)");
    }
}
