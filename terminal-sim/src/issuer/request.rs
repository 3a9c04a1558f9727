//! What the switch asks of an issuer: an `iso87-ascii` message as a typed request.
//!
//! The table of kinds is the issuer's half of the switch's issuer dialect (ISO 8583:1987; DE 25 `06` marks the
//! pre-authorization family, DE 90 names the original).

use super::rule::Facts;
use iso8583_spec::{Mti, View};
use serde::Serialize;
use tollgate::hsm::pin::block::Pin;
use tollgate::transaction::{Currency, Pan, Track2};

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 0100 or 0200, DE 3 `31…`.
    Balance,
    /// 0100, DE 3 `00…` or `03…`: holds.
    Preauthorization,
    /// 0100, DE 3 `02…` or `20…`, DE 90: gives a hold free.
    Cancel,
    /// 0200, DE 3 `00…`, `01…` or `09…`.
    Sale,
    /// 0200, DE 3 `02…` or `22…`, DE 90: takes a sale or a refund back.
    Void,
    /// 0200, DE 3 `20…`: credits, with DE 90 against its sale.
    Refund,
    /// 0200, DE 3 `00…`, DE 25 `06`: takes the money of a hold.
    Completion,
    /// 0200, DE 3 `02…`, DE 25 `06`, DE 90: gives the money back and holds again.
    CompletionVoid,
    /// 0220, DE 3 `00…`, DE 25 `06`.
    CompletionAdvice,
    /// 0220, DE 3 `00…`.
    OfflineSale,
    /// 0400 or 0420, DE 90.
    Reversal,
}

impl Kind {
    /// It tells what has happened and is not declined.
    pub(super) const fn is_advice(self) -> bool {
        matches!(self, Self::CompletionAdvice | Self::OfflineSale)
    }

    /// It takes money, which a refund may give back.
    pub(super) const fn takes_money(self) -> bool {
        matches!(self, Self::Sale | Self::OfflineSale | Self::Completion | Self::CompletionAdvice)
    }

    pub(super) fn of(mti: &str, processing: &str, condition: Option<&str>) -> Option<Self> {
        let preauthorization = condition == Some("06");
        Some(match (mti.get(..3)?, processing.get(..2)?, preauthorization) {
            ("040" | "042", _, _) => Self::Reversal,
            ("010" | "020", "31" | "30", _) => Self::Balance,
            ("010", "00" | "03", _) => Self::Preauthorization,
            ("010", "02" | "20", _) => Self::Cancel,
            ("020", "00", true) => Self::Completion,
            ("020", "00" | "01" | "09", _) => Self::Sale,
            ("020", "02" | "20", true) => Self::CompletionVoid,
            ("020", "02" | "22", false) => Self::Void,
            ("020", "20", false) => Self::Refund,
            ("022", "00", true) => Self::CompletionAdvice,
            ("022", "00" | "01" | "09", false) => Self::OfflineSale,
            _ => return None,
        })
    }
}

/// What tells a message from all others of its link, and what DE 90 begins with: MTI (not as a repeat), STAN,
/// DE 7 and the acquirer in eleven digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageKey(String);

impl MessageKey {
    /// Of a message's own fields.
    #[must_use]
    pub fn new(mti: &str, stan: &str, de7: &str, acquirer: &str) -> Self {
        Self(format!("{}0{stan:0>6}{de7:0>10}{acquirer:0>11}", mti.get(..3).unwrap_or(mti)))
    }

    /// Of DE 90. An acquirer of zeros is the one that asks.
    fn original(de90: &str, acquirer: &str) -> Option<Self> {
        let given = de90.get(20..31)?;
        let acquirer = if given.bytes().all(|b| b == b'0') { acquirer } else { given };
        Some(Self::new(de90.get(..4)?, de90.get(4..10)?, de90.get(10..20)?, acquirer))
    }
}

/// DE 52, after the HSM's function has opened it.
pub enum PinEntry {
    /// There is none, or the issuer has no ZPK.
    Absent,
    /// It does not open.
    Unreadable,
    /// The digits.
    Clear(Pin),
}

impl std::fmt::Debug for PinEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Unreadable => "Unreadable",
            Self::Clear(_) => "Clear(…)",
        })
    }
}

/// A message for the books.
#[derive(Debug)]
pub struct CardRequest {
    /// As it came.
    pub mti: String,
    /// What it is.
    pub kind: Kind,
    /// Its own key.
    pub key: MessageKey,
    /// DE 90.
    pub original: Option<MessageKey>,
    /// DE 11.
    pub stan: String,
    /// DE 7.
    pub de7: String,
    /// DE 32.
    pub acquirer: String,
    /// DE 37.
    pub rrn: String,
    /// DE 2, or of DE 35.
    pub pan: Option<Pan>,
    /// DE 14, or of DE 35, `YYMM`.
    pub expiry: Option<String>,
    /// DE 4; 0 when absent.
    pub amount_minor: i64,
    /// DE 49.
    pub currency: Option<Currency>,
    /// DE 38.
    pub auth_code: Option<String>,
    /// DE 52.
    pub pin: PinEntry,
}

/// A decoded message as rules and requests read it.
pub(super) struct Incoming<'a> {
    pub(super) view: &'a View<'a>,
    mti: Mti,
    pan: Option<Pan>,
    track: Option<Track2>,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(view: &'a View<'a>) -> Self {
        let track = view.text(35).and_then(|text| Track2::parse(&text.replace('=', "D")).ok());
        let written = view.text(2).and_then(|text| Pan::parse(&text).ok());
        let pan = written.or_else(|| track.as_ref().and_then(|track| track.pan().ok()));
        Self { view, mti: view.mti(), pan, track }
    }

    fn text(&self, de: u8) -> Option<String> {
        self.view.text(de).map(|text| text.to_string())
    }

    /// The request, with its PIN still closed.
    ///
    /// # Errors
    /// DE 39 of the refusal: 30 when a field is missing or unsound, 12 when nothing is known by this MTI and
    /// DE 3.
    pub(super) fn request(&self) -> Result<CardRequest, &'static str> {
        if !self.view.is_sound() {
            return Err("30");
        }
        let field = |de| self.text(de).ok_or("30");
        let (stan, de7) = (field(11)?, field(7)?);
        let mti = self.mti.as_str().to_owned();
        let condition = self.text(25);
        let kind = Kind::of(&mti, &field(3)?, condition.as_deref()).ok_or("12")?;
        let acquirer = self.text(32).unwrap_or_default();
        let named = self.text(90).map(|text| MessageKey::original(&text, &acquirer).ok_or("30"));
        let expiry = self.text(14).or_else(|| self.track.as_ref().and_then(expiry));
        let currency = self.text(49).map(|text| Currency::parse(&text).ok_or("30")).transpose()?;
        if kind != Kind::Reversal && self.pan.is_none() {
            return Err("30");
        }
        Ok(CardRequest {
            kind,
            key: MessageKey::new(&mti, &stan, &de7, &acquirer),
            original: named.transpose()?,
            rrn: self.text(37).unwrap_or_default(),
            pan: self.pan.clone(),
            expiry,
            amount_minor: self.amount_minor().unwrap_or(0),
            currency,
            auth_code: self.text(38),
            pin: PinEntry::Absent,
            mti,
            stan,
            de7,
            acquirer,
        })
    }
}

/// The four digits after the separator of track 2 (ISO/IEC 7813).
fn expiry(track: &Track2) -> Option<String> {
    let (_, discretionary) = track.text().split_once('D')?;
    discretionary.get(..4).map(str::to_owned)
}

impl Facts for Incoming<'_> {
    fn mti(&self) -> &str {
        self.mti.as_str()
    }

    fn pan(&self) -> Option<&Pan> {
        self.pan.as_ref()
    }

    fn amount_minor(&self) -> Option<i64> {
        self.view.text(4)?.parse().ok()
    }

    fn field(&self, de: u8) -> Option<String> {
        self.text(de)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mti_de3_and_de25_tell_the_kind() {
        let rows = [
            ("0100", "000000", Some("06"), Some(Kind::Preauthorization)),
            ("0101", "030000", None, Some(Kind::Preauthorization)),
            ("0100", "310000", None, Some(Kind::Balance)),
            ("0200", "310000", Some("00"), Some(Kind::Balance)),
            ("0100", "020000", Some("06"), Some(Kind::Cancel)),
            ("0200", "000000", Some("00"), Some(Kind::Sale)),
            ("0200", "000000", None, Some(Kind::Sale)),
            ("0201", "000000", Some("06"), Some(Kind::Completion)),
            ("0200", "020000", Some("00"), Some(Kind::Void)),
            ("0200", "020000", Some("06"), Some(Kind::CompletionVoid)),
            ("0200", "200000", Some("00"), Some(Kind::Refund)),
            ("0220", "000000", Some("06"), Some(Kind::CompletionAdvice)),
            ("0221", "000000", Some("00"), Some(Kind::OfflineSale)),
            ("0420", "000000", Some("06"), Some(Kind::Reversal)),
            ("0401", "200000", None, Some(Kind::Reversal)),
            ("0220", "990000", None, None),
            ("0500", "000000", None, None),
            ("0200", "970000", None, None),
        ];
        for (mti, processing, condition, kind) in rows {
            assert_eq!(Kind::of(mti, processing, condition), kind, "{mti} {processing} {condition:?}");
        }
    }

    #[test]
    fn de90_names_the_key_of_its_original() {
        let own = MessageKey::new("0201", "000042", "1123070500", "48020000");
        let rows = [
            ("020000004211230705000004802000000000000000", Some(true)),
            ("020000004211230705000000000000000000000000", Some(true)),
            ("020000004311230705000004802000000000000000", Some(false)),
            ("022000004211230705000004802000000000000000", Some(false)),
            ("0200000042112307050", None),
        ];
        for (de90, same) in rows {
            let named = MessageKey::original(de90, "48020000");
            assert_eq!(named.map(|named| named == own), same, "{de90}");
        }
    }
}
